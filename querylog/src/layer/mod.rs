//! [`QueryLogLayer`]: a record for every request of a tower service.

#[cfg(feature = "axum")]
pub(crate) mod axum;
#[cfg(not(feature = "axum"))]
#[path = "no_axum.rs"]
mod axum;
pub(crate) mod body;
mod client_address;
pub(crate) mod open;
pub(crate) mod service;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tagtrail::{Inbound, InboundLayer, Rejection, Sample, Trail};
use tower_layer::{Layer, Stack};

use crate::layer::client_address::ClientAddress;
use crate::layer::service::QueryLogService;
use crate::model::record::{Caller, Outcome, Record};
use crate::queue::log::QueryLog;

/// Records every request of a tower service in a [`QueryLog`].
///
/// For each request the layer
///
/// 1. begins a record before the handler runs, with the trail that [`InboundLayer`] made;
/// 2. puts a [`RecordHandle`](crate::RecordHandle) into the request's extensions, by which the handler adds to it;
/// 3. counts the bytes of both bodies, and notes the parent-ids of requests that are sent meanwhile;
/// 4. ends the record when the body of the answer has ended, failed or been dropped, or the handler panicked: so a
///    streamed answer has its whole time and size, and a client that went away shows.
///
/// [`with_inbound`](Self::with_inbound) sets up both layers in one call, and records requests that are refused for their tags too.
///
/// # Caveats
///
/// Without an [`InboundLayer`] outside of it, the layer answers each request with a 500 that says so, unless it is
/// [`standalone`](Self::standalone).
///
/// An answer is taken for complete when the server has taken all of it. Whether the client has received it, nobody
/// knows.
///
/// A layer around the whole of an axum router does not know the route; one that is added by `Router::layer` does.
///
/// # Example
///
/// ```
/// use axum::{Router, routing::get};
/// use tagtrail::Admit;
/// use tagtrail_querylog::{QueryLog, QueryLogLayer};
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

type Filter = dyn Fn(&Parts) -> bool + Send + Sync;
type WhoAsks = dyn Fn(&Parts) -> Caller + Send + Sync;
type Always = dyn Fn(&Record) -> bool + Send + Sync;

#[derive(Clone)]
struct Options {
    log: QueryLog,
    headers: Vec<HeaderName>,
    query_string: bool,
    client: ClientAddress,
    caller: Option<Arc<WhoAsks>>,
    host: Option<Cow<'static, str>>,
    region_group: Option<String>,
    filter: Option<Arc<Filter>>,
    sample: Sample,
    always: Option<Arc<Always>>,
    standalone: bool,
    acknowledged: bool,
}

/// Never in a record, whatever is asked for.
static SECRET: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

