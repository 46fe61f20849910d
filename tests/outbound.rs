//! The client's side, as tower stacks in memory.

use std::sync::{Arc, Mutex};

use http::{Extensions, HeaderMap, HeaderValue, Request, Response, Uri};
use tagtrail::{
    Disclose, Outbound, OutboundError, OutboundLayer, RequestTags, Sample, TagRules, Tags, Targets, TraceContext,
    TraceParent, TraceState, Trail,
};
use tower::{BoxError, Layer, ServiceExt, service_fn};

const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// The headers with which a request leaves the layer.
async fn send(outbound: impl Into<Outbound>, request: Request<()>) -> Result<HeaderMap, OutboundError<BoxError>> {
    let client = service_fn(|request: Request<()>| async move {
        let mut answer = Response::new(());
        *answer.headers_mut() = request.headers().clone();
        Ok::<_, BoxError>(answer)
    });
    Ok(OutboundLayer::new(outbound).layer(client).oneshot(request).await?.into_parts().0.headers)
}

fn get() -> Request<()> {
    Request::get("http://users.example/7").body(()).unwrap()
}

fn with_headers(lines: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = get();
    for (name, value) in lines {
        request.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    request
}

fn with_extension(extension: impl Clone + Send + Sync + 'static) -> Request<()> {
    let mut request = get();
    request.extensions_mut().insert(extension);
    request
}

fn trail() -> Trail {
    let state: TraceState = "foo=1,bar=2".parse().unwrap();
    Trail::start(true).with_tracestate(state).with_tags(Tags::new([("project", "blog")]).unwrap())
}

fn sent(headers: &HeaderMap) -> TraceParent {
    TraceParent::from_headers(headers).unwrap().unwrap()
}

#[tokio::test]
async fn each_request_gets_the_trace_and_a_parent_id_of_its_own() {
    let trail = trail();
    let (one, other) = trail
        .scope(async { (send(Disclose::All, get()).await.unwrap(), send(Disclose::All, get()).await.unwrap()) })
        .await;
    for headers in [&one, &other] {
        assert_eq!((sent(headers).trace_id(), sent(headers).flags()), (trail.trace_id(), trail.flags()));
        assert_ne!(sent(headers).parent_id(), trail.operation_id());
        assert_eq!(
            (&headers["tracestate"], &headers["x-fauna-tags"]),
            (&"foo=1,bar=2".parse().unwrap(), &"project=blog".parse().unwrap())
        );
    }
    assert_ne!(sent(&one).parent_id(), sent(&other).parent_id());
}

#[tokio::test]
async fn the_trail_is_looked_for_in_one_order() {
    let (current, own) = (trail(), trail());
    let lines = [("traceparent", SENT), ("tracestate", "own=1"), ("x-fauna-tags", "own=1")];
    let mut full = with_headers(&lines);
    full.extensions_mut().insert(own.clone());

    let headers = current.scope(send(Disclose::All, full)).await.unwrap();
    assert_eq!(sent(&headers).trace_id(), own.trace_id());
    let headers = current.scope(send(Disclose::All, with_headers(&lines))).await.unwrap();
    assert_eq!(
        (sent(&headers).trace_id(), &headers["tracestate"], &headers["x-fauna-tags"]),
        (current.trace_id(), &"foo=1,bar=2".parse().unwrap(), &"project=blog".parse().unwrap())
    );
    let headers = send(Disclose::All, with_headers(&lines)).await.unwrap();
    assert_eq!(sent(&headers).trace_id().to_string(), TRACE_ID);
    assert_ne!(headers["traceparent"], SENT);
    assert_eq!(
        (&headers["tracestate"], &headers["x-fauna-tags"]),
        (&"own=1".parse().unwrap(), &"own=1".parse().unwrap())
    );
    let headers = send(Disclose::All, get()).await.unwrap();
    assert_eq!(sent(&headers).flags().bits(), 0b11);
    assert_eq!(headers.len(), 1);
}

#[tokio::test]
async fn a_trace_that_starts_here_is_sampled_as_set_or_not_started() {
    let headers = send(Outbound::new(Disclose::All).sample(Sample::Never), get()).await.unwrap();
    assert_eq!(sent(&headers).flags().bits(), 0b10);

    let quiet = Outbound::new(Disclose::All).without_new_traces();
    assert!(send(quiet.clone(), get()).await.unwrap().is_empty());
    // Tags need no trace, and a trace that is there goes on.
    let headers =
        send(quiet.clone(), with_headers(&[("traceparent", "bad"), ("tracestate", "a=1"), ("x-fauna-tags", "a=1")]))
            .await
            .unwrap();
    assert_eq!((headers.len(), &headers["x-fauna-tags"]), (1, &"a=1".parse().unwrap()));
    assert!(send(quiet.clone(), with_extension(trail())).await.unwrap().contains_key("traceparent"));
    assert!(send(quiet, with_headers(&[("traceparent", SENT)])).await.unwrap().contains_key("traceparent"));
}

#[tokio::test]
async fn the_receiver_is_told_what_disclose_says() {
    let lines = [
        ("traceparent", SENT),
        ("traceparent", SENT),
        ("tracestate", "a=1"),
        ("tracestate", "b=1"),
        ("x-fauna-tags", "a=1"),
        ("x-fauna-tags", "?"),
    ];
    for (disclose, names) in [
        (Disclose::All, &["traceparent", "tracestate", "x-fauna-tags"][..]),
        (Disclose::TraceOnly, &["traceparent", "tracestate"]),
        (Disclose::Nothing, &[]),
    ] {
        // The copied headers of a proxy are replaced, or removed, with all their lines.
        let headers = trail().scope(send(disclose, with_headers(&lines))).await.unwrap();
        let mut left: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, names, "{disclose:?}");
        assert!(headers.values().all(|value| value != SENT && value != "a=1"));
    }
    // A trail without tracestate and tags leaves none of what was copied.
    let headers = Trail::start(true).scope(send(Disclose::All, with_headers(&lines))).await.unwrap();
    assert_eq!(headers.len(), 1);
}

