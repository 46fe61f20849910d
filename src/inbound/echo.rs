//! The trace on a response: which headers carry it.

use std::fmt;
use std::ops::BitOr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::header::{TRACERESPONSE, TagOptions};
use crate::trail::Trail;

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Which response headers carry the trace, or the tags, of a request. By default `traceparent` does.
///
/// Each header carries the trace-id, the id of the operation that handled this request, and the flags. If the trace was
/// restarted, it names the new trace. Every response that passes the layer has them. A response can reach callers that
/// took no part in the trace (W3C Trace Context, section "Other Risks"), so this is a setting.
///
/// ```
/// use tagtrail::{Admit, Echo, Inbound};
///
/// let inbound = Inbound::new(Admit::Restart).echo(Echo::TRACEPARENT | Echo::SERVER_TIMING);
/// let silent = Inbound::new(Admit::Restart).echo(Echo::NONE);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Echo(u8);

impl Echo {
    /// No header. Headers that the handler set are left alone unless they are selected here.
    pub const NONE: Self = Self(0);
    /// `traceparent: 00-<trace-id>-<span-id>-<flags>`, replacing one that the handler set.
    pub const TRACEPARENT: Self = Self(1);
    /// `traceresponse`, with the same value: the name in a draft of Level 2.
    pub const TRACERESPONSE: Self = Self(1 << 1);
    /// `Server-Timing: trace;desc=00-<trace-id>-<span-id>-<flags>`, in addition to the handler's metrics (section
    /// "Trace Context Server Timing Metric Format"). Browsers expose it to the scripts of a page from the same origin.
    pub const SERVER_TIMING: Self = Self(1 << 2);
    /// The tag header with the tags of the request, if it has any.
    pub const TAGS: Self = Self(1 << 3);

    const NAMES: [(Self, &str); 4] = [
        (Self::TRACEPARENT, "TRACEPARENT"),
        (Self::TRACERESPONSE, "TRACERESPONSE"),
        (Self::SERVER_TIMING, "SERVER_TIMING"),
        (Self::TAGS, "TAGS"),
    ];

    const fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Writes the selected headers of a response.
    #[inline]
    pub(super) fn write(self, trail: &Trail, tag_options: &TagOptions, headers: &mut HeaderMap) {
        if self.contains(Self::TRACEPARENT) {
            trail.traceparent().insert_into(headers);
        }
        if self.contains(Self::TRACERESPONSE) {
            headers.insert(TRACERESPONSE.clone(), trail.traceparent().into());
        }
        if self.contains(Self::SERVER_TIMING) {
            let metric = HeaderValue::try_from(format!("trace;desc={}", trail.traceparent()));
            headers.append(SERVER_TIMING.clone(), metric.expect("a traceparent is a part of a header value"));
        }
        if self.contains(Self::TAGS) && !trail.tags().is_empty() {
            tag_options.insert(headers, trail.tags());
        }
    }
}

impl Default for Echo {
    fn default() -> Self {
        Self::TRACEPARENT
    }
}

/// Selects the headers of both.
impl BitOr for Echo {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.into_iter().filter(|&(header, _)| self.contains(header)).map(|(_, name)| name);
        let names: Vec<_> = names.collect();
        write!(f, "Echo({})", if names.is_empty() { "NONE".to_owned() } else { names.join(" | ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_names_the_headers() {
        assert_eq!(format!("{:?} {:?}", Echo::NONE, Echo::default()), "Echo(NONE) Echo(TRACEPARENT)");
        let all = Echo::TAGS | Echo::TRACERESPONSE | Echo::SERVER_TIMING | Echo::TRACEPARENT;
        assert_eq!(format!("{all:?}"), "Echo(TRACEPARENT | TRACERESPONSE | SERVER_TIMING | TAGS)");
    }
}
