//! What the layer does with requests, and the records that it makes of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use tagtrail::{Sample, Trail};

use crate::layer::client_address::ClientAddress;
use crate::layer::framework;
use crate::model::limits::TextLimits;
use crate::model::record::{Caller, Record};
use crate::queue::log::QueryLog;

pub(crate) type Filter = dyn Fn(&Parts) -> bool + Send + Sync;
pub(crate) type FindCaller = dyn Fn(&Parts) -> Caller + Send + Sync;
pub(crate) type RecordFilter = dyn Fn(&Record) -> bool + Send + Sync;

/// The options of a [`QueryLogLayer`](crate::QueryLogLayer).
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) log: QueryLog,
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) query_string: bool,
    pub(crate) client: ClientAddress,
    pub(crate) caller: Option<Arc<FindCaller>>,
    pub(crate) host: Option<Cow<'static, str>>,
    pub(crate) service: Option<Cow<'static, str>>,
    pub(crate) limits: TextLimits,
    pub(crate) region_group: Option<String>,
    pub(crate) filter: Option<Arc<Filter>>,
    pub(crate) sample: Sample,
    pub(crate) or_if: Option<Arc<RecordFilter>>,
    pub(crate) standalone: bool,
    pub(crate) holds_response: bool,
    /// How long a handler or a response waits for its record.
    pub(crate) acknowledged_within: Duration,
}

impl Options {
    pub(crate) fn passes(&self, head: &Parts) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter(head))
    }

    /// For how long responses are held back, if they are.
    pub(crate) fn held_for(&self) -> Option<Duration> {
        self.holds_response.then_some(self.acknowledged_within)
    }

    pub(crate) fn samples(&self, record: &Record) -> bool {
        self.sample.is_sampled(record.trace_id)
    }

    pub(crate) fn keeps(&self, record: &Record) -> bool {
        self.samples(record) || self.or_if.as_ref().is_some_and(|records| records(record))
    }

    /// The record of a request that starts now.
    pub(crate) fn record(&self, trail: &Trail, head: &Parts) -> Record {
        let mut record = Record::of_request(trail, head);
        if self.query_string
            && let Some(query) = head.uri.query()
        {
            record.request.path.push('?');
            record.request.path.push_str(query);
        }
        record.request.route = framework::route(&head.extensions).map(str::to_owned);
        record.request.headers = self.headers.iter().filter_map(|name| header(&head.headers, name)).collect();
        record.client_ip = self.client.of(head);
        record.host.clone_from(&self.host);
        record.service.clone_from(&self.service);
        record.notes.region_group.clone_from(&self.region_group);
        if let Some(caller) = &self.caller {
            record.notes.caller = caller(head);
        }
        record.limit(&self.limits);
        record
    }
}

/// A header, with several lines of it joined; `None` if it is absent, or all of it is sensitive.
fn header(headers: &HeaderMap, name: &HeaderName) -> Option<(HeaderName, String)> {
    let mut lines = headers.get_all(name).iter().filter(|value| !value.is_sensitive());
    let mut text = text(lines.next()?).into_owned();
    for line in lines {
        text.push_str(", ");
        text.push_str(&self::text(line));
    }
    Some((name.clone(), text))
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("log", &self.log)
            .field("headers", &self.headers)
            .field("query_string", &self.query_string)
            .field("client", &self.client)
            .field("host", &self.host)
            .field("service", &self.service)
            .field("limits", &self.limits)
            .field("region_group", &self.region_group)
            .field("sample", &self.sample)
            .field("standalone", &self.standalone)
            .field("holds_response", &self.holds_response)
            .field("acknowledged_within", &self.acknowledged_within)
            .finish_non_exhaustive()
    }
}
