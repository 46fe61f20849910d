//! One handled request: [`Record`].

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, Method, Version};
use tagtrail::{ParentId, Tags, TraceFlags, TraceId, Trail};
use uuid::Uuid;

use crate::model::time::Timestamp;

/// How many outbound calls of a request a record names at most.
pub(crate) const MAX_SENT: usize = 64;

/// One handled request.
///
/// A [`QueryLogLayer`](crate::QueryLogLayer) makes one for each request. A service makes its own for work that comes
/// by another way, such as a message queue, and [appends](crate::QueryLog::append) it.
///
/// ```
/// use std::time::Duration;
/// use tagtrail::{Sample, Trail};
/// use tagtrail_querylog::{Outcome, Record};
///
/// let mut record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
/// record.end(Duration::from_millis(1_250), Outcome::Complete);
/// assert_eq!(record.duration, Some(Duration::from_millis(1_250)));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The key that makes storing a record twice harmless. Version 7: in the order of time.
    pub id: Uuid,
    /// When the request started.
    pub start_time: Timestamp,
    /// How long it took, to the end of the response's body; `None` if it never ended.
    pub duration: Option<Duration>,
    /// The trace that the request is part of.
    pub trace_id: TraceId,
    /// The id of this request's own operation, which its response names.
    pub span_id: ParentId,
    /// The parent-id that the caller sent, if the caller's trace was continued.
    pub parent_id: Option<ParentId>,
    /// The flags of the trace.
    pub flags: TraceFlags,
    /// The parent-ids of the requests that were sent meanwhile: the first 64.
    pub sent: Vec<ParentId>,
    /// The tags of the request.
    pub tags: Tags,
    /// The request.
    pub request: RequestPart,
    /// The response.
    pub response: ResponsePart,
    /// The address of the client.
    pub client_ip: Option<IpAddr>,
    /// The name of the machine that handled the request.
    pub host: Option<Cow<'static, str>>,
    /// What the service added.
    pub notes: Notes,
}

/// The request: part of a [`Record`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RequestPart {
    /// The method.
    pub method: Method,
    /// The path, without the query string unless the layer was asked for it.
    pub path: String,
    /// The route that matched, if the framework reports it: `/users/{id}`.
    pub route: Option<String>,
    /// The version of HTTP; `None` for what did not come by HTTP.
    pub version: Option<Version>,
    /// The headers that the layer was set to record, several lines of one joined by `, `.
    pub headers: Vec<(HeaderName, String)>,
    /// How many bytes of the body were read.
    pub body_bytes: u64,
}

/// The response: part of a [`Record`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponsePart {
    /// The status; `None` if the request ended without a response.
    pub status: Option<u16>,
    /// How the request ended; `None` if it never did.
    pub outcome: Option<Outcome>,
    /// How many bytes of the body were handed to the server.
    pub body_bytes: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The response was handed to the server whole.
    Complete,
    /// The client went away, the body of the response failed, or the service failed.
    Aborted,
    /// The handler, or the body of the response, panicked.
    Panicked,
    /// The request was rejected for its tags, before any handler.
    Refused,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Complete, Self::Aborted, Self::Panicked, Self::Refused];

    /// Returns the word that a log has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Panicked => "panicked",
            Self::Refused => "refused",
        }
    }
}

/// The word that a log has for it: `complete`, `aborted`, `panicked`, `refused`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = InvalidOutcome;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(InvalidOutcome(()))
    }
}

/// A word that is not an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid outcome: expected complete, aborted, panicked or refused")]
pub struct InvalidOutcome(());

/// What a service adds to the record of a request, through its [`RecordHandle`](crate::RecordHandle). All of it is
/// empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Who asked.
    pub caller: Caller,
    /// What was run.
    pub operation: Operation,
    /// The path of the database, top first.
    pub database: Vec<String>,
    /// The region group that the request ran in.
    pub region_group: Option<String>,
    /// What the service counts for a request, by names of its own. Exported records have members for
    /// [`BYTE_READ_OPS`](export_counters::BYTE_READ_OPS) and the others of [`export_counters`]. The names `query_time`,
    /// `query_bytes_in` and `query_bytes_out` are taken, and such a counter is not written.
    pub counters: Vec<(Cow<'static, str>, u64)>,
    /// The shape of the request: its text with the data taken out. Exported records have it.
    pub shape: Option<String>,
    /// The token by which the operation was shared. Not in files.
    pub shared_token: Option<String>,
    /// What the operation printed. In files only if asked for.
    pub stdout: Option<String>,
    /// The errors that the operation printed. In files only if asked for.
    pub stderr: Option<String>,
    /// What the operation was given, or gave. In files only if asked for.
    pub payload: Option<String>,
}

