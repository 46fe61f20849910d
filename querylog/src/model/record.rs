//! One handled request: [`Record`].

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, Method, Version};
use tagtrail::{ParentId, TagOptions, Tags, TraceFlags, TraceId, Trail};
use uuid::Uuid;

use crate::model::grpc;
use crate::model::time::Timestamp;

pub use crate::model::outcome::{InvalidOutcome, Outcome};

/// The maximum number of outbound requests that a record lists.
pub(crate) const MAX_SENT: usize = 64;

/// One handled request.
///
/// A [`QueryLogLayer`](crate::QueryLogLayer) creates one for each request. For work that arrives in another way, such
/// as through a message queue, a service creates its own and [appends](crate::QueryLog::append) it.
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
    /// The id, by which a record that is stored twice is recognized. A UUID of version 7, which sorts by time.
    pub id: Uuid,
    /// When the request started.
    pub start_time: Timestamp,
    /// The duration until the end of the response's body; `None` if the request never ended.
    pub duration: Option<Duration>,
    /// The trace that the request is part of.
    pub trace_id: TraceId,
    /// The span id of this request, which its response contains.
    pub span_id: ParentId,
    /// The parent-id that the caller sent, if the caller's trace was continued.
    pub parent_id: Option<ParentId>,
    /// The flags of the trace.
    pub flags: TraceFlags,
    /// The parent-ids of the requests that were sent while this one ran: the first 64.
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
    /// The name of the service, as the layer is set to record it.
    pub service: Option<Cow<'static, str>>,
    /// What the service added.
    pub notes: Notes,
    /// Which texts and lists were longer than the limits, by their members: `path`, `headers.user-agent`, `stdout`. Of
    /// these, the record has the start. The caller, the region group and the shared token are left out instead.
    pub cut: Vec<Cow<'static, str>>,
}

/// The request: part of a [`Record`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RequestPart {
    /// The method.
    pub method: Method,
    /// The path. It has the query string only if the layer is set to record it.
    pub path: String,
    /// The host and port that were asked for, in lower case: those of the URI (`:authority` in HTTP/2), else those of
    /// the header `Host`.
    pub authority: Option<String>,
    /// The route that matched, if the framework reports it: `/users/{id}`.
    pub route: Option<String>,
    /// The version of HTTP; `None` for work that did not arrive by HTTP.
    pub version: Option<Version>,
    /// The headers that the layer is set to record. Several lines of one header are joined by `, `.
    pub headers: Vec<(HeaderName, String)>,
    /// The number of bytes of the body that were read.
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
    /// The number of bytes of the body that were handed to the server.
    pub body_bytes: u64,
    /// The status of a gRPC call: `grpc-status`, from the trailers or the headers of the response. A gRPC response that
    /// ended without one counts as `UNKNOWN` (2).
    pub grpc_status: Option<u16>,
    /// Why the request failed: the error of the service or of the response's body, with its sources, or the
    /// `grpc-message` of a gRPC call.
    pub error: Option<String>,
}

/// What a service adds to the record of a request, through its [`RecordHandle`](crate::RecordHandle). All of it is
/// empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notes {
    /// Who sent the request.
    pub caller: Caller,
    /// What was run.
    pub operation: Operation,
    /// The path of the database, from the top.
    pub database: Vec<String>,
    /// The region group that the request ran in.
    pub region_group: Option<String>,
    /// The counters of the request, by names that the service chooses. Exported records have members for the names in
    /// [`export_counters`]. The names `query_time`, `query_bytes_in` and `query_bytes_out` are reserved: counters of
    /// these names are not written.
    pub counters: Vec<(Cow<'static, str>, u64)>,
    /// The shape of the request: its text without the data. Exported records contain it.
    pub shape: Option<String>,
    /// The token that shares the operation. Not written to files.
    pub shared_token: Option<String>,
    /// What the operation printed. Written to files only if they are set to record output.
    pub stdout: Option<String>,
    /// The errors that the operation printed. Written to files only if they are set to record output.
    pub stderr: Option<String>,
    /// The input or the result of the operation. Written to files only if they are set to record output.
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

/// The names of the counters that exported records contain.
pub mod export_counters {
    /// The number of read operations.
    pub const BYTE_READ_OPS: &str = "byte_read_ops";
    /// The number of write operations.
    pub const BYTE_WRITE_OPS: &str = "byte_write_ops";
    /// The number of compute operations.
    pub const COMPUTE_OPS: &str = "compute_ops";
    /// The number of retries of transactions.
    pub const TXN_RETRIES: &str = "txn_retries";
    /// How often the limit on reads was hit.
    pub const READ_LIMITS_HIT: &str = "read_limits_hit";
    /// How often the limit on writes was hit.
    pub const WRITE_LIMITS_HIT: &str = "write_limits_hit";
    /// How often the limit on compute was hit.
    pub const COMPUTE_LIMITS_HIT: &str = "compute_limits_hit";
}

/// Who sent the request: part of [`Notes`]. A caller without a user is anonymous, or a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Operation {
    /// The id of the operation.
    pub id: Option<String>,
    /// The name of the operation.
    pub name: Option<String>,
    /// What ran it, such as `realtime`.
    pub engine: Option<String>,
    /// Whether the response came from a cache.
    pub cache: Option<bool>,
}

