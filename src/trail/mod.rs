//! What one request carries: [`Trail`].

mod current;
mod hook;
mod scoped;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;

pub(crate) use self::current::enter;
use self::hook::Hooked;
pub use self::hook::{Attach, ContextHook};
#[cfg(feature = "tower")]
pub(crate) use self::scoped::InTrail;
pub use self::scoped::Scoped;
use crate::header::{InvalidTags, ParentId, Tags, TraceContext, TraceFlags, TraceId, TraceParent, TraceState};
use crate::policy::Sample;

/// What one request carries: its trace, its tags, and the id of the operation that handles it.
///
/// A server layer creates a trail for each request, and a client layer sends it. The trail is in the request's
/// extensions, and it is *current* while the request is handled: [`Trail::current`] returns it anywhere in the handler.
/// It is kept in a thread-local, and not in a span, so that it works without a tracing subscriber.
///
/// Cloning is cheap: clones share the same trail.
///
/// ```
/// use tagtrail::{Sample, Tags, Trail};
///
/// let trail = Trail::start(Sample::Always).with_tags(Tags::from_pairs([("project", "blog")])?);
/// trail.in_scope(|| {
///     assert_eq!(Trail::current().unwrap().tags().get("project"), Some("blog"));
/// });
/// assert!(Trail::current().is_none());
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

struct Inner {
    /// Its parent-id is the id of this operation.
    context: TraceContext,
    parent_span_id: Option<ParentId>,
    tags: Tags,
    invalid_tags: Option<Box<InvalidTags>>,
    send_listener: Mutex<Option<SendListener>>,
    hooked: Option<Hooked>,
}

type SendListener = Arc<dyn Fn(ParentId) + Send + Sync>;

impl Trail {
    /// Starts a new trace, without tags. `sample` decides its `sampled` flag, which asks receivers to record the
    /// trace.
    ///
    /// # Panics
    ///
    /// If the operating system provides no randomness.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a call reads better without a reference")]
    pub fn start(sample: Sample) -> Self {
        let parent = TraceParent::random(TraceFlags::default());
        let is_sampled = sample.is_sampled(parent.trace_id());
        let parent = parent.with_flags(parent.flags().with_sampled(is_sampled));
        Self::new(TraceContext::new(parent, TraceState::empty()), None)
    }

    /// Continues a trace that was received, for work that arrives other than by HTTP, such as a message from a queue.
    /// The operation gets its own id; the received parent-id becomes the [`parent_span_id`](Self::parent_span_id).
    ///
    /// # Panics
    ///
    /// If the operating system provides no randomness.
    ///
    /// ```
    /// use tagtrail::{TraceContext, TraceState, Trail};
    ///
    /// let received = TraceContext::new(
    ///     "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?,
    ///     TraceState::empty(),
    /// );
    /// let trail = Trail::from_context(received);
    /// assert_eq!(trail.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    /// assert_eq!(trail.parent_span_id().unwrap().to_string(), "b7ad6b7169203331");
    /// # Ok::<_, tagtrail::InvalidTraceParent>(())
    /// ```
    #[must_use]
    pub fn from_context(received: TraceContext) -> Self {
        let (parent, state) = received.into_parts();
        Self::new(TraceContext::new(parent.child(), state), Some(parent.parent_id()))
    }

    /// Continues the trace that a response names, so that later requests belong to it. The trail has no tags. Returns
    /// `None` if the response names no trace, or only in invalid headers: see
    /// [`TraceParent::from_response_headers`].
    ///
    /// The server then chooses the trace-id and the `sampled` flag of the requests that follow, so use this only with
    /// servers that you trust.
    ///
    /// # Panics
    ///
    /// If the operating system provides no randomness.
    ///
    /// ```
    /// # let response = http::Response::builder()
    /// #     .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    /// #     .body(())
    /// #     .unwrap();
    /// use tagtrail::Trail;
    ///
    /// if let Some(trail) = Trail::from_response_headers(response.headers()) {
    ///     trail.in_scope(|| { /* a request that is sent here continues the trace of the response */ });
    /// }
    /// ```
    #[must_use]
    pub fn from_response_headers(headers: &HeaderMap) -> Option<Self> {
        let parent = TraceParent::from_response_headers(headers).ok()??;
        Some(Self::from_context(TraceContext::new(parent, TraceState::empty())))
    }

