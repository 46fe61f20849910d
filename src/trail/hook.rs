//! The extension point for tracing systems: what else is current while a trail is.

use std::any::Any;
use std::sync::Arc;

use super::Trail;

/// Creates the context of another tracing system for each trail. The context is attached whenever the trail is current:
/// while a handler is called, its future and its response body are polled, and while they are dropped.
///
/// Give one to [`Inbound::context_hook`](crate::Inbound::context_hook), or to [`Trail::with_context_hook`]. In the other
/// direction, [`Outbound::parent_span`](crate::Outbound::parent_span) takes the span that is the parent of a request
/// that is sent.
///
/// ```
/// use std::any::Any;
/// use std::cell::Cell;
/// use std::sync::Arc;
///
/// use tagtrail::{Attach, ContextHook, Sample, TraceId, Trail};
///
/// thread_local! {
///     /// The trace-id that a logger adds to each line.
///     static TRACE_ID: Cell<Option<TraceId>> = const { Cell::new(None) };
/// }
///
/// struct LogContext;
///
/// impl ContextHook for LogContext {
///     fn context(&self, trail: &Trail) -> Arc<dyn Attach> {
///         Arc::new(Logged(trail.trace_id()))
///     }
/// }
///
/// struct Logged(TraceId);
///
/// impl Attach for Logged {
///     fn attach(&self) -> Option<Box<dyn Any>> {
///         Some(Box::new(Restore(TRACE_ID.replace(Some(self.0)))))
///     }
/// }
///
/// /// Restores the previous trace-id when it is dropped.
/// struct Restore(Option<TraceId>);
///
/// impl Drop for Restore {
///     fn drop(&mut self) {
///         TRACE_ID.set(self.0);
///     }
/// }
///
/// let trail = Trail::start(Sample::Always).with_context_hook(LogContext);
/// trail.in_scope(|| assert_eq!(TRACE_ID.get(), Some(trail.trace_id())));
/// assert_eq!(TRACE_ID.get(), None);
/// ```
pub trait ContextHook: Send + Sync + 'static {
    /// Creates the context of a trail. Called once when the trail is created, and again for each trail that
    /// [`with_tags`](Trail::with_tags) or [`with_tracestate`](Trail::with_tracestate) creates from it.
    ///
    /// Read what you need from `trail`, and do not keep a clone of it: the trail that requests get is a different one,
    /// with this context attached.
    fn context(&self, trail: &Trail) -> Arc<dyn Attach>;
}

/// The context that a [`ContextHook`] creates for one trail.
pub trait Attach: Send + Sync + 'static {
    /// Makes the context current on this thread until the returned guard is dropped, which happens on the same thread,
    /// in reverse order. When this is called, the previous trail is still the current one; when the guard is dropped,
    /// this trail still is. `None` leaves everything as it is.
    fn attach(&self) -> Option<Box<dyn Any>>;
}

/// A hook, and the context that it created for this trail.
#[derive(Clone)]
pub(super) struct Hooked {
    pub(super) hook: Arc<dyn ContextHook>,
    pub(super) context: Arc<dyn Attach>,
}

impl Trail {
    /// Attaches the context of this trail, if it has one, until the returned guard is dropped.
    #[inline]
    pub(super) fn attach(&self) -> Option<Box<dyn Any>> {
        self.0.hooked.as_ref().and_then(attach)
    }
}

#[cold]
fn attach(hooked: &Hooked) -> Option<Box<dyn Any>> {
    hooked.context.attach()
}
