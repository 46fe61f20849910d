//! The stores of an audit log: the trait [`Store`], and its implementations.
//!
//! A store keeps rows, and supports a few queries, each with an index. What a query means to a caller, who may run it,
//! and long values that are kept elsewhere are the concern of [`AuditLog`](crate::AuditLog).

mod contract;
mod error;
mod exported;
mod job;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod job_statements;
mod jobs;
mod objects;
mod payloads;
#[cfg(feature = "postgres")]
mod postgres;
mod range;
mod row;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "export")]
mod upload;

pub use self::contract::{Hits, Selection, Store};
pub use self::error::StoreError;
pub use self::exported::ExportedRow;
pub use self::job::{Job, JobBody, JobUrl};
pub use self::jobs::{DamagedJob, FoundJob, JobLimit, JobList, Jobs};
pub use self::objects::Objects;
#[cfg(all(test, feature = "export"))]
pub(crate) use self::objects::SignUrls;
pub use self::payloads::Payloads;
#[cfg(all(test, feature = "postgres"))]
pub(crate) use self::postgres::tests::schema as postgres_schema;
#[cfg(feature = "postgres")]
pub use self::postgres::{Partition, Postgres, PostgresBuilder};
pub use self::range::RowRange;
pub use self::row::{Key, Members, Row};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{Sqlite, SqliteBuilder, Synchronous};
pub use crate::model::cursor::Cursor;
pub use crate::model::writer_status::{WriterReport, WriterState, WriterStatus};
