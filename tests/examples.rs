//! Runs the examples as a user does, and looks at what they print.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use axum::routing::post;
use axum::{Json, Router};
use http::HeaderMap;
use serde_json::{Value, json};
use tagtrail::TraceParent;
use tokio::net::TcpListener;

/// The program of an example, which cargo builds before it runs the tests.
fn example(name: &str) -> Command {
    let tests = env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{name} is not built: run `cargo build --examples`");
    Command::new(path)
}

fn run(name: &str, arguments: &[&str]) -> Output {
    let output = example(name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {output:?}");
    output
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A server of an example, stopped when the test ends.
struct Server {
    child: Child,
    url: String,
}

impl Server {
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
fn the_demo_shows_what_it_says() {
    let printed = text(&run("demo", &[]));
    for number in 1..=5 {
        assert!(printed.contains(&format!("\n{number}. ")), "{printed}");
    }
    assert!(printed.contains("400 Bad Request"), "{printed}");
    assert!(printed.ends_with("All as it should be.\n"), "{printed}");
}

#[test]
fn the_servers_answer_the_client() {
    for (server, hello) in [("axum_server", "Hello, blog! This is operation "), ("hyper_server", "Hello from trace ")] {
        let server = Server::start(server, &[]);
        let printed = text(&run("hyper_client", &[&server.url]));
        assert!(printed.starts_with("200 OK, in trace "), "{printed}");
        assert!(printed.contains(hello), "{printed}");
        // The trace that the answer's header names is the one that the handler saw.
        let trace = &printed["200 OK, in trace ".len()..][..32];
        assert_eq!(printed.matches(trace).count(), 2, "{printed}");
    }
}

#[test]
fn the_spans_of_opentelemetry_are_one_tree() {
    let printed = text(&run("opentelemetry", &[]));
    let tree = printed.lines().skip_while(|line| !line.starts_with("caller b7ad6b7169203331"));
    let names: Vec<_> = tree.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["caller", "gateway", "call", "backend"], "{printed}");
}

#[test]
fn each_attempt_of_a_retry_has_an_id_of_its_own() {
    let printed = text(&run("reqwest_retries", &[]));
    let mut sent: Vec<&str> = printed
        .lines()
        .filter_map(|line| Some(line.split_once("TraceParent(")?.1.split(')').next().unwrap()))
        .collect();
    assert_eq!(sent.len(), 3, "{printed}");
    sent.dedup_by_key(|traceparent| traceparent[..35].to_owned());
    assert_eq!(sent.len(), 1, "one trace: {printed}");
}

#[tokio::test]
async fn the_harness_service_makes_the_calls_it_is_asked_for() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let listen = move |headers: HeaderMap, Json(body): Json<Value>| async move {
        sender.send((TraceParent::from_headers(&headers).unwrap().unwrap(), body)).unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/called", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/called", post(listen))).await.unwrap() });

    for client in ["reqwest", "hyper"] {
        let service = Server::start("w3c_test_service", &[client]);
        let asked = json!([{"url": url, "arguments": []}, {"url": url, "arguments": [1]}]);
        let request = reqwest::Client::new().post(format!("{}test", service.url)).json(&asked);
        let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let answer = request.header("traceparent", sent).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{client}");
        let [(one, first), (other, second)] = [received.recv().await.unwrap(), received.recv().await.unwrap()];
        assert_eq!((first, second), (json!([]), json!([1])));
        let sent: TraceParent = sent.parse().unwrap();
        for call in [one, other] {
            assert_eq!((call.trace_id(), call.flags()), (sent.trace_id(), sent.flags()), "{client}");
            assert_ne!(call.parent_id(), sent.parent_id(), "{client}");
        }
        assert_ne!(one.parent_id(), other.parent_id(), "{client}");
    }
    let output = example("w3c_test_service").args(["127.0.0.1:0", "curl"]).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("`reqwest`"));
}
