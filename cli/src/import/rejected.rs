//! The file for lines that are not stored.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use crate::out;

/// A file that is created when the first line is written.
pub(super) struct RejectedFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl RejectedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_part(line)?;
        self.write_part(b"\n")
    }

    /// Writes a part of a line, or its end.
    pub(super) fn write_part(&mut self, part: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(self.create()?)),
        };
        file.write_all(part)
    }

    fn create(&self) -> io::Result<File> {
        let with_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", out::path(&self.path)));
        let mut options = File::options();
        // Records are about people.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        options.write(true).create_new(true).open(&self.path).map_err(with_path)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
