//! PostgreSQL is stopped for longer than calls to it are retried, while services respond to requests.

use std::collections::HashSet;
use std::time::Duration;

use axum::Router;
use futures_util::{StreamExt, TryStreamExt, stream};
use tagtrail::Admit;
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::{AuditLog, Caller, LogStore, Overload, QueryLog, QueryLogLayer, Record, Spool, Window};
use tokio::net::TcpListener;

use crate::support::audit;

const LIMIT: Duration = Duration::from_secs(60);

/// A service on loopback, whose log is in a schema of its own.
struct Service {
    audit: AuditLog,
    log: QueryLog,
    url: String,
    client: reqwest::Client,
}

impl Service {
    async fn start(settings: impl FnOnce(LogStore) -> LogStore) -> Self {
        let store = audit::postgres().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
        let audit = AuditLog::new(store);
        let log = settings(LogStore::new(audit.clone())).open().unwrap();
        let layer = QueryLogLayer::new(log.clone()).caller(|_| Caller::in_environment("env1"));
        let app = Router::new().fallback(|| async { "done" }).layer(layer.with_inbound(Admit::Continue));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { audit, log, url, client: reqwest::Client::new() }
    }

    /// Sends requests, 20 at a time, and returns how many got this status.
    async fn send(&self, count: usize, status: u16) -> usize {
        let send = async |number| {
            let response = self.client.get(format!("{}/{number}", self.url)).send().await.unwrap();
            let status = response.status().as_u16();
            response.bytes().await.unwrap();
            status
        };
        let statuses: Vec<u16> = stream::iter(0..count).map(send).buffer_unordered(20).collect().await;
        statuses.into_iter().filter(|one| *one == status).count()
    }

    /// Closes the log, and returns its records, each once.
    async fn records(&self) -> Vec<Record> {
        self.log.close(LIMIT).await.unwrap();
        let scan = Scan::new(RequestFilter::new(), Window::ALL);
        let records: Vec<Record> = self.audit.scoped("env1").all_requests(scan, 1_000).try_collect().await.unwrap();
        let ids: HashSet<_> = records.iter().map(|record| record.id).collect();
        assert_eq!(ids.len(), records.len());
        assert!(records.iter().all(|record| record.duration.is_some()), "all are complete");
        records
    }

    async fn gaps(&self) -> Vec<(Option<u64>, String)> {
        let gaps = self.audit.gaps(Window::ALL).await.unwrap();
        gaps.into_iter().map(|gap| (gap.count, gap.why.into_owned())).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn requests_are_recorded_though_the_server_is_stopped_for_25_seconds() {
    let _server = crate::SERVER.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let queued = Service::start(|settings| settings).await;
    let spooled = Service::start(|settings| settings.spool(Spool::new(folder.path()))).await;
    let fail = Overload::Fail { wait: Duration::ZERO };
    let failing = Service::start(|settings| settings.overload(fail).queue_bytes(1 << 20)).await;
    for service in [&queued, &spooled, &failing] {
        assert_eq!(service.send(2, 200).await, 2);
        service.log.flush().await.unwrap();
    }
    crate::shell(crate::stop()).await;
    assert_eq!(queued.send(1_000, 200).await, 1_000);
    assert_eq!(spooled.send(1_000, 200).await, 1_000);
    let handled = failing.send(3_000, 200).await;
    assert!((1..3_000).contains(&handled), "some find no room: {handled}");
    tokio::time::sleep(Duration::from_secs(25)).await;
    for service in [&queued, &spooled, &failing] {
        assert_eq!((service.log.stats().written, service.log.stats().failed, service.log.stats().shed), (2, 0, 0));
    }
    assert_eq!(spooled.log.stats().spooled, 1_000);
    crate::shell(crate::restart()).await;
    assert_eq!((queued.records().await.len(), queued.gaps().await), (1_002, vec![]));
    assert_eq!((spooled.records().await.len(), spooled.gaps().await), (1_002, vec![]));
    assert_eq!(failing.records().await.len(), 2 + handled);
    let rejected = failing.log.stats().rejected;
    assert_eq!(rejected, 3_000 - handled as u64);
    let gaps = failing.gaps().await;
    assert!(gaps.iter().all(|(_, why)| why == "overload: rejected with 503"), "{gaps:?}");
    assert_eq!(gaps.iter().filter_map(|(count, _)| *count).sum::<u64>(), rejected);
}
