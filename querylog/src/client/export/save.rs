//! Saves a download to a file, or writes its lines.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use tokio::sync::mpsc;

use super::part_file::PartFile;
use super::{Download, ExportClientError};

/// How much was downloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The number of lines in the file. Each line is a record.
    pub lines: u64,
}

/// How many chunks may wait to be written.
const QUEUED_CHUNKS: usize = 8;

impl Download {
    /// Saves the download to a file, as [`ExportedFile::save`](crate::client::ExportedFile::save) does.
    ///
    /// Call this before any [`chunk`](Self::chunk): the rest of a file is not valid gzip.
    ///
    /// # Errors
    ///
    /// As [`ExportedFile::save`](crate::client::ExportedFile::save).
    pub async fn save(self, path: impl AsRef<Path>) -> Result<Downloaded, ExportClientError> {
        self.save_with_progress(path, |_| {}).await
    }

    /// Saves the download to a file, and calls a function after each chunk.
    ///
    /// # Errors
    ///
    /// As [`ExportedFile::save`](crate::client::ExportedFile::save).
    pub async fn save_with_progress(
        self,
        path: impl AsRef<Path>,
        on_chunk: impl Fn(&Self),
    ) -> Result<Downloaded, ExportClientError> {
        let path = path.as_ref();
        if path.symlink_metadata().is_ok() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        let (part, file) = PartFile::create_next_to(path)?;
        let downloaded = self.write(Some(file), io::sink(), on_chunk).await?;
        part.rename(path)?;
        Ok(downloaded)
    }

    /// Writes the lines of the download, as [`ExportedFile::write_lines`](crate::client::ExportedFile::write_lines)
    /// does.
    ///
    /// Call this before any [`chunk`](Self::chunk): the rest of a file is not valid gzip.
    ///
    /// # Errors
    ///
    /// As [`ExportedFile::write_lines`](crate::client::ExportedFile::write_lines).
    pub async fn write_lines(self, to: impl Write + Send + 'static) -> Result<Downloaded, ExportClientError> {
        self.write(None, to, |_| {}).await
    }

    /// Sends the chunks to a thread that may block.
    async fn write(
        mut self,
        file: Option<File>,
        lines: impl Write + Send + 'static,
        on_chunk: impl Fn(&Self),
    ) -> Result<Downloaded, ExportClientError> {
        let (sender, chunks) = mpsc::channel(QUEUED_CHUNKS);
        let writer = tokio::task::spawn_blocking(move || write_chunks(chunks, file, lines));
        let received = loop {
            match self.chunk().await {
                Ok(Some(chunk)) => {
                    on_chunk(&self);
                    // The writer has stopped, and returns its error below.
                    if sender.send(chunk).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(sender);
        let written = writer.await.map_err(io::Error::other)?;
        received?;
        Ok(written?)
    }
}

/// Writes chunks to a file, and decompresses them, which validates them.
fn write_chunks(
    mut chunks: mpsc::Receiver<Bytes>,
    mut file: Option<File>,
    lines: impl Write,
) -> io::Result<Downloaded> {
    let mut decoder = MultiGzDecoder::new(CountLines { count: 0, to: lines });
    let mut bytes = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        bytes += chunk.len() as u64;
        if let Some(file) = &mut file {
            file.write_all(&chunk)?;
        }
        decoder.write_all(&chunk)?;
    }
    let mut lines = decoder.finish()?;
    lines.to.flush()?;
    if let Some(file) = file {
        file.sync_all()?;
    }
    Ok(Downloaded { bytes, lines: lines.count })
}

/// Counts lines while writing them.
struct CountLines<W> {
    count: u64,
    to: W,
}

impl<W: Write> Write for CountLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.count += memchr::memchr_iter(b'\n', &bytes[..written]).count() as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
