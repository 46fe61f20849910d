//! The tower layer that makes a record of each request.

mod body;
mod client_address;
mod error_text;
#[cfg(feature = "axum")]
mod extract;
mod forwarded;
mod framework;
mod grpc;
mod hold;
mod logged;
mod open;
mod options;
mod query_log_layer;
mod service;
#[cfg(test)]
mod tests;

pub use self::body::{CountedBody, LoggedBody};
#[cfg(feature = "axum")]
pub use self::extract::MissingRecord;
pub use self::open::RecordHandle;
pub use self::query_log_layer::QueryLogLayer;
pub use self::service::{QueryLogFuture, QueryLogService};
