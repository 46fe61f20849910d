//! Requests that failed: `stats` and the filters agree on them.

use std::fs;
use std::time::Duration;

use tagtrail::{Sample, Trail};
use tagtrail_querylog::{Outcome, Record};

use crate::program::run;

/// A record, and whether its request failed.
fn records() -> Vec<(Record, bool)> {
    let of = |path: &str, status: Option<u16>, grpc_status, outcome, failed: bool| {
        let mut record = Record::new(&Trail::start(Sample::Always), path);
        record.notes.caller.exec_env_id = Some("env1".into());
        record.request.authority = Some("shop.example".into());
        (record.response.status, record.response.grpc_status) = (status, grpc_status);
        record.response.error = failed.then(|| "down\u{1b}[31m".to_owned());
        record.end(Duration::from_millis(1), outcome);
        (record, failed)
    };
    vec![
        of("/complete", Some(200), None, Outcome::Complete, false),
        of("/job", None, None, Outcome::Complete, false),
        of("/not-found", Some(404), None, Outcome::Complete, false),
        of("/fails", Some(500), None, Outcome::Complete, true),
        of("/panics", None, None, Outcome::Panicked, true),
        of("/body-panics", Some(200), None, Outcome::Panicked, true),
        of("/body-fails", Some(200), None, Outcome::Failed, true),
        of("/client-left", Some(200), None, Outcome::Aborted, false),
        of("/no-response", None, None, Outcome::Aborted, true),
        of("/refused", Some(400), None, Outcome::Refused, false),
        of("/grpc-ok", Some(200), Some(0), Outcome::Complete, false),
        of("/grpc-not-found", Some(200), Some(5), Outcome::Complete, false),
        of("/grpc-unavailable", Some(200), Some(14), Outcome::Complete, true),
    ]
}

#[test]
fn stats_and_filters_agree_on_files_and_stores() {
    let folder = tempfile::tempdir().unwrap();
    let records = records();
    let lines: String = records.iter().flat_map(|(record, _)| [record.to_string(), "\n".into()]).collect();
    fs::write(folder.path().join("log.jsonl"), lines).unwrap();
    let output = |arguments: &[&str]| {
        let output = run(folder.path(), arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    output(&["import", "log.jsonl", "--store", "sqlite:audit.db"]);
    let paths = |text: String| -> Vec<String> {
        let of_line = |line: &str| serde_json::from_str::<Record>(line).unwrap().request.path;
        text.lines().map(of_line).collect()
    };
    let expected = |keep: &dyn Fn(&Record, bool) -> bool| -> Vec<String> {
        let kept = records.iter().filter(|(record, failed)| keep(record, *failed));
        kept.map(|(record, _)| record.request.path.clone()).collect()
    };
    for (options, expected) in [
        (&["--failed"][..], expected(&|_, failed| failed)),
        (&["--outcome", "panicked"], expected(&|record, _| record.response.outcome == Some(Outcome::Panicked))),
        (&["--outcome", "complete"], expected(&|record, _| record.response.outcome == Some(Outcome::Complete))),
        (&["--grpc-status", "14"], vec!["/grpc-unavailable".to_owned()]),
        (&["--failed", "--outcome", "aborted"], vec!["/no-response".to_owned()]),
        (&["--authority", "SHOP.example", "--failed"], expected(&|_, failed| failed)),
        (&["--authority", "other.example"], vec![]),
    ] {
        assert_eq!(paths(output(&[&["cat", "log.jsonl"], options].concat())), expected, "{options:?}");
        let store = ["requests", "--store", "sqlite:audit.db", "--environment", "env1"];
        assert_eq!(paths(output(&[&store[..], options].concat())), expected, "{options:?}");
    }
    let stats = output(&["stats", "log.jsonl", "--by", "outcome", "--by", "grpc-status"]);
    let all: serde_json::Value = serde_json::from_str(stats.lines().next().unwrap()).unwrap();
    let failed = records.iter().filter(|(_, failed)| *failed).count();
    assert_eq!((&all["count"], &all["failed"]), (&records.len().into(), &failed.into()));
    assert!(stats.contains(r#""by":"grpc-status""#) && stats.contains(r#""value":"panicked""#), "{stats}");

    let table = output(&["cat", "log.jsonl", "--format", "table", "--grpc-status", "14"]);
    assert!(table.ends_with(" grpc 14 down\\u{1b}[31m\n"), "{table}");
    let rejected = run(folder.path(), &["cat", "log.jsonl", "--outcome", "bad"]);
    assert_eq!(rejected.status.code(), Some(2));
}