#[tokio::test]
async fn whom_to_tell_is_decided_by_the_url() {
    let targets = Targets::otherwise(Disclose::Nothing)
        .host("*.internal.example", Disclose::All)
        .and_then(|targets| targets.host("partner.example:443", Disclose::TraceOnly))
        .unwrap();
    let function = |uri: &Uri| match uri.host() {
        Some(host) if host.ends_with(".internal.example") => Disclose::All,
        Some("partner.example") => Disclose::TraceOnly,
        _ => Disclose::Nothing,
    };
    for (uri, count) in [
        ("http://users.internal.example/", 3),
        ("https://partner.example/", 2),
        ("https://evil.example/users.internal.example", 0),
    ] {
        for outbound in [Outbound::from(targets.clone()), Outbound::from(function)] {
            let mut request = with_extension(trail());
            *request.uri_mut() = uri.parse().unwrap();
            assert_eq!(send(outbound, request).await.unwrap().len(), count, "{uri}");
        }
    }
}

#[tokio::test]
async fn the_tags_of_one_request_replace_those_of_its_trail() {
    let headers =
        trail().scope(send(Disclose::All, with_extension(RequestTags::new([("job", "nightly")])))).await.unwrap();
    assert_eq!(headers["x-fauna-tags"], "job=nightly");
    let none = RequestTags::from(Tags::empty());
    let headers = trail().scope(send(Disclose::All, with_extension(none))).await.unwrap();
    assert!(!headers.contains_key("x-fauna-tags"));
}

#[tokio::test]
async fn bad_tags_of_one_request_are_an_error_before_it_is_sent() {
    let unreachable = service_fn(|_: Request<()>| async { panic!("it was sent") as Result<Response<()>, BoxError> });
    let client = |outbound: Outbound| OutboundLayer::new(outbound).layer(unreachable);
    let bad = with_extension(RequestTags::new([("job", "every night")]));
    for disclose in [Disclose::All, Disclose::TraceOnly, Disclose::Nothing] {
        let error = client(Outbound::new(disclose)).oneshot(bad.clone()).await.unwrap_err();
        let OutboundError::Tags(fault) = &error else { panic!("{error:?}") };
        assert_eq!(fault.rule(), "invalid tags");
        assert!(
            error
                .to_string()
                .starts_with("the request was not sent: Invalid header 'x-fauna-tags': invalid tags: pair 1"),
            "{error}"
        );
    }
    // By the rules of the client, where they are narrower.
    let narrow = Outbound::new(Disclose::All).tag_rules(TagRules::default().max_value(3));
    let error = client(narrow).oneshot(with_extension(RequestTags::new([("job", "nightly")]))).await.unwrap_err();
    assert!(matches!(error, OutboundError::Tags(fault) if fault.rule() == "invalid value"));
    // A tag header that the caller wrote, where there is no trail.
    let error =
        client(Outbound::new(Disclose::All)).oneshot(with_headers(&[("x-fauna-tags", "a b=1")])).await.unwrap_err();
    assert!(matches!(error, OutboundError::Tags(_)));
}

