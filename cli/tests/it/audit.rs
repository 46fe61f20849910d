//! `tagtrail-log import`, `serve` and `query`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::audit::{TOKENS, records, sorted};
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::{AuditLog, AuditRecord, LogFiles, Outcome, Record};

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"));
    command.args(arguments).current_dir(folder).env("TAGTRAIL_TOKEN", "ada").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().unwrap()
}

fn found(output: &Output) -> Vec<AuditRecord> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn lines(records: &[AuditRecord]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record).unwrap();
        lines.push(b'\n');
    }
    lines
}

/// A server that is killed when the test ends.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The API over `audit.db`, and its URL.
fn serve(folder: &Path) -> (String, Served) {
    let arguments = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json", "--listen", "127.0.0.1:0"];
    let mut child = program(folder, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (format!("{}/server/v1", line.trim().strip_prefix("listening on ").unwrap()), Served(child))
}

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
            &["--start-timestamp", "yesterday"],
        ] {
            assert!(!ask(wrong).status.success(), "{wrong:?}");
        }
    }
    let distinct = ["--distinct", "--distinct-type", "names", "--exec-env", "--max-records-to-scan", "50"];
    let [one, other, third] = places.map(|place| found(&run(folder, &[&place[..], &distinct].concat())));
    assert!(one == other && one == third && one.len() > 5);
}

