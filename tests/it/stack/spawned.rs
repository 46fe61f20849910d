//! Places where context gets lost: what is current in each, and that nothing is left behind.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http_body_util::BodyExt;
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, Sample, TraceId, Trail};
use tokio::task::{JoinSet, LocalSet, spawn, spawn_blocking, spawn_local, yield_now};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{CALLER, Received, empty_response, get};

fn current() -> Option<TraceId> {
    Trail::current().map(|trail| trail.trace_id())
}

/// A place: a future that is given a trail, and returns the trace that was current there.
type Place = fn(Trail) -> BoxFuture<'static, Option<TraceId>>;

macro_rules! places {
    ($($name:literal: |$trail:ident| $seen:expr;)*) => {
        &[$(($name, |$trail| Box::pin(async move { $seen }))),*]
    };
}

/// Places where the trail is current.
const KEPT: &[(&str, Place)] = places! {
    "enter": |trail| trail.in_scope(current);
    "enter in enter": |trail| Trail::start(Sample::Always).in_scope(|| trail.in_scope(current));
    "enter in scope": |trail| Trail::start(Sample::Always).scope(async { trail.in_scope(current) }).await;
    "scope": |trail| trail.scope(async { current() }).await;
    "scope in scope": |trail| Trail::start(Sample::Always).scope(trail.scope(async { current() })).await;
    "after an await": |trail| trail.scope(async { yield_now().await; current() }).await;
    "after an inner scope": |trail| trail.scope(async {
        Trail::start(Sample::Always).scope(yield_now()).await;
        current()
    }).await;
    "after an inner panic": |trail| trail.scope(async {
        let inner = AssertUnwindSafe(Trail::start(Sample::Always).scope(async { yield_now().await; panic!("on purpose") }));
        assert!(inner.catch_unwind().await.is_err());
        current()
    }).await;
    "after a panic in enter": |trail| trail.in_scope(|| {
        let inner = || Trail::start(Sample::Always).in_scope(|| panic!("on purpose"));
        assert!(std::panic::catch_unwind(AssertUnwindSafe(inner)).is_err());
        current()
    });
    "spawn": |trail| spawn(trail.scope(async { yield_now().await; current() })).await.unwrap();
    "spawn in spawn": |trail| spawn(trail.scope(async {
        let trail = Trail::current().unwrap();
        spawn(trail.scope(async { current() })).await.unwrap()
    })).await.unwrap();
    "JoinSet": |trail| {
        let mut tasks = JoinSet::new();
        tasks.spawn(trail.scope(async { current() }));
        tasks.join_next().await.unwrap().unwrap()
    };
    "spawn_blocking": |trail| spawn_blocking(move || trail.in_scope(current)).await.unwrap();
    "a thread": |trail| std::thread::spawn(move || trail.in_scope(current)).join().unwrap();
    "block_on in a thread": |trail| std::thread::spawn(move || {
        block_on(trail.scope(async { yield_now().await; current() }))
    }).join().unwrap();
    "the winner of select": |trail| trail.scope(async {
        tokio::select! { biased;
            seen = async { yield_now().await; current() } => seen,
            () = std::future::pending() => None,
        }
    }).await;
    "after select cancelled an inner scope": |trail| trail.scope(async {
        tokio::select! { biased;
            () = Trail::start(Sample::Always).scope(std::future::pending()) => None,
            () = yield_now() => current(),
        }
    }).await;
    "join": |trail| trail.scope(async {
        let ((), seen) = tokio::join!(Trail::start(Sample::Always).scope(yield_now()), async { yield_now().await; current() });
        seen
    }).await;
    "buffer_unordered": |trail| trail.scope(async {
        let seen: Vec<_> = stream::iter(0..4).map(|_| async { yield_now().await; current() })
            .buffer_unordered(2).collect().await;
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
        seen[0]
    }).await;
    "buffer_unordered of scopes": |trail| {
        let others = (0..3).map(|_| Trail::start(Sample::Always)).chain([trail]);
        let seen: Vec<_> = stream::iter(others)
            .map(|trail| { let expected = trail.trace_id(); trail.scope(async move {
                yield_now().await;
                assert_eq!(current(), Some(expected));
                current()
            })})
            .buffered(4).collect().await;
        seen[3]
    };
    "a clone": |trail| trail.clone().scope(async { current() }).await;
    "what drops with the scope": |trail| {
        let seen = Arc::new(Mutex::new(None));
        let dropped = NoteOnDrop(Arc::clone(&seen));
        let mut scope = Box::pin(trail.scope(async move { let _dropped = dropped; std::future::pending::<()>().await }));
        assert!(scope.as_mut().now_or_never().is_none());
        drop(scope);
        *seen.lock().unwrap()
    };
    "what an aborted task drops": |trail| {
        let seen = Arc::new(Mutex::new(None));
        let dropped = NoteOnDrop(Arc::clone(&seen));
        let task = spawn(trail.scope(async move { let _dropped = dropped; std::future::pending::<()>().await }));
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        *seen.lock().unwrap()
    };
};

