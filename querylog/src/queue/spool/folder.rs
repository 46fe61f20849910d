//! The folder of a spool: [`SpoolFolder`].

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::model::time::Timestamp;
use crate::private_file;
use crate::queue::durability::Durability;
use crate::queue::spool::Spool;
use crate::queue::spool::mark::{Mark, Unclean};
use crate::queue::spool::segment::{self, Frame, HEADER};

const LOCK: &str = "spool.lock";
const BUSY: &str = "this process or another has this spool; give each log a folder of its own";
const LATER: &str = "the spool was written by a later version of tagtrail-querylog; update this program";
/// A frame has about this many bytes at most.
const FRAME: usize = 1 << 20;
/// A segment is whole at this size.
const SEGMENT: u64 = 16 << 20;

/// A folder of segments, opened for writing and reading.
#[derive(Debug)]
pub(crate) struct SpoolFolder {
    path: PathBuf,
    max_bytes: u64,
    is_synced: bool,
    /// The oldest first. What is read is on disk until it is removed.
    segments: VecDeque<Segment>,
    /// The file of the newest segment, if this process writes it.
    writing: Option<File>,
    /// Where reading is.
    reading: Reading,
    next_number: u64,
    lock: File,
    mark: Mark,
}

#[derive(Debug, Default)]
struct Reading {
    /// The index of the segment. Those before are read.
    index: usize,
    file: Option<File>,
    /// How many bytes of it are read.
    bytes: u64,
    /// When the last frame was written.
    last: Option<Timestamp>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    /// How many bytes have whole frames, as far as is known.
    bytes: u64,
    /// How many requests they have that are not read yet.
    requests: u64,
    /// When the first of them was written, or the file was created.
    since: Timestamp,
    /// Whether what comes after them cannot be read.
    is_damaged: bool,
}

/// What earlier processes left in the folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The id of the writer to which the folder belongs.
    pub(crate) writer: Uuid,
    /// How many requests are in the spool.
    pub(crate) requests: u64,
    /// When the first frame was written, if there is one: what came before is in the store.
    pub(crate) since: Option<Timestamp>,
    /// The processes that did not close their logs, and of which the store does not know yet.
    pub(crate) unclean: Vec<Unclean>,
}

/// Where a frame is: the number of its segment, and how many bytes of that are before it.
pub(crate) type Position = (u64, u64);

/// The part of a spool that cannot be read, which is set aside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) position: Position,
    /// When the last frame before it was written, or the first one in it,
    pub(crate) from: Timestamp,
    /// and when it was found.
    pub(crate) to: Timestamp,
    /// How many requests it is known to have had. There may be more.
    pub(crate) requests: u64,
}

