//! A query log for tower services: one record for every request, with its trace and tags, on disk, and none lost in
//! silence.
//!
//! A layer makes a [`Record`] of each request, whatever becomes of it, and a thread writes them as lines of JSON:
//!
//! ```text
//! InboundLayer ─▶ QueryLogLayer ─▶ handler ─▶ body of the answer ends, fails, is dropped
//!    Trail          Record begins    RecordHandle          │
//!      └─ refused for its tags ───────────────────────────▶ Record ─▶ queue ─▶ writer ─▶ files ─▶ read
//!                                                                     Overload Durability Roll, Keep
//! ```
//!
//! ```
//! use axum::{Router, routing::get};
//! use tagtrail::Admit;
//! use tagtrail_querylog::{LogFiles, QueryLogLayer};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let log = LogFiles::new(folder).open()?;
//! let layers = QueryLogLayer::new(log.clone()).with_inbound(Admit::Restart);
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layers);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # To read
//!
//! - [`decisions`]: what a crash may take, what happens when the disk does not keep up, what is recorded, files.
//! - [`operations`]: from one machine to many; space, backups, upgrades, and who may see what.
//! - [`exports`]: a range of the log for a warehouse.
//! - [`security`]: what is promised, and how it is tested.
//! - [`performance`], measured.
//!
//! # To use
//!
//! | to | see |
//! | --- | --- |
//! | record the requests of a service | [`QueryLogLayer`] |
//! | add to the record of a request in its handler | [`RecordHandle`], [`Notes`] |
//! | record work that comes by another way | [`QueryLog::append`], [`Record`], [`Ack`] |
//! | decide what a crash can take | [`Durability`] |
//! | decide what happens when the disk does not keep up | [`Overload`], [`Gap`], [`LogStats`] |
//! | decide what becomes of files | [`Roll`], [`Keep`], [`LogFiles::gzip`], [`LineFormat`] |
//! | read a log | [`LogReader`], [`Entry`], the program `tagtrail-log` |
//! | keep records in a store, and ask it | `AuditLog`, `LogStore` (`sqlite`, `postgres`) |
//! | ask for records, requests and traces | `Questions`: of a store by `AuditLog::scoped` (`store`), of a server by `AuditClient` (`client`) |
//! | serve them by REST | `AuditApi` (`audit-api`) |
//! | export a range of them, and download it | `ExportService`, `ExportApi` (`export`), `ExportClient` (`client`) |
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | `axum` (default) | the matched route, the address of the peer, [`RecordHandle`] as an extractor |
//! | `sqlite`, `postgres` | the audit log in SQLite, in PostgreSQL |
//! | `postgres-tls` | encrypted connections to PostgreSQL |
//! | `s3`, `gcs`, `azure` | its long values, and files of exports, in an object store |
//! | `audit-api` | its REST API as an axum router |
//! | `export` | exports of the log, and their REST API as an axum router |
//! | `client` | the clients of both APIs |
//! | `store` | what a store of your own needs |
//!
#![cfg_attr(docsrs, feature(doc_cfg))]

// From the bottom up: each uses only those above it.
#[cfg(any(feature = "audit-api", feature = "export"))]
pub mod access;
#[cfg(any(feature = "client", feature = "store"))]
pub mod audit;
#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "client", feature = "export"))]
pub mod export;
pub mod files;
pub mod layer;
mod model;
mod private_file;
mod queue;
#[cfg(any(feature = "audit-api", feature = "export"))]
pub mod server;
#[cfg(feature = "store")]
pub mod store;
mod wire;

/// The parts of a [`Record`].
pub mod record {
    pub use crate::model::printable::printable;
    pub use crate::model::record::{
        Caller, InvalidOutcome, Notes, Operation, Outcome, Record, RequestPart, ResponsePart, export_counters,
    };
}

/// The code of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What is yours to decide: [`Durability`], [`Overload`], what is recorded, and what becomes of files.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/decisions.md")]
pub mod decisions {}

/// From one machine to many: SQLite, PostgreSQL, space, backups, upgrades, servers, and who may see what.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}

/// A range of the log as a file, for a warehouse: by the program, by any HTTP client, in Rust.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/exports.md")]
pub mod exports {}

/// What is promised, what is not, and how it is tested.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/security.md")]
pub mod security {}

/// What it costs, measured.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[cfg(feature = "store")]
pub use crate::audit::log::AuditLog;
#[cfg(feature = "store")]
pub use crate::audit::log_store::LogStore;
pub use crate::files::{Durability, Entry, Keep, LineFormat, LogFiles, LogReader, Roll};
pub use crate::layer::{QueryLogLayer, RecordHandle};
pub use crate::model::gap::Gap;
pub use crate::model::record::{Caller, Notes, Operation, Outcome, Record};
pub use crate::model::time::{InvalidTimestamp, Timestamp};
pub use crate::model::window::Window;
pub use crate::queue::ack::{Ack, AppendError};
pub use crate::queue::destination::{Destination, OpenError};
pub use crate::queue::gate::LogStats;
pub use crate::queue::log::{CloseError, QueryLog, QueryLogBuilder};
pub use crate::queue::overload::Overload;
