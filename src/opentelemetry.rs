//! The bridge to OpenTelemetry. Nothing else in the crate knows it.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::tags::Tags;
use crate::trace_context::TraceContext;
use crate::traceparent::{ParentId, TraceFlags, TraceId, TraceParent};
use crate::tracestate::TraceState;
use crate::trail::{Companion, Trail};

/// How a [`Trail`] becomes the parent of OpenTelemetry's spans: what its `Context` holds while the trail is current.
///
/// Without a setting, it holds a remote span of the trail's trace: the caller's, where the caller's trace goes on; else
/// the trail's own operation. A span that is started then, by OpenTelemetry's own API or by `tracing-opentelemetry`,
/// belongs to the trace of the trail, and a sampler that asks the parent (OpenTelemetry's default one does) decides as
/// [`Admit`](crate::Admit) and [`Sample`](crate::Sample) did.
///
/// A span of the same trace that is active already stays active: entering a trail inside of a span does not take
/// the span away from what is started there. Values that the `Context` held when the trail was made are kept.
///
/// ```
/// use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use tagtrail::{OpenTelemetry, Trail};
///
/// let tracer = SdkTracerProvider::default().tracer("docs");
/// let trail = Trail::start(true).with_opentelemetry(&OpenTelemetry::new());
/// trail.enter(|| {
///     tracer.in_span("work", |context| {
///         let trace_id = context.span().span_context().trace_id();
///         assert_eq!(trace_id.to_string(), trail.trace_id().to_string());
///     });
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct OpenTelemetry {
    baggage: Option<Cow<'static, str>>,
    own_roots: bool,
}

impl OpenTelemetry {
    /// The settings by default: the trace, and not the tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the tags into OpenTelemetry's baggage too, with this before each name.
    ///
    /// Baggage leaves the program by OpenTelemetry's own propagators, if those of baggage are installed. They know
    /// nothing of [`Disclose`](crate::Disclose): who is sent baggage is told the tags.
    pub fn tags_as_baggage(self, prefix: impl Into<Cow<'static, str>>) -> Self {
        Self { baggage: Some(prefix.into()), ..self }
    }

    /// Gives no parent to the first span of a trace that starts here, where otherwise it is a child of the trail's
    /// operation, which no one records: some tools then show a trace without a root.
    ///
    /// OpenTelemetry makes the id of such a trace itself, and asks the sampler anew. The SDK is to be given an
    /// `IdGenerator` that answers [`Trail::current`]'s trace-id, as the [recipes](crate::recipes) show, or it will make
    /// up another one.
    pub fn own_roots(self) -> Self {
        Self { own_roots: true, ..self }
    }

    fn context_of(&self, trail: &Trail) -> Context {
        let current = Context::current();
        let context = match trail.caller() {
            None if self.own_roots && !current.has_active_span() => current,
            // There is no taking a span out of a context, and samplers take an invalid one for one not sampled.
            None if self.own_roots => Context::new(),
            caller => current.with_remote_span_context(remote_span(
                &TraceParent::new(trail.trace_id(), caller.unwrap_or(trail.operation_id()), trail.flags()),
                trail.tracestate(),
            )),
        };
        self.with_baggage(&context, trail.tags()).unwrap_or(context)
    }

    /// The context with the tags as baggage, where that is asked for, and there are some.
    fn with_baggage(&self, context: &Context, tags: &Tags) -> Option<Context> {
        let prefix = self.baggage.as_deref().filter(|_| !tags.is_empty())?;
        let held = context.baggage().iter().map(|(key, held)| (key.clone(), held.clone()));
        let mut baggage: Baggage = held.collect();
        for (name, value) in tags.iter() {
            baggage.insert(format!("{prefix}{name}"), value.to_owned());
        }
        Some(context.with_baggage(baggage))
    }
}

