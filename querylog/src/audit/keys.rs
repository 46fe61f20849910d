//! The keys of the index of requests: those that a request has, and those that are asked for.

use tagtrail::TraceId;

use crate::model::record::{Outcome, Record};
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
    GrpcStatus(u16),
    Failed,
    /// Any but `complete`, so that an ordinary request has no entry for it.
    Outcome(Outcome),
}

/// Returns the keys that are asked for, each once. The one that most likely has the fewest entries comes first. There
/// are none if all requests of the environment are asked for, or those that have something without an index.
pub(crate) fn keys_of_filter(environment: &str, filter: &RequestFilter) -> Vec<Key> {
    let tags = filter.tags.iter().map(|Tag { name, value }| Member::Tag(name, value));
    let trace = filter.trace.map(Member::Trace).into_iter();
    let status = filter.status.map(Member::Status);
    let failed = filter.failed.filter(|failed| *failed).map(|_| Member::Failed);
    let of_end = filter.grpc_status.map(Member::GrpcStatus).into_iter().chain(failed).chain(unusual(filter.outcome));
    let members = trace.chain(tags).chain(status).chain(filter.route.as_deref().map(Member::Route)).chain(of_end);
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
    let status = code.map(StatusMatch::Code).into_iter().chain(class).map(Member::Status);
    let grpc_status = record.response.grpc_status.map(Member::GrpcStatus);
    let failed = record.has_failed().then_some(Member::Failed);
    let ended = status.chain(grpc_status).chain(failed).chain(unusual(record.response.outcome)).collect();
    let environment = record.notes.caller.exec_env_id.as_deref();
    let keys = |members: Vec<Member<'_>>| -> Vec<Key> {
        environment.iter().flat_map(|environment| members.iter().map(|member| member.key(environment))).collect()
    };
    // The handler notes the database. By then the keys of the start are stored.
    [keys(started), keys(ended).into_iter().chain(exported_keys(record)).collect()]
}

/// Returns the keys by which exports find a request: of its region group, of its database, and of those above that.
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

fn unusual<'a>(outcome: Option<Outcome>) -> Option<Member<'a>> {
    outcome.filter(|outcome| *outcome != Outcome::Complete).map(Member::Outcome)
}

fn class(code: u16) -> Option<u8> {
    u8::try_from(code / 100).ok()
}

impl Member<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Trace(_) => 0,
            Self::Status(StatusMatch::Code(400..) | StatusMatch::Class(4..))
            | Self::GrpcStatus(1..)
            | Self::Failed
            | Self::Outcome(_) => 1,
            Self::Tag(..) => 2,
            Self::Route(_) => 3,
            Self::Status(_) | Self::GrpcStatus(0) => 4,
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
            Self::GrpcStatus(status) => key(&["grpc_status", &status.to_string()]),
            Self::Failed => key(&["failed"]),
            Self::Outcome(outcome) => key(&["outcome", outcome.as_str()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use tagtrail::{Sample, Tags, Trail};

    use super::*;

    #[test]
    fn keys_of_a_filter_are_those_of_the_requests_that_match_it() {
        let trail = Trail::start(Sample::Always).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
        let mut record = Record::new(&trail, "/posts/7");
        record.request.route = Some("/posts/{id}".into());
        record.response.status = Some(404);
        record.response.grpc_status = Some(0);
        record.response.outcome = Some(Outcome::Failed);
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
            all().grpc_status(0).failed(true).outcome(Outcome::Failed),
            all().grpc_status(14),
            all().outcome(Outcome::Aborted),
        ] {
            let has_all = |environment| keys_of_filter(environment, &filter).iter().all(|key| keys.contains(key));
            assert_eq!(has_all("env1"), filter.matches(&record), "{filter:?}");
            assert!(!has_all("env2"), "{filter:?}");
        }
        assert_eq!(keys.len(), 9);
        let mut ordinary = record.clone();
        ordinary.response.grpc_status = None;
        ordinary.response.outcome = Some(Outcome::Complete);
        assert_eq!(keys_of(&ordinary).concat().len(), 6, "no entry more");
        let nobodys = Record { notes: crate::model::record::Notes::default(), ..record };
        assert_eq!(keys_of(&nobodys).concat(), []);
    }

    #[test]
    fn keys_of_a_filter_start_with_the_rarest_and_are_there_once() {
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
