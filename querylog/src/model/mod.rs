//! What is recorded, and what is asked: nothing of this crate is below it.

pub(crate) mod audit_record;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod distinct;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod export_scope;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod export_state;
pub(crate) mod gap;
pub(crate) mod printable;
pub(crate) mod record;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod status;
pub(crate) mod text;
pub(crate) mod time;
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod trace_tree;
pub(crate) mod window;
