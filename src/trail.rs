//! What one request carries: [`Trail`].

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;

use crate::current::{self, Scoped};
use crate::policy::{Admit, Sample};
use crate::tags::{InvalidTags, Tags};
use crate::trace_context::TraceContext;
use crate::traceparent::{InvalidTraceParent, ParentId, TraceFlags, TraceId, TraceParent};
use crate::tracestate::TraceState;

/// What one request carries: its trace, its tags, and the id of the operation that handles it.
///
/// A server layer makes one for each request, and a client layer sends it on. It is in the request's extensions, and
/// it is *current* while the request is handled: [`Trail::current`] finds it from any depth. A clone is a reference to
/// the same trail, and costs next to nothing.
///
/// ```
/// use tagtrail::{Tags, Trail};
///
/// let trail = Trail::start(true).with_tags(Tags::new([("project", "blog")])?);
/// trail.enter(|| {
///     assert_eq!(Trail::current().unwrap().tags().get("project"), Some("blog"));
/// });
/// assert!(Trail::current().is_none());
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

struct Inner {
    /// The parent-id is that of this operation.
    context: TraceContext,
    caller: Option<ParentId>,
    tags: Tags,
    dropped_tags: Option<Box<InvalidTags>>,
    on_send: Mutex<Option<OnSend>>,
    companion: Option<Arc<dyn Companion>>,
}

type OnSend = Arc<dyn Fn(ParentId) + Send + Sync>;

/// What is current along with a trail, of another tracing system in the same program.
pub(crate) trait Companion: Send + Sync {
    /// The companion, of this one's kind, of a trail.
    fn of(&self, trail: &Trail) -> Arc<dyn Companion>;

    /// Makes it current until what is returned is dropped.
    fn attach(&self) -> Option<Box<dyn Any>>;
}

impl Trail {
    /// Starts a new trace, without tags. `sampled` is the flag that asks those who receive it to record the trace.
    #[must_use]
    pub fn start(sampled: bool) -> Self {
        Inner::of(TraceContext::new(TraceParent::random(sampled), TraceState::empty()), None).into()
    }

    /// Goes on with a trace that was received: for what comes by another way than an HTTP request, such as a message
    /// queue. The operation gets an id of its own; the received parent-id becomes the [`caller`](Self::caller).
    ///
    /// ```
    /// use tagtrail::{TraceContext, TraceState, Trail};
    ///
    /// let received = TraceContext::new(
    ///     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?,
    ///     TraceState::empty(),
    /// );
    /// let trail = Trail::continued(received);
    /// assert_eq!(trail.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    /// assert_eq!(trail.caller().unwrap().to_string(), "b7ad6b7169203331");
    /// # Ok::<_, tagtrail::InvalidTraceParent>(())
    /// ```
    #[must_use]
    pub fn continued(received: TraceContext) -> Self {
        Inner::continued(received, |flags| flags).into()
    }

    /// Goes on with the trace that an answer names, so that later requests belong to it; `None` where the answer names
    /// none. Has no tags.
    ///
    /// ```
    /// # let answer = http::Response::builder()
    /// #     .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    /// #     .body(())
    /// #     .unwrap();
    /// use tagtrail::Trail;
    ///
    /// if let Some(trail) = Trail::of_answer(answer.headers()) {
    ///     trail.enter(|| { /* a request that is made here carries the trace of the answer */ });
    /// }
    /// ```
    #[must_use]
    pub fn of_answer(headers: &HeaderMap) -> Option<Self> {
        let answered = TraceParent::of_answer(headers)?;
        Some(Self::continued(TraceContext::new(answered, TraceState::empty())))
    }

