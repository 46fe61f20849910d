//! Reading a log back: [`LogReader`].

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};

use crate::files::entry::Entry;
use crate::files::read_lines::ReadLines;
use crate::files::to_read::FileToRead;
use crate::model::time::Timestamp;

/// Reads a log: a folder of files, compressed or not, or one file. Records come in the order they were written, which
/// is the order in which the requests ended.
///
/// A file is read as what it contains, whatever its name: compressed or not, with a byte order mark, with lines that
/// Docker (`json-file`) or Kubernetes and Podman (CRI) have wrapped or split. A line that is not a record does not end
/// the reading; it is one of the [`Entry`]s.
///
/// In a folder, the files of the log are read, `querylog-TIME.jsonl`, also if a rotation has renamed them
/// (`….jsonl.1`, `….jsonl-20260101.gz`). In a folder without any, these are all files that are named `….jsonl` or
/// `….log`, or like that before a rotation, and have a record among their first lines.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// # tagtrail_querylog::LogFiles::new(folder).open()?.close_blocking(std::time::Duration::from_secs(5))?;
/// use tagtrail_querylog::{Entry, LogReader, Timestamp};
///
/// let (from, until): (Timestamp, Timestamp) = ("2024-05-10".parse()?, "2024-05-11".parse()?);
/// for entry in LogReader::open(folder)?.between(from..until) {
///     match entry? {
///         Entry::Record(record) => println!("{} {}", record.start_time, record.request.path),
///         Entry::Gap(gap) => println!("{} records are missing", gap.count.map_or("some".into(), |n| n.to_string())),
///         Entry::Foreign(line) => eprintln!("{}, line {}: {}", line.file.display(), line.number, line.why),
///         _ => {}
///     }
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct LogReader {
    files: VecDeque<FileToRead>,
    open: Option<ReadLines>,
    /// Where later files come from.
    folder: Option<PathBuf>,
    /// The start of the last file that was opened.
    last: Timestamp,
    follows: bool,
    from: Timestamp,
    /// Exclusive.
    until: Option<Timestamp>,
}

impl LogReader {
    /// Opens a folder or a file.
    ///
    /// # Errors
    ///
    /// If the path cannot be read.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let is_folder = fs::metadata(path)?.is_dir();
        let files = if is_folder { FileToRead::list(path)?.into() } else { VecDeque::from([FileToRead::only(path)]) };
        Ok(Self {
            files,
            open: None,
            folder: is_folder.then(|| path.to_owned()),
            last: Timestamp::MIN,
            follows: false,
            from: Timestamp::MIN,
            until: None,
        })
    }

    /// Reads only records that started in this time, and gaps that touch it. Files that ended before are not opened.
    pub fn between(mut self, range: impl RangeBounds<Timestamp>) -> Self {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let after = |moment: Timestamp| Timestamp::from_micros(moment.as_micros() + 1);
        self.from = match range.start_bound() {
            Included(from) => *from,
            Excluded(from) => after(*from),
            Unbounded => Timestamp::MIN,
        };
        self.until = match range.end_bound() {
            Included(until) => Some(after(*until)),
            Excluded(until) => Some(*until),
            Unbounded => None,
        };
        // A record is written when it has ended, so everything in a file started before the next file did.
        // Not if both were one file, which a rotation has copied and emptied.
        while let [first, next, ..] = self.files.make_contiguous()
            && first.start < next.start
            && next.start < self.from
        {
            self.files.pop_front();
        }
        self
    }

    /// Keeps reading as the log grows: `None` then means the end for now, and a later call of `next` returns what has
    /// been written since, in this file or in later ones. An unfinished last line is held back until it is complete.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// let mut entries = tagtrail_querylog::LogReader::open("logs")?.follow();
    /// loop {
    ///     for entry in entries.by_ref() {
    ///         println!("{:?}", entry?);
    ///     }
    ///     std::thread::sleep(Duration::from_millis(200));
    /// }
    /// # #[allow(unreachable_code, reason = "the loop has no end")]
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn follow(mut self) -> Self {
        self.follows = true;
        self
    }

    /// Reads only the newest files, this many.
    pub fn newest_files(mut self, count: usize) -> Self {
        self.files.drain(..self.files.len().saturating_sub(count));
        self
    }

    /// Returns how many files there are to read.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The files that are later than the last one that was opened.
    fn look_for_more(&mut self) {
        if let Some(folder) = &self.folder {
            // A folder that is gone may come again.
            let files = FileToRead::list(folder).unwrap_or_default();
            self.files.extend(files.into_iter().filter(|file| file.start > self.last));
        }
    }

    fn is_within(&self, entry: &Entry) -> bool {
        let (first, last) = match entry {
            Entry::Record(record) => (record.start_time, record.start_time),
            Entry::Gap(gap) => (gap.from, gap.to),
            Entry::Foreign(_) => return true,
        };
        last >= self.from && self.until.is_none_or(|until| first < until)
    }
}

impl Iterator for LogReader {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(lines) = &mut self.open else {
                if self.files.is_empty() && self.follows {
                    self.look_for_more();
                }
                let file = self.files.pop_front()?;
                self.last = file.start;
                match ReadLines::open(&file.path) {
                    Ok(lines) => self.open = lines,
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let may_grow = self.follows && self.files.is_empty() && !lines.is_compressed();
            match lines.next_entry(may_grow) {
                Some(entry) if self.is_within(&entry) => return Some(Ok(entry)),
                Some(_) => {}
                None if may_grow => {
                    self.look_for_more();
                    if self.files.is_empty() {
                        return None;
                    }
                    // There is a later file, so this one is whole; what came since it was read is next.
                }
                None => self.open = None,
            }
        }
    }
}