/// With feature `opentelemetry`.
impl Inbound {
    /// Makes every trail the parent of OpenTelemetry's spans, as [`OpenTelemetry`] says, wherever the trail is current.
    ///
    /// Layers that start spans belong inside of this crate's layer: a span that is started outside of it, before there
    /// is a trail, is in a trace of its own.
    pub fn with_opentelemetry(mut self, bridge: &OpenTelemetry) -> Self {
        self.companion = Some(Bridged::start(bridge));
        self
    }
}

/// With feature `opentelemetry`.
impl Trail {
    /// The same trail as the parent of OpenTelemetry's spans, as [`OpenTelemetry`] says, wherever it is current. A
    /// server's trails are made so by [`Inbound::with_opentelemetry`]; this is for those made by hand.
    #[must_use]
    pub fn with_opentelemetry(&self, bridge: &OpenTelemetry) -> Self {
        self.with_companion(&*Bridged::start(bridge))
    }
}

/// With feature `opentelemetry`.
impl Outbound {
    /// Sends the id of OpenTelemetry's active span as the parent-id, and the span's sampling decision as the `sampled`
    /// flag, where such a span is of the request's trace. A request without a trail goes on with the trace of the span.
    ///
    /// The id is the span's, so each attempt of a retry needs a span of its own to have an id of its own. The
    /// `tracestate` that is sent is the trail's: members which a sampler of OpenTelemetry adds for its spans are not
    /// in it.
    pub fn with_opentelemetry(mut self) -> Self {
        self.active = Some(active_span);
        self
    }
}

/// With feature `opentelemetry`.
impl Tags {
    /// The tags as OpenTelemetry has attributes of spans, and baggage, with this before each name.
    ///
    /// ```
    /// use opentelemetry::KeyValue;
    /// use tagtrail::Tags;
    ///
    /// let tags = Tags::new([("project", "blog")])?;
    /// let attributes: Vec<_> = tags.key_values("tag.").collect();
    /// assert_eq!(attributes, [KeyValue::new("tag.project", "blog")]);
    /// # Ok::<_, tagtrail::InvalidTags>(())
    /// ```
    pub fn key_values(&self, prefix: &str) -> impl Iterator<Item = KeyValue> {
        self.iter().map(move |(name, value)| KeyValue::new(format!("{prefix}{name}"), value.to_owned()))
    }
}

/// A companion: the `Context` of one trail.
struct Bridged {
    bridge: OpenTelemetry,
    tags: Tags,
    trace_id: Option<TraceId>,
    context: Context,
}

impl Bridged {
    /// What those of trails are made of.
    fn start(bridge: &OpenTelemetry) -> Arc<Self> {
        Arc::new(Self { bridge: bridge.clone(), tags: Tags::empty(), trace_id: None, context: Context::new() })
    }
}

impl Companion for Bridged {
    fn of(&self, trail: &Trail) -> Arc<dyn Companion> {
        Arc::new(Self {
            bridge: self.bridge.clone(),
            tags: trail.tags().clone(),
            trace_id: Some(trail.trace_id()),
            context: self.bridge.context_of(trail),
        })
    }

    fn attach(&self) -> Option<Box<dyn Any>> {
        let context = with_current(|current| {
            let active = TraceId::from_bytes(current.span().span_context().trace_id().to_bytes());
            if active.is_some() && active == self.trace_id {
                self.bridge.with_baggage(current, &self.tags)
            } else {
                Some(self.context.clone())
            }
        });
        Some(Box::new(context?.attach()))
    }
}

thread_local! {
    /// There for as long as the thread has a current context: made after the slot of that, it is dropped before it.
    static ALIVE: Alive = {
        Context::map_current(|_| ());
        Alive
    };
}

struct Alive;

/// A thread keeps track only of what has to be dropped.
impl Drop for Alive {
    fn drop(&mut self) {}
}

/// Looks at the current context; `None` while the thread is being torn down, where OpenTelemetry panics.
fn with_current<T>(look: impl FnOnce(&Context) -> Option<T>) -> Option<T> {
    ALIVE.try_with(|_| ()).ok()?;
    Context::map_current(look)
}

