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
//! use tagtrail_querylog::{QueryLog, QueryLogLayer};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let log = QueryLog::open(folder)?;
//! let layers = QueryLogLayer::new(log.clone()).under(Admit::Restart);
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
//! | decide what happens when the disk does not keep up | [`Overload`], [`Gap`], [`Counters`] |
//! | decide what becomes of files | [`Roll`], [`Keep`], [`FileSettings::gzip`], [`Form`] |
//! | read a log | [`read`], [`Entry`], the program `tagtrail-log` |
//! | keep records in a store, and ask it | `AuditLog`, `QueryLog::storing` (`sqlite`, `postgres`) |
//! | find requests by trace, tag, status and route | `AuditLog::requests`, `AuditLog::trace` (`store`) |
//! | answer questions about them by REST, and ask them | `AuditApi` (`audit-api`), `AuditClient` (`client`) |
//! | export a range of them, and download it | `Exports`, `ExportApi` (`export`), `ExportClient` (`client`) |
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
//! | `cli` | the program `tagtrail-log` |
//!
#![cfg_attr(docsrs, feature(doc_cfg))]

// What is recorded, and how it is written down.
mod record;
mod time;
// Where it comes from.
mod layer;
// How it gets to the disk, and is read back.
mod log;
// What is asked for, and answered.
#[cfg(any(feature = "client", feature = "store"))]
mod distinct;
#[cfg(any(feature = "client", feature = "store"))]
mod export_scope;
#[cfg(any(feature = "client", feature = "store"))]
mod export_state;
#[cfg(any(feature = "client", feature = "store"))]
mod status;
#[cfg(any(feature = "client", feature = "store"))]
mod trace_tree;
mod window;
// How it is kept, and asked for: in a process, by REST.
#[cfg(any(feature = "audit-api", feature = "export"))]
mod api;
#[cfg(feature = "store")]
mod audit_log;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "export")]
mod export;
#[cfg(feature = "store")]
pub mod store;

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

#[cfg(feature = "audit-api")]
pub use crate::api::audit::AuditApi;
#[cfg(any(feature = "audit-api", feature = "export"))]
pub use crate::api::callers::{Account, Callers, InvalidTokens, Principal, Tokens, User};
#[cfg(feature = "export")]
pub use crate::api::export::ExportApi;
#[cfg(feature = "store")]
pub use crate::audit_log::requests::Requests;
#[cfg(feature = "store")]
pub use crate::audit_log::stored::StoreSettings;
#[cfg(feature = "store")]
pub use crate::audit_log::{AuditLog, Found, FoundRequests};
#[cfg(feature = "client")]
pub use crate::client::audit::{AuditClient, AuditPage, ClientError, EnvironmentInfo, LogQuery, UserInfo};
#[cfg(feature = "client")]
pub use crate::client::export::{
    Download, Downloaded, ExportClient, ExportError, ExportPage, ExportRequest, Exported, ExportedFile,
};
#[cfg(feature = "client")]
pub use crate::client::requests::{RequestsPage, RequestsQuery};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::distinct::Distinct;
#[cfg(feature = "export")]
pub use crate::export::{ExportFiles, ExportSettings, Exports};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::export_scope::{ExportScope, InvalidExportScope};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::export_state::{Export, ExportState, InvalidExportState};
pub use crate::layer::QueryLogLayer;
#[cfg(feature = "axum")]
pub use crate::layer::axum::MissingRecord;
pub use crate::layer::body::{CountedBody, LoggedBody};
pub use crate::layer::open::RecordHandle;
pub use crate::layer::service::{QueryLogFuture, QueryLogService};
pub use crate::log::ack::{Ack, NotWritten};
pub use crate::log::files::Roll;
pub use crate::log::keeper::Keep;
pub use crate::log::read::{Entries, Entry, ForeignLine, read};
pub use crate::log::settings::{Durability, FileSettings, Form, OpenError, Overload};
pub use crate::log::{Counters, QueryLog, Unwritten};
pub use crate::record::audit::{AuditRecord, InvalidRecordId, RecordId};
pub use crate::record::gap::Gap;
pub use crate::record::text::printable;
pub use crate::record::{
    Caller, InvalidOutcome, Notes, Operation, Outcome, Record, RequestPart, ResponsePart, counters,
};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::status::{InvalidStatus, Status};
pub use crate::time::{InvalidTimestamp, Timestamp};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::trace_tree::{Trace, TraceRequest};
pub use crate::window::Window;
