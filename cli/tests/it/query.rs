//! `tagtrail-log query`, `requests` and `trace`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use crate::program::{STORE, lines, program, run, says, serve, store_of_one};
use crate::support::audit::{TOKENS, records};
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::{AuditLog, Outcome, Record};

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
    let since = requests[1].start_time.to_string();
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
fn json_has_no_characters_that_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    store_of_one(folder.path());
    let output = run(folder.path(), &[&["query", "--exec-env"][..], &STORE].concat());
    let json = String::from_utf8(output.stdout).unwrap();
    assert!(json.contains(r#""udf_name":"\u009b31m\u202e""#), "{json}");
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
fn a_response_without_end_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
        while !request.next().unwrap().unwrap().is_empty() {}
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"items\":[";
        stream.write_all(head.as_bytes()).unwrap();
        while stream.write_all(&[b' '; 4_096]).is_ok() {}
    });
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["query", "--server", &url]);
    says(&output, 1, "the response is larger than 256 MiB; request fewer records at a time");
}
