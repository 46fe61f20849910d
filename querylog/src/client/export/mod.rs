//! The client of the export API: [`ExportClient`], from the request for an export to its last line.

mod client;
mod download;
mod error;
mod outcome;
mod part_file;
mod request;
mod save;

pub use self::client::{ExportClient, ExportPage};
pub use self::download::Download;
pub use self::error::ExportClientError;
pub use self::outcome::{ExportOutcome, ExportedFile};
pub use self::request::ExportRequest;
pub use self::save::Downloaded;
