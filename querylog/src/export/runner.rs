//! Who works on the jobs: takes those that are due, one step each, and never one that somebody else has.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::extract::Extraction;
use super::{Core, file_name, window};
use crate::model::export_status::ExportState;
use crate::model::time::Timestamp;
use crate::store::{ExportStore, Job, StoreError};

/// How often jobs are looked for, that other processes took, or that come due.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether requests are still open.
const OPEN: Duration = Duration::from_secs(1);
/// How long an attempt that failed is waited for the next one, each time twice as long.
const AGAIN: Duration = Duration::from_secs(1);
/// How many short steps are made between two looks.
const STEPS: usize = 100;

/// What takes long,
const LONG: [ExportState; 2] = [ExportState::Pending, ExportState::Requested];
/// what does not,
const LINK: [ExportState; 1] = [ExportState::CreatingNewUrl];
/// and what is deleted when it is due.
const KEPT: [ExportState; 4] =
    [ExportState::Complete, ExportState::DoesNotExist, ExportState::Failed, ExportState::TimedOut];

pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let mut extractions = JoinSet::new();
    while !*stopped.borrow() {
        match AssertUnwindSafe(look(&core, &mut extractions, &stopped)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "export: the store does not tell what is to do"),
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

/// What fails in one place holds up nothing elsewhere.
async fn look(
    core: &Arc<Core>,
    extractions: &mut JoinSet<()>,
    stopped: &watch::Receiver<bool>,
) -> Result<(), StoreError> {
    let (store, now) = (core.store()?, core.now().await?);
    let far = now.plus(2 * core.settings.lease);
    let requested = due(core, store, &LONG[1..], now, far).await;
    let pending = due(core, store, &LONG[..1], now, Timestamp::MAX).await;
    // More than can be begun: one that has to wait for open requests holds up none behind it.
    for job in requested.into_iter().chain(pending) {
        if extractions.len() >= core.settings.at_once {
            break;
        }
        match claim(core, job.clone()).await {
            Ok(Some((claimed, left))) => {
                extractions.spawn(work(Arc::clone(core), claimed, left, stopped.clone()));
            }
            Ok(None) => {}
            Err(error) => not_claimed(core, job, error).await,
        }
    }
    let links = due(core, store, &LINK, now, far).await;
    // What is kept is due far ahead.
    let over = due(core, store, &KEPT, now, Timestamp::MAX).await;
    let steps = async {
        for job in links.into_iter().chain(over) {
            let id = job.id.clone();
            if let Err(error) = short_step(core, job).await {
                tracing::error!(export = id, %error, "export: a file gets no new URL, or is not deleted; it is tried again");
            }
        }
    };
    // An object store that does not answer holds up no extraction.
    if timeout(core.settings.lease / 3, steps).await.is_err() {
        tracing::warn!("export: new URLs and deletions of files take long; it is gone on with them later");
    }
    Ok(())
}

/// The jobs of some states that are due, and can be read. The others are put off, so that they are in nobody's way.
async fn due(core: &Core, store: &dyn ExportStore, states: &[ExportState], now: Timestamp, far: Timestamp) -> Vec<Job> {
    let found = store.due_jobs(states, now.as_micros(), far.as_micros(), STEPS).await;
    let found = found.unwrap_or_else(|error| {
        tracing::error!(%error, "export: the store does not tell what is to do");
        Vec::new()
    });
    let mut jobs = Vec::new();
    for job in found {
        match job {
            Ok(job) => jobs.push(job),
            Err(damaged) => {
                let (export, error) = (&damaged.id, &damaged.why);
                tracing::error!(export, %error, "export: its row cannot be read; it is looked at again later");
                let later = now.plus(core.settings.lease).as_micros();
                if let Err(error) = store.put_off_job(&damaged.id, damaged.version, later).await {
                    tracing::warn!(export, %error, "export: its row cannot be put off");
                }
            }
        }
    }
    jobs
}

/// Counts a job that could not be taken as an attempt, so that it ends one day: but not where the store has too much to
/// do, or fails altogether.
async fn not_claimed(core: &Core, mut job: Job, error: StoreError) {
    let id = job.id.clone();
    if let StoreError::Overloaded | StoreError::Closed = error {
        tracing::warn!(export = id, %error, "export: it cannot be taken now; it is tried again");
        return;
    }
    job.body.attempts += 1;
    if let Err(error) = tell_once(core, job, &Ended::Failed(error)).await {
        tracing::warn!(export = id, %error, "export: it cannot be said that it was not taken");
    }
}

/// Changes a job, and counts its version up; `None` where somebody else did.
async fn change(core: &Core, mut job: Job, now: Timestamp, due: Timestamp) -> Result<Option<Job>, StoreError> {
    job.due = due.as_micros();
    job.body.updated = now.as_micros();
    let is_ours = core.store()?.replace_job(job.clone()).await?;
    job.version += 1;
    Ok(is_ours.then_some(job))
}

async fn short_step(core: &Core, mut job: Job) -> Result<(), StoreError> {
    let now = core.now().await?;
    let kept = job.body.kept_until.map(Timestamp::from_micros).filter(|kept| now < *kept);
    if let (ExportState::CreatingNewUrl, Some(kept)) = (job.state, kept) {
        link(core, &mut job, between(now, kept)).await?;
        job.state = ExportState::Complete;
        return change(core, job, now, kept).await.map(drop);
    }
    // The time for which it is kept is over.
    for attempt in 1..=job.body.attempts {
        let mut earlier = job.clone();
        earlier.body.attempts = attempt;
        core.settings.files.delete(&file_name(&earlier)).await?;
    }
    core.store()?.delete_job(&job.id, job.version).await.map(drop)
}

/// Gives the file of a job, which is kept for so long, a URL: by the clock of this machine, by which URLs are checked.
async fn link(core: &Core, job: &mut Job, kept: Duration) -> Result<(), StoreError> {
    let now = (core.clock)();
    let until = now.plus(core.settings.url_lifetime.min(kept));
    let name = job.body.file.clone().ok_or_else(|| StoreError::failed("an export is complete and has no file"))?;
    let url = match core.settings.files.signed_url(&name, between(now, until)).await? {
        Some(url) => url.into(),
        None => core.links.write(&name, until),
    };
    job.body.url = Some((url, until.as_micros()));
    Ok(())
}

fn between(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_micros(one.as_micros().abs_diff(other.as_micros()))
}

/// Takes a job, if it may be extracted now, and says how long that may take.
async fn claim(core: &Core, mut job: Job) -> Result<Option<(Job, Duration)>, StoreError> {
    let (settings, now) = (&core.settings, core.now().await?);
    let settled = Timestamp::from_micros(job.body.time_end).plus(settings.settle);
    if job.state == ExportState::Pending && now < settled && core.store()?.any_open(window(&job)).await? {
        let due = now.plus(OPEN).min(settled);
        return change(core, job, now, due).await.map(|_| None);
    }
    let started = job.body.started.map_or(now, Timestamp::from_micros);
    if now > started.plus(settings.time_limit) {
        return end(core, job, ExportState::TimedOut).await.map(|()| None);
    }
    if failed_attempts(&job) >= settings.attempts {
        return end(core, job, ExportState::Failed).await.map(|()| None);
    }
    job.state = ExportState::Requested;
    job.body.started = Some(started.as_micros());
    job.body.attempts += 1;
    let left = time_left(core, &job, now);
    Ok(change(core, job, now, now.plus(settings.lease)).await?.map(|claimed| (claimed, left)))
}

/// How many attempts came to nothing: all but those that were given back.
fn failed_attempts(job: &Job) -> u32 {
    job.body.attempts.saturating_sub(job.body.given_back)
}

/// Puts a job into one of the states that stay.
async fn end(core: &Core, mut job: Job, state: ExportState) -> Result<(), StoreError> {
    let now = core.now().await?;
    let kept = now.plus(core.settings.keep);
    job.state = state;
    job.body.kept_until = Some(kept.as_micros());
    if state == ExportState::Complete {
        job.body.file = Some(file_name(&job));
        link(core, &mut job, core.settings.keep).await?;
    } else if state == ExportState::DoesNotExist {
        tracing::info!(export = job.id, %state, "export: there are no records in its range");
    } else {
        tracing::warn!(export = job.id, %state, attempts = job.body.attempts, "export: it ended without a file");
    }
    change(core, job, now, kept).await.map(drop)
}

/// What became of an extraction.
enum Ended {
    Extracted(u64),
    Failed(StoreError),
    /// Somebody else has the job.
    Lost,
    TimedOut,
    Stopped,
}

/// Works on a job that was taken, until it has ended, and says so in its row.
async fn work(core: Arc<Core>, mut job: Job, left: Duration, mut stopped: watch::Receiver<bool>) {
    let settings = &core.settings;
    let extraction = Extraction {
        scope: job.scope.clone(),
        window: window(&job),
        name: file_name(&job),
        api_version: Arc::clone(&settings.api_version),
    };
    let mut extract = std::pin::pin!(async {
        match timeout(left, extraction.run(&settings.log, &settings.files)).await {
            Ok(Ok(records)) => Ended::Extracted(records),
            Ok(Err(error)) => Ended::Failed(error),
            Err(_) => Ended::TimedOut,
        }
    });
    let mut ticks = interval(settings.lease / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let ended = loop {
        tokio::select! {
            ended = &mut extract => break ended,
            _ = stopped.wait_for(|stopped| *stopped) => break Ended::Stopped,
            _ = ticks.tick() => {}
        }
        // Not dropped in the middle, or nobody would know which version the job has.
        match renew(&core, job.clone()).await {
            Ok(Some(renewed)) => job = renewed,
            Ok(None) => break Ended::Lost,
            Err(error) => tracing::warn!(export = job.id, %error, "export: it cannot be said that it is worked on"),
        }
    };
    tell(&core, &job, ended).await;
}

/// Says that it is worked on; `None` where it is by somebody else.
async fn renew(core: &Core, job: Job) -> Result<Option<Job>, StoreError> {
    let now = core.now().await?;
    change(core, job, now, now.plus(core.settings.lease)).await
}

pub(super) fn time_left(core: &Core, job: &Job, now: Timestamp) -> Duration {
    let last = job.body.started.map_or(now, Timestamp::from_micros).plus(core.settings.time_limit);
    let left = Duration::from_micros(u64::try_from(last.as_micros() - now.as_micros()).unwrap_or_default());
    // Where the clock was set back, it was begun in what is the future now.
    left.min(core.settings.time_limit)
}

/// Says in the row of a job what became of it. While the store fails, it is said again, until somebody else may have
/// the job.
async fn tell(core: &Core, job: &Job, ended: Ended) {
    for _ in 0..10 {
        match tell_once(core, job.clone(), &ended).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(export = job.id, %error, "export: it cannot be said what became of it"),
        }
        sleep(core.settings.lease / 10).await;
    }
}

async fn tell_once(core: &Core, mut job: Job, ended: &Ended) -> Result<(), StoreError> {
    match ended {
        Ended::Extracted(0) => end(core, job, ExportState::DoesNotExist).await,
        Ended::Extracted(_) => end(core, job, ExportState::Complete).await,
        Ended::TimedOut => end(core, job, ExportState::TimedOut).await,
        Ended::Failed(error) => {
            tracing::error!(export = job.id, attempt = job.body.attempts, %error, "export: an attempt failed");
            if failed_attempts(&job) >= core.settings.attempts {
                return end(core, job, ExportState::Failed).await;
            }
            let now = core.now().await?;
            let due = now.plus(AGAIN * 2_u32.saturating_pow(failed_attempts(&job).saturating_sub(1)));
            change(core, job, now, due).await.map(drop)
        }
        Ended::Stopped => {
            core.settings.files.delete(&file_name(&job)).await?;
            // The next attempt has a file of its own, whatever is still on its way to this one.
            job.body.given_back += 1;
            let now = core.now().await?;
            change(core, job, now, now).await.map(drop)
        }
        Ended::Lost => core.settings.files.delete(&file_name(&job)).await,
    }
}
