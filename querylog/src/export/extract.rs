//! One extraction: pages of the store → lines of JSON → gzip → parts of an object, each step beside the others.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::files::ExportFiles;
use super::line::write_details;
use crate::audit::log::AuditLog;
use crate::model::scan::Scan;
use crate::model::scope::ExportScope;
use crate::model::window::Window;
use crate::store::{ExportStore, ExportedRow, StoreError};

/// How many records are read in one transaction.
const PAGE: usize = 4_000;
/// How many bytes a part of an object has. Stores want 5 MB at the least, and 10,000 parts at the most.
const PART: usize = 8 << 20;
/// How often a page is asked for, while the store has too much to do.
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
    /// Makes the file, and returns how many records it has. Where there are none, there is no file.
    pub(super) async fn run(self, log: &AuditLog, files: &ExportFiles) -> Result<u64, StoreError> {
        let store = log.exports().ok_or_else(super::no_exports)?;
        let (pages, unread) = mpsc::channel(2);
        let (parts, unsent) = mpsc::channel(1);
        let lines = self.clone();
        let compress = tokio::task::spawn_blocking(move || lines.compress(unread, &parts));
        let compress = async { compress.await.map_err(StoreError::failed)? };
        let (records, (), ()) = tokio::try_join!(compress, self.read(store, pages), upload(files, &self.name, unsent))?;
        Ok(records)
    }

    async fn read(&self, store: &dyn ExportStore, pages: mpsc::Sender<Vec<ExportedRow>>) -> Result<(), StoreError> {
        let mut range = Scan::new(self.scope.key(), self.window);
        loop {
            let page = patiently(|| store.exported(range.clone(), PAGE)).await?;
            let Some(last) = page.last().map(|row| row.place.clone()) else { return Ok(()) };
            // The other end is gone where it failed, and says why.
            if pages.send(page).await.is_err() {
                return Ok(());
            }
            range = range.behind(last);
        }
    }

    /// On a thread that may block. It ends when nobody sends any more, or nobody takes any more.
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

/// Sends as many whole parts as there are. All but the last have the same size, as some stores want it.
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

async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..PATIENCE {
        match ask().await {
            Err(StoreError::Overloaded) => sleep(Duration::from_millis(100)).await,
            answer => return answer,
        }
    }
    ask().await
}

async fn upload(files: &ExportFiles, name: &str, mut parts: mpsc::Receiver<Vec<u8>>) -> Result<(), StoreError> {
    let Some(first) = parts.recv().await else { return Ok(()) };
    let mut upload = files.objects.put_multipart(&files.path(name)).await.map_err(StoreError::failed)?;
    let sent = send_parts(&mut *upload, first, parts).await;
    if sent.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(%error, "export: an upload that failed cannot be taken back");
    }
    sent.map_err(StoreError::failed)
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    first: Vec<u8>,
    mut parts: mpsc::Receiver<Vec<u8>>,
) -> object_store::Result<()> {
    let mut next = Some(first);
    while let Some(part) = next {
        upload.put_part(PutPayload::from(part)).await?;
        next = parts.recv().await;
    }
    upload.complete().await.map(drop)
}
