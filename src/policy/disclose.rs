//! What a receiver is sent.

/// What an outgoing request discloses to its receiver (W3C Trace Context, section "Privacy Considerations").
///
/// There is no default: what to disclose is your decision. To decide by host, see [`Targets`](crate::Targets).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disclose {
    /// Sends the trace and the tags.
    All,
    /// Sends `traceparent` and `tracestate`, without the tags.
    TraceOnly,
    /// Sends none of the headers, and removes those that are on the request.
    Nothing,
}
