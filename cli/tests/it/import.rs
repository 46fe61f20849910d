//! `tagtrail-log import`.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use crate::program::{STORE, found, lines, program, run, says, serve, store_of_one};
use crate::support::audit::{TOKENS, records, sorted};
use tagtrail::{Sample, Trail};
use tagtrail_querylog::{LogFiles, Outcome, Record};

#[test]
fn records_are_returned_as_they_were_imported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut all = records(2_500);
    all[7].stdout = Some("é".repeat(60_000));
    all[7].exec_env_id = Some("env1".into());
    let all = sorted(all);
    let (first, rest) = all.split_at(1_000);
    fs::write(folder.join("first.jsonl"), lines(first)).unwrap();
    fs::write(folder.join("rest.jsonl"), [lines(rest), b"\n".to_vec()].concat()).unwrap();
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();

    // Twice, as if the first import was interrupted.
    for files in [&["first.jsonl"][..], &["first.jsonl", "rest.jsonl"]] {
        let output = run(folder, &[&["import", "--store", "sqlite:audit.db"], files].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    let (server, _served) = serve(folder);

    let env: Vec<_> = all.iter().filter(|r| r.exec_env_id.as_deref() == Some("env1")).cloned().collect();
    let own: Vec<_> = all.iter().filter(|r| r.user_email.as_deref() == Some("ada@example.com")).cloned().collect();
    let named: Vec<_> = env.iter().filter(|r| r.udf_name.as_deref() == Some("team/rollup")).cloned().collect();
    let places = [
        vec!["query", "--server", &server],
        vec!["query", "--store", "sqlite:audit.db", "--exec-env-id", "env1", "--user-email", "ada@example.com"],
        vec!["query", "--store", "sqlite:audit.db", "--environment", "env1", "--user", "ada@example.com"],
    ];
    for place in &places {
        let ask = |arguments: &[&str]| run(folder, &[place, arguments].concat());
        assert_eq!(found(&ask(&["--all"])), own);
        assert_eq!(found(&ask(&[])), own[..100]);
        let newest: Vec<_> = env.iter().rev().take(450).cloned().collect();
        assert_eq!(found(&ask(&["--exec-env", "--newest-first", "--limit", "450"])), newest);
        for option in ["--udf-name", "--operation"] {
            assert_eq!(found(&ask(&[option, "team/rollup", "--all"])), named);
        }
        assert_eq!(found(&ask(&["--id", env[9].id.as_str()])), env[9..10]);
        let (from, to) = (env[20].timestamp.to_string(), env[300].timestamp.to_string());
        let window: Vec<_> =
            env.iter().filter(|r| (env[20].timestamp..=env[300].timestamp).contains(&r.timestamp)).cloned().collect();
        let arguments = ["--exec-env", "--start-timestamp", &from, "--end-timestamp", &to, "--all"];
        assert_eq!(found(&ask(&arguments)), window);
        let table = ask(&["--exec-env", "--format", "table", "--all"]);
        assert_eq!(table.stdout.split(|&byte| byte == b'\n').count(), env.len() + 1);
        assert!(table.stdout.iter().all(|&byte| byte == b'\n' || byte >= b' '), "no control characters");
        for wrong in [
            &["--id", "x"][..],
            &["--udf-name", "x", "--udf-id", "y"],
            &["--distinct"],
            &["--limit", "0"],
            &["--start-timestamp", "last week"],
        ] {
            assert!(!ask(wrong).status.success(), "{wrong:?}");
        }
    }
    let distinct = ["--distinct", "--distinct-type", "names", "--exec-env", "--max-records-to-scan", "50"];
    let [one, other, third] = places.map(|place| found(&run(folder, &[&place[..], &distinct].concat())));
    assert!(one == other && one == third && one.len() > 5);
}

#[test]
fn lines_that_are_not_records_are_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let all = records(3);
    let mut file = lines(&all[..2]);
    file.extend_from_slice(b"{\"id\": \"secret\"}\nno json\n\xff\xfe\n");
    file.extend(lines(&all[2..]));
    file.pop();
    let mut child = program(folder, &["import", "-", "--store", "sqlite:audit.db"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&file).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && !said.contains("secret"), "{said}");
    for expected in [
        "stdin, line 3: ",
        "stdin, line 4: ",
        "stdin, line 5: ",
        "3 records are in the store",
        "3 lines are not records",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(fs::read(folder.join("stdin.rejected")).unwrap(), b"{\"id\": \"secret\"}\nno json\n\xff\xfe\n");
}

#[test]
fn records_that_the_store_rejects_are_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    let store = rusqlite::Connection::open(folder.join("audit.db")).unwrap();
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON record WHEN NEW.udf_name = 'hunter2'
        BEGIN SELECT RAISE(ABORT, 'not taken'); END";
    store.execute_batch(trigger).unwrap();
    let mut all = records(2_100);
    for record in &mut all {
        record.exec_env_id = Some("env1".into());
        record.udf_name = Some("report".into());
    }
    let mut request = Record::new(&Trail::start(Sample::Always), "/posts/7");
    request.notes.operation.name = Some("hunter2".into());
    for number in [0, 700, 701, 2_099] {
        all[number].udf_name = Some("hunter2".into());
    }
    let mut file = lines(&all[..1_000]);
    file.extend(format!("{request}\nno json\n").into_bytes());
    file.extend(lines(&all[1_000..]));
    fs::write(folder.join("all.jsonl"), file).unwrap();

    let output = run(folder, &["import", "all.jsonl", "--store", "sqlite:audit.db"]);
    says(&output, 1, "2096 records are in the store\n");
    says(
        &output,
        1,
        "1 lines are not records, and the store rejected 5 records; they were written to all.jsonl.rejected",
    );
    for number in [1, 701, 702, 1_001, 2_102] {
        says(&output, 1, &format!("all.jsonl, line {number}: the store rejected a row: not taken"));
    }
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("hunter2") && !said.contains("environment"), "{said}");
    let found = found(&run(folder, &[&["query", "--exec-env", "--udf-name", "report", "--all"][..], &STORE].concat()));
    assert_eq!(
        sorted(found),
        sorted(all.iter().filter(|r| r.udf_name.as_deref() == Some("report")).cloned().collect())
    );

    // The rejected records are imported when the store accepts them.
    store.execute_batch("DROP TRIGGER no").unwrap();
    let kept = fs::read_to_string(folder.join("all.jsonl.rejected")).unwrap();
    assert_eq!(kept.lines().count(), 6);
    fs::write(folder.join("again.jsonl"), kept.replace("no json\n", "")).unwrap();
    says(&run(folder, &["import", "again.jsonl", "--store", "sqlite:audit.db"]), 0, "5 records are in the store");
}

