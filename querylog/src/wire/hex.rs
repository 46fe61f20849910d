//! Ids and flags as hexadecimal strings: [`Hex`].

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use tagtrail::{ParentId, TraceFlags, TraceId};

use crate::model::text::Text;

/// A value that is a string of lower-case hexadecimal digits in JSON. It is written without the machinery of
/// `Display`, since each record has several.
pub(crate) struct Hex<T>(pub(crate) T);

/// What has bytes.
pub(crate) trait Bytes {
    /// The bytes, and how many there are.
    fn bytes(&self) -> ([u8; 16], usize);
}

impl Bytes for TraceId {
    fn bytes(&self) -> ([u8; 16], usize) {
        (self.to_bytes(), 16)
    }
}

impl Bytes for ParentId {
    fn bytes(&self) -> ([u8; 16], usize) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.to_bytes());
        (bytes, 8)
    }
}

impl Bytes for TraceFlags {
    fn bytes(&self) -> ([u8; 16], usize) {
        let mut bytes = [0; 16];
        bytes[0] = self.bits();
        (bytes, 1)
    }
}

impl<T: Bytes> Serialize for Hex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let (bytes, length) = self.0.bytes();
        let mut text = [0; 32];
        for (byte, digits) in bytes[..length].iter().zip(text.chunks_exact_mut(2)) {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        serializer.serialize_str(str::from_utf8(&text[..2 * length]).unwrap_or_default())
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|Text(value)| Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_flags_are_written_as_they_are_displayed() {
        let (trace, span) = (TraceId::random(), ParentId::random());
        assert_eq!(serde_json::to_string(&Hex(trace)).unwrap(), format!("\"{trace}\""));
        assert_eq!(serde_json::to_string(&Hex(span)).unwrap(), format!("\"{span}\""));
        assert_eq!(serde_json::to_string(&Hex(TraceFlags::from_bits_truncate(1))).unwrap(), "\"01\"");
        let read: Hex<TraceId> = serde_json::from_str(&format!("\"{trace}\"")).unwrap();
        assert_eq!(read.0, trace);
    }
}
