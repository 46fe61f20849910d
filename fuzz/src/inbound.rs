use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use tagtrail::{Admit, Echo, Inbound, InboundLayer, InvalidTagsPolicy, Sample, Trail};
use tower::{Layer, Service};

use crate::oracle::{self, Limits, Pairs, Parent};
use crate::{tags, traceparent, tracestate};

/// Sends header lines through the whole server layer.
///
/// The first line holds settings, one byte each: whom to trust, what is sampled, what to do with invalid tags, what to
/// echo. Each further line is a header line, whose first byte names the header.
///
/// # Panics
///
/// If one of the checks fails.
pub fn inbound(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let settings = Settings::read(lines.next().unwrap_or_default());
    let Some(headers) = headers(lines) else { return };
    let expected = Expected::of(&headers, settings);

    let rejections = Arc::new(AtomicUsize::new(0));
    let mut handler = Handler::default();
    let (response, body) = send(settings, headers.clone(), &mut handler, &rejections);

    let own = echoed(&response, settings);
    let rejected = expected.tags.is_err() && !settings.drops;
    assert_eq!(rejections.load(Ordering::Relaxed), usize::from(rejected));
    if rejected {
        assert!(handler.seen.is_none(), "the handler saw a rejected request");
        check_rejection(&headers, &response, &body, expected.tags.as_ref().err().copied());
        if let Some(own) = own {
            expected.check_parent(&own);
        }
    } else {
        let trail = handler.seen.expect("the handler saw the request");
        let parent = traceparent::fields(*trail.traceparent());
        expected.check_parent(&parent);
        expected.check_trail(&trail);
        assert!(own.is_none_or(|own| own == parent), "the response names another operation");
        assert_eq!((response.status(), &*body), (StatusCode::OK, &b"ok"[..]));
        let echoed = response.headers().get("x-fauna-tags").map(HeaderValue::as_bytes);
        let sent = settings.echo & 8 != 0 && !trail.tags().is_empty();
        assert_eq!(echoed, sent.then(|| trail.tags().as_str().as_bytes()));
    }
    assert!(Trail::current().is_none(), "a trail was left behind");
}

#[derive(Clone, Copy)]
struct Settings {
    admit: Admit,
    sampled: bool,
    drops: bool,
    echo: u8,
}

impl Settings {
    fn read(line: &[u8]) -> Self {
        let byte = |index| line.get(index).copied().unwrap_or_default();
        let admit = match byte(0) % 3 {
            0 => Admit::Continue,
            1 => Admit::Unsample,
            _ => Admit::Restart,
        };
        Self { admit, sampled: byte(1) % 2 == 0, drops: byte(2) % 2 == 1, echo: byte(3) % 16 }
    }

    fn inbound(self) -> Inbound {
        let all = [Echo::TRACEPARENT, Echo::TRACERESPONSE, Echo::SERVER_TIMING, Echo::TAGS];
        let chosen = all.into_iter().enumerate().filter(|(bit, _)| self.echo >> bit & 1 == 1);
        let echo = chosen.fold(Echo::NONE, |echo, (_, one)| echo | one);
        let sample = if self.sampled { Sample::Always } else { Sample::Never };
        let inbound = Inbound::new(self.admit).sample(sample).echo(echo);
        if self.drops { inbound.invalid_tags(InvalidTagsPolicy::ignore()) } else { inbound }
    }
}

/// `None` if a line is not a header line.
fn headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_first()?;
        let name = match name {
            b'p' => "traceparent",
            b's' => "tracestate",
            b't' => "x-fauna-tags",
            b'c' => "content-type",
            _ => "x-other",
        };
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// What the layer must do with a request. A trace continues if it is valid and not restarted.
struct Expected {
    caller: Option<Parent>,
    members: Pairs,
    admit: Admit,
    sampled: bool,
    tags: Result<Pairs, &'static str>,
}

impl Expected {
    fn of(headers: &HeaderMap, settings: Settings) -> Self {
        let caller = match values(headers, "traceparent")[..] {
            [value] => oracle::traceparent(value),
            _ => None,
        };
        let continued = caller.is_some() && settings.admit != Admit::Restart;
        let members = oracle::tracestate(&oracle::joined(&values(headers, "tracestate"))).filter(|_| continued);
        let tags = oracle::tags(&oracle::joined(&values(headers, "x-fauna-tags")), Limits::DEFAULT);
        Self { caller, members: members.unwrap_or_default(), admit: settings.admit, sampled: settings.sampled, tags }
    }

    /// Checks the trace that the response names, and that the handler sees.
    fn check_parent(&self, own: &Parent) {
        match (&self.caller, self.admit) {
            (Some(caller), Admit::Continue | Admit::Unsample) => {
                let kept = if self.admit == Admit::Continue { 0b11 } else { 0b10 };
                assert_eq!((&own.trace_id, own.flags), (&caller.trace_id, caller.flags & kept));
            }
            (caller, _) => {
                assert!(caller.as_ref().is_none_or(|caller| caller.trace_id != own.trace_id));
                assert_eq!(own.flags, 0b10 | u8::from(self.sampled));
            }
        }
        // The operation has its own id.
        assert!(self.caller.as_ref().is_none_or(|caller| caller.parent_id != own.parent_id));
    }

