//! The table, row by row.

use super::*;
use crate::store::JobBody;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// Settings by default: a minute to settle, an hour of time, three attempts, leases of ten seconds, kept for a day.
fn settings() -> Settings {
    Settings::default()
}

/// So many microseconds from now.
fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_715_299_200_000_000 + micros)
}

fn url() -> JobUrl {
    JobUrl::new("http://127.0.0.1/x", at(HOUR))
}

/// A job whose range ended 10 seconds ago, and which has been due for a second.
fn job(state: ExportState) -> Job {
    use ExportState as S;
    let mut job = Job::new("x", "owner", "us-std".parse().unwrap(), at(-HOUR));
    job.state = state;
    job.due = at(-SECOND);
    let is_kept = state.is_final() || state == S::CreatingNewUrl;
    job.body = JobBody {
        time_start: at(-20 * SECOND),
        time_end: at(-10 * SECOND),
        updated: at(-SECOND),
        attempts: u32::from(state != S::Pending),
        started: (state != S::Pending).then(|| at(0)),
        file: matches!(state, S::Complete | S::CreatingNewUrl).then(|| "x.1.jsonl.gz".to_owned()),
        url: (state == S::Complete).then(url),
        kept_until: is_kept.then(|| at(HOUR)),
        ..JobBody::default()
    };
    job
}

fn events() -> Vec<Event> {
    vec![
        Event::Due,
        Event::OpenRequests(true),
        Event::OpenRequests(false),
        Event::ClaimFailed,
        Event::Renew,
        Event::Extracted(0, coverage()),
        Event::Extracted(7, coverage()),
        Event::Failed,
        Event::TimedOut,
        Event::Stopped,
        Event::Lost,
        Event::UrlMade(url()),
        Event::UrlExpired,
    ]
}

fn coverage() -> Coverage {
    Coverage::new(Vec::new(), Vec::new())
}

fn delete() -> Effect {
    Effect::DeleteFile("x.1.jsonl.gz".to_owned())
}

/// What a pair of a state and an event becomes: the state, when it is due from now, if it is saved, and the effects.
type Row = (ExportState, Event, ExportState, Option<i64>, Vec<Effect>);

fn table() -> Vec<Row> {
    use {Effect as F, Event as E, ExportState as S};
    let hour = Duration::from_secs(3_600);
    vec![
        (S::Pending, E::Due, S::Pending, None, vec![F::AskOpen]),
        (S::Pending, E::OpenRequests(true), S::Pending, Some(SECOND), vec![F::Save]),
        (S::Pending, E::OpenRequests(false), S::Requested, Some(10 * SECOND), vec![F::Save, F::Extract(hour)]),
        (S::Pending, E::ClaimFailed, S::Pending, Some(SECOND), vec![F::Save]),
        (S::Requested, E::Due, S::Requested, Some(10 * SECOND), vec![F::Save, F::Extract(hour)]),
        (S::Requested, E::ClaimFailed, S::Requested, Some(2 * SECOND), vec![F::Save]),
        (S::Requested, E::Renew, S::Requested, Some(10 * SECOND), vec![F::Save]),
        (S::Requested, E::Extracted(0, coverage()), S::DoesNotExist, Some(DAY), vec![F::Save]),
        (S::Requested, E::Extracted(7, coverage()), S::Requested, None, vec![F::MakeUrl(hour * 24)]),
        (S::Requested, E::UrlMade(url()), S::Complete, Some(0), vec![F::Save]),
        (S::Requested, E::Failed, S::Requested, Some(SECOND), vec![F::Save]),
        (S::Requested, E::TimedOut, S::TimedOut, Some(DAY), vec![F::Save]),
        (S::Requested, E::Stopped, S::Requested, Some(0), vec![delete(), F::Save]),
        (S::Requested, E::Lost, S::Requested, None, vec![delete()]),
        (S::Complete, E::UrlExpired, S::CreatingNewUrl, Some(0), vec![F::Save]),
        (S::CreatingNewUrl, E::Due, S::CreatingNewUrl, None, vec![F::MakeUrl(hour)]),
        (S::CreatingNewUrl, E::UrlMade(url()), S::Complete, Some(HOUR), vec![F::Save]),
        (S::Complete, E::Due, S::Complete, None, vec![delete(), F::DeleteRow]),
        (S::DoesNotExist, E::Due, S::DoesNotExist, None, vec![delete(), F::DeleteRow]),
        (S::Failed, E::Due, S::Failed, None, vec![delete(), F::DeleteRow]),
        (S::TimedOut, E::Due, S::TimedOut, None, vec![delete(), F::DeleteRow]),
    ]
}

