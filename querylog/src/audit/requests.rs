//! What is asked about requests: [`RequestFilter`], by trace, tag, status and route.

use tagtrail::TraceId;

use crate::model::record::Record;
#[cfg(feature = "export")]
use crate::model::scope::ExportScope;
use crate::model::status::StatusMatch;
use crate::store::Key;

/// Requests that are asked for: those of an environment that have all that is said here. With a
/// [`Scan`](crate::store::Scan) around them they are asked for by [`AuditLog::requests`](crate::AuditLog::requests).
///
/// ```
/// use tagtrail_querylog::RequestFilter;
///
/// let failed_payments = RequestFilter::of("env1").route("/pay/{id}").status("5xx".parse()?).tag("project", "shop");
/// # Ok::<_, tagtrail_querylog::InvalidStatusMatch>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RequestFilter {
    scope: Scope,
    filters: Vec<Filter>,
}

/// Whose requests.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Environment(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Trace(TraceId),
    Tag(String, String),
    StatusMatch(StatusMatch),
    Route(String),
}

impl RequestFilter {
    /// All of an environment.
    pub fn of(exec_env_id: impl Into<String>) -> Self {
        Self { scope: Scope::Environment(exec_env_id.into()), filters: Vec::new() }
    }

    /// Those of a trace.
    pub fn trace(self, trace_id: TraceId) -> Self {
        self.with(Filter::Trace(trace_id))
    }

    /// Those with this tag.
    pub fn tag(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(Filter::Tag(name.into(), value.into()))
    }

    /// Those that were answered with this status.
    pub fn status(self, status: StatusMatch) -> Self {
        self.with(Filter::StatusMatch(status))
    }

    /// Those of a route, as the framework has it: `/posts/{id}`.
    pub fn route(self, route: impl Into<String>) -> Self {
        self.with(Filter::Route(route.into()))
    }

    fn with(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// The environment, where all of it is asked for.
    pub(crate) fn all_of(&self) -> Option<&str> {
        let Scope::Environment(id) = &self.scope;
        self.filters.is_empty().then_some(id)
    }

    /// The keys of the index that are asked for, each once. The one that most likely has the fewest entries comes first.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut filters: Vec<&Filter> = Vec::new();
        for filter in &self.filters {
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
        filters.sort_by_key(|filter| filter.rank());
        filters.into_iter().map(|filter| filter.key(&self.scope)).collect()
    }

    /// Whether a request is one of these. An entry of the index may tell what was so when the request began.
    pub(crate) fn has(&self, record: &Record) -> bool {
        self.scope.has(record) && self.filters.iter().all(|filter| filter.has(record))
    }
}

/// The keys by which a request is found: those that its begin has, and those that its end adds.
pub(crate) fn keys_of(record: &Record) -> [Vec<Key>; 2] {
    let tags = record.tags.iter().map(|(name, value)| Filter::Tag(name.to_owned(), value.to_owned()));
    let route = record.request.route.clone().map(Filter::Route);
    let begun = [Filter::Trace(record.trace_id)].into_iter().chain(tags).chain(route).collect();
    let code = record.response.status;
    let class = code.and_then(class).map(StatusMatch::Class);
    let ended = code.map(StatusMatch::Code).into_iter().chain(class).map(Filter::StatusMatch).collect();
    let environment = record.notes.caller.exec_env_id.clone().map(Scope::Environment);
    let of = |filters: Vec<Filter>| -> Vec<Key> {
        environment.iter().flat_map(|scope| filters.iter().map(|filter| filter.key(scope))).collect()
    };
    // The database is known when the handler has said it. Those that the begin has are there, then.
    [of(begun), of(ended).into_iter().chain(exported_keys(record)).collect()]
}

/// The keys by which exports find a request: of its region group, of its database, and of those above that.
fn exported_keys(record: &Record) -> impl Iterator<Item = Key> {
    let region_group = record.notes.region_group.as_deref();
    let path: Vec<_> = region_group.into_iter().chain(record.notes.database.iter().map(String::as_str)).collect();
    let depths = region_group.map_or(0, |_| path.len());
    (1..=depths).map(move |depth| exported_key(&path[..depth]))
}

fn exported_key(path: &[&str]) -> Key {
    Key::of(["exported"].iter().chain(path))
}

#[cfg(feature = "export")]
impl ExportScope {
    /// The key by which its requests are found.
    pub(crate) fn key(&self) -> Key {
        let path: Vec<_> =
            [self.region_group()].into_iter().chain(self.database().iter().map(String::as_str)).collect();
        exported_key(&path)
    }
}

fn class(code: u16) -> Option<u8> {
    u8::try_from(code / 100).ok()
}

impl Scope {
    fn parts(&self) -> [&str; 2] {
        match self {
            Self::Environment(id) => ["environment", id],
        }
    }

