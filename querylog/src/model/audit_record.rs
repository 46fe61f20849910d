//! A record in the form of the audit log: [`AuditRecord`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::record::{Outcome, Record};
use crate::model::time::Timestamp;

/// A record in the form of the audit log: fifteen members, which are null if there is nothing.
///
/// ```
/// use tagtrail::{Sample, Trail};
/// use tagtrail_querylog::Record;
///
/// let record = Record::new(&Trail::start(Sample::Always), "nightly/rollup");
/// let audit = serde_json::to_value(record.audit())?;
/// assert_eq!(audit["id"], record.id.to_string());
/// assert!(audit["execution_time"].is_null(), "it has not ended");
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The id. A record that is put twice is stored once.
    pub id: RecordId,
    /// When the request started.
    #[serde(with = "timestamp")]
    pub timestamp: Timestamp,
    /// The id of the caller's environment.
    pub exec_env_id: Option<String>,
    /// The id of the user who sent the request.
    pub user_id: Option<String>,
    /// The e-mail address of the user who sent the request.
    pub user_email: Option<String>,
    /// The id of the operation, which the API calls `udf`.
    pub udf_id: Option<String>,
    /// The name that the service gave the operation, or else the route.
    pub udf_name: Option<String>,
    /// What ran the operation, such as `realtime`.
    pub execution_engine: Option<String>,
    /// The duration in seconds; `None` if the request never completed.
    pub execution_time: Option<f64>,
    /// Whether the response came from a cache.
    pub cache: Option<bool>,
    /// What the operation printed.
    pub stdout: Option<String>,
    /// The errors that the operation printed.
    pub stderr: Option<String>,
    /// The input or the result of the operation.
    pub udf_data: Option<String>,
    /// The token that shares the operation.
    pub shared_token: Option<String>,
    /// The address of the client.
    pub client_ip: Option<String>,
}

impl AuditRecord {
    /// Creates a record that has an id and a time, and nothing else.
    ///
    /// ```
    /// use tagtrail_querylog::Timestamp;
    /// use tagtrail_querylog::audit::AuditRecord;
    /// use uuid::Uuid;
    ///
    /// let mut record = AuditRecord::new(Uuid::now_v7(), "2025-04-01".parse::<Timestamp>()?);
    /// record.udf_name = Some("nightly/rollup".into());
    /// # Ok::<_, tagtrail_querylog::InvalidTimestamp>(())
    /// ```
    pub fn new(id: impl Into<RecordId>, timestamp: impl Into<Timestamp>) -> Self {
        Self {
            id: id.into(),
            timestamp: timestamp.into(),
            exec_env_id: None,
            user_id: None,
            user_email: None,
            udf_id: None,
            udf_name: None,
            execution_engine: None,
            execution_time: None,
            cache: None,
            stdout: None,
            stderr: None,
            udf_data: None,
            shared_token: None,
            client_ip: None,
        }
    }
}

/// A time in the form of the audit log, such as `2025-04-01T00:00:00.000000+00:00`. Every form of ISO 8601 is read.
mod timestamp {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::text::Text;
    use crate::model::time::Timestamp;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
    pub(super) fn serialize<S: Serializer>(timestamp: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&timestamp.audit())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Text::deserialize(deserializer).map(|Text(timestamp)| timestamp)
    }
}

/// The id of an [`AuditRecord`]: a UUID, which keeps the text that it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RecordId(String);

impl RecordId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Uuid> for RecordId {
    fn from(id: Uuid) -> Self {
        Self(id.to_string())
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.0
    }
}

impl TryFrom<String> for RecordId {
    type Error = InvalidRecordId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Uuid::try_parse(&text).map(|_| Self(text)).map_err(|_| InvalidRecordId(()))
    }
}

impl FromStr for RecordId {
    type Err = InvalidRecordId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

/// The error for a text that is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID (example: 0190163d-8694-739b-aea5-966c26f8ad91)")]
pub struct InvalidRecordId(());

impl Record {
    /// Returns the record in the form of the audit log. If the request was aborted, for example by a timeout, or
    /// failed or panicked, it has no execution time, since it never completed.
    pub fn audit(&self) -> AuditRecord {
        self.clone().into_audit()
    }

    pub(crate) fn into_audit(self) -> AuditRecord {
        let Self { id, start_time, duration, request, response, client_ip, notes, .. } = self;
        let completed = !matches!(response.outcome, Some(Outcome::Aborted | Outcome::Failed | Outcome::Panicked));
        AuditRecord {
            id: id.into(),
            timestamp: start_time,
            exec_env_id: notes.caller.exec_env_id,
            user_id: notes.caller.user_id,
            user_email: notes.caller.user_email,
            udf_id: notes.operation.id,
            udf_name: notes.operation.name.or(request.route),
            execution_engine: notes.operation.engine,
            execution_time: duration.filter(|_| completed).map(|duration| duration.as_secs_f64()),
            cache: notes.operation.cache,
            stdout: notes.stdout,
            stderr: notes.stderr,
            udf_data: notes.payload,
            shared_token: notes.shared_token,
            client_ip: client_ip.map(|ip| ip.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_keeps_its_fifteen_members_and_their_order_when_read_back() {
        let text = concat!(
            r#"{"id":"0190163d-8694-739b-aea5-966c26f8ad91","timestamp":"2025-04-01T00:00:00.000000+00:00","#,
            r#""exec_env_id":"e","user_id":null,"user_email":null,"udf_id":null,"udf_name":"a//b \u0000","#,
            r#""execution_engine":"realtime","execution_time":0.1,"cache":false,"stdout":"","stderr":null,"#,
            r#""udf_data":"😀","shared_token":null,"client_ip":"::1"}"#
        );
        let record: AuditRecord = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        for other in ["2025-04-01T02:00:00+02:00", "2025-04-01T00:00:00.0000009Z", "2025-04-01"] {
            let text = text.replace("2025-04-01T00:00:00.000000+00:00", other);
            assert_eq!(serde_json::from_str::<AuditRecord>(&text).unwrap(), record, "{text}");
        }
    }

    #[test]
    fn record_id_keeps_its_text_if_that_is_a_uuid() {
        for text in ["0190163D-8694-739B-aea5-966c26f8ad91", "0190163d8694739baea5966c26f8ad91"] {
            assert_eq!(text.parse::<RecordId>().unwrap().as_str(), text);
        }
        for text in ["", "0190163d-8694-739b-aea5", "0190163d-8694-739b-aea5-966c26f8ad9g"] {
            assert_eq!(text.parse::<RecordId>(), Err(InvalidRecordId(())), "{text}");
        }
    }
}
