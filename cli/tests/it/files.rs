//! `tagtrail-log tail`, `cat` and `stats`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::{Outcome, Record, Roll};

use crate::support::common::{Logged, files_in};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> String {
    let output = program(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn record(path: &str, status: u16, project: &str, millis: u64) -> Record {
    let tags = Tags::from_pairs([("project", project), ("env", "prod")]).unwrap();
    let mut record = Record::new(&Trail::start(Sample::Always).with_tags(tags), path);
    record.end(Duration::from_millis(millis), Outcome::Complete);
    record.response.status = Some(status);
    record.request.route = Some(path.split('?').next().unwrap().to_owned());
    record
}

/// A log of 100 records in several files, some compressed.
fn log() -> (Logged, Vec<Record>) {
    let logged = Logged::with(|settings| settings.roll(Roll::at_bytes(10_000)).gzip());
    let records: Vec<_> = (0..100)
        .map(|number| match number % 10 {
            0 => record("/fails", 500, "shop", 1_000),
            1 => record("/gone", 404, "shop", 5),
            _ => record("/posts", 200, "blog", number),
        })
        .collect();
    for record in &records {
        logged.log.append(record).wait(Duration::from_secs(20)).unwrap().unwrap();
    }
    logged.log.close_blocking(Duration::from_secs(20)).unwrap();
    (logged, records)
}

fn lines(records: impl IntoIterator<Item = Record>) -> String {
    records.into_iter().flat_map(|record| [record.to_string(), "\n".to_owned()]).collect()
}

#[test]
fn cat_and_tail_show_records_that_pass_the_filters() {
    let (logged, records) = log();
    let path = logged.path().to_str().unwrap();
    assert!(files_in(logged.path(), ".gz").len() + files_in(logged.path(), ".jsonl").len() > 3);
    assert_eq!(run(&["cat", path]), lines(records.clone()));
    assert_eq!(run(&["tail", path, "-n", "3"]), lines(records[97..].to_vec()));
    assert_eq!(run(&["tail", path, "-n", "70"]), lines(records[30..].to_vec()), "of several files");
    assert_eq!(run(&["tail", path, "-n", "1000"]), lines(records.clone()));

    let only = |keep: fn(&Record) -> bool| lines(records.iter().filter(|record| keep(record)).cloned());
    let fails = only(|record| record.response.status == Some(500));
    let shop = only(|record| record.tags.get("project") == Some("shop"));
    assert_eq!(run(&["cat", path, "--status", "5xx"]), fails);
    assert_eq!(run(&["cat", path, "--status", "400-404", "--status", "500"]), shop);
    assert_eq!(run(&["cat", path, "--tag", "project=shop"]), shop);
    assert_eq!(run(&["cat", path, "--tag", "project=shop", "--tag", "env", "--path", "/fa"]), fails);
    assert_eq!(run(&["cat", path, "--route", "/fails"]), fails);
    assert_eq!(run(&["cat", path, "--trace", &records[7].trace_id.to_string()]), lines([records[7].clone()]));
    let (since, until) = (records[20].start_time.to_string(), records[40].start_time.to_string());
    assert_eq!(run(&["cat", path, "--since", &since, "--until", &until]), lines(records[20..40].to_vec()));
    assert_eq!(run(&["cat", path, "--since", "1h"]), lines(records.clone()));
    let newest = files_in(logged.path(), ".jsonl").pop().unwrap();
    assert_eq!(run(&["cat", newest.to_str().unwrap()]), fs::read_to_string(newest).unwrap(), "one file");
}

#[test]
fn stats_counts_and_measures() {
    let (logged, _) = log();
    let path = logged.path().to_str().unwrap();
    let values: Vec<serde_json::Value> =
        run(&["stats", path, "--by", "route", "--by", "tag:project", "--by", "status", "--top", "2"])
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
    let counts: Vec<_> = values
        .iter()
        .map(|v| {
            (
                v["by"].as_str().unwrap(),
                v["value"].as_str(),
                v["count"].as_u64().unwrap(),
                v["failed"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        counts,
        [
            ("all", None, 100, 10),
            ("route", Some("/posts"), 80, 0),
            ("route", Some("/fails"), 10, 10),
            ("tag:project", Some("blog"), 80, 0),
            ("tag:project", Some("shop"), 20, 10),
            ("status", Some("200"), 80, 0),
            ("status", Some("404"), 10, 0),
        ]
    );
    let about = |value: &serde_json::Value, expected: f64| {
        let value = value.as_f64().unwrap();
        assert!((value - expected).abs() <= expected * 0.02, "{value} is not about {expected}");
    };
    // 2..=9, 12..=19 and so on to 99.
    about(&values[1]["p50_ms"], 49.0);
    about(&values[1]["max_ms"], 99.0);
    about(&values[2]["p50_ms"], 1_000.0);
    about(&values[0]["p99_ms"], 1_000.0);
    assert_eq!(values[0]["missing"], 0);

    let table = run(&["stats", path, "--format", "table"]);
    assert!(table.contains("by route") && table.contains("project=blog") && table.contains("env=prod"), "{table}");
}

#[test]
fn tables_escape_control_characters() {
    let logged = Logged::new();
    logged.log.append(&record("/\u{1b}[31m\n\u{9b}\u{202e}", 200, "blog", 1));
    logged.log.close_blocking(Duration::from_secs(20)).unwrap();
    let path = logged.path().to_str().unwrap();
    let table = run(&["cat", path, "--format", "table"]);
    assert!(table.contains(r"/\u{1b}[31m\u{a}\u{9b}\u{202e} [project=blog,env=prod]"), "{table}");
    assert!(table.chars().all(|char| char == '\n' || !char.is_control()), "no color in a pipe");
    let stats = run(&["stats", path, "--by", "path", "--format", "table"]);
    assert!(stats.contains(r"/\u{1b}[31m"), "{stats}");
}

#[test]
fn follow_continues_in_new_files() {
    let logged = Logged::with(|settings| settings.roll(Roll::at_bytes(2_000)).gzip());
    let append = |number: u64| {
        logged
            .log
            .append(&record(&format!("/{number}"), 200, "blog", 1))
            .wait(Duration::from_secs(20))
            .unwrap()
            .unwrap();
    };
    append(0);
    let path = logged.path().to_str().unwrap();
    let mut following = program(&["tail", path, "--follow", "--path", "/"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = shown.next().unwrap().unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["request"]["path"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), "/0");
    for number in 1..40 {
        append(number);
        if number % 7 == 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    for number in 1..40 {
        assert_eq!(next(), format!("/{number}"));
    }
    assert!(files_in(logged.path(), ".gz").len() > 5);
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn errors_are_reported_but_a_closed_pipe_is_not() {
    let output = program(&["cat", "/nowhere"]).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "tagtrail-log: cannot read /nowhere: No such file or directory (os error 2)\n"
    );
    assert!(!output.status.success());
    let output = program(&["cat", "/", "--status", "6000"]).output().unwrap();
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("expected a status (404), a class (5xx) or a range (400-499)")
    );

    let (logged, _) = log();
    let newest = files_in(logged.path(), ".jsonl").pop().unwrap();
    fs::write(&newest, fs::read_to_string(&newest).unwrap() + "torn").unwrap();
    let output = program(&["tail", newest.to_str().unwrap(), "-n", "1"]).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("torn: the line has no end"));
    let mut child = program(&["cat", logged.path().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !errors.contains("pipe"), "{errors}");
}

#[test]
fn filters_that_nothing_can_pass_are_rejected() {
    let (logged, _) = log();
    let path = logged.path().to_str().unwrap();
    for (arguments, expected) in [
        (&["--tag", ""][..], "expected NAME=VALUE or NAME"),
        (&["--tag", "=blog"], "expected NAME=VALUE or NAME"),
        (&["--status", "499-400"], "expected a status (404), a class (5xx) or a range (400-499)"),
        (&["--since", "2024-05-11", "--until", "2024-05-10"], "--since must be before --until"),
        (&["--trace", "3EC5"], "expected 32 lowercase hexadecimal digits"),
    ] {
        let output = program(&[&["cat", path], arguments].concat()).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn compressed_files_are_recognized_by_their_content() {
    let (logged, _) = log();
    let newest = files_in(logged.path(), ".jsonl").pop().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&fs::read(&newest).unwrap()).unwrap();
    let renamed = logged.path().join("saved");
    fs::write(&renamed, encoder.finish().unwrap()).unwrap();
    assert_eq!(run(&["cat", renamed.to_str().unwrap()]), run(&["cat", newest.to_str().unwrap()]));
}

#[test]
fn folders_without_log_files_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["cat", "tail", "stats"] {
        let output = program(&[verb, folder.path().to_str().unwrap()]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && errors.contains("contains no log files"), "{verb}: {errors}");
    }
}

#[test]
fn an_empty_result_is_reported() {
    let (logged, _) = log();
    let path = logged.path().to_str().unwrap();
    for arguments in [["cat", "--status", "418"], ["tail", "--tag", "nothing"], ["cat", "--until", "1h"]] {
        let output = program(&arguments).arg(path).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors, "tagtrail-log: no records found\n", "{arguments:?}");
        assert!(output.status.success() && output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(run(&["tail", path, "-n", "0"]), "");
}

#[test]
fn truncated_files_are_a_failure() {
    let (logged, _) = log();
    let whole = files_in(logged.path(), ".jsonl.gz").remove(0);
    let bytes = fs::read(&whole).unwrap();
    fs::write(&whole, &bytes[..bytes.len() / 2]).unwrap();
    for verb in ["cat", "stats"] {
        let output = program(&[verb, logged.path().to_str().unwrap()]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && !output.stdout.is_empty(), "{verb}: {errors}");
        let expected =
            [&format!("{}, line ", whole.display()), "the rest of the file cannot be read", "not all of the log"];
        assert!(expected.iter().all(|expected| errors.contains(*expected)), "{verb}: {errors}");
    }
}

#[test]
fn only_the_first_lines_that_are_not_records_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.log");
    fs::write(&file, "GET / 200\n".repeat(1_000)).unwrap();
    let output = program(&["cat", file.to_str().unwrap()]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && errors.lines().count() == 12, "{errors}");
    assert!(errors.contains("1000 lines are not records; only the first 10 were listed"), "{errors}");
    assert!(errors.contains("no records found"), "{errors}");
}

#[test]
fn follow_reports_lines_that_are_not_records() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.log");
    fs::write(&file, "GET / 200\n".repeat(15)).unwrap();
    let arguments = ["tail", file.to_str().unwrap(), "--follow", "--lines", "15"];
    let mut following = program(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let messages = BufReader::new(following.stderr.take().unwrap()).lines();
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || messages.map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let next = || received.recv_timeout(Duration::from_secs(20)).unwrap_or_default();
    for number in 1..=10 {
        let line = next();
        assert!(line.contains(&format!("other.log, line {number}: not a record")), "{line}");
    }
    let line = next();
    assert!(line.contains("15 lines are not records; only the first 10 were listed"), "{line}");
    let mut growing = fs::OpenOptions::new().append(true).open(&file).unwrap();
    growing.write_all(b"GET / 200\n").unwrap();
    let line = next();
    following.kill().unwrap();
    following.wait().unwrap();
    assert!(line.contains("other.log, line 16: not a record"), "{line}");
}

#[test]
fn tail_may_show_only_gaps() {
    let (logged, _) = log();
    let gap =
        r#"{"gap":{"from":"2999-01-01T00:00:00.000000Z","to":"2999-01-01T00:00:00.000000Z","count":1,"why":"test"}}"#;
    fs::write(logged.path().join("querylog-29990101T000000.000000Z.jsonl"), format!("{gap}\n")).unwrap();
    let output = program(&["tail", logged.path().to_str().unwrap(), "-n", "1"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{gap}\n"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(unix)]
#[test]
fn errors_name_a_file_that_cannot_be_opened() {
    let (logged, _) = log();
    let circle = logged.path().join("querylog-20991231T000000.000000Z.jsonl");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    for verb in ["cat", "tail", "stats"] {
        let output = program(&[verb, logged.path().to_str().unwrap()]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let expected = format!("cannot read {}: ", circle.display());
        assert!(output.status.code() == Some(1) && errors.contains(&expected), "{verb}: {errors}");
    }
}

#[test]
fn help_lists_filters_separately() {
    for (verb, options) in [("tail", &["--lines", "--follow", "--format"][..]), ("stats", &["--by", "--top"])] {
        let help = run(&[verb, "--help"]);
        let (before, filters) = help.split_once("Filters:").unwrap();
        for option in options {
            assert!(before.contains(option) && !filters.contains(option), "{verb} {option}: {help}");
        }
        assert!(filters.contains("--since") && filters.contains("--tag"), "{help}");
    }
    let help = run(&["--help"]);
    assert!(
        help.contains("TAGTRAIL_TOKEN") && help.contains("ACCOUNT_KEY") && help.contains("Exit status: 0"),
        "{help}"
    );
}

#[test]
fn errors_escape_control_characters() {
    let output = program(&["cat", "no\u{1b}[31m\u{202e}where"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(r"no\u{1b}[31m\u{202e}where"), "{errors}");
}

#[test]
fn closed_standard_error_is_not_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign.jsonl");
    fs::write(&path, "not JSON\n".repeat(10_000)).unwrap();
    for arguments in
        [&["cat", path.to_str().unwrap()][..], &["cat", "/nowhere"], &["tail", folder.path().to_str().unwrap()]]
    {
        let mut child = program(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 1)), "{arguments:?} panicked: {code:?}");
    }
}
