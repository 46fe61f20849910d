//! Where a log writes its records: [`Destination`].

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use crate::model::record::Record;
use crate::queue::ack::State;
use crate::queue::pending::AnyQueue;

/// Where a [`QueryLog`](crate::QueryLog) writes its records: [`LogFiles`](crate::LogFiles) in a folder, or, with the
/// feature `store`, `LogStore` in an audit log. Each has a queue and a thread of its own.
///
/// The trait cannot be implemented outside of this crate.
pub trait Destination: Start + Send + 'static {}

impl<D: Start + Send + 'static> Destination for D {}

/// What a destination does when its log is opened.
pub trait Start {
    /// Starts its thread.
    fn start(self) -> Result<Opened, OpenError>;
}

/// A destination that is open.
#[derive(Debug)]
pub struct Opened(pub(crate) Box<dyn Channel>);

/// The way to a destination that is open.
pub(crate) trait Channel: fmt::Debug + Send + Sync {
    /// Queues the start of a record; `None` if the destination has records when they end.
    fn begin(&self, record: &Record) -> Option<State>;

    /// Queues a record. A copy is made only if the destination needs one.
    fn append(&self, record: Cow<'_, Record>) -> State;

    /// Its queue.
    fn queue(&self) -> &dyn AnyQueue;
}

/// Why a log cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    place: String,
    source: io::Error,
}

impl OpenError {
    /// `place` is what cannot be opened, for the eyes of who operates the service: "in /var/log/shop".
    pub(crate) fn new(place: impl Into<String>, source: io::Error) -> Self {
        Self { place: place.into(), source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open a query log {}: {}", self.place, self.source)
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// The smallest queue: it has room for a few records of usual size.
const SMALLEST_QUEUE: usize = 4 << 10;

pub(crate) fn check_queue_bytes(bytes: usize) -> io::Result<()> {
    if bytes < SMALLEST_QUEUE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "queue_bytes must be at least 4096"));
    }
    Ok(())
}
