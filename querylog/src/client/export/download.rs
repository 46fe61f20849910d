//! The download of an export's file: resumed where it breaks off, and checked.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, RANGE};
use reqwest::Response;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{ExportError, Exported, ExportedFile, refused};
use crate::model::export_status::ExportStatus;

/// How often a download is taken up again without a byte of progress.
const RESUMED: u32 = 5;
/// How often it is asked for a new URL.
const RENEWED: u32 = 60;

/// A download: pieces of a gzip file, in order, without a gap.
#[derive(Debug)]
#[must_use]
pub struct Download {
    file: ExportedFile,
    body: Option<Response>,
    /// How many bytes were handed out.
    at: u64,
    size: Option<u64>,
    tag: Option<HeaderValue>,
    /// How many bytes of the body were handed out before.
    skip: u64,
    broken: u32,
}

/// What was downloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// Bytes of the file.
    pub bytes: u64,
    /// Lines in it, each of which is a record.
    pub lines: u64,
}

impl ExportedFile {
    /// The export.
    pub fn export(&self) -> &ExportStatus {
        &self.export
    }

    /// Begins to download it.
    pub fn download(self) -> Download {
        Download { file: self, body: None, at: 0, size: None, tag: None, skip: 0, broken: 0 }
    }

    /// Downloads it into a new file, which is there only once it is whole, and is sound gzip. Until then it is beside it,
    /// in a file of a name of its own that ends in `.part`.
    ///
    /// # Errors
    ///
    /// If the file is there already; it does not come whole, is no gzip, or cannot be written.
    pub async fn save(self, path: impl AsRef<Path>) -> Result<Downloaded, ExportError> {
        self.download().save(path).await
    }

    /// Downloads it, and writes its lines.
    ///
    /// # Errors
    ///
    /// If it does not come whole, is no gzip, or the lines cannot be written. Some of them may have been, then.
    pub async fn write_lines(self, to: impl Write + Send + 'static) -> Result<Downloaded, ExportError> {
        self.download().write_lines(to).await
    }
}

