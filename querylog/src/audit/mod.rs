//! The audit log: records in a store, and what is asked of them.

pub(crate) mod destination;
pub(crate) mod log;
pub(crate) mod requests;
