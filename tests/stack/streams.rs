//! Streams: chunks that are made after the handler returned, clients that go away, and memory.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::BodyExt;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, OutboundMiddleware, Trail};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{CALLER, Heads, called, caller, serve, status};

fn client() -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(Disclose::All)).build()
}

/// Three events, each made of a call to `url` after the handler returned.
fn events(url: String) -> impl Stream<Item = Result<Event, Infallible>> {
    let client = client();
    stream::iter(0..3).then(move |_| {
        let request = client.get(&url);
        async move {
            tokio::task::yield_now().await;
            let code = request.send().await.unwrap().status();
            let trail = Trail::current().unwrap();
            Ok(Event::default().data(format!("{code} {}", trail.trace_id())))
        }
    })
}

#[tokio::test]
async fn server_sent_events_keep_the_trail_and_call_under_it() {
    let downstream = Heads::default();
    let url = format!("http://{}/", serve(downstream.app(|_, _| status(StatusCode::OK))).await);
    let handler = move || async move { Sse::new(events(url)).keep_alive(KeepAlive::default()) };
    let app = Router::new().route("/", get(handler)).layer(InboundLayer::new(Admit::Continue));
    let address = serve(app).await;

    let request = reqwest::Client::new().get(format!("http://{address}/")).header("traceparent", CALLER);
    let body = request.send().await.unwrap().text().await.unwrap();
    let expected = format!("data: 200 OK {}\n\n", caller().trace_id());
    assert_eq!(body, expected.repeat(3));
    assert_eq!((downstream.one_trace(), downstream.len()), (caller().trace_id(), 3));
}

/// Counts those that are alive, and those whose trail was current when they were dropped.
#[derive(Clone, Default)]
struct Alive {
    now: Arc<AtomicUsize>,
    dropped_under_a_trail: Arc<AtomicUsize>,
}

struct One(Alive);

impl Alive {
    fn one(&self) -> One {
        self.now.fetch_add(1, Ordering::SeqCst);
        One(self.clone())
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped_under_a_trail.fetch_add(usize::from(Trail::current().is_some()), Ordering::SeqCst);
    }
}

/// One event, and then no end.
fn endless(alive: &Alive) -> Body {
    let one = alive.one();
    let first = stream::once(async { Ok::<_, Infallible>("data: first\n\n") });
    Body::from_stream(first.chain(stream::pending()).map(move |chunk| {
        let _alive = &one;
        chunk
    }))
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let alive = Alive::default();
    let handler = {
        let alive = alive.clone();
        move || async move { endless(&alive) }
    };
    let app = Router::new().route("/", get(handler)).layer(InboundLayer::new(Admit::Continue));
    let url = format!("http://{}/", serve(app).await);
    for http2 in [false, true] {
        let mut client = reqwest::Client::builder();
        if http2 {
            client = client.http2_prior_knowledge();
        }
        let client = client.build().unwrap();
        let mut answers = Vec::new();
        for _ in 0..20 {
            let mut answer = client.get(&url).send().await.unwrap();
            assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: first\n\n");
            answers.push(answer);
        }
        assert_eq!(alive.now(), 20);
        drop(answers);
        let gone = async {
            while alive.now() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    }
    assert_eq!(alive.dropped_under_a_trail.load(Ordering::SeqCst), 40);
    assert!(Trail::current().is_none());
}

/// A future that does not wait for anything but itself, on this thread.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

#[test]
fn ten_thousand_open_streams_cost_little_and_leave_nothing() {
    const STREAMS: usize = 10_000;
    let open = |layered: bool| {
        let alive = Alive::default();
        let handler = {
            let alive = alive.clone();
            service_fn(move |_: Request| std::future::ready(Ok::<_, Infallible>(Response::new(endless(&alive)))))
        };
        let mut service = if layered {
            InboundLayer::new(Admit::Continue).layer(handler).map_response(IntoResponse::into_response).boxed_clone()
        } else {
            handler.boxed_clone()
        };
        let mut open = Vec::with_capacity(STREAMS);
        let mut open_one = || {
            let mut body = now(service.call(called("/"))).unwrap().into_body();
            assert_eq!(now(body.frame()).unwrap().unwrap().into_data().unwrap(), "data: first\n\n");
            body
        };
        // What is made once, such as the generator's state.
        drop(open_one());
        let held = allocation_counter::measure(|| open.extend((0..STREAMS).map(|_| open_one())));
        assert_eq!(alive.now(), STREAMS);
        let freed = allocation_counter::measure(|| open.clear());
        assert_eq!(alive.now(), 0);
        assert_eq!(held.bytes_current, -freed.bytes_current, "all that was held is free");
        held.bytes_current / i64::try_from(STREAMS).unwrap()
    };
    let (layered, bare) = (open(true), open(false));
    println!("an open stream holds {layered} bytes, {bare} of them without the layer");
    assert!(layered - bare < 512, "{layered} {bare}");
}

/// A million, in seconds, where the code is optimized.
const REQUESTS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

#[test]
fn a_million_requests_leave_memory_flat() {
    let server = InboundLayer::new(Admit::Continue).layer(service_fn(|request: http::Request<()>| {
        let tags = Trail::current().map_or(0, |trail| trail.tags().len());
        let _ = request;
        std::future::ready(Ok::<_, Infallible>(http::Response::new(http_body_util::Full::<bytes::Bytes>::from(
            vec![0; tags],
        ))))
    }));
    let mut service = OutboundLayer::new(Disclose::All).layer(server);
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(CALLER));
    headers.insert("tracestate", HeaderValue::from_static("a=1,b=2,c=3"));
    headers.insert("x-fauna-tags", HeaderValue::from_static("project=blog,env=prod"));
    let mut requests = |count: usize| {
        for _ in 0..count {
            let mut request = http::Request::new(());
            request.headers_mut().clone_from(&headers);
            let answer = now(service.call(request)).unwrap();
            assert!(answer.headers().contains_key("traceparent"));
            assert_eq!(now(answer.into_body().collect()).unwrap().to_bytes().len(), 2);
        }
    };
    // What is made once, such as the generator's state.
    requests(1);
    let memory = allocation_counter::measure(|| requests(REQUESTS));
    assert_eq!(memory.bytes_current, 0);
    assert!(memory.bytes_max < 16 * 1024, "{memory:?}");
}