#[tokio::test]
async fn it_stands_between_layers_with_boxed_errors() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, BoxError>("refused".into()) });
    let stack = tower::ServiceBuilder::new()
        .timeout(std::time::Duration::from_secs(9))
        .layer(OutboundLayer::new(Disclose::All))
        .timeout(std::time::Duration::from_secs(9));
    let error = stack.service(failing).oneshot(get()).await.unwrap_err();
    assert_eq!(error.to_string(), "refused");
    let fault = Tags::new([("a", "?")]).unwrap_err();
    let error: BoxError = OutboundError::<BoxError>::Tags(fault.clone()).into();
    assert_eq!(error.source().unwrap().to_string(), fault.to_string());
}

#[tokio::test]
async fn the_clients_own_errors_pass() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, BoxError>("refused".into()) });
    let error = OutboundLayer::new(Disclose::All).layer(failing).oneshot(get()).await.unwrap_err();
    assert!(matches!(&error, OutboundError::Inner(inner) if inner.to_string() == "refused"));
    assert_eq!(error.to_string(), "refused");
}

#[tokio::test]
async fn whoever_listens_is_told_each_parent_id_that_is_sent() {
    let trail = trail();
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    trail.on_send(move |id| listener.lock().unwrap().push((1, id)));
    let derived = trail.with_tags(Tags::empty());
    // The second is told after the first, and only of what is sent with this trail and its clones.
    let listener = Arc::clone(&told);
    trail.clone().on_send(move |id| listener.lock().unwrap().push((2, id)));
    let mut expected = Vec::new();
    for (trail, listeners) in [(&trail, &[1, 2][..]), (&derived, &[1])] {
        let headers = trail.scope(send(Disclose::TraceOnly, get())).await.unwrap();
        expected.extend(listeners.iter().map(|&listener| (listener, sent(&headers).parent_id())));
    }
    trail.scope(send(Disclose::Nothing, get())).await.unwrap();
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn who_listens_may_add_another_who_listens() {
    let told = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&told);
    let trail = trail();
    trail.on_send(move |_| {
        let counter = Arc::clone(&counter);
        Trail::current().unwrap().on_send(move |_| *counter.lock().unwrap() += 1);
    });
    for added in [0, 1, 3] {
        trail.scope(send(Disclose::All, get())).await.unwrap();
        assert_eq!(*told.lock().unwrap(), added);
    }
}

#[tokio::test]
async fn a_caller_can_stay_in_the_trace_of_an_answer() {
    let mut answer = HeaderMap::new();
    assert!(Trail::of_answer(&answer).is_none());
    answer.insert("traceparent", HeaderValue::from_static(SENT));
    let trail = Trail::of_answer(&answer).unwrap();
    let headers = send(Disclose::All, with_extension(trail)).await.unwrap();
    assert_eq!(sent(&headers).trace_id().to_string(), TRACE_ID);
    assert_ne!(headers["traceparent"], SENT);
    // In place of a bad one, and by itself.
    for traceparent in [Some("bad"), None] {
        let mut answer = HeaderMap::new();
        answer.extend(
            traceparent.map(|value| (http::HeaderName::from_static("traceparent"), HeaderValue::from_static(value))),
        );
        answer.insert("traceresponse", HeaderValue::from_static(SENT));
        assert_eq!(tagtrail::TraceParent::of_answer(&answer).unwrap().to_string(), SENT);
    }
}

#[test]
fn a_trace_context_is_written_by_hand() {
    let context = TraceContext::new(SENT.parse().unwrap(), "foo=1".parse().unwrap());
    let mut headers = HeaderMap::new();
    for name in ["traceparent", "tracestate"] {
        headers.append(name, HeaderValue::from_static("old"));
        headers.append(name, HeaderValue::from_static("older"));
    }
    context.insert_into(&mut headers);
    assert_eq!(TraceContext::from_headers(&headers), Ok(Some(context)));
    TraceContext::new(sent(&headers), TraceState::empty()).insert_into(&mut headers);
    assert!(!headers.contains_key("tracestate"), "an empty one is removed");
}

#[test]
fn another_client_can_apply_it_by_hand() {
    let outbound = Outbound::new(Disclose::All);
    let mut headers = HeaderMap::new();
    outbound.apply(&Uri::from_static("/origin-form"), &mut headers, &Extensions::new()).unwrap();
    assert!(headers.contains_key("traceparent"));
}
