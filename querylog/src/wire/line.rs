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
use tagtrail::{ParentId, TagOptions, Tags, TraceFlags, TraceId, TraceParent};
use uuid::Uuid;

#[cfg(feature = "store")]
use crate::model::audit_record::AuditRecord;
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

/// Returns what a store keeps of a record beside the columns of its row: the members that no column has.
///
/// # Panics
///
/// Never: a record has nothing that JSON does not.
#[cfg(feature = "store")]
pub(crate) fn stored(record: &Record) -> String {
    serde_json::to_string(&Line::stored(record)).expect("a record has nothing that JSON does not")
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
        Line::deserialize(deserializer)?.into_record().map_err(D::Error::custom)
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
    serde_json::from_slice::<Line<'_>>(line)?.into_record().map_err(serde_json::Error::custom)
}

/// The members of a line, in their order. `None` leaves a member out, `Some(None)` is null.
///
/// In files all members are there, but for those that are named below. A store leaves out what has a column of its own,
/// and what is null.
#[derive(serde::Serialize, serde::Deserialize)]
#[allow(clippy::option_option, reason = "what is left out is not null")]
pub(crate) struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<Text<Timestamp>>,
    pub(crate) trace: TraceMember,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<Vec<Text<ParentId>>>,
    pub(crate) tags: TagMember,
    #[serde(borrow)]
    pub(crate) request: RequestMember<'a>,
    pub(crate) response: ResponseMember,
    pub(crate) stats: StatsMember<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<CallerMember<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation: Option<OperationMember<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<Option<Vec<Str<'a>>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region_group: Option<Option<Str<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_ip: Option<Option<IpAddr>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Option<Str<'a>>>,
    // Only in files that have output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stderr: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Str<'a>>,
    // Only in stores. The name that the service gave the operation, without which the column has the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shape: Option<Str<'a>>,
}

/// A text, which is borrowed if it has no escapes.
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
    trace_id: Text<TraceId>,
    span_id: Text<ParentId>,
    parent_id: Option<Text<ParentId>>,
    flags: Text<Flags>,
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
    code: Option<u16>,
    outcome: Option<Text<Outcome>>,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct CallerMember<'a> {
    #[serde(borrow)]
    user_id: Option<Str<'a>>,
    user_email: Option<Str<'a>>,
    exec_env_id: Option<Str<'a>>,
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct OperationMember<'a> {
    #[serde(borrow)]
    id: Option<Str<'a>>,
    name: Option<Str<'a>>,
    engine: Option<Str<'a>>,
    cache: Option<bool>,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record, output: bool) -> Self {
        let notes = &record.notes;
        let Operation { id, name, engine, cache } = &notes.operation;
        let Caller { user_id, user_email, exec_env_id } = &notes.caller;
        let stored = Self::stored(record);
        Self {
            id: Some(record.id),
            ts: Some(Text(record.start_time)),
            sent: Some(stored.sent.unwrap_or_default()),
            caller: Some(CallerMember {
                user_id: text(user_id),
                user_email: text(user_email),
                exec_env_id: text(exec_env_id),
            }),
            operation: Some(OperationMember { id: text(id), name: text(name), engine: text(engine), cache: *cache }),
            database: Some(stored.database.flatten()),
            region_group: Some(stored.region_group.flatten()),
            client_ip: Some(record.client_ip),
            host: Some(stored.host.flatten()),
            stdout: text(&notes.stdout).filter(|_| output),
            stderr: text(&notes.stderr).filter(|_| output),
            payload: text(&notes.payload).filter(|_| output),
            name: None,
            shape: None,
            ..stored
        }
    }

    fn stored(record: &'a Record) -> Self {
        let notes = &record.notes;
        let path = || notes.database.iter().map(|name| Str(Cow::Borrowed(name))).collect();
        Self {
            id: None,
            ts: None,
            trace: TraceMember::of(record),
            sent: (!record.sent.is_empty()).then(|| record.sent.iter().copied().map(Text).collect()),
            tags: TagMember(record.tags.clone()),
            request: RequestMember::of(record),
            response: ResponseMember::of(record),
            stats: StatsMember::of(record),
            caller: None,
            operation: None,
            database: (!notes.database.is_empty()).then(|| Some(path())),
            region_group: text(&notes.region_group).map(Some),
            client_ip: None,
            host: record.host.as_deref().map(|host| Some(Str(Cow::Borrowed(host)))),
            stdout: None,
            stderr: None,
            payload: None,
            name: text(&notes.operation.name),
            shape: text(&notes.shape),
        }
    }

    fn into_record(self) -> Result<Record, &'static str> {
        let (Some(id), Some(Text(start_time))) = (self.id, &self.ts) else { return Err("`id` or `ts` is missing") };
        let start_time = *start_time;
        let caller = self.caller.unwrap_or_default();
        let operation = self.operation.unwrap_or_default();
        Ok(Record {
            id,
            start_time,
            duration: self.stats.query_time,
            trace_id: self.trace.trace_id.0,
            span_id: self.trace.span_id.0,
            parent_id: self.trace.parent_id.as_ref().map(|id| id.0),
            flags: self.trace.flags(),
            sent: self.sent.unwrap_or_default().into_iter().map(|id| id.0).collect(),
            tags: self.tags.0,
            request: self.request.into_part(self.stats.query_bytes_in),
            response: self.response.into_part(self.stats.query_bytes_out),
            client_ip: self.client_ip.flatten(),
            host: owned(self.host.flatten()).map(Cow::Owned),
            notes: Notes {
                caller: Caller {
                    user_id: owned(caller.user_id),
                    user_email: owned(caller.user_email),
                    exec_env_id: owned(caller.exec_env_id),
                },
                operation: Operation {
                    id: owned(operation.id),
                    name: owned(operation.name).or(owned(self.name)),
                    engine: owned(operation.engine),
                    cache: operation.cache,
                },
                database: self
                    .database
                    .flatten()
                    .unwrap_or_default()
                    .into_iter()
                    .map(|name| name.0.into_owned())
                    .collect(),
                region_group: owned(self.region_group.flatten()),
                counters: self.stats.counters.into_owned(),
                shape: owned(self.shape),
                shared_token: None,
                stdout: owned(self.stdout),
                stderr: owned(self.stderr),
                payload: owned(self.payload),
            },
        })
    }

    /// The record of a row: what its columns have goes before what the line has.
    ///
    /// # Errors
    ///
    /// If the text is not what a store keeps of a record.
    #[cfg(feature = "store")]
    pub(crate) fn read_stored(text: &'a str, columns: AuditRecord) -> Result<Record, serde_json::Error> {
        let mut line: Self = serde_json::from_str(text)?;
        // A record that a layer made has an id in the usual form.
        line.id = Some(Uuid::try_parse(columns.id.as_str()).unwrap_or_default());
        line.ts = Some(Text(columns.timestamp));
        line.client_ip = Some(columns.client_ip.and_then(|ip| ip.parse().ok()));
        let mut record = line.into_record().map_err(serde_json::Error::custom)?;
        let notes = &mut record.notes;
        notes.caller =
            Caller { user_id: columns.user_id, user_email: columns.user_email, exec_env_id: columns.exec_env_id };
        notes.operation = Operation {
            id: columns.udf_id,
            name: notes.operation.name.take(),
            engine: columns.execution_engine,
            cache: columns.cache,
        };
        notes.shared_token = columns.shared_token;
        (notes.stdout, notes.stderr, notes.payload) = (columns.stdout, columns.stderr, columns.udf_data);
        Ok(record)
    }
}

