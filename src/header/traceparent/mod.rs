//! The `traceparent` header (W3C Trace Context, section "Traceparent Header").
//!
//! ```text
//! traceparent = version "-" trace-id "-" parent-id "-" trace-flags [ "-" *VCHAR ]
//! version     = 2HEXDIGLC        ; "ff" is forbidden; "00" ends after the flags
//! trace-id    = 32HEXDIGLC       ; not all zero
//! parent-id   = 16HEXDIGLC       ; not all zero
//! trace-flags = 2HEXDIGLC        ; bit 0 sampled, bit 1 random; the others are read and sent as 0
//! HEXDIGLC    = DIGIT / "a" / "b" / "c" / "d" / "e" / "f"
//! ```

mod error;
mod flags;
mod id;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use self::error::{ErrorKind, Field};
pub use self::error::{InvalidId, InvalidTraceParent};
pub use self::flags::TraceFlags;
pub use self::id::{ParentId, TraceId};
use self::parse::parse;
use super::hex;
use super::value::header_value;

pub(super) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The response header with the same grammar, from a draft of Level 2.
pub(crate) static TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The length of a `traceparent` of version `00`, in characters.
const LENGTH: usize = 55;

/// A `traceparent` header: the trace, the operation that sends the header, and the flags (section "Traceparent
/// Header").
///
/// A header in a later version of the format is stored, and sent, as version `00`.
///
/// ```
/// use tagtrail::TraceParent;
///
/// let received: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// assert!(received.flags().is_sampled());
///
/// // What a participant sends: the same trace with a new parent-id.
/// let sent = received.child();
/// assert_eq!(sent.trace_id(), received.trace_id());
/// assert_ne!(sent.parent_id(), received.parent_id());
/// # Ok::<_, tagtrail::InvalidTraceParent>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: TraceId,
    parent_id: ParentId,
    flags: TraceFlags,
}

impl TraceParent {
    /// Creates a `traceparent` from its fields.
    pub const fn new(trace_id: TraceId, parent_id: ParentId, flags: TraceFlags) -> Self {
        Self { trace_id, parent_id, flags }
    }

    /// Creates the `traceparent` of a new trace: random ids, and these flags. The `random` flag is always set, since
    /// the ids are random.
    ///
    /// # Panics
    ///
    /// If the operating system provides no randomness.
    ///
    /// ```
    /// use tagtrail::{TraceFlags, TraceParent};
    ///
    /// let parent = TraceParent::random(TraceFlags::SAMPLED);
    /// assert_eq!(parent.flags(), TraceFlags::SAMPLED | TraceFlags::RANDOM);
    /// ```
    #[must_use]
    pub fn random(flags: TraceFlags) -> Self {
        Self::new(TraceId::random(), ParentId::random(), flags | TraceFlags::RANDOM)
    }

