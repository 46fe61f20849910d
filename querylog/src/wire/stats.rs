//! The member `stats` of a line: [`StatsMember`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::model::record::Record;

/// The duration, sizes and counters of a request: an object of numbers.
pub(crate) struct StatsMember<'a> {
    pub(crate) query_time: Option<Duration>,
    pub(crate) query_bytes_in: u64,
    pub(crate) query_bytes_out: u64,
    pub(crate) counters: Cow<'a, [(Cow<'static, str>, u64)]>,
}

impl<'a> StatsMember<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        Self {
            query_time: record.duration,
            query_bytes_in: record.request.body_bytes,
            query_bytes_out: record.response.body_bytes,
            counters: Cow::Borrowed(&record.notes.counters),
        }
    }
}

/// The names that counters cannot have.
const RESERVED: [&str; 3] = ["query_time", "query_bytes_in", "query_bytes_out"];

impl Serialize for StatsMember<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("query_time", &self.query_time.map(millis))?;
        map.serialize_entry("query_bytes_in", &self.query_bytes_in)?;
        map.serialize_entry("query_bytes_out", &self.query_bytes_out)?;
        for (name, count) in self.counters.iter().filter(|(name, _)| !RESERVED.contains(&&**name)) {
            map.serialize_entry(name, count)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for StatsMember<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Stats)
    }
}

struct Stats;

impl<'de> Visitor<'de> for Stats {
    type Value = StatsMember<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut stats =
            StatsMember { query_time: None, query_bytes_in: 0, query_bytes_out: 0, counters: Cow::Borrowed(&[]) };
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match &*name {
                "query_time" => stats.query_time = map.next_value::<Option<f64>>()?.map(from_millis).transpose()?,
                "query_bytes_in" => stats.query_bytes_in = map.next_value()?,
                "query_bytes_out" => stats.query_bytes_out = map.next_value()?,
                _ => match map.next_value::<Count>()? {
                    Count::Number(count) => stats.counters.to_mut().push((Cow::Owned(name.into_owned()), count)),
                    Count::Other(_) => {}
                },
            }
        }
        Ok(stats)
    }
}

/// Returns milliseconds, with the precision of microseconds.
#[allow(clippy::cast_precision_loss, reason = "exact for 285 years")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// The inverse of [`millis`]. Clamps to the longest duration, which a line rounds up.
fn from_millis<E: Error>(millis: f64) -> Result<Duration, E> {
    let rounded = Duration::try_from_secs_f64((millis * 1_000.0).round() / 1_000_000.0);
    match rounded {
        Err(_) if millis > 0.0 => Ok(Duration::MAX),
        rounded => rounded.map_err(|_| E::custom("invalid query_time: expected a duration in milliseconds")),
    }
}

/// A counter, or a member that another writer added.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Other(IgnoredAny),
}
