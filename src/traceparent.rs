//! The `traceparent` header (W3C Trace Context, section "Traceparent Header").
//!
//! ```text
//! traceparent = version "-" trace-id "-" parent-id "-" trace-flags [ "-" *VCHAR ]
//! version     = 2HEXDIGLC        ; "ff" is forbidden; "00" ends after the flags
//! trace-id    = 32HEXDIGLC       ; not all zero
//! parent-id   = 16HEXDIGLC       ; not all zero
//! trace-flags = 2HEXDIGLC        ; bit 0 sampled, bit 1 random, the others are read and sent as 0
//! HEXDIGLC    = DIGIT / "a" / "b" / "c" / "d" / "e" / "f"
//! ```

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::grammar::{decode_hex, encode_hex, first_non_hex, trim};
use crate::random;

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The length of a `traceparent` of version `00`, in characters.
const LENGTH: usize = 55;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident($inner:ident of $int:ty), $bytes:literal bytes, $fresh:path, $zero:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Makes a new one from unpredictable random bytes.
            ///
            /// # Panics
            ///
            /// If the operating system gives no randomness.
            #[must_use]
            pub fn random() -> Self {
                Self($fresh())
            }

            /// From its bytes, in the order of the header; `None` if all are zero.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                match $inner::new(<$int>::from_be_bytes(bytes)) {
                    Some(id) => Some(Self(id)),
                    None => None,
                }
            }

            /// The bytes, in the order of the header.
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0.get().to_be_bytes()
            }
        }

        /// The form of the header: lowercase hexadecimal digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:0width$x}", self.0, width = 2 * $bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        /// Reads lowercase hexadecimal digits, exactly as many as the header has.
        impl FromStr for $name {
            type Err = InvalidTraceParent;

            fn from_str(digits: &str) -> Result<Self, Self::Err> {
                let digits = digits.as_bytes();
                let Ok(pairs) = digits.as_chunks().0.try_into() else {
                    return Err(Reason::Digits { expected: 2 * $bytes }.into());
                };
                if digits.len() != 2 * $bytes {
                    return Err(Reason::Digits { expected: 2 * $bytes }.into());
                }
                let bytes = decode_hex(pairs).ok_or_else(|| not_hex(digits, 0))?;
                Self::from_bytes(bytes).ok_or(InvalidTraceParent($zero))
            }
        }
    };
}

hex_id! {
    /// The identifier of a whole trace: 16 bytes, never all zero (section "trace-id").
    ///
    /// ```
    /// use tagtrail::TraceId;
    ///
    /// let id: TraceId = "0af7651916cd43dd8448eb211c80319c".parse()?;
    /// assert_eq!(id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    /// assert_eq!(TraceId::from_bytes([0; 16]), None);
    /// # Ok::<_, tagtrail::InvalidTraceParent>(())
    /// ```
    TraceId(NonZeroU128 of u128), 16 bytes, random::trace_id, Reason::ZeroTraceId
}

hex_id! {
    /// The identifier of one operation in a trace, called a span id by many tools: 8 bytes, never all zero (section
    /// "parent-id").
    ///
    /// ```
    /// use tagtrail::ParentId;
    ///
    /// let id: ParentId = "b7ad6b7169203331".parse()?;
    /// assert_eq!(id.to_bytes(), [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    /// # Ok::<_, tagtrail::InvalidTraceParent>(())
    /// ```
    ParentId(NonZeroU64 of u64), 8 bytes, random::parent_id, Reason::ZeroParentId
}

/// The flags of a trace: `sampled` and `random` (section "trace-flags").
///
/// The six other bits have no meaning yet. They are read as 0 and sent as 0.
///
/// ```
/// use tagtrail::TraceFlags;
///
/// let flags = TraceFlags::from_bits(0xff);
/// assert!(flags.is_sampled() && flags.is_random());
/// assert_eq!(flags.bits(), 0b11);
/// assert_eq!(flags.with_sampled(false), TraceFlags::RANDOM);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TraceFlags(u8);