impl SpoolFolder {
    /// Opens the folder of a spool, and creates it if it does not exist.
    pub(crate) fn open(spool: &Spool) -> io::Result<(Self, Found)> {
        if spool.folder.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "expected a folder for the spool, found a file"));
        }
        private_file::create_folder(&spool.folder)?;
        let mut lock = private_file::lock(&spool.folder.join(LOCK), BUSY)?;
        let mut text = String::new();
        lock.read_to_string(&mut text)?;
        let Listed { segments, requests, since, last } = list(&spool.folder)?;
        let mark = Mark::read(&text).opened(last, Timestamp::now());
        let mut folder = Self {
            path: spool.folder.clone(),
            max_bytes: spool.max_bytes,
            is_synced: spool.durability == Durability::Synced,
            next_number: segments.back().map_or(0, |segment| segment.number + 1),
            segments,
            writing: None,
            reading: Reading::default(),
            lock,
            mark,
        };
        folder.write_mark()?;
        let found = Found { writer: folder.mark.writer, requests, since, unclean: folder.mark.unclean.clone() };
        Ok((folder, found))
    }

    fn write_mark(&mut self) -> io::Result<()> {
        let text = self.mark.to_string();
        // The longer text first, so that a crash in between leaves no part of it.
        self.lock.rewind()?;
        self.lock.write_all(text.as_bytes())?;
        self.lock.set_len(text.len() as u64)?;
        self.lock.sync_data()
    }

    /// The store knows of the processes that did not close their logs.
    pub(crate) fn forget_unclean(&mut self) -> io::Result<()> {
        if self.mark.unclean.is_empty() {
            return Ok(());
        }
        self.mark.unclean.clear();
        self.write_mark()
    }

    /// The log was closed, and what is not in the store is here.
    pub(crate) fn mark_closed(&mut self) -> io::Result<()> {
        self.mark.since = None;
        self.write_mark()
    }

    /// Returns how many bytes of records a frame should have, about: few enough that a small spool takes some of a batch.
    pub(crate) fn frame_bytes(&self) -> usize {
        usize::try_from(self.max_bytes / 8).unwrap_or(FRAME).min(FRAME)
    }

    /// Returns the path of a file alongside the segments.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Appends a frame, which is as safe as the settings ask when this returns. If it fails, the spool is as before.
    pub(crate) fn append(&mut self, frame: &Frame) -> io::Result<Position> {
        let length = segment::length(frame);
        let used: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        if used + length + HEADER.len() as u64 > self.max_bytes {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"));
        }
        let mut bytes = Vec::new();
        segment::encode(frame, &mut bytes)?;
        let is_whole = self
            .segments
            .back()
            .is_none_or(|newest| newest.bytes > HEADER.len() as u64 && newest.bytes + length > SEGMENT);
        if is_whole || self.writing.is_none() {
            self.writing = Some(self.create_segment(frame.time)?);
        }
        let (Some(file), Some(newest)) = (&mut self.writing, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let synced = self.is_synced;
        let synced = |file: &File| if synced { file.sync_data() } else { Ok(()) };
        let written =
            file.write_all(&bytes).and_then(|()| synced(file)).and_then(|()| private_file::check_linked(file));
        if let Err(error) = written {
            // What the disk has of it is unknown: nothing more is written to this file.
            let _ = file.set_len(newest.bytes);
            if newest.bytes <= HEADER.len() as u64 {
                let _ = fs::remove_file(&newest.path);
                self.segments.pop_back();
            }
            self.writing = None;
            return Err(error);
        }
        let position = (newest.number, newest.bytes);
        newest.bytes += length;
        newest.requests += u64::from(frame.requests);
        Ok(position)
    }

    fn create_segment(&mut self, time: Timestamp) -> io::Result<File> {
        // The folder may have been removed since.
        private_file::create_folder(&self.path)?;
        let number = self.next_number;
        let path = self.path.join(format!("{number:020}.spool"));
        // First, so that a number is not tried again if there is a file that has it.
        self.next_number += 1;
        let mut file = private_file::append_new(&path)?;
        let created = file
            .write_all(HEADER)
            .and_then(|()| if self.is_synced { private_file::sync_folder(&self.path) } else { Ok(()) });
        if let Err(error) = created {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        let now = Timestamp::now();
        let since = if time == Timestamp::MIN { now } else { time.min(now) };
        let bytes = HEADER.len() as u64;
        self.segments.push_back(Segment { number, path, bytes, requests: 0, since, is_damaged: false });
        Ok(file)
    }

    /// Reads the next frame; `None` if there is none now. A part that is damaged is set aside, and so is what a crash left
    /// of a frame.
    pub(crate) fn read(&mut self) -> io::Result<Option<Result<(Position, Frame), Damaged>>> {
        loop {
            let Reading { index, file, bytes, .. } = &mut self.reading;
            let count = self.segments.len();
            let Some(segment) = self.segments.get_mut(*index) else { return Ok(None) };
            if *bytes >= segment.bytes && *index + 1 < count {
                (*index, *file, *bytes) = (*index + 1, None, 0);
                continue;
            }
            if *bytes >= segment.bytes {
                return Ok(None);
            }
            return match segment.read(file, bytes) {
                Ok((position, frame)) => {
                    segment.requests = segment.requests.saturating_sub(frame.requests.into());
                    // A frame that has only gaps has no time.
                    if frame.time > Timestamp::MIN {
                        self.reading.last = Some(frame.time);
                    }
                    Ok(Some(Ok((position, frame))))
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) => {
                    tracing::error!(%error, path = %segment.path.display(), "query log: a part of the spool is damaged");
                    Ok(Some(Err(self.note_damage())))
                }
                Err(error) => Err(error),
            };
        }
    }

    /// Notes that the rest of the segment that is being read cannot be read. It is set aside when what is before it is
    /// in the store.
    fn note_damage(&mut self) -> Damaged {
        let Reading { index, bytes, last, .. } = &mut self.reading;
        let to = Timestamp::now();
        let (mut position, mut from, mut requests) = ((0, *bytes), *last, 0);
        if let Some(segment) = self.segments.get_mut(*index) {
            (segment.bytes, segment.is_damaged, position.0) = (*bytes, true, segment.number);
            requests = std::mem::take(&mut segment.requests);
            from = from.or(Some(segment.since));
        }
        if *index + 1 == self.segments.len() {
            self.writing = None;
        }
        // Never after its end, even if the clock went backwards.
        Damaged { position, from: from.unwrap_or(to).min(to), to, requests }
    }

    /// What was read until now is in the store: removes it.
    pub(crate) fn remove_read(&mut self) {
        let Self { segments, reading, writing, .. } = self;
        let mut read = reading.index;
        if segments.get(read).is_some_and(|segment| reading.bytes >= segment.bytes) {
            // Frames that are appended later go to a new segment.
            read += 1;
            (reading.file, reading.bytes) = (None, 0);
        }
        reading.index -= reading.index.min(read);
        for segment in segments.drain(..read) {
            if let Err(error) = segment.remove()
                && error.kind() != io::ErrorKind::NotFound
            {
                // It is written to the store again by the next process, which is harmless.
                tracing::warn!(%error, path = %segment.path.display(), "query log: failed to remove a part of the spool");
            }
        }
        if segments.is_empty() {
            *writing = None;
        }
    }

    /// Returns whether everything is read and removed.
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

impl Segment {
    /// Removes the file, and keeps what could not be read of it in another one.
    fn remove(&self) -> io::Result<()> {
        if self.is_damaged {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.bytes))?;
            io::copy(&mut file, &mut private_file::create(&self.path.with_extension("damaged"))?)?;
        }
        fs::remove_file(&self.path)
    }

    /// Reads the next frame after some bytes, and moves behind it.
    fn read(&self, file: &mut Option<File>, bytes: &mut u64) -> io::Result<(Position, Frame)> {
        let file = match file {
            Some(file) => file,
            none => {
                let mut opened = File::open(&self.path)?;
                read_header(&mut opened)?;
                *bytes = HEADER.len() as u64;
                none.insert(opened)
            }
        };
        file.seek(SeekFrom::Start(*bytes))?;
        let frame = segment::decode(&mut file.take(self.bytes.saturating_sub(*bytes)))?;
        let frame = frame.ok_or(io::ErrorKind::InvalidData)?;
        let position = (self.number, *bytes);
        *bytes += segment::length(&frame);
        Ok((position, frame))
    }
}

