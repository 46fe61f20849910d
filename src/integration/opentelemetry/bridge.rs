//! [`OpenTelemetryBridge`]: trails as parents of spans, and spans as parents of what is sent.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt};
use opentelemetry::trace::TraceContextExt;

use super::span;
use crate::header::{Tags, TraceContext, TraceId, TraceParent};
use crate::trail::{Attach, ContextHook, Trail};

/// Makes a [`Trail`] the parent of OpenTelemetry's spans: a [`ContextHook`] that attaches an OpenTelemetry `Context`.
///
/// By default, the `Context` holds a remote span of the trail's trace: the caller's span, if the caller's trace is
/// continued; otherwise the trail's own operation. A span that is started while the trail is current, by
/// OpenTelemetry's API or by `tracing-opentelemetry`, belongs to the trail's trace, and a sampler that asks the parent
/// (OpenTelemetry's default does) decides as [`Admit`](crate::Admit) and [`Sample`](crate::Sample) did.
///
/// If a span of the same trace is active already, it stays active: entering a trail inside a span does not hide the
/// span. Values that the `Context` held when the trail was created are kept.
///
/// Layers that start spans belong inside this crate's layer: a span that is started outside it, before there is a
/// trail, is in a different trace.
///
/// ```
/// use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
/// use opentelemetry_sdk::trace::SdkTracerProvider;
/// use tagtrail::{Admit, Disclose, Inbound, OpenTelemetryBridge, Outbound, Sample, Trail};
///
/// // For a server, and for a client.
/// let inbound = Inbound::new(Admit::Continue).context_hook(OpenTelemetryBridge::new());
/// let outbound = Outbound::new(Disclose::All).parent_span(OpenTelemetryBridge::active_span);
///
/// // For a trail that you create yourself.
/// let tracer = SdkTracerProvider::default().tracer("docs");
/// let trail = Trail::start(Sample::Always).with_context_hook(OpenTelemetryBridge::new());
/// trail.in_scope(|| {
///     tracer.in_span("work", |context| {
///         let trace_id = context.span().span_context().trace_id();
///         assert_eq!(trace_id.to_string(), trail.trace_id().to_string());
///     });
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct OpenTelemetryBridge {
    baggage_prefix: Option<Cow<'static, str>>,
    root_spans: bool,
}

impl OpenTelemetryBridge {
    /// Creates a bridge with the default settings: it carries the trace, but not the tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the tags to OpenTelemetry's baggage, with this prefix before each name.
    ///
    /// Baggage is sent by OpenTelemetry's own propagators, if a baggage propagator is installed. They ignore
    /// [`Disclose`](crate::Disclose): any receiver of the baggage sees the tags.
    pub fn tags_as_baggage(self, prefix: impl Into<Cow<'static, str>>) -> Self {
        Self { baggage_prefix: Some(prefix.into()), ..self }
    }

    /// Makes the first span of a new trace a root span. By default it is a child of the trail's operation, which nobody
    /// exports, so some tools show the trace without a root.
    ///
    /// OpenTelemetry generates the trace-id of such a span itself, and its sampler decides again. Give the SDK an
    /// `IdGenerator` that returns the trace-id of [`Trail::current`], as the
    /// [recipes](crate::guide::recipes::opentelemetry) show; otherwise it generates a different one.
    pub fn root_spans(self) -> Self {
        Self { root_spans: true, ..self }
    }

    /// Returns the active span of this program, for [`Outbound::parent_span`](crate::Outbound::parent_span); `None` if
    /// there is none, or it is invalid or remote.
    ///
    /// The `tracestate` that is sent is the trail's: it does not include members that OpenTelemetry's sampler adds for
    /// its spans.
    pub fn active_span() -> Option<TraceContext> {
        with_current(|context| {
            let span = context.span();
            let context = span.span_context();
            if context.is_remote() { None } else { span::trace_context(context) }
        })
    }

    fn create_context(&self, trail: &Trail) -> Context {
        let current = Context::current();
        let context = match trail.parent_span_id() {
            None if self.root_spans && !current.has_active_span() => current,
            // A span cannot be removed from a context, and samplers treat an invalid one as not sampled.
            None if self.root_spans => Context::new(),
            parent_span_id => {
                let parent_id = parent_span_id.unwrap_or(trail.span_id());
                let parent = TraceParent::new(trail.trace_id(), parent_id, trail.flags());
                current.with_remote_span_context(span::remote_span(&parent, trail.tracestate()))
            }
        };
        self.with_baggage(&context, trail.tags()).unwrap_or(context)
    }

    /// Returns the context with the tags as baggage, if that is enabled, and there are any.
    fn with_baggage(&self, context: &Context, tags: &Tags) -> Option<Context> {
        let prefix = self.baggage_prefix.as_deref().filter(|_| !tags.is_empty())?;
        let existing = context.baggage().iter().map(|(key, value)| (key.clone(), value.clone()));
        let mut baggage: Baggage = existing.collect();
        for (name, value) in tags {
            baggage.insert(format!("{prefix}{name}"), value.to_owned());
        }
        Some(context.with_baggage(baggage))
    }
}

impl ContextHook for OpenTelemetryBridge {
    fn context(&self, trail: &Trail) -> Arc<dyn Attach> {
        Arc::new(BridgedContext {
            bridge: self.clone(),
            tags: trail.tags().clone(),
            trace_id: trail.trace_id(),
            context: self.create_context(trail),
        })
    }
}

/// The `Context` of one trail.
struct BridgedContext {
    bridge: OpenTelemetryBridge,
    tags: Tags,
    trace_id: TraceId,
    context: Context,
}

impl Attach for BridgedContext {
    fn attach(&self) -> Option<Box<dyn Any>> {
        let context = with_current(|current| {
            let active = TraceId::from_bytes(current.span().span_context().trace_id().to_bytes());
            if active == Some(self.trace_id) {
                self.bridge.with_baggage(current, &self.tags)
            } else {
                Some(self.context.clone())
            }
        });
        Some(Box::new(context?.attach()))
    }
}

thread_local! {
    /// Available as long as the thread has a current context: created after the slot for that, it is dropped before it.
    static ALIVE: Alive = {
        Context::map_current(|_| ());
        Alive
    };
}

struct Alive;

/// A thread keeps track only of values that need to be dropped.
impl Drop for Alive {
    fn drop(&mut self) {}
}

/// Passes the current context to a function; `None` while the thread is being torn down, when OpenTelemetry panics.
fn with_current<T>(f: impl FnOnce(&Context) -> Option<T>) -> Option<T> {
    ALIVE.try_with(|_| ()).ok()?;
    Context::map_current(f)
}
