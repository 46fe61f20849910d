//! The exports of a log: [`ExportService`] accepts them as jobs of the store, and works on them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use url::Url;

use crate::access::principal::Account;
use crate::audit::log::AuditLog;
use crate::export::admission::{self, NewExport, NotAccepted};
use crate::export::core::{Clock, Core};
use crate::export::files::ExportFiles;
use crate::export::job::{Event, status};
use crate::export::link::{InvalidLink, Links};
use crate::export::runner;
use crate::export::settings::{Settings, TOKEN_LIFETIME};
use crate::export::step::{Step, apply};
use crate::model::cursor::Cursor;
use crate::model::export_status::{ExportState, ExportStatus};
use crate::model::time::Timestamp;
use crate::store::{DamagedJob, Job, JobList, StoreError};

/// The exports of a log: accepts them, works on them, and reports on them. A clone is the same service.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let (path, files) = (folder.path().join("audit.db"), folder.path().join("exports"));
/// use tagtrail_querylog::AuditLog;
/// use tagtrail_querylog::access::Tokens;
/// use tagtrail_querylog::export::{ExportFiles, ExportService};
/// use tagtrail_querylog::server::ExportApi;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn run(path: &std::path::Path, files: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let log = AuditLog::open(path)?;
/// let builder = ExportService::builder(log, ExportFiles::folder(files)?, "https://logs.example.com/api/v1")?;
/// let exports = builder.at_once(4).start().await?;
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

/// The last one of it stops the work.
struct Handle {
    core: Arc<Core>,
    runner: JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.runner.abort();
    }
}

/// Builds an [`ExportService`]: see [`ExportService::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ExportServiceBuilder {
    log: AuditLog,
    files: ExportFiles,
    public_url: String,
    settings: Settings,
    clock: Clock,
}

impl ExportService {
    /// Creates a builder for the exports of a log into files. Callers reach the API at this URL, which has its path too,
    /// such as `https://logs.example.com/api/v1`: URLs of files that no object store signs start with it.
    ///
    /// # Errors
    ///
    /// If that is not an HTTP URL, or has a query or a fragment.
    pub fn builder(log: AuditLog, files: ExportFiles, public_url: &str) -> Result<ExportServiceBuilder, StoreError> {
        let is_http = Url::parse(public_url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
        });
        if !is_http {
            return Err(StoreError::unusable(
                "the URL of the API must be an HTTP URL, such as https://logs.example.com/api/v1",
            ));
        }
        let public_url = public_url.trim_end_matches('/').to_owned();
        let clock = Clock(Arc::new(Timestamp::now));
        Ok(ExportServiceBuilder { log, files, public_url, settings: Settings::default(), clock })
    }

    /// Stops the work. What is being extracted is given back at once, for others, or for when this runs again.
    pub async fn shutdown(&self) {
        self.0.core.stop.send_replace(true);
        self.0.core.stop.closed().await;
    }

    /// Accepts an export. If the same owner asked for one with the same token within a day, that one is returned.
    pub(crate) async fn add(&self, account: &Account, new: NewExport) -> Result<ExportStatus, NotAccepted> {
        let core = &self.0.core;
        let (jobs, now) = (core.jobs()?, core.now().await?);
        let job = admission::job(account, new, now, &core.settings).ok_or(NotAccepted::TooFarAhead)?;
        if let Some(token) = &job.token {
            jobs.release_token(&job.owner, token, now.saturating_sub(TOKEN_LIFETIME)).await?;
        }
        if jobs.insert(job.clone(), admission::limit(&job, &core.settings)).await? {
            core.wake.notify_one();
            return Ok(status(job));
        }
        let earlier = match &job.token {
            Some(token) => jobs.by_token(&job.owner, token).await?,
            None => None,
        };
        earlier.map(status).ok_or(NotAccepted::TooMany)
    }

    /// Returns an export, if this account may see it. One whose URL has run out starts to get another.
    pub(crate) async fn get(&self, account: &Account, id: &str) -> Result<Option<ExportStatus>, StoreError> {
        let core = &self.0.core;
        let jobs = core.jobs()?;
        let sees = |job: &Job| account.scopes.iter().any(|scope| scope.covers(&job.scope));
        let Some(job) = jobs.by_id(id).await?.filter(sees) else { return Ok(None) };
        let has_expired = job.body.url.as_ref().is_none_or(|url| url.expires <= core.clock.now());
        if job.state != ExportState::Complete || !has_expired {
            return Ok(Some(status(job)));
        }
        if let Step::Done(renewed) = apply(core, job, Event::UrlExpired).await? {
            core.wake.notify_one();
            return Ok(Some(status(renewed)));
        }
        // Another process was faster.
        Ok(jobs.by_id(id).await?.map(status))
    }

    /// Returns exports that this account may see, the newest first, and the place of the last one if more follow.
    pub(crate) async fn list(
        &self,
        account: &Account,
        states: Vec<ExportState>,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<ExportStatus>, Option<Cursor>), StoreError> {
        let which = JobList { scopes: account.scopes.clone(), states, before };
        let mut jobs = self.0.core.jobs()?.list(which, limit.saturating_add(1)).await?;
        let more = jobs.len() > limit;
        jobs.truncate(limit);
        let last = jobs.last().filter(|_| more).map(|job| match job {
            Ok(Job { created, id, .. }) | Err(DamagedJob { created, id, .. }) => {
                Cursor { micros: created.as_micros(), id: id.clone() }
            }
        });
        // What is missing may be long. Those that are damaged are logged whenever their turn comes.
        let without_coverage = |job| ExportStatus { coverage: None, ..status(job) };
        Ok((jobs.into_iter().flatten().map(without_coverage).collect(), last))
    }

    /// Checks whether a URL of our own opens this file now.
    pub(crate) fn check_link(&self, name: &str, query: &str) -> Result<(), InvalidLink> {
        self.0.core.links.check(name, query, self.0.core.clock.now())
    }

    /// Reads a file, or a part of it.
    pub(crate) async fn read(
        &self,
        name: &str,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        let files = &self.0.core.files;
        files.objects().get_opts(&files.path(name), options).await
    }

    pub(crate) async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.0.core.log.secret().await
    }
}