fn read_header(file: &mut File) -> io::Result<()> {
    let mut header = [0; HEADER.len()];
    file.read_exact(&mut header).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData.into(),
        _ => error,
    })?;
    if header == HEADER { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The segments in a folder, how many requests they have, and when their first and last frames were written.
struct Listed {
    segments: VecDeque<Segment>,
    requests: u64,
    since: Option<Timestamp>,
    last: Timestamp,
}

fn list(folder: &Path) -> io::Result<Listed> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".spool"));
        if let Some(number) = name.and_then(|name| name.parse().ok()) {
            let metadata = path.metadata()?;
            let since =
                metadata.created().or_else(|_| metadata.modified()).map_or_else(|_| Timestamp::now(), Into::into);
            segments.push(Segment { number, bytes: metadata.len(), path, requests: 0, since, is_damaged: false });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.number);
    let (mut requests, mut since, mut last) = (0, None, Timestamp::MIN);
    for segment in &mut segments {
        let mut file = File::open(&segment.path)?;
        let mut header = [0; HEADER.len()];
        if file.read_exact(&mut header).is_ok() && header != HEADER && header.starts_with(b"tagtrail-spool ") {
            return Err(io::Error::new(io::ErrorKind::Unsupported, LATER));
        }
        while let Ok(Some(frame)) = segment::decode(&mut file) {
            segment.requests += u64::from(frame.requests);
            last = last.max(frame.time);
            // A frame that has only gaps has no time.
            since = since.or((frame.time > Timestamp::MIN).then_some(frame.time));
        }
        requests += segment.requests;
    }
    // A segment without a frame has nothing to read.
    let (segments, empty): (Vec<_>, Vec<_>) =
        segments.into_iter().partition(|segment| segment.bytes > HEADER.len() as u64);
    empty.iter().try_for_each(|segment| fs::remove_file(&segment.path))?;
    Ok(Listed { segments: segments.into(), requests, since, last })
}
