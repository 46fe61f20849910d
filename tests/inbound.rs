//! The server's side, as tower stacks in memory.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tagtrail::{
    Admit, Disclose, Echo, Inbound, InboundLayer, OutboundError, OutboundLayer, ParentId, Sample, TagRules,
    TraceParent, Trail,
};
use tower::{Layer, Service, ServiceExt, service_fn};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// Sends a request with these header lines through the layer. Returns what the handler saw, if it was called, and the
/// answer.
async fn send(inbound: impl Into<Inbound>, lines: &[(&'static str, &str)]) -> (Option<Trail>, Response<Bytes>) {
    let seen = Arc::new(Mutex::new(None));
    let handler = service_fn(|request: Request<Full<Bytes>>| {
        let seen = Arc::clone(&seen);
        // In the synchronous part of `call` already.
        let current = Trail::current().unwrap();
        async move {
            let trail = request.extensions().get::<Trail>().unwrap().clone();
            assert_eq!(current.operation_id(), trail.operation_id());
            assert_eq!(Trail::current().unwrap().operation_id(), trail.operation_id());
            *seen.lock().unwrap() = Some(trail);
            Ok::<_, Infallible>(Response::new(Full::from("handled")))
        }
    });
    let mut request = Request::new(Full::default());
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    let answer = InboundLayer::new(inbound).layer(handler).oneshot(request).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(Trail::current().is_none());
    (seen.lock().unwrap().take(), Response::from_parts(head, body))
}

fn answered(headers: &HeaderMap) -> TraceParent {
    let lines: Vec<_> = headers.get_all("traceparent").iter().collect();
    assert_eq!(lines.len(), 1, "{headers:?}");
    lines[0].try_into().unwrap()
}

/// Attack row 10, and the contract's table of what a participant does.
#[tokio::test]
async fn whose_trace_goes_on() {
    // What was sent, whether it is a trace that can go on, and its flags.
    let received = [
        (None, false, 0),
        (Some(CALLER), true, 0b01),
        (Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), true, 0b00),
        (Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff"), true, 0b11),
        (Some("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"), false, 0),
    ];
    let tags = [None, Some("a=1,b=2"), Some("a=1,a=2")];
    for admit in [Admit::Continue, Admit::Unsample, Admit::Restart] {
        for (traceparent, valid, flags) in received {
            for tags in tags {
                for sample in [Sample::Always, Sample::Never] {
                    let mut lines = vec![("tracestate", "foo=1")];
                    lines.extend(traceparent.map(|value| ("traceparent", value)));
                    lines.extend(tags.map(|value| ("x-fauna-tags", value)));
                    let (seen, answer) = send(Inbound::new(admit).sample(sample), &lines).await;
                    let case = format!("{admit:?} {sample:?} {lines:?}");

                    let goes_on = valid && admit != Admit::Restart;
                    let answered = answered(answer.headers());
                    assert_eq!(answered.trace_id().to_string() == TRACE_ID, goes_on, "{case}");
                    assert_ne!(answered.parent_id().to_string(), "b7ad6b7169203331", "{case}");
                    let expected_flags = match (goes_on, admit) {
                        (true, Admit::Unsample) => flags & 0b10,
                        (true, _) => flags,
                        (false, _) => 0b10 | u8::from(sample == Sample::Always),
                    };
                    assert_eq!(answered.flags().bits(), expected_flags, "{case}");

                    if tags == Some("a=1,a=2") {
                        assert_eq!((seen.is_none(), answer.status()), (true, StatusCode::BAD_REQUEST), "{case}");
                        continue;
                    }
                    let trail = seen.unwrap();
                    assert_eq!((answer.status(), *trail.traceparent()), (StatusCode::OK, answered), "{case}");
                    assert_eq!(trail.tracestate().as_str(), if goes_on { "foo=1" } else { "" }, "{case}");
                    assert_eq!(trail.caller().is_some(), goes_on, "{case}");
                    assert_eq!(trail.tags().as_str(), tags.unwrap_or_default(), "{case}");
                }
            }
        }
    }
}

/// Attack row 4.
#[tokio::test]
async fn flags_are_kept_as_bits() {
    for bits in 0..=u8::MAX {
        let caller = format!("{}{bits:02x}", &CALLER[..53]);
        for (admit, mask) in [(Admit::Continue, 0b11), (Admit::Unsample, 0b10)] {
            let (_, answer) = send(admit, &[("traceparent", &caller)]).await;
            assert_eq!(answered(answer.headers()).flags().bits(), bits & mask, "{admit:?} {bits:02x}");
        }
    }
}

/// Attack row 5.
#[tokio::test]
async fn several_traceparent_lines_restart_the_trace() {
    for count in [2, 3, 5, 64] {
        for other in [CALLER, "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-00", "bad", ""] {
            let mut lines = vec![("traceparent", CALLER), ("tracestate", "foo=1")];
            lines.extend(vec![("traceparent", other); count - 1]);
            let trail = send(Admit::Continue, &lines).await.0.unwrap();
            assert_ne!(trail.trace_id().to_string(), TRACE_ID);
            assert!(trail.tracestate().is_empty() && trail.caller().is_none());
        }
    }
}

#[tokio::test]
async fn a_bad_tracestate_spoils_nothing() {
    let trail = send(Admit::Continue, &[("traceparent", CALLER), ("tracestate", "A=1")]).await.0.unwrap();
    assert_eq!((trail.trace_id().to_string().as_str(), trail.tracestate().len()), (TRACE_ID, 0));
}

#[tokio::test]
async fn trust_can_be_a_function_of_the_head() {
    let by_secret = || {
        InboundLayer::new(|head: &Parts| match head.headers.get("x-trace-secret") {
            Some(secret) if secret == "letmein" => Admit::Continue,
            _ => Admit::Restart,
        })
    };
    for (secret, goes_on) in [(Some("letmein"), true), (Some("guess"), false), (None, false)] {
        let mut request = Request::new(Full::<Bytes>::default());
        request.headers_mut().insert("traceparent", HeaderValue::from_static(CALLER));
        if let Some(secret) = secret {
            request.headers_mut().insert("x-trace-secret", HeaderValue::from_static(secret));
        }
        let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(())) });
        let answer = by_secret().layer(handler).oneshot(request).await.unwrap();
        assert_eq!(answered(answer.headers()).trace_id().to_string() == TRACE_ID, goes_on, "{secret:?}");
    }
}

