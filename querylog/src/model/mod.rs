//! What is recorded, and what queries and their results consist of. Uses no other module of this crate.

#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod audit_record;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod coverage;
#[cfg(feature = "store")]
pub(crate) mod cursor;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod distinct;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod export_status;
pub(crate) mod gap;
pub(crate) mod grpc;
pub(crate) mod limits;
pub(crate) mod outcome;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod page;
pub(crate) mod printable;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod query_error;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod questions;
pub(crate) mod record;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod record_query;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod request_filter;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod scan;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod scope;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod status;
pub(crate) mod text;
pub(crate) mod time;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod trace_tree;
pub(crate) mod window;
#[cfg(feature = "store")]
pub(crate) mod writer_status;
