//! [`QueryLogLayer`]: a record for every request of a tower service.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use tagtrail::{Inbound, InboundLayer, Rejection, Sample};
use tower_layer::{Layer, Stack};

use crate::layer::client_address::ClientAddress;
use crate::layer::forwarded::ForwardedBy;
use crate::layer::grpc::note_call;
use crate::layer::options::Options;
use crate::layer::service::QueryLogService;
use crate::model::limits::TextLimits;
use crate::model::record::{Caller, Outcome, Record};
use crate::queue::log::QueryLog;

/// Records every request of a tower service in a [`QueryLog`].
///
/// For each request the layer
///
/// 1. starts a record before the handler runs, with the trail that [`InboundLayer`] made;
/// 2. puts a [`RecordHandle`](crate::RecordHandle) into the request's extensions, so that the handler can add to it;
/// 3. counts the bytes of both bodies, and notes the parent-ids of requests that are sent meanwhile;
/// 4. ends the record when the response body has ended, failed or been dropped, or the handler panicked: a streamed
///    response has its whole duration and size, and a client that disconnected shows.
///
/// [`with_inbound`](Self::with_inbound) sets up both layers in one call, and also records requests that are rejected for
/// their tags.
///
/// # Caveats
///
/// Without an [`InboundLayer`] outside it, the layer responds to each request with a 500 that says so, unless it is
/// [`standalone`](Self::standalone).
///
/// A response counts as complete when the server has taken all of it. Whether the client has received it is unknown.
///
/// The record of a WebSocket, or of any other upgrade, ends with its handshake ([`Outcome::Upgraded`]): the connection
/// then belongs to the handler. To have the session on record too, append a record of your own when it ends:
///
/// ```
/// # use std::time::Instant;
/// use tagtrail::Trail;
/// use tagtrail_querylog::{Outcome, QueryLog, Record};
///
/// async fn chat(log: QueryLog, trail: Trail) {
///     let (mut record, start) = (Record::new(&trail, "chat session"), Instant::now());
///     // … until the connection is closed …
///     record.end(start.elapsed(), Outcome::Complete);
///     drop(log.append(&record));
/// }
/// ```
///
/// A layer around the whole of an axum router does not know the route; one that is added by `Router::layer` does.
///
/// # Example
///
/// ```
/// use axum::{Router, routing::get};
/// use tagtrail::Admit;
/// use tagtrail_querylog::{LogFiles, QueryLogLayer};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let log = LogFiles::new(folder).open()?;
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(QueryLogLayer::new(log.clone()).with_inbound(Admit::Restart));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct QueryLogLayer(Arc<Options>);

/// Never in a record.
static SECRET: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

