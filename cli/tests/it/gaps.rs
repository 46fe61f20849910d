//! What is missing is reported by each command that shows records, and listed by `tagtrail-log gaps`.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::store::Sqlite;
use tagtrail_querylog::{AuditLog, Outcome, Record};

use crate::program::{STORE, program, run, says, serve};
use crate::support::audit::TOKENS;
use crate::support::gaps::{Missing, ago, put_missing};

fn errors(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Creates a store with two requests, one an hour ago and one now, that misses others.
fn store(folder: &Path) -> (Vec<Record>, Missing) {
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let store = Sqlite::open(folder.join("audit.db")).unwrap();
    let requests: Vec<_> = [3_590, 0].map(request).into();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(AuditLog::new(store.clone()).put_requests(&requests)).unwrap();
    (requests, runtime.block_on(put_missing(&store)))
}

fn request(seconds: u64) -> Record {
    let mut request = Record::new(&Trail::start(Sample::Always), "/");
    request.start_time = ago(seconds);
    request.notes.caller.exec_env_id = Some("env1".into());
    request.end(Duration::ZERO, Outcome::Complete);
    request
}

/// Returns the messages about a gap of known count, one of unknown count, and a writer that is behind.
fn messages(missing: &Missing, counts: [&str; 2], [instance, waiting]: [&str; 2]) -> [String; 3] {
    let gap = |index: usize| {
        let gap = &missing.gaps[index];
        format!("tagtrail-log: {}, {} to {}: {}\n", counts[index], gap.from, gap.to, gap.why)
    };
    [gap(0), gap(1), format!("tagtrail-log: no news from shop{instance} since {}{waiting}\n", missing.behind)]
}

#[test]
fn what_is_missing_from_the_range_is_reported_by_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (requests, missing) = store(folder);
    let (server, _served) = serve(folder);
    let of_store = messages(
        &missing,
        ["3 requests are missing", "an unknown number of requests may be missing"],
        [" (host-a:7)", "; 812 requests waited there then"],
    );
    let of_server = messages(&missing, ["requests are missing"; 2], ["", ""]);
    let (since, until) = (ago(3_000).to_string(), ago(2_000).to_string());
    let [old, new] = [0, 1].map(|index: usize| requests[index].trace_id.to_string());
    let everyone = ["query", "--everyone"];
    for (place, [known, unknown, behind]) in [(&STORE[..], &of_store), (&["--server", &server], &of_server)] {
        let says = |arguments: &[&str]| errors(&run(folder, &[arguments, place].concat()));
        for (arguments, expected) in [
            (&[][..], &[known, unknown, behind][..]),
            (&["--since", &since], &[unknown, behind]),
            (&["--until", &until], &[known]),
            // As far as the records that are shown.
            (&["--limit", "1"], &[known]),
            (&["--limit", "1", "--newest-first"], &[behind]),
        ] {
            let expected: String = expected.iter().map(|message| message.as_str()).collect();
            for verb in [&everyone[..], &["requests"]] {
                assert_eq!(says(&[verb, arguments].concat()), expected, "{verb:?} {arguments:?}");
            }
        }
        let all = [known.as_str(), unknown, behind].concat();
        assert_eq!(
            says(&["query", "--everyone", "--distinct", "--distinct-type", "ids"]),
            "tagtrail-log: no records found\n".to_owned() + &all
        );
        assert_eq!(says(&["requests", "--route", "/nowhere"]), "tagtrail-log: no records found\n".to_owned() + &all);
        assert_eq!((says(&["trace", &old]), says(&["trace", &new])), (known.clone(), behind.clone()));
        let id = requests[0].id.to_string();
        assert_eq!(says(&["query", "--id", &id]), "");
    }
}

