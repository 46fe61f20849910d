//! Where context gets lost: what is current in each place, and that no trail is left behind.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use tagtrail::{Sample, TraceId, Trail};
use tokio::task::{JoinSet, LocalSet, spawn, spawn_blocking, spawn_local, yield_now};

use crate::support::{block_on, current_trace};

/// A place: a future that gets a trail, and returns the trace that was current there.
type Place = fn(Trail) -> BoxFuture<'static, Option<TraceId>>;

macro_rules! places {
    ($($name:literal: |$trail:ident| $seen:expr;)*) => {
        &[$(($name, |$trail| Box::pin(async move { $seen }))),*]
    };
}

/// Places where the trail is current.
const KEPT: &[(&str, Place)] = places! {
    "enter": |trail| trail.in_scope(current_trace);
    "enter in enter": |trail| Trail::start(Sample::Always).in_scope(|| trail.in_scope(current_trace));
    "enter in scope": |trail| Trail::start(Sample::Always).scope(async { trail.in_scope(current_trace) }).await;
    "scope": |trail| trail.scope(async { current_trace() }).await;
    "scope in scope": |trail| Trail::start(Sample::Always).scope(trail.scope(async { current_trace() })).await;
    "after an await": |trail| trail.scope(async { yield_now().await; current_trace() }).await;
    "after an inner scope": |trail| trail.scope(async {
        Trail::start(Sample::Always).scope(yield_now()).await;
        current_trace()
    }).await;
    "after an inner panic": |trail| trail.scope(async {
        let inner = AssertUnwindSafe(Trail::start(Sample::Always).scope(async { yield_now().await; panic!("on purpose") }));
        assert!(inner.catch_unwind().await.is_err());
        current_trace()
    }).await;
    "after a panic in enter": |trail| trail.in_scope(|| {
        let inner = || Trail::start(Sample::Always).in_scope(|| panic!("on purpose"));
        assert!(std::panic::catch_unwind(AssertUnwindSafe(inner)).is_err());
        current_trace()
    });
    "spawn": |trail| spawn(trail.scope(async { yield_now().await; current_trace() })).await.unwrap();
    "spawn in spawn": |trail| spawn(trail.scope(async {
        let trail = Trail::current().unwrap();
        spawn(trail.scope(async { current_trace() })).await.unwrap()
    })).await.unwrap();
    "JoinSet": |trail| {
        let mut tasks = JoinSet::new();
        tasks.spawn(trail.scope(async { current_trace() }));
        tasks.join_next().await.unwrap().unwrap()
    };
    "spawn_blocking": |trail| spawn_blocking(move || trail.in_scope(current_trace)).await.unwrap();
    "a thread": |trail| std::thread::spawn(move || trail.in_scope(current_trace)).join().unwrap();
    "block_on in a thread": |trail| std::thread::spawn(move || {
        block_on(trail.scope(async { yield_now().await; current_trace() }))
    }).join().unwrap();
    "the winner of select": |trail| trail.scope(async {
        tokio::select! { biased;
            seen = async { yield_now().await; current_trace() } => seen,
            () = std::future::pending() => None,
        }
    }).await;
    "after select cancelled an inner scope": |trail| trail.scope(async {
        tokio::select! { biased;
            () = Trail::start(Sample::Always).scope(std::future::pending()) => None,
            () = yield_now() => current_trace(),
        }
    }).await;
    "join": |trail| trail.scope(async {
        let other = Trail::start(Sample::Always).scope(yield_now());
        let ((), seen) = tokio::join!(other, async { yield_now().await; current_trace() });
        seen
    }).await;
    "buffer_unordered": |trail| trail.scope(async {
        let seen: Vec<_> = stream::iter(0..4).map(|_| async { yield_now().await; current_trace() })
            .buffer_unordered(2).collect().await;
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
        seen[0]
    }).await;
    "buffered scopes": |trail| {
        let others = (0..3).map(|_| Trail::start(Sample::Always)).chain([trail]);
        let seen: Vec<_> = stream::iter(others)
            .map(|trail| { let expected = trail.trace_id(); trail.scope(async move {
                yield_now().await;
                assert_eq!(current_trace(), Some(expected));
                current_trace()
            })})
            .buffered(4).collect().await;
        seen[3]
    };
    "a clone": |trail| trail.clone().scope(async { current_trace() }).await;
    "drop of a scope": |trail| {
        let seen = Arc::new(Mutex::new(None));
        let dropped = RecordOnDrop(Arc::clone(&seen));
        let pending = async move { let _dropped = dropped; std::future::pending::<()>().await };
        let mut scope = Box::pin(trail.scope(pending));
        assert!(scope.as_mut().now_or_never().is_none());
        drop(scope);
        *seen.lock().unwrap()
    };
    "drop of an aborted task": |trail| {
        let seen = Arc::new(Mutex::new(None));
        let dropped = RecordOnDrop(Arc::clone(&seen));
        let pending = async move { let _dropped = dropped; std::future::pending::<()>().await };
        let task = spawn(trail.scope(pending));
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        *seen.lock().unwrap()
    };
};