impl Notes {
    /// Adds to a counter, which starts at 0.
    ///
    /// ```
    /// use tagtrail_querylog::Notes;
    /// use tagtrail_querylog::record::export_counters;
    ///
    /// let mut notes = Notes::default();
    /// notes.add(export_counters::BYTE_READ_OPS, 3);
    /// notes.add(export_counters::BYTE_READ_OPS, 4);
    /// assert_eq!(notes.counter(export_counters::BYTE_READ_OPS), 7);
    /// ```
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, more: u64) {
        let name = name.into();
        match self.counters.iter_mut().find(|(other, _)| *other == name) {
            Some((_, count)) => *count = count.saturating_add(more),
            None => self.counters.push((name, more)),
        }
    }

    /// Returns the value of a counter.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count)
    }
}

/// The names of the counters that exported records have members for.
pub mod export_counters {
    /// How many read operations there were.
    pub const BYTE_READ_OPS: &str = "byte_read_ops";
    /// How many write operations there were.
    pub const BYTE_WRITE_OPS: &str = "byte_write_ops";
    /// How many compute operations there were.
    pub const COMPUTE_OPS: &str = "compute_ops";
    /// How many transactions were tried again.
    pub const TXN_RETRIES: &str = "txn_retries";
    /// How often the limit on reads was hit.
    pub const READ_LIMITS_HIT: &str = "read_limits_hit";
    /// How often the limit on writes was hit.
    pub const WRITE_LIMITS_HIT: &str = "write_limits_hit";
    /// How often the limit on compute was hit.
    pub const COMPUTE_LIMITS_HIT: &str = "compute_limits_hit";
}

/// Who asked: part of [`Notes`]. A caller without a user is an anonymous one, or a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The id of the user.
    pub user_id: Option<String>,
    /// The e-mail address of the user.
    pub user_email: Option<String>,
    /// The id of the environment that the user belongs to.
    pub exec_env_id: Option<String>,
}

/// What was run: part of [`Notes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    /// Its id.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What ran it: `realtime`, say.
    pub engine: Option<String>,
    /// Whether the response came from a cache.
    pub cache: Option<bool>,
}

impl Record {
    /// Creates a record of work that starts now, of this name, for this trail, and that did not come by HTTP. The name
    /// stands for the path.
    pub fn new(trail: &Trail, name: impl Into<String>) -> Self {
        let request = RequestPart {
            method: Method::default(),
            path: name.into(),
            route: None,
            version: None,
            headers: Vec::new(),
            body_bytes: 0,
        };
        Self::begun(trail, request)
    }

    /// Creates a record of a request that starts now, of this trail and with this head. It has the path without the query
    /// string, and no headers.
    pub fn of_request(trail: &Trail, head: &Parts) -> Self {
        let request = RequestPart {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            route: None,
            version: Some(head.version),
            headers: Vec::new(),
            body_bytes: 0,
        };
        Self::begun(trail, request)
    }

    fn begun(trail: &Trail, request: RequestPart) -> Self {
        Self {
            id: Uuid::now_v7(),
            start_time: Timestamp::now(),
            duration: None,
            trace_id: trail.trace_id(),
            span_id: trail.span_id(),
            parent_id: trail.parent_span_id(),
            flags: trail.flags(),
            sent: Vec::new(),
            tags: trail.tags().clone(),
            request,
            response: ResponsePart::default(),
            client_ip: None,
            host: None,
            notes: Notes::default(),
        }
    }

    /// Returns whether it has ended, as far as is known.
    #[cfg(feature = "store")]
    pub(crate) fn has_ended(&self) -> bool {
        self.response.outcome.is_some()
    }

    /// Returns how many bytes of memory it takes, about.
    #[cfg(feature = "store")]
    pub(crate) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let Notes { caller, operation, database, region_group, counters, shape, shared_token, stdout, stderr, payload } =
            &self.notes;
        let texts = [
            &self.request.route,
            &caller.user_id,
            &caller.user_email,
            &caller.exec_env_id,
            &operation.id,
            &operation.name,
            &operation.engine,
            region_group,
            shape,
            shared_token,
            stdout,
            stderr,
            payload,
        ];
        let headers = self.request.headers.iter().map(|(_, value)| size_of::<(HeaderName, String)>() + value.len());
        let tags = self.tags.iter().map(|(name, value)| 2 * size_of::<String>() + name.len() + value.len());
        size_of::<Self>()
            + self.request.path.len()
            + texts.into_iter().map(text).sum::<usize>()
            + headers.chain(tags).sum::<usize>()
            + database.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>()
            + counters.len() * size_of::<(Cow<'_, str>, u64)>()
            + self.sent.len() * size_of::<ParentId>()
    }

    /// Ends it, after this duration and in this way.
    pub fn end(&mut self, duration: Duration, outcome: Outcome) {
        self.duration = Some(duration);
        self.response.outcome = Some(outcome);
    }
}
