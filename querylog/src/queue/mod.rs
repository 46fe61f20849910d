//! From those who append to the thread that writes.

pub(crate) mod ack;
pub(crate) mod log;
pub(crate) mod overload;
pub(crate) mod pending;
pub(crate) mod writer;
