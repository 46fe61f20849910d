//! A filter for statuses: [`StatusMatch`].

use std::fmt;
use std::str::FromStr;

/// A filter for statuses: one status, such as `404`, or a class, such as `5xx`.
///
/// ```
/// use tagtrail_querylog::audit::StatusMatch;
///
/// assert_eq!("404".parse(), Ok(StatusMatch::Code(404)));
/// assert_eq!("5xx".parse(), Ok(StatusMatch::Class(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusMatch {
    /// This status.
    Code(u16),
    /// The statuses with this first digit.
    Class(u8),
}

impl StatusMatch {
    /// Returns whether a status matches.
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::Code(code) => status == code,
            Self::Class(class) => status / 100 == u16::from(class),
        }
    }
}

impl FromStr for StatusMatch {
    type Err = InvalidStatusMatch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match *text.as_bytes() {
            [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] => Ok(Self::Class(class - b'0')),
            [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => text.parse().map(Self::Code).map_err(|_| InvalidStatusMatch(())),
            _ => Err(InvalidStatusMatch(())),
        }
    }
}

/// The error for a text that is not a [`StatusMatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid status: expected three digits (404) or a class (5xx)")]
pub struct InvalidStatusMatch(());

/// Writes the form that is parsed.
impl fmt::Display for StatusMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_parsed_from_three_digits_or_a_class() {
        for (text, expected) in [
            ("200", Some(StatusMatch::Code(200))),
            ("999", Some(StatusMatch::Code(999))),
            ("4xx", Some(StatusMatch::Class(4))),
            ("4XX", Some(StatusMatch::Class(4))),
            ("", None),
            ("099", None),
            ("0xx", None),
            ("40", None),
            ("4x", None),
            ("4xxx", None),
            ("40x", None),
            ("+20", None),
            ("٤xx", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