impl QueryLogLayer {
    /// A layer that records in this log.
    pub fn new(log: QueryLog) -> Self {
        Self(Arc::new(Options {
            log,
            headers: vec![USER_AGENT, HeaderName::from_static("x-forwarded-for")],
            query_string: false,
            client: ClientAddress::default(),
            caller: None,
            host: gethostname::gethostname().into_string().ok().map(Cow::Owned),
            region_group: None,
            filter: None,
            sample: Sample::Always,
            always: None,
            standalone: false,
            acknowledged: false,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// This layer, inside an [`InboundLayer`] with these settings. Requests that are refused for their tags are
    /// recorded too: with their trace, and no tags.
    ///
    /// It is for a service that has no `InboundLayer` yet. One that has it adds this layer alone, inside of that one: of
    /// two, a record would have the trace of the inner one, and the answer that of the outer one.
    pub fn with_inbound(self, inbound: impl Into<Inbound>) -> Stack<Self, InboundLayer> {
        let layer = self.clone();
        let inbound = inbound.into().on_rejection(move |parts, rejection| layer.record_rejection(parts, rejection));
        Stack::new(self, InboundLayer::new(inbound))
    }

    /// Records the request headers of these names. By default `user-agent` and `x-forwarded-for`.
    ///
    /// `authorization`, `cookie` and `proxy-authorization` are never recorded, nor is a value that is
    /// [marked as sensitive](HeaderValue::is_sensitive), by tower-http's layer for that, say.
    pub fn headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|options| options.headers = names.into_iter().filter(|name| !SECRET.contains(name)).collect())
    }

    /// Records paths with their query string. It may hold what is not for a log, so by default it is left out.
    pub fn query_string(self) -> Self {
        self.with(|options| options.query_string = true)
    }

    /// Who asks, where that is known before the handler runs, by a layer outside of this one that leaves it in the
    /// request's extensions, say. The record has it from its begin on, so that a store has it where the request never
    /// ends. The handler may still change it.
    ///
    /// ```
    /// # use http::request::Parts;
    /// # use tagtrail_querylog::{QueryLog, QueryLogLayer};
    /// use tagtrail_querylog::Caller;
    ///
    /// # fn layer(log: QueryLog) -> QueryLogLayer {
    /// QueryLogLayer::new(log).caller(|head: &Parts| head.extensions.get::<Caller>().cloned().unwrap_or_default())
    /// # }
    /// ```
    pub fn caller(self, caller: impl Fn(&Parts) -> Caller + Send + Sync + 'static) -> Self {
        self.with(|options| options.caller = Some(Arc::new(caller)))
    }

    /// The region group of the service. Records have it from their begin on, so that an export of the region group has
    /// those of requests that never ended. The handler may still change it.
    pub fn region_group(self, region_group: impl Into<String>) -> Self {
        self.with(|options| options.region_group = Some(region_group.into()))
    }

    /// How the address of the peer is found. With the `axum` feature it is by default the one of
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    pub fn peer(self, peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.with(|options| options.client.peer = Arc::new(peer))
    }

    /// Which peers are proxies of ours, and tell the truth in `x-forwarded-for`. The client is then the last address in
    /// that header which is not such a proxy. By default none is, and the client is the peer.
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

    /// The name of this machine in records. By default it is what the operating system says.
    pub fn host(self, host: impl Into<Cow<'static, str>>) -> Self {
        self.with(|options| options.host = Some(host.into()))
    }

    /// Records only requests whose head passes: not those of health checks, say. Others pass this layer as if it were
    /// not there.
    ///
    /// ```
    /// # use http::request::Parts;
    /// # use tagtrail_querylog::{QueryLog, QueryLogLayer};
    /// # fn layer(log: QueryLog) -> QueryLogLayer {
    /// QueryLogLayer::new(log).filter(|head: &Parts| head.uri.path() != "/health")
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

    /// Records these too, though their trace is not in the [`sample`](Self::sample).
    ///
    /// ```
    /// # use tagtrail::Sample;
    /// # use tagtrail_querylog::{QueryLog, QueryLogLayer, Record};
    /// # fn layer(log: QueryLog) -> QueryLogLayer {
    /// QueryLogLayer::new(log)
    ///     .sample(Sample::ratio(0.01))
    ///     .or_if(|record: &Record| record.response.status.is_none_or(|status| status >= 500))
    /// # }
    /// ```
    pub fn or_if(self, always: impl Fn(&Record) -> bool + Send + Sync + 'static) -> Self {
        self.with(|options| options.always = Some(Arc::new(always)))
    }

    /// Goes without an [`InboundLayer`]: a request that has no trail gets a new one, for its record and in its
    /// extensions. What the caller sent is not read, the answer does not name the trace, and the trail is not current.
    pub fn standalone(self) -> Self {
        self.with(|options| options.standalone = true)
    }

    /// Holds the end of each answer back until its record is as safe as [`Durability`](crate::Durability) asks: a
    /// client that has the whole answer knows that it is on record.
    ///
    /// Where the record cannot be written, the answer ends all the same, and the record is counted.
    pub fn hold_response_until_written(self) -> Self {
        self.with(|options| options.acknowledged = true)
    }

    /// Records a request that was refused for its tags: what [`with_inbound`](Self::with_inbound) tells the [`InboundLayer`] to do,
    /// for who sets it up otherwise.
    pub fn record_rejection(&self, head: &Parts, rejection: &Rejection) {
        if self.passes(head) {
            let mut record = self.record(rejection.trail(), head);
            record.begin = record.begin.minus(rejection.elapsed());
            record.end(rejection.elapsed(), Outcome::Refused);
            record.response.status = Some(rejection.response().status().as_u16());
            record.response.body_bytes = rejection.response().body().len() as u64;
            if self.keeps(&record) {
                drop(self.0.log.append_owned(record));
            }
        }
    }

    pub(crate) fn log(&self) -> &QueryLog {
        &self.0.log
    }

    pub(crate) fn is_standalone(&self) -> bool {
        self.0.standalone
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.0.acknowledged
    }

    pub(crate) fn passes(&self, head: &Parts) -> bool {
        self.0.filter.as_ref().is_none_or(|filter| filter(head))
    }

    pub(crate) fn samples(&self, record: &Record) -> bool {
        self.0.sample.is_sampled(record.trace_id)
    }

    pub(crate) fn keeps(&self, record: &Record) -> bool {
        self.samples(record) || self.0.always.as_ref().is_some_and(|always| always(record))
    }

    /// The record of a request that begins now.
    pub(crate) fn record(&self, trail: &Trail, head: &Parts) -> Record {
        let mut record = Record::of_request(trail, head);
        if self.0.query_string
            && let Some(query) = head.uri.query()
        {
            record.request.path.push('?');
            record.request.path.push_str(query);
        }
        record.request.route = crate::layer::axum::route(&head.extensions).map(str::to_owned);
        record.request.headers = self.0.headers.iter().filter_map(|name| header(&head.headers, name)).collect();
        record.client_ip = self.0.client.of(head);
        record.host.clone_from(&self.0.host);
        record.notes.region_group.clone_from(&self.0.region_group);
        if let Some(caller) = &self.0.caller {
            record.notes.caller = caller(head);
        }
        record
    }
}

/// A header, several lines of it joined; `None` where it is not there, or all of it is sensitive.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<(HeaderName, String)> {
    let mut lines = headers.get_all(name).iter().filter(|value| !value.is_sensitive());
    let mut text = shown(lines.next()?).into_owned();
    for line in lines {
        text.push_str(", ");
        text.push_str(&shown(line));
    }
    Some((name.clone(), text))
}

fn shown(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

impl<S> Layer<S> for QueryLogLayer {
    type Service = QueryLogService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        QueryLogService::new(inner, self.clone())
    }
}

impl fmt::Debug for QueryLogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryLogLayer")
            .field("log", &self.0.log)
            .field("headers", &self.0.headers)
            .field("query_string", &self.0.query_string)
            .field("client", &self.0.client)
            .field("host", &self.0.host)
            .field("region_group", &self.0.region_group)
            .field("sample", &self.0.sample)
            .field("standalone", &self.0.standalone)
            .field("acknowledged", &self.0.acknowledged)
            .finish_non_exhaustive()
    }
}