/// Places without the trail: spawned work has none unless it is passed on.
const LOST: &[(&str, Place)] = places! {
    "spawn": |trail| trail.scope(async { spawn(async { current_trace() }).await.unwrap() }).await;
    "spawn_blocking": |trail| trail.scope(async { spawn_blocking(current_trace).await.unwrap() }).await;
    "a thread": |trail| trail.in_scope(|| std::thread::spawn(current_trace).join().unwrap());
    "a future that is created under a trail and polled elsewhere": |trail| {
        let future = trail.in_scope(|| async { current_trace() });
        future.await
    };
    "after scope": |trail| { trail.scope(yield_now()).await; current_trace() };
    "after enter": |trail| { trail.in_scope(|| ()); current_trace() };
    "after a cancelled scope": |trail| {
        tokio::select! { biased;
            () = trail.scope(std::future::pending()) => (),
            () = yield_now() => (),
        }
        current_trace()
    };
    "next to a scope in join": |trail| {
        let ((), seen) = tokio::join!(trail.scope(yield_now()), async { yield_now().await; current_trace() });
        seen
    };
};

/// Records the current trace when it is dropped.
pub(super) struct RecordOnDrop(pub(super) Arc<Mutex<Option<TraceId>>>);

impl Drop for RecordOnDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = current_trace();
    }
}

async fn check_places() {
    for (name, place) in KEPT {
        let trail = Trail::start(Sample::Always);
        let expected = trail.trace_id();
        assert_eq!(place(trail).await, Some(expected), "{name}");
        assert_eq!(current_trace(), None, "left behind by {name}");
    }
    for (name, place) in LOST {
        assert_eq!(place(Trail::start(Sample::Always)).await, None, "{name}");
        assert_eq!(current_trace(), None, "left behind by {name}");
    }
}

#[tokio::test]
async fn places_on_one_thread_keep_or_lose_trail() {
    check_places().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn places_on_many_threads_keep_or_lose_trail() {
    let checks = (0..8).map(|_| spawn(check_places()));
    for check in checks.collect::<Vec<_>>() {
        check.await.unwrap();
    }
}

#[test]
fn local_task_keeps_trail() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let trail = Trail::start(Sample::Always);
    let seen = LocalSet::new().block_on(&runtime, async {
        // Not `Send`.
        let held = std::rc::Rc::new(());
        spawn_local(trail.scope(async move {
            yield_now().await;
            drop(held);
            current_trace()
        }))
        .await
        .unwrap()
    });
    assert_eq!(seen, Some(trail.trace_id()));
}

#[test]
fn future_keeps_trail_when_moved_between_threads() {
    let trail = Trail::start(Sample::Always);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let mut polls = 0;
    let mut future = Box::pin(trail.scope(poll_fn(move |_| {
        record.lock().unwrap().push((std::thread::current().id(), current_trace()));
        polls += 1;
        if polls < 8 { Poll::Pending } else { Poll::Ready(()) }
    })));
    for _ in 0..8 {
        let polled = std::thread::spawn(move || {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = future.as_mut().poll(&mut cx);
            assert_eq!(current_trace(), None);
            future
        });
        future = polled.join().unwrap();
    }
    let seen = seen.lock().unwrap();
    let threads: std::collections::HashSet<_> = seen.iter().map(|(thread, _)| *thread).collect();
    assert_eq!((threads.len(), seen.len()), (8, 8));
    assert!(seen.iter().all(|(_, current)| *current == Some(trail.trace_id())));
}

/// Work while a thread shuts down. Whether a trail can be current there depends on which thread locals are left.
struct AtShutdown(Sender<[Option<TraceId>; 3]>);

impl Drop for AtShutdown {
    fn drop(&mut self) {
        let trail = Trail::start(Sample::Always);
        let seen = [current_trace(), trail.in_scope(current_trace), block_on(trail.scope(async { current_trace() }))];
        // A message that cannot be sent is missing from the count in the test.
        let _ = self.0.send(seen);
    }
}

#[test]
fn thread_shutdown_has_no_trail_and_does_not_panic() {
    thread_local! {
        static BEFORE: OnceCell<AtShutdown> = const { OnceCell::new() };
        static AFTER: OnceCell<AtShutdown> = const { OnceCell::new() };
    }
    let (sender, seen) = channel();
    let thread = std::thread::spawn(move || {
        // The order in which thread locals are dropped is unspecified; one of the two is dropped after the crate's own.
        BEFORE.with(|end| assert!(end.set(AtShutdown(sender.clone())).is_ok()));
        Trail::start(Sample::Always).in_scope(|| assert!(current_trace().is_some()));
        AFTER.with(|end| assert!(end.set(AtShutdown(sender)).is_ok()));
    });
    thread.join().unwrap();
    let seen: Vec<_> = seen.iter().collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen[0].is_none()));
    assert!(seen.contains(&[None; 3]), "{seen:?}");
}

#[test]
fn joined_requests_keep_trails_apart() {
    let (one, other) = (Trail::start(Sample::Always), Trail::start(Sample::Always));
    let expect = |trail: &Trail| {
        let expected = Some(trail.trace_id());
        trail.scope(async move {
            for _ in 0..100 {
                assert_eq!(current_trace(), expected);
                yield_now().await;
            }
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::join!(expect(&one), expect(&other)) });
}
