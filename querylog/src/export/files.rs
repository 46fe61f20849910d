//! Where the files of exports are, and by which URL one is read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use url::Url;

use crate::store::{Objects, StoreError};

/// Where the files of exports are kept.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("exports");
/// use tagtrail_querylog::export::ExportFiles;
///
/// let files = ExportFiles::folder(folder)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ExportFiles(pub(super) Objects);

impl ExportFiles {
    /// Keeps files in this object store. If it does not sign URLs, files are read from this crate's own server.
    ///
    /// An upload that fails, or takes too long, is aborted. If a process is killed, or its runtime shuts down, readers do
    /// not see its upload either, but S3 keeps the parts: give the bucket a rule that deletes incomplete uploads after a
    /// day.
    pub fn new(objects: impl Into<Objects>) -> Self {
        Self(objects.into())
    }

    /// Keeps files in a folder, which is created if it is not there. Their URLs are those of this crate's own server.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Objects::folder(path).map(Self)
    }

    /// Keeps files where a URL or a path points to, as [`Objects::at`] does.
    ///
    /// # Errors
    ///
    /// As [`Objects::at`].
    pub fn at(location: &str) -> Result<Self, StoreError> {
        Objects::at(location).map(Self)
    }

    pub(super) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.0.store
    }

    pub(super) fn path(&self, name: &str) -> object_store::path::Path {
        self.0.prefix.clone().join(name)
    }

    /// Returns the URL that the object store signs, if it does.
    pub(super) async fn signed_url(&self, name: &str, for_as_long: Duration) -> Result<Option<Url>, StoreError> {
        let Some(signer) = &self.0.signer else { return Ok(None) };
        signer.url(&self.path(name), for_as_long).await.map(Some).map_err(StoreError::failed)
    }

    /// Starts writing a file, which nobody sees before it is complete.
    pub(super) async fn start(&self, name: &str) -> Result<Box<dyn MultipartUpload>, StoreError> {
        self.0.start(&self.path(name)).await
    }

    /// Deletes a file, if it is there, and what a crash left of writing it.
    pub(super) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.objects().delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(StoreError::failed(error)),
        }
        let (objects, path) = (self.0.clone(), self.path(name));
        let cleared = tokio::task::spawn_blocking(move || objects.clear(&path)).await;
        cleared.map_err(StoreError::failed)?.map_err(StoreError::failed)
    }
}
