//! [`TraceContextPropagator`]: OpenTelemetry's propagation by the rules of the W3C.

use std::fmt;
use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};

use super::span;
use crate::header::{TraceParent, TraceState};

/// An OpenTelemetry propagator for `traceparent` and `tracestate` that follows the rules of the W3C as this crate does,
/// for programs that use OpenTelemetry's own middleware.
///
/// ```
/// use opentelemetry::global;
///
/// global::set_text_map_propagator(tagtrail::TraceContextPropagator::new());
/// ```
///
/// # Caveats
///
/// It only sees what OpenTelemetry's `Extractor` exposes:
///
/// - Several `traceparent` lines restart the trace, and several `tracestate` lines are one list, if the extractor
///   returns all lines (`HeaderExtractor` of `opentelemetry-http` does). An extractor that returns only the first line,
///   or joins them, hides that there were several.
/// - A line that is not ASCII is not exposed at all, as if it had not been sent.
/// - The caller cannot tell an invalid header from a missing one: in both cases the `Context` is returned without a
///   parent.
/// - Members of a `tracestate` that OpenTelemetry rejects are lost: it follows Level 1's rule for keys.
///
/// OpenTelemetry's SDK passes on to its spans only the flags that its version knows. There are neither tags, nor
/// [`Admit`](crate::Admit), nor [`Disclose`](crate::Disclose) here: every caller's trace is continued, and disclosed to
/// every receiver. `InboundLayer` and `OutboundLayer` decide.
#[derive(Clone, Copy, Default)]
pub struct TraceContextPropagator(());

impl TraceContextPropagator {
    /// Creates the propagator.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
static FIELDS: LazyLock<[String; 2]> = LazyLock::new(|| [TRACEPARENT.to_owned(), TRACESTATE.to_owned()]);

impl TextMapPropagator for TraceContextPropagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let Some(context) = span::trace_context(span.span_context()) else { return };
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

impl fmt::Debug for TraceContextPropagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceContextPropagator")
    }
}

fn extract(extractor: &dyn Extractor) -> Option<SpanContext> {
    let lines = extractor.get_all(TRACEPARENT)?;
    let [line] = lines[..] else { return None };
    let parent = TraceParent::from_bytes(line.as_bytes()).ok()?;
    let state = extractor.get_all(TRACESTATE).unwrap_or_default().join(",");
    let state = TraceState::from_bytes(state.as_bytes()).unwrap_or_default();
    Some(span::remote_span(&parent, &state))
}
