//! The audit log: records in a store, and queries for them.
//!
//! Queries are the same locally and remotely: [`ScopedAuditLog`], which queries a store on behalf of an environment,
//! and [`AuditClient`](crate::client::AuditClient), which uses the REST API, both implement [`Questions`].

#[cfg(feature = "store")]
mod backend;
#[cfg(feature = "store")]
pub(crate) mod keys;
#[cfg(feature = "store")]
pub(crate) mod log;
#[cfg(feature = "store")]
pub(crate) mod log_store;
#[cfg(feature = "store")]
pub(crate) mod row;
#[cfg(feature = "store")]
pub(crate) mod scoped;

#[cfg(feature = "store")]
pub use self::scoped::ScopedAuditLog;
pub use crate::model::audit_record::{AuditRecord, InvalidRecordId, RecordId};
pub use crate::model::coverage::{Behind, Coverage};
pub use crate::model::distinct::{Distinct, Latest};
pub use crate::model::page::{Page, PageToken};
pub use crate::model::query_error::{QueryError, QueryErrorKind};
#[cfg(any(feature = "client", feature = "store"))]
pub use crate::model::questions::Questions;
pub use crate::model::record_query::{RecordQuery, Whose};
pub use crate::model::request_filter::RequestFilter;
pub use crate::model::scan::{Order, Scan};
pub use crate::model::status::{InvalidStatusMatch, StatusMatch};
pub use crate::model::trace_tree::{TraceNode, TraceTree};
