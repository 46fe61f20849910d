//! Where the files of exports are, and by which URL one is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme};
use url::Url;

use crate::store::{StoreError, scheme_of};

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
pub struct ExportFiles {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) signer: Option<Arc<dyn SignsUrls>>,
    prefix: object_store::path::Path,
    folder: Option<PathBuf>,
}

/// An object store that signs URLs by which others may read.
#[async_trait]
pub(super) trait SignsUrls: std::fmt::Debug + Send + Sync {
    async fn url(&self, path: &object_store::path::Path, for_as_long: Duration) -> object_store::Result<Url>;
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
#[async_trait]
impl<T: object_store::signer::Signer> SignsUrls for T {
    async fn url(&self, path: &object_store::path::Path, for_as_long: Duration) -> object_store::Result<Url> {
        self.signed_url(http::Method::GET, path, for_as_long).await
    }
}

impl ExportFiles {
    /// Keeps files in this object store. Their URLs are those of this crate's own server.
    pub fn new(objects: impl ObjectStore) -> Self {
        Self::of(Arc::new(objects))
    }

    pub(super) fn of(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, signer: None, prefix: object_store::path::Path::default(), folder: None }
    }

    /// Keeps files in this object store, which signs the URLs by which they are read without us.
    ///
    /// An upload that fails, or takes too long, is aborted. If a process is killed, or its runtime shuts down, readers do
    /// not see its upload either, but S3 keeps the parts: give the bucket a rule that deletes incomplete uploads after a
    /// day.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub fn signed(objects: impl ObjectStore + object_store::signer::Signer) -> Self {
        let objects = Arc::new(objects);
        let mut files = Self::of(objects.clone());
        files.signer = Some(objects);
        files
    }

    /// Keeps files beneath this path of the object store.
    pub fn beneath(self, path: impl Into<object_store::path::Path>) -> Self {
        Self { prefix: path.into(), ..self }
    }

    /// Keeps files in a folder, which is created if it is not there. Their URLs are those of this crate's own server.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        std::fs::create_dir_all(&path).map_err(StoreError::unusable)?;
        let folder = path.as_ref().to_owned();
        let objects = LocalFileSystem::new_with_prefix(&folder).map_err(StoreError::unusable)?.with_fsync(true);
        Ok(Self { folder: Some(folder), ..Self::new(objects) })
    }

    /// Keeps files at a URL: `s3://bucket/folder`, `gs://bucket/folder` or `az://container/folder`, each with its feature
    /// (`s3`, `gcs`, `azure`) and its variables of the environment, such as `AWS_ACCESS_KEY_ID`; or `file:///folder`. What
    /// is not a URL is a folder. URLs of the three object stores are signed by them.
    ///
    /// # Errors
    ///
    /// If there is no such store, or what it needs is not in the environment.
    pub fn at(place: &str) -> Result<Self, StoreError> {
        let Ok(url) = Url::parse(place) else { return Self::folder(place) };
        if let ("file", Ok(path)) = (url.scheme(), url.to_file_path()) {
            return Self::folder(path);
        }
        let (scheme, path) = scheme_of(&url)?;
        Ok(cloud(&scheme, &url)?.beneath(path))
    }

    pub(super) fn path(&self, name: &str) -> object_store::path::Path {
        self.prefix.clone().join(name)
    }

    /// Returns the URL that the object store signs, if it does.
    pub(super) async fn signed_url(&self, name: &str, for_as_long: Duration) -> Result<Option<Url>, StoreError> {
        let Some(signer) = &self.signer else { return Ok(None) };
        signer.url(&self.path(name), for_as_long).await.map(Some).map_err(StoreError::failed)
    }

    /// Deletes a file, if it is there, and what a crash left of writing it.
    pub(super) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.objects.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(StoreError::failed(error)),
        }
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let staged = format!("{name}#");
        let cleared = tokio::task::spawn_blocking(move || clear(&folder, &staged)).await;
        cleared.map_err(StoreError::failed)?.map_err(StoreError::failed)
    }
}

/// Deletes the files of a folder whose names start like this: a file that is being written has its name, then `#` and a
/// number, until it is whole.
fn clear(folder: &Path, staged: &str) -> std::io::Result<()> {
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with(staged) {
            match std::fs::remove_file(file.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn cloud(scheme: &ObjectStoreScheme, url: &Url) -> Result<ExportFiles, StoreError> {
    match scheme {
        #[cfg(feature = "s3")]
        ObjectStoreScheme::AmazonS3 => {
            let builder = object_store::aws::AmazonS3Builder::from_env().with_url(url.as_str());
            Ok(ExportFiles::signed(builder.build().map_err(StoreError::unusable)?))
        }
        #[cfg(feature = "gcs")]
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env().with_url(url.as_str());
            Ok(ExportFiles::signed(builder.build().map_err(StoreError::unusable)?))
        }
        #[cfg(feature = "azure")]
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = object_store::azure::MicrosoftAzureBuilder::from_env().with_url(url.as_str());
            Ok(ExportFiles::signed(builder.build().map_err(StoreError::unusable)?))
        }
        // `scheme_of` rejects it before.
        _ => Err(StoreError::unusable(format!("{}: this object store is not built in", url.scheme()))),
    }
}