impl QueryLogLayer {
    /// Creates a layer that records in this log.
    pub fn new(log: QueryLog) -> Self {
        Self(Arc::new(Options {
            log,
            headers: vec![USER_AGENT, HeaderName::from_static("x-forwarded-for")],
            query_string: false,
            client: ClientAddress::default(),
            caller: None,
            host: gethostname::gethostname().into_string().ok().map(Cow::Owned),
            service: None,
            limits: TextLimits::default(),
            region_group: None,
            filter: None,
            sample: Sample::Always,
            or_if: None,
            standalone: false,
            holds_response: false,
            acknowledged_within: Duration::from_secs(5),
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Puts this layer inside an [`InboundLayer`] with these settings. Requests that are rejected for their tags are
    /// recorded too, with their trace and no tags.
    ///
    /// This is for a service that has no `InboundLayer` yet. To a service that has one, add this layer alone, inside it:
    /// with two, a record would have the trace of the inner one, and the response that of the outer one.
    pub fn with_inbound(self, inbound: impl Into<Inbound>) -> Stack<Self, InboundLayer> {
        let layer = self.clone();
        let inbound = inbound.into().on_rejection(move |parts, rejection| layer.record_rejection(parts, rejection));
        Stack::new(self, InboundLayer::new(inbound))
    }

    /// Records the request headers of these names. By default `user-agent` and `x-forwarded-for`.
    ///
    /// `authorization`, `cookie` and `proxy-authorization` are never recorded, nor is a value that is
    /// [marked as sensitive](http::HeaderValue::is_sensitive), for example by tower-http's layer for that.
    pub fn headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| options.headers = names.into_iter().filter(|name| !SECRET.contains(name)).collect())
    }

    /// Records paths with their query strings. They may contain data that does not belong in a log, so by default they
    /// are left out.
    pub fn query_string(self) -> Self {
        self.with(|options| options.query_string = true)
    }

    /// Sets how the caller is found if it is known before the handler runs, for example because an outer layer leaves it
    /// in the request's extensions. The record then has it from its start on, so a store has it even if the request never
    /// ends. The handler may still change it. By default, the caller is unknown until the handler sets it.
    ///
    /// ```
    /// # use http::request::Parts;
    /// # use tagtrail_querylog::{QueryLog, QueryLogLayer};
    /// use tagtrail_querylog::Caller;
    ///
    /// # fn layer(log: QueryLog) -> QueryLogLayer {
    /// QueryLogLayer::new(log).caller(|parts: &Parts| parts.extensions.get::<Caller>().cloned().unwrap_or_default())
    /// # }
    /// ```
    pub fn caller(self, caller: impl Fn(&Parts) -> Caller + Send + Sync + 'static) -> Self {
        self.with(|options| options.caller = Some(Arc::new(caller)))
    }

    /// Sets the region group of the service. Records have it from their start on, so an export of the region group has
    /// those of requests that never ended. The handler may still change it. By default there is none.
    pub fn region_group(self, region_group: impl Into<String>) -> Self {
        self.with(|options| options.region_group = Some(region_group.into()))
    }

    /// Sets how the address of the peer is found. With the `axum` feature, by default, it is the one of
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    pub fn peer(self, peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with(|options| options.client.peer = Arc::new(peer))
    }

    /// Sets which peers are your proxies, whose `x-forwarded-for` is trusted. The client is then the last address in
    /// that header which is not such a proxy; it is unknown if a proxy names something that is not an address, such as
    /// `unknown`. By default none is trusted, and the client is the peer.
    ///
    /// ```
    /// # use std::net::IpAddr;
    /// # use tagtrail_querylog::{QueryLog, QueryLogLayer};
    /// # fn layer(log: QueryLog) -> QueryLogLayer {
    /// QueryLogLayer::new(log).trusted_proxies(|ip: IpAddr| ip.is_loopback())
    /// # }
    /// ```
    pub fn trusted_proxies(self, trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        self.with(|options| options.client.trusted = Some(Arc::new(trusted)))
    }

    /// Reads what trusted proxies forward from the header `Forwarded`
    /// ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)), instead of `x-forwarded-for`.
    ///
    /// Only one of the two is read: a client could forge the one that your proxies do not set.
    pub fn forwarded(self) -> Self {
        self.with(|options| options.client.forwarded_by = ForwardedBy::Standard)
    }

    /// Sets the name of this machine in records. By default it is the hostname of the operating system.
    pub fn host(self, host: impl Into<Cow<'static, str>>) -> Self {
        self.with(|options| options.host = Some(host.into()))
    }

    /// Sets the name of the service in records, which distinguishes several services in one store. By default there is
    /// none.
    pub fn service(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(|options| options.service = Some(name.into()))
    }

    /// Sets how many bytes of each text are recorded: 8 KiB (2^13) by default, and at least 64. This limits what a
    /// caller can add to a log: a longer path, header or name is cut, and [`Record::cut`] says so. For the output of
    /// operations, see [`max_output`](Self::max_output).
    ///
    /// Independently of this, a record has at most 64 bytes of the method, 64 counters and 64 names in the path of its
    /// database.
    pub fn max_text(self, bytes: usize) -> Self {
        self.with(|options| options.limits.text = bytes.max(64))
    }

    /// Sets how many bytes of `stdout`, `stderr` and `payload` are recorded together: 3 MiB (3 · 2^20) by default. If
    /// they have more, the longest are cut first, and [`Record::cut`] says which.
    pub fn max_output(self, bytes: usize) -> Self {
        self.with(|options| options.limits.output = bytes)
    }

    /// Records only requests whose parts pass, to leave out health checks, for example. Others go through this layer as if
    /// it were not there. By default, all are recorded.
    ///
    /// ```
    /// # use http::request::Parts;
    /// # use tagtrail_querylog::{QueryLog, QueryLogLayer};
    /// # fn layer(log: QueryLog) -> QueryLogLayer {
    /// QueryLogLayer::new(log).filter(|parts: &Parts| parts.uri.path() != "/health")
    /// # }
    /// ```
    pub fn filter(self, filter: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|options| options.filter = Some(Arc::new(filter)))
    }

    /// Records only the requests of a share of all traces. The trace-id decides, so services with the same share record
    /// the same traces. By default all are recorded.
    pub fn sample(self, sample: Sample) -> Self {
        self.with(|options| options.sample = sample)
    }

    /// Also records requests that are not in the [`sample`](Self::sample), if their finished record passes, or the
    /// closure panics.
    ///
    /// ```
    /// # use tagtrail::Sample;
    /// # use tagtrail_querylog::{QueryLog, QueryLogLayer, Record};
    /// # fn layer(log: QueryLog) -> QueryLogLayer {
    /// QueryLogLayer::new(log)
    ///     .sample(Sample::ratio(0.01))
    ///     .or_if(Record::has_failed)
    /// # }
    /// ```
    pub fn or_if(self, records: impl Fn(&Record) -> bool + Send + Sync + 'static) -> Self {
        self.with(|options| options.or_if = Some(Arc::new(records)))
    }

    /// Works without an [`InboundLayer`]: a request that has no trail gets a new one, for its record and in its
    /// extensions. What the caller sent is not read, the response does not name the trace, and the trail is not current.
    pub fn standalone(self) -> Self {
        self.with(|options| options.standalone = true)
    }

    /// Holds back the end of each response until its record is [acknowledged](crate::Ack): unless that takes too long, a
    /// client that has the whole response knows that its request is on record. By default, responses are not held back.
    ///
    /// If the record is not acknowledged [in time](Self::acknowledged_within), the response ends all the same. For a client
    /// that must be sure, have the handler wait for [`RecordHandle::started`](crate::RecordHandle::started).
    pub fn hold_response_until_written(self) -> Self {
        self.with(|options| options.holds_response = true)
    }

    /// Sets for how long [`RecordHandle::started`](crate::RecordHandle::started) waits, from the start of the request, and
    /// for how long a response is [held back](Self::hold_response_until_written), from its end: 5 seconds by default.
    pub fn acknowledged_within(self, limit: Duration) -> Self {
        self.with(|options| options.acknowledged_within = limit)
    }

    /// Records a request that was rejected for its tags. [`with_inbound`](Self::with_inbound) sets this up; call it from
    /// [`Inbound::on_rejection`] if you set up the [`InboundLayer`] yourself.
    pub fn record_rejection(&self, head: &Parts, rejection: &Rejection) {
        if self.0.passes(head) {
            let mut record = self.0.record(rejection.trail(), head);
            record.start_time = record.start_time.saturating_sub(rejection.elapsed());
            record.end(rejection.elapsed(), Outcome::Refused);
            record.response.status = Some(rejection.response().status().as_u16());
            record.response.body_bytes = rejection.response().body().len() as u64;
            note_call(&mut record, rejection.response().headers());
            if self.0.keeps(&record) {
                drop(self.0.log.append_owned(record, None));
            }
        }
    }
}

impl<S> Layer<S> for QueryLogLayer {
    type Service = QueryLogService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        QueryLogService::new(inner, Arc::clone(&self.0))
    }
}

impl fmt::Debug for QueryLogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueryLogLayer").field(&self.0).finish()
    }
}
