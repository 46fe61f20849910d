//! The byte classes of the header grammars, each defined as its grammar defines it.
//!
//! They use `|` and `&` in place of `||` and `&&`: without branches, the compiler evaluates a class for sixteen bytes
//! at once, which is what `scan` asks for.

#![expect(clippy::needless_bitwise_bool, reason = "lazy operators would be branches")]

/// `ALPHA / DIGIT / "_"`: the characters of a tag's name and value.
#[inline]
pub(super) const fn is_tag_char(byte: u8) -> bool {
    (byte | 0x20).is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'_')
}

/// `lcalpha / DIGIT`: the first character of a `tracestate` key.
#[inline]
pub(super) const fn is_key_start(byte: u8) -> bool {
    byte.is_ascii_lowercase() | byte.is_ascii_digit()
}

/// `lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@"`: the further characters of a `tracestate` key.
#[inline]
pub(super) const fn is_key_char(byte: u8) -> bool {
    is_key_start(byte) | (byte == b'_') | (byte == b'-') | (byte == b'*') | (byte == b'/') | (byte == b'@')
}

/// `%x20-2B / %x2D-3C / %x3E-7E`: the characters of a `tracestate` value.
#[inline]
pub(super) const fn is_value_char(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b',') & (byte != b'=')
}

/// `HEXDIGLC`: `DIGIT / %x61-66`, a lowercase hexadecimal digit.
pub(super) const fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
