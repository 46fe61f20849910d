//! The jobs of exports in a store: the trait [`Jobs`].

use std::ops::RangeInclusive;

use async_trait::async_trait;

use crate::model::cursor::Cursor;
use crate::model::export_status::ExportState;
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::job::Job;

/// The jobs of exports in a store: rows that are compared and swapped. See [`Store::jobs`](crate::store::Store::jobs).
///
/// Several processes may work on the jobs of one store. Each change of a job increments its version, and succeeds only
/// if no other process has changed the job, so that no two processes do the same work. What a job means, and which
/// change follows which, is the concern of the export service. A store decides two things, each in one statement:
/// whether a job still has its version, and whether it may be [inserted](Self::insert).
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Returns the time of the store's clock, by which processes that share jobs agree on what is due and on leases.
    /// `None`, the default, if the store has no clock: the clock of the machine counts then.
    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Inserts a job, and returns whether it was inserted: it is not if the owner already has a job with this token, or
    /// has reached the limit.
    ///
    /// No two jobs of an owner may have the same token, even if several are inserted at the same time. The count may
    /// miss jobs that are being inserted.
    async fn insert(&self, job: Job, limit: JobLimit) -> Result<bool, StoreError>;

    /// Returns the job with an id.
    async fn by_id(&self, id: &str) -> Result<Option<Job>, StoreError>;

    /// Returns the job of an owner with a token.
    async fn by_token(&self, owner: &str, token: &str) -> Result<Option<Job>, StoreError>;

    /// Removes the token from the job of an owner, if the job was created at this time or before. Everything else stays
    /// as it is, including the version, so this does not disturb the process that works on the job.
    async fn release_token(&self, owner: &str, token: &str, created: Timestamp) -> Result<(), StoreError>;

    /// Returns the first jobs of a list, newest first.
    async fn list(&self, list: JobList, limit: usize) -> Result<Vec<FoundJob>, StoreError>;

    /// Returns the oldest jobs in these states that are due at `now`. A job that is due after `far` counts as due: the
    /// clock was set back.
    async fn due(
        &self,
        states: &[ExportState],
        now: Timestamp,
        far: Timestamp,
        limit: usize,
    ) -> Result<Vec<FoundJob>, StoreError>;

    /// Replaces the state, due time and body of a job, and increments its version, if it still has the version of the
    /// given job. Returns whether it had.
    async fn compare_and_swap(&self, job: Job) -> Result<bool, StoreError>;

    /// Sets the due time of a job, even if its row is damaged, and increments its version, if it still has this
    /// version. Returns whether it had.
    async fn postpone(&self, id: &str, version: i64, due: Timestamp) -> Result<bool, StoreError>;

    /// Deletes a job, if it still has this version. Returns whether it had.
    async fn delete(&self, id: &str, version: i64) -> Result<bool, StoreError>;
}

/// One of several jobs. A row that cannot be read does not affect the others.
pub type FoundJob = Result<Job, DamagedJob>;

/// A job whose row cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct DamagedJob {
    /// The id of the job.
    pub id: String,
    /// How often the job has changed.
    pub version: i64,
    /// When the job was inserted.
    pub created: Timestamp,
    /// Why the row cannot be read.
    #[source]
    pub why: StoreError,
}

impl DamagedJob {
    /// Creates the error for the row of a job.
    pub fn new(id: impl Into<String>, version: i64, created: Timestamp, why: StoreError) -> Self {
        Self { id: id.into(), version, created, why }
    }
}

/// The limit on the jobs of an owner, up to which another one may be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobLimit {
    /// The owner must have fewer jobs than this.
    pub most: usize,
    /// Which of the owner's jobs count: those in one of these states, with a due time in the range next to it.
    pub counted: Vec<(ExportState, RangeInclusive<Timestamp>)>,
}

/// A list of jobs: those of some scopes, and of the databases in them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobList {
    /// The scopes.
    pub scopes: Vec<ExportScope>,
    /// Only jobs in these states; if there are none, in any state.
    pub states: Vec<ExportState>,
    /// Only jobs that come before this position.
    pub before: Option<Cursor>,
}
