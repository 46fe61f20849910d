//! What is missing is shown with what is found: in Rust, by the API and by its client, on every store.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tagtrail::{Sample, Trail};
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::{Coverage, QueryErrorKind, Questions, RecordQuery, RequestFilter, Scan};
use tagtrail_querylog::client::AuditClient;
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::store::{Sqlite, Store, WriterReport};
use tagtrail_querylog::{AuditLog, Outcome, Record, Timestamp, Window};
use tower::ServiceExt;
use uuid::Uuid;

use crate::support::audit::{self, Server, TOKENS};
use crate::support::gaps::{ago, put_missing, text};

const ZERO: Duration = Duration::ZERO;

async fn logs(folder: &tempfile::TempDir) -> Vec<(AuditLog, Arc<dyn Store>)> {
    let store = Sqlite::open(folder.path().join("audit.db")).unwrap();
    let mut logs: Vec<(_, Arc<dyn Store>)> = vec![(AuditLog::new(store.clone()), Arc::new(store))];
    if let Some(store) = audit::postgres().await {
        logs.push((AuditLog::new(store.clone()), Arc::new(store)));
    }
    logs
}

/// The service, the instance, and what waits there.
type Late<'a> = (Option<&'a str>, Option<&'a str>, Option<u64>);

/// Returns the counts of the gaps, and the writers that are behind.
fn shown(coverage: &Coverage) -> (Vec<Option<u64>>, Vec<Late<'_>>) {
    let behind = coverage.behind.iter().map(|b| (b.service.as_deref(), b.instance.as_deref(), b.waiting));
    (coverage.gaps.iter().map(|gap| gap.count).collect(), behind.collect())
}

#[tokio::test]
async fn coverage_has_the_gaps_of_a_window_and_the_writers_that_are_behind() {
    let folder = tempfile::tempdir().unwrap();
    for (log, store) in logs(&folder).await {
        assert!(log.coverage(Window::ALL).await.unwrap().is_whole(), "an empty store misses nothing");
        put_missing(&*store).await;
        let shop = (Some("shop"), Some("host-a:7"), Some(812));
        for (window, counts, behind) in [
            (Window::ALL, &[Some(3), None][..], &[shop][..]),
            (Window::from(ago(3_000)..), &[None], &[shop]),
            (Window::from(..ago(3_000)), &[Some(3)], &[]),
            (Window::from(ago(3_000)..ago(2_500)), &[], &[]),
            (Window::from(ago(3_700)..=ago(3_500)), &[Some(3)], &[]),
            (Window::from(ago(1)..ago(0)), &[], &[shop]),
        ] {
            let coverage = log.coverage(window).await.unwrap();
            assert_eq!(shown(&coverage), (counts.to_vec(), behind.to_vec()), "{window:?}");
            let scoped = log.scoped("env1").coverage(window).await.unwrap();
            let named: Vec<_> = behind.iter().map(|behind| (behind.0, None, None)).collect();
            assert_eq!(shown(&scoped), (vec![None; counts.len()], named), "{window:?}");
            let times = |coverage: &Coverage| coverage.gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>();
            assert_eq!(times(&scoped), times(&coverage));
        }
    }
}

#[tokio::test]
async fn writer_that_closed_or_is_lost_is_not_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("audit.db")).unwrap();
    let log = AuditLog::new(store.clone());
    let mut report = WriterReport::new(Uuid::now_v7(), ago(600));
    let mut closed = WriterReport::new(Uuid::now_v7(), ago(600));
    closed.closed = true;
    store.report(&report).await.unwrap();
    store.report(&closed).await.unwrap();
    let admin = rusqlite::Connection::open(folder.path().join("audit.db")).unwrap();
    admin.execute_batch("UPDATE writer SET seen = seen - 31000000").unwrap();
    // No other writer marks it as lost. That it is, is known all the same.
    let coverage = log.coverage(Window::ALL).await.unwrap();
    assert_eq!((coverage.behind.len(), coverage.gaps.len()), (0, 1), "{coverage:?}");
    assert_eq!((coverage.gaps[0].from, coverage.gaps[0].count), (report.written_through, None));
    report.written_through = Timestamp::now();
    store.report(&report).await.unwrap();
    assert!(log.coverage(Window::ALL).await.unwrap().is_whole(), "it lives");
}

/// Returns a router over a log, and a request in it that took place some seconds ago.
async fn serve(log: &AuditLog, seconds: u64) -> (axum::Router, Record) {
    let mut record = Record::new(&Trail::start(Sample::Always), "/");
    record.start_time = ago(seconds);
    record.notes.caller.exec_env_id = Some("env1".into());
    record.end(ZERO, Outcome::Complete);
    log.put_requests(std::slice::from_ref(&record)).await.unwrap();
    let api = AuditApi::new(log.clone(), TOKENS.parse::<Tokens>().unwrap()).await.unwrap();
    (api.router_with_fallback(), record)
}

