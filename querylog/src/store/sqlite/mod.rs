//! SQLite: the store that is in the process.
//!
//! One thread writes, and puts all that waits into one transaction, so that many records share one `fsync`. Readers
//! have connections of their own, and wait neither for the writer nor for each other.

mod connections;
mod jobs;
mod opened_file;
mod reader;
mod rows;
mod settings;
mod statements;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

pub use self::settings::{SqliteSettings, Synchronous};
pub use self::store::Sqlite;