    #[inline]
    fn new(context: TraceContext, parent_span_id: Option<ParentId>) -> Self {
        Self(Arc::new(Inner {
            context,
            parent_span_id,
            tags: Tags::empty(),
            invalid_tags: None,
            send_listener: Mutex::new(None),
            hooked: None,
        }))
    }

    /// Returns the current trail: that of the request which is being handled here.
    ///
    /// The current trail follows a future through its polls, on whatever thread they happen. It does not follow spawned
    /// work: wrap that in [`scope`](Self::scope) or [`in_scope`](Self::in_scope).
    #[inline]
    #[must_use]
    pub fn current() -> Option<Self> {
        current::get()
    }

    /// Runs a closure with this trail as the current one.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        let mut slot = Some(self.clone());
        let (_entered, _attached) = enter(&mut slot);
        f()
    }

    /// Wraps a future so that this trail is the current one whenever the future is polled, and while it is dropped.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// use tagtrail::{Sample, Trail};
    ///
    /// let trail = Trail::start(Sample::Always);
    /// let task = tokio::spawn(trail.scope(async { Trail::current().unwrap().trace_id() }));
    /// assert_eq!(task.await.unwrap(), trail.trace_id());
    /// # }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped::new(self.clone(), future)
    }

    /// Returns the id of the trace.
    pub fn trace_id(&self) -> TraceId {
        self.traceparent().trace_id()
    }

    /// Returns the id of the operation that handles this request. It is created when the request arrives, and the
    /// response names it. It is neither the caller's parent-id, nor that of a request sent in the meantime.
    pub fn span_id(&self) -> ParentId {
        self.traceparent().parent_id()
    }

    /// Returns the parent-id that the caller sent; `None` if the trace started here.
    pub fn parent_span_id(&self) -> Option<ParentId> {
        self.0.parent_span_id
    }

    /// Returns the flags of the trace.
    pub fn flags(&self) -> TraceFlags {
        self.traceparent().flags()
    }

    /// Returns the trace, this operation and the flags, as the response carries them.
    pub fn traceparent(&self) -> &TraceParent {
        self.0.context.traceparent()
    }

    /// Returns the `tracestate`: vendor-specific data added along the way.
    pub fn tracestate(&self) -> &TraceState {
        self.0.context.tracestate()
    }

    /// Returns the tags of the request.
    pub fn tags(&self) -> &Tags {
        &self.0.tags
    }

    /// Returns what is wrong with the tags that the caller sent, if the layer
    /// [ignores invalid tags](crate::InvalidTagsPolicy::ignore).
    pub fn invalid_tags(&self) -> Option<&InvalidTags> {
        self.0.invalid_tags.as_deref()
    }

    /// Returns the same trail with other tags, for requests that are sent with it: put it in their extensions, or make
    /// it current.
    #[must_use]
    pub fn with_tags(&self, tags: Tags) -> Self {
        let mut trail = self.clone();
        trail.set_tags(tags, None);
        trail.renew_context()
    }

    /// Returns the same trail with another `tracestate`, for requests that are sent with it.
    #[must_use]
    pub fn with_tracestate(&self, state: TraceState) -> Self {
        let mut trail = self.clone();
        Arc::make_mut(&mut trail.0).context = TraceContext::new(*self.traceparent(), state);
        trail.renew_context()
    }

    /// Returns the same trail with a [`ContextHook`], whose context is attached whenever the trail is current. A
    /// server's trails get theirs from [`Inbound::context_hook`](crate::Inbound::context_hook); this is for trails that
    /// you create yourself.
    #[must_use]
    pub fn with_context_hook(&self, hook: impl ContextHook) -> Self {
        self.clone().hooked(Arc::new(hook))
    }

    /// Registers a callback for the parent-id of every request that is sent with this trail, so that a log can show the
    /// trace as a tree. Callbacks run before the request is sent, in the order they were added. All clones of the trail
    /// share them, and so does a trail that [`with_tags`](Self::with_tags) creates from it afterwards.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// use http::{Extensions, HeaderMap, Uri};
    /// use tagtrail::{Disclose, InvalidTags, Outbound, Sample, Trail};
    ///
    /// let sent = Arc::new(Mutex::new(Vec::new()));
    /// let trail = Trail::start(Sample::Always);
    /// let listener = Arc::clone(&sent);
    /// trail.add_send_listener(move |id| listener.lock().unwrap().push(id));
    ///
    /// let (uri, mut headers) = (Uri::from_static("http://users.example/"), HeaderMap::new());
    /// trail.in_scope(|| Outbound::new(Disclose::All).apply(&uri, &mut headers, &Extensions::new()))?;
    /// let id = sent.lock().unwrap()[0].to_string();
    /// assert!(headers["traceparent"].to_str().unwrap().contains(&id));
    /// # Ok::<_, InvalidTags>(())
    /// ```
    pub fn add_send_listener(&self, listener: impl Fn(ParentId) + Send + Sync + 'static) {
        let mut slot = self.0.send_listener();
        *slot = Some(match slot.take() {
            None => Arc::new(listener),
            Some(earlier) => Arc::new(move |id| {
                earlier(id);
                listener(id);
            }),
        });
    }

    /// Returns the `traceparent` of a request that is sent now, and notifies the listeners. It has a new parent-id, or
    /// that of the parent span, if this is a span of the same trace.
    #[inline]
    pub(crate) fn next_traceparent(&self, parent_span: Option<&TraceParent>) -> TraceParent {
        let next = match parent_span {
            Some(span) if span.trace_id() == self.trace_id() => {
                span.with_flags(self.flags().with_sampled(span.flags().is_sampled()))
            }
            _ => self.traceparent().child(),
        };
        // A listener may add another one, so it is not called under the lock.
        let listener = self.0.send_listener().clone();
        if let Some(listener) = listener {
            listener(next.parent_id());
        }
        next
    }

    /// Sets the tags, in place if there are no clones of the trail.
    #[inline]
    pub(crate) fn set_tags(&mut self, tags: Tags, invalid_tags: Option<Box<InvalidTags>>) {
        let inner = Arc::make_mut(&mut self.0);
        inner.tags = tags;
        inner.invalid_tags = invalid_tags;
    }

    /// Returns the same trail with the context that the hook creates for it.
    pub(crate) fn hooked(mut self, hook: Arc<dyn ContextHook>) -> Self {
        let context = hook.context(&self);
        Arc::make_mut(&mut self.0).hooked = Some(Hooked { hook, context });
        self
    }

    /// Has the hook create the context of a changed trail.
    fn renew_context(self) -> Self {
        match &self.0.hooked {
            Some(hooked) => {
                let hook = Arc::clone(&hooked.hook);
                self.hooked(hook)
            }
            None => self,
        }
    }
}

impl Inner {
    #[inline]
    fn send_listener(&self) -> MutexGuard<'_, Option<SendListener>> {
        // The value is never left half-updated, so poisoning can be ignored.
        self.send_listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            parent_span_id: self.parent_span_id,
            tags: self.tags.clone(),
            invalid_tags: self.invalid_tags.clone(),
            send_listener: Mutex::new(self.send_listener().clone()),
            hooked: self.hooked.clone(),
        }
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail")
            .field("traceparent", self.traceparent())
            .field("parent_span_id", &self.parent_span_id())
            .field("tracestate", self.tracestate())
            .field("tags", self.tags())
            .finish_non_exhaustive()
    }
}