#[tokio::test]
async fn sampling_can_be_a_function_of_the_head_and_a_ratio() {
    let by_method = Inbound::new(Admit::Restart)
        .sample(|head: &Parts| if head.method == Method::GET { Sample::Never } else { Sample::Always });
    let trail = send(by_method, &[]).await.0.unwrap();
    assert!(!trail.flags().is_sampled() && trail.flags().is_random());

    let mut sampled = 0;
    for _ in 0..4_000 {
        let trail = send(Inbound::new(Admit::Restart).sample(Sample::Ratio(0.25)), &[]).await.0.unwrap();
        assert_eq!(trail.flags().is_sampled(), Sample::Ratio(0.25).decide(trail.trace_id()));
        sampled += usize::from(trail.flags().is_sampled());
    }
    // 1,000 on average; eight standard deviations to each side.
    assert!((780..1_220).contains(&sampled), "{sampled}");
    for (ratio, expected) in [(0.0, false), (-1.0, false), (f64::NAN, false), (1.0, true), (7.0, true)] {
        let trail = send(Inbound::new(Admit::Restart).sample(Sample::Ratio(ratio)), &[]).await.0.unwrap();
        assert_eq!(trail.flags().is_sampled(), expected, "{ratio}");
    }
}

#[tokio::test]
async fn a_bad_tag_header_is_refused_with_the_trace() {
    let (seen, answer) =
        send(Admit::Continue, &[("traceparent", CALLER), ("x-fauna-tags", "a=1,b c=\"\u{e9}\"")]).await;
    assert!(seen.is_none());
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answered(answer.headers()).trace_id().to_string(), TRACE_ID);
    let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    let message = "Invalid header 'x-fauna-tags': invalid tags: pair 2, character 6: expected a name of letters, \
                   digits and '_', then '='";
    assert_eq!(
        body,
        serde_json::json!({
            "error": {"code": "invalid_request", "message": message},
            "errors": [{"code": "bad request", "description": message}],
        })
    );
}

