//! A filter for requests, by trace, tag, route and how they ended: [`RequestFilter`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tagtrail::TraceId;

use crate::model::outcome::Outcome;
use crate::model::record::Record;
use crate::model::status::StatusMatch;
use crate::model::text;

/// A filter for requests: those that match everything that is set. By default, all requests match.
///
/// Its serialized form has the names and values of the REST API's parameters.
///
/// ```
/// use tagtrail_querylog::audit::RequestFilter;
///
/// let failed_payments = RequestFilter::new().route("/pay/{id}").status("5xx".parse()?).tag("project", "shop");
/// let json = r#"{"tag":["project=shop"],"status":"5xx","route":"/pay/{id}"}"#;
/// assert_eq!(serde_json::to_string(&failed_payments)?, json);
/// assert_eq!(serde_json::from_str::<RequestFilter>(json)?, failed_payments);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[must_use]
pub struct RequestFilter {
    #[serde(with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<TraceId>,
    #[serde(rename = "tag", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Tag>,
    #[serde(with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<StatusMatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grpc_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<bool>,
    #[serde(with = "text::optional", skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authority: Option<String>,
}

/// A tag with its value: `name=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl RequestFilter {
    /// Creates a filter that all requests match.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the trace of the requests.
    pub fn trace(self, trace_id: TraceId) -> Self {
        Self { trace: Some(trace_id), ..self }
    }

    /// Adds a tag that the requests have. If there are several, a request must have all of them.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push(Tag { name: name.into(), value: value.into() });
        self
    }

    /// Sets the status of the responses.
    pub fn status(self, status: StatusMatch) -> Self {
        Self { status: Some(status), ..self }
    }

    /// Sets the route of the requests, as the framework writes it: `/posts/{id}`.
    pub fn route(self, route: impl Into<String>) -> Self {
        Self { route: Some(route.into()), ..self }
    }

    /// Sets the gRPC status of the responses, as a number: 14 for `UNAVAILABLE`.
    pub fn grpc_status(self, status: u16) -> Self {
        Self { grpc_status: Some(status), ..self }
    }

    /// Sets whether the requests [failed](Record::has_failed).
    pub fn failed(self, failed: bool) -> Self {
        Self { failed: Some(failed), ..self }
    }

    /// Sets how the requests ended.
    pub fn outcome(self, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..self }
    }

    /// Sets the host and port that were asked for, in any case: `shop.example:8080`. There is no index for this, so
    /// combine it with something else that is set, or with a short time range.
    pub fn authority(self, authority: impl Into<String>) -> Self {
        Self { authority: Some(authority.into()), ..self }
    }

    /// Returns whether a request matches everything that is set.
    pub fn matches(&self, record: &Record) -> bool {
        self.trace.is_none_or(|id| record.trace_id == id)
            && self.tags.iter().all(|tag| record.tags.get(&tag.name) == Some(&tag.value))
            && self.status.is_none_or(|status| record.response.status.is_some_and(|code| status.matches(code)))
            && self.route.as_ref().is_none_or(|route| record.request.route.as_ref() == Some(route))
            && self.grpc_status.is_none_or(|status| record.response.grpc_status == Some(status))
            && self.failed.is_none_or(|failed| record.has_failed() == failed)
            && self.outcome.is_none_or(|outcome| record.response.outcome == Some(outcome))
            && self.authority.as_ref().is_none_or(|authority| has_authority(record, authority))
    }

    /// Returns the parameters of the REST API.
    #[cfg(any(feature = "audit-api", feature = "client"))]
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let trace = self.trace.map(|id| ("trace", id.to_string()));
        let tags = self.tags.iter().map(|tag| ("tag", tag.to_string()));
        let status = self.status.map(|status| ("status", status.to_string()));
        let route = self.route.clone().map(|route| ("route", route));
        let grpc_status = self.grpc_status.map(|status| ("grpc_status", status.to_string()));
        let failed = self.failed.map(|failed| ("failed", failed.to_string()));
        let outcome = self.outcome.map(|outcome| ("outcome", outcome.to_string()));
        let authority = self.authority.clone().map(|authority| ("authority", authority));
        let of_end = grpc_status.into_iter().chain(failed).chain(outcome);
        trace.into_iter().chain(tags).chain(status).chain(route).chain(of_end).chain(authority).collect()
    }
}

fn has_authority(record: &Record, authority: &str) -> bool {
    record.request.authority.as_ref().is_some_and(|recorded| recorded.eq_ignore_ascii_case(authority))
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl From<Tag> for String {
    fn from(tag: Tag) -> Self {
        tag.to_string()
    }
}

impl FromStr for Tag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("invalid tag: expected name=value")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl TryFrom<String> for Tag {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use tagtrail::{Sample, Tags, Trail};

    use super::*;

    #[test]
    fn filter_matches_if_everything_that_is_set_does() {
        let trail = Trail::start(Sample::Always).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
        let mut record = Record::new(&trail, "/posts/7");
        record.request.route = Some("/posts/{id}".into());
        record.request.authority = Some("shop.example".into());
        record.response.status = Some(404);
        record.response.grpc_status = Some(14);
        record.response.outcome = Some(Outcome::Aborted);
        let all = RequestFilter::new;
        for (filter, expected) in [
            (all(), true),
            (all().trace(record.trace_id), true),
            (all().tag("project", "blog").tag("env", "prod"), true),
            (all().status(StatusMatch::Code(404)), true),
            (all().status(StatusMatch::Class(4)).route("/posts/{id}"), true),
            (all().status(StatusMatch::Code(500)).status(StatusMatch::Code(404)), true),
            (all().trace(Trail::start(Sample::Always).trace_id()), false),
            (all().tag("project", "blog").tag("env", "test"), false),
            (all().tag("none", ""), false),
            (all().status(StatusMatch::Class(5)), false),
            (all().route("/posts/7"), false),
            (all().grpc_status(14).failed(true).outcome(Outcome::Aborted).authority("Shop.Example"), true),
            (all().grpc_status(0), false),
            (all().failed(false), false),
            (all().outcome(Outcome::Complete), false),
            (all().authority("shop.example:80"), false),
        ] {
            assert_eq!(filter.matches(&record), expected, "{filter:?}");
            let json = serde_json::to_string(&filter).unwrap();
            assert_eq!(serde_json::from_str::<RequestFilter>(&json).unwrap(), filter, "{json}");
        }
    }

    #[test]
    fn error_holds_no_input_if_a_serialized_filter_is_invalid() {
        for (json, expected) in [
            (r#"{"tag":["hunter2"]}"#, "invalid tag: expected name=value"),
            (r#"{"status":"hunter2"}"#, "invalid status: expected three digits (404) or a class (5xx)"),
        ] {
            let error = serde_json::from_str::<RequestFilter>(json).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
        }
    }
}
