//! Exports of the log: [`Exports`] takes what is asked for as jobs of the store, and works on them.
//!
//! A job is a row. Whoever works on it says so in the row, until when, by the clock of the store where it has one; a
//! process that is killed leaves that time to run out, and another takes the job up, or the same one once it runs again. It
//! writes another file then: a file that is there is whole, and is never written again.

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod clouds;
mod extract;
mod files;
mod line;
mod link;
mod runner;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

pub use self::files::ExportFiles;
use self::link::Links;
pub(crate) use self::link::{FILES, Refused};
use crate::access::callers::Account;
use crate::audit::log::AuditLog;
use crate::model::export_status::{ExportState, ExportStatus};
use crate::model::scan::Cursor;
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::{DamagedJob, ExportStore, Job, JobBody, JobList, Key, StoreError};

/// For how long a token stands for the same export.
const TOKEN: Duration = Duration::from_secs(24 * 3_600);

/// The exports of a log: takes them, works on them, and tells of them. A clone is the same.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let (path, files) = (folder.path().join("audit.db"), folder.path().join("exports"));
/// use tagtrail_querylog::{AuditLog, ExportApi, ExportFiles, ExportService, Tokens};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn run(path: &std::path::Path, files: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let log = AuditLog::open(path)?;
/// let exports = ExportService::builder(log, ExportFiles::folder(files)?, "https://logs.example.com/api/v1")?;
/// let exports = exports.at_once(4).start().await?;
/// let tokens: Tokens = r#"{"tokens": []}"#.parse()?;
/// let app: axum::Router = axum::Router::new().merge(ExportApi::new(exports, tokens).await?.router());
/// # Ok(())
/// # }
/// # run(&path, &files)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ExportService(Arc<Handle>);

/// The last one of it ends the work.
struct Handle {
    core: Arc<Core>,
    runner: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.runner.abort();
    }
}

/// What the runner and the API share.
struct Core {
    settings: ExportServiceBuilder,
    links: Links,
    /// There may be something to do.
    wake: Notify,
    /// Whether the work is to end.
    stop: watch::Sender<bool>,
    /// This machine's. What others have to agree with goes by [`Core::now`].
    clock: fn() -> Timestamp,
}

/// How exports are made. See [`ExportService::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ExportServiceBuilder {
    log: AuditLog,
    files: ExportFiles,
    public_url: String,
    at_once: usize,
    waiting: usize,
    ahead: Duration,
    url_lifetime: Duration,
    keep: Duration,
    arrival: Duration,
    settle: Duration,
    time_limit: Duration,
    attempts: u32,
    lease: Duration,
    api_version: Arc<str>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) scope: ExportScope,
    pub(crate) time_start: Timestamp,
    /// The moment behind the last.
    pub(crate) time_end: Timestamp,
    pub(crate) token: Option<Uuid>,
}

/// Why an export is not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// Its range ends too far in the future.
    Ahead,
    /// Too many of the same key wait.
    Waiting,
    /// The store fails.
    Store(StoreError),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(crate) fn no_exports() -> StoreError {
    StoreError::failed("this store has no exports: see Store::exports")
}

