//! The two ids in a `traceparent`.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use super::InvalidId;
use super::error::IdErrorKind;
use crate::header::hex;
use crate::random;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident($integer:ident), $random:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZero<$integer>);

        impl $name {
            /// Creates an id from random bytes that nobody can predict.
            ///
            /// # Panics
            ///
            /// If the operating system provides no randomness.
            #[must_use]
            pub fn random() -> Self {
                Self($random())
            }

            /// Creates an id from its bytes, in the order of the header; `None` if all are zero.
            pub const fn from_bytes(bytes: [u8; size_of::<$integer>()]) -> Option<Self> {
                match NonZero::new($integer::from_be_bytes(bytes)) {
                    Some(id) => Some(Self(id)),
                    None => None,
                }
            }

            /// Returns the bytes, in the order of the header.
            pub const fn to_bytes(self) -> [u8; size_of::<$integer>()] {
                self.0.get().to_be_bytes()
            }
        }

        /// Writes lowercase hexadecimal digits, as in the header.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = hex::encode(self.to_bytes());
                f.pad(str::from_utf8(digits.as_flattened()).expect("hexadecimal digits are UTF-8"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        /// Parses lowercase hexadecimal digits, as many as the header has.
        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(digits: &str) -> Result<Self, Self::Err> {
                parse(digits.as_bytes(), Self::from_bytes).map_err(InvalidId)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;

            fn try_from(digits: &str) -> Result<Self, Self::Error> {
                digits.parse()
            }
        }
    };
}

hex_id! {
    /// The id of a trace: 16 bytes, never all zero (section "trace-id").
    ///
    /// ```
    /// use tagtrail::TraceId;
    ///
    /// let id: TraceId = "0af7651916cd43dd8448eb211c80319c".parse()?;
    /// assert_eq!(id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    /// assert_eq!(TraceId::from_bytes([0; 16]), None);
    /// # Ok::<_, tagtrail::InvalidId>(())
    /// ```
    TraceId(u128), random::trace_id
}

hex_id! {
    /// The id of one operation in a trace, which many tools call a span id: 8 bytes, never all zero (section
    /// "parent-id").
    ///
    /// ```
    /// use tagtrail::ParentId;
    ///
    /// let id: ParentId = "b7ad6b7169203331".parse()?;
    /// assert_eq!(id.to_bytes(), [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    /// # Ok::<_, tagtrail::InvalidId>(())
    /// ```
    ParentId(u64), random::parent_id
}

fn parse<Id, const N: usize>(digits: &[u8], from_bytes: fn([u8; N]) -> Option<Id>) -> Result<Id, IdErrorKind> {
    let (pairs, rest) = digits.as_chunks();
    let Ok(pairs) = <&[[u8; 2]; N]>::try_from(pairs) else { return Err(IdErrorKind::Length { expected: 2 * N }) };
    if !rest.is_empty() {
        return Err(IdErrorKind::Length { expected: 2 * N });
    }
    let Some(bytes) = hex::decode(pairs) else {
        return Err(IdErrorKind::ExpectedDigit { position: hex::first_invalid(digits).unwrap_or_default() + 1 });
    };
    from_bytes(bytes).ok_or(IdErrorKind::Zero)
}
