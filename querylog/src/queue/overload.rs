//! What happens to a request when the queue is full: [`Overload`].

use std::time::Duration;

/// What happens to a request when the queue is full, since the disk does not keep up. It waits for room first, for the
/// time that is given, before its handler runs.
///
/// The queue is full for requests that begin when three quarters of it are used; the rest is for those that run.
///
/// Where several requests come over one connection of HTTP/2, each waits for itself if each has its own clone of the
/// service, which is so for axum and hyper-util.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overload {
    /// Then it is handled all the same, and if there still is no room when it has ended, its record is missing. It is
    /// counted, and a [`Gap`](crate::Gap) in the log says how many and when.
    Shed {
        /// How long a request waits for room.
        wait: Duration,
    },
    /// Then it is answered with 503 and `Retry-After: 1`, and its handler does not run: for services that must not do
    /// what they cannot record. Such requests are counted too, and a [`Gap`](crate::Gap) tells of them.
    Fail {
        /// How long a request waits for room.
        wait: Duration,
    },
}

/// Handled all the same after 100 milliseconds.
impl Default for Overload {
    fn default() -> Self {
        Self::Shed { wait: Duration::from_millis(100) }
    }
}

impl Overload {
    pub(crate) fn wait(self) -> Duration {
        match self {
            Self::Shed { wait } | Self::Fail { wait } => wait,
        }
    }
}
