//! [`ExportOutcome`], and the [`ExportedFile`] of an export that is complete.

use std::io::Write;
use std::path::Path;

use super::{Download, Downloaded, ExportClient, ExportClientError};
use crate::model::export_status::{ExportState, ExportStatus};

/// The outcome of an export.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub enum ExportOutcome {
    /// The export is complete, and has a file.
    Complete(ExportedFile),
    /// The range contains no records.
    DoesNotExist(ExportStatus),
    /// The export failed; the server's log says why.
    Failed(ExportStatus),
    /// The export took too long, and was stopped by the server.
    TimedOut(ExportStatus),
}

impl ExportOutcome {
    /// Returns the outcome of an export, or `None` if its state is not final.
    pub(super) fn from_status(client: &ExportClient, export: &ExportStatus) -> Option<Self> {
        let export = export.clone();
        match export.state {
            ExportState::Complete => Some(Self::Complete(ExportedFile { client: client.clone(), export })),
            ExportState::DoesNotExist => Some(Self::DoesNotExist(export)),
            ExportState::Failed => Some(Self::Failed(export)),
            ExportState::TimedOut => Some(Self::TimedOut(export)),
            ExportState::Pending | ExportState::Requested | ExportState::CreatingNewUrl => None,
        }
    }
}

/// The file of an export, on the server.
#[derive(Clone, Debug)]
#[must_use]
pub struct ExportedFile {
    pub(super) client: ExportClient,
    pub(super) export: ExportStatus,
}

impl ExportedFile {
    /// Returns the export that this is the file of.
    pub fn export(&self) -> &ExportStatus {
        &self.export
    }

    /// Starts to download the file in chunks.
    pub fn download(self) -> Download {
        Download::new(self)
    }

    /// Downloads the file to a path.
    ///
    /// A file appears at this path only when the download is complete and is valid gzip. Until then, it has a unique
    /// name in the same folder that ends in `.part`. On Unix, only its owner and group can access it (mode 0640).
    ///
    /// # Errors
    ///
    /// If there is a file at this path already, the download is incomplete or not valid gzip, or the file cannot be
    /// written.
    pub async fn save(self, path: impl AsRef<Path>) -> Result<Downloaded, ExportClientError> {
        self.download().save(path).await
    }

    /// Downloads the file, and writes its lines, decompressed.
    ///
    /// # Errors
    ///
    /// If the download is incomplete or not valid gzip, or the lines cannot be written. Some lines may have been
    /// written then.
    pub async fn write_lines(self, to: impl Write + Send + 'static) -> Result<Downloaded, ExportClientError> {
        self.download().write_lines(to).await
    }
}
