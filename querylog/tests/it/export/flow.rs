//! The documented flow: request, poll, download.

use crate::support::export::{self, Server, at, lines, numbers, range, record};
use serde_json::json;
use tagtrail::TraceParent;
use tagtrail_querylog::client::ExportOutcome;
use tagtrail_querylog::export::{ExportFiles, ExportState};
use tagtrail_querylog::store::Objects;

#[tokio::test]
async fn a_range_is_requested_polled_and_downloaded() {
    let server = Server::start().await;
    let records: Vec<_> = (0..10).map(|number| record(number, at(number), "us-std/shop")).collect();
    server.log.put_requests(&records).await.unwrap();

    let asked = server.ask("us", &range("us-std", 2, 7)).await;
    assert_eq!(asked.status, 200, "{}", asked.json);
    let id = asked.json["request_id"].as_str().unwrap();
    assert_eq!(
        asked.json,
        json!({
            "request_id": id,
            "state": "Pending",
            "time_start": "2024-05-10T00:00:02Z",
            "time_end": "2024-05-10T00:00:07Z",
            "region_group": "us-std",
            "updated_at": asked.json["updated_at"],
            "version": 0,
        })
    );
    let export = server.wait("us", id).await;
    let exported = server.lines(&export).await;
    assert_eq!(numbers(&exported), [2, 3, 4, 5, 6]);
    let first = &records[2];
    assert_eq!(
        exported[0],
        json!({
            "API_VERSION": "1",
            "BYTES_IN": 0, "BYTES_OUT": 5, "BYTE_READ_OPS": 0, "BYTE_WRITE_OPS": 0, "COMPUTE_OPS": 0,
            "DATABASE": ["shop"], "QUERY_TIME_MS": 12, "REGION_GROUP": "us-std", "REQUEST_HEADERS": "{}",
            "REQUEST_METHOD": "GET", "RESPONSE_CODE": "200",
            "TAGS": {"number": "2", "project": "blog"},
            "TRACEPARENT": TraceParent::new(first.trace_id, first.span_id, first.flags).to_string(),
            "TS": "2024-05-10 00:00:02.000 Z", "TXN_RETRIES": 0,
        })
    );
}

#[tokio::test]
async fn the_client_does_the_whole_flow() {
    let server = Server::start().await;
    let records: Vec<_> = (0..10).map(|number| record(number, at(number), "us-std/shop")).collect();
    server.log.put_requests(&records).await.unwrap();
    let client = server.client("shop");
    let request = client.export("us-std/shop".parse().unwrap(), at(0), at(5));
    let ExportOutcome::Complete(file) = request.wait().await.unwrap() else { panic!("no file") };
    let export = file.export().clone();
    assert_eq!((export.state, export.database.as_deref()), (ExportState::Complete, Some("us-std/shop")));
    let path = server.folder.path().join("logs.jsonl.gz");
    let downloaded = file.save(&path).await.unwrap();
    let gzip = std::fs::read(&path).unwrap();
    assert_eq!((downloaded.lines, downloaded.bytes), (5, gzip.len() as u64));
    assert_eq!(numbers(&lines(&gzip)), [0, 1, 2, 3, 4]);
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_to_owner_and_group() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let exports = folder.path().join("exports");
    let files = ExportFiles::new(Objects::folder(&exports).unwrap().beneath("of/the"));
    let log = export::log(folder.path()).await;
    let server = Server::of(folder, log, files, |builder| builder.arrival(std::time::Duration::ZERO)).await;
    server.log.put_requests(&[record(0, at(0), "us-std")]).await.unwrap();
    let asked = server.ask("us", &range("us-std", 0, 1)).await;
    let export = server.wait("us", asked.json["request_id"].as_str().unwrap()).await;
    assert_eq!(server.lines(&export).await.len(), 1);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let [file] = &*std::fs::read_dir(exports.join("of/the")).unwrap().collect::<Vec<_>>() else { panic!("one file") };
    assert_eq!(mode(&file.as_ref().unwrap().path()), 0o640);
    assert_eq!([mode(&exports), mode(&exports.join("of")), mode(&exports.join("of/the"))], [0o750; 3]);
}
