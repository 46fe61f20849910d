//! The audit log: records in a store, and what is asked of them.

pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod log_store;
pub(crate) mod row;
pub(crate) mod scoped;
