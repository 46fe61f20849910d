//! The flags in a `traceparent`.

use std::fmt;
use std::ops::BitOr;

/// The flags of a trace: `sampled` and `random` (section "trace-flags").
///
/// The six other bits have no meaning yet. They are read as 0 and sent as 0.
///
/// ```
/// use tagtrail::TraceFlags;
///
/// let flags = TraceFlags::from_bits_truncate(0xff);
/// assert_eq!(flags, TraceFlags::SAMPLED | TraceFlags::RANDOM);
/// assert_eq!(flags.with_sampled(false), TraceFlags::RANDOM);
/// assert_eq!(flags.to_string(), "03");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TraceFlags(u8);

impl TraceFlags {
    /// Bit 0: the caller may have recorded the trace.
    pub const SAMPLED: Self = Self(0b01);
    /// Bit 1: the right-most 7 bytes of the trace-id are random.
    pub const RANDOM: Self = Self(0b10);

    /// Creates flags from a byte, ignoring the bits without a meaning.
    pub const fn from_bits_truncate(bits: u8) -> Self {
        Self(bits & 0b11)
    }

    /// Returns the byte that is sent.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns whether the `sampled` flag is set.
    pub const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED.0 != 0
    }

    /// Returns whether the `random` flag is set.
    pub const fn is_random(self) -> bool {
        self.0 & Self::RANDOM.0 != 0
    }

    /// Returns these flags with the `sampled` flag set or cleared.
    #[must_use]
    pub const fn with_sampled(self, sampled: bool) -> Self {
        Self(self.0 & !Self::SAMPLED.0 | sampled as u8)
    }

    /// Returns these flags with the `random` flag set or cleared.
    #[must_use]
    pub const fn with_random(self, random: bool) -> Self {
        Self(self.0 & !Self::RANDOM.0 | (random as u8) << 1)
    }
}

/// Combines the flags: each flag that is set in either.
impl BitOr for TraceFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Writes two hexadecimal digits, as in the header.
impl fmt::Display for TraceFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

impl fmt::Debug for TraceFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceFlags({self})")
    }
}
