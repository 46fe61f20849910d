//! The members of a line.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::{HeaderName, Method, Version};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use tagtrail::{ParentId, TagOptions, Tags, TraceFlags, TraceId};

use crate::model::record::{Outcome, Record, RequestPart};
use crate::model::text::Text;
use crate::wire::hex::{Bytes, Hex};

/// Text, borrowed if it has no escapes.
#[derive(serde::Serialize, serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub(crate) struct Str<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl AsRef<str> for Str<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct TraceMember {
    pub(crate) trace_id: Hex<TraceId>,
    pub(crate) span_id: Hex<ParentId>,
    pub(crate) parent_id: Option<Hex<ParentId>>,
    flags: Hex<Flags>,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct RequestMember<'a> {
    method: Text<Method>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    route: Option<Str<'a>>,
    http_version: Option<Text<HttpVersion>>,
    headers: HeadersMember<'a>,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct ResponseMember {
    pub(crate) code: Option<u16>,
    outcome: Option<OutcomeMember>,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct CallerMember<'a> {
    #[serde(borrow)]
    pub(crate) user_id: Option<Str<'a>>,
    pub(crate) user_email: Option<Str<'a>>,
    pub(crate) exec_env_id: Option<Str<'a>>,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct OperationMember<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Str<'a>>,
    pub(crate) name: Option<Str<'a>>,
    pub(crate) engine: Option<Str<'a>>,
    pub(crate) cache: Option<bool>,
}

impl TraceMember {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            trace_id: Hex(record.trace_id),
            span_id: Hex(record.span_id),
            parent_id: record.parent_id.map(Hex),
            flags: Hex(Flags(record.flags)),
        }
    }

    pub(crate) fn flags(&self) -> TraceFlags {
        self.flags.0.0
    }

    /// The header of the response.
    #[cfg(feature = "export")]
    pub(crate) fn traceparent(&self) -> String {
        tagtrail::TraceParent::new(self.trace_id.0, self.span_id.0, self.flags()).to_string()
    }
}

impl<'a> RequestMember<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let request = &record.request;
        Self {
            method: Text(request.method.clone()),
            path: Cow::Borrowed(&request.path),
            route: text(&request.route),
            http_version: request.version.map(|version| Text(HttpVersion(version))),
            headers: HeadersMember(Cow::Borrowed(&request.headers)),
        }
    }

    #[cfg(feature = "export")]
    pub(crate) fn method(&self) -> &str {
        self.method.0.as_str()
    }

    #[cfg(feature = "export")]
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn into_part(self, authority: Option<String>, body_bytes: u64) -> RequestPart {
        RequestPart {
            method: self.method.0,
            path: self.path.into_owned(),
            authority,
            route: owned(self.route),
            version: self.http_version.map(|version| version.0.0),
            headers: self.headers.0.into_owned(),
            body_bytes,
        }
    }
}

impl ResponseMember {
    pub(crate) fn of(record: &Record) -> Self {
        Self { code: record.response.status, outcome: record.response.outcome.map(OutcomeMember) }
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome.as_ref().map(|outcome| outcome.0)
    }
}

/// An outcome by its word. A word of a later version is another outcome, and no error.
struct OutcomeMember(Outcome);

impl Serialize for OutcomeMember {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for OutcomeMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        Ok(Self(word.parse().unwrap_or(Outcome::Other)))
    }
}

/// Borrows a text.
#[allow(clippy::ref_option, reason = "for members as records have them")]
pub(crate) fn text(text: &Option<String>) -> Option<Str<'_>> {
    text.as_deref().map(borrowed)
}

pub(crate) fn borrowed(text: &str) -> Str<'_> {
    Str(Cow::Borrowed(text))
}

/// Returns a text that borrows nothing.
pub(crate) fn owned(text: Option<Str<'_>>) -> Option<String> {
    text.map(|text| text.0.into_owned())
}

/// The flags as in the header: two hexadecimal digits.
struct Flags(TraceFlags);

impl Bytes for Flags {
    fn bytes(&self) -> ([u8; 16], usize) {
        self.0.bytes()
    }
}

impl FromStr for Flags {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bits = u8::from_str_radix(text, 16).map_err(|_| "invalid flags: expected two hexadecimal digits")?;
        Ok(Self(TraceFlags::from_bits_truncate(bits)))
    }
}

/// A version of HTTP, as its number.
struct HttpVersion(Version);

impl HttpVersion {
    const ALL: [(Version, &str); 5] = [
        (Version::HTTP_11, "1.1"),
        (Version::HTTP_2, "2"),
        (Version::HTTP_10, "1.0"),
        (Version::HTTP_3, "3"),
        (Version::HTTP_09, "0.9"),
    ];
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(version, _)| *version == self.0).map_or("", |(_, number)| number))
    }
}

impl FromStr for HttpVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|(_, number)| *number == text);
        found.map(|(version, _)| Self(*version)).ok_or("invalid HTTP version: expected 0.9, 1.0, 1.1, 2 or 3")
    }
}

/// Tags: an object of names and values.
pub(crate) struct TagMember(pub(crate) Tags);

impl Serialize for TagMember {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for TagMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = deserializer.deserialize_map(Pairs)?;
        // The service that wrote the tags may have had other limits.
        let max = usize::from(u16::MAX);
        let options = TagOptions::default().max_tags(u8::MAX.into()).max_name(max).max_value(max).max_length(max);
        options.from_pairs(pairs).map(Self).map_err(Error::custom)
    }
}

/// Headers: an object of names and values.
struct HeadersMember<'a>(Cow<'a, [(HeaderName, String)]>);

impl Serialize for HeadersMember<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name.as_str(), value)))
    }
}

impl<'de> Deserialize<'de> for HeadersMember<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = deserializer.deserialize_map(Pairs)?.into_iter();
        let named = pairs.map(|(name, value)| Ok((HeaderName::try_from(name).map_err(Error::custom)?, value)));
        Ok(Self(Cow::Owned(named.collect::<Result<_, _>>()?)))
    }
}

/// Reads an object of strings, in order.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
