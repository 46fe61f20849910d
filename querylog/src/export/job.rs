//! The life of an export's job, as a table: [`next`]. It is pure: the time, and what became of an effect, is given to it.
//!
//! ```text
//!  insert
//!    │
//!    ▼
//!  Pending ◀──┐
//!    │ └──────┘ OpenRequests(true): wait a second
//!    │
//!    │ Due if the range has settled, else OpenRequests(false)
//!    ▼
//!  Requested ◀─┐
//!    │ └───────┘ Renew; Due: the lease has run out; Failed, Stopped: try again
//!    │
//!    ├─ Extracted(0) ───────────────▶ DoesNotExist ───┐
//!    ├─ Extracted(n), then UrlMade ─▶ Complete ───────┤
//!    │                                 │ ▲            │
//!    │                     UrlExpired  │ │ UrlMade    │
//!    │                                 ▼ │            ├─ Due: kept no longer ─▶ file and row are deleted
//!    │                                CreatingNewUrl ─┤
//!    ├─ Failed, Due: too often ─────▶ Failed ─────────┤
//!    └─ TimedOut, Due: too late ────▶ TimedOut ───────┘
//! ```
//!
//! `ClaimFailed` counts as an attempt that failed, of a pending job too. All other pairs of a state and an event change
//! nothing.

use std::time::Duration;

use crate::export::settings::Settings;
use crate::model::coverage::Coverage;
use crate::model::export_status::{ExportState, ExportStatus};
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::{Job, JobUrl};

/// How often a pending job checks for open requests.
const OPEN: Duration = Duration::from_secs(1);
/// How long the second attempt waits after the first one failed. Each further one waits twice as long.
const AGAIN: Duration = Duration::from_secs(1);

/// What happens to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Its due time has come.
    Due,
    /// Whether requests of its range are open.
    OpenRequests(bool),
    /// The store failed to store that it was taken.
    ClaimFailed,
    /// The process that has it is still at work.
    Renew,
    /// An attempt extracted this many records, and found what is missing beside them.
    Extracted(u64, Coverage),
    /// An attempt failed.
    Failed,
    /// The extraction took too long.
    TimedOut,
    /// The process that has it stops.
    Stopped,
    /// Another process has it.
    Lost,
    /// Its file has a URL.
    UrlMade(JobUrl),
    /// A caller polls it, and its URL has run out.
    UrlExpired,
}

/// What is to be done for a job, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Swap its row for the new one, unless another process changed it. Then the other effects are left out.
    Save,
    /// Find out whether requests of its range are open, and report it as [`Event::OpenRequests`].
    AskOpen,
    /// Extract its records within this time.
    Extract(Duration),
    /// Make a URL for its file, which is kept this long, and report it as [`Event::UrlMade`].
    MakeUrl(Duration),
    /// Delete this file, if it is there.
    DeleteFile(String),
    /// Delete its row.
    DeleteRow,
}

/// Returns what a job becomes by an event, and what is to be done about it.
pub(super) fn next(mut job: Job, event: Event, now: Timestamp, settings: &Settings) -> (Job, Vec<Effect>) {
    use {Event as E, ExportState as S};
    match (job.state, event) {
        (S::Pending, E::Due) if now < settled(&job, settings) => (job, vec![Effect::AskOpen]),
        (S::Pending, E::OpenRequests(true)) => {
            let due = now.saturating_add(OPEN).min(settled(&job, settings));
            save(job, now, due)
        }
        (S::Pending, E::Due | E::OpenRequests(false)) | (S::Requested, E::Due) => {
            if now > first_start(&job, now).saturating_add(settings.time_limit) {
                return end(job, S::TimedOut, now, settings);
            }
            if failures(&job) >= settings.attempts {
                return end(job, S::Failed, now, settings);
            }
            job.state = S::Requested;
            job.body.started = Some(first_start(&job, now));
            job.body.attempts += 1;
            let extract = Effect::Extract(time_left(&job, now, settings));
            and(save(job, now, now.saturating_add(settings.lease)), [extract])
        }
        (S::Pending | S::Requested, E::ClaimFailed) => {
            job.body.attempts += 1;
            fail(job, now, settings)
        }
        (S::Requested, E::Renew) => save(job, now, now.saturating_add(settings.lease)),
        (S::Requested, E::Failed) => fail(job, now, settings),
        (S::Requested, E::Stopped) => {
            // The next attempt has a file of its own, whatever is still on its way to this one.
            let delete = Effect::DeleteFile(file_name(&job, job.body.attempts));
            job.body.given_back += 1;
            let (job, effects) = save(job, now, now);
            (job, [vec![delete], effects].concat())
        }
        (S::Requested, E::Lost) => {
            let delete = Effect::DeleteFile(file_name(&job, job.body.attempts));
            (job, vec![delete])
        }
        (S::Requested, E::TimedOut) => end(job, S::TimedOut, now, settings),
        (S::Requested, E::Extracted(0, coverage)) => {
            job.body.coverage = Some(coverage);
            end(job, S::DoesNotExist, now, settings)
        }
        (S::Requested, E::Extracted(_, coverage)) => {
            job.body.coverage = Some(coverage);
            job.body.file = Some(file_name(&job, job.body.attempts));
            job.body.kept_until = Some(now.saturating_add(settings.keep));
            (job, vec![Effect::MakeUrl(settings.keep)])
        }
        (S::Requested | S::CreatingNewUrl, E::UrlMade(url)) => {
            job.state = S::Complete;
            job.body.url = Some(url);
            let kept_until = job.body.kept_until.unwrap_or(now);
            save(job, now, kept_until)
        }
        (S::Complete, E::UrlExpired) => {
            job.state = S::CreatingNewUrl;
            job.body.url = None;
            save(job, now, now)
        }
        (S::CreatingNewUrl, E::Due) if job.body.kept_until.is_some_and(|kept_until| now < kept_until) => {
            let kept = job.body.kept_until.map_or(Duration::ZERO, |kept_until| until(now, kept_until));
            (job, vec![Effect::MakeUrl(kept)])
        }
        (S::Complete | S::DoesNotExist | S::Failed | S::TimedOut | S::CreatingNewUrl, E::Due) => {
            let files = (1..=job.body.attempts).map(|attempt| Effect::DeleteFile(file_name(&job, attempt)));
            let effects = files.chain([Effect::DeleteRow]).collect();
            (job, effects)
        }
        _ => (job, Vec::new()),
    }
}