#[tokio::test]
async fn grpc_clients_get_a_grpc_answer() {
    for (content_type, answered_with) in [
        ("application/grpc", Some("application/grpc")),
        ("application/grpc+proto", Some("application/grpc")),
        ("Application/GRPC; charset=utf-8", Some("application/grpc")),
        ("application/grpc-web", Some("application/grpc-web")),
        ("application/grpc-web+proto", Some("application/grpc-web")),
        ("application/grpc-web-text", Some("application/grpc-web-text")),
        ("application/grpcish", None),
        ("application/grp", None),
        ("application/json", None),
    ] {
        let (_, answer) = send(Admit::Continue, &[("content-type", content_type), ("x-fauna-tags", "a")]).await;
        answered(answer.headers());
        let Some(answered_with) = answered_with else {
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{content_type}");
            continue;
        };
        assert_eq!((answer.status(), answer.body().len()), (StatusCode::OK, 0), "{content_type}");
        assert_eq!(answer.headers()["content-type"], answered_with);
        assert_eq!(answer.headers()["grpc-status"], "3");
        let message = answer.headers()["grpc-message"].to_str().unwrap();
        assert!(message.starts_with("Invalid header 'x-fauna-tags': invalid tags: pair 1"), "{message}");
    }
    let percent = Inbound::new(Admit::Continue).tag_rules(TagRules::default().header("x%tags".parse().unwrap()));
    let (_, answer) = send(percent, &[("content-type", "application/grpc"), ("x%tags", "a")]).await;
    assert!(answer.headers()["grpc-message"].to_str().unwrap().starts_with("Invalid header 'x%25tags': "));
}

#[tokio::test]
async fn a_refusal_can_be_answered_otherwise_and_is_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let slow = Duration::from_millis(5);
    let inbound = Inbound::new(Admit::Continue)
        .refuse_with(move |head, trail, fault| {
            std::thread::sleep(slow);
            assert_eq!(head.headers["x-fauna-tags"], "a=1,a=2");
            let body = format!("{} {}", trail.trace_id(), fault.rule());
            Response::builder().status(422).body(Bytes::from(body)).unwrap()
        })
        .on_refusal({
            let told = Arc::clone(&told);
            move |refusal| {
                assert_eq!(refusal.head.method, Method::GET);
                assert_eq!(Trail::current().unwrap().operation_id(), refusal.trail.operation_id());
                assert!(refusal.elapsed >= slow && refusal.elapsed < Duration::from_secs(60));
                assert!(!format!("{refusal:?}").contains("a=1"));
                assert_eq!(refusal.answer.headers()["traceparent"], refusal.trail.traceparent().to_string());
                told.lock().unwrap().push((refusal.answer.status().as_u16(), refusal.fault.rule()));
            }
        })
        .on_refusal({
            let told = Arc::clone(&told);
            move |_| told.lock().unwrap().push((0, "told after the first"))
        });
    let (_, answer) = send(inbound.clone(), &[("traceparent", CALLER), ("x-fauna-tags", "a=1,a=2")]).await;
    assert_eq!((answer.status().as_u16(), &**answer.body()), (422, format!("{TRACE_ID} duplicate key").as_bytes()));
    answered(answer.headers());
    send(inbound, &[("x-fauna-tags", "a=1")]).await.0.unwrap();
    assert_eq!(*told.lock().unwrap(), [(422, "duplicate key"), (0, "told after the first")]);
}

#[tokio::test]
async fn the_refusal_of_a_head_request_has_its_length_and_no_body() {
    let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let mut length = 0;
    for method in [Method::GET, Method::HEAD] {
        let request = Request::builder().method(&method).header("x-fauna-tags", "?").body(()).unwrap();
        let answer = InboundLayer::new(Admit::Continue).layer(handler).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.body().is_end_stream(), method == Method::HEAD);
        if method == Method::HEAD {
            assert_eq!(answer.headers()["content-length"], length.to_string());
        }
        length = answer.into_body().collect().await.unwrap().to_bytes().len();
    }
    assert_eq!(length, 0);
}

#[tokio::test]
async fn the_size_of_a_body_is_known_through_the_layer() {
    let handler = service_fn(|request: Request<&'static str>| async move {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(request.into_body())))
    });
    for text in ["handled", ""] {
        let answer = InboundLayer::new(Admit::Continue).layer(handler).oneshot(Request::new(text)).await.unwrap();
        assert_eq!(answer.body().size_hint().exact(), Some(text.len() as u64));
        assert_eq!(answer.body().is_end_stream(), text.is_empty());
    }
    let request = Request::builder().header("x-fauna-tags", "?").body("").unwrap();
    let refusal = InboundLayer::new(Admit::Continue).layer(handler).oneshot(request).await.unwrap();
    let size = refusal.body().size_hint().exact().unwrap();
    assert_eq!(size, refusal.into_body().collect().await.unwrap().to_bytes().len() as u64);
}

