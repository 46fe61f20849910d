//! Works on a job that was taken, until its extraction has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::export::core::Core;
use crate::export::extract::{Extraction, patiently};
use crate::export::job::{Event, file_name, window};
use crate::export::step::{Step, apply};
use crate::store::{Job, StoreError};

/// Extracts a job within a time, renews its lease meanwhile, and records the outcome.
pub(super) async fn work(core: Arc<Core>, mut job: Job, limit: Duration, stopped: watch::Receiver<bool>) {
    // Nothing of the extraction is left when its outcome is recorded.
    let outcome = extract(&core, &mut job, limit, stopped).await;
    record(&core, &job, &outcome).await;
}

async fn extract(core: &Core, job: &mut Job, limit: Duration, mut stopped: watch::Receiver<bool>) -> Event {
    let extraction = Extraction {
        scope: job.scope.clone(),
        window: window(job),
        name: file_name(job, job.body.attempts),
        api_version: Arc::clone(&core.settings.api_version),
    };
    let range = extraction.window;
    let extraction = async {
        // What has not been written before the records are read, and what was dropped until then.
        let covered = || core.log.coverage(range);
        let before = patiently(covered).await?;
        let records = extraction.run(core.log.store(), &core.files).await?;
        let coverage = before.and(patiently(covered).await?).for_environments();
        Ok::<_, StoreError>((records, coverage))
    };
    let mut extraction = std::pin::pin!(timeout(limit, extraction));
    let mut ticks = interval(core.settings.lease / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            ended = &mut extraction => return match ended {
                Ok(Ok((records, coverage))) => Event::Extracted(records, coverage),
                Ok(Err(error)) => {
                    let attempt = job.body.attempts;
                    tracing::error!(export = job.id, attempt, %error, "export: an attempt failed");
                    Event::Failed
                }
                Err(_) => Event::TimedOut,
            },
            _ = stopped.wait_for(|stopped| *stopped) => return Event::Stopped,
            _ = ticks.tick() => {}
        }
        // Not dropped in the middle, or nobody would know which version the job has.
        match apply(core, job.clone(), Event::Renew).await {
            Ok(Step::Done(renewed)) => *job = renewed,
            Ok(Step::Lost | Step::Extract(..)) => return Event::Lost,
            Err(error) => tracing::warn!(export = job.id, %error, "export: failed to renew the lease"),
        }
    }
}

/// Records what became of a job. While the store fails, it is tried again, until another process may have the job.
async fn record(core: &Core, job: &Job, outcome: &Event) {
    for _ in 0..10 {
        match apply(core, job.clone(), outcome.clone()).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(export = job.id, %error, "export: failed to record the outcome"),
        }
        sleep(core.settings.lease / 10).await;
    }
}
