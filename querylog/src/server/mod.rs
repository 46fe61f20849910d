//! The REST APIs, as axum routers: [`AuditApi`] and [`ExportApi`].

#[cfg(feature = "audit-api")]
mod audit;
#[cfg(feature = "export")]
mod export;
mod page_token;
mod response;

#[cfg(feature = "audit-api")]
pub use self::audit::AuditApi;
#[cfg(feature = "export")]
pub use self::export::ExportApi;
