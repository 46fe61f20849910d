//! Reading a log back: [`LogReader`].

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde_json::error::Category;

use crate::files::file_name::LogFile;
use crate::model::gap::Gap;
use crate::model::record::Record;
use crate::model::time::Timestamp;
use crate::wire::gap::read_gap;
use crate::wire::line::read_record;

/// A line that is longer is not one of ours.
const LONGEST_LINE: u64 = 256 << 20;
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a line of a log is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry {
    /// A record.
    Record(Box<Record>),
    /// Records that the log does not have.
    Gap(Gap),
    /// Not a line of a log: torn by a crash, damaged, or written by something else.
    Foreign(ForeignLine),
}

/// A line that is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignLine {
    /// The file it is in.
    pub file: PathBuf,
    /// Its number in the file, from 1.
    pub number: u64,
    /// Why it is not a record.
    pub why: String,
    /// Whether the rest of the file cannot be read: more records may be missing.
    pub rest_unread: bool,
}

/// Reads a log: a folder of files, compressed or not, or one file. Records come in the order they were written, which
/// is the order in which the requests ended.
///
/// A line that is not a record does not end the reading; it is one of the [`Entry`]s.
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
    files: VecDeque<LogFile>,
    open: Option<Lines>,
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
        let files = if is_folder {
            LogFile::list(path)?.into()
        } else {
            let gzip = path.extension().is_some_and(|end| end == "gz");
            VecDeque::from([LogFile { start: Timestamp::MIN, gzip, path: path.to_owned() }])
        };
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
        while self.files.get(1).is_some_and(|next| next.start < self.from) {
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
            let files = LogFile::list(folder).unwrap_or_default();
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
                match Lines::open(&file) {
                    Ok(lines) => self.open = lines,
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let may_grow = self.follows && self.files.is_empty() && !lines.is_compressed;
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

/// The lines of one file.
struct Lines {
    file: PathBuf,
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    is_compressed: bool,
    ended: bool,
}

impl Lines {
    /// `None` if the file has been deleted since then.
    fn open(file: &LogFile) -> io::Result<Option<Self>> {
        let compressed = file.path.with_extension("jsonl.gz");
        let (path, gzip, opened) = match File::open(&file.path) {
            // It has been compressed since then.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !file.gzip => {
                let opened = File::open(&compressed);
                (compressed, true, opened)
            }
            opened => (file.path.clone(), file.gzip, opened),
        };
        let mut plain = match opened {
            Ok(opened) => BufReader::with_capacity(128 << 10, opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))),
        };
        // A file that is read alone can have any name.
        let gzip = gzip || plain.fill_buf().is_ok_and(|start| start.starts_with(&GZIP));
        let reader: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(128 << 10, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        Ok(Some(Self { file: path, reader, line: Vec::new(), number: 1, is_compressed: gzip, ended: false }))
    }

    /// `None` at the end. A line without its end is left for later if the file `may_grow`.
    fn next_entry(&mut self, may_grow: bool) -> Option<Entry> {
        loop {
            if self.ended {
                return None;
            }
            if self.line.ends_with(b"\n") {
                self.line.clear();
                self.number += 1;
            }
            let room = LONGEST_LINE - self.line.len() as u64;
            let read = self.reader.by_ref().take(room).read_until(b'\n', &mut self.line);
            let (why, rest_unread) = match read {
                Ok(_) if self.line == b"\n" => continue,
                Ok(_) if self.line.ends_with(b"\n") => return Some(self.entry()),
                Ok(_) if self.line.len() as u64 == LONGEST_LINE => {
                    ("longer than 256 MiB; the rest of the file is not read".to_owned(), true)
                }
                Ok(_) if self.line.is_empty() || may_grow => return None,
                Ok(_) => ("torn: the line has no end".to_owned(), false),
                Err(error) => (format!("the rest of the file cannot be read: {error}"), true),
            };
            self.ended = true;
            return Some(self.foreign(why, rest_unread));
        }
    }

    fn entry(&self) -> Entry {
        match read_record(&self.line) {
            Ok(record) => Entry::Record(Box::new(record)),
            Err(error) => match read_gap(&self.line) {
                Ok(gap) => Entry::Gap(gap),
                Err(_) => self.foreign(format!("not a record: {}", Explained(&error)), false),
            },
        }
    }

    fn foreign(&self, why: String, rest_unread: bool) -> Entry {
        Entry::Foreign(ForeignLine { file: self.file.clone(), number: self.number, why, rest_unread })
    }
}

/// What serde reports, without the contents of the line.
struct Explained<'a>(&'a serde_json::Error);

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.classify() {
            Category::Syntax => "not JSON",
            Category::Eof => "JSON that ends early",
            Category::Data => "JSON without the members or values of a record",
            Category::Io => "unreadable",
        };
        write!(f, "{kind}, at column {}", self.0.column())
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("file", &self.file).field("number", &self.number).finish_non_exhaustive()
    }
}
