//! Helpers for several tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tagtrail::{Sample, Trail};
use tagtrail_querylog::{Entry, Gap, LogFiles, LogReader, Outcome, QueryLog, Record};
use tempfile::TempDir;
use tokio::time::Sleep;

/// A log in its own folder.
pub(crate) struct Logged {
    pub(crate) log: QueryLog,
    pub(crate) folder: TempDir,
}

impl Logged {
    pub(crate) fn new() -> Self {
        Self::with(|settings| settings)
    }

    pub(crate) fn with(change: impl FnOnce(LogFiles) -> LogFiles) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { log: change(LogFiles::new(folder.path())).open().unwrap(), folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Closes the log, and reads it.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.log.close_blocking(Duration::from_secs(10)).unwrap();
        self.read()
    }

    pub(crate) fn read(&self) -> Vec<Record> {
        records_in(self.path())
    }

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        gaps_in(self.path())
    }

    /// Returns the text of the files.
    pub(crate) fn text(&self) -> String {
        let texts = files_in(self.path(), ".jsonl").into_iter().map(|path| fs::read_to_string(path).unwrap());
        texts.collect()
    }
}

/// Returns the files of a folder whose name has an ending, sorted by name.
pub(crate) fn files_in(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.to_str().unwrap().ends_with(end));
    files.sort();
    files
}

pub(crate) fn entries_in(folder: &Path) -> Vec<Entry> {
    LogReader::open(folder).unwrap().map(Result::unwrap).collect()
}

pub(crate) fn records_in(folder: &Path) -> Vec<Record> {
    let records = entries_in(folder).into_iter().filter_map(|entry| match entry {
        Entry::Record(record) => Some(*record),
        Entry::Gap(_) => None,
        other => panic!("{other:?}"),
    });
    records.collect()
}

pub(crate) fn gaps_in(folder: &Path) -> Vec<Gap> {
    let gaps = entries_in(folder).into_iter().filter_map(|entry| match entry {
        Entry::Gap(gap) => Some(gap),
        _ => None,
    });
    gaps.collect()
}

/// Returns a record that an application creates itself.
pub(crate) fn record(name: &str) -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), name);
    record.end(Duration::from_micros(1_250), Outcome::Complete);
    record
}

/// Waits until a condition holds, and fails after 20 seconds.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A step of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Data(&'static str),
    /// Milliseconds.
    Wait(u64),
    Trailers,
    Fail,
    Panic,
}

/// A body that takes some steps.
pub(crate) struct Frames {
    steps: std::vec::IntoIter<Step>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Frames {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self { steps: steps.into_iter(), wait: None }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(wait) = &mut self.wait {
                std::task::ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            return Poll::Ready(match self.steps.next() {
                None => None,
                Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from_static(data.as_bytes())))),
                Some(Step::Trailers) => {
                    Some(Ok(Frame::trailers(HeaderMap::from_iter([("t".parse().unwrap(), "1".parse().unwrap())]))))
                }
                Some(Step::Fail) => Some(Err(io::Error::other("the body fails"))),
                Some(Step::Panic) => panic!("in the body"),
                Some(Step::Wait(millis)) => {
                    self.wait = Some(Box::pin(tokio::time::sleep(Duration::from_millis(millis))));
                    continue;
                }
            });
        }
    }
}

/// A disk of one megabyte, in memory.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Returns `None` if this process may not mount, which only root may.
    pub(crate) fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