impl fmt::Debug for ExportService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Core { log, files, settings, .. } = &*self.0.core;
        f.debug_struct("ExportService")
            .field("log", log)
            .field("files", files)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}

impl ExportServiceBuilder {
    /// Sets how many exports this process extracts at a time; 2 by default, at least one. The others wait.
    pub fn at_once(mut self, exports: usize) -> Self {
        self.settings.at_once = exports.max(1);
        self
    }

    /// Sets how many exports of a key may wait or be extracted at a time, before others are rejected; 100 by default, at
    /// least one. As many again may wait for the end of their range, if that is more than a minute from now. Keys that
    /// may export the same count as one.
    pub fn waiting(mut self, exports: usize) -> Self {
        self.settings.waiting = exports.max(1);
        self
    }

    /// Sets how far in the future a range may end; 91 days by default: a range of 90 days that starts now, and a day for
    /// clocks that differ.
    pub fn ahead(mut self, ahead: Duration) -> Self {
        self.settings.ahead = ahead;
        self
    }

    /// Sets for how long a URL is valid; an hour by default. An export whose URL has run out gets another when a
    /// caller polls it.
    pub fn url_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.url_lifetime = lifetime;
        self
    }

    /// Sets for how long an export in a final state is kept, with its file; a day by default and at least, because a
    /// token stands for it that long. Then both are deleted, and the export is not found any more.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.settings.keep = keep.max(TOKEN_LIFETIME);
        self
    }

    /// Sets how long after the end of a range its extraction starts at the earliest; 5 seconds by default. A record that
    /// takes longer to the store, from the start of its request on, may be missing.
    pub fn arrival(mut self, arrival: Duration) -> Self {
        self.settings.arrival = arrival;
        self
    }

    /// Sets how long after the end of a range the extraction waits for open requests; a minute by default. Those that are
    /// still open then are exported as requests that never ended.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settings.settle = settle;
        self
    }

    /// Sets how long an extraction may take, with all further attempts, before it times out; an hour by default.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = limit;
        self
    }

    /// Sets the `API_VERSION` of exported records; `1` by default.
    pub fn api_version(mut self, version: impl Into<Arc<str>>) -> Self {
        self.settings.api_version = version.into();
        self
    }

    /// Sets the clock of this machine; [`Timestamp::now`] by default. For tests: URLs of this server run out by it, and
    /// jobs are due by it if the store has no clock of its own.
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock(Arc::new(clock));
        self
    }

    /// Starts to work on what is due, beside all else that this runtime does.
    ///
    /// # Errors
    ///
    /// If the store fails, or keeps no [jobs](crate::store::Store::jobs).
    pub async fn start(self) -> Result<ExportService, StoreError> {
        let Self { log, files, public_url, settings, clock } = self;
        let links = Links::new(&log.secret().await?, public_url);
        let (stop, stopped) = watch::channel(false);
        let core = Arc::new(Core { log, files, links, settings, wake: Notify::new(), stop, clock });
        core.jobs()?;
        let runner = tokio::spawn(runner::run(Arc::clone(&core), stopped));
        Ok(ExportService(Arc::new(Handle { core, runner })))
    }
}