#[test]
fn rejected_lines_overwrite_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    fs::write(folder.join("bad.jsonl"), "no json\n").unwrap();
    let import = ["import", "bad.jsonl", "--store", "sqlite:audit.db"];
    says(&run(folder, &[&import[..], &["--rejected", "audit.db"]].concat()), 1, "audit.db already exists");
    says(&run(folder, &import), 1, "1 lines are not records");
    says(&run(folder, &import), 1, "bad.jsonl.rejected already exists");
    assert_eq!(fs::read(folder.join("bad.jsonl.rejected")).unwrap(), b"no json\n");
    assert_eq!(
        found(&run(folder, &[&["query", "--exec-env"][..], &STORE].concat())).len(),
        1,
        "the store is unchanged"
    );
}

#[test]
fn no_store_is_created_if_files_cannot_be_imported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    fs::write(folder.join("one.jsonl"), lines(&records(1))).unwrap();
    for (path, expected) in [
        ("none.jsonl", "none.jsonl: No such file"),
        (".", ".: expected a file of JSON lines, found a directory"),
        ("audit.db", "audit.db: expected JSON lines, found an SQLite database"),
    ] {
        says(&run(folder, &["import", "one.jsonl", path, "--store", "sqlite:new.db"]), 1, expected);
        assert!(!folder.join("new.db").exists() && !folder.join("new.db.payloads").exists(), "{path}");
    }
}

