//! One extraction: pages of the store → lines of JSON → gzip → parts of an object, all steps at the same time.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::{MultipartUpload, PutPayload};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::audit::keys::key_of_scope;
use crate::export::files::ExportFiles;
use crate::export::line::write_details;
use crate::model::scope::ExportScope;
use crate::model::window::Window;
use crate::store::{ExportedRow, RowRange, Store, StoreError};

/// How many records are read in one transaction.
const PAGE: usize = 4_000;
/// How many bytes a part of an object has. Object stores want at least 5 MB, and at most 10,000 parts.
const PART: usize = 8 << 20;
/// How often a page is requested while the store is overloaded.
const PATIENCE: u32 = 20;

/// What is extracted.
#[derive(Clone, Debug)]
pub(super) struct Extraction {
    pub(super) scope: ExportScope,
    pub(super) window: Window,
    /// The name of the file.
    pub(super) name: String,
    pub(super) api_version: Arc<str>,
}

impl Extraction {
    /// Creates the file, and returns how many records it has. If there are none, there is no file. If this is dropped
    /// before its end, so is the upload.
    pub(super) async fn run(self, store: &dyn Store, files: &ExportFiles) -> Result<u64, StoreError> {
        let (pages, unread) = mpsc::channel(2);
        let (parts, unsent) = mpsc::channel(1);
        let lines = self.clone();
        let compress = tokio::task::spawn_blocking(move || lines.compress(unread, &parts));
        let compress = async { compress.await.map_err(StoreError::failed)? };
        let (records, (), ()) = tokio::try_join!(compress, self.read(store, pages), upload(files, &self.name, unsent))?;
        Ok(records)
    }

    async fn read(&self, store: &dyn Store, pages: mpsc::Sender<Vec<ExportedRow>>) -> Result<(), StoreError> {
        let mut range = RowRange::new(key_of_scope(&self.scope), self.window);
        loop {
            let page = patiently(|| store.exported(range.clone(), PAGE)).await?;
            let Some(last) = page.last().map(|row| row.place.clone()) else { return Ok(()) };
            // The other end is gone if it failed, and says why.
            if pages.send(page).await.is_err() {
                return Ok(());
            }
            range = range.resume(last);
        }
    }

    /// Compresses on a thread that may block. It ends when nobody sends or receives any more.
    fn compress(
        self,
        mut pages: mpsc::Receiver<Vec<ExportedRow>>,
        parts: &mpsc::Sender<Vec<u8>>,
    ) -> Result<u64, StoreError> {
        let mut gzip = GzEncoder::new(Vec::with_capacity(PART + (PART >> 3)), Compression::fast());
        let (mut records, mut lines) = (0, Vec::new());
        while let Some(page) = pages.blocking_recv() {
            lines.clear();
            for row in &page {
                let written = write_details(row, &self.scope, &self.api_version, &mut lines);
                records += u64::from(written.map_err(StoreError::failed)?);
            }
            gzip.write_all(&lines).map_err(StoreError::failed)?;
            send_whole(parts, gzip.get_mut())?;
        }
        if records > 0 {
            let mut rest = gzip.finish().map_err(StoreError::failed)?;
            send_whole(parts, &mut rest)?;
            send(parts, rest)?;
        }
        Ok(records)
    }
}

/// Sends all whole parts. All parts but the last have the same size, which some object stores need.
fn send_whole(parts: &mpsc::Sender<Vec<u8>>, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
    while bytes.len() >= PART {
        let rest = bytes.split_off(PART);
        send(parts, std::mem::replace(bytes, rest))?;
    }
    Ok(())
}

fn send(parts: &mpsc::Sender<Vec<u8>>, part: Vec<u8>) -> Result<(), StoreError> {
    parts.blocking_send(part).map_err(|_| StoreError::Closed)
}

/// Asks again while the store is overloaded.
pub(super) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..PATIENCE {
        match ask().await {
            Err(StoreError::Overloaded) => sleep(Duration::from_millis(100)).await,
            result => return result,
        }
    }
    ask().await
}

async fn upload(files: &ExportFiles, name: &str, mut parts: mpsc::Receiver<Vec<u8>>) -> Result<(), StoreError> {
    let Some(first) = parts.recv().await else { return Ok(()) };
    Upload(Some(files.start(name).await?)).send(first, parts).await.map_err(StoreError::failed)
}

/// An upload, which is aborted if it is dropped before it is complete: because a part failed, or the extraction took too
/// long, or is stopped.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Upload {
    async fn send(&mut self, first: Vec<u8>, mut parts: mpsc::Receiver<Vec<u8>>) -> object_store::Result<()> {
        let Some(upload) = &mut self.0 else { return Ok(()) };
        let mut next = Some(first);
        while let Some(part) = next {
            upload.put_part(PutPayload::from(part)).await?;
            next = parts.recv().await;
        }
        upload.complete().await?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut upload) = self.0.take() else { return };
        // A runtime that shuts down runs nothing any more: what it leaves is deleted with the export.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "export: failed to abort an upload");
            }
        });
    }
}
