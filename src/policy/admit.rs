//! Which traces are continued.

/// What a server does with a caller's trace (W3C Trace Context, sections "Processing Model" and "Security
/// Considerations").
///
/// There is no default: whom to trust is your decision. Tags are validated and kept in all cases.
///
/// | choice | trace-id, `tracestate` | `sampled` flag | for |
/// | --- | --- | --- | --- |
/// | `Continue` | the caller's | the caller's | your own services, behind your own gateway |
/// | `Unsample` | the caller's | cleared | callers who may set the trace-id but must not force you to record it |
/// | `Restart` | new; dropped | as [`Sample`](crate::Sample) decides | the public; the response names the new trace |
///
/// A request without a valid `traceparent` starts a new trace in all cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Admit {
    /// Continues the caller's trace.
    Continue,
    /// Continues the caller's trace, and clears its `sampled` flag.
    Unsample,
    /// Starts a new trace.
    Restart,
}