fn save(mut job: Job, now: Timestamp, due: Timestamp) -> (Job, Vec<Effect>) {
    job.due = due;
    job.body.updated = now;
    (job, vec![Effect::Save])
}

fn and((job, mut effects): (Job, Vec<Effect>), more: impl IntoIterator<Item = Effect>) -> (Job, Vec<Effect>) {
    effects.extend(more);
    (job, effects)
}

/// Puts a job into a final state without a file.
fn end(mut job: Job, state: ExportState, now: Timestamp, settings: &Settings) -> (Job, Vec<Effect>) {
    let kept_until = now.saturating_add(settings.keep);
    job.state = state;
    job.body.kept_until = Some(kept_until);
    save(job, now, kept_until)
}

/// Ends a job, or has it tried again later.
fn fail(job: Job, now: Timestamp, settings: &Settings) -> (Job, Vec<Effect>) {
    let failures = failures(&job);
    if failures >= settings.attempts {
        return end(job, ExportState::Failed, now, settings);
    }
    save(job, now, now.saturating_add(AGAIN * 2_u32.saturating_pow(failures.saturating_sub(1))))
}

/// How many attempts failed: all but those that were given back.
fn failures(job: &Job) -> u32 {
    job.body.attempts.saturating_sub(job.body.given_back)
}

/// From when on requests that are open are no longer waited for.
fn settled(job: &Job, settings: &Settings) -> Timestamp {
    job.body.time_end.saturating_add(settings.settle)
}

fn first_start(job: &Job, now: Timestamp) -> Timestamp {
    job.body.started.unwrap_or(now)
}

/// How long the extraction may still take.
fn time_left(job: &Job, now: Timestamp, settings: &Settings) -> Duration {
    let left = until(now, first_start(job, now).saturating_add(settings.time_limit));
    // If the clock was set back, the first start is in what is the future now.
    left.min(settings.time_limit)
}

/// The time between two moments; none if the second is the earlier one.
pub(super) fn until(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(other.as_micros() - one.as_micros()).unwrap_or_default())
}

/// The name of the file that an attempt writes.
pub(super) fn file_name(job: &Job, attempt: u32) -> String {
    format!("{}.{attempt}.jsonl.gz", job.id)
}

/// The range without its end.
pub(super) fn window(job: &Job) -> Window {
    let last = Timestamp::from_micros(job.body.time_end.as_micros() - 1);
    Window { start: job.body.time_start, end: last }
}

/// What a caller sees of a job.
pub(super) fn status(job: Job) -> ExportStatus {
    let Job { id, scope, state, version, body, .. } = job;
    let url = body.url.filter(|_| state == ExportState::Complete);
    let (url, expires) = url.map(|url| (url.url, url.expires)).unzip();
    ExportStatus {
        request_id: id,
        state,
        time_start: body.time_start,
        time_end: body.time_end,
        region_group: scope.region_group().to_owned(),
        updated_at: body.updated,
        version: version.unsigned_abs(),
        database: (!scope.database().is_empty()).then(|| scope.to_string()),
        presigned_url: url,
        presigned_url_expiration_time: expires,
        coverage: body.coverage,
    }
}

#[cfg(test)]
mod tests;
