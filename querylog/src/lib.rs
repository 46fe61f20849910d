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
//! | decide what becomes of files | [`Roll`], [`Keep`], [`Settings::gzip`], [`Form`] |
//! | read a log | [`read`], [`Entry`], the program `tagtrail-log` |
//! | keep records in a store, and ask it | `AuditLog`, `QueryLog::storing` (`sqlite`, `postgres`) |
//! | find requests by trace, tag, status and route | `AuditLog::requests`, `AuditLog::trace` (`store`) |
//! | answer questions about them by REST, and ask them | `audit_api` (`audit-api`), `AuditClient` (`client`) |
//! | export a range of them, and download it | `Exports`, `export_api` (`export`), `ExportClient` (`client`) |
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

// What is recorded.
mod record;
mod text;
mod time;
mod window;
// How it is written down.
mod audit;
mod exported;
mod gap;
mod line;
// How it gets to the disk.
mod ack;
mod disk;
mod files;
mod folder;
mod keeper;
mod log;
mod queue;
mod settings;
mod writer;
// How it is read back.
mod read;
// How it is kept, and asked for.
#[cfg(feature = "audit-api")]
pub mod audit_api;
#[cfg(feature = "client")]
mod audit_client;
#[cfg(feature = "store")]
mod audit_log;
#[cfg(any(feature = "audit-api", feature = "export"))]
mod callers;
#[cfg(feature = "store")]
mod details;
#[cfg(feature = "export")]
mod export;
#[cfg(feature = "export")]
pub mod export_api;
#[cfg(feature = "client")]
mod export_client;
#[cfg(any(feature = "client", feature = "store"))]
mod export_scope;
#[cfg(any(feature = "client", feature = "store"))]
mod export_state;
#[cfg(any(feature = "audit-api", feature = "export"))]
mod page_token;
#[cfg(feature = "store")]
mod requests;
#[cfg(feature = "client")]
mod requests_client;
#[cfg(any(feature = "audit-api", feature = "export"))]
mod rest;
#[cfg(any(feature = "client", feature = "store"))]
mod status;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "store")]
mod stored;
#[cfg(any(feature = "client", feature = "store"))]
mod trace_tree;
// Where it comes from.
#[cfg(feature = "axum")]
mod axum;
#[cfg(not(feature = "axum"))]
#[path = "no_axum.rs"]
mod axum;
mod body;
mod client;
mod layer;
mod open;
mod service;

#[cfg(test)]
mod faults;

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

pub use crate::ack::{Ack, NotWritten};
pub use crate::audit::{AuditRecord, InvalidRecordId, RecordId};
#[cfg(feature = "client")]
pub use crate::audit_client::{
    AuditClient, AuditPage, ClientError, DistinctType, EnvironmentInfo, LogRequest, UserInfo,
};
#[cfg(feature = "store")]
pub use crate::audit_log::{AuditLog, Found, FoundRequests};
#[cfg(feature = "axum")]
pub use crate::axum::MissingRecord;
pub use crate::body::{CountedBody, LoggedBody};
#[cfg(any(feature = "audit-api", feature = "export"))]
pub use crate::callers::{Account, Callers, InvalidTokens, Principal, Tokens, User};
#[cfg(feature = "export")]
pub use crate::export::{ExportFiles, ExportSettings, Exports};
#[cfg(feature = "client")]
pub use crate::export_client::{
    Download, Downloaded, ExportClient, ExportError, ExportPage, ExportRequest, Exported, ExportedFile,
};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::export_scope::{ExportScope, InvalidExportScope};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::export_state::{Export, ExportState, InvalidExportState};
pub use crate::files::Roll;
pub use crate::gap::Gap;
pub use crate::keeper::Keep;
pub use crate::layer::QueryLogLayer;
pub use crate::log::{Counters, QueryLog, Unwritten};
pub use crate::open::RecordHandle;
pub use crate::read::{Entries, Entry, ForeignLine, read};
pub use crate::record::{
    Caller, InvalidOutcome, Notes, Operation, Outcome, Record, RequestPart, ResponsePart, counters,
};
#[cfg(feature = "store")]
pub use crate::requests::Requests;
#[cfg(feature = "client")]
pub use crate::requests_client::{RequestsPage, RequestsQuery};
pub use crate::service::{QueryLogFuture, QueryLogService};
pub use crate::settings::{Durability, Form, OpenError, Overload, Settings};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::status::{InvalidStatus, Status};
#[cfg(feature = "store")]
pub use crate::stored::StoreSettings;
pub use crate::text::shown;
pub use crate::time::{InvalidTimestamp, Timestamp};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::trace_tree::{Trace, TraceRequest};
pub use crate::window::Window;
