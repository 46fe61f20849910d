//! The files of a log, as the writer sees them: whole lines in, rolled by size and time.

use std::io;
use std::time::Duration;

use memchr::{memchr, memrchr};

use crate::files::disk::{Disk, DiskFile, Place};
use crate::model::time::Timestamp;
use crate::queue::writer::Sink;

/// When a file is full and the next one is begun.
///
/// ```
/// use std::time::Duration;
/// use tagtrail_querylog::Roll;
///
/// // At 16 MB, and each hour.
/// let roll = Roll::at_bytes(16_000_000).every(Duration::from_secs(3600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Roll {
    pub(crate) bytes: u64,
    every: Option<Duration>,
}

impl Roll {
    /// At this size. A file is never larger, unless a single record is.
    pub fn at_bytes(bytes: u64) -> Self {
        Self { bytes, every: None }
    }

    /// Also in time: at each whole multiple of the duration, in UTC. An hour is each full hour, a day is each midnight.
    /// At least a second.
    pub fn every(self, every: Duration) -> Self {
        Self { every: Some(every.max(Duration::from_secs(1))), ..self }
    }

    /// The number of the period that `now` is in, where files are rolled by time.
    fn period(self, now: Timestamp) -> i64 {
        self.period_micros().map_or(0, |every| now.as_micros().div_euclid(every))
    }

    fn period_micros(self) -> Option<i64> {
        self.every.map(|every| i64::try_from(every.as_micros()).unwrap_or(i64::MAX))
    }
}

/// At 128 MB.
impl Default for Roll {
    fn default() -> Self {
        Self::at_bytes(128_000_000)
    }
}

pub(crate) struct Files {
    disk: Box<dyn Disk>,
    roll: Roll,
    synced: bool,
    current: Option<Current>,
    /// The begin that the newest file is named for.
    newest: Timestamp,
}

struct Current {
    file: Box<dyn DiskFile>,
    length: u64,
    period: i64,
}

impl Files {
    /// `newest` is the begin of the newest file that is there.
    pub(crate) fn new(disk: Box<dyn Disk>, roll: Roll, synced: bool, newest: Timestamp) -> Self {
        Self { disk, roll, synced, current: None, newest }
    }

    /// Writes what of the lines fits into one file.
    fn write_part(&mut self, lines: &[u8], now: Timestamp) -> io::Result<usize> {
        let Self { disk, roll, synced, current, newest } = self;
        let first = memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        if current.as_ref().is_some_and(|current| current.is_over(*roll, first, now)) {
            *current = None;
            disk.rolled();
        }
        let mut open = if let Some(open) = current.take() {
            open
        } else {
            // Also where the clock went backwards, names sort in the order of writing.
            let begin = now.max(Timestamp::from_micros(newest.as_micros() + 1));
            let file = disk.create(begin, *synced)?;
            *newest = begin;
            Current { file, length: 0, period: roll.period(now) }
        };
        let part = &lines[..open.fitting(lines, first, roll.bytes)];
        let written = open.write(part, *synced);
        // A file that others moved or deleted, or that failed, is not written again.
        if matches!(written, Ok(Place::Kept) | Err(Fault { usable: true, .. })) {
            *current = Some(open);
        }
        match written {
            Ok(Place::Kept | Place::Moved) => Ok(part.len()),
            Ok(Place::Deleted) => Err(io::Error::new(io::ErrorKind::NotFound, "the file was deleted")),
            Err(fault) => Err(fault.error),
        }
    }
}

impl Sink for Files {
    /// Writes whole lines, from `done` on, and moves `done` behind each part that is as safe as it is to be. What it
    /// fails to write is not in the file, so that the rest can be tried again.
    fn write(&mut self, lines: &[u8], done: &mut usize) -> io::Result<()> {
        while *done < lines.len() {
            *done += self.write_part(&lines[*done..], Timestamp::now())?;
        }
        Ok(())
    }

    /// Rolls the file where its time is over.
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
    fn close(&mut self, has_all: bool) -> io::Result<()> {
        if let Some(mut current) = self.current.take() {
            current.file.sync()?;
        }
        if has_all { self.disk.stopped() } else { Ok(()) }
    }
}

/// Why a part was not written, and whether its file, which is as it was before, can be written again.
struct Fault {
    error: io::Error,
    usable: bool,
}

impl Current {
    fn is_over(&self, roll: Roll, next: usize, now: Timestamp) -> bool {
        self.length > 0 && (self.length + next as u64 > roll.bytes || self.period != roll.period(now))
    }

    /// How many bytes of the lines fit: the first line at least.
    fn fitting(&self, lines: &[u8], first: usize, limit: u64) -> usize {
        let room = usize::try_from(limit.saturating_sub(self.length)).unwrap_or(usize::MAX);
        let Some(within) = lines.get(..room) else { return lines.len() };
        memrchr(b'\n', within).map_or(first, |at| at + 1)
    }

    fn write(&mut self, part: &[u8], synced: bool) -> Result<Place, Fault> {
        if let Err(error) = self.file.append(part) {
            // Half a line may be in the file. Where the file may not grow, another may.
            let usable = self.file.cut(self.length).is_ok() && error.kind() != io::ErrorKind::FileTooLarge;
            return Err(Fault { error, usable });
        }
        if synced && let Err(error) = self.file.sync() {
            // Nobody knows what the disk has of it now, and a later sync that works would not tell. So the lines go to
            // a new file, and away from this one, if that is possible.
            let _ = self.file.cut(self.length);
            return Err(Fault { error, usable: false });
        }
        self.length += part.len() as u64;
        // Where the question cannot be answered, the lines are where they were written.
        Ok(self.file.place().unwrap_or(Place::Kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_of_one_length_before_1970_too() {
        let roll = Roll::default().every(Duration::from_secs(1));
        let periods =
            [-1_000_001, -1_000_000, -1, 0, 999_999, 1_000_000].map(|now| roll.period(Timestamp::from_micros(now)));
        assert_eq!(periods, [-2, -1, -1, 0, 0, 1]);
    }
}