impl Caller {
    /// Creates a caller of an environment, without a user.
    pub fn in_environment(id: impl Into<String>) -> Self {
        Self { exec_env_id: Some(id.into()), ..Self::default() }
    }
}

impl Record {
    /// Creates a record of work that starts now and did not arrive by HTTP. The name takes the place of the path.
    pub fn new(trail: &Trail, name: impl Into<String>) -> Self {
        let request = RequestPart {
            method: Method::default(),
            path: name.into(),
            authority: None,
            route: None,
            version: None,
            headers: Vec::new(),
            body_bytes: 0,
        };
        Self::started(trail, request)
    }

    /// Creates a record of a request that starts now. It has the path without the query string, the host that was asked
    /// for, and no headers.
    pub fn of_request(trail: &Trail, parts: &Parts) -> Self {
        let request = RequestPart {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            authority: authority(parts),
            route: None,
            version: Some(parts.version),
            headers: Vec::new(),
            body_bytes: 0,
        };
        Self::started(trail, request)
    }

    fn started(trail: &Trail, request: RequestPart) -> Self {
        Self {
            id: Uuid::now_v7(),
            start_time: Timestamp::now(),
            duration: None,
            trace_id: trail.trace_id(),
            span_id: trail.span_id(),
            parent_id: trail.parent_span_id(),
            flags: trail.flags(),
            sent: Vec::new(),
            tags: own(trail.tags()),
            request,
            response: ResponsePart::default(),
            client_ip: None,
            host: None,
            service: None,
            notes: Notes::default(),
            cut: Vec::new(),
        }
    }

    /// Returns whether the request failed. It did if
    ///
    /// - the service or the response's body panicked or failed, or the request was aborted before there was a response;
    /// - the status is 500 or higher;
    /// - the gRPC status is one that OpenTelemetry's conventions count as an error of a server: `UNKNOWN`,
    ///   `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` or `DATA_LOSS`.
    ///
    /// A client that disconnects during a response is not a failure, nor is a request that has not ended. Filters and
    /// the program `tagtrail-log` count failed requests by this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tagtrail::{Sample, Trail};
    /// use tagtrail_querylog::{Outcome, Record};
    ///
    /// let mut record = Record::new(&Trail::start(Sample::Always), "/shop.Cart/Add");
    /// record.response.status = Some(200);
    /// record.end(Duration::from_millis(3), Outcome::Complete);
    /// assert!(!record.has_failed());
    ///
    /// record.response.grpc_status = Some(14);
    /// assert!(record.has_failed(), "UNAVAILABLE");
    /// ```
    pub fn has_failed(&self) -> bool {
        let ResponsePart { status, outcome, grpc_status, .. } = self.response;
        let ended_badly = match outcome {
            Some(Outcome::Panicked | Outcome::Failed) => true,
            Some(Outcome::Aborted) => status.is_none(),
            _ => false,
        };
        ended_badly || status.is_some_and(|status| status >= 500) || grpc_status.is_some_and(grpc::is_server_error)
    }

    /// Returns whether the request has ended, as far as is known.
    #[cfg(feature = "store")]
    pub(crate) fn has_ended(&self) -> bool {
        self.response.outcome.is_some()
    }

    /// Returns the approximate number of bytes of memory that the record takes.
    pub(crate) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let Notes { caller, operation, database, region_group, counters, shape, shared_token, stdout, stderr, payload } =
            &self.notes;
        let texts = [
            &self.request.route,
            &self.request.authority,
            &self.response.error,
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
        let names = [&self.host, &self.service].into_iter().flatten().chain(&self.cut);
        size_of::<Self>()
            + self.request.path.len()
            + names.map(|name| size_of::<Cow<'_, str>>() + name.len()).sum::<usize>()
            + texts.into_iter().map(text).sum::<usize>()
            + headers.chain(tags).sum::<usize>()
            + database.iter().map(|name| size_of::<String>() + name.len()).sum::<usize>()
            + counters.iter().map(|(name, _)| size_of::<(Cow<'_, str>, u64)>() + name.len()).sum::<usize>()
            + self.sent.len() * size_of::<ParentId>()
    }

    /// Sets the duration and the outcome.
    pub fn end(&mut self, duration: Duration, outcome: Outcome) {
        self.duration = Some(duration);
        self.response.outcome = Some(outcome);
    }
}

/// Copies tags. Those of a request share the memory of all its headers, which a record that waits would keep.
fn own(tags: &Tags) -> Tags {
    // They may have been parsed with other limits.
    let max = usize::MAX;
    let options = TagOptions::default().max_tags(max).max_name(max).max_value(max).max_length(max);
    options.from_bytes(tags.as_str().as_bytes()).unwrap_or_else(|_| tags.clone())
}

/// Returns the host and port that were asked for, without a user.
fn authority(parts: &Parts) -> Option<String> {
    let host = || parts.headers.get(HOST).filter(|value| !value.is_sensitive());
    let text = match parts.uri.authority() {
        Some(authority) => authority.as_str().into(),
        None => String::from_utf8_lossy(host()?.as_bytes()),
    };
    let authority = text.rsplit('@').next().unwrap_or_default().trim();
    (!authority.is_empty()).then(|| authority.to_ascii_lowercase())
}
