//! Which exports are accepted, and as which jobs: pure, too.

use std::time::Duration;

use uuid::Uuid;

use crate::access::principal::Account;
use crate::export::settings::Settings;
use crate::model::export_status::ExportState;
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;
use crate::store::{Job, JobLimit, Key, StoreError};

/// From how long after now on a job that is due counts as one that waits for the end of its range.
const LATER: Duration = Duration::from_secs(60);

/// An export that a caller asks for.
#[derive(Clone, Debug)]
pub(crate) struct NewExport {
    pub(crate) scope: ExportScope,
    pub(crate) time_start: Timestamp,
    /// The moment after the last.
    pub(crate) time_end: Timestamp,
    pub(crate) token: Option<Uuid>,
}

/// Why an export is not accepted.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// Its range ends too far in the future.
    TooFarAhead,
    /// Too many of the same key wait.
    TooMany,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for NotAccepted {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The job of an export, if its range does not end too far in the future.
pub(super) fn job(account: &Account, new: NewExport, now: Timestamp, settings: &Settings) -> Option<Job> {
    if new.time_end > now.saturating_add(settings.ahead) {
        return None;
    }
    let mut job = Job::new(Uuid::new_v4().to_string(), owner(account), new.scope, now);
    job.token = new.token.map(|token| token.to_string());
    // Not later because of the clock of now, which may be set back.
    job.due = new.time_end.saturating_add(settings.arrival);
    job.body.time_start = new.time_start;
    job.body.time_end = new.time_end;
    job.body.updated = now;
    Some(job)
}

/// The limit within which a job is accepted. Jobs that wait for the end of their range are counted by themselves, so that
/// what waits for long does not lock out what could be done now.
pub(super) fn limit(job: &Job, settings: &Settings) -> JobLimit {
    let later = job.created.saturating_add(LATER);
    let counted = if job.due > later {
        vec![(ExportState::Pending, later.saturating_add(Duration::from_micros(1))..=Timestamp::MAX)]
    } else {
        vec![(ExportState::Pending, Timestamp::MIN..=later), (ExportState::Requested, Timestamp::MIN..=Timestamp::MAX)]
    };
    JobLimit { most: settings.waiting, counted }
}

/// Keys that may export the same are of one owner.
pub(super) fn owner(account: &Account) -> String {
    let mut scopes: Vec<_> = account.scopes.iter().map(ToString::to_string).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
    Uuid::from_bytes(*Key::of(&scopes).as_bytes()).to_string()
}