/// The trace context of the active span; none where it has no valid one, or is remote: not a span of this program.
fn active_span() -> Option<TraceContext> {
    with_current(|context| {
        let span = context.span();
        let context = span.span_context();
        if context.is_remote() { None } else { trace_context(context) }
    })
}

fn trace_context(span: &SpanContext) -> Option<TraceContext> {
    let parent = TraceParent::new(
        TraceId::from_bytes(span.trace_id().to_bytes())?,
        ParentId::from_bytes(span.span_id().to_bytes())?,
        TraceFlags::from_bits(span.trace_flags().to_u8()),
    );
    let state = match span.trace_state().header() {
        text if text.is_empty() => TraceState::empty(),
        text => TraceState::from_bytes(text.as_bytes()).unwrap_or_default(),
    };
    Some(TraceContext::new(parent, state))
}

fn remote_span(parent: &TraceParent, state: &TraceState) -> SpanContext {
    SpanContext::new(
        opentelemetry::TraceId::from_bytes(parent.trace_id().to_bytes()),
        SpanId::from_bytes(parent.parent_id().to_bytes()),
        opentelemetry::TraceFlags::new(parent.flags().bits()),
        true,
        members(state),
    )
}

/// The members that OpenTelemetry takes: its rule for keys is Level 1's.
fn members(state: &TraceState) -> opentelemetry::trace::TraceState {
    use opentelemetry::trace::TraceState as Members;
    let taken = |member: &(&str, &str)| Members::from_key_value([*member]).is_ok();
    Members::from_key_value(state.iter())
        .or_else(|_| Members::from_key_value(state.iter().filter(taken)))
        .unwrap_or_default()
}

/// OpenTelemetry's propagator of `traceparent` and `tracestate`, with the rules of the W3C as this crate keeps them:
/// for a program whose middleware is OpenTelemetry's.
///
/// ```
/// use opentelemetry::global;
///
/// global::set_text_map_propagator(tagtrail::Propagator::new());
/// ```
///
/// # Caveats
///
/// It sees of a request what OpenTelemetry's `Extractor` shows:
///
/// - Several `traceparent` lines restart the trace, and several `tracestate` lines are one list, where the extractor
///   gives all lines (`HeaderExtractor` of `opentelemetry-http` does). One that gives only the first, or joins them,
///   hides that there were several.
/// - A line that is not ASCII is not shown at all, as if it had not been sent.
/// - A bad header and none are the same to its caller: the `Context` as it was, without a parent.
/// - Members of a `tracestate` that OpenTelemetry refuses are lost: it knows Level 1's rule for keys.
///
/// Of the flags, OpenTelemetry's SDK hands on to its spans what its version knows. There are neither tags, nor
/// [`Admit`](crate::Admit), nor [`Disclose`](crate::Disclose) here: the caller's trace goes on, and everyone is told.
/// `InboundLayer` and `OutboundLayer` decide.
#[derive(Clone, Copy, Default)]
pub struct Propagator(());

impl Propagator {
    /// The propagator.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

static FIELDS: LazyLock<[String; 2]> = LazyLock::new(|| [TRACEPARENT.to_owned(), TRACESTATE.to_owned()]);
const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl TextMapPropagator for Propagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let Some(context) = trace_context(span.span_context()) else { return };
        injector.set(TRACEPARENT, context.traceparent().to_string());
        if !context.tracestate().is_empty() {
            injector.set(TRACESTATE, context.tracestate().to_string());
        }
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        match extract(extractor) {
            Some(span) => context.with_remote_span_context(span),
            None => context.clone(),
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&*FIELDS)
    }
}

impl fmt::Debug for Propagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Propagator")
    }
}

fn extract(extractor: &dyn Extractor) -> Option<SpanContext> {
    let lines = extractor.get_all(TRACEPARENT)?;
    let [line] = lines[..] else { return None };
    let parent = TraceParent::from_bytes(line.as_bytes()).ok()?;
    let state = extractor.get_all(TRACESTATE).unwrap_or_default().join(",");
    let state = TraceState::from_bytes(state.as_bytes()).unwrap_or_default();
    Some(remote_span(&parent, &state))
}
