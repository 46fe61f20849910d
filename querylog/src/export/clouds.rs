//! Object stores that sign URLs themselves.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use object_store::ObjectStore;
use object_store::signer::Signer;
use url::Url;

use super::files::{ExportFiles, SignsUrls};

impl ExportFiles {
    /// In this object store, which signs the URLs by which files are read without us.
    ///
    /// An upload that a crash, a stop or a time-out breaks off is not there for readers, but S3 keeps its parts: give the
    /// bucket a rule that deletes incomplete uploads after a day.
    pub fn signed(objects: impl ObjectStore + Signer) -> Self {
        let objects = Arc::new(objects);
        let mut files = Self::of(objects.clone());
        files.signer = Some(objects);
        files
    }
}

#[async_trait]
impl<T: Signer> SignsUrls for T {
    async fn url(&self, path: &object_store::path::Path, for_as_long: Duration) -> object_store::Result<Url> {
        self.signed_url(Method::GET, path, for_as_long).await
    }
}
