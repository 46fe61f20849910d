//! The job of an export: [`Job`].

use serde::{Deserialize, Serialize};

use crate::model::coverage::Coverage;
use crate::model::export_status::ExportState;
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::store::StoreError;

/// The job of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Job {
    /// The id.
    pub id: String,
    /// The owner, within which tokens are unique and jobs are counted.
    pub owner: String,
    /// The idempotency token that the export was requested with.
    pub token: Option<String>,
    /// What is exported.
    pub scope: ExportScope,
    /// The state of the export.
    pub state: ExportState,
    /// How often the job has changed.
    pub version: i64,
    /// When it was inserted.
    pub created: Timestamp,
    /// When the job needs work next.
    pub due: Timestamp,
    /// The other members, which a store keeps as JSON.
    pub body: JobBody,
}

impl Job {
    /// Creates a pending job without a token, which is due at once. Its other members have their defaults.
    pub fn new(id: impl Into<String>, owner: impl Into<String>, scope: ExportScope, created: Timestamp) -> Self {
        Self {
            id: id.into(),
            owner: owner.into(),
            token: None,
            scope,
            state: ExportState::Pending,
            version: 0,
            created,
            due: created,
            body: JobBody::default(),
        }
    }
}

/// The part of a job that a store keeps as JSON, and need not read. In JSON, times are in microseconds since 1970
/// (UTC), but for those of the coverage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct JobBody {
    /// The start of the range, inclusive.
    #[serde(with = "micros")]
    pub time_start: Timestamp,
    /// The end of the range, exclusive.
    #[serde(with = "micros")]
    pub time_end: Timestamp,
    /// When the job last changed.
    #[serde(with = "micros")]
    pub updated: Timestamp,
    /// The number of extractions that have started.
    pub attempts: u32,
    /// The number of these that were given back by processes that stopped.
    pub given_back: u32,
    /// When the first extraction started.
    #[serde(with = "micros::optional")]
    pub started: Option<Timestamp>,
    /// The name of the file that contains the records.
    pub file: Option<String>,
    /// The URL of the file.
    pub url: Option<JobUrl>,
    /// When the file and the job will be deleted.
    #[serde(with = "micros::optional")]
    pub kept_until: Option<Timestamp>,
    /// What is missing from the range, as of when the records were extracted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

/// The URL of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, i64)", into = "(String, i64)")]
#[non_exhaustive]
pub struct JobUrl {
    /// The URL.
    pub url: String,
    /// When the URL expires.
    pub expires: Timestamp,
}

impl JobUrl {
    /// Creates a URL that expires at a time.
    pub fn new(url: impl Into<String>, expires: Timestamp) -> Self {
        Self { url: url.into(), expires }
    }
}

impl From<(String, i64)> for JobUrl {
    fn from((url, expires): (String, i64)) -> Self {
        Self::new(url, Timestamp::from_micros(expires))
    }
}

impl From<JobUrl> for (String, i64) {
    fn from(JobUrl { url, expires }: JobUrl) -> Self {
        (url, expires.as_micros())
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Job {
    pub(super) fn body_text(&self) -> Result<String, StoreError> {
        serde_json::to_string(&self.body).map_err(StoreError::failed)
    }

    /// Parses the members that a store keeps as text.
    pub(super) fn read(
        scope: &str,
        state: &str,
        body: &str,
    ) -> Result<(ExportScope, ExportState, JobBody), StoreError> {
        Ok((
            scope.parse().map_err(StoreError::failed)?,
            state.parse().map_err(StoreError::failed)?,
            // The error of the parser may contain a URL.
            serde_json::from_str(body).map_err(|_| StoreError::failed("the body of a job is damaged"))?,
        ))
    }
}

/// Times as microseconds since 1970 (UTC).
mod micros {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::time::Timestamp;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
    pub(super) fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        moment.as_micros().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_micros)
    }

    pub(super) mod optional {
        use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp};

        #[allow(clippy::ref_option, reason = "serde requires this signature")]
        pub(crate) fn serialize<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            moment.map(Timestamp::as_micros).serialize(serializer)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_micros))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_read_from_the_json_that_stores_have() {
        let text = concat!(
            r#"{"time_start":1,"time_end":2,"updated":3,"attempts":4,"given_back":5,"started":6,"file":"a.gz","#,
            r#""url":["http://127.0.0.1/x",7],"kept_until":8}"#
        );
        let body: JobBody = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&body).unwrap(), text);
        let at = Timestamp::from_micros;
        assert_eq!(body.url, Some(JobUrl::new("http://127.0.0.1/x", at(7))));
        assert_eq!((body.time_start, body.started, body.kept_until), (at(1), Some(at(6)), Some(at(8))));
    }

    #[test]
    fn body_has_defaults_for_members_that_are_missing() {
        let body: JobBody = serde_json::from_str(r#"{"time_end":2,"url":null,"later":true}"#).unwrap();
        assert_eq!(body, JobBody { time_end: Timestamp::from_micros(2), ..JobBody::default() });
    }
}
