//! Files on a real disk: their lines, their rolling and retention, and changes by others.

use std::fs;
use std::io::Write;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::record::export_counters;
use tagtrail_querylog::{
    Durability, Entry, Keep, LineFormat, LogFiles, LogReader, LogStore, Outcome, Record, Roll, Timestamp,
};

use crate::support::common::{Logged, entries_in, files_in, gaps_in, record, records_in};

const SOON: Duration = Duration::from_secs(20);

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a record with a value in every member.
fn full() -> Record {
    let trail = Trail::from_context(tagtrail::TraceContext::new(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap(),
        tagtrail::TraceState::empty(),
    ));
    let mut record = Record::new(&trail.with_tags(Tags::from_pairs([("b", "2"), ("a", "1")]).unwrap()), "/posts/7");
    record.start_time = "2024-05-10T18:05:42.871Z".parse().unwrap();
    record.end(Duration::from_micros(12_345), Outcome::Complete);
    record.request.method = "POST".parse().unwrap();
    record.request.route = Some("/posts/{id}".into());
    record.request.version = Some(http::Version::HTTP_2);
    record.request.headers =
        vec![(http::header::USER_AGENT, "curl/8".into()), ("x-forwarded-for".parse().unwrap(), "1.1.1.1".into())];
    record.request.body_bytes = 10;
    record.response.status = Some(201);
    record.response.body_bytes = 20;
    record.sent = vec!["00f067aa0ba902b7".parse().unwrap()];
    record.client_ip = Some(Ipv6Addr::LOCALHOST.into());
    record.host = Some("web-1".into());
    let notes = &mut record.notes;
    notes.caller.user_id = Some("ada".into());
    notes.caller.user_email = Some("ada@example.com".into());
    notes.caller.exec_env_id = Some("env".into());
    notes.operation.id = Some("op".into());
    notes.operation.name = Some("create".into());
    notes.operation.engine = Some("realtime".into());
    notes.operation.cache = Some(true);
    notes.database = vec!["parent".into(), "child".into()];
    notes.region_group = Some("us-std".into());
    notes.add(export_counters::BYTE_READ_OPS, 3);
    notes.add(export_counters::READ_LIMITS_HIT, 1);
    notes.stdout = Some("out".into());
    notes.stderr = Some(String::new());
    notes.payload = Some("{\"a\":1}".into());
    notes.shared_token = Some("fc_token".into());
    notes.shape = Some("users.all()".into());
    record
}

fn line_of(record: &Record, form: LineFormat) -> String {
    let logged = Logged::with(|settings| settings.format(form));
    logged.log.append(record);
    logged.log.close_blocking(SOON).unwrap();
    logged.text()
}

#[test]
fn line_has_every_member_in_order() {
    let record = full();
    let expected = format!(
        concat!(
            r#"{{"id":"{}","ts":"2024-05-10T18:05:42.871000Z","trace":{{"trace_id":"0af7651916cd43dd8448eb211c80319c","#,
            r#""span_id":"{}","parent_id":"b7ad6b7169203331","flags":"01"}},"sent":["00f067aa0ba902b7"],"#,
            r#""tags":{{"b":"2","a":"1"}},"request":{{"method":"POST","path":"/posts/7","route":"/posts/{{id}}","#,
            r#""http_version":"2","headers":{{"user-agent":"curl/8","x-forwarded-for":"1.1.1.1"}}}},"#,
            r#""response":{{"code":201,"outcome":"complete"}},"stats":{{"query_time":12.345,"query_bytes_in":10,"#,
            r#""query_bytes_out":20,"byte_read_ops":3,"read_limits_hit":1}},"caller":{{"user_id":"ada","#,
            r#""user_email":"ada@example.com","exec_env_id":"env"}},"operation":{{"id":"op","name":"create","#,
            r#""engine":"realtime","cache":true}},"database":["parent","child"],"region_group":"us-std","#,
            r#""client_ip":"::1","host":"web-1"{}}}"#,
            "\n"
        ),
        record.id, record.span_id, ""
    );
    assert_eq!(line_of(&record, LineFormat::Full), expected);
    let output = concat!(r#","stdout":"out","stderr":"","payload":"{\"a\":1}"}"#, "\n");
    assert_eq!(line_of(&record, LineFormat::WithOutput), expected.replace("}\n", output));
}

#[test]
fn exported_line_has_the_documented_members() {
    let record = full();
    let line = line_of(&record, LineFormat::Exported { api_version: "1".into() });
    let expected = serde_json::json!({
        "API_VERSION": "1", "BYTES_IN": 10, "BYTES_OUT": 20, "BYTE_READ_OPS": 3, "BYTE_WRITE_OPS": 0, "COMPUTE_OPS": 0,
        "DATABASE": ["parent", "child"], "QUERY_TIME_MS": 12, "RATE_LIMITS_HIT": ["read"], "REGION_GROUP": "us-std",
        "REQUEST_HEADERS": r#"{"user_agent":"curl/8","x_forwarded_for":"1.1.1.1"}"#, "REQUEST_METHOD": "POST",
        "RESPONSE_CODE": "201", "SHAPE": "users.all()", "TAGS": {"a": "1", "b": "2"},
        "TRACEPARENT": format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", record.span_id),
        "TS": "2024-05-10 18:05:42.871 Z", "TXN_RETRIES": 0,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), expected);

    let running = Record::new(&Trail::start(Sample::Never), "/");
    let line = line_of(&running, LineFormat::Exported { api_version: "1".into() });
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["RESPONSE_CODE"], &value["QUERY_TIME_MS"]), (&"0".into(), &0.into()));
    assert_eq!((&value["DATABASE"], &value["TAGS"]), (&serde_json::json!([]), &serde_json::json!({})));
    assert!(value.get("RATE_LIMITS_HIT").is_none() && value.get("SHAPE").is_none());
}