impl TraceFlags {
    /// Bit 0: the caller may have recorded the trace.
    pub const SAMPLED: Self = Self(0b01);
    /// Bit 1: the right-most 7 bytes of the trace-id are random.
    pub const RANDOM: Self = Self(0b10);

    /// The flags of a byte. Bits without a meaning are left out.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0b11)
    }

    /// The byte that is sent.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether bit 0 is set.
    pub const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// Whether bit 1 is set.
    pub const fn is_random(self) -> bool {
        self.0 & Self::RANDOM.0 != 0
    }

    /// The same flags with bit 0 as given.
    #[must_use]
    pub const fn with_sampled(self, sampled: bool) -> Self {
        Self(self.0 & !Self::SAMPLED.0 | sampled as u8)
    }
}

impl fmt::Debug for TraceFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceFlags({:02x})", self.0)
    }
}

/// A `traceparent` header: which trace, which operation in it, and its flags (section "Traceparent Header").
///
/// What was received in a later version of the format is kept, and sent, as version `00`.
///
/// ```
/// use tagtrail::TraceParent;
///
/// let received: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse()?;
/// assert!(received.flags().is_sampled());
///
/// // What a participant sends on: the same trace, an id of its own.
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
    /// Puts one together from its fields.
    pub const fn new(trace_id: TraceId, parent_id: ParentId, flags: TraceFlags) -> Self {
        Self { trace_id, parent_id, flags }
    }

    /// Starts a new trace: random ids, with the `random` flag, and `sampled` as given.
    #[must_use]
    pub fn random(sampled: bool) -> Self {
        Self::new(TraceId::random(), ParentId::random(), TraceFlags::RANDOM.with_sampled(sampled))
    }

    /// The same trace and flags with a new random parent-id, as a participant sends it on.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { parent_id: ParentId::random(), ..*self }
    }

    /// The trace.
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The operation that sends this header.
    pub const fn parent_id(&self) -> ParentId {
        self.parent_id
    }

    /// The trace's flags.
    pub const fn flags(&self) -> TraceFlags {
        self.flags
    }

    /// The same trace and operation with other flags.
    #[must_use]
    pub const fn with_flags(self, flags: TraceFlags) -> Self {
        Self { flags, ..self }
    }

    /// Reads the value of one field line. Blanks and tabs around it are not part of it.
    ///
    /// # Errors
    ///
    /// If the value breaks a rule of the grammar, which the error then names with its place.
    pub fn from_bytes(value: &[u8]) -> Result<Self, InvalidTraceParent> {
        let value = trim(value);
        read(value).ok_or_else(|| fault_of(value))
    }

    /// Reads the header from a request or a response; `None` where there is none.
    ///
    /// # Errors
    ///
    /// If there are several field lines, equal or not, or one with a bad value. Either way the caller's trace cannot
    /// be continued, and a server starts a new one.
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
    ///     "Invalid header 'traceparent': 54 characters, expected at least 55",
    /// );
    /// ```
    #[inline]
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidTraceParent> {
        let mut lines = headers.get_all(&TRACEPARENT).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => Self::from_bytes(line.as_bytes()).map(Some),
            (Some(_), Some(_)) => Err(Reason::SeveralLines.into()),
        }
    }

    /// Sets the header, in place of every line of it that is there.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT.clone(), self.into());
    }

    /// The text, in version `00`: always 55 characters of ASCII.
    #[inline]
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        // Trace-id, parent-id and flags; sixteen at a time are quicker than as many as there are.
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.trace_id.to_bytes());
        bytes[16..24].copy_from_slice(&self.parent_id.to_bytes());
        bytes[24] = self.flags.bits();
        let digits = encode_hex(bytes);
        let digits = digits.as_flattened();
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&digits[..32]);
        text[36..52].copy_from_slice(&digits[32..48]);
        text[53..].copy_from_slice(&digits[48..50]);
        text
    }
}

