//! Times that people write, in the options that take one.

use std::fs;
use std::path::Path;

use crate::program::{program, says};
use crate::support::common::record;

/// A log of three records, at 10:00, 11:00 and 12:00 in UTC.
fn write_log(folder: &Path) {
    let lines = ["10:00", "11:00", "12:00"].map(|time| {
        let mut record = record(&format!("/{time}"));
        record.start_time = format!("2024-05-10T{time}Z").parse().unwrap();
        format!("{record}\n")
    });
    fs::write(folder.join("log.jsonl"), lines.concat()).unwrap();
}

#[test]
fn times_are_in_utc_or_in_the_time_zone_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    write_log(folder.path());
    for (arguments, expected) in [
        (&["--since", "2024-05-10 11:00"][..], &["/11:00", "/12:00"][..]),
        (&["--since", "2024-05-10 11:00", "--local"], &["/10:00", "/11:00", "/12:00"]),
        (&["--since", "2024-05-10 13:30", "--until", "2024-05-10T14:00", "--local"], &[]),
        (&["--since", "2024-05-10 13:00", "--until", "2024-05-10T14:00", "--local"], &["/11:00"]),
        (&["--since", "2024-05-10T11:00Z", "--local"], &["/11:00", "/12:00"]),
        (&["--since", "2024-05-10 13:00+02:00"], &["/11:00", "/12:00"]),
        (&["--since", "1715342400"], &["/12:00"]),
        (&["--until", "1715338800000"], &["/10:00"]),
        (&["--since", "yesterday"], &[]),
        (&["--until", "2 hours ago"], &["/10:00", "/11:00", "/12:00"]),
    ] {
        let output = program(folder.path(), &[&["cat", "log.jsonl"], arguments].concat());
        let output = { output }.env("TZ", "CEST-2").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let paths: Vec<_> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["request"]["path"].clone())
            .collect();
        assert_eq!(paths, expected, "{arguments:?}");
    }
}

#[test]
fn invalid_time_is_rejected_with_what_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["cat", ".", "--since", "last week"][..],
        &["tail", ".", "--until", "2024-13-01"],
        &["requests", "--store", "sqlite:a.db", "--environment", "e", "--since", "15"],
        &["query", "--store", "sqlite:a.db", "--environment", "e", "--end-timestamp", "soon"],
        &["export", "--url", "http://127.0.0.1:9", "--database", "us/x", "--out", "x", "--since", "soon"],
        &["prune", "--store", "sqlite:a.db", "--before", "-1h"],
    ] {
        let output = program(folder.path(), arguments).output().unwrap();
        let expected = if arguments.contains(&"-1h") { "unexpected argument '-1'" } else { "2 hours ago" };
        says(&output, 2, expected);
    }
}