    fn check_trail(&self, trail: &Trail) {
        let caller = self.caller.as_ref().filter(|_| self.admit != Admit::Restart).map(|caller| &caller.parent_id);
        assert_eq!(trail.parent_span_id().map(|id| id.to_string()).as_ref(), caller);
        assert_eq!(tracestate::members(trail.tracestate()), self.members);
        assert_eq!(tags::pairs(trail.tags()), self.tags.clone().unwrap_or_default());
        assert_eq!(trail.invalid_tags().map(|error| error.kind().as_str()), self.tags.as_ref().err().copied());
    }
}

/// Keeps the trail of its request, which must be the same in the extensions and as the current trail.
#[derive(Default)]
struct Handler {
    seen: Option<Trail>,
}

impl Service<Request<()>> for &mut Handler {
    type Response = Response<TrailBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let trail: &Trail = request.extensions().get().expect("a trail in the extensions");
        assert!(is_current(trail));
        self.seen = Some(trail.clone());
        ready(Ok(Response::new(TrailBody { trail: trail.clone(), text: Some(Bytes::from_static(b"ok")) })))
    }
}

fn is_current(trail: &Trail) -> bool {
    Trail::current().is_some_and(|current| current.span_id() == trail.span_id())
}

/// A body whose trail must be current when it is polled and dropped.
struct TrailBody {
    trail: Trail,
    text: Option<Bytes>,
}

impl Body for TrailBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        assert!(is_current(&self.trail));
        Poll::Ready(self.text.take().map(|text| Ok(Frame::data(text))))
    }
}

impl Drop for TrailBody {
    fn drop(&mut self) {
        assert!(is_current(&self.trail));
    }
}

fn send(
    settings: Settings,
    headers: HeaderMap,
    handler: &mut Handler,
    rejections: &Arc<AtomicUsize>,
) -> (Response<()>, Vec<u8>) {
    let rejections = Arc::clone(rejections);
    let inbound = settings.inbound().on_rejection(move |_, rejection| {
        assert!(rejection.trail().tags().is_empty());
        rejections.fetch_add(1, Ordering::Relaxed);
    });
    let mut service = InboundLayer::new(inbound).layer(handler);
    let mut request = Request::new(());
    *request.headers_mut() = headers;
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut cx) else { panic!("no response") };
    let (parts, body) = response.into_parts();
    let (mut body, mut text) = (pin!(body), Vec::new());
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        text.extend_from_slice(frame.data_ref().expect("data"));
    }
    assert!(body.is_end_stream() || !parts.status.is_client_error());
    (Response::from_parts(parts, ()), text)
}

/// The trace that a response names: the same in each header that was selected, and in no other header.
fn echoed(response: &Response<()>, settings: Settings) -> Option<Parent> {
    let mut named = Vec::new();
    for (bit, name, before) in [(1, "traceparent", ""), (2, "traceresponse", ""), (4, "server-timing", "trace;desc=")] {
        let lines = values(response.headers(), name);
        assert_eq!(lines.len(), usize::from(settings.echo & bit != 0), "{name}");
        for line in lines {
            let value = line.strip_prefix(before.as_bytes()).expect("the metric's name");
            assert_eq!(value.len(), 55);
            named.push(oracle::traceparent(value).expect("a traceparent"));
        }
    }
    assert!(named.windows(2).all(|two| two[0] == two[1]));
    named.pop()
}

/// Asserts that a rejection has the format that the client reads, is bounded, and repeats nothing of the request.
fn check_rejection(headers: &HeaderMap, response: &Response<()>, body: &[u8], rule: Option<&str>) {
    let rule = rule.expect("a rule was broken");
    let content_type = response.headers()["content-type"].to_str().expect("ASCII");
    let of_request = headers.get("content-type").map(|value| value.as_bytes().to_ascii_lowercase());
    let rest = of_request.as_deref().and_then(|value| value.strip_prefix(b"application/grpc"));
    let is_grpc = rest.is_some_and(|rest| rest.is_empty() || !rest[0].is_ascii_alphanumeric());
    let message = if is_grpc {
        assert!(["application/grpc", "application/grpc-web", "application/grpc-web-text"].contains(&content_type));
        assert_eq!((response.status(), body), (StatusCode::OK, &b""[..]));
        assert_eq!(response.headers()["grpc-status"], "3");
        response.headers()["grpc-message"].to_str().expect("ASCII").to_owned()
    } else {
        assert_eq!((response.status(), content_type), (StatusCode::BAD_REQUEST, "application/json"));
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        assert_eq!(body["error"]["code"], "invalid_request");
        assert_eq!(body["errors"][0]["code"], "bad request");
        let message = body["error"]["message"].as_str().expect("a text");
        assert_eq!(body["errors"][0]["description"], message);
        message.to_owned()
    };
    crate::check_message(&message, "Invalid header 'x-fauna-tags': ");
    assert!(message.starts_with(&format!("Invalid header 'x-fauna-tags': {rule}: ")), "{message}");
}
