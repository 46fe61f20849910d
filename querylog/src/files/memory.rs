//! A disk in memory, which fails on demand; what it has after each step is what a crash would leave.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tagtrail::{Sample, Trail};

use crate::files::disk::{Disk, DiskFile, Place};
use crate::files::folder::Found;
use crate::files::log_files::LogFiles;
use crate::files::options::Roll;
use crate::model::gap::Gap;
use crate::model::record::{Outcome, Record};
use crate::model::time::Timestamp;
use crate::queue::durability::Durability;
use crate::queue::log::QueryLog;
use crate::wire::gap::read_gap;
use crate::wire::line::read_record;

/// A disk in memory.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: Vec<Data>,
    pub(crate) failures: Failures,
    pub(crate) stopped: bool,
    pub(crate) rolled: usize,
}

#[derive(Default)]
pub(crate) struct Data {
    pub(crate) bytes: Vec<u8>,
    /// How many of the bytes survive a power cut.
    pub(crate) safe: usize,
    /// The name of the file survives a power cut.
    pub(crate) named: bool,
    pub(crate) place: Option<Place>,
}

/// What fails, until that is undone.
#[derive(Clone, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a failure of its own")]
pub(crate) struct Failures {
    pub(crate) create: bool,
    /// Appending fails when the disk has this many bytes; what fits is written.
    pub(crate) full_at: Option<usize>,
    pub(crate) sync: bool,
    pub(crate) cut: bool,
    /// Syncing waits.
    pub(crate) slow: bool,
}

impl Memory {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    pub(crate) fn fail(&self, change: impl FnOnce(&mut Failures)) {
        change(&mut self.state().failures);
        self.0.1.notify_all();
    }

    /// What a power cut would leave now.
    pub(crate) fn safe(&self) -> Vec<u8> {
        self.state().files.iter().filter(|file| file.named).flat_map(|file| file.bytes[..file.safe].to_vec()).collect()
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        self.state().files.iter().flat_map(|file| file.bytes.clone()).collect()
    }

    /// How many files and records there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let records = self.lines().0.len();
        (self.state().files.len(), records)
    }

    pub(crate) fn lines(&self) -> (Vec<Record>, Vec<Gap>) {
        lines_of(&self.text())
    }
}

/// The records and gaps of whole lines; anything else is a failure.
pub(crate) fn lines_of(text: &[u8]) -> (Vec<Record>, Vec<Gap>) {
    let (mut records, mut gaps) = (Vec::new(), Vec::new());
    assert!(text.is_empty() || text.ends_with(b"\n"), "torn");
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match read_record(line) {
            Ok(record) => records.push(record),
            Err(_) => gaps.push(read_gap(line).unwrap()),
        }
    }
    (records, gaps)
}

impl Disk for Memory {
    fn create(&mut self, _start: Timestamp, synced: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.failures.create {
            return Err(ErrorKind::PermissionDenied.into());
        }
        state.files.push(Data { named: synced, ..Data::default() });
        Ok(Box::new(MemoryFile { disk: self.clone(), index: state.files.len() - 1 }))
    }

    fn rolled(&mut self) {
        self.state().rolled += 1;
    }

    fn stopped(&mut self) -> io::Result<()> {
        self.state().stopped = true;
        Ok(())
    }
}

struct MemoryFile {
    disk: Memory,
    index: usize,
}

impl DiskFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let used: usize = state.files.iter().map(|file| file.bytes.len()).sum();
        let room = state.failures.full_at.map_or(usize::MAX, |full| full.saturating_sub(used));
        let fits = &bytes[..bytes.len().min(room)];
        state.files[self.index].bytes.extend_from_slice(fits);
        if fits.len() < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let end = Instant::now() + Duration::from_secs(20);
        while state.failures.slow && Instant::now() < end {
            state = self.disk.0.1.wait_timeout(state, Duration::from_millis(50)).unwrap().0;
        }
        if state.failures.sync {
            return Err(io::Error::other("the disk is broken"));
        }
        let file = &mut state.files[self.index];
        file.safe = file.bytes.len();
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.failures.cut {
            return Err(io::Error::other("the disk is broken"));
        }
        let file = &mut state.files[self.index];
        file.bytes.truncate(usize::try_from(length).unwrap());
        file.safe = file.safe.min(file.bytes.len());
        Ok(())
    }

    fn place(&self) -> io::Result<Place> {
        let mut state = self.disk.state();
        let file = &mut state.files[self.index];
        if file.place == Some(Place::Deleted) {
            file.bytes.clear();
        }
        Ok(file.place.unwrap_or(Place::Kept))
    }
}

/// How many bytes the queue has.
pub(crate) const QUEUE: usize = 64 << 10;

pub(crate) fn settings() -> LogFiles {
    LogFiles::new("")
        .durability(Durability::Synced)
        .queue_bytes(QUEUE)
        .gather(16 << 10, Duration::from_millis(1))
        .roll(Roll::at_bytes(1 << 20))
}

pub(crate) fn open_with(disk: impl Disk + 'static, settings: LogFiles, gap: Option<Gap>) -> QueryLog {
    QueryLog::start([settings.start_on(Box::new(disk), Found { gap, ..nothing_found() }).unwrap()])
}

pub(crate) fn open(disk: &Memory, settings: LogFiles) -> QueryLog {
    open_with(disk.clone(), settings, None)
}

pub(crate) fn log(disk: &Memory) -> QueryLog {
    open(disk, settings())
}

pub(crate) fn record() -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
    record.end(Duration::from_millis(1), Outcome::Complete);
    record
}

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is found in an empty folder.
pub(crate) fn nothing_found() -> Found {
    Found { newest: Timestamp::MIN, gap: None }
}
