//! Where a log writes its records: [`Destination`].

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use crate::model::record::Record;
use crate::queue::ack::State;
use crate::queue::overload::Overload;
use crate::queue::pending::AnyQueue;

/// Where a [`QueryLog`](crate::QueryLog) writes its records: [`LogFiles`](crate::LogFiles) in a folder, or, with the
/// feature `store`, `LogStore` in an audit log. Each has its own queue and thread.
///
/// This trait cannot be implemented outside this crate.
pub trait Destination: Start + Send + 'static {}

impl<D: Start + Send + 'static> Destination for D {}

/// Starts a destination when its log is opened.
pub trait Start {
    /// Starts its thread.
    fn start(self) -> Result<Opened, OpenError>;
}

/// A destination that is open.
#[derive(Debug)]
pub struct Opened(pub(crate) Box<dyn Channel>);

/// The way to a destination that is open.
pub(crate) trait Channel: fmt::Debug + Send + Sync {
    /// Queues the start of a record. Returns `None` if the destination records only ends.
    fn begin(&self, record: &Record) -> Option<State>;

    /// Queues a record, for whose end this many bytes are reserved. A copy is made only if the destination needs one.
    fn append(&self, record: Cow<'_, Record>, reserved: usize) -> State;

    /// Returns how many bytes the end of a request may need, without output, if its start has this weight.
    fn reservation(&self, start: usize) -> usize;

    /// Returns the queue.
    fn queue(&self) -> &dyn AnyQueue;
}

/// The error of opening a log.
#[derive(Debug)]
pub struct OpenError {
    place: String,
    source: io::Error,
}

impl OpenError {
    /// Creates an error. `place` says where, for operators: "in /var/log/shop".
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

/// The minimum size of a queue, which has room for a few records,
const SMALLEST_QUEUE: usize = 4 << 10;
/// and if room is reserved for each request.
const SMALLEST_RESERVING: usize = 64 << 10;

pub(crate) fn check_queue_bytes(bytes: usize, overload: Overload) -> io::Result<()> {
    let invalid = |message: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    match overload {
        _ if bytes < SMALLEST_QUEUE => invalid("queue_bytes must be at least 4096"),
        Overload::Fail { .. } if bytes < SMALLEST_RESERVING => {
            invalid("queue_bytes must be at least 65536 with Overload::Fail, which reserves room for each request")
        }
        _ => Ok(()),
    }
}
