//! One step of a job: what the [table](crate::export::job) says, done.

use std::time::Duration;

use crate::export::core::Core;
use crate::export::job::{Effect, Event, next, window};
use crate::model::export_status::ExportState;
use crate::store::{Job, StoreError};

/// What became of a step.
pub(super) enum Step {
    /// All of it is done, and this is the job.
    Done(Job),
    /// The job is to be extracted within this time.
    Extract(Job, Duration),
    /// Another process changed the job.
    Lost,
}

/// What became of an effect.
enum Performed {
    Done,
    Report(Event),
    Extract(Duration),
    Lost,
}

/// Applies an event to a job. If it fails, it may be applied again.
pub(super) async fn apply(core: &Core, mut job: Job, event: Event) -> Result<Step, StoreError> {
    let mut next_event = Some(event);
    while let Some(event) = next_event.take() {
        let (changed, effects) = next(job, event, core.now().await?, &core.settings);
        job = changed;
        for effect in effects {
            match perform(core, &mut job, effect).await? {
                Performed::Done => {}
                Performed::Report(event) => next_event = Some(event),
                Performed::Extract(limit) => return Ok(Step::Extract(job, limit)),
                Performed::Lost => return Ok(Step::Lost),
            }
        }
    }
    Ok(Step::Done(job))
}

async fn perform(core: &Core, job: &mut Job, effect: Effect) -> Result<Performed, StoreError> {
    match effect {
        Effect::Save => {
            if !core.jobs()?.compare_and_swap(job.clone()).await? {
                return Ok(Performed::Lost);
            }
            job.version += 1;
            report_end(job);
        }
        Effect::AskOpen => {
            let are_open = core.log.store().any_open(window(job)).await?;
            return Ok(Performed::Report(Event::OpenRequests(are_open)));
        }
        Effect::Extract(limit) => return Ok(Performed::Extract(limit)),
        Effect::MakeUrl(kept) => return Ok(Performed::Report(Event::UrlMade(core.make_url(job, kept).await?))),
        Effect::DeleteFile(name) => core.files.delete(&name).await?,
        Effect::DeleteRow => drop(core.jobs()?.delete(&job.id, job.version).await?),
    }
    Ok(Performed::Done)
}

/// Logs that a job has ended without a file.
fn report_end(job: &Job) {
    let Job { id, state, body, .. } = job;
    match state {
        ExportState::DoesNotExist => tracing::info!(export = id, %state, "export: its range has no records"),
        ExportState::Failed | ExportState::TimedOut => {
            tracing::warn!(export = id, %state, attempts = body.attempts, "export: it ended without a file");
        }
        _ => {}
    }
}
