//! A disk that is full, and a file that may not grow.

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
async fn a_service_on_a_full_disk_answers_and_its_log_says_what_it_misses() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("not tested: this process may not mount a disk");
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
    let ask = |count: u32| {
        let app = app.clone();
        async move {
            for _ in 0..count {
                let answer = app.clone().oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
                assert_eq!(answer.status(), 200);
                axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
            }
        }
    };
    log.append(&record("/first")).wait(SOON).unwrap().unwrap();
    // As much as fits.
    assert!(fs::write(&filler, vec![0; 2 << 20]).is_err(), "full");
    ask(400).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(log.stats().shed > 0, "{:?}", log.stats());
    // No torn line while it is full; readers see what is whole.
    records_in(&folder);
    fs::remove_file(&filler).unwrap();
    ask(5).await;
    log.close(SOON).await.unwrap();
    let missing: u64 = gaps_in(&folder).iter().map(|gap| gap.count.unwrap()).sum();
    let records = records_in(&folder).len() as u64;
    assert_eq!(records + missing, 406);
    assert!(missing > 0 && records > 6, "{records} records, {missing} missing");
    assert_eq!((log.stats().shed, log.stats().written), (missing, records));
}

/// The process whose files may not grow: this test, started by the other one.
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
fn a_file_that_may_not_grow_is_rolled() {
    let folder = tempfile::tempdir().unwrap();
    // 40 blocks of 512 bytes, and no signal about it.
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
