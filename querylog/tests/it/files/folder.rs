//! A folder on a real disk: rolling, retention, locks, unclean stops, and changes by others.

use std::fs;
use std::io::Write;
use std::time::Duration;

use tagtrail_querylog::{Durability, Entry, Keep, LogFiles, LogStore, Outcome, Roll};

use crate::support::common::{Logged, entries_in, files_in, gaps_in, record, records_in, wait_for};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn rolled_files_are_compressed_and_the_oldest_are_deleted() {
    let logged = Logged::with(|settings| {
        settings.roll(Roll::at_bytes(3_000)).gzip().keep(Keep::all().at_most_files(4)).durability(Durability::Synced)
    });
    let mut ids = Vec::new();
    for _ in 0..60 {
        let record = record("/");
        logged.log.append(&record).wait(SOON).unwrap().unwrap();
        ids.push(record.id);
    }
    let is_settled = || {
        let (plain, gzip) = (files_in(logged.path(), ".jsonl"), files_in(logged.path(), ".jsonl.gz"));
        (plain.len(), gzip.len()) == (1, 3) && files_in(logged.path(), ".tmp").is_empty()
    };
    wait_for("the newest four files, three of them compressed", is_settled);
    let read: Vec<_> = logged.records().iter().map(|record| record.id).collect();
    assert!((10..=20).contains(&read.len()), "{}", read.len());
    assert_eq!(read, ids[60 - read.len()..], "the newest records, in order");
}

#[cfg(unix)]
#[test]
fn every_file_of_a_log_is_for_its_owner_and_group_alone() {
    use std::os::unix::fs::PermissionsExt;
    let logged = Logged::with(|settings| settings.roll(Roll::at_bytes(3_000)).gzip());
    for _ in 0..20 {
        logged.log.append(&record("/")).wait(SOON).unwrap().unwrap();
    }
    wait_for("compressed", || !files_in(logged.path(), ".jsonl.gz").is_empty());
    logged.log.close_blocking(SOON).unwrap();
    // A crash leaves half a line, which the next process moves aside.
    let newest = files_in(logged.path(), ".jsonl").pop().unwrap();
    fs::OpenOptions::new().append(true).open(newest).unwrap().write_all(b"{\"id\":").unwrap();
    LogFiles::new(logged.path()).open().unwrap().close_blocking(SOON).unwrap();
    let files: Vec<_> = fs::read_dir(logged.path()).unwrap().map(|file| file.unwrap()).collect();
    for end in [".jsonl", ".jsonl.gz", ".torn", ".lock"] {
        assert!(files.iter().any(|file| file.file_name().to_string_lossy().ends_with(end)), "{end}");
    }
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o037, 0, "{file:?}");
    }
}

#[test]
fn files_are_kept_by_size_and_age() {
    let logged = Logged::with(|settings| settings.roll(Roll::at_bytes(3_000)).keep(Keep::all().at_most_bytes(7_000)));
    for _ in 0..60 {
        logged.log.append(&record("/")).wait(SOON).unwrap().unwrap();
    }
    // A file may be deleted meanwhile.
    let size = |path: &std::path::PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bytes = || files_in(logged.path(), ".jsonl").iter().map(size).sum::<u64>();
    wait_for("at most 7,000 bytes", || bytes() <= 7_000);
    logged.log.close_blocking(SOON).unwrap();
    assert!(bytes() > 1_000);
    let newest = files_in(logged.path(), ".jsonl").pop().unwrap();
    fs::write(newest.with_extension("jsonl.torn"), "x").unwrap();
    let keep = Keep::all().for_at_most(Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(5));
    let log = LogFiles::new(logged.path()).keep(keep).open().unwrap();
    wait_for("no files are left", || bytes() == 0);
    assert!(files_in(logged.path(), ".torn").is_empty());
    drop(log);
}

#[test]
fn folder_rejects_a_second_writer() {
    let logged = Logged::new();
    let error = LogFiles::new(logged.path()).open().unwrap_err();
    assert!(error.to_string().contains("writing a query log to this folder"), "{error}");
    logged.log.close_blocking(SOON).unwrap();
    LogFiles::new(logged.path()).open().unwrap();

    let file = tempfile::NamedTempFile::new().unwrap();
    let error = LogFiles::new(file.path()).open().unwrap_err();
    assert!(error.to_string().starts_with("cannot open a query log in /"), "{error}");
    assert!(error.to_string().ends_with(": expected a folder, found a file"), "{error}");
}

#[test]
fn open_waits_while_the_folder_is_locked_briefly() {
    let folder = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(folder.path().join("querylog.lock")).unwrap();
    lock.try_lock().unwrap();
    let unlocks = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(lock);
    });
    LogFiles::new(folder.path()).open().unwrap().close_blocking(SOON).unwrap();
    unlocks.join().unwrap();
}

#[test]
fn torn_tail_is_moved_to_another_file_and_is_never_a_record() {
    let logged = Logged::new();
    logged.log.append(&record("/whole"));
    logged.records();
    let file = files_in(logged.path(), ".jsonl").remove(0);
    let whole = fs::read(&file).unwrap();
    let whole_line = String::from_utf8(whole.clone()).unwrap();
    // Torn anywhere, even right before its line feed: an incomplete line is not a record.
    for length in [1, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, [&whole[..], &whole[..length]].concat()).unwrap();
        let torn =
            |entry: &Entry| matches!(entry, Entry::Foreign(line) if line.number == 2 && line.why.contains("torn"));
        assert!(entries_in(logged.path()).iter().any(torn), "reported until it is moved");
        LogFiles::new(logged.path()).open().unwrap().close_blocking(SOON).unwrap();
        assert_eq!(records_in(logged.path()).len(), 1);
        let aside = file.with_extension("jsonl.torn");
        assert_eq!(fs::read_to_string(&aside).unwrap(), format!("{}\n", &whole_line[..length]));
        fs::remove_file(aside).unwrap();
    }
    // A file that consists of one torn line, and one whose tail spans many blocks.
    fs::write(&file, &whole[..100]).unwrap();
    LogFiles::new(logged.path()).open().unwrap().close_blocking(SOON).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"");
    fs::write(&file, [&whole[..], &vec![0; 300_000]].concat()).unwrap();
    LogFiles::new(logged.path()).open().unwrap().close_blocking(SOON).unwrap();
    assert_eq!(fs::read(&file).unwrap(), whole);
}

