//! The keys of the index of requests: those of a request, and those of a filter.

use tagtrail::TraceId;

use crate::model::record::Record;
use crate::model::request_filter::{RequestFilter, Tag};
#[cfg(feature = "export")]
use crate::model::scope::ExportScope;
use crate::model::status::StatusMatch;
use crate::store::Key;

/// What a key stands for, within an environment.
#[derive(PartialEq, Eq)]
enum Member<'a> {
    Trace(TraceId),
    Tag(&'a str, &'a str),
    Status(StatusMatch),
    Route(&'a str),
}

/// Returns the keys of a filter, each once. The key that probably has the fewest entries comes first. There are none if
/// the filter matches all requests of the environment.
pub(crate) fn keys_of_filter(environment: &str, filter: &RequestFilter) -> Vec<Key> {
    let tags = filter.tags.iter().map(|Tag { name, value }| Member::Tag(name, value));
    let trace = filter.trace.map(Member::Trace).into_iter();
    let status = filter.status.map(Member::Status);
    let members = trace.chain(tags).chain(status).chain(filter.route.as_deref().map(Member::Route));
    let mut distinct: Vec<Member<'_>> = Vec::new();
    for member in members {
        if !distinct.contains(&member) {
            distinct.push(member);
        }
    }
    distinct.sort_by_key(Member::rank);
    distinct.into_iter().map(|member| member.key(environment)).collect()
}

/// Returns the keys by which a request is found: those that its start has, and those that its end adds.
pub(crate) fn keys_of(record: &Record) -> [Vec<Key>; 2] {
    let tags = record.tags.iter().map(|(name, value)| Member::Tag(name, value));
    let route = record.request.route.as_deref().map(Member::Route);
    let started = [Member::Trace(record.trace_id)].into_iter().chain(tags).chain(route).collect();
    let code = record.response.status;
    let class = code.and_then(class).map(StatusMatch::Class);
    let ended = code.map(StatusMatch::Code).into_iter().chain(class).map(Member::Status).collect();
    let environment = record.notes.caller.exec_env_id.as_deref();
    let keys = |members: Vec<Member<'_>>| -> Vec<Key> {
        environment.iter().flat_map(|environment| members.iter().map(|member| member.key(environment))).collect()
    };
    // The handler sets the database, when the keys of the start are stored already.
    [keys(started), keys(ended).into_iter().chain(exported_keys(record)).collect()]
}

/// Returns the keys by which exports find a request: of its region group, its database, and the databases above.
fn exported_keys(record: &Record) -> impl Iterator<Item = Key> {
    let region_group = record.notes.region_group.as_deref();
    let path: Vec<_> = region_group.into_iter().chain(record.notes.database.iter().map(String::as_str)).collect();
    let depths = region_group.map_or(0, |_| path.len());
    (1..=depths).map(move |depth| exported_key(&path[..depth]))
}

fn exported_key(path: &[&str]) -> Key {
    Key::of(["exported"].iter().chain(path))
}

/// Returns the key by which the requests of an export's scope are found.
#[cfg(feature = "export")]
pub(crate) fn key_of_scope(scope: &ExportScope) -> Key {
    let path: Vec<_> = [scope.region_group()].into_iter().chain(scope.database().iter().map(String::as_str)).collect();
    exported_key(&path)
}

fn class(code: u16) -> Option<u8> {
    u8::try_from(code / 100).ok()
}

impl Member<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Trace(_) => 0,
            Self::Status(StatusMatch::Code(400..) | StatusMatch::Class(4..)) => 1,
            Self::Tag(..) => 2,
            Self::Route(_) => 3,
            Self::Status(_) => 4,
        }
    }

    fn key(&self, environment: &str) -> Key {
        let key = |parts: &[&str]| Key::of(["environment", environment].iter().chain(parts));
        match self {
            Self::Trace(id) => key(&["trace", &id.to_string()]),
            Self::Tag(name, value) => key(&["tag", name, value]),
            Self::Status(StatusMatch::Code(code)) => key(&["status", &code.to_string()]),
            Self::Status(StatusMatch::Class(class)) => key(&["class", &class.to_string()]),
            Self::Route(route) => key(&["route", route]),
        }
    }
}

#[cfg(test)]
mod tests {
    use tagtrail::{Sample, Tags, Trail};

    use super::*;

    #[test]
    fn keys_match_if_the_filter_does() {
        let trail = Trail::start(Sample::Always).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
        let mut record = Record::new(&trail, "/posts/7");
        record.request.route = Some("/posts/{id}".into());
        record.response.status = Some(404);
        record.notes.caller.exec_env_id = Some("env1".into());
        let keys = keys_of(&record).concat();
        let all = RequestFilter::new;
        for filter in [
            all().trace(record.trace_id),
            all().tag("project", "blog").tag("env", "prod"),
            all().status(StatusMatch::Code(404)),
            all().status(StatusMatch::Class(4)).route("/posts/{id}"),
            all().trace(Trail::start(Sample::Always).trace_id()),
            all().tag("project", "prod"),
            all().tag("projectblog", ""),
            all().status(StatusMatch::Code(400)),
            all().status(StatusMatch::Class(5)),
            all().route("/posts/7"),
        ] {
            let has_all = |environment| keys_of_filter(environment, &filter).iter().all(|key| keys.contains(key));
            assert_eq!(has_all("env1"), filter.matches(&record), "{filter:?}");
            assert!(!has_all("env2"), "{filter:?}");
        }
        assert_eq!(keys.len(), 6);
        let without_environment = Record { notes: crate::Notes::default(), ..record };
        assert_eq!(keys_of(&without_environment).concat(), []);
    }

    #[test]
    fn keys_of_a_filter_are_distinct_and_start_with_the_rarest() {
        let all = RequestFilter::new;
        let keys = |filter: &RequestFilter| keys_of_filter("e", filter);
        let failed = StatusMatch::Class(5);
        let filter = all().route("/").tag("a", "b").status(failed);
        let expected = [all().status(failed), all().tag("a", "b"), all().route("/")].map(|filter| keys(&filter)[0]);
        assert_eq!(keys(&filter), expected);
        assert_eq!(keys(&filter.clone().tag("a", "b")), expected);
        let succeeded = all().route("/").status(StatusMatch::Code(200));
        assert_eq!(keys(&succeeded)[0], keys(&all().route("/"))[0]);
    }
}