#[test]
fn gaps_are_lines_of_requests_and_of_no_other_command() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (requests, missing) = store(folder);
    let lines = |lines: &[String]| lines.join("\n") + "\n";
    let records: Vec<_> = requests.iter().map(ToString::to_string).collect();
    let gaps: Vec<_> = missing.gaps.iter().map(ToString::to_string).collect();
    let shown = stdout(&run(folder, &[&["requests"][..], &STORE].concat()));
    assert_eq!(shown, lines(&[records.clone(), gaps.clone()].concat()));
    let one = stdout(&run(folder, &[&["requests", "--limit", "1"][..], &STORE].concat()));
    assert_eq!(one, lines(&[records[0].clone(), gaps[0].clone()]));
    let table = stdout(&run(folder, &[&["requests", "--format", "table"][..], &STORE].concat()));
    assert_eq!(table.lines().count(), 2, "{table}");
    let query = stdout(&run(folder, &[&["query", "--everyone"][..], &STORE].concat()));
    assert!(query.lines().count() == 2 && !query.contains("gap"), "{query}");
    let trace = stdout(&run(folder, &[&["trace", &requests[0].trace_id.to_string()][..], &STORE].concat()));
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!((&trace["gaps"][0]["count"], &trace["behind"]), (&Value::from(3), &serde_json::json!([])));

    // What reads the lines of files counts them.
    let mut piped = program(folder, &[&["requests"][..], &STORE].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stats = program(folder, &["stats", "-", "--format", "table"]);
    let table = stdout(&stats.stdin(piped.stdout.take().unwrap()).output().unwrap());
    assert!(piped.wait().unwrap().success() && table.contains("requests missing: 3, and unknown"), "{table}");
    fs::write(folder.join("shown.jsonl"), &shown).unwrap();
    let stats = |arguments: &[&str]| stdout(&run(folder, &[&["stats", "shown.jsonl"], arguments].concat()));
    let all: Value = serde_json::from_str(stats(&["--format", "json"]).lines().next().unwrap()).unwrap();
    assert_eq!((&all["count"], &all["missing"], &all["unknown_gaps"]), (&2.into(), &3.into(), &1.into()));
    let table = stats(&["--format", "table"]);
    assert!(table.contains("\nrequests missing: 3, and unknown in 1 more gaps\n"), "{table}");
    fs::write(folder.join("shown.jsonl"), format!("{}\n", gaps[1])).unwrap();
    let table = stats(&["--format", "table"]);
    assert!(table.contains("\nrequests missing: unknown, in 1 gaps\n"), "{table}");
    let all: Value = serde_json::from_str(stats(&["--format", "json"]).lines().next().unwrap()).unwrap();
    assert_eq!((&all["missing"], &all["unknown_gaps"]), (&Value::Null, &1.into()));
}

#[test]
fn gaps_lists_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_, missing) = store(folder);
    let (server, _served) = serve(folder);
    let ask = |arguments: &[&str]| run(folder, &[&["gaps"], arguments].concat());
    let store = ["--store", "sqlite:audit.db"];
    let [known, unknown] = &*missing.gaps else { panic!("expected two gaps") };
    let behind = format!(
        r#"{{"behind":{{"instance":"host-a:7","service":"shop","waiting":812,"written_through":"{}"}}}}"#,
        missing.behind
    );
    let json = ask(&store);
    assert_eq!((stdout(&json), errors(&json)), (format!("{known}\n{unknown}\n{behind}\n"), String::new()));
    let json = ask(&["--server", &server]);
    assert!(stdout(&json).contains(r#""count":null"#) && !stdout(&json).contains("812"), "{json:?}");

    let table = stdout(&ask(&[&store[..], &["--format", "table"]].concat()));
    let expected = [
        format!("{:27}  {:27}   requests  why\n", "from", "to"),
        format!("{}  {}          3  overload: the queue was full\n", known.from, known.to),
        format!("{}  {}    unknown  {}\n", unknown.from, unknown.to, unknown.why),
        format!(
            "{}  {:27}        812  no news from shop (host-a:7); 812 requests waited there then\n",
            missing.behind, "now"
        ),
    ];
    assert_eq!(table, expected.concat());
    let none = ask(&[&store[..], &["--until", "2020-01-01"]].concat());
    assert_eq!(
        (stdout(&none), errors(&none)),
        (String::new(), "tagtrail-log: nothing is known to be missing\n".into())
    );
    says(&ask(&[]), 2, "--store");
    says(&ask(&["--store", "sqlite:nothing.db"]), 1, "no such file");
}

#[test]
fn export_reports_what_was_missing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_, missing) = store(folder);
    let (server, _served) = serve(folder);
    let url = server.strip_suffix("/server/v1").unwrap();
    let export = |since: &str, until: &str| {
        let arguments =
            ["export", "--url", url, "--region-group", "us", "--since", since, "--until", until, "--out", "-"];
        program(folder, &arguments).env("ACCOUNT_KEY", "account").output().unwrap()
    };
    let [known, unknown, behind] = messages(&missing, ["requests are missing"; 2], ["", ""]);
    let output = export("2h", "10s");
    says(&output, 3, &[known.as_str(), &unknown, &behind].concat());
    let output = export("2h", "50m");
    says(&output, 3, &known);
    assert!(!String::from_utf8_lossy(&output.stderr).contains(&unknown));
}

#[test]
fn server_that_does_not_say_what_is_missing_is_named_as_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let page = axum::routing::get(async || r#"{"items":[],"limit":100,"next_page_token":null}"#);
    let router = axum::Router::new().route("/v1/log/self", page);
    runtime.spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["query", "--server", &url]);
    let expected = "tagtrail-log: no records found\n\
        tagtrail-log: the server does not say whether records are missing\n";
    assert_eq!(errors(&output), expected);
    says(
        &run(folder.path(), &["gaps", "--server", &url]),
        1,
        "does not say whether records are missing; expected the URL",
    );
    says(&run(folder.path(), &["requests", "--server", &url]), 1, "the audit log responded 404");
}
