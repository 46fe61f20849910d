//! Texts: where they can be cut, and values that are strings in JSON.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

/// Returns the last boundary of characters that is not after this byte.
pub(crate) fn boundary(text: &str, at: usize) -> usize {
    if at >= text.len() { text.len() } else { (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0) }
}

/// A value that is a string in JSON: written with `Display`, read with `FromStr`.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut short = Short { bytes: [0; _], len: 0 };
        match write!(short, "{}", self.0) {
            Ok(()) => serializer.serialize_str(short.as_str()),
            Err(fmt::Error) => serializer.collect_str(&self.0),
        }
    }
}

/// A buffer on the stack, since most texts are short, and are written faster in one piece.
struct Short {
    bytes: [u8; 64],
    len: usize,
}

impl Short {
    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr<Err: fmt::Display>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(Error::custom)
    }
}

/// A value that is a string in JSON, for `#[serde(with = "text::required")]`.
#[cfg(any(feature = "client", feature = "store"))]
pub(crate) mod required {
    use std::fmt;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Text;

    pub(crate) fn serialize<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        Text(value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        Text::<T>::deserialize(deserializer).map(|Text(value)| value)
    }
}

#[cfg(any(feature = "client", feature = "store"))]
/// An optional value that is a string in JSON, for `#[serde(with = "text::optional")]`.
pub(crate) mod optional {
    use std::fmt;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Text;

    #[allow(clippy::ref_option, reason = "serde requires this signature")]
    pub(crate) fn serialize<T: fmt::Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Text).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: fmt::Display>,
        D: Deserializer<'de>,
    {
        Option::<Text<T>>::deserialize(deserializer).map(|value| value.map(|Text(value)| value))
    }
}
