//! A log in a folder: [`LogFiles`].

use std::borrow::Cow;
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::files::disk::Disk;
use crate::files::folder::{Folder, Found};
use crate::files::keeper::Keeper;
use crate::files::lines::Lines;
use crate::files::options::{Keep, LineFormat, Roll};
use crate::files::sink::Files;
use crate::model::record::Record;
use crate::queue::ack::State;
use crate::queue::destination::{Channel, OpenError, Opened, Start, check_queue_bytes};
use crate::queue::durability::Durability;
use crate::queue::gate::{Gate, Limits};
use crate::queue::log::QueryLog;
use crate::queue::overload::Overload;
use crate::queue::pending::{AnyQueue, Queue};
use crate::queue::writer;
use crate::wire::{exported, line};

/// A folder that a [`QueryLog`] writes to: files of one JSON object a line, which are rolled, compressed and deleted as
/// you decide.
///
/// ```
/// use std::time::Duration;
/// use tagtrail_querylog::{Durability, Keep, LogFiles, Overload, Roll};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let log = LogFiles::new(folder)
///     .durability(Durability::Synced)
///     .overload(Overload::Fail { wait: Duration::from_millis(250) })
///     .roll(Roll::at_bytes(64_000_000).every(Duration::from_secs(3600)))
///     .gzip()
///     .keep(Keep::all().at_most_bytes(10_000_000_000))
///     .open()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LogFiles {
    folder: PathBuf,
    durability: Durability,
    overload: Overload,
    format: LineFormat,
    roll: Roll,
    gzip: bool,
    keep: Keep,
    queue: usize,
    gather: Option<(usize, Duration)>,
}

impl LogFiles {
    /// Returns the folder with the default settings.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_owned(),
            durability: Durability::default(),
            overload: Overload::default(),
            format: LineFormat::default(),
            roll: Roll::default(),
            gzip: false,
            keep: Keep::default(),
            queue: 16 << 20,
            gather: None,
        }
    }

    /// Sets how safe an acknowledged record is. By default the operating system has it.
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Sets what happens to a request when the queue is full.
    pub fn overload(self, overload: Overload) -> Self {
        Self { overload, ..self }
    }

    /// Sets the format of a line.
    pub fn format(self, format: LineFormat) -> Self {
        Self { format, ..self }
    }

    /// Sets when a new file is started. By default at 128 MB.
    pub fn roll(self, roll: Roll) -> Self {
        Self { roll, ..self }
    }

    /// Compresses files that are rolled.
    pub fn gzip(self) -> Self {
        Self { gzip: true, ..self }
    }

    /// Sets how long files are kept. By default forever.
    pub fn keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// Sets how many bytes of records wait for the disk at most: 16 MiB (2^24) by default, and at least 4 KiB (2^12). A
    /// single record cannot be larger. The log needs at most twice this memory, since buffers grow by doubling.
    pub fn queue_bytes(self, bytes: usize) -> Self {
        Self { queue: bytes, ..self }
    }

    /// Sets when a batch is written: when it has this many bytes, or its first record is this old. By default 256 KiB
    /// or 2 milliseconds, and a second if records are [buffered](Durability::Buffered). While the disk is busy, the next
    /// batch grows beyond this.
    pub fn gather(self, bytes: usize, time: Duration) -> Self {
        Self { gather: Some((bytes, time)), ..self }
    }

    /// Opens a log that writes to this folder alone: makes the folder, if it is not there; takes it for this process;
    /// moves aside what a crash left of a line; and starts the thread that writes. If the process before did not
    /// [close](QueryLog::close) the log, a [`Gap`](crate::Gap) of unknown count is written.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or written, or is a file; if a log is being written there, for a second longer; if
    /// the queue has no room for a record; or if no thread can be started.
    pub fn open(self) -> Result<QueryLog, OpenError> {
        QueryLog::builder().to(self).open()
    }

    fn limits(&self) -> Limits {
        let linger = match self.durability {
            Durability::Buffered => Duration::from_secs(1),
            Durability::Flushed | Durability::Synced => Duration::from_millis(2),
        };
        let (batch, linger) = self.gather.unwrap_or((256 << 10, linger));
        Limits { queue: self.queue, batch: batch.min(self.queue / 2), linger }
    }

    fn start_in_folder(self) -> io::Result<Opened> {
        check_queue_bytes(self.queue, self.overload)?;
        let keeper = Keeper::start(self.gzip, self.keep, self.roll.bytes)?;
        let (folder, found) = Folder::open(&self.folder, keeper)?;
        self.start_on(Box::new(folder), found)
    }

    pub(crate) fn start_on(self, disk: Box<dyn Disk>, found: Found) -> io::Result<Opened> {
        let files = Files::new(disk, self.roll, self.durability == Durability::Synced, found.newest);
        let gate = Gate::new(self.limits(), self.overload);
        let queue = writer::start(files, found.gap, gate)?;
        Ok(Opened(Box::new(FileChannel { queue, format: self.format })))
    }
}

impl Start for LogFiles {
    fn start(self) -> Result<Opened, OpenError> {
        let place = format!("in {}", self.folder.display());
        self.start_in_folder().map_err(|error| OpenError::new(place, error))
    }
}

#[derive(Debug)]
struct FileChannel {
    queue: Arc<Queue<Lines>>,
    format: LineFormat,
}

thread_local! {
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer for lines that grew larger than this is given back.
const KEPT_CAPACITY: usize = 64 << 10;

/// How many bytes of a line are reserved for what a service adds to a record, without output.
const ADDED: usize = 8 << 10;

impl FileChannel {
    fn append_with(&self, record: Cow<'_, Record>, mut reserved: usize, line: &mut Vec<u8>) -> State {
        line.clear();
        let mut written = write_line(&self.format, &record, line);
        if reserved > 0 && line.len() > reserved {
            if self.queue.enlarge(reserved, line.len()) {
                reserved = line.len();
            } else {
                let (mut record, mut room) = (record.into_owned(), reserved);
                // A line is longer than its record weighs if characters are escaped.
                while line.len() > reserved && room > 0 {
                    record.shrink(room);
                    line.clear();
                    written = write_line(&self.format, &record, line);
                    room /= 2;
                }
            }
        }
        match written {
            Ok(()) => self.queue.push(line, reserved),
            Err(error) => self.queue.fail(error.kind(), reserved),
        }
    }
}

impl Channel for FileChannel {
    fn begin(&self, _record: &Record) -> Option<State> {
        None
    }

    fn append(&self, record: Cow<'_, Record>, reserved: usize) -> State {
        // Without the buffer in a thread that is being torn down.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        let state = self.append_with(record, reserved, &mut line);
        if line.capacity() <= KEPT_CAPACITY {
            let _ = LINE.try_with(|kept| kept.set(line));
        }
        state
    }

    /// What callers send is at most three times as long when it is escaped.
    fn reservation(&self, start: usize) -> usize {
        3 * start + ADDED
    }

    fn queue(&self) -> &dyn AnyQueue {
        &*self.queue
    }
}

fn write_line(format: &LineFormat, record: &Record, line: &mut Vec<u8>) -> io::Result<()> {
    match format {
        LineFormat::Full => line::write_record(record, false, line),
        LineFormat::WithOutput => line::write_record(record, true, line),
        LineFormat::Exported { api_version } => exported::write_record(record, api_version, line),
    }
}
