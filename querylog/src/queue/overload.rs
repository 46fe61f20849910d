//! What happens to a request when a queue is full: [`Overload`].

use std::time::Duration;

/// What happens to a request when the queue is full because the disk or the store does not keep up, or is away. The
/// request first waits for room, before its handler runs.
///
/// For requests that start, the queue is full when three quarters of it are used; the rest is for running requests. If
/// a log has several destinations, the strictest policy of those whose queue is full applies.
///
/// Requests on the same HTTP/2 connection wait independently if each has its own clone of the service, as with axum and
/// hyper-util.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overload {
    /// The request is handled. If there is still no room when it has ended, its record is dropped: it is counted, and a
    /// [`Gap`](crate::Gap) in the log reports how many were dropped, and when.
    Shed {
        /// How long a request waits for room.
        wait: Duration,
    },
    /// The request is rejected with 503 and `Retry-After: 1`, and its handler does not run. This is for services that
    /// must not do anything that they cannot record. Such requests are counted too, and reported in a
    /// [`Gap`](crate::Gap).
    ///
    /// Room for the record is reserved before the handler runs, so a request that is handled has its record, however
    /// many are handled at the same time. Room for its output (`stdout`, `stderr`, `payload`) is not: if there is
    /// none when the request ends, the output is cut, and the record says so.
    Fail {
        /// How long a request waits for room.
        wait: Duration,
    },
}

/// Returns `Shed`, with a wait of 100 milliseconds.
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

    /// Returns the stricter of two policies, with the longer wait.
    pub(crate) fn strictest(self, other: Self) -> Self {
        let wait = self.wait().max(other.wait());
        match (self, other) {
            (Self::Shed { .. }, Self::Shed { .. }) => Self::Shed { wait },
            _ => Self::Fail { wait },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_is_the_strictest_with_the_longest_wait() {
        let [short, long] = [1, 2].map(Duration::from_secs);
        let [shed, fail] = [Overload::Shed { wait: long }, Overload::Fail { wait: short }];
        for (one, other, expected) in [
            (shed, fail, Overload::Fail { wait: long }),
            (fail, shed, Overload::Fail { wait: long }),
            (shed, Overload::Shed { wait: short }, shed),
            (fail, fail, fail),
        ] {
            assert_eq!(one.strictest(other), expected);
        }
    }
}
