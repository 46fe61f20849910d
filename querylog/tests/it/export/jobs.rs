//! Jobs of exports: each ends once, whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::slow::Slow;
use crate::support::export::{self, Server, TestClock, lines, numbers, open, range, record};
use serde_json::{Value, json};
use tagtrail_querylog::export::ExportFiles;
use tagtrail_querylog::store::Sqlite;
use tagtrail_querylog::{AuditLog, Record, Timestamp};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

fn between(start: Timestamp, end: Timestamp) -> Value {
    json!({"region_group": "us-std", "time_start": start.to_string(), "time_end": end.to_string()})
}

#[tokio::test]
async fn an_export_waits_for_the_end_of_its_range_and_has_all_that_was_written_until_then() {
    let server = Server::with(|builder| builder.arrival(Duration::from_millis(500))).await;
    let start = Timestamp::now();
    let end = start.saturating_add(Duration::from_millis(1_500));
    let asked = server.ask("us", &between(start, end)).await.json;
    let id = asked["request_id"].as_str().unwrap();
    // Many write at the same time: some with a record of their start, some whose end comes late.
    let number = Arc::new(AtomicI64::new(0));
    let writers = (0..4).map(|_| {
        let (log, number) = (server.log.clone(), Arc::clone(&number));
        tokio::spawn(async move {
            let mut written = Vec::new();
            while Timestamp::now() < end.saturating_add(Duration::from_millis(200)) {
                let number = number.fetch_add(1, SeqCst);
                let ended = record(number, Timestamp::now(), "us-std");
                let mut begun = open(number, ended.start_time, "us-std");
                begun.id = ended.id;
                log.put_requests(&[begun]).await.unwrap();
                let late = number % 10 == 0;
                sleep(Duration::from_millis(if late { 100 } else { 1 })).await;
                log.put_requests(std::slice::from_ref(&ended)).await.unwrap();
                written.push(ended);
            }
            written
        })
    });
    let written: Vec<Record> =
        futures_util::future::join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    let export = server.wait("us", id).await;
    let exported = server.lines(&export).await;
    let mut found = numbers(&exported);
    found.sort_unstable();
    let mut expected: Vec<_> = written.iter().filter(|record| (start..end).contains(&record.start_time)).collect();
    expected.sort_by_key(|record| record.tags.get("number").unwrap().parse::<i64>().unwrap());
    let expected: Vec<i64> =
        expected.iter().map(|record| record.tags.get("number").unwrap().parse().unwrap()).collect();
    assert_eq!(found, expected);
    assert!(expected.len() > 20 && expected.len() < written.len(), "{}", expected.len());
    assert!(exported.iter().all(|line| line["RESPONSE_CODE"] == "200"), "each with its end");
}

#[tokio::test]
async fn requests_that_never_ended_are_exported_once_their_range_has_settled() {
    let server = Server::with(|builder| builder.arrival(Duration::ZERO).settle(Duration::from_secs(3))).await;
    let now = Timestamp::now();
    let start = now.saturating_sub(Duration::from_secs(10));
    let crashed = [open(1, start, "us-std"), open(2, start.saturating_add(Duration::from_secs(1)), "us-std")];
    server.log.put_requests(&crashed).await.unwrap();
    let export = server.export("us", &between(start, now.saturating_sub(Duration::from_secs(5)))).await;
    let lines = server.lines(&export).await;
    assert_eq!(numbers(&lines), [1, 2]);
    assert!(lines.iter().all(|line| line["RESPONSE_CODE"] == "0" && line["QUERY_TIME_MS"] == 0));
}

