//! A folder of log files: their names, who writes them, and what a crash left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::files::disk::{Disk, DiskFile, Place};
use crate::files::file_name::LogFile;
use crate::files::keeper::Keeper;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::private_file;
use crate::wire::gap::read_gap;
use crate::wire::line::read_record;

const LOCK: &str = "querylog.lock";
const BUSY: &str = "this process or another is writing a query log to this folder; give each log a folder of its own";

/// A folder, opened for writing.
pub(crate) struct Folder {
    path: PathBuf,
    // Before the lock, so that it is dropped while nobody else has the folder.
    keeper: Keeper,
    lock: Lock,
    /// The start of the newest file.
    newest: Timestamp,
}

/// What was found when a folder was opened.
pub(crate) struct Found {
    /// The start of the newest file.
    pub(crate) newest: Timestamp,
    /// What is unknown, because the process before did not stop cleanly.
    pub(crate) gap: Option<Gap>,
}

impl Folder {
    /// Opens a folder, and makes it if it is not there. Moves aside what a crash left of a line.
    pub(crate) fn open(path: &Path, keeper: Keeper) -> io::Result<(Self, Found)> {
        if path.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "expected a folder, found a file"));
        }
        private_file::create_folder(path)?;
        let (lock, unclean) = Lock::take(path)?;
        let files = LogFile::list(path)?;
        for file in files.iter().filter(|file| !file.gzip) {
            repair(&file.path)?;
        }
        let newest = files.last().map_or(Timestamp::MIN, |file| file.start);
        let gap = unclean.map(|since| Gap {
            from: files.last().and_then(|file| last_moment(&file.path)).unwrap_or(since),
            to: Timestamp::now(),
            count: None,
            why: "unclean stop".into(),
        });
        let folder = Self { path: path.to_owned(), lock, keeper, newest };
        folder.look();
        Ok((folder, Found { newest, gap }))
    }

    /// Has the keeper look after the files that are there, which are whole.
    fn look(&self) {
        self.keeper.look(&self.path, Timestamp::from_micros(self.newest.as_micros() + 1));
    }
}

impl Disk for Folder {
    fn create(&mut self, start: Timestamp, synced: bool) -> io::Result<Box<dyn DiskFile>> {
        if !self.lock.is_there() {
            private_file::create_folder(&self.path)?;
            (self.lock, _) = Lock::take(&self.path)?;
        }
        let path = LogFile::path(&self.path, start);
        let file = private_file::append_new(&path)?;
        if synced {
            private_file::sync_folder(&self.path)?;
        }
        self.newest = start;
        Ok(Box::new(PlainFile { file, path }))
    }

    fn rolled(&mut self) {
        self.look();
    }

    fn stopped(&mut self) -> io::Result<()> {
        self.lock.release()
    }
}

struct PlainFile {
    file: File,
    path: PathBuf,
}

impl DiskFile for PlainFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn place(&self) -> io::Result<Place> {
        place(&self.file, &self.path)
    }
}

/// The mark of the process that writes a folder: a locked file, which has a text until the process stops cleanly.
struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Also returns since when a process had it that did not stop cleanly.
    fn take(folder: &Path) -> io::Result<(Self, Option<Timestamp>)> {
        let path = folder.join(LOCK);
        let mut file = private_file::lock(&path, BUSY)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let since = text.strip_prefix("open since ").and_then(|since| since.trim_end().parse().ok());
        let unclean = (!text.is_empty()).then(|| since.unwrap_or_default());
        let mut lock = Self { file, path };
        lock.write(&format!("open since {}\n", Timestamp::now()))?;
        Ok((lock, unclean))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }

    fn is_there(&self) -> bool {
        matches!(place(&self.file, &self.path), Ok(Place::Kept))
    }

    fn release(&mut self) -> io::Result<()> {
        self.write("")
    }
}

/// Moves what is after the last line feed to a file beside it, `….jsonl.torn`.
fn repair(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let whole = whole_lines(&mut file, length)?;
    if whole == length {
        return Ok(());
    }
    file.seek(SeekFrom::Start(whole))?;
    let aside = path.with_extension("jsonl.torn");
    let mut torn = private_file::append(&aside)?;
    io::copy(&mut file, &mut torn)?;
    torn.write_all(b"\n")?;
    torn.sync_data()?;
    file.set_len(whole)?;
    file.sync_data()?;
    tracing::warn!(bytes = length - whole, aside = %aside.display(), "query log: a torn line was moved aside");
    Ok(())
}

/// How many bytes of a file are whole lines.
fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// When the last record of a plain file started, or its last gap ended.
fn last_moment(path: &Path) -> Option<Timestamp> {
    let mut file = File::open(path).ok()?;
    let length = file.seek(SeekFrom::End(0)).ok()?;
    let start = whole_lines(&mut file, length.checked_sub(1)?).ok()?;
    let mut line = Vec::new();
    file.seek(SeekFrom::Start(start)).ok()?;
    file.read_to_end(&mut line).ok()?;
    read_record(&line).map(|record| record.start_time).or_else(|_| read_gap(&line).map(|gap| gap.to)).ok()
}

#[cfg(unix)]
fn place(file: &File, path: &Path) -> io::Result<Place> {
    use std::os::unix::fs::MetadataExt;
    let file = file.metadata()?;
    if file.nlink() == 0 {
        return Ok(Place::Deleted);
    }
    match fs::metadata(path) {
        Ok(there) if (there.dev(), there.ino()) == (file.dev(), file.ino()) => Ok(Place::Kept),
        Ok(_) => Ok(Place::Moved),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Moved),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn place(_file: &File, path: &Path) -> io::Result<Place> {
    Ok(if path.try_exists()? { Place::Kept } else { Place::Moved })
}
