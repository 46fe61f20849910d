//! A query log for tower services: one record for every request, with its trace and tags, on disk or in a store, and
//! none lost silently.
//!
//! A layer creates a [`Record`] of each request, whatever happens to it. A thread writes the records as lines of JSON,
//! or into a store that can be queried:
//!
//! ```text
//! InboundLayer ─▶ QueryLogLayer ─▶ handler ─▶ response body ends, fails or is dropped
//!    Trail        Record starts    RecordHandle          │
//!      └─ rejected for its tags ───────────────────────▶ Record ─▶ QueryLog ─▶ LogFiles ─▶ LogReader
//!                                                                   queues └─▶ LogStore ─▶ AuditLog
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
//! # Guide
//!
//! - [`keeping`]: what is kept, from when on, and what can still be lost.
//! - [`decisions`]: what is recorded, and what happens to files.
//! - [`operations`]: from one machine to many; space, backups, upgrades, and who may see what.
//! - [`exports`]: a time range of the log, for a warehouse.
//! - [`security`]: what is promised, and how it is tested.
//! - [`performance`]: what it costs, measured.
//!
//! # Overview
//!
//! | to | see |
//! | --- | --- |
//! | record the requests of a service | [`QueryLogLayer`] |
//! | add to the record of a request in its handler | [`RecordHandle`], [`Notes`] |
//! | record work that does not arrive as a request | [`QueryLog::append`], [`Record`], [`Ack`] |
//! | write to several destinations | [`QueryLog::builder`], [`Destination`] |
//! | set what a crash can take | [`Durability`] |
//! | set what happens if a destination does not keep up, and find out what is missing | [`Overload`], [`Gap`], [`LogStats`] |
//! | set what happens to files | [`Roll`], [`Keep`], [`LogFiles::gzip`], [`LineFormat`] |
//! | end a service so that nothing is missing | [`shutdown_signal`] (`signal`), [`QueryLog::close`] |
//! | read a log | [`LogReader`], [`Entry`], the program `tagtrail-log` |
//! | keep records in a store | `AuditLog`, `LogStore` (`sqlite`, `postgres`), the module `store` |
//! | find out what is missing from a store | `AuditLog::coverage`, `audit::Questions::coverage`, `audit::Coverage` |
//! | query records, requests and traces | `audit::Questions`: in a store with `AuditLog::scoped` (`store`), on a server with `client::AuditClient` (`client`) |
//! | serve them over HTTP | `server::AuditApi` (`audit-api`) |
//! | decide who may query and export | `access::Tokens`, `access::Authenticator`, `access::AccountAuthenticator` (`audit-api`, `export`) |
//! | export a time range, and download it | `export::ExportService`, `server::ExportApi` (`export`), `client::ExportClient` (`client`) |
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `axum` (default) | the matched route, the peer's address, [`RecordHandle`] as an extractor |
//! | `sqlite`, `postgres` | the audit log in SQLite, in PostgreSQL |
//! | `postgres-tls` | encrypted connections to PostgreSQL |
//! | `s3`, `gcs`, `azure` | an object store for long values of the audit log, and for export files |
//! | `audit-api` | the REST API of the audit log, as an axum router |
//! | `export` | exports of the log, and their REST API as an axum router |
//! | `client` | clients for both APIs |
//! | `signal` | [`shutdown_signal`], which waits for Ctrl-C and SIGTERM |
//! | `store` | what a custom store needs |
//!
#![cfg_attr(docsrs, feature(doc_cfg))]

// From the bottom up: each uses only those above it.
#[cfg(any(feature = "audit-api", feature = "export"))]
pub mod access;
#[cfg(any(feature = "client", feature = "store"))]
pub mod audit;
#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "client", feature = "store"))]
pub mod export;
pub mod files;
pub mod layer;
mod model;
mod private_file;
mod queue;
#[cfg(any(feature = "audit-api", feature = "export"))]
pub mod server;
#[cfg(feature = "signal")]
mod shutdown;
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

/// What is kept, from when on, and what can still be lost: acknowledgements, outages, overload, gaps.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/keeping.md")]
pub mod keeping {}

/// What is yours to decide: what is recorded, and what becomes of files.
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
pub use crate::files::{Entry, Keep, LineFormat, LogFiles, LogReader, Roll};
pub use crate::layer::{QueryLogLayer, RecordHandle};
pub use crate::model::gap::Gap;
pub use crate::model::record::{Caller, Notes, Operation, Outcome, Record};
pub use crate::model::time::{InvalidTimestamp, Timestamp};
pub use crate::model::window::Window;
pub use crate::queue::ack::{Ack, AppendError};
pub use crate::queue::destination::{Destination, OpenError};
pub use crate::queue::durability::Durability;
pub use crate::queue::gate::LogStats;
pub use crate::queue::log::{CloseError, QueryLog, QueryLogBuilder};
pub use crate::queue::overload::Overload;
#[cfg(feature = "store")]
pub use crate::queue::spool::{Acknowledge, Spool};
#[cfg(feature = "signal")]
pub use crate::shutdown::shutdown_signal;
