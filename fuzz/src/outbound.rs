use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv6Addr;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use regex::Regex;
use tagtrail::{
    Disclose, NewTraces, Outbound, OutboundLayer, RequestTags, Tags, Targets, TraceContext, TraceParent, TraceState,
    Trail,
};
use tower::{Layer, Service};

use crate::oracle::{self, Limits, Pairs, Parent};
use crate::{traceparent, tracestate};

/// Sends a request through the whole client layer.
///
/// The first line holds settings, one byte each: what is disclosed by default, where the trail is, whether new traces
/// are started. Each further line is a part of the request or of the list of targets, as its first byte says.
///
/// # Panics
///
/// If one of the checks fails.
pub fn outbound(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let disclose = input.disclose();
    let before = input.headers();
    let expected = input.expected();

    let trail = input.trail.clone().filter(|_| input.place != Place::Nowhere);
    let notified = Arc::new(Mutex::new(Vec::new()));
    if let Some(trail) = &trail {
        let notified = Arc::clone(&notified);
        trail.add_send_listener(move |id| notified.lock().expect("no panic").push(id.to_string()));
    }
    let sent = send(&input, before.clone(), trail.as_ref());
    let Some(expected) = expected else {
        assert!(sent.is_none(), "a request with invalid tags was sent");
        return;
    };
    let sent = sent.expect("the request was sent");
    let notified = notified.lock().expect("no panic");
    check_trace(&sent, disclose, &expected, trail.is_some(), &notified);
    let tags = expected.tags.filter(|tags| disclose == Disclose::All && !tags.is_empty());
    assert_eq!(values(&sent, "x-fauna-tags"), tags.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(values(&sent, "x-other"), values(&before, "x-other"));
    assert!(sent.keys().all(|name| CONTEXT_HEADERS.contains(&name.as_str()) || before.contains_key(name)));
}

const CONTEXT_HEADERS: [&str; 3] = ["traceparent", "tracestate", "x-fauna-tags"];

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Extensions,
    Current,
    Nowhere,
}

struct Input {
    default: Disclose,
    place: Place,
    starts_traces: bool,
    uri: Uri,
    /// Each target as it is written, and what is disclosed to it.
    targets: Vec<(String, Disclose)>,
    lines: Vec<(&'static str, HeaderValue)>,
    request_tags: Option<Vec<u8>>,
    trail: Option<Trail>,
}

impl Input {
    /// `None` if a program could not make this input.
    fn read(data: &[u8]) -> Option<Self> {
        let mut lines = data.split(|&byte| byte == b'\n');
        let settings = lines.next().unwrap_or_default();
        let byte = |index| settings.get(index).copied().unwrap_or_default();
        let place = [Place::Extensions, Place::Current, Place::Nowhere][usize::from(byte(1) % 3)];
        let mut input = Self {
            default: disclose_from(byte(0)),
            place,
            starts_traces: byte(2) % 2 == 0,
            uri: Uri::from_static("http://example.com/"),
            targets: Vec::new(),
            lines: Vec::new(),
            request_tags: None,
            trail: None,
        };
        let (mut parent, mut state, mut tags) = (None, TraceState::empty(), Tags::empty());
        for line in lines {
            let (kind, value) = line.split_first()?;
            match kind {
                b'u' => input.uri = Uri::try_from(value).ok()?,
                b'p' => input.lines.push(("traceparent", HeaderValue::from_bytes(value).ok()?)),
                b's' => input.lines.push(("tracestate", HeaderValue::from_bytes(value).ok()?)),
                b't' => input.lines.push(("x-fauna-tags", HeaderValue::from_bytes(value).ok()?)),
                b'o' => input.lines.push(("x-other", HeaderValue::from_bytes(value).ok()?)),
                b'r' => input.request_tags = Some(value.to_vec()),
                b'P' => parent = Some(TraceParent::from_bytes(value).ok()?),
                b'S' => state = TraceState::from_bytes(value).ok()?,
                b'T' => tags = Tags::from_bytes(value).ok()?,
                byte => input.targets.push((str::from_utf8(value).ok()?.to_owned(), disclose_from(*byte))),
            }
        }
        input.trail = parent.map(|parent| Trail::from_context(TraceContext::new(parent, state)).with_tags(tags));
        Some(input)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.lines {
            headers.append(HeaderName::from_static(name), value.clone());
        }
        headers
    }

