//! Whose trace a request belongs to: the table of W3C Trace Context, section "Processing Model".

use crate::header::{InvalidTraceParent, TraceContext};
use crate::policy::{Admit, Sample};
use crate::trail::Trail;

/// Creates the trail of a request that arrives.
///
/// | received | `Continue` | `Unsample` | `Restart` |
/// | --- | --- | --- | --- |
/// | a valid `traceparent` | continued | continued, not sampled | a new trace |
/// | none, or an invalid one | a new trace | a new trace | a new trace |
///
/// `sample` is called for new traces alone: a continued one keeps its caller's flag, or has it cleared.
#[inline]
pub(super) fn decide(
    received: Result<Option<TraceContext>, InvalidTraceParent>,
    admit: impl FnOnce() -> Admit,
    sample: impl FnOnce() -> Sample,
) -> Trail {
    match received {
        Ok(Some(received)) => match admit() {
            Admit::Continue => Trail::from_context(received),
            Admit::Unsample => Trail::from_context(unsampled(received)),
            Admit::Restart => Trail::start(sample()),
        },
        Ok(None) | Err(_) => Trail::start(sample()),
    }
}

fn unsampled(received: TraceContext) -> TraceContext {
    let (parent, state) = received.into_parts();
    TraceContext::new(parent.with_flags(parent.flags().with_sampled(false)), state)
}
