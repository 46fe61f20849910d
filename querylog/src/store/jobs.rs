//! The jobs of exports in a store: the trait [`Jobs`].

use std::ops::RangeInclusive;

use async_trait::async_trait;

use crate::model::cursor::Cursor;
use crate::model::export_status::ExportState;
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::job::Job;

/// Keeps the jobs of exports as rows that are compared and swapped: see [`Store::jobs`](crate::store::Store::jobs).
///
/// Several processes may work on the jobs of one store. Each change of a job increments its version, and is made only if
/// nobody else has changed the job: so no two processes do the same work. What a job means, and which change follows
/// which, is the concern of the export service. A store decides two things, each of them in one
/// statement: whether a job still has its version, and whether it may be [inserted](Self::insert).
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Returns the time by the store's own clock. Processes that share jobs agree by it on what is due, and on who works
    /// on what until when. `None`, as by default, if the store has no clock: then that of the machine counts.
    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Inserts a job, and returns whether it did. It does not if the owner already has a job with this token, or has
    /// reached the limit.
    ///
    /// No two jobs of an owner may ever have one token, even if others insert at the same time. The count may miss jobs
    /// that are inserted at that moment.
    async fn insert(&self, job: Job, limit: JobLimit) -> Result<bool, StoreError>;

    /// Returns the job with an id.
    async fn get(&self, id: &str) -> Result<Option<Job>, StoreError>;

    /// Returns the job of an owner with a token.
    async fn get_by_token(&self, owner: &str, token: &str) -> Result<Option<Job>, StoreError>;

    /// Takes the token off the job of an owner, if the job was created at this time or before, and leaves all else as it
    /// is, the version too: it does not disturb the process that works on the job.
    async fn release_token(&self, owner: &str, token: &str, created: Timestamp) -> Result<(), StoreError>;

    /// Returns the first jobs of a list, the newest first.
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

    /// Replaces state, due time and body of a job by these, and increments its version, if the job still has the version
    /// of the given one. Returns whether it had.
    async fn compare_and_swap(&self, job: Job) -> Result<bool, StoreError>;

    /// Makes a job due at another time, whatever else its row has, and increments its version, if it still has this
    /// version. Returns whether it had.
    async fn postpone(&self, id: &str, version: i64, due: Timestamp) -> Result<bool, StoreError>;

    /// Deletes a job, if it still has this version. Returns whether it had.
    async fn delete(&self, id: &str, version: i64) -> Result<bool, StoreError>;
}

/// One of several jobs. A row that cannot be read does not hold up the others.
pub type FoundJob = Result<Job, DamagedJob>;

/// A job whose row cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct DamagedJob {
    /// Its id.
    pub id: String,
    /// How often it has changed.
    pub version: i64,
    /// When it was inserted.
    pub created: Timestamp,
    /// Why it cannot be read.
    #[source]
    pub why: StoreError,
}

impl DamagedJob {
    /// Creates the error for the row of a job.
    pub fn new(id: impl Into<String>, version: i64, created: Timestamp, why: StoreError) -> Self {
        Self { id: id.into(), version, created, why }
    }
}

/// How many jobs an owner may have, for another one to be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobLimit {
    /// Fewer than this many.
    pub most: usize,
    /// Which of the owner's jobs count: those in one of these states, with a due time in the range beside it.
    pub counted: Vec<(ExportState, RangeInclusive<Timestamp>)>,
}

/// Which jobs: those of these scopes, and of the databases in them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobList {
    /// The scopes.
    pub scopes: Vec<ExportScope>,
    /// Those in these states; in any if there are none.
    pub states: Vec<ExportState>,
    /// Those that were created before this place.
    pub before: Option<Cursor>,
}
