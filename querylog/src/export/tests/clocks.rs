//! Clocks that jump, and clocks of several machines.

use super::*;

#[tokio::test]
async fn an_export_gets_a_new_url_though_the_process_that_started_it_vanished() {
    let clock = TestClock::default();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let fixture = start(folder, log, &clock).await;
    let id = fixture.add(None).await;
    let first = fixture.end_of(&id).await;
    fixture.exports.shutdown().await;
    clock.set(2 * HOUR);
    let renewing = fixture.get(&id).await.unwrap();
    assert_eq!((renewing.state, renewing.presigned_url), (ExportState::CreatingNewUrl, None));
    let Fixture { log, folder, .. } = fixture;
    let other = start(folder, log, &clock).await;
    let renewed = other.end_of(&id).await;
    assert_eq!(renewed.state, ExportState::Complete);
    assert_ne!(renewed.presigned_url, first.presigned_url);
    assert_eq!(other.files(), 1, "not extracted again");
}

#[tokio::test]
async fn a_file_is_deleted_and_its_token_released_after_a_day() {
    let clock = TestClock::default();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let fixture = start(folder, log, &clock).await;
    let first = fixture.add(Some(1)).await;
    fixture.end_of(&first).await;
    // What a crash left of an attempt is deleted too.
    let staged = fixture.folder.path().join(format!("exports/{first}.1.jsonl.gz#1"));
    std::fs::write(staged, "half").unwrap();
    assert_eq!((fixture.add(Some(1)).await, fixture.files()), (first.clone(), 2));
    clock.set(23 * HOUR);
    assert_eq!(fixture.add(Some(1)).await, first);
    assert_eq!(fixture.files(), 2);
    clock.set(25 * HOUR);
    let start = Instant::now();
    while fixture.get(&first).await.is_some() || fixture.files() > 0 {
        assert!(start.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(10)).await;
    }
    assert_ne!(fixture.add(Some(1)).await, first);
    // Set back again: what is there stays, and does not count as old.
    clock.set(-25 * HOUR);
    let again = fixture.add(Some(1)).await;
    assert_eq!(fixture.end_of(&again).await.state, ExportState::Complete);
}

#[tokio::test]
async fn a_token_is_released_after_a_day_though_its_export_is_pending() {
    let clock = TestClock::default();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let fixture = start(folder, log, &clock).await;
    let pending = || NewExport { time_end: later(Timestamp::now(), 80 * 24 * HOUR), ..new_export(Some(2)) };
    let first = fixture.exports.add(&fixture.account, pending()).await.unwrap();
    clock.set(25 * HOUR);
    let second = fixture.exports.add(&fixture.account, pending()).await.unwrap();
    assert_ne!(first.request_id, second.request_id);
    for export in [first, second] {
        assert_eq!(fixture.get(&export.request_id).await.unwrap().state, ExportState::Pending);
    }
}

/// Several processes each have their own clock, and one of these may be wrong.
#[cfg(feature = "postgres")]
#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn jobs_are_due_by_the_clock_of_a_store_that_has_one() {
    for ahead in [HOUR, -HOUR] {
        let (_admin, url) = crate::store::postgres_schema().await;
        let log = AuditLog::new(crate::store::Postgres::connect(&url).await.unwrap());
        let now = Timestamp::now();
        let others = left_behind(ExportState::Requested, later(now, 8_000_000), started(now));
        let left = left_behind(ExportState::Requested, later(now, -1), started(now));
        for job in [&others, &left] {
            insert(&log, job).await;
        }
        let fixture = start(tempfile::tempdir().unwrap(), log.clone(), &TestClock::ahead(ahead)).await;
        assert_eq!(fixture.end_of(&left.id).await.state, ExportState::Complete);
        let id = fixture.add(None).await;
        assert_eq!(fixture.end_of(&id).await.state, ExportState::Complete);
        let others = fixture.get(&others.id).await.unwrap();
        assert_eq!((others.state, others.version), (ExportState::Requested, 0), "somebody works on it");
        // The times of the row are by that clock too.
        let job = jobs(&log).by_id(&id).await.unwrap().unwrap();
        for time in [job.created, job.body.started.unwrap(), job.body.updated] {
            assert!((time.as_micros() - now.as_micros()).abs() < HOUR / 2, "{job:?}");
        }
    }
}

/// However far the clock of a machine is from that of the store, its URLs are valid by its own.
#[cfg(feature = "postgres")]
#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn a_url_is_valid_by_the_clock_of_the_machine_that_checks_it() {
    let (_admin, url) = crate::store::postgres_schema().await;
    let log = AuditLog::new(crate::store::Postgres::connect(&url).await.unwrap());
    let clock = TestClock::ahead(48 * HOUR);
    let fixture = start(tempfile::tempdir().unwrap(), log.clone(), &clock).await;
    let id = fixture.add(None).await;
    let export = fixture.end_of(&id).await;
    let left =
        |export: &ExportStatus| export.presigned_url_expiration_time.unwrap().as_micros() - clock.now().as_micros();
    assert!((HOUR - 60_000_000..=HOUR).contains(&left(&export)), "{export:?}");
    assert_eq!(fixture.get(&id).await.unwrap(), export);
    // As long as the file is kept, and no longer: that is by the other clock.
    let mut job = jobs(&log).by_id(&id).await.unwrap().unwrap();
    (job.state, job.due) = (ExportState::CreatingNewUrl, Timestamp::now());
    job.body.kept_until = Some(later(job.due, HOUR / 2));
    assert!(jobs(&log).compare_and_swap(job).await.unwrap());
    let export = fixture.end_of(&id).await;
    assert!((HOUR / 2 - 60_000_000..=HOUR / 2).contains(&left(&export)), "{export:?}");
}
