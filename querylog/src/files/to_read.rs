//! Which files of a folder are read, and in which order: [`FileToRead`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::entry::Entry;
use crate::files::file_name::LogFile;
use crate::files::read_lines::ReadLines;
use crate::files::rotation::Rotation;
use crate::model::time::Timestamp;

/// How much of a file is read to find its first record.
const START: u64 = 1 << 20;

/// A file that is read. Sorts by when its first record was written.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileToRead {
    /// Everything in earlier files ended before.
    pub(super) start: Timestamp,
    /// Tells files apart that a rotation made of one.
    rotation: Rotation,
    /// The name before the rotation.
    base: String,
    /// Of two files that differ only in this, the compressed one is whole, so it is first.
    is_plain: bool,
    pub(super) path: PathBuf,
}

impl FileToRead {
    /// A file that is read alone.
    pub(super) fn only(path: &Path) -> Self {
        let (rotation, base) = (Rotation::Current, String::new());
        Self { start: Timestamp::MIN, rotation, base, is_plain: true, path: path.to_owned() }
    }

    /// Returns the files of a folder, oldest first. One that is there plain and compressed is there compressed.
    ///
    /// Files that do not have the names of a log are read only if there are no others, since they may be copies.
    pub(super) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let is_plain = path.extension().is_none_or(|end| end != "gz");
            if let Some((start, rotation)) = LogFile::rotated(name) {
                named.push(Self { start, rotation, base: String::new(), is_plain, path });
            } else if let Some((base, rotation)) = Rotation::split(name, &[".jsonl", ".log"]) {
                others.push(Self { start: Timestamp::MIN, rotation, base: base.to_owned(), is_plain, path });
            }
        }
        let mut files = named;
        if files.is_empty() {
            files = others.into_iter().filter_map(Self::if_it_has_records).collect();
        }
        files.sort();
        files.dedup_by(|one, other| {
            (one.start, &one.rotation, &one.base) == (other.start, &other.rotation, &other.base)
        });
        Ok(files)
    }

    /// Finds the first record. A file that cannot be read is kept, so that the reader reports it.
    fn if_it_has_records(mut self) -> Option<Self> {
        let lines = match ReadLines::start(&self.path, START) {
            Ok(lines) => lines?,
            Err(_) => return Some(self),
        };
        // A record is written when it has ended.
        self.start = { lines }.find_map(|entry| match entry {
            Entry::Record(record) => Some(record.start_time.saturating_add(record.duration.unwrap_or_default())),
            Entry::Gap(gap) => Some(gap.to),
            Entry::Foreign(_) => None,
        })?;
        Some(self)
    }
}
