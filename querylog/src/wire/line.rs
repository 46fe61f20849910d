//! A record as a line of a file: a JSON object, whose members have the same order in every line.
//!
//! Characters that break a line or that a terminal obeys are escaped, even if JSON does not require it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use tagtrail::ParentId;
use uuid::Uuid;

#[cfg(feature = "store")]
use crate::model::audit_record::AuditRecord;
use crate::model::record::{Caller, Notes, Operation, Record, ResponsePart};
use crate::model::text::Text;
use crate::model::time::Timestamp;
use crate::wire::hex::Hex;
use crate::wire::json::{show, write_line};
#[cfg(feature = "store")]
use crate::wire::json_writer::JsonWriter;
use crate::wire::members::{
    CallerMember, OperationMember, RequestMember, ResponseMember, Str, TagMember, TraceMember, borrowed, owned, text,
};
use crate::wire::stats::StatsMember;

/// Appends the line of a record, with a line feed.
///
/// # Errors
///
/// None that are known: everything in a record can be written as JSON.
pub(crate) fn write_record(record: &Record, output: bool, line: &mut Vec<u8>) -> io::Result<()> {
    write_line(&Line::of(record, output), line)
}

/// Returns the details that a store keeps of a record: the members that have no column.
///
/// # Panics
///
/// Never: everything in a record can be written as JSON.
#[cfg(feature = "store")]
pub(crate) fn stored(record: &Record) -> String {
    let mut json = Vec::new();
    Line::stored(record).serialize(JsonWriter(&mut json)).expect("everything in a record can be written as JSON");
    String::from_utf8(json).expect("JSON is UTF-8")
}

/// Writes the line of a file, with output and without a line feed.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, |line| write_record(self, true, line))
    }
}

/// Serializes the JSON object of a line, with output.
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

/// Parses the line of a record, with or without a line feed.
pub(crate) fn read_record(line: &[u8]) -> Result<Record, serde_json::Error> {
    serde_json::from_slice::<Line<'_>>(line)?.into_record().map_err(serde_json::Error::custom)
}

/// The members of a line, in their order. `None` leaves a member out, `Some(None)` is null.
///
/// In files, all members are present, except as noted below. A store leaves out members that have a column, and those
/// that are null.
#[derive(serde::Serialize, serde::Deserialize)]
#[allow(clippy::option_option, reason = "a member that is left out is not null")]
pub(crate) struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<Text<Timestamp>>,
    pub(crate) trace: TraceMember,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<Vec<Hex<ParentId>>>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<Option<Str<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authority: Option<Option<Str<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpc_status: Option<Option<u16>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Option<Str<'a>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Vec<Str<'a>>>,
    // Only in files that record output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stderr: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Str<'a>>,
    // Only in stores. The name that the service gave the operation; without one, the column has the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Str<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shape: Option<Str<'a>>,
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
            service: Some(record.service.as_deref().map(borrowed)),
            authority: Some(stored.authority.flatten()),
            grpc_status: Some(record.response.grpc_status),
            error: Some(stored.error.flatten()),
            cut: Some(stored.cut.unwrap_or_default()),
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
        let path = || notes.database.iter().map(|name| borrowed(name)).collect();
        Self {
            id: None,
            ts: None,
            trace: TraceMember::of(record),
            sent: (!record.sent.is_empty()).then(|| record.sent.iter().copied().map(Hex).collect()),
            tags: TagMember(record.tags.clone()),
            request: RequestMember::of(record),
            response: ResponseMember::of(record),
            stats: StatsMember::of(record),
            caller: None,
            operation: None,
            database: (!notes.database.is_empty()).then(|| Some(path())),
            region_group: text(&notes.region_group).map(Some),
            client_ip: None,
            host: record.host.as_deref().map(borrowed).map(Some),
            service: None,
            authority: text(&record.request.authority).map(Some),
            grpc_status: record.response.grpc_status.map(Some),
            error: text(&record.response.error).map(Some),
            cut: (!record.cut.is_empty()).then(|| record.cut.iter().map(|name| borrowed(name)).collect()),
            stdout: None,
            stderr: None,
            payload: None,
            name: text(&notes.operation.name),
            shape: text(&notes.shape),
        }
    }

    fn into_record(self) -> Result<Record, &'static str> {
        let (Some(id), Some(Text(start_time))) = (self.id, &self.ts) else { return Err("`id` and `ts` are required") };
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
            request: self.request.into_part(owned(self.authority.flatten()), self.stats.query_bytes_in),
            response: ResponsePart {
                status: self.response.code,
                outcome: self.response.outcome(),
                body_bytes: self.stats.query_bytes_out,
                grpc_status: self.grpc_status.flatten(),
                error: owned(self.error.flatten()),
            },
            client_ip: self.client_ip.flatten(),
            host: owned(self.host.flatten()).map(Cow::Owned),
            service: owned(self.service.flatten()).map(Cow::Owned),
            cut: self.cut.unwrap_or_default().into_iter().map(|name| Cow::Owned(name.0.into_owned())).collect(),
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

    /// Parses the details of a row. The values of its columns take precedence.
    ///
    /// # Errors
    ///
    /// If the text is not the details of a record.
    #[cfg(feature = "store")]
    pub(crate) fn read_stored(text: &'a str, columns: AuditRecord) -> Result<Record, serde_json::Error> {
        let mut line: Self = serde_json::from_str(text)?;
        // A record that a layer created has a UUID in the usual form.
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

#[cfg(all(test, feature = "store"))]
mod tests {
    use std::time::Duration;

    use tagtrail::{Sample, Tags, Trail};

    use super::*;
    use crate::model::record::Outcome;

    #[test]
    fn record_is_read_back_from_its_columns_and_details() {
        let trail = Trail::start(Sample::Always).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
        let (parts, ()) = http::Request::get("/posts/7?q=secret").body(()).unwrap().into_parts();
        let mut record = Record::of_request(&trail, &parts);
        record.parent_id = Some(trail.span_id());
        record.sent = vec![trail.span_id()];
        record.request.route = Some("/posts/{id}".into());
        record.request.headers = vec![(http::header::USER_AGENT, "a\u{1b}\"\n".into())];
        record.request.body_bytes = 5;
        record.response.status = Some(200);
        record.response.body_bytes = 6;
        record.request.authority = Some("shop.example:8080".into());
        record.cut = vec!["path".into(), "headers.user-agent".into()];
        record.response.grpc_status = Some(14);
        record.response.error = Some("down: no route to host".into());
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