/// The value, if it is valid. Checks the length once; every place after that is known.
#[inline]
fn read(value: &[u8]) -> Option<TraceParent> {
    let (text, after) = value.split_first_chunk::<LENGTH>()?;
    // The digits of all fields, without the dashes.
    let mut digits = [[b'0'; 2]; 32];
    let flat = digits.as_flattened_mut();
    flat[..32].copy_from_slice(&text[3..35]);
    flat[32..48].copy_from_slice(&text[36..52]);
    flat[48..50].copy_from_slice(&text[..2]);
    flat[50..52].copy_from_slice(&text[53..]);
    let bytes = decode_hex(&digits)?;
    let dashes = text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
    let ends = match bytes[24] {
        0x00 => after.is_empty(),
        0xff => false,
        _ => matches!(after, [] | [b'-', ..]),
    };
    if !dashes || !ends {
        return None;
    }
    let trace_id = TraceId::from_bytes(*bytes.first_chunk()?)?;
    let parent_id = ParentId::from_bytes(*bytes[16..].first_chunk()?)?;
    Some(TraceParent::new(trace_id, parent_id, TraceFlags::from_bits(bytes[25])))
}

/// Why a value was not read, in the order of the header's fields.
#[cold]
fn fault_of(value: &[u8]) -> InvalidTraceParent {
    let Some((text, after)) = value.split_first_chunk::<LENGTH>() else {
        return Reason::TooShort { length: value.len() }.into();
    };
    for (start, end) in [(0, 2), (3, 35), (36, 52), (53, 55)] {
        if start > 0 && text[start - 1] != b'-' {
            return Reason::NoDash { position: start }.into();
        }
        if first_non_hex(&text[start..end]).is_some() {
            return not_hex(&text[start..end], start);
        }
    }
    InvalidTraceParent(match &text[..2] {
        b"ff" => Reason::VersionFf,
        _ if text[3..35] == [b'0'; 32] => Reason::ZeroTraceId,
        _ if text[36..52] == [b'0'; 16] => Reason::ZeroParentId,
        b"00" => Reason::TooLong { length: LENGTH + after.len() },
        _ => Reason::NoDash { position: LENGTH + 1 },
    })
}

fn not_hex(digits: &[u8], start: usize) -> InvalidTraceParent {
    Reason::NotHex { position: start + first_non_hex(digits).unwrap_or_default() + 1 }.into()
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&HeaderValue> for TraceParent {
    type Error = InvalidTraceParent;

    fn try_from(value: &HeaderValue) -> Result<Self, Self::Error> {
        Self::from_bytes(value.as_bytes())
    }
}

impl From<&TraceParent> for HeaderValue {
    fn from(parent: &TraceParent) -> Self {
        // Hexadecimal digits and dashes are a header value; the empty one is never chosen.
        Self::from_bytes(&parent.encode()).unwrap_or(Self::from_static(""))
    }
}

/// The form of the header, in version `00`.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.encode()).unwrap_or_default())
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceParent({self})")
    }
}

/// Why a `traceparent` was refused: the rule and the place, and nothing of the value. Positions count characters
/// from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid header 'traceparent': {0}")]
pub struct InvalidTraceParent(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("several field lines, expected one")]
    SeveralLines,
    #[error("{length} characters, expected at least {LENGTH}")]
    TooShort { length: usize },
    #[error("{length} characters, expected {LENGTH} in version 00")]
    TooLong { length: usize },
    #[error("expected {expected} lowercase hexadecimal digits")]
    Digits { expected: usize },
    #[error("expected a lowercase hexadecimal digit at character {position}")]
    NotHex { position: usize },
    #[error("expected '-' at character {position}")]
    NoDash { position: usize },
    #[error("version ff is forbidden")]
    VersionFf,
    #[error("the trace-id is all zero")]
    ZeroTraceId,
    #[error("the parent-id is all zero")]
    ZeroParentId,
}

impl From<Reason> for InvalidTraceParent {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    mod rows {
        include!("../tests/rows/traceparent.rs");
    }

    #[test]
    fn values_are_read_or_refused_by_the_rows() {
        for &(value, expected) in rows::ROWS {
            let read: Result<TraceParent, _> = value.parse();
            let read = read.map(|parent| parent.to_string()).map_err(|error| error.to_string());
            let expected =
                expected.map(str::to_owned).map_err(|words| format!("Invalid header 'traceparent': {words}"));
            assert_eq!(read, expected, "{value:?}");
        }
    }

