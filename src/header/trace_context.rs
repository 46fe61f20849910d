//! `traceparent` and `tracestate` together (W3C Trace Context, section "Trace Context HTTP Headers Format").

use http::HeaderMap;

use super::traceparent::{InvalidTraceParent, TRACEPARENT, TraceParent};
use super::tracestate::{TRACESTATE, TraceState};
use super::value::remove;

/// The two headers of a trace: its `traceparent`, and the `tracestate` that belongs to it.
///
/// An invalid `traceparent` invalidates the `tracestate`, which is then not even read. An invalid `tracestate` never
/// affects the `traceparent`.
///
/// ```
/// use http::HeaderMap;
/// use tagtrail::TraceContext;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap());
/// headers.insert("tracestate", "not a list".parse().unwrap());
///
/// let context = TraceContext::from_headers(&headers)?.expect("there is a traceparent");
/// assert!(context.tracestate().is_empty());
/// # Ok::<_, tagtrail::InvalidTraceParent>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    parent: TraceParent,
    state: TraceState,
}

impl TraceContext {
    /// Creates a context from its two headers.
    pub const fn new(parent: TraceParent, state: TraceState) -> Self {
        Self { parent, state }
    }

    /// Parses both headers of a request; `None` if there is no `traceparent`. An invalid `tracestate` is replaced by an
    /// empty one; to find out what is wrong with it, use [`TraceState::from_headers`].
    ///
    /// # Errors
    ///
    /// Returns an error if there are several `traceparent` lines, or one with an invalid value.
    #[inline]
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidTraceParent> {
        let Some(parent) = TraceParent::from_headers(headers)? else { return Ok(None) };
        let state = TraceState::from_headers(headers).ok().flatten().unwrap_or_default();
        Ok(Some(Self { parent, state }))
    }

    /// Returns the `traceparent`.
    pub const fn traceparent(&self) -> &TraceParent {
        &self.parent
    }

    /// Returns the `tracestate`; empty if there was none, or an invalid one.
    pub const fn tracestate(&self) -> &TraceState {
        &self.state
    }

    /// Splits the context into its two headers.
    pub fn into_parts(self) -> (TraceParent, TraceState) {
        (self.parent, self.state)
    }

    /// Sets both headers, replacing all their lines. An empty `tracestate` is removed.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        self.parent.insert_into(headers);
        self.state.insert_into(headers);
    }

    /// Removes both headers.
    pub(crate) fn remove_from(headers: &mut HeaderMap) {
        remove(headers, &TRACEPARENT);
        remove(headers, &TRACESTATE);
    }
}