#[test]
fn each_pair_of_a_state_and_an_event_is_as_in_the_table() {
    let mut table = table();
    for &state in ExportState::ALL {
        for event in events() {
            let what = format!("{state} {event:?}");
            let before = job(state);
            let row = table.iter().position(|row| (row.0, &row.1) == (state, &event)).map(|place| table.remove(place));
            let (after, effects) = next(before.clone(), event, at(0), &settings());
            let Some((_, _, expected, due, expected_effects)) = row else {
                assert_eq!((after, effects), (before, Vec::new()), "{what} is impossible, and changes nothing");
                continue;
            };
            assert_eq!((after.state, &effects), (expected, &expected_effects), "{what}");
            assert_eq!((&after.id, after.version), (&before.id, before.version), "{what}: the store counts versions");
            let (due, updated) = due.map_or((before.due, before.body.updated), |due| (at(due), at(0)));
            assert_eq!((after.due, after.body.updated), (due, updated), "{what}");
        }
    }
    assert_eq!(table, [], "each row was seen");
}

#[test]
fn an_attempt_starts_unless_there_were_too_many_or_it_is_too_late() {
    use ExportState as S;
    for (attempts, given_back, started, expected) in [
        (0, 0, None, S::Requested),
        (2, 0, Some(0), S::Requested),
        (5, 3, Some(0), S::Requested),
        (1, 0, Some(-HOUR), S::Requested),
        (3, 0, Some(0), S::Failed),
        (4, 1, Some(0), S::Failed),
        (1, 0, Some(-HOUR - 1), S::TimedOut),
        (3, 0, Some(-2 * HOUR), S::TimedOut),
    ] {
        for (state, event) in [(S::Pending, Event::OpenRequests(false)), (S::Requested, Event::Due)] {
            let mut before = job(state);
            (before.body.attempts, before.body.given_back) = (attempts, given_back);
            before.body.started = started.map(at);
            let (after, effects) = next(before, event, at(0), &settings());
            assert_eq!(after.state, expected, "{state} {attempts} {given_back} {started:?}");
            if expected == S::Requested {
                let first = at(started.unwrap_or(0));
                assert_eq!((after.body.attempts, after.body.started), (attempts + 1, Some(first)));
            } else {
                assert_eq!((after.body.attempts, after.body.kept_until), (attempts, Some(at(DAY))));
                assert_eq!(effects, [Effect::Save]);
            }
        }
    }
}

#[test]
fn a_pending_job_waits_for_open_requests_until_its_range_has_settled() {
    for (end, asks, due) in [(-60 * SECOND + 1, true, 1), (-59 * SECOND, true, SECOND), (-60 * SECOND, false, 0)] {
        let mut before = job(ExportState::Pending);
        before.body.time_end = at(end);
        let (after, effects) = next(before, Event::Due, at(0), &settings());
        assert_eq!(effects == [Effect::AskOpen], asks, "{end}");
        assert_eq!(after.state == ExportState::Requested, !asks, "{end}");
        if asks {
            let (after, _) = next(after, Event::OpenRequests(true), at(0), &settings());
            assert_eq!((after.state, after.due), (ExportState::Pending, at(due)), "{end}");
        }
    }
}