    /// Returns the same trace and flags with a new random parent-id, which is what a participant sends.
    ///
    /// # Panics
    ///
    /// If the operating system provides no randomness.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { parent_id: ParentId::random(), ..*self }
    }

    /// Returns the id of the trace.
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Returns the id of the operation that sends this header.
    pub const fn parent_id(&self) -> ParentId {
        self.parent_id
    }

    /// Returns the flags of the trace.
    pub const fn flags(&self) -> TraceFlags {
        self.flags
    }

    /// Returns the same trace and operation with other flags.
    #[must_use]
    pub const fn with_flags(self, flags: TraceFlags) -> Self {
        Self { flags, ..self }
    }

    /// Parses the value of one field line. Spaces and tabs around the value are ignored.
    ///
    /// # Errors
    ///
    /// Returns an error if the value does not follow the grammar; the error names the position.
    #[inline]
    pub fn from_bytes(value: &[u8]) -> Result<Self, InvalidTraceParent> {
        parse(value).map_err(|kind| InvalidTraceParent::new(&TRACEPARENT, kind))
    }

    /// Parses the header of a request; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if there are several field lines, even equal ones, or one with an invalid value. In both cases
    /// the caller's trace cannot be continued, and a server starts a new one.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use tagtrail::TraceParent;
    ///
    /// let mut headers = HeaderMap::new();
    /// assert_eq!(TraceParent::from_headers(&headers), Ok(None));
    ///
    /// headers.insert("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0".parse().unwrap());
    /// assert_eq!(
    ///     TraceParent::from_headers(&headers).unwrap_err().to_string(),
    ///     "invalid traceparent: expected at least 55 characters, found 54",
    /// );
    /// ```
    #[inline]
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidTraceParent> {
        Self::from_lines(headers, &TRACEPARENT)
    }

    /// Parses the trace that a response names: in its `traceparent`, or, if that is missing or invalid, in its
    /// `traceresponse`. Returns `None` if the response has neither.
    ///
    /// The server chooses these ids and flags. To continue that trace, see
    /// [`Trail::from_response_headers`](crate::Trail::from_response_headers).
    ///
    /// # Errors
    ///
    /// Returns an error if neither header is valid: see [`from_headers`](Self::from_headers).
    ///
    /// ```
    /// use tagtrail::TraceParent;
    ///
    /// let response = http::Response::builder()
    ///     .header("traceresponse", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    ///     .body(())
    ///     .unwrap();
    /// let parent = TraceParent::from_response_headers(response.headers())?.expect("the response names its trace");
    /// assert_eq!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    /// # Ok::<_, tagtrail::InvalidTraceParent>(())
    /// ```
    pub fn from_response_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidTraceParent> {
        let from_traceparent = Self::from_lines(headers, &TRACEPARENT);
        if let Ok(Some(_)) = from_traceparent {
            return from_traceparent;
        }
        // An error of the `traceparent` counts only if there is no `traceresponse`.
        Self::from_lines(headers, &TRACERESPONSE)?.map_or(from_traceparent, |parent| Ok(Some(parent)))
    }

    #[inline]
    fn from_lines(headers: &HeaderMap, name: &'static HeaderName) -> Result<Option<Self>, InvalidTraceParent> {
        let mut lines = headers.get_all(name).iter();
        let parsed = match (lines.next(), lines.next()) {
            (None, _) => return Ok(None),
            (Some(line), None) => parse(line.as_bytes()),
            (Some(_), Some(_)) => Err(ErrorKind::SeveralLines),
        };
        parsed.map(Some).map_err(|kind| InvalidTraceParent::new(name, kind))
    }

    /// Sets the header, replacing all its lines.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT.clone(), self.into());
    }

    /// Encodes the value in version `00`.
    #[inline]
    fn encode(&self) -> [u8; LENGTH] {
        // The digits of trace-id, parent-id and flags. Of 32 bytes, since encoding sixteen at a time is faster.
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.trace_id.to_bytes());
        bytes[16..24].copy_from_slice(&self.parent_id.to_bytes());
        bytes[24] = self.flags.bits();
        let digits = hex::encode(bytes);
        let digits = digits.as_flattened();
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&digits[..32]);
        text[36..52].copy_from_slice(&digits[32..48]);
        text[53..].copy_from_slice(&digits[48..50]);
        text
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&str> for TraceParent {
    type Error = InvalidTraceParent;

    fn try_from(value: &str) -> Result<Self, Self::Error> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&HeaderValue> for TraceParent {
    type Error = InvalidTraceParent;

    fn try_from(value: &HeaderValue) -> Result<Self, Self::Error> {
        Self::from_bytes(value.as_bytes())
    }
}

impl From<TraceParent> for HeaderValue {
    fn from(parent: TraceParent) -> Self {
        Self::from(&parent)
    }
}

impl From<&TraceParent> for HeaderValue {
    #[inline]
    fn from(parent: &TraceParent) -> Self {
        header_value(&parent.encode())
    }
}

/// Writes the value of the header, in version `00`.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.encode()).expect("hexadecimal digits and dashes are UTF-8"))
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceParent({self})")
    }
}
