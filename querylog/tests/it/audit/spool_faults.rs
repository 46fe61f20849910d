//! Faults beside that of the store: of the spool's files, of the object store, of the store's code, and of the clock.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tagtrail_querylog::audit::Questions;
use tagtrail_querylog::store::{Payloads, WriterState};
use tagtrail_querylog::{AppendError, LogStore, Timestamp, Window};

use crate::support::faulty::Mode;
use crate::support::spooled::{Fixture, LIMIT, all, end, requests, started, wait_for};

/// The values are in the object store when store and spool both fail, and again.
#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_spooled_whole_however_often_that_fails() {
    let fixture = Fixture::new();
    let payloads = Payloads::folder(fixture.folder.path().join("payloads")).unwrap().at_least(10);
    let audit = fixture.audit.clone().payloads(payloads);
    let log = LogStore::new(audit.clone()).spool(fixture.spool()).open().unwrap();
    all(requests(&log, 0..1).1).await.unwrap();
    let blocked = fixture.folder.path().join("blocked");
    std::fs::rename(fixture.spool_folder(), &blocked).unwrap();
    std::fs::write(fixture.spool_folder(), "").unwrap();
    fixture.store.set(Mode::Away);
    let mut record = started(1);
    record.notes.stdout = Some("a long value".into());
    end(&mut record);
    let ack = log.append(&record);
    let attempts = fixture.store.attempts.load(Relaxed);
    wait_for("attempts", async || fixture.store.attempts.load(Relaxed) > attempts + 3).await;
    assert_eq!(ack.wait(Duration::ZERO), None);
    std::fs::remove_file(fixture.spool_folder()).unwrap();
    std::fs::rename(&blocked, fixture.spool_folder()).unwrap();
    all(vec![ack]).await.unwrap();
    fixture.store.set(Mode::Works);
    wait_for("replayed", async || log.stats().written == 2).await;
    let whole = audit.scoped("env1").record(&record.id.to_string()).await.unwrap();
    assert_eq!(whole, record.audit());
}

#[tokio::test(flavor = "multi_thread")]
async fn writer_reports_after_its_spool_is_replayed_while_there_are_no_requests() {
    let fixture = Fixture::new();
    let log = fixture.open();
    fixture.store.set(Mode::Away);
    all(requests(&log, 0..3).1).await.unwrap();
    fixture.store.set(Mode::Works);
    wait_for("replayed", async || log.stats().written == 3).await;
    let seen = async || fixture.audit.writers().await.unwrap().first().map(|writer| writer.seen);
    let replayed = Timestamp::now();
    wait_for("a report", async || seen().await > Some(replayed)).await;
    let first = seen().await;
    wait_for("another report", async || seen().await > first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gap_is_stored_once_if_only_the_response_of_the_store_is_lost() {
    let fixture = Fixture::new();
    let log = LogStore::new(fixture.audit.clone()).queue_bytes(64 << 10).spool(fixture.spool()).open().unwrap();
    fixture.store.set(Mode::Mute);
    let mut record = started(0);
    record.notes.stdout = Some("x".repeat(100_000));
    end(&mut record);
    assert_eq!(log.append(&record).await, Err(AppendError::TooLarge));
    wait_for("the gap is spooled", async || fixture.segments() == 1).await;
    assert_eq!(fixture.gaps().await.len(), 1);
    fixture.store.set(Mode::Works);
    wait_for("replayed", async || fixture.segments() == 0).await;
    assert_eq!(fixture.gaps().await, [(Some(1), "the record was larger than the queue".to_owned())]);
}

/// Neither thread dies, and a log without a limit can be closed.
#[tokio::test(flavor = "multi_thread")]
async fn store_that_panics_has_failed() {
    for has_spool in [true, false] {
        let fixture = Fixture::new();
        let log = LogStore::new(fixture.audit.clone());
        let log = if has_spool { log.spool(fixture.spool()) } else { log }.open().unwrap();
        fixture.store.set(Mode::Panics);
        let (records, acks) = requests(&log, 0..3);
        let attempts = fixture.store.attempts.load(Relaxed);
        wait_for("attempts", async || fixture.store.attempts.load(Relaxed) > attempts + 3).await;
        fixture.store.set(Mode::Works);
        all(acks).await.unwrap();
        wait_for("written", async || log.stats().written == 3).await;
        tokio::time::timeout(LIMIT, log.close(Duration::MAX)).await.unwrap().unwrap();
        assert_eq!((fixture.found().await, fixture.gaps().await), (records, vec![]));
    }
}

/// A log that continues a spool is behind until that is replayed, also if the log before was closed.
#[tokio::test(flavor = "multi_thread")]
async fn writer_is_behind_until_its_spool_is_replayed() {
    let fixture = Fixture::new();
    fixture.store.set(Mode::Away);
    let log = fixture.open();
    let before = Timestamp::now();
    all(requests(&log, 0..1).1).await.unwrap();
    let after = Timestamp::now();
    log.close(LIMIT).await.unwrap();
    drop(log);
    // The report works, and the rows hang.
    fixture.store.set(Mode::Reports);
    let log = fixture.open();
    let writer = async || fixture.audit.writers().await.unwrap().pop();
    wait_for("a report", async || writer().await.is_some()).await;
    let written_through = writer().await.unwrap().written_through;
    assert!((before..after).contains(&written_through), "{before} {written_through} {after}");
    fixture.store.set(Mode::Works);
    wait_for("replayed", async || log.stats().written == 1).await;
    log.close(LIMIT).await.unwrap();
    let writer = writer().await.unwrap();
    assert!(writer.written_through > after && writer.state == WriterState::Closed);
    assert_eq!(fixture.audit.gaps(Window::ALL).await.unwrap(), []);
}

#[test]
fn log_is_closed_without_a_runtime() {
    let fixture = Fixture::new();
    let log = LogStore::new(fixture.audit.clone()).open().unwrap();
    let (_, acks) = requests(&log, 0..10);
    let mut close = std::pin::pin!(log.close(LIMIT));
    let closed = close.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert_eq!(closed, std::task::Poll::Ready(Ok(())));
    assert!(acks.iter().all(|ack| ack.wait(Duration::ZERO) == Some(Ok(()))));
}
