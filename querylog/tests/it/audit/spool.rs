//! A log in a store that is away: what waits in the queue and in the spool, and what becomes of it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tagtrail_querylog::audit::Questions;
use tagtrail_querylog::store::{Payloads, WriterState};
use tagtrail_querylog::{Acknowledge, AppendError, LogStore, Spool};

use crate::support::faulty::Mode;
use crate::support::spooled::{Fixture, LIMIT, all, end, requests, started, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_in_the_queue_however_long_the_store_is_away() {
    let fixture = Fixture::new();
    let log = LogStore::new(fixture.audit.clone()).open().unwrap();
    fixture.store.set(Mode::Away);
    let (records, acks) = requests(&log, 0..1_000);
    wait_for("many attempts", async || fixture.store.attempts.load(Relaxed) > 10).await;
    assert_eq!((log.stats().queued, log.stats().shed, log.stats().failed), (1_000, 0, 0));
    fixture.store.set(Mode::Works);
    all(acks).await.unwrap();
    assert_eq!(fixture.found().await, records);
    log.close(LIMIT).await.unwrap();
    assert_eq!(fixture.gaps().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_acknowledged_by_the_spool_and_replayed_in_order() {
    for mode in [Mode::Away, Mode::Hangs] {
        let fixture = Fixture::new();
        let log = fixture.open();
        let (mut records, acks) = requests(&log, 0..100);
        all(acks).await.unwrap();
        assert_eq!(fixture.segments(), 0, "nothing is spooled while all is well");

        fixture.store.set(mode);
        for number in 1..6 {
            let (more, acks) = requests(&log, number * 100..number * 100 + 100);
            all(acks).await.unwrap();
            records.extend(more);
        }
        assert_eq!((log.stats().spooled, log.stats().written, log.stats().queued), (500, 100, 0));
        assert_eq!(fixture.found().await.len(), 100);
        assert_eq!(fixture.segments(), 1);

        fixture.store.set(Mode::Works);
        wait_for("replayed", async || log.stats().written == 600).await;
        assert_eq!(fixture.found().await, records, "each once, in order");
        wait_for("the spool is removed", async || fixture.segments() == 0).await;
        // The store is used again.
        let (more, acks) = requests(&log, 600..700);
        all(acks).await.unwrap();
        records.extend(more);
        assert_eq!(fixture.segments(), 0);
        assert_eq!((log.stats().spooled, log.stats().written, log.stats().failed), (0, 700, 0));
        log.close(LIMIT).await.unwrap();
        assert_eq!((fixture.found().await, fixture.gaps().await), (records, vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spool_of_a_closed_log_is_replayed_by_the_next_one() {
    let fixture = Fixture::new();
    fixture.store.set(Mode::Away);
    let log = fixture.open();
    let mut record = started(0);
    record.notes.stdout = Some("x\n\u{1b}".repeat(200_000));
    record.notes.shared_token = Some("token".into());
    record.notes.counters.push(("rows".into(), 3));
    let start = log.begin(&record);
    end(&mut record);
    all(vec![start, log.append(&record)]).await.unwrap();
    let open = started(1);
    all(vec![log.begin(&open)]).await.unwrap();
    // The store is away, so nothing is waited for.
    log.close(LIMIT).await.unwrap();
    assert_eq!(fixture.segments(), 1);
    assert!(std::fs::metadata(fixture.spool_folder().join("00000000000000000000.spool")).is_ok());

    let log = fixture.open();
    assert_eq!(log.stats().spooled, 1);
    let (more, acks) = requests(&log, 2..3);
    all(acks).await.unwrap();
    assert_eq!(fixture.found().await, []);
    fixture.store.set(Mode::Works);
    wait_for("replayed", async || log.stats().written == 2).await;
    let found = fixture.found().await;
    assert_eq!(found.iter().map(|record| record.id).collect::<Vec<_>>(), [record.id, open.id, more[0].id]);
    let whole = fixture.audit.scoped("env1").record(&record.id.to_string()).await.unwrap();
    assert_eq!(whole, record.audit());
    assert_eq!(found[0].notes.counters, record.notes.counters);
    log.close(LIMIT).await.unwrap();
    assert_eq!(fixture.gaps().await, [], "both were closed");
    assert!(fixture.audit.writers().await.unwrap().iter().all(|writer| writer.state == WriterState::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgement_waits_for_the_store_if_that_is_asked() {
    let fixture = Fixture::new();
    let settings = LogStore::new(fixture.audit.clone()).spool(fixture.spool()).acknowledge(Acknowledge::Stored);
    let log = settings.open().unwrap();
    fixture.store.set(Mode::Away);
    let (_, acks) = requests(&log, 0..50);
    wait_for("spooled", async || log.stats().spooled == 50).await;
    assert!(acks.iter().all(|ack| ack.wait(Duration::ZERO).is_none()));
    fixture.store.set(Mode::Works);
    all(acks).await.unwrap();
    assert_eq!(fixture.found().await.len(), 50);
    // If the log is closed before, it is not known.
    fixture.store.set(Mode::Away);
    let (_, acks) = requests(&log, 50..60);
    wait_for("spooled", async || log.stats().spooled == 10).await;
    log.close(LIMIT).await.unwrap();
    for ack in acks {
        assert_eq!(ack.wait(LIMIT), Some(Err(AppendError::Closed)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_spool_leaves_records_in_the_queue() {
    let fixture = Fixture::new();
    let spool = fixture.spool().max_bytes(64 << 10);
    let log = LogStore::new(fixture.audit.clone()).spool(spool).queue_bytes(256 << 10).open().unwrap();
    fixture.store.set(Mode::Away);
    let (mut records, mut acks) = (Vec::new(), Vec::new());
    while log.stats().shed == 0 {
        let mut record = started(records.len());
        end(&mut record);
        let ack = log.append(&record);
        if ack.wait(Duration::ZERO) != Some(Err(AppendError::Shed)) {
            acks.push(ack);
            records.push(record);
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    let bytes: u64 =
        std::fs::read_dir(fixture.spool_folder()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!((32 << 10..=66 << 10).contains(&bytes), "{bytes}");
    assert!(log.stats().spooled > 0 && log.stats().queued > 0);
    fixture.store.set(Mode::Works);
    all(acks).await.unwrap();
    wait_for("replayed", async || log.stats().written == records.len() as u64).await;
    log.close(LIMIT).await.unwrap();
    assert_eq!(fixture.found().await, records);
    assert_eq!(fixture.gaps().await, [(Some(log.stats().shed), "overload: the queue was full".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_is_unusable_raises_an_alarm_and_loses_nothing() {
    for has_spool in [true, false] {
        let fixture = Fixture::new();
        let log = LogStore::new(fixture.audit.clone());
        let log = if has_spool { log.spool(fixture.spool()) } else { log }.open().unwrap();
        let (mut records, acks) = requests(&log, 0..1);
        all(acks).await.unwrap();
        assert!(!log.stats().is_unusable);
        fixture.store.set(Mode::Unusable);
        let (more, acks) = requests(&log, 1..2);
        records.extend(more);
        wait_for("the alarm", async || log.stats().is_unusable).await;
        fixture.store.set(Mode::Works);
        all(acks).await.unwrap();
        wait_for("written", async || log.stats().written == 2).await;
        assert!(!log.stats().is_unusable);
        assert_eq!(fixture.found().await, records);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_spooled_whole() {
    let fixture = Fixture::new();
    let payloads = Payloads::folder(fixture.folder.path().join("payloads")).unwrap().at_least(10);
    let audit = fixture.audit.clone().payloads(payloads);
    let log = LogStore::new(audit.clone()).spool(fixture.spool()).open().unwrap();
    all(requests(&log, 0..1).1).await.unwrap();
    // The values are in the object store when the store itself fails.
    fixture.store.set(Mode::Away);
    let mut record = started(1);
    record.notes.stdout = Some("a long value".into());
    record.notes.stderr = Some("short".into());
    end(&mut record);
    all(vec![log.append(&record)]).await.unwrap();
    fixture.store.set(Mode::Works);
    wait_for("replayed", async || log.stats().written == 2).await;
    let whole = audit.scoped("env1").record(&record.id.to_string()).await.unwrap();
    assert_eq!(whole, record.audit());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_spooled_whole_even_if_the_spool_is_full_at_first() {
    let fixture = Fixture::new();
    let payloads = Payloads::folder(fixture.folder.path().join("payloads")).unwrap().at_least(10);
    let audit = fixture.audit.clone().payloads(payloads);
    let log = LogStore::new(audit.clone()).spool(fixture.spool().max_bytes(20_000)).open().unwrap();
    all(requests(&log, 0..1).1).await.unwrap();
    fixture.store.set(Mode::Away);
    let records: Vec<_> = (1..5)
        .map(|number| {
            let mut record = started(number);
            record.notes.stdout = Some("x".repeat(9_000));
            end(&mut record);
            record
        })
        .collect();
    let acks = records.iter().map(|record| log.append(record)).collect();
    wait_for("the spool is full", async || log.stats().spooled > 0 && log.stats().queued > 0).await;
    fixture.store.set(Mode::Works);
    all(acks).await.unwrap();
    wait_for("replayed", async || log.stats().written == 5).await;
    for record in records {
        let whole = audit.scoped("env1").record(&record.id.to_string()).await.unwrap();
        assert_eq!(whole, record.audit());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writer_reports_again_when_the_spool_is_replayed() {
    let fixture = Fixture::new();
    let log = fixture.open();
    all(requests(&log, 0..1).1).await.unwrap();
    fixture.store.set(Mode::Away);
    all(requests(&log, 1..2).1).await.unwrap();
    fixture.store.set(Mode::Works);
    wait_for("replayed", async || log.stats().written == 2).await;
    let seen = async || fixture.audit.writers().await.unwrap()[0].seen;
    let before = seen().await;
    wait_for("a report without a record", async || seen().await > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spool_belongs_to_one_log_and_says_what_is_wrong() {
    let fixture = Fixture::new();
    let log = fixture.open();
    let error = LogStore::new(fixture.audit.clone()).spool(fixture.spool()).open().unwrap_err().to_string();
    assert!(error.contains("has this spool") && error.contains("a folder of its own"), "{error}");
    log.close(LIMIT).await.unwrap();
    drop(log);
    let later = fixture.spool_folder().join("00000000000000000007.spool");
    std::fs::write(&later, "tagtrail-spool 2\n and something else").unwrap();
    let error = LogStore::new(fixture.audit.clone()).spool(fixture.spool()).open().unwrap_err().to_string();
    assert!(error.contains("a later version") && error.contains("update this program"), "{error}");
    let file = fixture.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = LogStore::new(fixture.audit.clone()).spool(Spool::new(&file)).open().unwrap_err().to_string();
    assert!(error.contains("expected a folder"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_or_damaged_part_is_set_aside_and_becomes_a_gap() {
    for (kept, change) in [(2, None), (1, Some(0)), (0, Some(30))] {
        let fixture = Fixture::new();
        fixture.store.set(Mode::Away);
        let log = fixture.open();
        let (mut records, mut ends) = (Vec::new(), vec![0]);
        let segment = fixture.spool_folder().join("00000000000000000000.spool");
        for number in 0..3 {
            let (more, acks) = requests(&log, number..number + 1);
            all(acks).await.unwrap();
            records.extend(more);
            ends.push(usize::try_from(std::fs::metadata(&segment).unwrap().len()).unwrap());
        }
        log.close(LIMIT).await.unwrap();
        drop(log);
        let mut bytes = std::fs::read(&segment).unwrap();
        match change {
            // A crash leaves a part of a frame, or the disk changes a byte.
            None => bytes.truncate(bytes.len() - 5),
            Some(at) => bytes[ends[kept] + at] ^= 1,
        }
        std::fs::write(&segment, bytes).unwrap();
        let log = fixture.open();
        assert_eq!(log.stats().spooled, kept as u64);
        // What comes now is written to another segment, which is kept.
        let (more, acks) = requests(&log, 3..4);
        all(acks).await.unwrap();
        fixture.store.set(Mode::Works);
        wait_for("replayed", async || log.stats().written == kept as u64 + 1).await;
        records.truncate(kept);
        records.extend(more);
        assert_eq!(fixture.found().await, records);
        assert_eq!(fixture.gaps().await, [(None, "a part of the spool was damaged".to_owned())]);
        assert!(segment.with_extension("damaged").exists());
        log.close(LIMIT).await.unwrap();
    }
}