impl ExportService {
    /// The settings of exports of a log into files, to be changed and started. The URL is the one under which callers
    /// reach the API, with its path, such as `https://logs.example.com/api/v1`: it begins the URLs of files that no
    /// object store signs.
    ///
    /// # Errors
    ///
    /// If that is no URL of HTTP.
    pub fn builder(log: AuditLog, files: ExportFiles, public_url: &str) -> Result<ExportServiceBuilder, StoreError> {
        let is_http = Url::parse(public_url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
        });
        if !is_http {
            return Err(StoreError::unusable(
                "the URL of the API is one of HTTP, such as https://logs.example.com/api/v1",
            ));
        }
        Ok(ExportServiceBuilder {
            log,
            files,
            public_url: public_url.trim_end_matches('/').to_owned(),
            at_once: 2,
            waiting: 100,
            ahead: Duration::from_secs(91 * 24 * 3_600),
            url_lifetime: Duration::from_secs(3_600),
            keep: TOKEN,
            arrival: Duration::from_secs(5),
            settle: Duration::from_secs(60),
            time_limit: Duration::from_secs(3_600),
            attempts: 3,
            lease: Duration::from_secs(10),
            api_version: "1".into(),
        })
    }

    /// Ends the work. What is being extracted is given back at once, for others, or for when this runs again.
    pub async fn shutdown(&self) {
        self.0.core.stop.send_replace(true);
        self.0.core.stop.closed().await;
    }

    pub(crate) async fn add(&self, account: &Account, asked: Asked) -> Result<ExportStatus, NotTaken> {
        let core = &self.0.core;
        let now = core.now().await?;
        if asked.time_end > now.plus(core.settings.ahead) {
            return Err(NotTaken::Ahead);
        }
        // Not later for the clock of now, which may be set back.
        let due = asked.time_end.plus(core.settings.arrival);
        let job = Job {
            id: Uuid::new_v4().to_string(),
            owner: owner(account),
            token: asked.token.map(|token| token.to_string()),
            scope: asked.scope,
            state: ExportState::Pending,
            version: 0,
            created: now.as_micros(),
            due: due.as_micros(),
            body: JobBody {
                time_start: asked.time_start.as_micros(),
                time_end: asked.time_end.as_micros(),
                updated: now.as_micros(),
                ..JobBody::default()
            },
        };
        let added = core.store()?.add_job(job, now.minus(TOKEN).as_micros(), core.settings.waiting).await?;
        core.wake.notify_one();
        added.map(export_of).ok_or(NotTaken::Waiting)
    }

    /// An export, if this account may see it. One whose URL has run out begins to get another.
    pub(crate) async fn get(&self, account: &Account, id: &str) -> Result<Option<ExportStatus>, StoreError> {
        let core = &self.0.core;
        let store = core.store()?;
        let sees = |job: &Job| account.scopes.iter().any(|scope| scope.covers(&job.scope));
        let Some(job) = store.job(id).await?.filter(sees) else { return Ok(None) };
        let is_over = job.body.url.as_ref().is_none_or(|(_, until)| *until <= (core.clock)().as_micros());
        if job.state != ExportState::Complete || !is_over {
            return Ok(Some(export_of(job)));
        }
        let mut renewed = job;
        let now = core.now().await?.as_micros();
        renewed.state = ExportState::CreatingNewUrl;
        renewed.due = now;
        renewed.body.updated = now;
        renewed.body.url = None;
        if store.replace_job(renewed.clone()).await? {
            renewed.version += 1;
            core.wake.notify_one();
            return Ok(Some(export_of(renewed)));
        }
        // Somebody else was faster.
        Ok(store.job(id).await?.map(export_of))
    }

    /// Exports that this account may see, the newest first, and the place behind the last one where there are more.
    pub(crate) async fn list(
        &self,
        account: &Account,
        states: Vec<ExportState>,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<ExportStatus>, Option<Cursor>), StoreError> {
        let which = JobList { scopes: account.scopes.clone(), states, before };
        let mut jobs = self.0.core.store()?.jobs(which, limit.saturating_add(1)).await?;
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let last = jobs.last().filter(|_| more).map(|job| match job {
            Ok(Job { created, id, .. }) | Err(DamagedJob { created, id, .. }) => {
                Cursor { micros: *created, id: id.clone() }
            }
        });
        // Those that are damaged are told of whenever their turn comes.
        Ok((jobs.into_iter().flatten().map(export_of).collect(), last))
    }

    /// Whether a URL of our own opens this file now.
    pub(crate) fn opens(&self, name: &str, query: &str) -> Result<(), Refused> {
        self.0.core.links.check(name, query, (self.0.core.clock)())
    }

    /// Reads a file, or a part of it.
    pub(crate) async fn read(
        &self,
        name: &str,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        let files = &self.0.core.settings.files;
        files.objects.get_opts(&files.path(name), options).await
    }

    pub(crate) async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.0.core.settings.log.secret().await
    }
}

impl fmt::Debug for ExportService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportService").field("settings", &self.0.core.settings).finish_non_exhaustive()
    }
}

impl ExportServiceBuilder {
    /// How many are extracted at a time, by this process; 2 by default, at least one. The others wait.
    pub fn at_once(self, exports: usize) -> Self {
        Self { at_once: exports.max(1), ..self }
    }

    /// How many exports of a key may wait or be extracted at a time, before no more are taken; 100 by default, at least
    /// one. As many again may wait for the end of their range, where that is more than a minute from now. Keys that may
    /// export the same count as one.
    pub fn waiting(self, exports: usize) -> Self {
        Self { waiting: exports.max(1), ..self }
    }

