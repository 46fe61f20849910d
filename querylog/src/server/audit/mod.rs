//! The REST API of the audit log.

mod api;
mod error;
mod parameters;
mod question;
mod responder;

pub use self::api::AuditApi;
