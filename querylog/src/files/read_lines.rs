//! The lines of one file: [`ReadLines`].

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde_json::error::Category;

use crate::files::entry::{Entry, ForeignLine};
use crate::files::wrapped::{Part, Parts, TooLong};
use crate::wire::gap::read_gap;
use crate::wire::line::read_record;

/// A line that is longer is not one of ours.
const LONGEST_LINE: usize = 256 << 20;
const TOO_LONG: &str = "longer than 256 MiB; the rest of the file is not read";
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What some programs put at the start of a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The lines of one file.
pub(super) struct ReadLines {
    file: PathBuf,
    reader: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    /// The parts of a line that a container runtime has split.
    parts: Parts,
    is_compressed: bool,
    ended: bool,
}

impl ReadLines {
    /// `None` if the file has been deleted since then.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let (path, opened) = match File::open(path) {
            // It has been compressed since then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let compressed = with_gz(path);
                let opened = File::open(&compressed);
                (compressed, opened)
            }
            opened => (path.to_owned(), opened),
        };
        let mut plain = match opened {
            Ok(opened) => BufReader::with_capacity(128 << 10, opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))),
        };
        // By its content. One that was cut to nothing is still compressed, if it has the name.
        let is_named = path.extension().is_some_and(|end| end == "gz");
        let gzip = plain.fill_buf().is_ok_and(|start| start.starts_with(&GZIP) || is_named && start.len() < GZIP.len());
        let reader: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(128 << 10, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        let (line, parts) = (Vec::new(), Parts::default());
        Ok(Some(Self { file: path, reader, line, number: 1, parts, is_compressed: gzip, ended: false }))
    }

    /// Reads only this much of a file. The last line may seem torn.
    pub(super) fn start(path: &Path, bytes: u64) -> io::Result<Option<impl Iterator<Item = Entry> + use<>>> {
        let Some(mut lines) = Self::open(path)? else { return Ok(None) };
        lines.reader = Box::new(lines.reader.take(bytes));
        Ok(Some(std::iter::from_fn(move || lines.next_entry(false))))
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// `None` at the end. A line without its end is left for later if the file `may_grow`.
    pub(super) fn next_entry(&mut self, may_grow: bool) -> Option<Entry> {
        while !self.ended {
            if self.line.ends_with(b"\n") {
                self.line.clear();
                self.number += 1;
            }
            let room = LONGEST_LINE - self.line.len();
            let read = self.reader.by_ref().take(room as u64).read_until(b'\n', &mut self.line);
            let (why, rest_unread) = match read {
                Ok(_) if self.line.ends_with(b"\n") => match self.entry() {
                    Ok(None) => continue,
                    Ok(entry) => return entry,
                    Err(TooLong) => (TOO_LONG.to_owned(), true),
                },
                Ok(_) if self.line.len() == LONGEST_LINE => (TOO_LONG.to_owned(), true),
                Ok(_) if may_grow => return None,
                Ok(_) if self.line.is_empty() && self.parts.is_within_line() => {
                    ("torn: the file has only the first parts of the line".to_owned(), false)
                }
                Ok(_) if self.line.is_empty() => return None,
                Ok(_) => ("torn: the line has no end".to_owned(), false),
                Err(error) => (format!("the rest of the file cannot be read: {error}"), true),
            };
            self.ended = true;
            return Some(self.foreign(why, rest_unread));
        }
        None
    }

    /// Reads a whole line. `None` if it is empty, or a part that does not end a line.
    fn entry(&mut self) -> Result<Option<Entry>, TooLong> {
        let start = if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let line = &self.line[start..];
        let text = match Part::of(line) {
            Some(part) => match self.parts.join(part, LONGEST_LINE)? {
                Some(text) => text,
                None => return Ok(None),
            },
            None => line.into(),
        };
        if text.is_empty() || *text == *b"\n" {
            return Ok(None);
        }
        Ok(Some(match read_entry(&text) {
            Ok(entry) => entry,
            Err(error) => self.foreign(format!("not a record: {}", Explained(&error)), false),
        }))
    }

    fn foreign(&self, why: String, rest_unread: bool) -> Entry {
        Entry::Foreign(ForeignLine { file: self.file.clone(), number: self.number, why, rest_unread })
    }
}

fn read_entry(text: &[u8]) -> Result<Entry, serde_json::Error> {
    match read_record(text) {
        Ok(record) => Ok(Entry::Record(Box::new(record))),
        Err(error) => read_gap(text).map(Entry::Gap).map_err(|_| error),
    }
}

/// Returns the name that a file has once it is compressed.
fn with_gz(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".gz");
    name.into()
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

impl fmt::Debug for ReadLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLines").field("file", &self.file).field("number", &self.number).finish_non_exhaustive()
    }
}
