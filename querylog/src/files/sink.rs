//! The files of a log, as the writer sees them: whole lines in, rolled by size and time.

use std::io;
use std::time::{Duration, Instant};

use memchr::{memchr, memchr_iter, memrchr};
use uuid::Uuid;

use crate::files::disk::{Disk, DiskFile, Place};
use crate::files::lines::Lines;
use crate::files::options::Roll;
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::batch::{Moment, Sink};
use crate::wire::gap::write_gap;

pub(crate) struct Files {
    disk: Box<dyn Disk>,
    roll: Roll,
    synced: bool,
    current: Option<Current>,
    /// The start that the newest file is named for.
    newest: Timestamp,
    /// What a file had that was deleted while it was written, until that is written.
    deleted: Option<Gap>,
}

struct Current {
    file: Box<dyn DiskFile>,
    length: u64,
    period: i64,
    since: Timestamp,
    /// How many lines it has.
    lines: u64,
}

impl Files {
    /// `newest` is the start of the newest file that is there.
    pub(crate) fn new(disk: Box<dyn Disk>, roll: Roll, synced: bool, newest: Timestamp) -> Self {
        Self { disk, roll, synced, current: None, newest, deleted: None }
    }

    /// Writes the lines that fit into one file.
    fn write_part(&mut self, lines: &[u8], now: Timestamp) -> io::Result<usize> {
        let Self { disk, roll, synced, current, newest, deleted } = self;
        let first = memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        if current.as_ref().is_some_and(|current| current.is_over(*roll, first, now)) {
            *current = None;
            disk.rolled();
        }
        let mut open = if let Some(open) = current.take() {
            open
        } else {
            // Even if the clock went backwards, names sort in the order of writing.
            let start = now.max(Timestamp::from_micros(newest.as_micros() + 1));
            let file = disk.create(start, *synced)?;
            *newest = start;
            Current { file, length: 0, period: roll.period(now), since: now, lines: 0 }
        };
        if let Some(gap) = deleted {
            let mut line = Vec::new();
            write_gap(gap, &mut line)?;
            open.write(&line, *synced).map_err(|error| error.error)?;
            *deleted = None;
        }
        let part = &lines[..open.fitting(lines, first, roll.bytes)];
        let written = open.write(part, *synced);
        if matches!(written, Ok(Place::Deleted)) {
            *deleted = open.lost(now);
        }
        // A file that others moved or deleted, or that failed, is not written again.
        if matches!(written, Ok(Place::Kept) | Err(WriteError { usable: true, .. })) {
            *current = Some(open);
        }
        match written {
            Ok(Place::Kept | Place::Moved) => Ok(part.len()),
            Ok(Place::Deleted) => Err(io::Error::new(io::ErrorKind::NotFound, "the file was deleted")),
            Err(error) => Err(error.error),
        }
    }
}

impl Sink for Files {
    type Batch = Lines;

    /// Writes whole lines. What it fails to write is not in the file, so that the rest can be tried again.
    fn write(&mut self, lines: &mut Lines, _taken: &Moment) -> io::Result<()> {
        while !lines.rest().is_empty() {
            let written = self.write_part(lines.rest(), Timestamp::now())?;
            lines.wrote(written);
        }
        Ok(())
    }

    fn write_gap(&mut self, _id: Uuid, gap: &Gap) -> io::Result<()> {
        let mut line = Vec::new();
        write_gap(gap, &mut line)?;
        // One line fits into one file.
        self.write_part(&line, Timestamp::now()).map(drop)
    }

    /// Rolls the file if its time is over.
    fn tick(&mut self, now: Timestamp) {
        if self.current.as_ref().is_some_and(|current| current.period != self.roll.period(now)) {
            self.current = None;
            self.disk.rolled();
        }
    }

    /// How long it is to the next [`tick`](Self::tick) that is needed.
    fn until_tick(&self, now: Timestamp) -> Option<Duration> {
        let every = self.roll.period_micros()?;
        let current = self.current.as_ref()?;
        let end = current.period.saturating_add(1).saturating_mul(every);
        let wait = end.saturating_sub(now.as_micros());
        Some(Duration::from_micros(u64::try_from(wait).unwrap_or_default()))
    }

    /// Puts on the disk what is not there yet, and marks the log as closed if it `has_all`.
    fn close(&mut self, has_all: bool, _deadline: Option<Instant>) -> io::Result<()> {
        if let Some(mut current) = self.current.take() {
            current.file.sync()?;
        }
        if has_all { self.disk.stopped() } else { Ok(()) }
    }
}

/// Why a part was not written, and whether its file, which is as it was before, can be written again.
struct WriteError {
    error: io::Error,
    usable: bool,
}

impl Current {
    fn is_over(&self, roll: Roll, next: usize, now: Timestamp) -> bool {
        self.length > 0 && (self.length + next as u64 > roll.bytes || self.period != roll.period(now))
    }

    /// What is missing because the file was deleted, without the lines that are written again.
    fn lost(&self, now: Timestamp) -> Option<Gap> {
        let gap =
            Gap { from: self.since, to: now, count: Some(self.lines), why: "a file of the log was deleted".into() };
        (self.lines > 0).then_some(gap)
    }

    /// How many bytes of the lines fit: the first line at least.
    fn fitting(&self, lines: &[u8], first: usize, limit: u64) -> usize {
        let room = usize::try_from(limit.saturating_sub(self.length)).unwrap_or(usize::MAX);
        let Some(within) = lines.get(..room) else { return lines.len() };
        memrchr(b'\n', within).map_or(first, |at| at + 1)
    }

    fn write(&mut self, part: &[u8], synced: bool) -> Result<Place, WriteError> {
        if let Err(error) = self.file.append(part) {
            // Half a line may be in the file. If this file may not grow, another may.
            let usable = self.file.cut(self.length).is_ok() && error.kind() != io::ErrorKind::FileTooLarge;
            return Err(WriteError { error, usable });
        }
        if synced && let Err(error) = self.file.sync() {
            // What the disk has of it now is unknown, and a later sync that works would not tell. So write the lines to
            // a new file, and truncate this one if possible.
            let _ = self.file.cut(self.length);
            return Err(WriteError { error, usable: false });
        }
        self.length += part.len() as u64;
        // If that cannot be found out, the lines are where they were written.
        let place = self.file.place().unwrap_or(Place::Kept);
        if place != Place::Deleted {
            self.lines += memchr_iter(b'\n', part).count() as u64;
        }
        Ok(place)
    }
}
