//! Long values in S3: which variables its client reads, on which threads it works, and how long it waits.

use std::env;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use http::{HeaderMap, Method, Uri};
use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::store::{Payloads, Sqlite};
use tagtrail_querylog::{AuditLog, LogStore, Outcome, Record, Timestamp};
use tokio::runtime::Builder;
use uuid::Uuid;

/// What a service with an object store does, on a runtime with one thread: a process of its own, with its own variables.
/// This test, started by the others.
#[test]
fn child() {
    let Ok(action) = env::var("S3_ACTION") else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("audit.db")).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let said = runtime.block_on(async {
        let audit = AuditLog::new(store).payloads(Payloads::at("s3://bucket/folder").unwrap());
        let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::now());
        record.stdout = Some("x".repeat(200_000));
        let put = audit.put(vec![record]).await.map_err(|error| error.to_string());
        if action == "put" {
            return format!("{put:?}");
        }
        put.unwrap();
        // The client has a connection now. The drop blocks the thread until everything is written.
        let log = LogStore::new(audit).open().unwrap();
        let mut request = Record::new(&Trail::start(Sample::Always), "/");
        request.notes.stdout = Some("y".repeat(200_000));
        request.end(Duration::from_millis(1), Outcome::Complete);
        let ack = log.append(&request);
        drop(log);
        format!("{:?}", ack.wait(Duration::ZERO))
    });
    println!("child says: {said}.");
}

/// Runs [`child`], and returns what it says.
async fn run(action: &str, endpoint: &str, more: &[(&str, &str)]) -> String {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "audit::s3::child", "--nocapture"]).stdout(Stdio::piped());
    child.envs([("S3_ACTION", action), ("AWS_ENDPOINT", endpoint), ("AWS_ALLOW_HTTP", "true")]);
    child.envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "here")]);
    child.envs(more.iter().copied());
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.split_once("child says: ").and_then(|(_, rest)| rest.split_once(".\n"));
    said.unwrap_or_else(|| panic!("{text}")).0.to_owned()
}

type Requests = Arc<Mutex<Vec<(Method, Uri, HeaderMap)>>>;

/// Serves an object store that accepts everything, and returns its URL.
async fn bucket() -> (String, Requests) {
    let requests = Requests::default();
    let app = Router::new().fallback({
        let requests = Arc::clone(&requests);
        async move |method: Method, uri: Uri, headers: HeaderMap, _body: axum::body::Bytes| {
            requests.lock().unwrap().push((method, uri, headers));
            [("etag", "\"1\"")]
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_others_are_not_used() {
    let (url, requests) = bucket().await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let of_other = format!("http://{}", other.local_addr().unwrap());
    let more = [
        ("ENDPOINT", of_other.as_str()),
        ("ENDPOINT_URL", &of_other),
        ("TOKEN", "stray"),
        ("SESSION_TOKEN", "stray"),
        ("REGION", "stray"),
        ("ACCESS_KEY_ID", "stray"),
        ("BUCKET", "stray"),
    ];
    assert_eq!(run("put", &url, &more).await, "Ok(())");
    let requests = requests.lock().unwrap();
    let [(method, uri, headers)] = &**requests else { panic!("one request: {requests:?}") };
    assert!(method == Method::PUT && uri.path().starts_with("/bucket/folder/"), "{uri}");
    assert!(!format!("{uri} {headers:?}").contains("stray"), "{uri} {headers:?}");
    assert!(other.accept().is_err(), "nothing is sent elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_is_dropped_on_the_only_thread_writes_long_values() {
    let (url, requests) = bucket().await;
    assert_eq!(run("drop", &url, &[]).await, "Some(Ok(()))");
    assert_eq!(requests.lock().unwrap().len(), 2);
}

/// With a time limit for each of the six requests that is a hundredth of the default.
#[tokio::test(flavor = "multi_thread")]
async fn put_fails_if_the_object_store_never_responds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = run("put", &url, &[("AWS_TIMEOUT", "300ms")]).await;
    assert!(said.starts_with("Err(") && !said.contains("secret"), "{said}");
}
