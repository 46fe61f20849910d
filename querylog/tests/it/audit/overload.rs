//! A service that must not handle what it cannot record, whose store is away.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::store::Sqlite;
use tagtrail_querylog::{AppendError, AuditLog, Caller, LogStore, Overload, QueryLogLayer, RecordHandle, Window};
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};

use crate::support::faulty::{Faulty, Mode};

const LIMIT: Duration = Duration::from_secs(60);
const OUTPUT: usize = 1 << 20;

/// 200 requests run at the same time, each with output of 1 MB, and the queue has 8 MB.
#[tokio::test(flavor = "multi_thread")]
async fn handled_requests_have_their_records_and_others_are_rejected_before_their_handlers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Faulty::new(Sqlite::open(folder.path().join("audit.db")).unwrap());
    let audit = AuditLog::new(store.clone());
    let settings = LogStore::new(audit.clone()).queue_bytes(8 << 20);
    let log = settings.overload(Overload::Fail { wait: Duration::from_millis(20) }).open().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let entered = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let service = {
        let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
        service_fn(move |request: Request<_>| {
            let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
            async move {
                entered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let _permit = gate.acquire().await.unwrap();
                let record: &RecordHandle = request.extensions().get().unwrap();
                record.update(|notes| notes.stdout = Some("x".repeat(OUTPUT))).unwrap();
                Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
            }
        })
    };
    let layer = QueryLogLayer::new(log.clone()).caller(|_| Caller::in_environment("env1")).standalone();
    let service = layer.layer(service);
    store.set(Mode::Away);
    let mut handled = 0;
    // The first round finds room, the second one a queue that is nearly full of output, the third one is rejected.
    for round in 0..6 {
        let before = entered.load(std::sync::atomic::Ordering::Relaxed);
        let requests: Vec<_> = (0..200)
            .map(|_| tokio::spawn(service.clone().oneshot(Request::get("/pay").body(Body::empty()).unwrap())))
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        gate.add_permits(1_000);
        let mut statuses = Vec::new();
        for request in requests {
            statuses.push(request.await.unwrap().unwrap().status());
        }
        gate.forget_permits(usize::MAX);
        let now = statuses.iter().filter(|status| **status == StatusCode::OK).count();
        assert!(statuses.iter().all(|status| [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(status)));
        let ran = entered.load(std::sync::atomic::Ordering::Relaxed) - before;
        assert_eq!(ran, now, "no handler of a rejected request ran");
        assert!(round > 0 || now == 200, "there is room for the first 200: {now}");
        handled += now;
    }
    let stats = log.stats();
    assert!(stats.rejected > 0 && stats.rejected == 1_200 - handled as u64, "{stats:?}");
    assert_eq!((stats.shed, stats.failed), (0, 0));
    store.set(Mode::Works);
    log.close(LIMIT).await.unwrap();
    let scan = Scan::new(RequestFilter::new(), Window::ALL);
    let found = audit.scoped("env1").requests(&scan, 10_000).await.unwrap().items;
    assert_eq!(found.len(), handled);
    let mut whole = 0;
    for request in &found {
        let record = audit.scoped("env1").record(&request.id.to_string()).await.unwrap();
        match record.stdout {
            Some(text) if text.len() == OUTPUT => whole += 1,
            output => assert!(
                request.cut.iter().any(|member| member == "stdout"),
                "{:?} {:?}",
                output.map(|text| text.len()),
                request.cut
            ),
        }
    }
    assert!((1..handled).contains(&whole), "some output has room, and the rest is cut: {whole}");
}

/// A store that does not respond holds neither the handler that waits for the start nor the response that is held back.
#[tokio::test(flavor = "multi_thread")]
async fn handlers_and_responses_wait_for_a_limited_time_and_all_learn_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = Faulty::new(Sqlite::open(folder.path().join("audit.db")).unwrap());
    let log = LogStore::new(AuditLog::new(store.clone())).open().unwrap();
    let handler = service_fn({
        let store = store.clone();
        move |request: Request<_>| {
            let store = store.clone();
            async move {
                let record: RecordHandle = request.extensions().get::<RecordHandle>().unwrap().clone();
                let first = record.started().await;
                // It responds again, and the record is written; but what was said is said.
                store.set(Mode::Works);
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert_eq!((first, record.clone().started().await), (Err(AppendError::TimedOut), first));
                store.set(Mode::Hangs);
                Ok::<_, std::convert::Infallible>(Response::new(Body::from("done")))
            }
        }
    });
    let layer = QueryLogLayer::new(log.clone()).acknowledged_within(Duration::from_millis(30));
    let service = layer.hold_response_until_written().standalone().layer(handler);
    store.set(Mode::Hangs);
    let response = service.oneshot(Request::get("/pay").body(Body::empty()).unwrap()).await.unwrap();
    let body = axum::body::to_bytes(Body::new(response.into_body()), 100);
    assert_eq!(tokio::time::timeout(LIMIT, body).await.unwrap().unwrap(), "done");
    store.set(Mode::Works);
    log.close(LIMIT).await.unwrap();
    assert_eq!((log.stats().written, log.stats().failed), (1, 0));
}