#[test]
fn unclean_stop_leaves_a_gap_unlike_a_clean_one() {
    let logged = Logged::new();
    let written = record("/");
    logged.log.append(&written);
    logged.log.close_blocking(SOON).unwrap();
    LogFiles::new(logged.path()).open().unwrap().close_blocking(SOON).unwrap();
    assert!(gaps_in(logged.path()).is_empty());
    // A killed process leaves this.
    fs::write(logged.path().join("querylog.lock"), "open since 2024-05-10T18:05:42.871000Z\n").unwrap();
    LogFiles::new(logged.path()).open().unwrap().close_blocking(SOON).unwrap();
    let gap = gaps_in(logged.path()).remove(0);
    assert_eq!((gap.count, &*gap.why, gap.from), (None, "unclean stop", written.start_time));
    LogFiles::new(logged.path()).open().unwrap().close_blocking(SOON).unwrap();
    assert_eq!(gaps_in(logged.path()).len(), 1);
}

#[test]
fn log_continues_when_its_folder_or_files_are_removed() {
    let logged = Logged::with(|settings| settings.durability(Durability::Synced));
    let path = logged.path();
    let append = || logged.log.append(&record("/")).wait(SOON).unwrap().unwrap();
    append();
    fs::remove_dir_all(path).unwrap();
    append();
    assert_eq!(records_in(path).len(), 1, "the folder is created again");
    let [gap] = &*gaps_in(path) else { panic!("a gap says that the first record is gone") };
    assert_eq!((gap.count, &*gap.why), (Some(1), "a file of the log was deleted"));
    assert!(LogFiles::new(path).open().is_err(), "the folder is still locked");
    let aside = tempfile::tempdir().unwrap();
    let file = files_in(path, ".jsonl").remove(0);
    fs::rename(&file, aside.path().join(file.file_name().unwrap())).unwrap();
    append();
    append();
    assert_eq!((records_in(path).len(), records_in(aside.path()).len()), (1, 2));
    for file in files_in(path, ".jsonl") {
        fs::remove_file(file).unwrap();
    }
    append();
    assert_eq!(records_in(path).len(), 1);
    logged.log.close_blocking(SOON).unwrap();
}

#[test]
fn records_wait_while_the_folder_cannot_be_written() {
    let logged = Logged::new();
    fs::remove_dir_all(logged.path()).unwrap();
    // A file takes its place, so that not even root can write there.
    fs::write(logged.path(), "").unwrap();
    let ack = logged.log.append(&record("/"));
    assert_eq!(ack.wait(Duration::from_millis(200)), None);
    fs::remove_file(logged.path()).unwrap();
    assert_eq!(ack.wait(SOON), Some(Ok(())));
    assert_eq!(logged.records().len(), 1);
}

#[test]
fn names_sort_in_the_order_of_writing_when_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let future = folder.path().join("querylog-20990510T180542.871000Z.jsonl");
    fs::write(&future, "").unwrap();
    for _ in 0..3 {
        let log = LogFiles::new(folder.path()).open().unwrap();
        log.append(&record("/"));
        log.close_blocking(SOON).unwrap();
    }
    let files = files_in(folder.path(), ".jsonl");
    assert_eq!((files.len(), &files[0]), (4, &future));
    let ids: Vec<_> = records_in(folder.path()).iter().map(|record| record.id).collect();
    assert!(ids.is_sorted(), "the ids of one process are in the order of time");
}

/// In an async function, where a runtime must not be dropped.
#[tokio::test]
async fn queue_is_rejected_if_it_is_too_small() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let error = LogFiles::new(&log).queue_bytes(0).open().unwrap_err().to_string();
    assert!(error.contains("queue_bytes must be at least 4096"), "{error}");
    assert!(!log.exists(), "nothing is created");
    let audit = tagtrail_querylog::AuditLog::open(folder.path().join("audit.db")).unwrap();
    let error = LogStore::new(audit).queue_bytes(4_095).open().unwrap_err().to_string();
    assert!(error.contains("queue_bytes must be at least 4096"), "{error}");

    let log = LogFiles::new(&log).queue_bytes(4_096).open().unwrap();
    assert_eq!(log.append(&record("first")).wait(SOON), Some(Ok(())));
}

#[test]
fn record_with_an_outcome_of_a_later_version_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let line = record("/").to_string();
    assert!(line.contains(r#""outcome":"complete""#), "{line}");
    let later = line.replace(r#""outcome":"complete""#, r#""outcome":"postponed","more":1"#);
    fs::write(folder.path().join("querylog-20240510T180542.871000Z.jsonl"), later + "\n").unwrap();
    let [entry] = &*entries_in(folder.path()) else { panic!("expected one entry") };
    assert!(matches!(entry, Entry::Record(record) if record.response.outcome == Some(Outcome::Other)), "{entry:?}");
}
