//! The clients of the REST APIs: [`AuditClient`] and [`ExportClient`].

mod audit;
mod export;
mod http;
mod questions;
mod response;

pub use self::audit::{AuditClient, AuditClientError, EnvironmentInfo, UserInfo};
pub use self::export::{
    Download, Downloaded, ExportClient, ExportClientError, ExportOutcome, ExportPage, ExportRequest, ExportedFile,
};
pub use self::http::{HttpClient, HttpError};