#[test]
fn audit_record_has_all_fifteen_members() {
    let record = full();
    let expected = serde_json::json!({
        "id": record.id.to_string(), "timestamp": "2024-05-10T18:05:42.871000+00:00", "exec_env_id": "env",
        "user_id": "ada", "user_email": "ada@example.com", "udf_id": "op", "udf_name": "create",
        "execution_engine": "realtime", "execution_time": 0.012_345, "cache": true, "stdout": "out", "stderr": "",
        "udf_data": "{\"a\":1}", "shared_token": "fc_token", "client_ip": "::1",
    });
    assert_eq!(serde_json::to_value(record.audit()).unwrap(), expected);
}

#[test]
fn record_is_read_back_as_it_was_written() {
    let mut record = full();
    let logged = Logged::with(|settings| settings.format(LineFormat::WithOutput));
    logged.log.append(&record);
    let read = logged.records().remove(0);
    // These two are not in a file.
    record.notes.shared_token = None;
    record.notes.shape = None;
    assert_eq!(read, record);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn line_has_no_breaks_or_terminal_escapes_for_any_text(texts in proptest::collection::vec("(?s).{0,40}", 8), controls in "[\\x00-\\x1f\\x7f-\\u{9f}\\u{2028}\\u{202e}\\u{2066}\\u{feff}\"\\\\😀]{0,20}") {
        let mut record = record(&format!("{}{controls}", texts[0]));
        record.request.route = Some(texts[1].clone() + &controls);
        record.request.headers = vec![(http::header::USER_AGENT, texts[2].clone() + &controls)];
        record.notes.caller.user_id = Some(texts[3].clone() + &controls);
        record.notes.operation.name = Some(texts[4].clone() + &controls);
        record.notes.database = vec![texts[5].clone(), controls.clone()];
        record.notes.stdout = Some(texts[6].clone() + &controls);
        record.notes.add(texts[7].clone() + &controls, 1);
        let logged = Logged::with(|settings| settings.format(LineFormat::WithOutput));
        logged.log.append(&record);
        let read = logged.records().remove(0);
        prop_assert_eq!(read, record);
        let text = logged.text();
        prop_assert_eq!(text.matches('\n').count(), 1);
        let obeyed = text.trim_end_matches('\n').chars().find(|char| {
            char.is_control() || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        });
        prop_assert_eq!(obeyed, None);
    }
}

#[test]
fn record_of_a_megabyte_is_one_line() {
    let logged = Logged::new();
    let record = record(&"\u{9b}31m".repeat(250_000));
    logged.log.append(&record);
    assert_eq!(logged.records(), [record]);
}

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
    assert!(error.to_string().ends_with(": this is a file, and a folder is needed"), "{error}");
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

#[test]
fn queue_is_rejected_if_it_is_too_small() {
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
