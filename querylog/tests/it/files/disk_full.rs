//! A full disk, and a file that cannot grow.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;
use tagtrail::Admit;
use tagtrail_querylog::{Durability, LogFiles, Overload, QueryLogLayer};
use tower::ServiceExt;

use crate::support::common::{SmallDisk, entries_in, files_in, gaps_in, record, records_in};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn service_responds_and_its_log_counts_dropped_records_if_the_disk_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("skipped: this process may not mount a disk");
        return;
    };
    let folder = directory.path().join("log");
    let filler = directory.path().join("filler");
    let log = LogFiles::new(&folder)
        .durability(Durability::Synced)
        .overload(Overload::Shed { wait: Duration::ZERO })
        .queue_bytes(40_000)
        .open()
        .unwrap();
    let app = Router::new().route("/", get(|| async { "hello" }));
    let app = app.layer(QueryLogLayer::new(log.clone()).with_inbound(Admit::Restart));
    let send = |count: u32| {
        let app = app.clone();
        async move {
            for _ in 0..count {
                let response = app.clone().oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
                assert_eq!(response.status(), 200);
                axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            }
        }
    };
    log.append(&record("/first")).wait(SOON).unwrap().unwrap();
    // Fill the disk.
    assert!(fs::write(&filler, vec![0; 2 << 20]).is_err(), "full");
    send(400).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(log.stats().shed > 0, "{:?}", log.stats());
    // No line is torn while the disk is full, and whole lines can be read.
    records_in(&folder);
    fs::remove_file(&filler).unwrap();
    send(5).await;
    log.close(SOON).await.unwrap();
    let missing: u64 = gaps_in(&folder).iter().map(|gap| gap.count.unwrap()).sum();
    let records = records_in(&folder).len() as u64;
    assert_eq!(records + missing, 406);
    assert!(missing > 0 && records > 6, "{records} records, {missing} missing");
    assert_eq!((log.stats().shed, log.stats().written), (missing, records));
}

/// The process whose files cannot grow: this test, started by the other one.
#[test]
fn child() {
    let Ok(folder) = env::var("QUERYLOG_SMALL_FILES") else { return };
    let log = LogFiles::new(folder).open().unwrap();
    for _ in 0..200 {
        log.append(&record("/")).wait(SOON).unwrap().unwrap();
    }
    log.close_blocking(SOON).unwrap();
}

#[test]
fn file_is_rolled_if_it_cannot_grow() {
    let folder = tempfile::tempdir().unwrap();
    // A limit of 40 blocks of 512 bytes, and no signal when it is reached.
    let script = r#"trap "" XFSZ; ulimit -f 40; exec "$0" --exact files::disk_full::child"#;
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(env::current_exe().unwrap())
        .env("QUERYLOG_SMALL_FILES", folder.path())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(entries_in(folder.path()).len(), records_in(folder.path()).len());
    assert_eq!(records_in(folder.path()).len(), 200);
    assert!(files_in(folder.path(), ".jsonl").len() > 3);
}