    /// The trace of a request that arrived, by the table of the spec's section "Processing Model".
    #[inline]
    pub(crate) fn received(
        context: Result<Option<TraceContext>, InvalidTraceParent>,
        tags: Tags,
        dropped_tags: Option<Box<InvalidTags>>,
        admit: impl FnOnce() -> Admit,
        sample: impl FnOnce() -> Sample,
    ) -> Self {
        let inner = match context.ok().flatten().map(|received| (admit(), received)) {
            Some((Admit::Continue, received)) => Inner::continued(received, |flags| flags),
            Some((Admit::Unsample, received)) => Inner::continued(received, |flags| flags.with_sampled(false)),
            Some((Admit::Restart, _)) | None => Inner::sampled_by(sample()),
        };
        Inner { tags, dropped_tags, ..inner }.into()
    }

    /// A new trace for a request that goes out without one.
    pub(crate) fn sampled_by(sample: Sample) -> Self {
        Inner::sampled_by(sample).into()
    }

    /// The current trail: that of the request which is being handled here.
    ///
    /// It follows a future through its polls, wherever they happen. It does not follow work that is spawned: give
    /// that the trail, by [`scope`](Self::scope) or [`enter`](Self::enter).
    #[inline]
    #[must_use]
    pub fn current() -> Option<Self> {
        current::get()
    }

    /// Runs a closure with this trail as the current one.
    pub fn enter<T>(&self, closure: impl FnOnce() -> T) -> T {
        let mut slot = Some(self.clone());
        let (_entered, _companion) = current::enter(&mut slot);
        closure()
    }

    /// Gives a future this trail as the current one, whenever it is polled, and while it is dropped.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use tagtrail::Trail;
    ///
    /// let trail = Trail::start(true);
    /// let task = tokio::spawn(trail.scope(async { Trail::current().unwrap().trace_id() }));
    /// assert_eq!(task.await.unwrap(), trail.trace_id());
    /// # }
    /// ```
    pub fn scope<F>(&self, future: F) -> Scoped<F> {
        Scoped::new(Some(self.clone()), future)
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.traceparent().trace_id()
    }

    /// The id of the operation that handles this request. It is made when the request arrives; the answer names it.
    /// It is neither the caller's parent-id nor that of a request that is sent meanwhile.
    pub fn operation_id(&self) -> ParentId {
        self.traceparent().parent_id()
    }

    /// The parent-id that the caller sent, where the caller's trace goes on; `None` where the trace started here.
    pub fn caller(&self) -> Option<ParentId> {
        self.0.caller
    }

    /// The flags of the trace.
    pub fn flags(&self) -> TraceFlags {
        self.traceparent().flags()
    }

    /// The trace, this operation and the flags, as the answer shows them.
    pub fn traceparent(&self) -> &TraceParent {
        self.0.context.traceparent()
    }

    /// What tracing systems along the way had to say.
    pub fn tracestate(&self) -> &TraceState {
        self.0.context.tracestate()
    }

    /// The tags of the request.
    pub fn tags(&self) -> &Tags {
        &self.0.tags
    }

    /// What was wrong with the tags that the caller sent, where the layer drops bad tags and goes on.
    pub fn dropped_tags(&self) -> Option<&InvalidTags> {
        self.0.dropped_tags.as_deref()
    }

    /// The same trail with other tags, for requests that are sent from here on. Enter it, or put it in their
    /// extensions.
    #[must_use]
    pub fn with_tags(&self, tags: Tags) -> Self {
        Self::from(Inner { tags, dropped_tags: None, ..self.0.copy() }).renew_companion()
    }

    /// The same trail with another `tracestate`, for requests that are sent from here on.
    #[must_use]
    pub fn with_tracestate(&self, state: TraceState) -> Self {
        let context = TraceContext::new(*self.traceparent(), state);
        Self::from(Inner { context, ..self.0.copy() }).renew_companion()
    }