/// Places where none is current: spawned work has the trail only if it is given it.
const LOST: &[(&str, Place)] = places! {
    "spawn": |trail| trail.scope(async { spawn(async { current() }).await.unwrap() }).await;
    "spawn_blocking": |trail| trail.scope(async { spawn_blocking(current).await.unwrap() }).await;
    "a thread": |trail| trail.in_scope(|| std::thread::spawn(current).join().unwrap());
    "a future that is made under a trail, and not polled there": |trail| {
        let future = trail.in_scope(|| async { current() });
        future.await
    };
    "after scope": |trail| { trail.scope(yield_now()).await; current() };
    "after enter": |trail| { trail.in_scope(|| ()); current() };
    "after a cancelled scope": |trail| {
        tokio::select! { biased;
            () = trail.scope(std::future::pending()) => (),
            () = yield_now() => (),
        }
        current()
    };
    "beside a scope, in join": |trail| {
        let ((), seen) = tokio::join!(trail.scope(yield_now()), async { yield_now().await; current() });
        seen
    };
};

struct NoteOnDrop(Arc<Mutex<Option<TraceId>>>);

impl Drop for NoteOnDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = current();
    }
}

/// Polls a future on this thread until it is ready: an executor without a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

async fn check_places() {
    for (name, place) in KEPT {
        let trail = Trail::start(Sample::Always);
        let expected = trail.trace_id();
        assert_eq!(place(trail).await, Some(expected), "{name}");
        assert_eq!(current(), None, "left behind by {name}");
    }
    for (name, place) in LOST {
        assert_eq!(place(Trail::start(Sample::Always)).await, None, "{name}");
        assert_eq!(current(), None, "left behind by {name}");
    }
}

#[tokio::test]
async fn each_place_keeps_trail_on_one_thread() {
    check_places().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_place_keeps_trail_on_many_threads() {
    let checks = (0..8).map(|_| spawn(check_places()));
    for check in checks.collect::<Vec<_>>() {
        check.await.unwrap();
    }
}

#[test]
fn scope_reaches_local_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let trail = Trail::start(Sample::Always);
    let seen = LocalSet::new().block_on(&runtime, async {
        // An `Rc` is not `Send`.
        let held = std::rc::Rc::new(());
        spawn_local(trail.scope(async move {
            yield_now().await;
            drop(held);
            current()
        }))
        .await
        .unwrap()
    });
    assert_eq!(seen, Some(trail.trace_id()));
}

#[test]
fn future_keeps_trail_across_threads() {
    let trail = Trail::start(Sample::Always);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let mut polls = 0;
    let mut future = Box::pin(trail.scope(poll_fn(move |_| {
        note.lock().unwrap().push((std::thread::current().id(), current()));
        polls += 1;
        if polls < 8 { Poll::Pending } else { Poll::Ready(()) }
    })));
    for _ in 0..8 {
        let polled = std::thread::spawn(move || {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = future.as_mut().poll(&mut cx);
            assert_eq!(current(), None);
            future
        });
        future = polled.join().unwrap();
    }
    let seen = seen.lock().unwrap();
    let threads: std::collections::HashSet<_> = seen.iter().map(|(thread, _)| *thread).collect();
    assert_eq!((threads.len(), seen.len()), (8, 8));
    assert!(seen.iter().all(|(_, current)| *current == Some(trail.trace_id())));
}

/// Work that a thread does while it ends: whether a trail can be current then depends on what was torn down first.
struct AtTheEnd(Sender<[Option<TraceId>; 3]>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let trail = Trail::start(Sample::Always);
        let seen = [current(), trail.in_scope(current), block_on(trail.scope(async { current() }))];
        let _ = self.0.send(seen);
    }
}

#[test]
fn torn_down_thread_has_no_trail_and_does_not_panic() {
    thread_local! {
        static BEFORE: OnceCell<AtTheEnd> = const { OnceCell::new() };
        static AFTER: OnceCell<AtTheEnd> = const { OnceCell::new() };
    }
    let (sender, seen) = channel();
    let thread = std::thread::spawn(move || {
        // The drop order of thread-locals is not specified; one of the two is dropped after the crate's own.
        BEFORE.with(|end| assert!(end.set(AtTheEnd(sender.clone())).is_ok()));
        Trail::start(Sample::Always).in_scope(|| assert!(current().is_some()));
        AFTER.with(|end| assert!(end.set(AtTheEnd(sender)).is_ok()));
    });
    thread.join().unwrap();
    let seen: Vec<_> = seen.iter().collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen[0].is_none()));
    assert!(seen.contains(&[None; 3]), "{seen:?}");
}