/// In SQLite, since there the clock of the server counts.
#[tokio::test]
async fn an_export_waits_for_open_requests_until_its_range_has_settled() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::new(Sqlite::open(folder.path().join("audit.db")).unwrap());
    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    let clock = TestClock::default();
    let of_server = clock.clone();
    let server = Server::of(folder, log, files, |builder| {
        builder.arrival(Duration::ZERO).settle(Duration::from_secs(3_600)).clock(move || of_server.now())
    })
    .await;
    let now = Timestamp::now();
    let start = now.saturating_sub(Duration::from_secs(10));
    let (slow, crashed) = (open(1, start, "us-std"), open(2, start.saturating_add(Duration::from_secs(1)), "us-std"));
    server.log.put_requests(&[slow.clone(), crashed]).await.unwrap();
    let id = server.ask("us", &between(start, now)).await.json["request_id"].as_str().unwrap().to_owned();
    // Each look at it is a change.
    while server.get("us", &id).await.json["version"] == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let mut ended = record(1, slow.start_time, "us-std");
    ended.id = slow.id;
    server.log.put_requests(&[ended]).await.unwrap();
    assert_eq!(server.get("us", &id).await.json["state"], "Pending");
    clock.set_ahead(3_600);
    let exported = server.lines(&server.wait("us", &id).await).await;
    let codes: Vec<_> = exported.iter().map(|line| line["RESPONSE_CODE"].as_str().unwrap()).collect();
    assert_eq!((numbers(&exported), codes), (vec![1, 2], vec!["200", "0"]));
}

#[tokio::test]
async fn each_of_many_exports_is_extracted_once_if_several_servers_share_them() {
    // 50 exports, two replicas, each of which makes three at a time.
    let folder = tempfile::tempdir().unwrap();
    let log = export::log(folder.path()).await;
    let slow = Slow::default();
    let files = || ExportFiles::new(slow.clone());
    let first = Server::of(folder, log.clone(), files(), |builder| builder.at_once(3).arrival(Duration::ZERO)).await;
    let other =
        Server::of(tempfile::tempdir().unwrap(), log, files(), |builder| builder.at_once(3).arrival(Duration::ZERO))
            .await;
    let records: Vec<_> = (0..200).map(|number| record(number, export::at(number), "us-std")).collect();
    first.log.put_requests(&records).await.unwrap();
    let asked = futures_util::future::join_all((0..50).map(|number| {
        let server = if number % 2 == 0 { &first } else { &other };
        async move { server.export("us", &range("us-std", number, 150 + number)).await }
    }))
    .await;
    for (number, export) in (0..).zip(&asked) {
        assert_eq!(numbers(&other.lines(export).await), (number..150 + number).collect::<Vec<_>>());
    }
    assert_eq!(slow.0.uploads.load(SeqCst), 50, "each once");
    let most = slow.0.most.load(SeqCst);
    assert!((2..=6).contains(&most), "{most} at once");
}

async fn slow_server(slow: &Slow, time_limit: Duration) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let log = export::log(folder.path()).await;
    let server = Server::of(folder, log, ExportFiles::new(slow.clone()), |settings| {
        settings.arrival(Duration::ZERO).time_limit(time_limit)
    })
    .await;
    server.log.put_requests(&[record(0, export::at(0), "us-std")]).await.unwrap();
    server
}

#[tokio::test]
async fn an_export_fails_only_if_its_object_store_is_down_for_long() {
    let slow = Slow::default();
    let server = slow_server(&slow, Duration::from_secs(60)).await;
    for (failing, state, attempts) in [(0..2, "Complete", 3), (3..9, "Failed", 6), (3..6, "Complete", 7)] {
        *slow.0.down.lock().unwrap() = failing;
        let export = server.export("us", &range("us-std", 0, 10)).await;
        assert_eq!((export["state"].as_str(), slow.0.uploads.load(SeqCst)), (Some(state), attempts));
        assert_eq!(export["presigned_url"].is_null(), state == "Failed");
    }
}

#[tokio::test]
async fn a_download_is_a_server_error_if_the_file_cannot_be_read() {
    let slow = Slow::default();
    let server = slow_server(&slow, Duration::from_secs(60)).await;
    let export = server.export("us", &range("us-std", 0, 10)).await;
    slow.0.unreadable.store(true, SeqCst);
    let client = reqwest::Client::new();
    for asked in ["bytes=0-", "bytes=1-2", "bytes=-3", "none"] {
        let file = client.get(export["presigned_url"].as_str().unwrap()).header("range", asked);
        assert_eq!(server.send(file).await.status, 500, "{asked}");
    }
    slow.0.unreadable.store(false, SeqCst);
    assert_eq!(numbers(&server.lines(&export).await), [0]);
}

#[tokio::test]
async fn an_export_times_out_if_it_takes_too_long() {
    let slow = Slow::default();
    slow.0.takes.store(60_000, SeqCst);
    let server = slow_server(&slow, Duration::from_millis(200)).await;
    assert_eq!(server.export("us", &range("us-std", 0, 10)).await["state"], "TimedOut");
    slow.aborted(1).await;
}

