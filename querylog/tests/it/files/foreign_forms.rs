//! Files that other programs have changed: container runtimes, editors, rotations.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tagtrail_querylog::{Entry, LogReader, Record, Timestamp};

use crate::support::common::{entries_in, record};

const GAP: &str =
    r#"{"gap":{"from":"2024-05-10T18:05:42.871000Z","to":"2024-05-10T18:05:43.000000Z","count":3,"why":"test"}}"#;
const TIME: &str = "2024-05-10T18:05:42.871000000Z";

/// A record whose line is as long as Docker's limit for one, several times.
fn long_record() -> Record {
    let mut record = record("/long");
    record.notes.stdout = Some("é\\\"".repeat(12_000));
    record
}

fn docker(text: &str, stream: &str) -> String {
    json!({"log": text, "stream": stream, "time": TIME}).to_string() + "\n"
}

/// Wraps a line as Docker does, in parts of at most 16 KiB.
fn docker_parts(line: &str) -> Vec<String> {
    parts(&format!("{line}\n")).into_iter().map(|part| docker(&part, "stdout")).collect()
}

/// Wraps a line as containerd and CRI-O do.
fn cri_parts(line: &str) -> Vec<String> {
    let parts = parts(line);
    let tags = |number| if number + 1 == parts.len() { "F" } else { "P" };
    parts.iter().enumerate().map(|(number, part)| format!("{TIME} stdout {} {part}\n", tags(number))).collect()
}

fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for char in text.chars() {
        if parts.last().unwrap().len() + char.len_utf8() > 16 << 10 {
            parts.push(String::new());
        }
        parts.last_mut().unwrap().push(char);
    }
    parts
}

fn read(path: &Path) -> Vec<Entry> {
    LogReader::open(path).unwrap().map(Result::unwrap).collect()
}

fn entry(record: &Record) -> Entry {
    Entry::Record(Box::new(record.clone()))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn wrapped_lines_are_read_as_what_was_wrapped() {
    let folder = tempfile::tempdir().unwrap();
    let (short, long) = (record("/short"), long_record());
    fs::write(folder.path().join("plain"), format!("{GAP}\n")).unwrap();
    let gap = read(&folder.path().join("plain")).remove(0);
    let entries = [entry(&short), entry(&long), gap, entry(&short)];
    for wrap in [docker_parts, cri_parts] {
        let mut lines = Vec::new();
        for line in [short.to_string(), long.to_string(), GAP.to_owned(), String::new(), short.to_string()] {
            lines.extend(wrap(&line));
        }
        assert!(lines.len() > 6, "the long record is split");
        let path = folder.path().join("wrapped");
        fs::write(&path, lines.concat()).unwrap();
        assert_eq!(read(&path), entries);

        // The parts of lines of another stream are in between.
        let other = [docker("{\"a\":", "stderr"), docker("1}\n", "stderr")];
        let mut mixed = lines.clone();
        mixed.insert(2, other[0].clone());
        mixed.insert(4, other[1].clone());
        fs::write(&path, mixed.concat()).unwrap();
        let mut found = read(&path);
        let foreign = found.remove(found.iter().position(|entry| matches!(entry, Entry::Foreign(_))).unwrap());
        assert!(matches!(foreign, Entry::Foreign(line) if line.number == 5 && line.why.starts_with("not a record")));
        assert_eq!(found, entries);

        // The file ends in the middle of a line.
        let first_parts = lines.iter().take(3).cloned().collect::<String>();
        fs::write(&path, &first_parts).unwrap();
        let found = read(&path);
        let [first, Entry::Foreign(torn)] = &*found else { panic!("{found:?}") };
        assert_eq!((first, torn.number, torn.rest_unread), (&entries[0], 4, false));
        assert_eq!(torn.why, "torn: the file has only the first parts of the line");

        // What follows is read when it comes.
        let mut followed = LogReader::open(&path).unwrap().follow();
        assert_eq!(followed.by_ref().map(Result::unwrap).collect::<Vec<_>>(), entries[..1]);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(lines[3..].concat().as_bytes()).unwrap();
        assert_eq!(followed.by_ref().map(Result::unwrap).collect::<Vec<_>>(), entries[1..]);
    }
}

#[test]
fn byte_order_mark_is_skipped_at_the_start_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved.jsonl");
    let record = record("/");
    fs::write(&path, format!("\u{feff}{record}\n")).unwrap();
    assert_eq!(read(&path), [entry(&record)]);
    fs::write(&path, format!("\u{feff}\n{record}\n\u{feff}{record}\n")).unwrap();
    let found = read(&path);
    assert_eq!(found[0], entry(&record));
    assert!(matches!(&found[1..], [Entry::Foreign(line)] if line.number == 3), "{found:?}");
}