#[tokio::test]
async fn a_trail_with_other_tags_keeps_the_rest() {
    let lenient = Inbound::new(Admit::Continue).drop_bad_tags();
    let trail = send(lenient, &[("traceparent", CALLER), ("x-fauna-tags", "?")]).await.0.unwrap();
    let derived = trail.with_tags("a=1".parse().unwrap()).with_tracestate("b=2".parse().unwrap());
    assert_eq!((derived.traceparent(), derived.caller()), (trail.traceparent(), trail.caller()));
    assert!(derived.caller().is_some());
    assert_eq!((derived.tags().as_str(), derived.tracestate().as_str()), ("a=1", "b=2"));
    assert!(trail.dropped_tags().is_some() && derived.dropped_tags().is_none());
}

#[tokio::test]
async fn bad_tags_can_be_dropped() {
    let lenient = Inbound::new(Admit::Continue).drop_bad_tags();
    let trail = send(lenient.clone(), &[("x-fauna-tags", "a=1,a=2")]).await.0.unwrap();
    assert!(trail.tags().is_empty());
    assert_eq!(trail.dropped_tags().unwrap().rule(), "duplicate key");
    let trail = send(lenient, &[("x-fauna-tags", "a=1")]).await.0.unwrap();
    assert_eq!((trail.tags().as_str(), trail.dropped_tags()), ("a=1", None));
}

#[tokio::test]
async fn the_headers_of_the_answer_are_a_setting() {
    let lines = [("traceparent", CALLER), ("x-fauna-tags", "a=1")];
    let ours = |headers: &HeaderMap| {
        let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
        names.sort();
        names
    };
    for (echo, expected) in [
        (Echo::default(), &["traceparent"][..]),
        (Echo::NOTHING, &[]),
        (Echo::TRACERESPONSE, &["traceresponse"]),
        (Echo::TRACEPARENT | Echo::SERVER_TIMING, &["server-timing", "traceparent"]),
        (Echo::TAGS | Echo::TAGS, &["x-fauna-tags"]),
        (Echo::NOTHING | Echo::TAGS | Echo::TRACERESPONSE, &["traceresponse", "x-fauna-tags"]),
    ] {
        let (seen, answer) = send(Inbound::new(Admit::Continue).echo(echo), &lines).await;
        assert_eq!(ours(answer.headers()), expected, "{echo:?}");
        let traceparent = seen.unwrap().traceparent().to_string();
        for (name, value) in answer.headers() {
            let expected = match name.as_str() {
                "x-fauna-tags" => "a=1".to_owned(),
                "server-timing" => format!("trace;desc={traceparent}"),
                _ => traceparent.clone(),
            };
            assert_eq!(*value, expected, "{name}");
        }
    }
    // No tags, no header.
    let (_, answer) = send(Inbound::new(Admit::Continue).echo(Echo::TAGS), &[("x-fauna-tags", "")]).await;
    assert!(answer.headers().is_empty());
}

#[tokio::test]
async fn headers_that_the_handler_set_are_replaced_or_kept() {
    let handler = service_fn(|_: Request<()>| async {
        let answer = Response::builder()
            .header("traceparent", CALLER)
            .header("traceparent", "copied from another service")
            .header("traceresponse", CALLER)
            .header("x-fauna-tags", "of=the_handler")
            .header("server-timing", "db;dur=53");
        Ok::<_, Infallible>(answer.body(()).unwrap())
    });
    let all = Echo::TRACEPARENT | Echo::TRACERESPONSE | Echo::SERVER_TIMING | Echo::TAGS;
    let layer = InboundLayer::new(Inbound::new(Admit::Continue).echo(all));
    let answer = layer.layer(handler).oneshot(Request::new(())).await.unwrap();
    let own = answered(answer.headers());
    assert_ne!(own.trace_id().to_string(), TRACE_ID);
    assert_eq!(answer.headers().get_all("traceresponse").iter().collect::<Vec<_>>(), [&own.to_string()]);
    // The request had no tags, so the handler's header stays.
    assert_eq!(answer.headers()["x-fauna-tags"], "of=the_handler");
    let metrics: Vec<_> = answer.headers().get_all("server-timing").iter().collect();
    assert_eq!(metrics, ["db;dur=53", &*format!("trace;desc={own}")]);
}