#[test]
fn a_failed_attempt_is_followed_by_another_each_time_later_and_three_are_the_most() {
    use ExportState as S;
    for (attempts, given_back, event, state, due) in [
        (1, 0, Event::Failed, S::Requested, SECOND),
        (2, 0, Event::Failed, S::Requested, 2 * SECOND),
        (2, 1, Event::Failed, S::Requested, SECOND),
        (3, 0, Event::Failed, S::Failed, DAY),
        (0, 0, Event::ClaimFailed, S::Requested, SECOND),
        (1, 0, Event::ClaimFailed, S::Requested, 2 * SECOND),
        (2, 0, Event::ClaimFailed, S::Failed, DAY),
    ] {
        let mut before = job(S::Requested);
        (before.body.attempts, before.body.given_back) = (attempts, given_back);
        let (after, effects) = next(before, event.clone(), at(0), &settings());
        assert_eq!((after.state, after.due, effects), (state, at(due), vec![Effect::Save]), "{attempts} {event:?}");
    }
}

#[test]
fn an_attempt_has_the_time_that_those_before_it_left() {
    // If the clock was set back, an attempt started in what is the future now: it has no more time than others.
    for (started, seconds) in [(0, 3_600), (10 * HOUR, 3_600), (-HOUR / 2, 1_800), (-HOUR, 0)] {
        let mut before = job(ExportState::Requested);
        before.body.started = Some(at(started));
        let (_, effects) = next(before, Event::Due, at(0), &settings());
        assert_eq!(effects, [Effect::Save, Effect::Extract(Duration::from_secs(seconds))], "{started}");
    }
}

#[test]
fn an_extracted_job_is_complete_once_its_file_has_a_url() {
    let mut before = job(ExportState::Requested);
    before.body.attempts = 2;
    let (after, effects) = next(before, Event::Extracted(7, coverage()), at(0), &settings());
    assert_eq!(effects, [Effect::MakeUrl(Duration::from_secs(24 * 3_600))]);
    assert_eq!(after.body.file.as_deref(), Some("x.2.jsonl.gz"));
    let (after, _) = next(after, Event::UrlMade(url()), at(SECOND), &settings());
    assert_eq!((after.state, after.due, after.body.kept_until), (ExportState::Complete, at(DAY), Some(at(DAY))));
    let shown = status(after.clone());
    assert_eq!(shown.coverage, Some(coverage()));
    assert_eq!(shown.presigned_url, Some(url().url));
    let (after, _) = next(after, Event::UrlExpired, at(2 * SECOND), &settings());
    assert_eq!(after.body.url, None);
    assert_eq!(status(after).presigned_url, None);
}

#[test]
fn a_stopped_attempt_is_given_back() {
    let (after, _) = next(job(ExportState::Requested), Event::Stopped, at(0), &settings());
    assert_eq!((after.body.attempts, after.body.given_back), (1, 1));
}

#[test]
fn files_of_all_attempts_are_deleted_when_a_job_is_kept_no_longer() {
    let names = |effects: &[Effect]| {
        let names = effects.iter().map(|effect| match effect {
            Effect::DeleteFile(name) => name.clone(),
            other => format!("{other:?}"),
        });
        names.collect::<Vec<_>>().join(" ")
    };
    for (state, kept_until) in [
        (ExportState::Complete, Some(0)),
        (ExportState::CreatingNewUrl, Some(0)),
        (ExportState::CreatingNewUrl, None),
        (ExportState::Failed, Some(-1)),
    ] {
        let mut before = job(state);
        before.body.attempts = 2;
        before.body.kept_until = kept_until.map(at);
        let (_, effects) = next(before, Event::Due, at(0), &settings());
        assert_eq!(names(&effects), "x.1.jsonl.gz x.2.jsonl.gz DeleteRow", "{state}");
    }
}

#[test]
fn a_window_ends_before_the_end_of_its_range() {
    let window = window(&job(ExportState::Pending));
    assert_eq!((window.start, window.end), (at(-20 * SECOND), at(-10 * SECOND - 1)));
}
