//! `traceparent` and `tracestate` together (W3C Trace Context, section "Trace Context HTTP Headers Format").

use http::HeaderMap;

use crate::grammar::remove_header;
use crate::traceparent::{InvalidTraceParent, TRACEPARENT, TraceParent};
use crate::tracestate::{TRACESTATE, TraceState};

/// The two headers of a trace: its `traceparent`, and the `tracestate` that goes with it.
///
/// Owns the rule that a bad `traceparent` voids the `tracestate`, which then is not even read, and that a bad
/// `tracestate` never spoils a `traceparent`.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    parent: TraceParent,
    state: TraceState,
}

impl TraceContext {
    /// Puts the two together.
    pub const fn new(parent: TraceParent, state: TraceState) -> Self {
        Self { parent, state }
    }

    /// Reads both headers of a request; `None` where there is no `traceparent`. An invalid `tracestate` is read as an
    /// empty one; to learn what was wrong with it, see [`TraceState::from_headers`].
    ///
    /// # Errors
    ///
    /// If there are several `traceparent` lines, or one with a bad value.
    #[inline]
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidTraceParent> {
        let Some(parent) = TraceParent::from_headers(headers)? else { return Ok(None) };
        let state = TraceState::from_headers(headers).ok().flatten().unwrap_or_default();
        Ok(Some(Self { parent, state }))
    }

    /// The `traceparent`.
    pub const fn traceparent(&self) -> &TraceParent {
        &self.parent
    }

    /// The `tracestate`, empty where there was none or an invalid one.
    pub const fn tracestate(&self) -> &TraceState {
        &self.state
    }

    /// The two, apart.
    pub fn into_parts(self) -> (TraceParent, TraceState) {
        (self.parent, self.state)
    }

    /// Sets both headers, in place of every line of them that is there. An empty `tracestate` is removed.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        self.parent.insert_into(headers);
        self.state.insert_into(headers);
    }

    /// Removes both headers.
    pub(crate) fn remove_from(headers: &mut HeaderMap) {
        remove_header(headers, &TRACEPARENT);
        remove_header(headers, &TRACESTATE);
    }
}
