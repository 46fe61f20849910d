use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use axum::routing::post;
use axum::{Json, Router};
use http::HeaderMap;
use serde_json::{Value, json};
use tagtrail::TraceParent;

use crate::support::serve;

/// The program of an example. `cargo test` builds the examples before it runs the tests; `cargo test --test it` does
/// not.
#[track_caller]
fn example(name: &str) -> Command {
    let tests = env::current_exe().unwrap();
    let profile = tests.parent().unwrap().parent().unwrap();
    let path = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{} does not exist: run `cargo build -p tagtrail --examples` (with `--release` if the tests have it), or \
         `cargo test -p tagtrail`, which builds the examples too",
        path.display()
    );
    Command::new(path)
}

#[track_caller]
fn run(name: &str, arguments: &[&str]) -> String {
    let output: Output = example(name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The server of an example, stopped when the test ends.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    #[track_caller]
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = example(name).arg("127.0.0.1:0").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        Self { child, url: format!("http://{address}/") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn demo_prints_every_step() {
    let printed = run("demo", &[]);
    for number in 1..=5 {
        assert!(printed.contains(&format!("\n{number}. ")), "{printed}");
    }
    assert!(printed.contains("400 Bad Request"), "{printed}");
    assert!(printed.ends_with("Everything is as expected.\n"), "{printed}");
}

#[test]
fn servers_respond_to_hyper_client() {
    for (server, hello) in [("axum_server", "Hello, blog! This is span "), ("hyper_server", "Hello from trace ")] {
        let server = Server::start(server, &[]);
        let printed = run("hyper_client", &[&server.url]);
        assert!(printed.starts_with("200 OK, in trace "), "{printed}");
        assert!(printed.contains(hello), "{printed}");
        // The trace in the response header is the one that the handler saw.
        let trace = &printed["200 OK, in trace ".len()..][..32];
        assert_eq!(printed.matches(trace).count(), 2, "{printed}");
    }
}

#[test]
fn opentelemetry_spans_form_one_tree() {
    let printed = run("opentelemetry", &[]);
    let tree = printed.lines().skip_while(|line| !line.starts_with("caller b7ad6b7169203331"));
    let names: Vec<_> = tree.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["caller", "gateway", "call", "backend"], "{printed}");
}

#[test]
fn each_retry_has_its_own_parent_id() {
    let printed = run("reqwest_retries", &[]);
    let mut sent: Vec<&str> = printed
        .lines()
        .filter_map(|line| Some(line.split_once("TraceParent(")?.1.split(')').next().unwrap()))
        .collect();
    assert_eq!(sent.len(), 3, "{printed}");
    let parent_ids: std::collections::HashSet<_> = sent.iter().map(|traceparent| &traceparent[36..52]).collect();
    assert_eq!(parent_ids.len(), 3, "{printed}");
    sent.dedup_by_key(|traceparent| traceparent[..35].to_owned());
    assert_eq!(sent.len(), 1, "one trace: {printed}");
}

/// The service that the W3C's test harness drives: it calls each URL that it is sent.
#[tokio::test]
async fn w3c_test_service_makes_requested_calls() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let listen = move |headers: HeaderMap, Json(body): Json<Value>| async move {
        sender.send((TraceParent::from_headers(&headers).unwrap().unwrap(), body)).unwrap();
    };
    let url = format!("http://{}/called", serve(Router::new().route("/called", post(listen))).await);

    for client in ["reqwest", "hyper"] {
        let service = Server::start("w3c_test_service", &[client]);
        let calls = json!([{"url": url, "arguments": []}, {"url": url, "arguments": [1]}]);
        let request = reqwest::Client::new().post(format!("{}test", service.url)).json(&calls);
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let response = request.header("traceparent", sent).send().await.unwrap();
        assert_eq!(response.status(), 200, "{client}");
        let [(one, first), (other, second)] = [received.recv().await.unwrap(), received.recv().await.unwrap()];
        assert_eq!((first, second), (json!([]), json!([1])));
        let sent: TraceParent = sent.parse().unwrap();
        for call in [one, other] {
            assert_eq!((call.trace_id(), call.flags()), (sent.trace_id(), sent.flags()), "{client}");
            assert_ne!(call.parent_id(), sent.parent_id(), "{client}");
        }
        assert_ne!(one.parent_id(), other.parent_id(), "{client}");
    }
}

#[test]
fn w3c_test_service_rejects_unknown_client() {
    let output = example("w3c_test_service").args(["127.0.0.1:0", "curl"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("`reqwest`"));
}
