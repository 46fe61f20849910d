//! How a log is written: [`FileSettings`].

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use crate::files::disk::Disk;
use crate::files::folder::Folder;
use crate::files::folder::Found;
use crate::files::keeper::{Keep, Keeper};
use crate::files::rolling::Roll;
use crate::model::record::Record;
use crate::queue::log::{Encode, QueryLog};
use crate::queue::overload::Overload;
use crate::queue::pending::Limits;
use crate::queue::writer;
use crate::queue::writer::Start;
use crate::wire::{exported, line};

/// How safe a record is when it is acknowledged, and with it how much a crash can take.
///
/// | | a killed process takes | a power cut takes |
/// | --- | --- | --- |
/// | `Buffered` | the last second, or 256 KB | what the operating system had not written |
/// | `Flushed` | the last 2 milliseconds | what the operating system had not written |
/// | `Synced` | the last 2 milliseconds | the last 2 milliseconds, and the time of the sync that was running |
///
/// What is taken was not acknowledged, a power cut without `Synced` aside; and when the log is opened again it says
/// that something may be missing, by a [`Gap`](crate::Gap).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Records are gathered, and handed to the operating system each second, or as 256 KB.
    Buffered,
    /// Each batch is handed to the operating system.
    #[default]
    Flushed,
    /// Each batch is on the disk (`fdatasync`), and so is the name of a new file.
    Synced,
}

/// The form of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFormat {
    /// The form that [`read`](crate::read) and `tagtrail-log` read: all of a record but its shared token and its shape,
    /// and without its output (`stdout`, `stderr` and `payload`).
    #[default]
    Full,
    /// The same with the output, where there is one.
    WithOutput,
    /// The form of exported logs, a flat object for what loads logs into a warehouse. It names no record id, path,
    /// caller or operation, so it is not read back.
    Exported {
        /// The member `API_VERSION`.
        api_version: String,
    },
}

/// How a log is written. See [`QueryLog::settings`].
///
/// ```
/// use std::time::Duration;
/// use tagtrail_querylog::{Durability, Keep, Overload, QueryLog, Roll};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let log = QueryLog::settings(folder)
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
pub struct FileSettings {
    folder: PathBuf,
    durability: Durability,
    overload: Overload,
    form: LineFormat,
    roll: Roll,
    gzip: bool,
    keep: Keep,
    queue: usize,
    gather: Option<(usize, Duration)>,
    retry: Duration,
}

impl FileSettings {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            durability: Durability::default(),
            overload: Overload::default(),
            form: LineFormat::default(),
            roll: Roll::default(),
            gzip: false,
            keep: Keep::default(),
            queue: 16 << 20,
            gather: None,
            retry: Duration::from_secs(10),
        }
    }

    /// How safe an acknowledged record is. By default it is with the operating system.
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// What happens to a request when the queue is full.
    pub fn overload(self, overload: Overload) -> Self {
        Self { overload, ..self }
    }

    /// The form of a line.
    pub fn form(self, form: LineFormat) -> Self {
        Self { form, ..self }
    }

    /// When a new file is begun. By default at 128 MB.
    pub fn roll(self, roll: Roll) -> Self {
        Self { roll, ..self }
    }

    /// Compresses files that are rolled.
    pub fn gzip(self) -> Self {
        Self { gzip: true, ..self }
    }

    /// How long files are kept. By default for ever.
    pub fn keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// How many bytes of records wait for the disk at most; 16 MB (2^24) by default, and at least 4 KB (2^12). A single
    /// record may not have more.
    /// The log needs at most twice this memory, since buffers grow by doubling.
    pub fn queue_bytes(self, bytes: usize) -> Self {
        Self { queue: bytes, ..self }
    }

    /// A batch is written when it has so many bytes, or its first record is so old: by default 256 KB or
    /// 2 milliseconds, and a second where records are [buffered](Durability::Buffered). While the disk is busy, the next
    /// batch grows beyond this.
    pub fn gather(self, bytes: usize, time: Duration) -> Self {
        Self { gather: Some((bytes, time)), ..self }
    }

    /// For how long the writer tries again when a file cannot be written, before it gives a batch up; 10 seconds by
    /// default. The records of a batch that is given up are counted, and a [`Gap`](crate::Gap) tells of them.
    pub fn retry_for(self, retry: Duration) -> Self {
        Self { retry, ..self }
    }

    /// Opens the log: makes the folder, if it is not there; takes it for this process; moves aside what a crash left of
    /// a line; and starts the thread that writes. If the process before did not [close](QueryLog::close) the log, a
    /// [`Gap`](crate::Gap) of unknown count is written.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or written, or is a file; or a log is being written there, for a second longer; or the queue has
    /// room for no record; or no thread can be started.
    pub fn open(self) -> Result<QueryLog, OpenError> {
        let at = |source| OpenError { folder: self.folder.clone(), source };
        room_for_a_record(self.queue).map_err(at)?;
        let keeper = Keeper::start(self.gzip, self.keep, self.roll.bytes).map_err(at)?;
        let (folder, found) = Folder::open(&self.folder, keeper).map_err(at)?;
        let (batch, linger) = self.gather.unwrap_or(match self.durability {
            Durability::Buffered => (256 << 10, Duration::from_secs(1)),
            Durability::Flushed | Durability::Synced => (256 << 10, Duration::from_millis(2)),
        });
        let start = Start {
            limits: Limits { queue: self.queue, batch: batch.min(self.queue / 2), linger },
            roll: self.roll,
            synced: self.durability == Durability::Synced,
            retry: self.retry,
        };
        QueryLog::start(Box::new(folder), found, start, self.overload, self.form).map_err(at)
    }
}

/// The smallest queue: room for a few records, as they usually are.
const LEAST: usize = 4 << 10;

pub(crate) fn room_for_a_record(queue: usize) -> io::Result<()> {
    if queue < LEAST {
        let why = "queue_bytes is below 4,096, which has no room for records";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(())
}

/// Why a log cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    folder: PathBuf,
    source: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open a query log in {}: {}", self.folder.display(), self.source)
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Encode for LineFormat {
    fn encode(&self, record: &Record, line: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Full => line::write_record(record, false, line),
            Self::WithOutput => line::write_record(record, true, line),
            Self::Exported { api_version } => exported::write_record(record, api_version, line),
        }
    }
}

impl QueryLog {
    /// Opens a log in a folder, with the settings as they are by default.
    ///
    /// # Errors
    ///
    /// As [`FileSettings::open`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::settings(folder).open()
    }

    /// The settings of a log in a folder, to be changed and opened.
    pub fn settings(folder: impl AsRef<Path>) -> FileSettings {
        FileSettings::new(folder.as_ref())
    }

    pub(crate) fn start(
        disk: Box<dyn Disk>,
        found: Found,
        start: Start,
        overload: Overload,
        form: LineFormat,
    ) -> io::Result<Self> {
        let (queue, ended) = writer::start(disk, found, start)?;
        Ok(Self::of(queue, ended, overload, Box::new(form)))
    }
}
