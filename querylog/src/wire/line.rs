//! A record as a line of a file: one JSON object, whose members and their order are the same in every line.
//!
//! Characters that break a line or that a terminal obeys are escaped, beyond what JSON asks for.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, Method, Version};
use memchr::memchr;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use tagtrail::{ParentId, TagOptions, Tags, TraceFlags, TraceId};
use uuid::Uuid;

use crate::model::printable::obeyed_by_terminals;
use crate::model::record::{Caller, Notes, Operation, Outcome, Record, RequestPart, ResponsePart};
use crate::model::text::Text;
use crate::model::time::Timestamp;

/// Appends the line of a record, with its line feed.
///
/// # Errors
///
/// None that is known: a record has nothing that JSON does not.
pub(crate) fn write_record(record: &Record, output: bool, line: &mut Vec<u8>) -> io::Result<()> {
    write_line(&Line::of(record, output), line)
}

/// Appends any value as a line, with the escapes of this file.
pub(crate) fn write_line(value: &impl Serialize, line: &mut Vec<u8>) -> io::Result<()> {
    let start = line.len();
    serde_json::to_writer(&mut *line, value)?;
    escape(line, start);
    line.push(b'\n');
    Ok(())
}

/// Escapes what a terminal obeys and JSON does not escape, from `start` on. In JSON it stands in strings only.
fn escape(line: &mut Vec<u8>, start: usize) {
    // Nothing of the kind is below 0x7f but what JSON escapes itself.
    if line[start..].is_ascii() && memchr(0x7f, &line[start..]).is_none() {
        return;
    }
    let json = String::from_utf8_lossy(&line[start..]).into_owned();
    line.truncate(start);
    for char in json.chars() {
        if obeyed_by_terminals(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                line.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        } else {
            line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// The line of a file that has all, output included, without its line feed.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, |line| write_record(self, true, line))
    }
}

/// The JSON object that a line is, output included.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Line::of(self, true).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Line::deserialize(deserializer).map(Line::into_record)
    }
}

/// Shows a line.
pub(crate) fn show(f: &mut fmt::Formatter<'_>, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> fmt::Result {
    let mut line = Vec::new();
    write(&mut line).map_err(|_| fmt::Error)?;
    f.write_str(str::from_utf8(&line).map_err(|_| fmt::Error)?.trim_end_matches('\n'))
}

/// Reads the line of a record, with or without its line feed.
pub(crate) fn read_record(line: &[u8]) -> Result<Record, serde_json::Error> {
    Ok(serde_json::from_slice::<Line<'_>>(line)?.into_record())
}

/// The members of a line, in their order.
#[derive(serde::Serialize, serde::Deserialize)]
struct Line<'a> {
    id: Uuid,
    ts: Text<Timestamp>,
    trace: TraceMember,
    sent: Vec<Text<ParentId>>,
    tags: TagMember,
    #[serde(borrow)]
    request: RequestMember<'a>,
    response: ResponseMember,
    stats: StatsMember<'a>,
    caller: CallerMember<'a>,
    operation: OperationMember<'a>,
    database: Option<Vec<Cow<'a, str>>>,
    region_group: OptionalText<'a>,
    client_ip: Option<IpAddr>,
    host: OptionalText<'a>,
    // Only where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout: OptionalText<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stderr: OptionalText<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: OptionalText<'a>,
}

pub(crate) type OptionalText<'a> = Option<Cow<'a, str>>;

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct TraceMember {
    pub(crate) trace_id: Text<TraceId>,
    pub(crate) span_id: Text<ParentId>,
    pub(crate) parent_id: Option<Text<ParentId>>,
    flags: Text<Flags>,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct RequestMember<'a> {
    method: Text<Method>,
    #[serde(borrow)]
    path: Cow<'a, str>,
    route: OptionalText<'a>,
    http_version: Option<Text<HttpVersion>>,
    headers: HeadersMember<'a>,
}

