//! The client of exports with servers that break off, lie and are away.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::export::{Server, TestClock, at, record};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use serde_json::json;
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::client::{ExportClient, ExportClientError, ExportOutcome};
use tokio::net::TcpListener;

/// What the server does with the file.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// Breaks off after this many bytes, and continues there if asked to.
    BreaksOff(usize),
    /// The same, but sends all of it again.
    Repeats(usize),
    /// The same, but with another file.
    Changes(usize),
    /// Does not send any more.
    Hangs(usize),
    /// Sends another part than the one that was requested.
    Lies(usize),
    /// Says that it is not there, as an object store does.
    Misses,
}

struct Files {
    gzip: Vec<u8>,
    does: Does,
    asked: AtomicUsize,
}

async fn file(State(files): State<Arc<Files>>, request: Request) -> Response {
    assert!(!request.headers().contains_key("authorization"), "a URL needs no key");
    let asked = files.asked.fetch_add(1, SeqCst);
    let from: usize = request.headers().get("range").map_or(0, |range| {
        range.to_str().unwrap().strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
    });
    if files.does == Does::Misses {
        let body = "<Error><Code>NoSuchKey</Code></Error>";
        return Response::builder().status(404).body(Body::from(body)).unwrap();
    }
    let size = files.gzip.len();
    let (from, tag) = match files.does {
        Does::Repeats(_) => (0, "one"),
        Does::Changes(_) if asked > 0 => (from, "two"),
        Does::Lies(_) if asked > 0 => (from - 1, "one"),
        _ => (from, "one"),
    };
    let (Does::BreaksOff(many) | Does::Repeats(many) | Does::Changes(many) | Does::Hangs(many) | Does::Lies(many)) =
        files.does
    else {
        unreachable!()
    };
    // Each time further.
    let until = if let Does::Repeats(_) = files.does { many * (asked + 1) } else { from + many }.min(size);
    let piece = Bytes::copy_from_slice(&files.gzip[from..until]);
    let hangs = matches!(files.does, Does::Hangs(_));
    let rest = stream::once(async move {
        if hangs {
            std::future::pending::<()>().await;
        }
        // What came before it is on its way.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(std::io::Error::other("broken off"))
    });
    let rest: futures_util::stream::BoxStream<'static, std::io::Result<Bytes>> =
        if until < size { Box::pin(rest) } else { Box::pin(stream::empty()) };
    let body = Body::from_stream(futures_util::StreamExt::chain(stream::once(async { Ok(piece) }), rest));
    let response = Response::builder().header("etag", format!("\"{tag}\"")).header("content-length", size - from);
    if from > 0 {
        response.status(206).header("content-range", format!("bytes {from}-{}/{size}", size - 1)).body(body).unwrap()
    } else {
        response.body(body).unwrap()
    }
}

/// A server whose exports are complete at once, with this file.
async fn serve(gzip: Vec<u8>, does: Does) -> (ExportClient, Arc<Files>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let export = json!({
        "request_id": "r", "state": "Complete", "time_start": "2024-05-10T00:00:00Z", "time_end": "2024-05-11T00:00:00Z",
        "region_group": "us-std", "updated_at": "2024-05-11T00:00:00Z", "version": 3,
        "presigned_url": format!("{url}/file?signature=x"), "presigned_url_expiration_time": "2099-07-11T22:53:47Z",
    });
    let files = Arc::new(Files { gzip, does, asked: AtomicUsize::new(0) });
    let response = move || std::future::ready(export.to_string());
    let app =
        Router::new().route("/api/v1/logs", post(response)).route("/file", get(file)).with_state(Arc::clone(&files));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (ExportClient::new(&url, "us").unwrap().timeout(Duration::from_millis(500)), files)
}

fn gzip(lines: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    (0..lines).for_each(|number| writeln!(gzip, "{{\"number\": {number}}}").unwrap());
    gzip.finish().unwrap()
}

