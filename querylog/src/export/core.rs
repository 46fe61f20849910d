//! What the service and its workers share: [`Core`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::audit::log::AuditLog;
use crate::export::files::ExportFiles;
use crate::export::job::until;
use crate::export::link::Links;
use crate::export::settings::Settings;
use crate::model::time::Timestamp;
use crate::store::{Job, JobUrl, Jobs, StoreError};

/// What the service and its workers share.
pub(super) struct Core {
    pub(super) log: AuditLog,
    pub(super) files: ExportFiles,
    pub(super) links: Links,
    pub(super) settings: Settings,
    /// There may be something to do.
    pub(super) wake: Notify,
    /// Whether the work is to stop.
    pub(super) stop: watch::Sender<bool>,
    /// This machine's. What others have to agree with goes by [`Core::now`].
    pub(super) clock: Clock,
}

/// A clock, which tests may replace.
#[derive(Clone)]
pub(super) struct Clock(pub(super) Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub(super) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl Core {
    pub(super) fn jobs(&self) -> Result<&dyn Jobs, StoreError> {
        self.log
            .store()
            .jobs()
            .ok_or_else(|| StoreError::failed("this store keeps no jobs of exports: see Store::jobs"))
    }

    /// The time by which jobs are due, and leases end: that of the store, or else of this machine.
    pub(super) async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.jobs()?.now().await?.unwrap_or_else(|| self.clock.now()))
    }

    /// Makes a URL for the file of a job, which is kept this long: by the clock of this machine, by which URLs are
    /// checked.
    pub(super) async fn make_url(&self, job: &Job, kept: Duration) -> Result<JobUrl, StoreError> {
        let now = self.clock.now();
        let expires = now.saturating_add(self.settings.url_lifetime.min(kept));
        let name = job.body.file.as_deref();
        let name = name.ok_or_else(|| StoreError::failed("a complete export has no file"))?;
        let url = match self.files.signed_url(name, until(now, expires)).await? {
            Some(url) => url.into(),
            None => self.links.write(name, expires),
        };
        Ok(JobUrl::new(url, expires))
    }
}