#[tokio::test]
async fn a_server_gives_its_jobs_back_when_it_shuts_down() {
    let slow = Slow::default();
    slow.0.takes.store(60_000, SeqCst);
    let server = slow_server(&slow, Duration::from_secs(60)).await;
    let id = server.ask("us", &range("us-std", 0, 10)).await.json["request_id"].as_str().unwrap().to_owned();
    while slow.0.now.load(SeqCst) == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.get("us", &id).await.json["state"], "Requested");
    server.exports.shutdown().await;
    slow.aborted(1).await;
    slow.0.takes.store(0, SeqCst);
    let start = Instant::now();
    let other =
        Server::of(tempfile::tempdir().unwrap(), server.log.clone(), ExportFiles::new(slow), |builder| builder).await;
    let export = other.wait("us", &id).await;
    assert_eq!(numbers(&other.lines(&export).await), [0]);
    assert!(start.elapsed() < Duration::from_secs(5), "at once, and not when the time of the other ran out");
    assert!(export["presigned_url"].as_str().unwrap().contains(".2.jsonl.gz?"), "in a file of its own");
}

#[tokio::test]
async fn a_job_is_extracted_again_if_its_process_vanishes() {
    let slow = Slow::default();
    slow.0.takes.store(60_000, SeqCst);
    let folder = tempfile::tempdir().unwrap();
    let log = export::log(folder.path()).await;
    log.put_requests(&[record(0, export::at(0), "us-std")]).await.unwrap();
    let vanishing = tokio::runtime::Runtime::new().unwrap();
    let (slow_too, log_too) = (slow.clone(), log.clone());
    let asked = vanishing.spawn(async move {
        let server = Server::of(folder, log_too, ExportFiles::new(slow_too.clone()), |settings| {
            settings.arrival(Duration::ZERO)
        })
        .await;
        let asked = server.ask("us", &range("us-std", 0, 10)).await.json["request_id"].as_str().unwrap().to_owned();
        while slow_too.0.now.load(SeqCst) == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        (asked, server)
    });
    let (id, vanished) = asked.await.unwrap();
    // All of it is gone before another takes its connections.
    spawn_blocking(move || vanishing.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
    slow.0.takes.store(0, SeqCst);
    let other = Server::of(tempfile::tempdir().unwrap(), log, ExportFiles::new(slow.clone()), |builder| builder).await;
    let export = other.wait("us", &id).await;
    assert_eq!(numbers(&other.lines(&export).await), [0]);
    assert_eq!(slow.0.uploads.load(SeqCst), 2);
    drop(vanished);
}

#[tokio::test]
async fn a_client_holds_up_no_other_if_it_stops_downloading() {
    let server = Server::start().await;
    let random = |number: i64| {
        format!("{:x}", u128::from(number.unsigned_abs()).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
    };
    let records: Vec<_> = (0..20_000)
        .map(|number| {
            let mut record = record(number, export::at(number), "us-std");
            record.notes.shape = Some(random(number).repeat(4));
            record
        })
        .collect();
    for some in records.chunks(5_000) {
        server.log.put_requests(some).await.unwrap();
    }
    let export = server.export("us", &range("us-std", 0, 100_000)).await;
    let url = export["presigned_url"].as_str().unwrap();
    let client = reqwest::Client::new();
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let mut response = client.get(url).send().await.unwrap();
        response.chunk().await.unwrap().unwrap();
        stalled.push(response);
    }
    let exported = server.lines(&export).await;
    assert_eq!(exported.len(), 20_000);
    let small = server.export("us", &range("us-std", 0, 10)).await;
    assert_eq!(server.lines(&small).await.len(), 10);
    let mut one = Vec::new();
    let mut response = stalled.pop().unwrap();
    drop(stalled);
    while let Some(bytes) = response.chunk().await.unwrap() {
        one.extend_from_slice(&bytes);
    }
    let whole = client.get(url).send().await.unwrap().bytes().await.unwrap();
    assert!(whole.ends_with(&one) && one.len() < whole.len());
    assert_eq!(lines(&whole), exported);
}