    #[test]
    fn a_valid_one_has_the_fields_that_were_sent() {
        let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        assert_eq!(parent.trace_id().to_bytes()[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!(parent.parent_id().to_bytes()[..3], [0xb7, 0xad, 0x6b]);
        assert_eq!(parent.flags(), TraceFlags::SAMPLED);
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c".parse().unwrap());
        assert_eq!(parent.parent_id(), "b7ad6b7169203331".parse().unwrap());
        assert_eq!(TraceParent::new(parent.trace_id(), parent.parent_id(), parent.flags()), parent);
        assert_eq!(TraceParent::try_from(&HeaderValue::from(&parent)), Ok(parent));
    }

    #[test]
    fn flags_are_two_bits() {
        for bits in 0..=u8::MAX {
            let flags = TraceFlags::from_bits(bits);
            let (sampled, random) = (bits % 2 == 1, bits / 2 % 2 == 1);
            assert_eq!((flags.is_sampled(), flags.is_random()), (sampled, random), "{bits:08b}");
            assert_eq!(flags.bits(), bits % 4);
            for sampled in [false, true] {
                let other = flags.with_sampled(sampled);
                assert_eq!((other.is_sampled(), other.is_random()), (sampled, random), "{bits:08b}");
            }
        }
        assert_eq!(format!("{:?}", TraceFlags::SAMPLED), "TraceFlags(01)");
    }

    #[test]
    fn it_takes_the_place_of_every_line_that_is_there() {
        let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append("traceparent", HeaderValue::from_static("bad"));
        headers.append("traceparent", HeaderValue::from_static("worse"));
        let unsampled = parent.with_flags(TraceFlags::RANDOM);
        unsampled.insert_into(&mut headers);
        assert_eq!(TraceParent::from_headers(&headers), Ok(Some(unsampled)));
        assert_eq!(unsampled.to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02");
        assert_eq!(format!("{parent:?}"), format!("TraceParent({parent})"));
    }

    #[test]
    fn several_lines_are_refused_even_where_they_are_equal() {
        let value = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::from_headers(&headers), Ok(None));
        headers.append("TraceParent", value.clone());
        assert!(TraceParent::from_headers(&headers).unwrap().is_some());
        for other in [value, HeaderValue::from_static("bad"), HeaderValue::from_static("")] {
            let mut headers = headers.clone();
            headers.append("traceparent", other);
            let error = TraceParent::from_headers(&headers).unwrap_err();
            assert_eq!(error.to_string(), "Invalid header 'traceparent': several field lines, expected one");
        }
    }

    #[test]
    fn a_new_one_is_random_and_says_so() {
        let (one, other) = (TraceParent::random(true), TraceParent::random(false));
        assert_ne!(one.trace_id(), other.trace_id());
        assert_eq!(one.flags().bits(), 0b11);
        assert_eq!(other.flags().bits(), 0b10);
        let child = one.child();
        assert_eq!((child.trace_id(), child.flags()), (one.trace_id(), one.flags()));
        assert_ne!(child.parent_id(), one.parent_id());
    }

    #[test]
    fn ids_are_read_by_the_same_rules() {
        for (text, words) in [
            ("", "expected 16 lowercase hexadecimal digits"),
            ("b7ad6b71692033310", "expected 16 lowercase hexadecimal digits"),
            ("b7ad6b716920333G", "expected a lowercase hexadecimal digit at character 16"),
            ("0000000000000000", "the parent-id is all zero"),
        ] {
            let error = text.parse::<ParentId>().unwrap_err().to_string();
            assert_eq!(error, format!("Invalid header 'traceparent': {words}"));
        }
        let error = "0".repeat(32).parse::<TraceId>().unwrap_err().to_string();
        assert_eq!(error, "Invalid header 'traceparent': the trace-id is all zero");
        assert_eq!(ParentId::from_bytes([0; 8]), None);
    }
}