    /// How far in the future the end of a range may be; 91 days by default: a range of 90 days that begins now, and a day
    /// for a clock that is wrong.
    pub fn ahead(self, ahead: Duration) -> Self {
        Self { ahead, ..self }
    }

    /// For how long a URL is good; an hour by default. An export whose URL has run out gets another when it is asked for.
    pub fn url_lifetime(self, lifetime: Duration) -> Self {
        Self { url_lifetime: lifetime, ..self }
    }

    /// For how long an export is kept once it is final, and its file; a day by default, and at the least, since a token
    /// stands for it so long. Then both are deleted, and nothing is known of it any more.
    pub fn keep(self, keep: Duration) -> Self {
        Self { keep: keep.max(TOKEN), ..self }
    }

    /// How long after the end of a range its extraction begins at the earliest; 5 seconds by default. A record that takes
    /// longer to the store, from the begin of its request on, may be missing.
    pub fn arrival(self, arrival: Duration) -> Self {
        Self { arrival, ..self }
    }

    /// How long after the end of a range the extraction waits for requests that are open; a minute by default. Those that
    /// are open even then are exported as ones that never ended.
    pub fn settle(self, settle: Duration) -> Self {
        Self { settle, ..self }
    }

    /// How long an extraction may take, with all that is tried again, before it is given up; an hour by default.
    pub fn time_limit(self, limit: Duration) -> Self {
        Self { time_limit: limit, ..self }
    }

    /// What records have as their `API_VERSION`; `1` by default.
    pub fn api_version(self, version: impl Into<Arc<str>>) -> Self {
        Self { api_version: version.into(), ..self }
    }

    /// Begins to work on what is to do, beside all else that this runtime does.
    ///
    /// # Errors
    ///
    /// If the store fails, or has no [exports](crate::store::Store::exports).
    pub async fn start(self) -> Result<ExportService, StoreError> {
        self.start_with(Timestamp::now).await
    }

    async fn start_with(self, clock: fn() -> Timestamp) -> Result<ExportService, StoreError> {
        self.log.exports().ok_or_else(no_exports)?;
        let links = Links::new(&self.log.secret().await?, self.public_url.clone());
        let (stop, stopped) = watch::channel(false);
        let core = Arc::new(Core { settings: self, links, wake: Notify::new(), stop, clock });
        let runner = tokio::spawn(runner::run(Arc::clone(&core), stopped));
        Ok(ExportService(Arc::new(Handle { core, runner })))
    }
}

impl Core {
    /// The time by which jobs are due, and leases end: that of the store, or else of this machine.
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.store()?.now().await?.unwrap_or_else(self.clock))
    }

    fn store(&self) -> Result<&dyn ExportStore, StoreError> {
        self.settings.log.exports().ok_or_else(no_exports)
    }
}

/// Keys that may export the same are of one owner.
fn owner(account: &Account) -> String {
    let mut scopes: Vec<_> = account.scopes.iter().map(ToString::to_string).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let scopes: Vec<_> = scopes.iter().map(String::as_str).collect();
    Uuid::from_bytes(*Key::of(&scopes).as_bytes()).to_string()
}

/// The name of the file that an attempt writes.
fn file_name(job: &Job) -> String {
    format!("{}.{}.jsonl.gz", job.id, job.body.attempts)
}

/// All but the end of the range.
fn window(job: &Job) -> Window {
    let JobBody { time_start, time_end, .. } = job.body;
    Window { start: Timestamp::from_micros(time_start), end: Timestamp::from_micros(time_end - 1) }
}

fn export_of(job: Job) -> ExportStatus {
    let Job { id, scope, state, version, body, .. } = job;
    let (url, until) = body.url.filter(|_| state == ExportState::Complete).unzip();
    ExportStatus {
        request_id: id,
        state,
        time_start: Timestamp::from_micros(body.time_start),
        time_end: Timestamp::from_micros(body.time_end),
        region_group: scope.region_group().to_owned(),
        updated_at: Timestamp::from_micros(body.updated),
        version: version.unsigned_abs(),
        database: (!scope.database().is_empty()).then(|| scope.to_string()),
        presigned_url: url,
        presigned_url_expiration_time: until.map(Timestamp::from_micros),
    }
}

#[cfg(test)]
mod tests;
