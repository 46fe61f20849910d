//! Reading files: foreign lines, time ranges, compression.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tagtrail_querylog::{Entry, LogReader, Roll, Timestamp};

use crate::support::common::{Logged, entries_in, files_in, record, wait_for};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn foreign_lines_are_reported_and_reading_continues() {
    let logged = Logged::new();
    logged.log.append(&record("/first"));
    logged.records();
    let file = files_in(logged.path(), ".jsonl").remove(0);
    let good = fs::read_to_string(&file).unwrap();
    let foreign = [
        "not json",
        "{}",
        "[]",
        "null",
        "{\"gap\":1}",
        "\u{0}\u{0}",
        &good.trim_end()[..60],
        &good.trim_end().replace("span_id", "spam_id"),
    ];
    let mut text = good.clone();
    for line in foreign {
        text.extend([line, "\n", "\n"]);
    }
    fs::write(&file, text + &good).unwrap();
    let entries = entries_in(logged.path());
    assert_eq!(entries.len(), 2 + foreign.len());
    let numbers = entries.iter().filter_map(|entry| match entry {
        Entry::Foreign(line) => {
            assert!(!line.why.contains("spam") && line.why.len() < 80 && !line.rest_unread, "{}", line.why);
            Some(line.number)
        }
        _ => None,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), (0..8).map(|index| 2 + 2 * index).collect::<Vec<_>>());
    assert!(matches!(&entries[9], Entry::Record(record) if record.request.path == "/first"));
}

fn write_file(folder: &Path, created: &str, start_times: &[&str]) {
    let logged = Logged::new();
    for start_time in start_times {
        let mut record = record(start_time);
        record.start_time = start_time.parse().unwrap();
        logged.log.append(&record);
    }
    logged.log.close_blocking(SOON).unwrap();
    fs::write(folder.join(format!("querylog-{created}.jsonl")), logged.text()).unwrap();
}

#[test]
fn time_range_is_read_only_from_files_that_may_overlap_it() {
    let folder = tempfile::tempdir().unwrap();
    write_file(folder.path(), "20240510T100000.000000Z", &["2024-05-10T10:00", "2024-05-10T10:50"]);
    // The request started before this file did.
    write_file(folder.path(), "20240510T110000.000000Z", &["2024-05-10T10:59", "2024-05-10T11:30"]);
    write_file(folder.path(), "20240510T120000.000000Z", &["2024-05-10T11:59", "2024-05-10T12:00"]);
    fs::write(folder.path().join("querylog-20240510T090000.000000Z.jsonl"), "not read\n").unwrap();
    fs::write(folder.path().join("notes.jsonl"), "not a file of the log\n").unwrap();
    let paths = |from: &str, until: &str| {
        let range = from.parse::<Timestamp>().unwrap()..until.parse().unwrap();
        let entries = LogReader::open(folder.path()).unwrap().between(range).map(Result::unwrap);
        let paths = entries.map(|entry| match entry {
            Entry::Record(record) => record.request.path,
            other => panic!("{other:?}"),
        });
        paths.collect::<Vec<_>>()
    };
    assert_eq!(
        paths("2024-05-10T10:00:00.000001Z", "2024-05-10T12:00"),
        ["2024-05-10T10:50", "2024-05-10T10:59", "2024-05-10T11:30", "2024-05-10T11:59",]
    );
    assert_eq!(paths("2024-05-10T11:30", "2024-05-10T11:30:01"), ["2024-05-10T11:30"]);
    assert!(paths("2024-05-11", "2024-05-12").is_empty());
}

#[test]
fn compressed_files_are_read_even_if_one_is_torn() {
    let logged = Logged::with(|settings| settings.roll(Roll::at_bytes(1_000)).gzip());
    let ids: Vec<_> = (0..20)
        .map(|_| record("/"))
        .inspect(|record| drop(logged.log.append(record)))
        .map(|record| record.id)
        .collect();
    wait_for("compressed", || files_in(logged.path(), ".jsonl.gz").len() >= 5);
    let read: Vec<_> = logged.records().iter().map(|record| record.id).collect();
    assert_eq!(read, ids);
    let first = files_in(logged.path(), ".jsonl.gz").remove(0);
    let bytes = fs::read(&first).unwrap();
    fs::File::create(&first).unwrap().write_all(&bytes[..bytes.len() / 2]).unwrap();
    let entries = entries_in(logged.path());
    let torn = |entry: &&Entry| matches!(entry, Entry::Foreign(line) if line.file == first && line.rest_unread);
    assert_eq!(entries.iter().filter(torn).count(), 1);
    assert_eq!(entries.len(), 20, "the other files are read");
}