#[test]
fn requests_and_traces_are_shown_from_a_store_and_from_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let trail = Trail::start(Sample::Always).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
    let mut requests: Vec<_> =
        ["/posts/1", "/pos\u{1b}[31mts/2", "/posts/3"].map(|path| Record::new(&trail, path)).into();
    for (request, status) in requests.iter_mut().zip([200, 404, 503]) {
        request.request.route = Some("/posts/{id}".into());
        request.notes.caller.exec_env_id = Some("env1".into());
        request.response.status = Some(status);
        request.end(Duration::from_millis(2), Outcome::Complete);
    }
    let called = Trail::start(Sample::Always).span_id();
    requests[0].sent = vec![called];
    (requests[2].span_id, requests[2].parent_id) = (Trail::start(Sample::Always).span_id(), Some(called));
    let store = tokio::runtime::Runtime::new().unwrap();
    let log = AuditLog::open(folder.join("audit.db")).unwrap();
    store.block_on(log.put_requests(&requests)).unwrap();
    drop((log, store));

    let (server, _served) = serve(folder);
    let trace = requests[0].trace_id.to_string();
    let since = requests[1].begin.to_string();
    for place in [&["--server", &server][..], &["--store", "sqlite:audit.db", "--exec-env-id", "env1"]] {
        let ask = |verb: &[&str]| {
            let output = run(folder, &[verb, place].concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        for (arguments, expected) in [
            (&[][..], &[0, 1, 2][..]),
            (&["--newest-first", "--limit", "2"], &[2, 1]),
            (&["--trace", &trace, "--all"], &[0, 1, 2]),
            (&["--tag", "project=blog", "--tag", "env=prod", "--status", "4xx"], &[1]),
            (&["--tag", "project=shop"], &[]),
            (&["--route", "/posts/{id}", "--status", "503"], &[2]),
            (&["--since", &since], &[1, 2]),
            (&["--until", &since], &[0]),
        ] {
            let expected: Vec<_> = expected.iter().map(|place| format!("{}\n", requests[*place])).collect();
            assert_eq!(ask(&[&["requests"], arguments].concat()), expected.concat(), "{arguments:?}");
        }
        let table = ask(&["requests", "--format", "table"]);
        assert!(table.lines().count() == 3 && !table.contains('\u{1b}') && table.contains("404"), "{table}");
        let tree = ask(&["trace", &trace, "--format", "table"]);
        let indented: Vec<_> = tree.lines().map(|line| line.starts_with("  ")).collect();
        assert_eq!(indented, [false, true, false], "{tree}");
        let json: serde_json::Value = serde_json::from_str(&ask(&["trace", &trace])).unwrap();
        assert_eq!(json["items"][1]["parent"], 0);
        for wrong in [&["requests", "--status", "40"][..], &["requests", "--tag", "x"], &["trace", "x"], &["trace"]] {
            assert!(!run(folder, &[wrong, place].concat()).status.success(), "{wrong:?}");
        }
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut many = records(300);
    for record in &mut many {
        record.udf_data = Some("x".repeat(5_000));
    }
    fs::write(folder.join("many.jsonl"), lines(&many)).unwrap();
    assert!(run(folder, &["import", "--store", "sqlite:audit.db", "many.jsonl"]).status.success());
    let arguments = ["query", "--store", "sqlite:audit.db", "--exec-env-id", "env1", "--exec-env", "--all"];
    let mut child = program(folder, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
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
fn an_error_names_what_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tokens.json"), "{}").unwrap();
    fs::write(folder.join("good.json"), TOKENS).unwrap();
    fs::write(folder.join("no.db"), "no database at all, as anybody can see").unwrap();
    for (arguments, expected) in [
        (
            ["serve", "--store", "sqlite:a.db", "--tokens", "none.json"],
            "--tokens none.json: invalid tokens file: cannot read the file",
        ),
        (["serve", "--store", "sqlite:a.db", "--tokens", "tokens.json"], "expected a JSON object with a list `tokens`"),
        (
            ["import", "tokens.json", "--store", "oracle:a", "--rejected=x"],
            "--store: expected sqlite:PATH or postgres://",
        ),
        (
            ["import", "tokens.json", "--store", "sqlite:no.db", "--rejected=x"],
            "--store sqlite:no.db: file is not a database",
        ),
        (
            ["import", "tokens.json", "--store", "sqlite:none/a.db", "--rejected=x"],
            "--store sqlite:none/a.db: the folder of the file is not there: make it first",
        ),
        (
            ["serve", "--store=sqlite:a.db", "--tokens=good.json", "--exports=ftp://h/x", "--listen=127.0.0.1:0"],
            "--exports ftp://h/x: a folder is needed, or a URL: s3://bucket/folder",
        ),
        (
            ["import", "tokens.json", "--store=sqlite:a.db", "--payloads", "memory:///"],
            "--payloads: a folder is needed, or a URL: s3://bucket/folder",
        ),
    ] {
        let output = run(folder, &arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
    // A question creates no store if there is none.
    let trace = "3ec5539163441bd4957502a294a01b55";
    for question in [&["query", "--exec-env"][..], &["requests"], &["trace", trace]] {
        let output = run(folder, &[question, &["--store", "sqlite:wrong.db", "--exec-env-id", "env1"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("no such file"), "{said}");
        assert!(!folder.join("wrong.db").exists() && !folder.join("wrong.db.payloads").exists());
    }
    // Nor in a file that is there, and empty.
    fs::write(folder.join("empty"), "").unwrap();
    let output = run(folder, &["requests", "--store", "sqlite:empty", "--exec-env-id", "env1"]);
    says(&output, 1, "--store sqlite:empty: there is no audit log in this file yet");
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
    assert!(!folder.join("empty.payloads").exists());
}

fn says(output: &Output, code: i32, expected: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && said.contains(expected), "{:?}: {said}", output.status);
}

/// Creates a store with one record, whose texts contain control characters.
fn store_of_one(folder: &Path) {
    let mut one = records(1);
    one[0].exec_env_id = Some("env1".into());
    one[0].udf_name = Some("\u{9b}31m\u{202e}".into());
    fs::write(folder.join("one.jsonl"), lines(&one)).unwrap();
    assert!(run(folder, &["import", "one.jsonl", "--store", "sqlite:audit.db"]).status.success());
}

const STORE: [&str; 4] = ["--store", "sqlite:audit.db", "--exec-env-id", "env1"];

#[test]
fn json_has_no_characters_that_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    store_of_one(folder.path());
    let output = run(folder.path(), &[&["query", "--exec-env"][..], &STORE].concat());
    let json = String::from_utf8(output.stdout).unwrap();
    assert!(json.contains(r#""udf_name":"\u009b31m\u202e""#), "{json}");
}

#[test]
fn invalid_arguments_exit_with_2_and_say_what_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    let of_store = |arguments: &[&str]| run(folder, &[arguments, &STORE].concat());
    says(&of_store(&["query"]), 2, "--user is required, or --everyone");
    says(&of_store(&["query", "--exec-env", "--since", "1h", "--until", "2h"]), 2, "--since must be before --until");
    let window = ["query", "--exec-env", "--since", "2024-05-11", "--end-timestamp", "2024-05-10"];
    says(&of_store(&window), 2, "--since must not be after --end-timestamp");
    says(&of_store(&["requests", "--since", "1h", "--until", "2h"]), 2, "--since must be before --until");
    says(&of_store(&["requests", "--tag", "=x"]), 2, "expected NAME=VALUE");
    says(&of_store(&["trace", "3EC5"]), 2, "expected 32 lowercase hexadecimal digits");
    let server = ["query", "--server", "http://127.0.0.1:9/v1"];
    says(&run(folder, &[&server[..], &["--exec-env-id", "env2"]].concat()), 2, "cannot be used with");
    says(&run(folder, &[&server[..], &["--user-email", "x"]].concat()), 2, "cannot be used with");
    says(&run(folder, &["requests", "--store", "sqlite:audit.db", "--exec-env-id", ""]), 2, "a value is required");
    for token in [None, Some("")] {
        let mut asked = program(folder, &server);
        asked.env_remove("TAGTRAIL_TOKEN").envs(token.map(|token| ("TAGTRAIL_TOKEN", token)));
        says(&asked.output().unwrap(), 2, "TAGTRAIL_TOKEN is not set: set it to");
    }
    says(
        &run(folder, &["query", "--server", "127.0.0.1:9"]),
        2,
        "--server: invalid base of an audit log: expected a URL",
    );
    let output = program(folder, &server).env("TAGTRAIL_TOKEN", "two\nlines").output().unwrap();
    says(&output, 2, "TAGTRAIL_TOKEN: invalid token: it has characters that a header cannot have");
    says(&run(folder, &["prune", "--store", "sqlite:audit.db", "--before", "365d"]), 2, "only PostgreSQL");
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let serve = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json"];
    for (wrong, expected) in [
        (&["--listen", "8080"][..], "expected an IP address and a port"),
        (&["--exports-at-once", "0"], "0 is not in 1.."),
        (&["--partition-by", "month", "--listen", "127.0.0.1:0"], "SQLite has no partitions"),
    ] {
        says(&run(folder, &[&serve[..], wrong].concat()), 2, expected);
    }
}

#[test]
fn an_error_names_what_failed_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let away = ["query", "--exec-env", "--exec-env-id", "env1", "--store", "postgres://ada:secret@127.0.0.1:9/x"];
    let output = run(folder, &away);
    says(&output, 1, "--store postgres://...: error connecting to server: Connection refused");
    says(&output, 1, "refused");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
    says(&run(folder, &["query", "--server", "http://127.0.0.1:9/v1"]), 1, "refused");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let serve = ["serve", "--store", "sqlite:new.db", "--tokens", "tokens.json", "--listen", &address];
    says(&run(folder, &serve), 1, &format!("--listen {address}: Address already in use"));
    assert!(!folder.join("new.db").exists(), "no store is created");

    let (server, _served) = self::serve(folder);
    let root = server.strip_suffix("/server/v1").unwrap();
    says(&run(folder, &["query", "--server", root]), 1, "expected the URL with the path of the API");
    says(&run(folder, &["query", "--server", &server, "--id", "x"]), 1, "no record in your environment has this id");
}

#[test]
fn messages_of_the_server_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = r#"{"tokens": [{"token": "secret", "kind": "usr"}]}"#;
    fs::write(folder.path().join("tokens.json"), tokens).unwrap();
    let arguments = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json", "--listen", "127.0.0.1:0"];
    let mut child = program(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    child.kill().unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("tokens[0]: unknown kind"), "{said}");
    assert!(said.contains("every request will be rejected"), "{said}");
    assert!(said.contains("/v1 and http://") && said.contains("/api/v1"), "the URLs of the APIs: {said}");
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
fn a_database_is_not_a_log_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    for verb in ["tail", "cat", "stats"] {
        let expected = "cannot read audit.db: this is an SQLite database; use `query`, `requests` or `trace`";
        says(&run(folder, &[verb, "audit.db"]), 1, expected);
    }
}

#[test]
fn a_default_limit_is_reported_if_it_was_reached() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut many = records(101);
    for record in &mut many {
        record.exec_env_id = Some("env1".into());
    }
    fs::write(folder.join("many.jsonl"), lines(&many)).unwrap();
    assert!(run(folder, &["import", "many.jsonl", "--store", "sqlite:audit.db"]).status.success());
    let ask = |arguments: &[&str]| run(folder, &[&["query", "--exec-env"][..], &STORE, arguments].concat());
    says(&ask(&[]), 0, "only the first 100 records are shown");
    for chosen in [&["--limit", "100"][..], &["--all"]] {
        assert!(ask(chosen).stderr.is_empty(), "{chosen:?}");
    }
}

#[test]
fn an_empty_result_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    let query = ["query", "--exec-env"];
    for verb in [&query[..], &["query", "--exec-env", "--distinct", "--distinct-type", "ids"], &["requests"]] {
        let of =
            |environment| run(folder, &[verb, &["--store", "sqlite:audit.db", "--exec-env-id", environment]].concat());
        let output = of("env9");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "tagtrail-log: no records found\n", "{verb:?}");
        assert!(output.status.success() && output.stdout.is_empty(), "{verb:?}");
    }
    assert!(run(folder, &[&query[..], &STORE].concat()).stderr.is_empty());
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
fn a_server_serves_if_its_output_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json", "--listen", &free];
    let mut child = program(folder, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let _served = Served(child);
    let asked = || run(folder, &["query", "--server", &format!("http://{free}/v1")]).status.success();
    let begin = std::time::Instant::now();
    while !asked() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not respond");
        std::thread::sleep(Duration::from_millis(50));
    }
}