impl Download {
    /// How many bytes came so far.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// How many bytes the file has; `None` where that is not known yet.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next piece; `None` at the end of the file. Where a connection breaks off, the next one goes on from there.
    ///
    /// # Errors
    ///
    /// If it breaks off again and again, or the file is not there any more.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ExportError> {
        loop {
            match self.try_chunk().await {
                Ok(Some(mut bytes)) => {
                    let skipped = self.skip.min(bytes.len() as u64);
                    self.skip -= skipped;
                    let bytes = bytes.split_off(usize::try_from(skipped).unwrap_or(usize::MAX));
                    if bytes.is_empty() {
                        continue;
                    }
                    (self.at, self.broken) = (self.at + bytes.len() as u64, 0);
                    return Ok(Some(bytes));
                }
                Ok(None) if self.skip == 0 && self.size.is_none_or(|size| self.at == size) => return Ok(None),
                Ok(None) => self.broken += 1,
                Err(error) if error.is_passing() && self.broken < RESUMED => self.broken += 1,
                Err(error) => return Err(error),
            }
            if self.broken > RESUMED {
                return Err(ExportError::Broken("it broke off again and again"));
            }
            self.body = None;
            sleep(Duration::from_millis(100) * 2_u32.pow(self.broken)).await;
        }
    }

    async fn try_chunk(&mut self) -> Result<Option<Bytes>, ExportError> {
        let limit = self.file.client.timeout;
        let body = if let Some(body) = &mut self.body {
            body
        } else {
            let body = self.open().await?;
            self.body.insert(body)
        };
        match timeout(limit, body.chunk()).await {
            Ok(piece) => piece.map_err(|error| ExportError::Http(error.into())),
            // As if it had broken off.
            Err(_) => Ok(None),
        }
    }

    /// Asks for the file, or for what is missing of it.
    async fn open(&mut self) -> Result<Response, ExportError> {
        for _ in 0..RENEWED {
            let answer = self.ask().await?;
            match answer.status() {
                StatusCode::OK => {
                    self.skip = self.at;
                    self.known(&answer, number(&answer, CONTENT_LENGTH.as_str(), |text| text.parse().ok()))?;
                    return Ok(answer);
                }
                StatusCode::PARTIAL_CONTENT => {
                    let first = number(&answer, CONTENT_RANGE.as_str(), |text| {
                        text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
                    });
                    if first != Some(self.at) {
                        return Err(ExportError::Broken("the server sends another part than was asked for"));
                    }
                    self.skip = 0;
                    self.known(
                        &answer,
                        number(&answer, CONTENT_RANGE.as_str(), |text| text.rsplit('/').next()?.parse().ok()),
                    )?;
                    return Ok(answer);
                }
                // The URL has run out: the export has another, or gets it.
                StatusCode::FORBIDDEN => self.renew().await?,
                status => {
                    let bytes = answer.bytes().await.unwrap_or_default();
                    // An object store answers in a form of its own.
                    return Err(refused(status, &bytes, "the file of the export is not there any more"));
                }
            }
        }
        Err(ExportError::Broken("the server gives it no URL that is good"))
    }

    async fn ask(&self) -> Result<Response, ExportError> {
        let url = self.file.export.presigned_url.as_deref().ok_or(ExportError::Answer)?;
        let mut request = self.file.client.http.get(url);
        if self.at > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.at));
            if let Some(tag) = &self.tag {
                request = request.header(IF_RANGE, tag);
            }
        }
        let limit = self.file.client.timeout;
        match timeout(limit, request.send()).await {
            Ok(answer) => answer.map_err(ExportError::Http),
            Err(_) => Err(ExportError::Slow),
        }
    }

    /// A part must be one of the file that was begun.
    fn known(&mut self, answer: &Response, size: Option<u64>) -> Result<(), ExportError> {
        let tag = answer.headers().get(ETAG).cloned();
        let changed = self.at > 0 && ((self.size.is_some() && size != self.size) || tag != self.tag);
        if changed {
            return Err(ExportError::Broken("it is another file than before"));
        }
        (self.size, self.tag) = (size, tag);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), ExportError> {
        let client = &self.file.client;
        let export = client.get(&self.file.export.request_id).await?;
        match Exported::of(client, &export) {
            Some(Exported::Complete(file)) => {
                if file.export.presigned_url == self.file.export.presigned_url {
                    return Err(ExportError::Broken("the server refuses the URL that it gives"));
                }
                self.file = file;
            }
            Some(_) => return Err(ExportError::Broken("the export has no file any more")),
            None => sleep(Duration::from_millis(500)).await,
        }
        Ok(())
    }

    /// Downloads it into a file, as [`ExportedFile::save`]: for one of which no [piece](Self::chunk) was taken yet, since
    /// the rest of a file is no gzip.
    ///
    /// # Errors
    ///
    /// As [`ExportedFile::save`].
    pub async fn save(self, path: impl AsRef<Path>) -> Result<Downloaded, ExportError> {
        self.save_telling(path, |_| {}).await
    }

    /// The same, and tells after each piece how far it is.
    ///
    /// # Errors
    ///
    /// As [`ExportedFile::save`].
    pub async fn save_telling(self, path: impl AsRef<Path>, told: impl Fn(&Self)) -> Result<Downloaded, ExportError> {
        let path = path.as_ref();
        if path.symlink_metadata().is_ok() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        let part = Part::beside(path);
        let file = File::create_new(&part.0)?;
        let downloaded = self.pass_on(Some(file), io::sink(), told).await?;
        part.put_in_place(path)?;
        Ok(downloaded)
    }

    /// Downloads it, and writes its lines, as [`ExportedFile::write_lines`]: for one of which no [piece](Self::chunk) was
    /// taken yet.
    ///
    /// # Errors
    ///
    /// As [`ExportedFile::write_lines`].
    pub async fn write_lines(self, to: impl Write + Send + 'static) -> Result<Downloaded, ExportError> {
        self.pass_on(None, to, |_| {}).await
    }

    /// Hands the pieces to a thread that may block.
    async fn pass_on(
        mut self,
        file: Option<File>,
        lines: impl Write + Send + 'static,
        told: impl Fn(&Self),
    ) -> Result<Downloaded, ExportError> {
        let (pieces, received) = mpsc::channel(8);
        let keep = tokio::task::spawn_blocking(move || keep(received, file, lines));
        let came = loop {
            match self.chunk().await {
                Ok(Some(piece)) => {
                    told(&self);
                    // Nobody takes it where it cannot be kept, and that is said below.
                    if pieces.send(piece).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(pieces);
        let kept = keep.await.map_err(io::Error::other)?;
        came?;
        Ok(kept?)
    }
}

/// The file of a download that is not whole. It goes with this: what is left of it is of no use to anybody.
struct Part(PathBuf);

impl Part {
    fn beside(path: &Path) -> Self {
        let mut part = path.to_owned().into_os_string();
        part.push(format!(".{}.part", Uuid::new_v4()));
        Self(part.into())
    }

    /// Gives it its name, unless another has got it meanwhile.
    fn put_in_place(&self, path: &Path) -> io::Result<()> {
        match std::fs::hard_link(&self.0, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            linked => return linked,
        }
        // Where the file system has no links: as well as it can be done.
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(&self.0, path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Where it is in its place, it is not there any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn number(answer: &Response, name: &str, read: impl FnOnce(&str) -> Option<u64>) -> Option<u64> {
    read(answer.headers().get(name)?.to_str().ok()?)
}

/// Keeps the pieces, and undoes the gzip, which checks it.
fn keep(mut pieces: mpsc::Receiver<Bytes>, mut file: Option<File>, lines: impl Write) -> io::Result<Downloaded> {
    let mut gunzip = MultiGzDecoder::new(Lines { count: 0, to: lines });
    let mut bytes = 0;
    while let Some(piece) = pieces.blocking_recv() {
        bytes += piece.len() as u64;
        if let Some(file) = &mut file {
            file.write_all(&piece)?;
        }
        gunzip.write_all(&piece)?;
    }
    let mut lines = gunzip.finish()?;
    lines.to.flush()?;
    if let Some(file) = file {
        file.sync_all()?;
    }
    Ok(Downloaded { bytes, lines: lines.count })
}

/// Counts lines.
struct Lines<W> {
    count: u64,
    to: W,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.count += memchr::memchr_iter(b'\n', &bytes[..written]).count() as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
