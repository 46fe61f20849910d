//! Where objects are kept: [`Objects`], for long values and for files of exports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::Url;

use crate::private_file;
use crate::store::StoreError;

/// An object store: a folder, or a bucket of Amazon S3, Google Cloud Storage or Azure Blob Storage.
///
/// [`Payloads`](crate::store::Payloads) keep long values in one, and exports their files. Any other store that implements
/// `ObjectStore` of the crate `object_store` converts into it.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("payloads");
/// use tagtrail_querylog::store::{Objects, Payloads};
///
/// let payloads = Payloads::new(Objects::folder(folder)?);
/// let in_memory = Payloads::new(object_store::memory::InMemory::new());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    #[cfg_attr(not(feature = "export"), allow(dead_code, reason = "exports alone have URLs"))]
    pub(crate) signer: Option<Arc<dyn SignUrls>>,
    /// Beneath which objects are.
    pub(crate) prefix: object_store::path::Path,
    /// The folder, if it is one.
    pub(crate) folder: Option<PathBuf>,
}

/// An object store that signs URLs with which others may read.
#[async_trait]
pub(crate) trait SignUrls: std::fmt::Debug + Send + Sync {
    #[cfg_attr(not(feature = "export"), allow(dead_code, reason = "exports alone have URLs"))]
    async fn url(&self, path: &object_store::path::Path, for_as_long: Duration) -> object_store::Result<Url>;
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
#[async_trait]
impl<T: object_store::signer::Signer> SignUrls for T {
    async fn url(&self, path: &object_store::path::Path, for_as_long: Duration) -> object_store::Result<Url> {
        self.signed_url(http::Method::GET, path, for_as_long).await
    }
}

/// Any other object store. It does not sign URLs.
impl<T: ObjectStore> From<T> for Objects {
    fn from(store: T) -> Self {
        Self { store: Arc::new(store), signer: None, prefix: object_store::path::Path::default(), folder: None }
    }
}

impl Objects {
    /// Keeps objects in a folder, which is created with mode 0750 if it does not exist.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        private_file::create_folder(path.as_ref()).map_err(StoreError::unusable)?;
        let folder = path.as_ref().to_owned();
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(StoreError::unusable)?.with_fsync(true);
        Ok(Self { folder: Some(folder), ..Self::from(store) })
    }

    /// Keeps objects where a URL points to: `s3://bucket/folder`, `gs://bucket/folder` or `az://container/folder`, each
    /// with its feature (`s3`, `gcs`, `azure`) and its environment variables, which start with `AWS_`, `GOOGLE_` or
    /// `AZURE_`; or `file:///folder`. Anything that is not a URL is a folder. The three object stores sign URLs.
    ///
    /// A request takes up to 30 seconds, and 5 to connect (`AWS_TIMEOUT`, `AWS_CONNECT_TIMEOUT`). It is repeated up to 5
    /// times, within 30 seconds. Connections live on a thread of their own, which all object stores of a process share, so
    /// that it does not matter on which runtime they are used, or whether that is blocked or has ended.
    ///
    /// # Errors
    ///
    /// If there is no such store, or if its environment variables are missing.
    pub fn at(location: &str) -> Result<Self, StoreError> {
        let Ok(url) = Url::parse(location) else { return Self::folder(location) };
        if let ("file", Ok(path)) = (url.scheme(), url.to_file_path()) {
            return Self::folder(path);
        }
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|_| StoreError::unusable(EXPECTED))?;
        let feature = match scheme {
            ObjectStoreScheme::AmazonS3 => "s3",
            ObjectStoreScheme::GoogleCloudStorage => "gcs",
            ObjectStoreScheme::MicrosoftAzure => "azure",
            _ => return Err(StoreError::unusable(EXPECTED)),
        };
        match bucket(&scheme, &url) {
            Some(objects) => Ok(Self { prefix, ..objects? }),
            None => Err(StoreError::unusable(format!(
                "this object store requires the feature `{feature}` of tagtrail-querylog"
            ))),
        }
    }

    /// Keeps objects in this object store, which signs URLs with which others may read them.
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub fn signing(store: impl ObjectStore + object_store::signer::Signer) -> Self {
        let store = Arc::new(store);
        Self { signer: Some(store.clone()), ..Self::from(store) }
    }

    /// Keeps objects beneath this path, whose parts are separated by slashes.
    pub fn beneath(self, path: &str) -> Self {
        Self { prefix: path.into(), ..self }
    }
}

/// How often, and for how long, a request to an object store is repeated.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn retries() -> object_store::RetryConfig {
    object_store::RetryConfig { max_retries: 5, retry_timeout: Duration::from_secs(30), ..Default::default() }
}

const EXPECTED: &str =
    "invalid object store: expected a folder, or a URL (s3://bucket/folder, gs://bucket/folder, az://container/folder)";

/// Returns what runs requests on the thread of all object stores. It is started with the first of them, and never ends.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn connector() -> Result<object_store::client::SpawnedReqwestConnector, StoreError> {
    use std::sync::LazyLock;
    use tokio::runtime::{Builder, Runtime};

    static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
        Builder::new_multi_thread().worker_threads(1).thread_name("querylog-objects").enable_all().build()
    });
    let runtime = RUNTIME.as_ref().map_err(|error| StoreError::failed(error.to_string()))?;
    Ok(object_store::client::SpawnedReqwestConnector::new(runtime.handle().clone()))
}

/// Builds the object store of a URL. Of the environment, only the variables of that store are read.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
macro_rules! build {
    ($builder:ty, $url:expr) => {
        connector().and_then(|connector| {
            let builder = <$builder>::from_env().with_url($url.as_str()).with_retry(retries());
            builder.with_http_connector(connector).build().map(Objects::signing).map_err(StoreError::unusable)
        })
    };
}

/// Returns the bucket of a URL, if its feature is enabled.
fn bucket(scheme: &ObjectStoreScheme, url: &Url) -> Option<Result<Objects, StoreError>> {
    let _ = url;
    match scheme {
        #[cfg(feature = "s3")]
        ObjectStoreScheme::AmazonS3 => Some(build!(object_store::aws::AmazonS3Builder, url)),
        #[cfg(feature = "gcs")]
        ObjectStoreScheme::GoogleCloudStorage => Some(build!(object_store::gcp::GoogleCloudStorageBuilder, url)),
        #[cfg(feature = "azure")]
        ObjectStoreScheme::MicrosoftAzure => Some(build!(object_store::azure::MicrosoftAzureBuilder, url)),
        _ => None,
    }
}
