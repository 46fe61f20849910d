//! Acknowledgements of a log with a spool that waits for the store: none is given too soon, and none never.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tagtrail_querylog::{Ack, Acknowledge, AppendError, LogStore, QueryLog, Record};

use crate::support::faulty::{Mode, REJECTED};
use crate::support::spooled::{Fixture, LIMIT, all, end, requests, started, wait_for};

/// Batches grow until they are flushed.
fn open(fixture: &Fixture, max_bytes: u64) -> QueryLog {
    let log = LogStore::new(fixture.audit.clone()).gather(64 << 20, LIMIT).acknowledge(Acknowledge::Stored);
    log.spool(fixture.spool().max_bytes(max_bytes)).open().unwrap()
}

fn rejected(number: usize) -> Record {
    let mut record = started(number);
    record.request.path = format!("{REJECTED}/{number}");
    record
}

fn ended(mut record: Record) -> Record {
    end(&mut record);
    record
}

/// Three of these fit into a spool of two megabytes.
fn long(number: usize) -> Record {
    let mut record = started(number);
    record.notes.stdout = Some("x".repeat(600_000));
    ended(record)
}

async fn results(acks: Vec<Ack>) -> Vec<Result<(), AppendError>> {
    let mut results = Vec::new();
    for ack in acks {
        results.push(tokio::time::timeout(LIMIT, ack).await.expect("a result"));
    }
    results
}

const REJECTION: Result<(), AppendError> = Err(AppendError::Rejected);