    fn outbound(&self) -> Outbound {
        let mut targets = Targets::with_default(self.default);
        for (host, disclose) in &self.targets {
            let readable = Target::read(host).is_some();
            match targets.clone().host(host, *disclose) {
                Ok(longer) => {
                    assert!(readable, "{host:?} was read");
                    targets = longer;
                }
                Err(error) => {
                    assert!(!readable, "{host:?} was rejected");
                    assert!(error.to_string().len() < 300);
                }
            }
        }
        let outbound = Outbound::targets(targets);
        if self.starts_traces { outbound } else { outbound.new_traces(NewTraces::Never) }
    }

    /// What the receiver may get.
    fn disclose(&self) -> Disclose {
        let readable = self.targets.iter().filter_map(|(host, disclose)| Some((Target::read(host)?, *disclose)));
        let first = readable.into_iter().find(|(target, _)| target.matches(&self.uri));
        first.map_or(self.default, |(_, disclose)| disclose)
    }

    /// What is sent to a receiver that may get everything; `None` if nothing is sent, because of invalid tags.
    fn expected(&self) -> Option<Expected> {
        let headers = self.headers();
        let list = |name: &str| oracle::joined(&values(&headers, name));
        let tags_of = |list: &[u8]| oracle::tags(list, Limits::DEFAULT).ok().map(|pairs| oracle::written(&pairs));
        let request_tags = match &self.request_tags {
            Some(list) => Some(tags_of(list)?),
            None => None,
        };
        if let Some(trail) = self.trail.as_ref().filter(|_| self.place != Place::Nowhere) {
            return Some(Expected {
                trace: Trace::Known(traceparent::fields(*trail.traceparent()), tracestate::members(trail.tracestate())),
                tags: request_tags.or(Some(trail.tags().to_string())),
            });
        }
        let tags = if headers.contains_key("x-fauna-tags") { Some(tags_of(&list("x-fauna-tags"))?) } else { None };
        let parent = match values(&headers, "traceparent")[..] {
            [value] => oracle::traceparent(value),
            _ => None,
        };
        let trace = match parent {
            Some(parent) => Trace::Known(parent, oracle::tracestate(&list("tracestate")).unwrap_or_default()),
            None if self.starts_traces => Trace::New,
            None => Trace::None,
        };
        Some(Expected { trace, tags: request_tags.or(tags) })
    }
}

fn disclose_from(byte: u8) -> Disclose {
    match byte % 3 {
        0 => Disclose::All,
        1 => Disclose::TraceOnly,
        _ => Disclose::Nothing,
    }
}

struct Expected {
    trace: Trace,
    tags: Option<String>,
}

enum Trace {
    Known(Parent, Pairs),
    New,
    None,
}

/// Sends a request; `None` if the layer returns an error.
fn send(input: &Input, headers: HeaderMap, trail: Option<&Trail>) -> Option<HeaderMap> {
    let mut request = Request::new(());
    *request.uri_mut() = input.uri.clone();
    *request.headers_mut() = headers;
    if let Some(list) = &input.request_tags {
        request.extensions_mut().insert(RequestTags::from(Tags::from_bytes(list)));
    }
    if let Some(trail) = trail.filter(|_| input.place == Place::Extensions) {
        request.extensions_mut().insert(trail.clone());
    }
    let mut client = OutboundLayer::new(input.outbound()).layer(Network);
    let mut call = || {
        let request = std::mem::take(&mut request);
        match pin!(client.call(request)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => response.ok(),
            Poll::Pending => panic!("no response"),
        }
    };
    match (input.place, trail) {
        (Place::Current, Some(trail)) => trail.in_scope(call),
        _ => call(),
    }
}

/// Responds with the headers of the request.
struct Network;

impl Service<Request<()>> for Network {
    type Response = HeaderMap;
    type Error = Infallible;
    type Future = Ready<Result<HeaderMap, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        ready(Ok(request.into_parts().0.headers))
    }
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

fn check_trace(sent: &HeaderMap, disclose: Disclose, expected: &Expected, has_trail: bool, notified: &[String]) {
    let (parents, states) = (values(sent, "traceparent"), values(sent, "tracestate"));
    if disclose == Disclose::Nothing || matches!(expected.trace, Trace::None) {
        assert!(parents.is_empty() && states.is_empty() && notified.is_empty());
        return;
    }
    let [parent] = parents[..] else { panic!("{} lines of traceparent", parents.len()) };
    assert_eq!(parent.len(), 55);
    let parent = oracle::traceparent(parent).expect("a traceparent");
    let members = match &states[..] {
        [] => Pairs::new(),
        [state] => oracle::tracestate(state).filter(|members| !members.is_empty()).expect("members"),
        _ => panic!("{} lines of tracestate", states.len()),
    };
    match &expected.trace {
        Trace::Known(known, state) => {
            assert_eq!((&parent.trace_id, parent.flags, &members), (&known.trace_id, known.flags, state));
            assert_ne!(parent.parent_id, known.parent_id);
        }
        Trace::New | Trace::None => assert_eq!((parent.flags, members.len()), (0b11, 0)),
    }
    // The listener of the trail got this id, once. Without a trail there is no listener.
    let listeners = usize::from(has_trail);
    assert_eq!(notified, vec![parent.parent_id; listeners]);
}

/// An entry of a list of targets.
struct Target {
    under: bool,
    host: String,
    port: Option<u16>,
}

static TARGET: LazyLock<Regex> = LazyLock::new(|| {
    let label = "[A-Za-z0-9_-]+";
    let regex = format!(r"(?-u)\A(?:(\*\.)?({label}(?:\.{label})*)\.?|(\[[0-9A-Fa-f:.]+\]))(?::([0-9]+))?\z");
    Regex::new(&regex).expect("a regex")
});

impl Target {
    fn read(text: &str) -> Option<Self> {
        let fields = TARGET.captures(text)?;
        let host = fields.get(2).or(fields.get(3))?.as_str();
        let port = match fields.get(4) {
            Some(port) => Some(port.as_str().parse().ok()?),
            None => None,
        };
        Some(Self { under: fields.get(1).is_some(), host: normalized(host)?, port })
    }

    fn matches(&self, uri: &Uri) -> bool {
        let Some(authority) = uri.authority() else { return false };
        let address = authority.as_str().rsplit('@').next().unwrap_or_default();
        // As hyper's connector reads it: garbage after an address is not a port.
        let host_end = match address.find(']') {
            Some(bracket) if address.starts_with('[') => bracket + 1,
            _ => address.find(':').unwrap_or(address.len()),
        };
        let (host, rest) = address.split_at(host_end);
        let port = rest.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let default_port = match uri.scheme_str() {
            Some("http" | "ws") => Some(80),
            Some("https" | "wss") => Some(443),
            _ => None,
        };
        let port = port.or(default_port);
        let Some(host) = normalized(host) else { return false };
        let matches = match host.strip_suffix(&self.host) {
            Some("") => !self.under,
            Some(before) => self.under && before.len() > 1 && before.ends_with('.'),
            None => false,
        };
        matches && self.port.is_none_or(|wanted| port == Some(wanted))
    }
}

/// Normalizes a host: in lowercase, without a dot at the end, an IPv6 address as Rust writes it.
fn normalized(host: &str) -> Option<String> {
    match host.strip_prefix('[') {
        Some(address) => Some(address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string()),
        None => Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()),
    }
}
