//! How exports are made: [`Settings`].

use std::sync::Arc;
use std::time::Duration;

/// For how long a token stands for the same export.
pub(super) const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// What the builder of the service sets. Its setters document each of these.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) at_once: usize,
    pub(super) waiting: usize,
    pub(super) ahead: Duration,
    pub(super) url_lifetime: Duration,
    pub(super) keep: Duration,
    pub(super) arrival: Duration,
    pub(super) settle: Duration,
    pub(super) time_limit: Duration,
    pub(super) api_version: Arc<str>,
    /// How many attempts may fail.
    pub(super) attempts: u32,
    /// For how long a process has a job, unless it renews that.
    pub(super) lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            at_once: 2,
            waiting: 100,
            ahead: Duration::from_secs(91 * 24 * 3_600),
            url_lifetime: Duration::from_secs(3_600),
            keep: TOKEN_LIFETIME,
            arrival: Duration::from_secs(5),
            settle: Duration::from_secs(60),
            time_limit: Duration::from_secs(3_600),
            api_version: "1".into(),
            attempts: 3,
            lease: Duration::from_secs(10),
        }
    }
}
