//! An object store for tests: [`Slow`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, UploadPart,
};
use tokio::time::sleep;

/// An object store that takes its time, and may be down.
#[derive(Clone, Debug, Default)]
pub(super) struct Slow(pub(super) Arc<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    objects: InMemory,
    /// The numbers of the uploads that fail.
    pub(super) down: std::sync::Mutex<std::ops::Range<usize>>,
    /// How many uploads there were,
    pub(super) uploads: AtomicUsize,
    /// how many there are,
    pub(super) now: AtomicUsize,
    /// how many there were at a time at most,
    pub(super) most: AtomicUsize,
    /// and how many milliseconds more each part takes.
    pub(super) takes: AtomicUsize,
    /// How many uploads were aborted.
    pub(super) aborted: AtomicUsize,
    /// Whether reading objects fails.
    pub(super) unreadable: AtomicBool,
}

impl Slow {
    /// Waits until this many uploads are aborted.
    pub(super) async fn aborted(&self, uploads: usize) {
        while self.0.aborted.load(SeqCst) < uploads {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slow")
    }
}

fn down() -> object_store::Error {
    object_store::Error::Generic { store: "slow", source: "it is down".into() }
}

#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    store: Arc<Inner>,
    fails: bool,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let (fails, takes) = (self.fails, self.store.takes.load(SeqCst));
        Box::pin(async move {
            sleep(Duration::from_millis(20 + takes as u64)).await;
            if fails { Err(down()) } else { part.await }
        })
    }
    async fn complete(&mut self) -> object_store::Result<PutResult> {
        self.inner.complete().await
    }
    async fn abort(&mut self) -> object_store::Result<()> {
        self.store.aborted.fetch_add(1, SeqCst);
        self.inner.abort().await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.store.now.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl ObjectStore for Slow {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        self.0.objects.put_opts(at, bytes, options).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let inner = self.0.objects.put_multipart_opts(at, options).await?;
        let number = self.0.uploads.fetch_add(1, SeqCst);
        let now = self.0.now.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(now, SeqCst);
        let fails = self.0.down.lock().unwrap().contains(&number);
        Ok(Box::new(Upload { inner, store: Arc::clone(&self.0), fails }))
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if self.0.unreadable.load(SeqCst) && !options.head {
            return Err(down());
        }
        self.0.objects.get_opts(at, options).await
    }
    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.0.objects.delete_stream(paths)
    }
    fn list(&self, beneath: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.objects.list(beneath)
    }
    async fn list_with_delimiter(&self, beneath: Option<&Path>) -> object_store::Result<ListResult> {
        self.0.objects.list_with_delimiter(beneath).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.0.objects.copy_opts(from, to, options).await
    }
}