#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct ResponseMember {
    code: Option<u16>,
    outcome: Option<Text<Outcome>>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct CallerMember<'a> {
    #[serde(borrow)]
    user_id: OptionalText<'a>,
    user_email: OptionalText<'a>,
    exec_env_id: OptionalText<'a>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct OperationMember<'a> {
    #[serde(borrow)]
    id: OptionalText<'a>,
    name: OptionalText<'a>,
    engine: OptionalText<'a>,
    cache: Option<bool>,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record, output: bool) -> Self {
        let notes = &record.notes;
        Self {
            id: record.id,
            ts: Text(record.begin),
            trace: TraceMember::of(record),
            sent: record.sent.iter().copied().map(Text).collect(),
            tags: TagMember(record.tags.clone()),
            request: RequestMember::of(record),
            response: ResponseMember::of(record),
            stats: StatsMember::of(record),
            caller: CallerMember {
                user_id: text(notes.caller.user_id.as_ref()),
                user_email: text(notes.caller.user_email.as_ref()),
                exec_env_id: text(notes.caller.exec_env_id.as_ref()),
            },
            operation: OperationMember {
                id: text(notes.operation.id.as_ref()),
                name: text(notes.operation.name.as_ref()),
                engine: text(notes.operation.engine.as_ref()),
                cache: notes.operation.cache,
            },
            database: database(notes),
            region_group: text(notes.region_group.as_ref()),
            client_ip: record.client_ip,
            host: record.host.as_deref().map(Cow::Borrowed),
            stdout: text(notes.stdout.as_ref()).filter(|_| output),
            stderr: text(notes.stderr.as_ref()).filter(|_| output),
            payload: text(notes.payload.as_ref()).filter(|_| output),
        }
    }

    fn into_record(self) -> Record {
        Record {
            id: self.id,
            begin: self.ts.0,
            duration: self.stats.query_time,
            trace_id: self.trace.trace_id.0,
            span_id: self.trace.span_id.0,
            parent_id: self.trace.parent_id.as_ref().map(|id| id.0),
            flags: self.trace.flags(),
            sent: self.sent.into_iter().map(|id| id.0).collect(),
            tags: self.tags.0,
            request: self.request.into_part(self.stats.query_bytes_in),
            response: self.response.into_part(self.stats.query_bytes_out),
            client_ip: self.client_ip,
            host: owned(self.host).map(Cow::Owned),
            notes: Notes {
                caller: Caller {
                    user_id: owned(self.caller.user_id),
                    user_email: owned(self.caller.user_email),
                    exec_env_id: owned(self.caller.exec_env_id),
                },
                operation: Operation {
                    id: owned(self.operation.id),
                    name: owned(self.operation.name),
                    engine: owned(self.operation.engine),
                    cache: self.operation.cache,
                },
                database: self.database.unwrap_or_default().into_iter().map(Cow::into_owned).collect(),
                region_group: owned(self.region_group),
                counters: self.stats.counters.into_owned(),
                shape: None,
                shared_token: None,
                stdout: owned(self.stdout),
                stderr: owned(self.stderr),
                payload: owned(self.payload),
            },
        }
    }
}

impl TraceMember {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            trace_id: Text(record.trace_id),
            span_id: Text(record.span_id),
            parent_id: record.parent_id.map(Text),
            flags: Text(Flags(record.flags)),
        }
    }

    pub(crate) fn flags(&self) -> TraceFlags {
        self.flags.0.0
    }
}

impl<'a> RequestMember<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let request = &record.request;
        Self {
            method: Text(request.method.clone()),
            path: Cow::Borrowed(&request.path),
            route: text(request.route.as_ref()),
            http_version: request.version.map(|version| Text(HttpVersion(version))),
            headers: HeadersMember(Cow::Borrowed(&request.headers)),
        }
    }

    pub(crate) fn into_part(self, body_bytes: u64) -> RequestPart {
        RequestPart {
            method: self.method.0,
            path: self.path.into_owned(),
            route: owned(self.route),
            version: self.http_version.map(|version| version.0.0),
            headers: self.headers.0.into_owned(),
            body_bytes,
        }
    }
}

impl ResponseMember {
    pub(crate) fn of(record: &Record) -> Self {
        Self { code: record.response.status, outcome: record.response.outcome.map(Text) }
    }

    pub(crate) fn into_part(self, body_bytes: u64) -> ResponsePart {
        ResponsePart { status: self.code, outcome: self.outcome.map(|outcome| outcome.0), body_bytes }
    }
}

/// The path of a database; `None` where there is none.
pub(crate) fn database(notes: &Notes) -> Option<Vec<Cow<'_, str>>> {
    let path = &notes.database;
    (!path.is_empty()).then(|| path.iter().map(|name| Cow::Borrowed(name.as_str())).collect())
}

pub(crate) fn text(text: Option<&String>) -> OptionalText<'_> {
    text.map(|text| Cow::Borrowed(text.as_str()))
}

pub(crate) fn owned(text: OptionalText<'_>) -> Option<String> {
    text.map(Cow::into_owned)
}

/// The flags as the header has them: two hexadecimal digits.
struct Flags(TraceFlags);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0.bits())
    }
}

impl FromStr for Flags {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bits = u8::from_str_radix(text, 16).map_err(|_| "flags are two hexadecimal digits")?;
        Ok(Self(TraceFlags::from_bits_truncate(bits)))
    }
}

/// The number of a version of HTTP.
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
        found.map(|(version, _)| Self(*version)).ok_or("a version of HTTP is 0.9, 1.0, 1.1, 2 or 3")
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
        // The service that wrote them may have had other limits.
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

/// An object of strings, in its order.
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

/// The times, sizes and counters of a request: one object of numbers.
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

const TAKEN: [&str; 3] = ["query_time", "query_bytes_in", "query_bytes_out"];

impl Serialize for StatsMember<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("query_time", &self.query_time.map(millis))?;
        map.serialize_entry("query_bytes_in", &self.query_bytes_in)?;
        map.serialize_entry("query_bytes_out", &self.query_bytes_out)?;
        for (name, count) in self.counters.iter().filter(|(name, _)| !TAKEN.contains(&&**name)) {
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
                "query_time" => stats.query_time = map.next_value::<Option<f64>>()?.map(of_millis).transpose()?,
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

/// Milliseconds, to the microsecond.
#[allow(clippy::cast_precision_loss, reason = "exact for 285 years")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// The reverse of [`millis`]. What is longer than the longest duration is that one, which is rounded up in a line.
fn of_millis<E: Error>(millis: f64) -> Result<Duration, E> {
    let rounded = Duration::try_from_secs_f64((millis * 1_000.0).round() / 1_000_000.0);
    match rounded {
        Err(_) if millis > 0.0 => Ok(Duration::MAX),
        rounded => rounded.map_err(|_| E::custom("query_time is no duration in milliseconds")),
    }
}

/// A counter, or a member that some other writer added.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Other(IgnoredAny),
}
