//! What is recorded, and what queries and their results consist of. Uses no other module of this crate.

pub(crate) mod audit_record;
pub(crate) mod cursor;
pub(crate) mod distinct;
pub(crate) mod export_status;
pub(crate) mod gap;
pub(crate) mod page;
pub(crate) mod printable;
pub(crate) mod query_error;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod questions;
pub(crate) mod record;
pub(crate) mod record_query;
pub(crate) mod request_filter;
pub(crate) mod scan;
pub(crate) mod scope;
pub(crate) mod status;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod trace_tree;
pub(crate) mod window;