    fn has(&self, record: &Record) -> bool {
        match self {
            Self::Environment(id) => record.notes.caller.exec_env_id.as_ref() == Some(id),
        }
    }
}

impl Filter {
    fn rank(&self) -> u8 {
        match self {
            Self::Trace(_) => 0,
            Self::StatusMatch(StatusMatch::Code(400..) | StatusMatch::Class(4..)) => 1,
            Self::Tag(..) => 2,
            Self::Route(_) => 3,
            Self::StatusMatch(_) => 4,
        }
    }

    fn key(&self, scope: &Scope) -> Key {
        let [kind, whose] = scope.parts();
        let key = |parts: &[&str]| Key::of([kind, whose].iter().chain(parts));
        match self {
            Self::Trace(id) => key(&["trace", &id.to_string()]),
            Self::Tag(name, value) => key(&["tag", name, value]),
            Self::StatusMatch(StatusMatch::Code(code)) => key(&["status", &code.to_string()]),
            Self::StatusMatch(StatusMatch::Class(class)) => key(&["class", &class.to_string()]),
            Self::Route(route) => key(&["route", route]),
        }
    }

    fn has(&self, record: &Record) -> bool {
        let status = record.response.status;
        match self {
            Self::Trace(id) => record.trace_id == *id,
            Self::Tag(name, value) => record.tags.get(name) == Some(value),
            Self::StatusMatch(StatusMatch::Code(code)) => status == Some(*code),
            Self::StatusMatch(StatusMatch::Class(digit)) => status.and_then(class) == Some(*digit),
            Self::Route(route) => record.request.route.as_ref() == Some(route),
        }
    }
}

#[cfg(test)]
mod tests {
    use tagtrail::{Sample, Tags, Trail};

    use super::*;

    fn record() -> Record {
        let trail = Trail::start(Sample::Always).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
        let mut record = Record::new(&trail, "/posts/7");
        record.request.route = Some("/posts/{id}".into());
        record.response.status = Some(404);
        record.notes.caller.exec_env_id = Some("env1".into());
        record
    }

    #[test]
    fn a_request_is_found_by_all_that_it_has_and_by_nothing_else() {
        let record = record();
        let keys = keys_of(&record).concat();
        let all = || RequestFilter::of("env1");
        for (requests, expected) in [
            (all().trace(record.trace_id), true),
            (all().tag("project", "blog").tag("env", "prod"), true),
            (all().status(StatusMatch::Code(404)), true),
            (all().status(StatusMatch::Class(4)).route("/posts/{id}"), true),
            (all().trace(Trail::start(Sample::Always).trace_id()), false),
            (all().tag("project", "prod"), false),
            (all().tag("projectblog", ""), false),
            (all().status(StatusMatch::Code(400)), false),
            (all().status(StatusMatch::Class(5)), false),
            (all().route("/posts/7"), false),
            (RequestFilter::of("env2").trace(record.trace_id), false),
        ] {
            assert_eq!(requests.has(&record), expected, "{requests:?}");
            assert_eq!(requests.keys().iter().all(|key| keys.contains(key)), expected, "{requests:?}");
        }
        assert_eq!(keys.len(), 6);
        let nobodys = Record { notes: crate::Notes::default(), ..record };
        assert_eq!(keys_of(&nobodys).concat(), []);
    }

    #[test]
    fn what_is_rare_is_read_first() {
        let requests = RequestFilter::of("e")
            .status(StatusMatch::Code(200))
            .route("/")
            .tag("a", "b")
            .status(StatusMatch::Class(5));
        let ranks: Vec<_> =
            [StatusMatch::Class(5)].map(|status| RequestFilter::of("e").status(status).keys()[0]).into();
        assert_eq!(requests.keys()[0], ranks[0]);
        assert_eq!(requests.keys()[1..3], RequestFilter::of("e").tag("a", "b").route("/").keys());
        assert_eq!(requests.clone().tag("a", "b").route("/").keys(), requests.keys(), "each once");
    }
}
