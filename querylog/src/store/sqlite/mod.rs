//! SQLite: a store inside the process.
//!
//! One thread writes, and commits everything that is waiting in one transaction, so that many records share one
//! `fsync`. Readers have their own connections, and wait neither for the writer nor for each other.

mod connections;
mod error;
mod jobs;
mod opened_file;
mod reader;
mod rows;
mod running;
mod statements;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod writer;
mod writers;

pub use self::connections::Synchronous;
pub use self::store::{Sqlite, SqliteBuilder};