#[tokio::test(flavor = "multi_thread")]
async fn record_that_is_rejected_before_the_rest_is_spooled_is_not_acknowledged() {
    let fixture = Fixture::new();
    let log = open(&fixture, 1 << 30);
    fixture.store.set(Mode::Rejects);
    let acks = vec![log.append(&ended(rejected(0))), log.append(&ended(started(1)))];
    drop(log.flush());
    wait_for("spooled", async || log.stats().spooled == 1).await;
    fixture.store.set(Mode::Works);
    assert_eq!(results(acks).await, [REJECTION, Ok(())]);
    assert_eq!((log.stats().written, log.stats().failed, log.stats().spooled), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn record_that_is_rejected_from_the_spool_is_not_acknowledged_in_any_order() {
    let fixture = Fixture::new();
    let log = open(&fixture, 1 << 30);
    fixture.store.set(Mode::Away);
    let [one, other] = [rejected(0), rejected(1)];
    let mut acks = vec![log.begin(&one), log.begin(&other)];
    acks.extend([log.append(&ended(other)), log.append(&ended(one)), log.append(&ended(started(2)))]);
    drop(log.flush());
    wait_for("spooled", async || log.stats().spooled == 3).await;
    fixture.store.set(Mode::Works);
    assert_eq!(results(acks).await, [REJECTION, REJECTION, REJECTION, REJECTION, Ok(())]);
    assert_eq!((log.stats().written, log.stats().failed, log.stats().spooled), (1, 2, 0));
}

/// The spool has room for one frame of the two.
#[tokio::test(flavor = "multi_thread")]
async fn batch_that_is_spooled_in_part_is_acknowledged_when_the_rest_is_stored() {
    let fixture = Fixture::new();
    let log = open(&fixture, 2_000_000);
    fixture.store.set(Mode::Away);
    let mut acks = vec![log.append(&ended(rejected(0)))];
    acks.extend((1..5).map(|number| log.append(&long(number))));
    drop(log.flush());
    wait_for("spooled in part", async || log.stats().spooled == 3).await;
    assert!(acks.iter().all(|ack| ack.wait(Duration::ZERO).is_none()));
    fixture.store.set(Mode::Works);
    assert_eq!(results(acks).await, [REJECTION, Ok(()), Ok(()), Ok(()), Ok(())]);
    // What was rejected of that batch is not what is rejected of the next one.
    assert_eq!(results(vec![log.append(&ended(started(5))), log.flush()]).await, [Ok(()), Ok(())]);
    wait_for("written", async || log.stats().written == 5).await;
    assert_eq!((log.stats().failed, log.stats().spooled, log.stats().queued), (1, 0, 0));
    log.close(LIMIT).await.unwrap();
    assert_eq!(fixture.gaps().await, [(Some(1), "the store rejected the record".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_is_spooled_in_part_is_not_acknowledged_if_the_log_is_closed() {
    let fixture = Fixture::new();
    let log = open(&fixture, 2_000_000);
    fixture.store.set(Mode::Away);
    let acks: Vec<_> = (0..4).map(|number| log.append(&long(number))).collect();
    drop(log.flush());
    wait_for("spooled in part", async || log.stats().spooled == 3).await;
    assert!(log.close(Duration::from_millis(500)).await.is_err());
    assert!(results(acks).await.iter().all(Result::is_err));
    drop(log);
    // What is in the spool is stored by the next log.
    fixture.store.set(Mode::Works);
    let _log = open(&fixture, 2_000_000);
    wait_for("replayed", async || fixture.found().await.len() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_waits_for_the_spool_also_behind_a_gap() {
    let fixture = Fixture::new();
    let log = LogStore::new(fixture.audit.clone()).queue_bytes(64 << 10).acknowledge(Acknowledge::Stored);
    let log = log.spool(fixture.spool()).open().unwrap();
    fixture.store.set(Mode::Away);
    let (_, acks) = requests(&log, 0..1);
    wait_for("spooled", async || log.stats().spooled == 1).await;
    let spooled = fixture.spooled_bytes();
    assert_eq!(log.append(&long(1)).await, Err(AppendError::TooLarge));
    wait_for("the gap is spooled", async || fixture.spooled_bytes() > spooled).await;
    let flushed = log.flush();
    assert_eq!(flushed.wait(Duration::from_millis(50)), None);
    fixture.store.set(Mode::Works);
    assert_eq!(results(vec![flushed]).await, [Ok(())]);
    all(acks).await.unwrap();
}

/// The folder of the spool is deleted while it has records: these are missing, and all who wait learn of it.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn records_in_a_spool_that_is_deleted_are_not_acknowledged_but_missing() {
    let fixture = Fixture::new();
    fixture.store.set(Mode::Away);
    let log = open(&fixture, 1 << 30);
    let before = tagtrail_querylog::Timestamp::now();
    let mut acks = Vec::new();
    // The first is read by the thread that replays, and held in memory.
    for number in 0..3 {
        acks.push(log.append(&ended(started(number))));
        drop(log.flush());
        wait_for("spooled", async || log.stats().spooled == number as u64 + 1).await;
    }
    log.close(Duration::from_millis(100)).await.unwrap();
    drop((log, acks));

    fixture.store.set(Mode::Hangs);
    let attempts = fixture.store.attempts.load(Relaxed);
    let log = open(&fixture, 1 << 30);
    wait_for("they are read", async || fixture.store.attempts.load(Relaxed) > attempts).await;
    let mut acks = Vec::new();
    for number in 3..5 {
        acks.push(log.append(&ended(started(number))));
        drop(log.flush());
        wait_for("spooled", async || log.stats().spooled == number as u64 + 1).await;
    }
    std::fs::remove_dir_all(fixture.spool_folder()).unwrap();
    // Nothing is acknowledged that is in a file which has no name.
    acks.push(log.append(&ended(started(5))));
    drop(log.flush());
    wait_for("spooled", async || log.stats().spooled == 6).await;
    assert_eq!(fixture.segments(), 1);
    fixture.store.set(Mode::Works);
    let missing = Err(AppendError::Failed(std::io::ErrorKind::InvalidData));
    assert_eq!(results(acks).await, [missing, missing, Ok(())]);
    wait_for("replayed", async || log.stats().spooled == 0).await;
    assert_eq!((log.stats().written, log.stats().failed), (4, 2));
    log.close(LIMIT).await.unwrap();
    assert_eq!(fixture.gaps().await, [(Some(2), "a part of the spool was damaged".to_owned())]);
    let [gap] = &*fixture.audit.gaps(tagtrail_querylog::Window::ALL).await.unwrap() else { panic!("one gap") };
    assert!(before < gap.from && gap.from < gap.to, "{gap:?}");
}
