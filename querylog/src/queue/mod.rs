//! The path of a record from its caller to the writer thread: a queue for each destination.

pub(crate) mod ack;
pub(crate) mod batch;
pub(crate) mod destination;
pub(crate) mod durability;
pub(crate) mod gate;
pub(crate) mod log;
pub(crate) mod overload;
pub(crate) mod pending;
#[cfg(feature = "store")]
pub(crate) mod spool;
pub(crate) mod task;
pub(crate) mod writer;