    /// Adds a function that is told the parent-id of every request that is sent with this trail, so that a log can draw
    /// the trace as a tree. It is called before the request is sent. Every clone of the trail has it, and what is made
    /// of the trail by [`with_tags`](Self::with_tags) afterwards. Several are told in the order they were added.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// use http::{Extensions, HeaderMap, Uri};
    /// use tagtrail::{Disclose, InvalidTags, Outbound, Trail};
    ///
    /// let sent = Arc::new(Mutex::new(Vec::new()));
    /// let trail = Trail::start(true);
    /// let listener = Arc::clone(&sent);
    /// trail.on_send(move |id| listener.lock().unwrap().push(id));
    ///
    /// let (uri, mut headers) = (Uri::from_static("http://users.example/"), HeaderMap::new());
    /// trail.enter(|| Outbound::new(Disclose::All).apply(&uri, &mut headers, &Extensions::new()))?;
    /// let id = sent.lock().unwrap()[0].to_string();
    /// assert!(headers["traceparent"].to_str().unwrap().contains(&id));
    /// # Ok::<_, InvalidTags>(())
    /// ```
    pub fn on_send(&self, function: impl Fn(ParentId) + Send + Sync + 'static) {
        let mut on_send = self.0.on_send();
        *on_send = Some(match on_send.take() {
            None => Arc::new(function),
            Some(earlier) => Arc::new(move |id| {
                earlier(id);
                function(id);
            }),
        });
    }

    /// What a request that is sent now carries: a new parent-id, or that of the operation that is active in another
    /// tracing system, where it has one for this trace. It is told to whoever listens.
    #[inline]
    pub(crate) fn next_traceparent(&self, active: Option<&TraceParent>) -> TraceParent {
        let next = match active {
            Some(active) if active.trace_id() == self.trace_id() => {
                active.with_flags(self.flags().with_sampled(active.flags().is_sampled()))
            }
            _ => self.traceparent().child(),
        };
        // A listener may add another one, so it is not called under the lock.
        let on_send = self.0.on_send().clone();
        if let Some(on_send) = on_send {
            on_send(next.parent_id());
        }
        next
    }

    /// The same trail, with a companion of this kind.
    pub(crate) fn with_companion(&self, kind: &dyn Companion) -> Self {
        Inner { companion: Some(kind.of(self)), ..self.0.copy() }.into()
    }

    /// The companion of what was made of another trail.
    fn renew_companion(self) -> Self {
        match &self.0.companion {
            Some(companion) => self.with_companion(&**companion),
            None => self,
        }
    }

    /// Makes the companion, if there is one, current until what is returned is dropped.
    #[inline]
    pub(crate) fn attach_companion(&self) -> Option<Box<dyn Any>> {
        self.0.companion.as_deref().and_then(attach)
    }
}

/// Kept apart, so that a trail without a companion costs a branch.
#[cold]
fn attach(companion: &dyn Companion) -> Option<Box<dyn Any>> {
    companion.attach()
}

impl Inner {
    fn of(context: TraceContext, caller: Option<ParentId>) -> Self {
        Self { context, caller, tags: Tags::empty(), dropped_tags: None, on_send: Mutex::new(None), companion: None }
    }

    #[inline]
    fn continued(received: TraceContext, flags: impl FnOnce(TraceFlags) -> TraceFlags) -> Self {
        let (parent, state) = received.into_parts();
        let own = parent.child().with_flags(flags(parent.flags()));
        Self::of(TraceContext::new(own, state), Some(parent.parent_id()))
    }

    #[inline]
    fn sampled_by(sample: Sample) -> Self {
        let started = TraceParent::random(false);
        let flags = started.flags().with_sampled(sample.decide(started.trace_id()));
        Self::of(TraceContext::new(started.with_flags(flags), TraceState::empty()), None)
    }

    #[inline]
    fn on_send(&self) -> MutexGuard<'_, Option<OnSend>> {
        // It is whole whenever the lock is given back.
        self.on_send.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy(&self) -> Self {
        Self {
            context: self.context.clone(),
            caller: self.caller,
            tags: self.tags.clone(),
            dropped_tags: self.dropped_tags.clone(),
            on_send: Mutex::new(self.on_send().clone()),
            companion: self.companion.clone(),
        }
    }
}

impl From<Inner> for Trail {
    #[inline]
    fn from(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail")
            .field("traceparent", self.traceparent())
            .field("caller", &self.caller())
            .field("tracestate", self.tracestate())
            .field("tags", self.tags())
            .finish_non_exhaustive()
    }
}