#[test]
fn compression_is_recognized_by_content_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let record = record("/");
    let text = format!("{record}\n");
    for (name, content) in
        [("a.jsonl.gz", text.as_bytes().to_vec()), ("b.jsonl.1", gzip(text.as_bytes())), ("c", gzip(text.as_bytes()))]
    {
        fs::write(folder.path().join(name), content).unwrap();
        assert_eq!(read(&folder.path().join(name)), [entry(&record)], "{name}");
    }
    fs::write(folder.path().join("cut.jsonl.gz"), "").unwrap();
    let found = read(&folder.path().join("cut.jsonl.gz"));
    assert!(matches!(&*found, [Entry::Foreign(line)] if line.rest_unread), "{found:?}");
}

/// Writes one record into each of these files, oldest first.
fn write_files(folder: &Path, names: &[&str]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (number, name) in (0..).zip(names) {
        let mut record = record(name);
        record.start_time = Timestamp::from_micros(1_715_364_342_000_000 + number * 1_000_000);
        let text = format!("{record}\n");
        let is_gzip = Path::new(name).extension().is_some_and(|end| end == "gz");
        fs::write(folder.join(name), if is_gzip { gzip(text.as_bytes()) } else { text.into_bytes() }).unwrap();
        entries.push(entry(&record));
    }
    entries
}

#[test]
fn renamed_files_are_read_in_their_order() {
    for names in [
        &["app.jsonl.10.gz", "app.jsonl.2.gz", "app.jsonl.1", "app.jsonl"][..],
        &["app.jsonl-20240509.gz", "app.jsonl-20240510", "app.jsonl"],
        &["0.log.20240509-120000.gz", "0.log.20240510-120000", "0.log"],
        &["c0ffee-json.log.2.gz", "c0ffee-json.log.1", "c0ffee-json.log"],
        // Of several services.
        &["b.jsonl.2", "a.jsonl.1", "b.jsonl.1", "a.jsonl", "b.jsonl"],
        // The log's own names.
        &[
            "querylog-20240510T100000.000000Z.jsonl.2.gz",
            "querylog-20240510T100000.000000Z.jsonl.1",
            "querylog-20240510T100000.000000Z.jsonl",
            "querylog-20240510T110000.000000Z.jsonl-20240511.gz",
            "querylog-20240510T120000.000000Z.jsonl.gz",
            "querylog-20240510T130000.000000Z.jsonl",
        ],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let entries = write_files(folder.path(), names);
        for other in ["app.log", "app.jsonl.torn", "app.jsonl.rejected", "app.txt", "app.jsonl.1.zst"] {
            fs::write(folder.path().join(other), "GET / 200\n").unwrap();
        }
        assert_eq!(entries_in(folder.path()), entries, "{names:?}");
    }
}

#[test]
fn renamed_file_is_read_if_it_may_overlap_the_time_range() {
    let folder = tempfile::tempdir().unwrap();
    // Copied and emptied by a rotation: both have the name of the first.
    let names = ["querylog-20240510T100000.000000Z.jsonl.1", "querylog-20240510T100000.000000Z.jsonl"];
    let entries = write_files(folder.path(), &names);
    let from: Timestamp = "2024-05-10T18:00".parse().unwrap();
    let found: Vec<_> = LogReader::open(folder.path()).unwrap().between(from..).map(Result::unwrap).collect();
    assert_eq!(found, entries);
}

#[test]
fn copies_beside_the_files_of_a_log_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let entries = write_files(folder.path(), &["querylog-20240510T100000.000000Z.jsonl"]);
    write_files(folder.path(), &["copy.jsonl", "copy.jsonl.1"]);
    assert_eq!(entries_in(folder.path()), entries);
}

#[test]
fn following_continues_in_the_file_that_a_rotation_creates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.jsonl");
    let line = |number: i64| {
        let mut record = record(&format!("/{number}"));
        record.start_time = Timestamp::from_micros(1_715_364_342_000_000 + number * 1_000_000);
        (entry(&record), format!("{record}\n"))
    };
    fs::write(&path, line(0).1).unwrap();
    let mut followed = LogReader::open(folder.path()).unwrap().follow();
    let mut next = || followed.by_ref().map(Result::unwrap).count();
    assert_eq!((next(), next()), (1, 0));
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(line(1).1.as_bytes()).unwrap();
    assert!(Command::new("mv").arg(&path).arg(folder.path().join("app.jsonl.1")).status().unwrap().success());
    fs::write(&path, "").unwrap();
    assert_eq!(next(), 1, "of the file that was renamed");
    fs::write(&path, line(2).1).unwrap();
    assert_eq!((next(), next()), (1, 0));
}
