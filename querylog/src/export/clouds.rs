//! Object stores that sign URLs themselves.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use object_store::ObjectStore;
use object_store::signer::Signer;
use url::Url;

use crate::export::files::{ExportFiles, SignsUrls};

impl ExportFiles {
    /// Keeps files in this object store, which signs the URLs by which they are read without us.
    ///
    /// An upload that fails, or takes too long, is aborted. If a process is killed, or its runtime shuts down, readers do
    /// not see its upload either, but S3 keeps the parts: give the bucket a rule that deletes incomplete uploads after a
    /// day.
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
