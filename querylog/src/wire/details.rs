//! What a store keeps of a request beyond its audit record: JSON of which the store knows nothing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tagtrail::ParentId;
use uuid::Uuid;

use crate::model::audit_record::AuditRecord;
use crate::model::record::{Caller, Notes, Operation, Record};
use crate::model::text::Text;
use crate::wire::line::{
    OptionalText, RequestMember, ResponseMember, StatsMember, TagMember, TraceMember, database, owned, text,
};

/// The details of a request. With its audit record they are the whole [`Record`], but for what the operation printed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Details<'a> {
    trace: TraceMember,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sent: Vec<Text<ParentId>>,
    tags: TagMember,
    #[serde(borrow)]
    request: RequestMember<'a>,
    response: ResponseMember,
    stats: StatsMember<'a>,
    /// The name that the service gave the operation, without which the audit record has the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: OptionalText<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<Vec<Cow<'a, str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region_group: OptionalText<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: OptionalText<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shape: OptionalText<'a>,
}

impl<'a> Details<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        let notes = &record.notes;
        Self {
            trace: TraceMember::of(record),
            sent: record.sent.iter().copied().map(Text).collect(),
            tags: TagMember(record.tags.clone()),
            request: RequestMember::of(record),
            response: ResponseMember::of(record),
            stats: StatsMember::of(record),
            name: text(notes.operation.name.as_ref()),
            database: database(notes),
            region_group: text(notes.region_group.as_ref()),
            host: record.host.as_deref().map(Cow::Borrowed),
            shape: text(notes.shape.as_ref()),
        }
    }

    /// The record of the request. Its output is what the audit record has of it.
    ///
    /// # Errors
    ///
    /// If the text is none of details.
    pub(crate) fn record(text: &'a str, audit: AuditRecord) -> Result<Record, serde_json::Error> {
        let details: Self = serde_json::from_str(text)?;
        let (stats, trace) = (details.stats, details.trace);
        Ok(Record {
            // A record that a layer made has an id in the usual form.
            id: Uuid::try_parse(audit.id.as_str()).unwrap_or_default(),
            begin: audit.timestamp,
            duration: stats.query_time,
            trace_id: trace.trace_id.0,
            span_id: trace.span_id.0,
            parent_id: trace.parent_id.as_ref().map(|id| id.0),
            flags: trace.flags(),
            sent: details.sent.into_iter().map(|id| id.0).collect(),
            tags: details.tags.0,
            request: details.request.into_part(stats.query_bytes_in),
            response: details.response.into_part(stats.query_bytes_out),
            client_ip: audit.client_ip.and_then(|ip| ip.parse().ok()),
            host: owned(details.host).map(Cow::Owned),
            notes: Notes {
                caller: Caller { user_id: audit.user_id, user_email: audit.user_email, exec_env_id: audit.exec_env_id },
                operation: Operation {
                    id: audit.udf_id,
                    name: owned(details.name),
                    engine: audit.execution_engine,
                    cache: audit.cache,
                },
                database: details.database.unwrap_or_default().into_iter().map(Cow::into_owned).collect(),
                region_group: owned(details.region_group),
                counters: stats.counters.into_owned(),
                shape: owned(details.shape),
                shared_token: audit.shared_token,
                stdout: audit.stdout,
                stderr: audit.stderr,
                payload: audit.udf_data,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tagtrail::{Sample, Tags, Trail};

    use super::*;
    use crate::model::record::Outcome;

    #[test]
    fn a_record_is_its_audit_record_and_its_details() {
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
            let details = serde_json::to_string(&Details::of(&record)).unwrap();
            assert_eq!(Details::record(&details, record.audit()).unwrap(), record, "{details}");
        }
    }
}
