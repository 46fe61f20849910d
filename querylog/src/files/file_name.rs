//! The files of a log, by their names: [`LogFile`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::files::rotation::Rotation;
use crate::model::time::Timestamp;

const PREFIX: &str = "querylog-";
const PLAIN: &str = ".jsonl";
const GZIP: &str = ".jsonl.gz";
/// The length of a time in a name.
const COMPACT: usize = "20240510T180542.871000Z".len();

/// A file of a log, by its name: `querylog-20240510T180542.871000Z.jsonl`, or the same with `.gz`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogFile {
    pub(crate) start: Timestamp,
    pub(crate) gzip: bool,
    pub(crate) path: PathBuf,
}

impl LogFile {
    pub(crate) fn named(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
        let (start, gzip) = match name.strip_suffix(GZIP) {
            Some(start) => (start, true),
            None => (name.strip_suffix(PLAIN)?, false),
        };
        Some(Self { start: Timestamp::from_compact(start)?, gzip, path })
    }

    /// The start of a file that had such a name, and what a rotation made of it.
    pub(crate) fn rotated(name: &str) -> Option<(Timestamp, Rotation)> {
        let (start, end) = name.strip_prefix(PREFIX)?.split_at_checked(COMPACT)?;
        let (_, rotation) = Rotation::split(end, &[PLAIN]).filter(|(base, _)| *base == PLAIN)?;
        Some((Timestamp::from_compact(start)?, rotation))
    }

    /// The files of a folder, oldest first. One that is there plain and compressed is there compressed.
    pub(crate) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            files.extend(Self::named(entry?.path()));
        }
        // Compressed first, of two.
        files.sort_by(|one, other| one.start.cmp(&other.start).then(other.gzip.cmp(&one.gzip)));
        files.dedup_by_key(|file| file.start);
        Ok(files)
    }

    /// The path of the file whose first record is written at this time.
    pub(crate) fn path(folder: &Path, start: Timestamp) -> PathBuf {
        folder.join(format!("{PREFIX}{}{PLAIN}", start.compact()))
    }
}