async fn get(router: &axum::Router, path: &str) -> (u16, String) {
    let request = Request::get(format!("/v1{path}")).header("authorization", "Bearer ada");
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn pages_and_traces_show_what_is_missing_without_counts_and_instances() {
    let folder = tempfile::tempdir().unwrap();
    for (log, store) in logs(&folder).await {
        let (router, record) = serve(&log, 3_590).await;
        let trace = format!("/traces/{}", record.trace_id);
        let nothing = json!([]);
        for path in
            ["/requests", "/requests?route=/nowhere", &trace, "/traces/0af7651916cd43dd8448eb211c80319c", "/gaps"]
        {
            let body: Value = serde_json::from_str(&get(&router, path).await.1).unwrap();
            assert_eq!((&body["gaps"], &body["behind"]), (&nothing, &nothing), "{path}");
        }
        let missing = put_missing(&*store).await;
        let gap = |index: usize| {
            let gap = &missing.gaps[index];
            json!({"from": text(gap.from), "to": text(gap.to), "why": gap.why})
        };
        let behind = json!([{"service": "shop", "written_through": text(missing.behind)}]);
        let until = format!("end_timestamp={}", text(ago(3_000)));
        let since = format!("start_timestamp={}", text(ago(3_000)));
        for (path, gaps, behind) in [
            ("/requests".to_owned(), json!([gap(0), gap(1)]), &behind),
            ("/gaps".to_owned(), json!([gap(0), gap(1)]), &behind),
            (format!("/requests?route=/nowhere&{until}"), json!([gap(0)]), &nothing),
            (format!("/gaps?{until}"), json!([gap(0)]), &nothing),
            (format!("/gaps?{since}"), json!([gap(1)]), &behind),
            // From a minute before its requests to a minute after them.
            (trace, json!([gap(0)]), &nothing),
            ("/traces/0af7651916cd43dd8448eb211c80319c".to_owned(), json!([gap(0), gap(1)]), &behind),
        ] {
            let (status, body) = get(&router, &path).await;
            assert_eq!(status, 200, "{path}: {body}");
            for secret in ["count", "host-a", "instance", "waiting", &missing.writer.to_string()] {
                assert!(!body.contains(secret), "{path}: {secret}: {body}");
            }
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((&body["gaps"], &body["behind"]), (&gaps, behind), "{path}");
        }
        // The documented form of others has no place for it.
        for path in ["/log/self", "/log/exec-env/self", "/log/distinct-udf-names/exec-env/self"] {
            let body: Value = serde_json::from_str(&get(&router, path).await.1).unwrap();
            let members: Vec<_> = body.as_object().unwrap().keys().collect();
            assert_eq!(members, ["items", "limit", "next_page_token"], "{path}");
        }
    }
}

#[tokio::test]
async fn page_fails_if_it_is_unknown_what_is_missing() {
    for table in ["gap", "writer"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.db");
        let log = AuditLog::new(Sqlite::open(&path).unwrap());
        let (router, record) = serve(&log, 60).await;
        rusqlite::Connection::open(&path).unwrap().execute_batch(&format!("DROP TABLE {table}")).unwrap();
        for path in ["/requests", "/gaps", &format!("/traces/{}", record.trace_id)] {
            let (status, body) = get(&router, path).await;
            assert_eq!((status, &*body), (500, r#"{"detail":"the server failed; its log says why"}"#), "{path}");
        }
        assert_eq!(get(&router, "/log/self").await.0, 200);
        let error = log.scoped("env1").coverage(Window::ALL).await.unwrap_err();
        assert_eq!(error.kind(), QueryErrorKind::Failed);
    }
}

#[tokio::test]
async fn client_returns_what_the_log_returns_to_an_environment() {
    let server = Server::start().await;
    let (_, record) = serve(&server.log, 3_590).await;
    // The store of the server, opened again.
    let Ok(store) = Sqlite::builder(server.folder.path().join("audit.db")).existing().open() else { return };
    put_missing(&store).await;
    let client = AuditClient::new(&server.serve().await, "ada").unwrap();
    let log = server.log.scoped("env1");
    for window in [Window::ALL, Window::from(..ago(3_000)), Window::from(ago(1)..)] {
        let expected = log.coverage(window).await.unwrap();
        assert!(!expected.is_whole());
        assert_eq!(client.coverage(window).await.unwrap(), expected, "{window:?}");
        let page = client.requests(&Scan::new(RequestFilter::new(), window), 10).await.unwrap();
        assert_eq!(page.coverage, Some(expected), "{window:?}");
    }
    let trace = client.trace(record.trace_id).await.unwrap();
    assert_eq!(trace, log.trace(record.trace_id).await.unwrap());
    assert_eq!(trace.coverage.gaps.len(), 1);
    let records = client.records(&Scan::new(RecordQuery::Environment, Window::ALL), 10).await.unwrap();
    assert_eq!(records.coverage, None);
}
