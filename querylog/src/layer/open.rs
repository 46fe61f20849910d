//! A request that is being handled: its record until it is written, and the handle by which a handler adds to it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Method, StatusCode};
use tagtrail::{ParentId, Trail};
use uuid::Uuid;

use crate::layer::QueryLogLayer;
use crate::model::record::{MAX_SENT, Notes, Outcome, Record};
use crate::queue::ack::{Ack, AppendError};

/// The record of the request that is being handled: a service adds to it what only it knows.
///
/// It is in the request's extensions, and with the `axum` feature it is an extractor.
///
/// ```
/// use axum::extract::Path;
/// use tagtrail_querylog::RecordHandle;
///
/// async fn report(Path(id): Path<u32>, record: RecordHandle) -> String {
///     record.update(|notes| {
///         notes.caller.user_id = Some("ada".into());
///         notes.operation.name = Some("report".into());
///         notes.count("rows", 17);
///     });
///     format!("report {id}")
/// }
/// # let _: axum::Router = axum::Router::new().route("/report/{id}", axum::routing::get(report));
/// ```
#[derive(Clone)]
pub struct RecordHandle(Arc<Shared>);

/// What handler, bodies and outbound calls add to a record.
struct Shared {
    id: Uuid,
    /// The acknowledgement of the begin, until somebody waits for it.
    begun: Option<Ack>,
    body_bytes: AtomicU64,
    added: Mutex<Added>,
}

#[derive(Default)]
struct Added {
    notes: Notes,
    sent: Vec<ParentId>,
    /// The record is on its way.
    ended: bool,
}

impl RecordHandle {
    /// Adds to the record, and returns what the closure does; `None`, without calling it, once the answer has ended and
    /// the record is on its way.
    pub fn update<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> Option<T> {
        let mut added = self.0.lock();
        (!added.ended).then(|| change(&mut added.notes))
    }

    /// The id of the record, to be stored beside what the request caused.
    pub fn record_id(&self) -> Uuid {
        self.0.id
    }

    /// Waits until the begin of the record is as safe as its log makes it: for a handler that must not do what is not on
    /// record. Files have a record when it ends, so there is nothing to wait for.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use tagtrail_querylog::RecordHandle;
    ///
    /// async fn pay(record: RecordHandle) -> Result<&'static str, StatusCode> {
    ///     record.begun().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    ///     Ok("paid")
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/pay", axum::routing::post(pay));
    /// ```
    ///
    /// # Errors
    ///
    /// If the begin is not in the log.
    pub async fn begun(&self) -> Result<(), AppendError> {
        match &self.0.begun {
            Some(begun) => begun.clone().await,
            None => Err(AppendError::NotSampled),
        }
    }

    pub(crate) fn count_body(&self, bytes: usize) {
        self.0.body_bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl fmt::Debug for RecordHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordHandle").field("record_id", &self.0.id).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Added> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being handled. It has a record whatever becomes of it: one that is dropped was aborted, unless its
/// answer was whole.
pub(crate) struct Open(Option<Box<Pending>>);

struct Pending {
    record: Record,
    begin: Instant,
    /// How many bytes the body of the answer has, where that is known.
    expected: Option<u64>,
    shared: Arc<Shared>,
    layer: QueryLogLayer,
}

impl Open {
    /// Begins, and listens to the calls that are made with the trail.
    pub(crate) fn begin(record: Record, trail: &Trail, layer: &QueryLogLayer) -> (Self, RecordHandle) {
        let begun = layer.samples(&record).then(|| layer.log().begin(&record));
        let shared = Arc::new(Shared {
            id: record.id,
            begun,
            body_bytes: AtomicU64::new(0),
            added: Mutex::new(Added { notes: record.notes.clone(), ..Added::default() }),
        });
        let listener = Arc::clone(&shared);
        trail.add_send_listener(move |id| {
            let mut added = listener.lock();
            if added.sent.len() < MAX_SENT {
                added.sent.push(id);
            }
        });
        layer.log().opened();
        let handle = RecordHandle(Arc::clone(&shared));
        let pending = Pending { record, begin: Instant::now(), expected: None, shared, layer: layer.clone() };
        (Self(Some(Box::new(pending))), handle)
    }

    /// The answer has begun. Its body has so many bytes, where that is known.
    pub(crate) fn answered(&mut self, status: StatusCode, body_bytes: Option<u64>) {
        if let Some(pending) = &mut self.0 {
            pending.record.response.status = Some(status.as_u16());
            let no_body = pending.record.request.method == Method::HEAD
                || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            pending.expected = if no_body { Some(0) } else { body_bytes };
        }
    }

    /// So many bytes of the body of the answer were handed to the server. Whether the body is whole with them.
    pub(crate) fn sent(&mut self, bytes: usize) -> bool {
        self.0.as_mut().is_some_and(|pending| {
            pending.record.response.body_bytes += bytes as u64;
            pending.is_whole()
        })
    }

    /// Ends the record, and appends it; `None` where it has ended before, or the layer does not keep it.
    pub(crate) fn end(&mut self, outcome: Outcome) -> Option<Ack> {
        self.0.take()?.end(outcome)
    }

    /// Runs the closure, and ends the record if it panics.
    pub(crate) fn guard<T>(&mut self, closure: impl FnOnce() -> T) -> T {
        let mut guard = Guard { open: self, armed: true };
        let value = closure();
        guard.armed = false;
        value
    }
}

impl Pending {
    fn is_whole(&self) -> bool {
        self.expected.is_some_and(|expected| self.record.response.body_bytes >= expected)
    }

    fn end(self: Box<Self>, outcome: Outcome) -> Option<Ack> {
        let Self { mut record, begin, shared, layer, .. } = *self;
        record.end(begin.elapsed(), outcome);
        record.request.body_bytes = shared.body_bytes.load(Relaxed);
        {
            let mut added = shared.lock();
            added.ended = true;
            record.notes = std::mem::take(&mut added.notes);
            record.sent = std::mem::take(&mut added.sent);
        }
        let ack = layer.keeps(&record).then(|| layer.log().append_owned(record));
        layer.log().ended();
        ack
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            let outcome = if pending.is_whole() { Outcome::Complete } else { Outcome::Aborted };
            pending.end(outcome);
        }
    }
}

struct Guard<'a> {
    open: &'a mut Open,
    armed: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.open.end(Outcome::Panicked);
        }
    }
}
