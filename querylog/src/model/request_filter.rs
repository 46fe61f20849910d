//! A filter for requests, by trace, tag, status and route: [`RequestFilter`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tagtrail::TraceId;

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

    /// Returns whether a request matches everything that is set.
    pub fn matches(&self, record: &Record) -> bool {
        self.trace.is_none_or(|id| record.trace_id == id)
            && self.tags.iter().all(|tag| record.tags.get(&tag.name) == Some(&tag.value))
            && self.status.is_none_or(|status| record.response.status.is_some_and(|code| status.matches(code)))
            && self.route.as_ref().is_none_or(|route| record.request.route.as_ref() == Some(route))
    }

    /// Returns the parameters of the REST API.
    #[cfg(any(feature = "audit-api", feature = "client"))]
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let trace = self.trace.map(|id| ("trace", id.to_string()));
        let tags = self.tags.iter().map(|tag| ("tag", tag.to_string()));
        let status = self.status.map(|status| ("status", status.to_string()));
        let route = self.route.clone().map(|route| ("route", route));
        trace.into_iter().chain(tags).chain(status).chain(route).collect()
    }
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
        record.response.status = Some(404);
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
