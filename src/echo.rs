//! The trace on an answer: which response headers carry it.

use std::ops::BitOr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::tags::TagRules;
use crate::traceparent::TraceParent;
use crate::trail::Trail;

static TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Which response headers carry the trace, or the tags, of a request. By default `traceparent` does.
///
/// Each names the trace, this request's own operation, and the flags; on a trace that was restarted, the new one. They
/// are on every answer that passes the layer. An answer can reach callers who took no part in the trace (W3C Trace
/// Context, section "Other Risks"), so this is a setting.
///
/// ```
/// use tagtrail::{Admit, Echo, Inbound};
///
/// let inbound = Inbound::new(Admit::Restart).echo(Echo::TRACEPARENT | Echo::SERVER_TIMING);
/// let silent = Inbound::new(Admit::Restart).echo(Echo::NOTHING);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo(u8);

impl Echo {
    /// No header. What the handler set by itself stays, here and wherever one of the headers below is not chosen.
    pub const NOTHING: Self = Self(0);
    /// `traceparent: 00-<trace-id>-<operation>-<flags>`, in place of one that the handler set.
    pub const TRACEPARENT: Self = Self(1);
    /// `traceresponse`, with the same value: the name in a draft of Level 2.
    pub const TRACERESPONSE: Self = Self(1 << 1);
    /// `Server-Timing: trace;desc=00-<trace-id>-<operation>-<flags>`, beside the handler's metrics (section "Trace
    /// Context Server Timing Metric Format"). Browsers show it to the scripts of a page from the same origin.
    pub const SERVER_TIMING: Self = Self(1 << 2);
    /// The tag header, with the tags of the request, where it had some.
    pub const TAGS: Self = Self(1 << 3);

    const fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    /// Sets the headers on an answer.
    #[inline]
    pub(crate) fn write(self, trail: &Trail, rules: &TagRules, headers: &mut HeaderMap) {
        if self.has(Self::TRACEPARENT) {
            trail.traceparent().insert_into(headers);
        }
        if self.has(Self::TRACERESPONSE) {
            headers.insert(TRACERESPONSE.clone(), trail.traceparent().into());
        }
        if self.has(Self::SERVER_TIMING) {
            let metric = format!("trace;desc={}", trail.traceparent());
            // What is made of such characters is a header value.
            if let Ok(metric) = HeaderValue::try_from(metric) {
                headers.append(SERVER_TIMING.clone(), metric);
            }
        }
        if self.has(Self::TAGS) && !trail.tags().is_empty() {
            rules.insert_into(trail.tags(), headers);
        }
    }
}

impl Default for Echo {
    fn default() -> Self {
        Self::TRACEPARENT
    }
}

/// These headers and those.
impl BitOr for Echo {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl TraceParent {
    /// The trace that an answer names, in its `traceparent`, else in its `traceresponse`; `None` where it names none, or
    /// not in a valid form. To go on in that trace, see [`Trail::of_answer`].
    ///
    /// ```
    /// use tagtrail::TraceParent;
    ///
    /// let answer = http::Response::builder()
    ///     .header("traceresponse", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    ///     .body(())
    ///     .unwrap();
    /// let answered = TraceParent::of_answer(answer.headers()).unwrap();
    /// assert_eq!(answered.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    /// ```
    pub fn of_answer(headers: &HeaderMap) -> Option<Self> {
        match Self::from_headers(headers) {
            Ok(Some(answered)) => Some(answered),
            _ => Self::try_from(headers.get(&TRACERESPONSE)?).ok(),
        }
    }
}