#[test]
fn records_without_an_environment_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let request = |env: Option<&str>| {
        let mut request = Record::new(&Trail::start(Sample::Always), "/posts/7");
        request.notes.caller.exec_env_id = env.map(str::to_owned);
        request.to_string()
    };
    let mut audited = records(1);
    audited[0].exec_env_id = None;
    let without = [request(None), String::from_utf8(lines(&audited)).unwrap(), request(None)].join("\n");
    fs::write(folder.join("without.jsonl"), without).unwrap();
    fs::write(folder.join("with.jsonl"), request(Some("env1"))).unwrap();
    let output = run(folder, &["import", "with.jsonl", "without.jsonl", "--store", "sqlite:audit.db"]);
    says(&output, 0, "4 records are in the store\n");
    says(&output, 0, "3 of them have no environment and will not appear in queries by environment");
    let output = run(folder, &["import", "with.jsonl", "--store", "sqlite:audit.db"]);
    says(&output, 0, "1 records are in the store");
    assert!(!String::from_utf8(output.stderr).unwrap().contains("environment"));
}

#[test]
fn lines_of_log_files_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let log = LogFiles::new(folder.join("log")).open().unwrap();
    let mut request = Record::new(&Trail::start(Sample::Always), "/posts/7");
    request.notes.caller.exec_env_id = Some("env1".into());
    request.end(Duration::from_millis(2), Outcome::Complete);
    request.response.status = Some(503);
    log.append(&request).wait(Duration::from_secs(20)).unwrap().unwrap();
    log.close_blocking(Duration::from_secs(20)).unwrap();
    let cat = run(folder, &["cat", "log"]).stdout;
    let gap =
        r#"{"gap":{"from":"2026-11-22T00:14:27.325500Z","to":"2026-11-22T00:14:29.101200Z","count":1,"why":"x"}}"#;
    fs::write(folder.join("log.jsonl"), [&cat[..], gap.as_bytes()].concat()).unwrap();
    let mut audited = records(1);
    audited[0].exec_env_id = Some("env1".into());
    fs::write(folder.join("audited.jsonl"), lines(&audited)).unwrap();

    for _ in 0..2 {
        let output = run(folder, &["import", "log.jsonl", "audited.jsonl", "--store", "sqlite:audit.db"]);
        says(&output, 0, "2 records are in the store");
        says(&output, 0, "log.jsonl, line 2: a gap");
    }
    assert!(!folder.join("log.jsonl.rejected").exists());
    fs::write(folder.join("log.jsonl.gz"), b"\x1f\x8b\x08\nand more").unwrap();
    for (path, expected) in [
        ("log", "log: expected a file of JSON lines, found a directory"),
        ("log.jsonl.gz", "log.jsonl.gz: expected JSON lines, found a compressed file"),
    ] {
        let output = run(folder, &["import", path, "--store", "sqlite:audit.db"]);
        says(&output, 1, expected);
        says(&output, 1, "`tagtrail-log cat PATH | tagtrail-log import -`");
    }
    assert!(!folder.join("log.jsonl.gz.rejected").exists());
    let found_request = run(folder, &[&["requests", "--status", "503"][..], &STORE].concat());
    assert_eq!(String::from_utf8(found_request.stdout).unwrap(), format!("{request}\n"));
    assert_eq!(found(&run(folder, &[&["query", "--exec-env"][..], &STORE].concat())).len(), 2);
}

#[test]
fn a_line_without_end_is_set_aside_within_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut file = fs::File::create(folder.join("long.jsonl")).unwrap();
    // Nothing but zeros, which need no space.
    file.set_len((256 << 20) + 3_000_000).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    file.write_all(b"\n").unwrap();
    file.write_all(&lines(&records(1))).unwrap();
    let output = run(folder, &["import", "long.jsonl", "--store", "sqlite:audit.db"]);
    says(&output, 1, "long.jsonl, line 1: longer than 256 MiB");
    says(&output, 1, "1 records are in the store");
    says(&output, 1, "1 lines are not records; they were written to long.jsonl.rejected");
    let rejected = fs::File::open(folder.join("long.jsonl.rejected")).unwrap().metadata().unwrap();
    assert_eq!(rejected.len(), (256 << 20) + 3_000_001);
}
