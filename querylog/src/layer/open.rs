//! A request that is being handled: its record until it is written, and the handle with which a handler adds to it.

use std::fmt::{self, Display};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};
use tagtrail::{ParentId, Trail};
use uuid::Uuid;

use crate::layer::error_text::error_text;
use crate::layer::grpc::{is_grpc, note_call};
use crate::layer::hold::acknowledged;
use crate::layer::options::Options;
use crate::model::grpc::UNKNOWN;
use crate::model::record::{MAX_SENT, Notes, Outcome, Record};
use crate::queue::ack::{Ack, AppendError};

/// Adds to the record of the request that is being handled what only the service knows.
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
///         notes.add("rows", 17);
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
    started: Start,
    body_bytes: AtomicU64,
    added: Mutex<Added>,
}

/// The start of a record.
struct Start {
    /// `None` if the request is not in the sample.
    ack: Option<Ack>,
    /// Until when callers wait for it; `None` without limit.
    deadline: Option<Instant>,
    /// What the first of those who wait has learned, which is the result for all.
    result: OnceLock<Result<(), AppendError>>,
}

impl Start {
    async fn wait(&self) -> Result<(), AppendError> {
        let Some(ack) = &self.ack else { return Err(AppendError::NotSampled) };
        if let Some(result) = self.result.get() {
            return *result;
        }
        let result = acknowledged(ack.clone(), self.deadline).await;
        *self.result.get_or_init(|| result)
    }
}

#[derive(Default)]
struct Added {
    notes: Notes,
    sent: Vec<ParentId>,
    /// Whether the record is on its way.
    ended: bool,
}

impl RecordHandle {
    /// Adds to the record, and returns what the closure returns; or `None`, without calling it, once the response has
    /// ended and the record is on its way.
    ///
    /// The closure runs under a lock: do not call `update` in it again.
    pub fn update<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> Option<T> {
        let mut added = self.0.lock();
        (!added.ended).then(|| change(&mut added.notes))
    }

    /// Returns the id of the record, to be stored with what the request caused.
    pub fn record_id(&self) -> Uuid {
        self.0.id
    }

    /// Waits until the start of the record is as safe as its log makes it: for a handler that must not act without a
    /// record. Files have a record only when its request has ended, so with files alone, this returns at once. Every call
    /// gives the same result.
    ///
    /// With a [`Spool`](crate::Spool), the start is safe when it is in the store or in the spool.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use tagtrail_querylog::RecordHandle;
    ///
    /// async fn pay(record: RecordHandle) -> Result<&'static str, StatusCode> {
    ///     record.started().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    ///     Ok("paid")
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/pay", axum::routing::post(pay));
    /// ```
    ///
    /// # Errors
    ///
    /// If the start is not in the log: [`AppendError::TimedOut`] if that is not known within
    /// [5 seconds](crate::QueryLogLayer::acknowledged_within) of the start of the request, and
    /// [`AppendError::NotSampled`] if the layer has a [`sample`](crate::QueryLogLayer::sample) and the request is not in
    /// it.
    pub async fn started(&self) -> Result<(), AppendError> {
        self.0.started.wait().await
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

/// A request that is being handled. It gets a record whatever happens to it: one that is dropped was aborted, unless its
/// response was whole.
pub(crate) struct Open(Option<Box<Pending>>);

struct Pending {
    record: Record,
    start: Instant,
    /// How many bytes the response body has, if that is known.
    expected: Option<u64>,
    /// Whether the response is one of gRPC.
    grpc: bool,
    shared: Arc<Shared>,
    options: Arc<Options>,
    /// The weight of the start, if room is reserved for the end.
    reserved: Option<usize>,
}

impl Open {
    /// Starts the record, and listens to the calls that are made with the trail. Returns `None` if there is no room for
    /// the record, and the policy of the log is to fail.
    pub(crate) fn start(record: Record, trail: &Trail, options: &Arc<Options>) -> Option<(Self, RecordHandle)> {
        let reserved = options.log.reserves().then(|| record.weight());
        if reserved.is_some_and(|weight| !options.log.reserve(weight)) {
            return None;
        }
        let start = Instant::now();
        let started = Start {
            ack: options.samples(&record).then(|| options.log.begin_limited(&record)),
            deadline: start.checked_add(options.acknowledged_within),
            result: OnceLock::new(),
        };
        let shared = Arc::new(Shared {
            id: record.id,
            started,
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
        options.log.opened();
        let handle = RecordHandle(Arc::clone(&shared));
        let options = Arc::clone(options);
        let pending = Pending { record, start, expected: None, grpc: false, shared, options, reserved };
        Some((Self(Some(Box::new(pending))), handle))
    }

    /// The response has started. Its body has this many bytes, if that is known.
    pub(crate) fn responded(&mut self, status: StatusCode, headers: &HeaderMap, body_bytes: Option<u64>) {
        if let Some(pending) = &mut self.0 {
            pending.record.response.status = Some(status.as_u16());
            pending.grpc = is_grpc(headers);
            let no_body = pending.record.request.method == Method::HEAD
                || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            // After the body of a gRPC response its trailers follow.
            pending.expected = if no_body { Some(0) } else { body_bytes.filter(|_| !pending.grpc) };
            note_call(&mut pending.record, headers);
        }
    }

    /// Returns whether a response with this status is the last of HTTP on its connection. Its body is not read.
    pub(crate) fn is_upgrade(&self, status: StatusCode) -> bool {
        let is_connect = |pending: &Pending| pending.record.request.method == Method::CONNECT;
        status == StatusCode::SWITCHING_PROTOCOLS
            || (status.is_success() && self.0.as_ref().is_some_and(|pending| is_connect(pending)))
    }

    /// The response has ended with these trailers.
    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(pending) = &mut self.0 {
            note_call(&mut pending.record, trailers);
        }
    }

    /// The service or the response's body has failed. The record ends.
    pub(crate) fn fail<E: Display + 'static>(&mut self, error: &E) -> Option<Ack> {
        let most = self.0.as_ref().map(|pending| pending.options.limits.text)?;
        let text = self.guard(|| error_text(error, most));
        if let Some(pending) = &mut self.0 {
            pending.record.response.error = Some(text);
        }
        self.end(Outcome::Failed)
    }

    /// This many bytes of the response body were handed to the server. Returns whether the body is whole with them.
    pub(crate) fn sent(&mut self, bytes: usize) -> bool {
        self.0.as_mut().is_some_and(|pending| {
            pending.record.response.body_bytes += bytes as u64;
            pending.is_whole()
        })
    }

    /// Ends the record, and appends it; `None` if it has ended before, or the layer does not keep it.
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
        let Self { mut record, start, grpc, shared, options, reserved, .. } = *self;
        record.end(start.elapsed(), outcome);
        if grpc && outcome == Outcome::Complete {
            record.response.grpc_status.get_or_insert(UNKNOWN);
        }
        record.request.body_bytes = shared.body_bytes.load(Relaxed);
        {
            let mut added = shared.lock();
            added.ended = true;
            record.notes = std::mem::take(&mut added.notes);
            record.sent = std::mem::take(&mut added.sent);
        }
        record.limit(&options.limits);
        let log = &options.log;
        // A closure of the service decides. If it panics, the record is kept; not further, since this may be a drop.
        let keeps = panic::catch_unwind(AssertUnwindSafe(|| options.keeps(&record))).unwrap_or(true);
        let ack = keeps.then(|| log.append_owned(record, reserved));
        if let (None, Some(weight)) = (&ack, reserved) {
            log.release(weight);
        }
        log.ended();
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