async fn file_of(client: &ExportClient) -> tagtrail_querylog::client::ExportedFile {
    match client.export("us-std".parse().unwrap(), at(0), at(1)).wait().await.unwrap() {
        ExportOutcome::Complete(file) => file,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_download_continues_where_it_was_if_the_connection_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.jsonl.gz");
    let whole = gzip(5_000);
    let third = whole.len() / 3 + 1;
    for (does, asked) in [(Does::BreaksOff(third), 3), (Does::Repeats(third), 3), (Does::Hangs(third), 3)] {
        let (client, files) = serve(whole.clone(), does).await;
        let downloaded = file_of(&client).await.save(&path).await.unwrap();
        assert_eq!((downloaded.lines, downloaded.bytes, files.asked.load(SeqCst)), (5_000, whole.len() as u64, asked));
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        std::fs::remove_file(&path).unwrap();
    }
    for (does, says) in [
        (Does::Changes(third), "the file changed"),
        (Does::Lies(third), "a different part"),
        (Does::BreaksOff(0), "lost"),
    ] {
        let (client, _) = serve(whole.clone(), does).await;
        let error = file_of(&client).await.save(&path).await.unwrap_err();
        assert!(
            matches!(&error, ExportClientError::Incomplete(why) if why.contains(says)) || does == Does::BreaksOff(0),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }
}

#[tokio::test]
async fn a_download_says_so_if_the_file_no_longer_exists() {
    let (client, _) = serve(gzip(1), Does::Misses).await;
    let said = file_of(&client).await.write_lines(std::io::sink()).await.unwrap_err().to_string();
    assert_eq!(said, "the export server responded 404: the file no longer exists");
}

#[tokio::test]
async fn a_file_is_not_kept_if_it_is_not_valid_gzip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.jsonl.gz");
    let whole = gzip(100);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for wrong in
        [whole[..whole.len() - 1].to_vec(), whole[..20].to_vec(), flipped, b"{}\n".to_vec(), [&*whole, b"x"].concat()]
    {
        let size = wrong.len();
        let (client, _) = serve(wrong, Does::BreaksOff(size)).await;
        let error = file_of(&client).await.save(&path).await.unwrap_err();
        assert!(matches!(error, ExportClientError::Io(_)), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    let two = [gzip(3), gzip(4)].concat();
    let size = two.len();
    let (client, _) = serve(two, Does::BreaksOff(size)).await;
    assert_eq!(file_of(&client).await.save(&path).await.unwrap().lines, 7, "several members are one file");
}

#[tokio::test]
async fn a_download_gets_a_new_url_if_its_url_has_run_out() {
    let clock = TestClock::default();
    let of_server = clock.clone();
    let server = Server::with(|builder| builder.arrival(Duration::ZERO).clock(move || of_server.now())).await;
    server.log.put_requests(&[record(0, at(0), "us-std")]).await.unwrap();
    let file = file_of(&server.client("us")).await;
    clock.set_ahead(3_600);
    assert_eq!(file.write_lines(std::io::sink()).await.unwrap().lines, 1);
}

#[tokio::test]
async fn a_client_retries_a_failure_but_not_a_rejection() {
    let server = Server::start().await;
    let refused = server.client("eu").export("us-std".parse().unwrap(), at(0), at(1)).wait().await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the export server responded 403, permission_denied: this key may not export this region group, or this database"
    );
    // Away at first.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let client = ExportClient::new(&format!("http://{address}"), "us").unwrap();
    let waits = tokio::spawn(async move {
        client.export("us-std".parse().unwrap(), at(0), at(1)).poll_every(Duration::from_millis(50)).wait().await
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let app = Router::new().route(
        "/api/v1/logs",
        post(move |request: Request| async move {
            assert_eq!(request.headers()["authorization"], "Bearer us");
            let number = counted.fetch_add(1, SeqCst);
            if number < 2 {
                return Response::builder().status(503).body(Body::empty()).unwrap();
            }
            let state = json!({
                "request_id": "r", "state": "DoesNotExist", "time_start": "2024-05-10T00:00:00Z",
                "time_end": "2024-05-11T00:00:00Z", "region_group": "us-std", "updated_at": "2024-05-11T00:00:00Z",
                "version": 3, "later": true,
            });
            Response::new(Body::from(state.to_string()))
        }),
    );
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert!(matches!(waits.await.unwrap().unwrap(), ExportOutcome::DoesNotExist(_)));
    assert_eq!(asked.load(SeqCst), 3);
    for (base, key) in [("", "us"), ("ftp://x", "us"), ("x", "us"), ("http://x", "a\nb")] {
        assert!(ExportClient::new(base, key).is_err(), "{base} {key}");
    }
}

#[tokio::test]
async fn a_client_says_so_if_the_api_is_not_under_its_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/hunter2", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new()).await });
    let said = ExportClient::new(&base, "us").unwrap().list(&[], None).await.unwrap_err().to_string();
    assert_eq!(said, "the export server responded 404: there is no export API under this URL");
}

#[tokio::test]
async fn a_client_carries_the_current_trace_and_its_tags() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen_there = Arc::clone(&seen);
    let app = Router::new().fallback(move |request: Request| async move {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        seen_there.lock().unwrap().push((header("traceparent"), header("x-fauna-tags")));
        r#"{"results": [], "next_token": null}"#
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let trail = Trail::start(Sample::Always).with_tags("project=export".parse::<Tags>().unwrap());
    let client = ExportClient::new(&url, "us").unwrap();
    let page = trail.scope(client.list(&[], None)).await.unwrap();
    assert_eq!((page.results.len(), page.next_token), (0, None));
    let (traceparent, tags) = seen.lock().unwrap().pop().unwrap();
    assert_eq!(tags.as_deref(), Some("project=export"));
    assert!(traceparent.unwrap().contains(&trail.trace_id().to_string()));
}

#[tokio::test]
async fn one_of_two_downloads_into_one_file_fails() {
    let whole = gzip(20_000);
    let (client, _) = serve(whole.clone(), Does::BreaksOff(whole.len() / 3)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.jsonl.gz");
    let (one, other) = (file_of(&client).await, file_of(&client).await);
    let (one, other) = tokio::join!(one.save(&path), other.save(&path));
    assert!(one.is_ok() != other.is_ok(), "one of them has the name: {one:?}, {other:?}");
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    let error = file_of(&client).await.save(&path).await.unwrap_err();
    assert!(
        matches!(&error, ExportClientError::Io(error) if error.kind() == std::io::ErrorKind::AlreadyExists),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no piece is left");
}

#[tokio::test]
async fn a_download_leaves_nothing_if_it_is_dropped() {
    let whole = gzip(5_000);
    let (client, _) = serve(whole.clone(), Does::Hangs(whole.len() / 2)).await;
    let folder = tempfile::tempdir().unwrap();
    let save = file_of(&client).await.save(folder.path().join("logs.jsonl.gz"));
    assert!(tokio::time::timeout(Duration::from_millis(200), save).await.is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A client of a server that has this response to all requests.
async fn serve_response<F: Future<Output = Response> + Send>(
    response: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) -> ExportClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(response)).await });
    ExportClient::new(&url, "us").unwrap().timeout(Duration::from_millis(500))
}

fn complete(url: &str) -> Response {
    let status = json!({
        "request_id": "r", "state": "Complete", "time_start": "2024-05-10T00:00:00Z", "time_end": "2024-05-11T00:00:00Z",
        "region_group": "us-std", "updated_at": "2024-05-11T00:00:00Z", "version": 3, "presigned_url": url,
        "presigned_url_expiration_time": "2099-07-11T22:53:47Z",
    });
    Response::new(Body::from(status.to_string()))
}

#[tokio::test]
async fn errors_of_a_download_do_not_show_its_url() {
    let client = serve_response(async |_| complete("http://127.0.0.1:9/file?signature=secret")).await;
    let error = file_of(&client).await.write_lines(std::io::sink()).await.unwrap_err();
    assert!(error.is_transient() && !format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_download_does_not_wait_for_the_body_of_an_error() {
    let client = serve_response(async |request| {
        if request.method() == "POST" {
            return complete(&format!("http://{}/file", request.headers()["host"].to_str().unwrap()));
        }
        let body = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        Response::builder().status(410).body(body).unwrap()
    });
    let file = file_of(&client.await).await;
    let error = tokio::time::timeout(Duration::from_secs(10), file.write_lines(std::io::sink())).await.unwrap();
    assert_eq!(error.unwrap_err().to_string(), "the export server responded 410: the server gave no reason");
}

#[tokio::test]
async fn a_response_is_rejected_if_it_is_too_large() {
    let client = serve_response(async |_| Response::new(Body::from(vec![b' '; 5 << 20]))).await;
    let error = client.list(&[], None).await.unwrap_err();
    assert!(matches!(error, ExportClientError::InvalidResponse), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_saved_file_is_private_to_owner_and_group() {
    use std::os::unix::fs::PermissionsExt;

    let whole = gzip(10);
    let (client, _) = serve(whole.clone(), Does::BreaksOff(whole.len())).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs.jsonl.gz");
    file_of(&client).await.save(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
}
