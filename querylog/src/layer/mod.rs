//! The tower layer that makes a record of each request.

pub(crate) mod body;
mod client_address;
#[cfg(feature = "axum")]
pub(crate) mod extract;
mod framework;
mod logged;
pub(crate) mod open;
mod options;
pub(crate) mod query_log_layer;
pub(crate) mod service;
