//! The way of a record from those who append it to the thread that writes: a queue for each destination.

pub(crate) mod ack;
pub(crate) mod batch;
pub(crate) mod destination;
pub(crate) mod gate;
pub(crate) mod log;
pub(crate) mod overload;
pub(crate) mod pending;
pub(crate) mod writer;
