//! PostgreSQL is killed and restarted during exports.
//!
//! Requires a server: `TAGTRAIL_TEST_POSTGRES` is its URL, and `TAGTRAIL_TEST_POSTGRES_RESTART` the command that kills
//! and restarts it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::export::{self, Server, at, numbers, range, record};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use serde_json::{Value, json};
use tagtrail_querylog::AuditLog;
use tagtrail_querylog::export::ExportFiles;
use tokio::time::sleep;

const RECORDS: i64 = 3_000;
const EXPORTS: i64 = 20;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn exports_complete_when_the_server_restarts() {
    let store = export::postgres().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let _server = crate::SERVER.lock().await;
    // Slow enough that some exports are running, some are waiting, and some are complete when the server stops.
    let slow = ThrottleConfig { wait_put_per_call: Duration::from_millis(400), ..ThrottleConfig::default() };
    let objects = Arc::new(ThrottledStore::new(InMemory::new(), slow));
    let log = AuditLog::new(store);
    let server = || {
        let (files, folder) = (ExportFiles::new(Arc::clone(&objects)), tempfile::tempdir().unwrap());
        Server::of(folder, log.clone(), files, |builder| builder.arrival(Duration::ZERO))
    };
    let servers = [server().await, server().await];
    let records: Vec<_> = (0..RECORDS).map(|number| record(number, at(number), "us-std")).collect();
    log.put_requests(&records).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..EXPORTS {
        let response = servers[0].ask("us", &range("us-std", number, RECORDS)).await;
        assert_eq!(response.status, 200, "{}", response.json);
        ids.push(response.json["request_id"].as_str().unwrap().to_owned());
    }
    while in_state(&servers[0], "Complete").await < 2 || in_state(&servers[0], "Requested").await < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(in_state(&servers[0], "Pending").await > 5, "the restart happens during exports");
    crate::shell(crate::restart()).await;
    for (number, id) in (0..).zip(&ids) {
        let export = ended(&servers[1], id).await;
        let exported = servers[1].lines(&export).await;
        assert_eq!(numbers(&exported), (number..RECORDS).collect::<Vec<_>>(), "each record of the range once");
    }
}

async fn in_state(server: &Server, state: &str) -> usize {
    let list = server.post("us", "/logs/_list?type=query", &json!({ "states": [state] })).await;
    list.json["results"].as_array().unwrap().len()
}

/// Polls until the export is final, even while the store fails.
async fn ended(server: &Server, id: &str) -> Value {
    let start = Instant::now();
    loop {
        let response = server.get("us", id).await;
        assert!(response.status == 200 || response.status.is_server_error(), "{}", response.json);
        if response.json["state"].as_str().is_some_and(|state| !["Pending", "Requested"].contains(&state)) {
            return response.json;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{}", response.json);
        sleep(Duration::from_millis(50)).await;
    }
}