#[tokio::test]
async fn the_tag_header_is_a_setting() {
    let rules = TagRules::default().header(HeaderName::from_static("x-query-tags")).max_tags(1);
    let inbound = Inbound::new(Admit::Continue).tag_rules(rules);
    let trail = send(inbound.clone(), &[("x-query-tags", "a=1"), ("x-fauna-tags", "not; tags")]).await.0.unwrap();
    assert_eq!(trail.tags().as_str(), "a=1");
    let (_, answer) = send(inbound, &[("x-query-tags", "a=1,b=2")]).await;
    assert!(
        answer.body().starts_with(
            br#"{"error":{"code":"invalid_request","message":"Invalid header 'x-query-tags': too many tags"#
        )
    );
}

/// Attack row 9: nothing is logged, so there is nothing that could be flooded; each refusal is told once.
#[tokio::test]
async fn bad_requests_are_told_once_each() {
    let told = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&told);
    let inbound = Inbound::new(Admit::Restart).on_refusal(move |_| *counter.lock().unwrap() += 1);
    let handler = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
    let mut service = InboundLayer::new(inbound).layer(handler);
    for _ in 0..100_000 {
        let request = Request::builder().header("x-fauna-tags", "?").header("traceparent", "?").body(()).unwrap();
        assert_eq!(service.ready().await.unwrap().call(request).await.unwrap().status(), 400);
    }
    assert_eq!(*told.lock().unwrap(), 100_000);
}

#[tokio::test]
async fn errors_pass_unchanged() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, _>("the handler's own error") });
    let error = InboundLayer::new(Admit::Continue).layer(failing).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error, "the handler's own error");
    assert!(Trail::current().is_none());
}

/// A service that cannot be called, and says why.
struct Busy;

impl Service<Request<()>> for Busy {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Err("busy"))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        unreachable!("it is not ready")
    }
}

#[tokio::test]
async fn the_layers_are_ready_when_the_service_inside_is() {
    assert_eq!(InboundLayer::new(Admit::Continue).layer(Busy).ready().await.err(), Some("busy"));
    let mut client = OutboundLayer::new(Disclose::All).layer(Busy);
    assert!(matches!(client.ready().await.err(), Some(OutboundError::Inner("busy"))));
}

/// A body of three frames that tells, for each and for its end, which trail is current.
struct Telling {
    frames: usize,
    told: Arc<Mutex<Vec<Option<ParentId>>>>,
}

impl Telling {
    fn tell(&self) {
        self.told.lock().unwrap().push(Trail::current().map(|trail| trail.operation_id()));
    }
}

impl Body for Telling {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.tell();
        self.frames -= 1;
        Poll::Ready((self.frames > 0).then(|| Ok(Frame::data(Bytes::from("frame")))))
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.tell();
    }
}

#[tokio::test]
async fn the_trail_is_current_for_every_frame_and_for_what_is_dropped() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sender = Arc::clone(&told);
    let handler = service_fn(move |_: Request<()>| {
        let body = Telling { frames: 3, told: Arc::clone(&sender) };
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let layer = InboundLayer::new(Admit::Continue);
    let answer = layer.layer(handler.clone()).oneshot(Request::new(())).await.unwrap();
    let operation = Some(answered(answer.headers()).parent_id());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "frameframe");
    // Two frames, the end, and the drop.
    assert_eq!(told.lock().unwrap().split_off(0), [operation; 4]);
    // A future that is dropped before it was polled: what it holds is dropped under its trail.
    drop(layer.layer(handler).call(Request::new(())));
    let dropped = told.lock().unwrap().split_off(0);
    assert!(dropped.len() == 1 && dropped[0].is_some() && dropped[0] != operation, "{dropped:?}");
    assert!(Trail::current().is_none());
}

#[tokio::test]
async fn the_service_inside_can_be_reached() {
    let mut service = InboundLayer::new(Admit::Continue).layer(7);
    *service.get_mut() += 1;
    assert_eq!((*service.get_ref(), service.into_inner()), (8, 8));
}
