//! Send listeners, and hooks.

use std::any::Any;
use std::sync::{Arc, Mutex};

use tagtrail::{Attach, ContextHook, Disclose, Tags, Trail};

use super::{get, send, sent, trail_with_state};

#[tokio::test]
async fn send_listeners_receive_every_parent_id() {
    let trail = trail_with_state();
    let log = Arc::new(Mutex::new(Vec::new()));
    let first = Arc::clone(&log);
    trail.add_send_listener(move |id| first.lock().unwrap().push((1, id)));
    let derived = trail.with_tags(Tags::empty());
    // The second listener runs after the first, and only for this trail and its clones.
    let second = Arc::clone(&log);
    trail.clone().add_send_listener(move |id| second.lock().unwrap().push((2, id)));
    let mut expected = Vec::new();
    for (trail, listeners) in [(&trail, &[1, 2][..]), (&derived, &[1])] {
        let headers = trail.scope(send(Disclose::TraceOnly, get())).await.unwrap();
        expected.extend(listeners.iter().map(|&listener| (listener, sent(&headers).parent_id())));
    }
    trail.scope(send(Disclose::Nothing, get())).await.unwrap();
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test]
async fn send_listener_can_register_another() {
    let calls = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&calls);
    let trail = trail_with_state();
    trail.add_send_listener(move |_| {
        let counter = Arc::clone(&counter);
        Trail::current().unwrap().add_send_listener(move |_| *counter.lock().unwrap() += 1);
    });
    for expected in [0, 1, 3] {
        trail.scope(send(Disclose::All, get())).await.unwrap();
        assert_eq!(*calls.lock().unwrap(), expected);
    }
}

/// A hook whose guard records whether a trail is current when the context is detached.
struct Recorder(Arc<Mutex<Vec<bool>>>);

impl ContextHook for Recorder {
    fn context(&self, _: &Trail) -> Arc<dyn Attach> {
        Arc::new(Self(Arc::clone(&self.0)))
    }
}

impl Attach for Recorder {
    fn attach(&self) -> Option<Box<dyn Any>> {
        Some(Box::new(Detach(Arc::clone(&self.0))))
    }
}

struct Detach(Arc<Mutex<Vec<bool>>>);

impl Drop for Detach {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(Trail::current().is_some());
    }
}

#[tokio::test]
async fn context_is_detached_while_trail_is_current() {
    let detached = Arc::new(Mutex::new(Vec::new()));
    let trail = trail_with_state().with_context_hook(Recorder(Arc::clone(&detached)));
    trail.in_scope(|| ());
    trail.scope(async {}).await;
    drop(trail.scope(std::future::pending::<()>()));
    let detached = detached.lock().unwrap();
    assert!(detached.len() >= 3 && detached.iter().all(|&is_current| is_current), "{detached:?}");
}