#[test]
fn two_requests_on_one_task_stay_separate() {
    let (one, other) = (Trail::start(Sample::Always), Trail::start(Sample::Always));
    let expect = |trail: &Trail| {
        let expected = Some(trail.trace_id());
        trail.scope(async move {
            for _ in 0..100 {
                assert_eq!(current(), expected);
                yield_now().await;
            }
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::join!(expect(&one), expect(&other)) });
}

/// The same for the parts of a request that a server layer handles.
mod server {
    use super::*;

    fn get_as_caller(method: Method) -> Request {
        Request::builder().method(method).header("traceparent", CALLER).body(Body::empty()).unwrap()
    }

    fn expected() -> TraceId {
        crate::support::caller().trace_id()
    }

    fn layer() -> InboundLayer {
        InboundLayer::new(Admit::Continue)
    }

    #[tokio::test]
    async fn in_the_synchronous_part_of_call_and_in_polls() {
        for method in [Method::GET, Method::HEAD, Method::CONNECT] {
            let mut service = layer().layer(service_fn(|_: Request| {
                let in_call = current();
                async move {
                    yield_now().await;
                    assert_eq!((in_call, current()), (Some(expected()), Some(expected())));
                    Ok::<_, Infallible>(empty_response(StatusCode::OK))
                }
            }));
            let response = service.call(get_as_caller(method));
            assert_eq!(current(), None);
            assert!(response.await.unwrap().headers().contains_key("traceparent"));
            assert_eq!(current(), None);
        }
    }

    async fn panicking() -> Result<Response, Infallible> {
        yield_now().await;
        panic!("on purpose")
    }

    #[tokio::test]
    async fn after_a_panic_in_call_or_in_a_poll() {
        let panics = [true, false].map(|in_call| {
            service_fn(move |_: Request| {
                assert!(!in_call, "on purpose");
                panicking()
            })
        });
        for service in panics {
            let mut service = layer().layer(service);
            let outcome =
                AssertUnwindSafe(async { service.call(get_as_caller(Method::GET)).await }).catch_unwind().await;
            assert!(outcome.is_err());
            assert_eq!(current(), None);
        }
    }

    #[tokio::test]
    async fn future_dropped_halfway() {
        let seen = Arc::new(Mutex::new(None));
        let note = Arc::clone(&seen);
        let mut service = layer().layer(service_fn(move |_: Request| {
            let dropped = NoteOnDrop(Arc::clone(&note));
            async move {
                let _dropped = dropped;
                std::future::pending::<Result<Response, Infallible>>().await
            }
        }));
        let mut response = Box::pin(service.call(get_as_caller(Method::GET)));
        assert!(response.as_mut().now_or_never().is_none());
        drop(response);
        assert_eq!((*seen.lock().unwrap(), current()), (Some(expected()), None));
    }

    #[tokio::test]
    async fn body_outlives_response_future() {
        let mut service = layer().layer(service_fn(|_: Request| async {
            let chunks = stream::iter(0..3).then(|_| async {
                yield_now().await;
                assert_eq!(current(), Some(expected()));
                Ok::<_, Infallible>("chunk")
            });
            Ok::<_, Infallible>(Response::new(Body::from_stream(chunks)))
        }));
        let body = service.call(get_as_caller(Method::GET)).await.unwrap().into_body();
        // Also on another thread.
        let collected = spawn_blocking(|| block_on(body.collect())).await.unwrap();
        assert_eq!(collected.unwrap().to_bytes(), "chunkchunkchunk");
        assert_eq!(current(), None);
    }

    #[tokio::test]
    async fn nested_clients() {
        // A service that calls a service that calls a service, in memory.
        let heads = Received::default();
        let innermost =
            OutboundLayer::new(Disclose::All).layer(layer().layer(heads.app(|_, _| empty_response(StatusCode::OK))));
        let middle = layer().layer(service_fn(move |_: Request| {
            let client = innermost.clone();
            async move {
                let before = current();
                client.oneshot(get("/")).await.unwrap();
                assert_eq!((before, current()), (Some(expected()), Some(expected())));
                Ok::<_, Infallible>(empty_response(StatusCode::OK))
            }
        }));
        let client = OutboundLayer::new(Disclose::All).layer(middle);
        let trail =
            Trail::from_context(tagtrail::TraceContext::new(crate::support::caller(), tagtrail::TraceState::empty()));
        trail.scope(client.oneshot(get("/"))).await.unwrap();
        assert_eq!(heads.assert_one_trace(), expected());
        assert_eq!(current(), None);
    }
}
