//! How long each wait may take: [`Limits`].

use std::time::Duration;

/// How long each wait may take. See the setters of [`PostgresBuilder`](crate::store::PostgresBuilder).
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// To open a connection.
    pub(super) connect: Duration,
    /// Until a connection is free.
    pub(super) acquire: Duration,
    /// To respond to a query.
    pub(super) query: Duration,
    /// To write a batch, or another change.
    pub(super) write: Duration,
    /// To get a lock of the server.
    pub(super) lock: Duration,
    /// To respond to one step of an export or of a prune.
    pub(super) maintenance: Duration,
    /// To create or migrate the tables.
    pub(super) migration: Duration,
    /// Until what was sent is acknowledged by the system of the server.
    pub(super) tcp_user: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(5),
            acquire: seconds(2),
            query: seconds(4),
            write: seconds(10),
            lock: seconds(5),
            maintenance: seconds(60),
            migration: seconds(3_600),
            tcp_user: seconds(10),
        }
    }
}

impl Limits {
    /// Returns the statements with which the server limits what a connection does. Its limit for a statement is the
    /// longest that any has; shorter ones are cancelled by this side.
    pub(super) fn session(&self) -> String {
        let longest = self.query.max(self.write).max(self.maintenance);
        format!(
            "SET statement_timeout = {longest}; SET idle_in_transaction_session_timeout = {longest};
            SET lock_timeout = {}",
            millis(self.lock),
            longest = millis(longest),
        )
    }

    /// Returns the statements that set the limits of a connection which migrates the tables. It waits for another one that
    /// does so.
    pub(super) fn migrating(&self) -> String {
        format!("SET statement_timeout = {}; SET lock_timeout = 0", millis(self.migration))
    }
}

/// Returns a limit as the server has it. There, 0 is no limit.
pub(super) fn millis(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}
