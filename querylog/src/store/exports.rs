//! What a store does for exports: it keeps their jobs, and reads the records of one in order.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Key, StoreError};
use crate::model::export_status::ExportState;
use crate::model::scan::{Cursor, Scan};
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;
use crate::model::window::Window;

/// What a store does for exports, where it can: see [`Store::exports`](super::Store::exports).
///
/// Several processes may work on the jobs of one store. Each change of a job counts its version up by one, and is made
/// only where nobody else made one meanwhile: so no two of them do the same.
#[async_trait]
pub trait ExportStore: Send + Sync {
    /// What time it is by the store's own clock. By this one the processes that share its jobs agree on what is due, and
    /// on who works on what until when. `None` where it has none, as by default: then that is the clock of the machine.
    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    /// Adds a job, and returns it; but where one of the same owner with the same token was created after `since`, there
    /// is none to add, and that one is returned. One that was created before loses its token. `None` where `most` jobs of
    /// the owner wait already, or are worked on; jobs that are added at the same moment may be more by their number. Jobs
    /// that are due much later than now, which is when this one is created, are counted for themselves, so that what
    /// waits for long locks out nothing that could be done.
    async fn add_job(&self, job: Job, since: i64, most: usize) -> Result<Option<Job>, StoreError>;

    /// The job of an id.
    async fn job(&self, id: &str) -> Result<Option<Job>, StoreError>;

    /// Replaces state, due time and body of a job by these, and counts its version up, if it still has the version that
    /// the given one has. Whether it had.
    async fn replace_job(&self, job: Job) -> Result<bool, StoreError>;

    /// Deletes a job, if it still has this version. Whether it had.
    async fn delete_job(&self, id: &str, version: i64) -> Result<bool, StoreError>;

    /// Makes a job due at another time, whatever else its row has, and counts its version up, if it still has this
    /// version. Whether it had.
    async fn put_off_job(&self, id: &str, version: i64, due: i64) -> Result<bool, StoreError>;

    /// Some jobs, the newest first.
    async fn jobs(&self, list: JobList, limit: usize) -> Result<Vec<FoundJob>, StoreError>;

    /// The oldest jobs of these states that are due by `now`. One that is due later than `far` is taken for due: the clock
    /// was set back.
    async fn due_jobs(
        &self,
        states: &[ExportState],
        now: i64,
        far: i64,
        limit: usize,
    ) -> Result<Vec<FoundJob>, StoreError>;

    /// Whether a request that began in a window has not ended, as far as anybody knows.
    async fn any_open(&self, window: Window) -> Result<bool, StoreError>;

    /// The first entries of a range of the index of [keys](super::Row::keys), with all that exports have of their rows.
    /// The row of an entry may have that key no more. There may be fewer than `limit` though more follow, such as where
    /// rows are large; but none at all only at the end of the range.
    async fn exported(&self, range: Scan<Key>, limit: usize) -> Result<Vec<ExportedRow>, StoreError>;
}

/// The job of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Job {
    /// Its id.
    pub id: String,
    /// Who asked for it: tokens are kept apart by this.
    pub owner: String,
    /// The token by which asking twice is asking once.
    pub token: Option<String>,
    /// What is exported.
    pub scope: ExportScope,
    /// How far it is.
    pub state: ExportState,
    /// How often it was changed.
    pub version: i64,
    /// When it was added, in microseconds since 1970 (UTC).
    pub created: i64,
    /// When there is something to do for it, in microseconds since 1970 (UTC).
    pub due: i64,
    /// All else that is known of it.
    pub body: JobBody,
}

/// What a store need not look into: it keeps this as JSON. Times are in microseconds since 1970 (UTC).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct JobBody {
    /// The first moment of the range.
    pub time_start: i64,
    /// The moment behind the range.
    pub time_end: i64,
    /// When the job was changed last.
    pub updated: i64,
    /// How often the extraction was begun.
    pub attempts: u32,
    /// How many of these were given back, by processes that ended.
    pub given_back: u32,
    /// When it was begun first.
    pub started: Option<i64>,
    /// The name of the file that has the records.
    pub file: Option<String>,
    /// Where that can be read, and until when.
    pub url: Option<(String, i64)>,
    /// When the file and the job are deleted.
    pub kept_until: Option<i64>,
}

/// A job among others, which are there though this one may not be read.
pub type FoundJob = Result<Job, DamagedJob>;

/// A job whose row cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct DamagedJob {
    /// Its id.
    pub id: String,
    /// How often it was changed.
    pub version: i64,
    /// When it was added, in microseconds since 1970 (UTC).
    pub created: i64,
    /// What is wrong with it.
    #[source]
    pub why: StoreError,
}

/// Which jobs: those of these scopes, and of what is beneath them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobList {
    /// The scopes.
    pub scopes: Vec<ExportScope>,
    /// Those of these states; of all where there are none.
    pub states: Vec<ExportState>,
    /// Those that were created before this place.
    pub before: Option<Cursor>,
}

/// A request as exports read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedRow {
    /// When it began, and its id.
    pub place: Cursor,
    /// The [details](super::Row::details) of its row; `None` where there is no row of this place, or it has none.
    pub details: Option<String>,
}

/// How many bytes of details a page of an export has, but for its last row.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// From how many microseconds on a job is due much later.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const LATER: i64 = 60 * 1_000_000;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Job {
    /// The time behind which jobs are due much later than when this one is created, and whether this one is.
    pub(super) fn later(&self) -> (i64, bool) {
        let later = self.created.saturating_add(LATER);
        (later, self.due > later)
    }

    pub(super) fn body_text(&self) -> Result<String, StoreError> {
        serde_json::to_string(&self.body).map_err(StoreError::failed)
    }

    /// Reads what a store has as texts into a job that has all else.
    pub(super) fn read(
        scope: &str,
        state: &str,
        body: &str,
    ) -> Result<(ExportScope, ExportState, JobBody), StoreError> {
        Ok((
            scope.parse().map_err(StoreError::failed)?,
            state.parse().map_err(StoreError::failed)?,
            // What it says may have a URL in it.
            serde_json::from_str(body).map_err(|_| StoreError::failed("the body of a job is damaged"))?,
        ))
    }
}
