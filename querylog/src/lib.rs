//! A query log for tower services: one record for every request, with its trace and tags, on disk, and none lost in
//! silence.
#![cfg_attr(docsrs, feature(doc_cfg))]

// What is recorded.
mod record;
mod text;
mod time;
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

pub use crate::ack::{Ack, NotWritten};
pub use crate::audit::AuditRecord;
#[cfg(feature = "axum")]
pub use crate::axum::MissingRecord;
pub use crate::body::{CountedBody, LoggedBody};
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
pub use crate::service::{QueryLogFuture, QueryLogService};
pub use crate::settings::{Durability, Form, OpenError, Overload, Settings};
pub use crate::text::shown;
pub use crate::time::{InvalidTimestamp, Timestamp};
