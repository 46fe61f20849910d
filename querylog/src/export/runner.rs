//! Takes the jobs that are due, one step each, and never one that another process has.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::export::core::Core;
use crate::export::job::Event;
use crate::export::step::{Step, apply};
use crate::export::work::work;
use crate::model::export_status::ExportState;
use crate::model::time::Timestamp;
use crate::store::{Job, StoreError};

/// How often due jobs are looked for, and those whose processes vanished.
const LOOK: Duration = Duration::from_secs(1);
/// How many jobs of a kind are taken in one look.
const STEPS: usize = 100;

/// Jobs in final states, which are deleted when they are due.
const KEPT: [ExportState; 4] =
    [ExportState::Complete, ExportState::DoesNotExist, ExportState::Failed, ExportState::TimedOut];

pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let mut extractions = JoinSet::new();
    while !*stopped.borrow() {
        match AssertUnwindSafe(look(&core, &mut extractions, &stopped)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "export: failed to list due jobs"),
            Err(_) => tracing::error!("export: a step panicked; it is tried again"),
        }
        tokio::select! {
            () = core.wake.notified() => {}
            () = sleep(LOOK) => {}
            Some(ended) = extractions.join_next() => {
                if ended.is_err() {
                    tracing::error!("export: an extraction panicked; it is tried again");
                }
            }
            _ = stopped.changed() => {}
        }
    }
    while extractions.join_next().await.is_some() {}
}

/// Takes what is due. A job that fails does not hold up the others.
async fn look(
    core: &Arc<Core>,
    extractions: &mut JoinSet<()>,
    stopped: &watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let now = core.now().await?;
    let far = now.saturating_add(2 * core.settings.lease);
    let requested = due(core, &[ExportState::Requested], now, far).await;
    let pending = due(core, &[ExportState::Pending], now, Timestamp::MAX).await;
    // More than can start: one that has to wait for open requests does not hold up those after it.
    for job in requested.into_iter().chain(pending) {
        if extractions.len() >= core.settings.at_once {
            break;
        }
        match apply(core, job.clone(), Event::Due).await {
            Ok(Step::Extract(claimed, limit)) => {
                extractions.spawn(work(Arc::clone(core), claimed, limit, stopped.clone()));
            }
            Ok(Step::Done(_) | Step::Lost) => {}
            Err(error) => claim_failed(core, job, error).await,
        }
    }
    let links = due(core, &[ExportState::CreatingNewUrl], now, far).await;
    // What is kept is due long after now.
    let kept = due(core, &KEPT, now, Timestamp::MAX).await;
    let steps = async {
        for job in links.into_iter().chain(kept) {
            let id = job.id.clone();
            if let Err(error) = apply(core, job, Event::Due).await {
                tracing::error!(export = id, %error, "export: failed to renew a URL or to delete a file; trying again");
            }
        }
    };
    // An object store that does not respond holds up no extraction.
    if timeout(core.settings.lease / 3, steps).await.is_err() {
        tracing::warn!("export: renewing URLs or deleting files is slow; continuing later");
    }
    Ok(())
}

/// Returns the jobs in some states that are due. Those that cannot be read are postponed, so that they hold up no
/// others.
async fn due(core: &Core, states: &[ExportState], now: Timestamp, far: Timestamp) -> Vec<Job> {
    let found = async { core.jobs()?.due(states, now, far, STEPS).await }.await.unwrap_or_else(|error| {
        tracing::error!(%error, "export: failed to list due jobs");
        Vec::new()
    });
    let mut jobs = Vec::new();
    for job in found {
        match job {
            Ok(job) => jobs.push(job),
            Err(damaged) => {
                let (export, error) = (&damaged.id, &damaged.why);
                tracing::error!(export, %error, "export: failed to read its row; trying again later");
                let later = now.saturating_add(core.settings.lease);
                let postponed = async { core.jobs()?.postpone(&damaged.id, damaged.version, later).await };
                if let Err(error) = postponed.await {
                    tracing::warn!(export, %error, "export: failed to postpone its row");
                }
            }
        }
    }
    jobs
}

/// Counts a job that could not be taken as an attempt, so that it ends one day; but not if the store is overloaded, or
/// closed.
async fn claim_failed(core: &Core, job: Job, error: StoreError) {
    let id = job.id.clone();
    if let StoreError::Overloaded | StoreError::Closed = error {
        tracing::warn!(export = id, %error, "export: it cannot be taken now; trying again");
        return;
    }
    tracing::error!(export = id, %error, "export: failed to take it");
    if let Err(error) = apply(core, job, Event::ClaimFailed).await {
        tracing::warn!(export = id, %error, "export: failed to record that it was not taken");
    }
}