impl TraceMember {
    fn of(record: &Record) -> Self {
        Self {
            trace_id: Text(record.trace_id),
            span_id: Text(record.span_id),
            parent_id: record.parent_id.map(Text),
            flags: Text(Flags(record.flags)),
        }
    }

    fn flags(&self) -> TraceFlags {
        self.flags.0.0
    }

    /// The header of the response.
    pub(crate) fn traceparent(&self) -> String {
        TraceParent::new(self.trace_id.0, self.span_id.0, self.flags()).to_string()
    }
}

impl<'a> RequestMember<'a> {
    fn of(record: &'a Record) -> Self {
        let request = &record.request;
        Self {
            method: Text(request.method.clone()),
            path: Cow::Borrowed(&request.path),
            route: text(&request.route),
            http_version: request.version.map(|version| Text(HttpVersion(version))),
            headers: HeadersMember(Cow::Borrowed(&request.headers)),
        }
    }

    pub(crate) fn method(&self) -> &str {
        self.method.0.as_str()
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn into_part(self, body_bytes: u64) -> RequestPart {
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
    fn of(record: &Record) -> Self {
        Self { code: record.response.status, outcome: record.response.outcome.map(Text) }
    }

    pub(crate) fn code(&self) -> Option<u16> {
        self.code
    }

    fn into_part(self, body_bytes: u64) -> ResponsePart {
        ResponsePart { status: self.code, outcome: self.outcome.map(|outcome| outcome.0), body_bytes }
    }
}

#[allow(clippy::ref_option, reason = "for members as records have them")]
fn text(text: &Option<String>) -> Option<Str<'_>> {
    text.as_deref().map(|text| Str(Cow::Borrowed(text)))
}

fn owned(text: Option<Str<'_>>) -> Option<String> {
    text.map(|text| text.0.into_owned())
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
    fn of(record: &'a Record) -> Self {
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

#[cfg(all(test, feature = "store"))]
mod tests {
    use std::time::Duration;

    use tagtrail::{Sample, Tags, Trail};

    use super::*;
    use crate::model::record::Outcome;

    #[test]
    fn a_record_comes_back_from_its_columns_and_its_line() {
        let trail = Trail::start(Sample::Always).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
        let (head, ()) = http::Request::get("/posts/7?q=secret").body(()).unwrap().into_parts();
        let mut record = Record::of_request(&trail, &head);
        record.parent_id = Some(trail.span_id());
        record.sent = vec![trail.span_id()];
        record.request.route = Some("/posts/{id}".into());
        record.request.headers = vec![(http::header::USER_AGENT, "a\u{1b}\"\n".into())];
        record.request.body_bytes = 5;
        record.response.status = Some(200);
        record.response.body_bytes = 6;
        record.client_ip = Some([127, 0, 0, 1].into());
        record.host = Some("host".into());
        let minimal = record.clone();
        record.end(Duration::from_micros(1_234), Outcome::Panicked);
        record.notes = Notes {
            caller: Caller { user_id: Some("u".into()), user_email: Some("u@x".into()), exec_env_id: Some("e".into()) },
            operation: Operation {
                id: Some("id".into()),
                name: Some("name".into()),
                engine: Some("realtime".into()),
                cache: Some(false),
            },
            database: vec!["a".into(), "b".into()],
            region_group: Some("us-std".into()),
            counters: vec![("rows".into(), 3)],
            shape: Some("shape".into()),
            shared_token: Some("token".into()),
            stdout: Some("out".into()),
            stderr: Some("err".into()),
            payload: Some("data".into()),
        };
        for record in [minimal, record] {
            let stored = stored(&record);
            assert_eq!(Line::read_stored(&stored, record.audit()).unwrap(), record, "{stored}");
        }
    }
}
