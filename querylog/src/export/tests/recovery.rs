//! Jobs that vanished processes left, jobs that fail, and jobs after those.

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use url::Url;

use super::*;
use crate::store::SignUrls;

#[tokio::test]
async fn a_job_is_taken_when_its_lease_has_run_out_or_the_clock_was_set_back() {
    let now = Timestamp::now();
    for (due, what) in [(-1, "its lease has run out"), (10 * HOUR, "the clock was set back")] {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder);
        let job = left_behind(ExportState::Requested, later(now, due), started(now));
        insert(&log, &job).await;
        let fixture = start(folder, log, &TestClock::default()).await;
        let export = fixture.end_of(&job.id).await;
        assert_eq!(export.state, ExportState::Complete, "{what}");
        assert!(export.presigned_url.unwrap().contains(".2.jsonl.gz?"), "{what}: in a file of its own");
    }
}

#[tokio::test]
async fn a_job_is_left_alone_while_another_process_has_its_lease() {
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let others = left_behind(ExportState::Requested, later(now, 8_000_000), started(now));
    let mut left = left_behind(ExportState::Requested, later(now, -1), started(now));
    left.created = later(others.created, 1);
    for job in [&others, &left] {
        insert(&log, job).await;
    }
    let fixture = start(folder, log, &TestClock::default()).await;
    assert_eq!(fixture.end_of(&left.id).await.state, ExportState::Complete);
    let export = fixture.get(&others.id).await.unwrap();
    assert_eq!((export.state, export.version), (ExportState::Requested, 0));
}

#[tokio::test]
async fn jobs_that_wait_for_open_requests_do_not_hold_up_others() {
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    log.put_requests(&[record(later(now, -5_000_000), false)]).await.unwrap();
    for age in [3, 2] {
        let mut waiting = left_behind(ExportState::Pending, later(now, -age), JobBody::default());
        (waiting.body.time_start, waiting.body.time_end) = (later(now, -10_000_000), now);
        insert(&log, &waiting).await;
    }
    let after = left_behind(ExportState::Pending, later(now, -1), JobBody::default());
    insert(&log, &after).await;
    let fixture = start(folder, log, &TestClock::default()).await;
    assert_eq!(fixture.end_of(&after.id).await.state, ExportState::Complete);
}

#[tokio::test]
async fn jobs_that_cannot_be_taken_or_read_do_not_hold_up_others() {
    use ExportState as S;
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let rejected = left_behind(S::Pending, later(now, -9), JobBody::default());
    let fine = left_behind(S::Pending, later(now, -1), JobBody::default());
    let kept = JobBody { file: Some("x".into()), kept_until: Some(later(now, HOUR)), ..JobBody::default() };
    let renewed = left_behind(S::CreatingNewUrl, later(now, -1), kept);
    for job in [&rejected, &fine, &renewed] {
        insert(&log, job).await;
    }
    let mut damaged = Vec::new();
    for state in [S::Pending, S::Requested, S::CreatingNewUrl, S::Complete] {
        let job = left_behind(state, later(now, -5), JobBody::default());
        insert(&log, &job).await;
        damaged.push(job.id);
    }
    let admin = rusqlite::Connection::open(folder.path().join("audit.db")).unwrap();
    let text = format!(
        "UPDATE export_job SET body = '{{\"url\": \"hunter2\"}}' WHERE id IN ('{}');
        CREATE TRIGGER rejects BEFORE UPDATE ON export_job WHEN NEW.state = 'Requested' AND NEW.id = '{}'
        BEGIN SELECT RAISE(FAIL, 'rejected'); END",
        damaged.join("', '"),
        rejected.id
    );
    admin.execute_batch(&text).unwrap();
    let fixture = start(folder, log, &TestClock::default()).await;
    assert_eq!(fixture.end_of(&fine.id).await.state, S::Complete);
    assert_eq!(fixture.end_of(&renewed.id).await.state, S::Complete);
    assert_eq!(fixture.end_of(&rejected.id).await.state, S::Failed, "each time it counts as an attempt");
    // They are as they were, postponed, and hold up no others.
    let (listed, _) = fixture.exports.list(&fixture.account, Vec::new(), None, 100).await.unwrap();
    assert_eq!(listed.len(), 3);
    for id in &damaged {
        let error = fixture.exports.get(&fixture.account, id).await.unwrap_err().to_string();
        assert!(error.contains("damaged") && !error.contains("hunter2"), "{error}");
        let select = "SELECT version FROM export_job WHERE id = ?1 AND body LIKE '%hunter2%'";
        assert_eq!(admin.query_row(select, [id], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }
}

#[tokio::test]
async fn an_object_store_that_does_not_delete_holds_up_no_export() {
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let over = JobBody { attempts: 1, kept_until: Some(later(now, -1)), ..JobBody::default() };
    insert(&log, &left_behind(ExportState::Complete, later(now, -1), over)).await;
    let pending = |age: i64| left_behind(ExportState::Pending, later(now, -age), JobBody::default());
    let pending: Vec<_> = (1..=3).map(pending).collect();
    for job in &pending {
        insert(&log, job).await;
    }
    let slow = ThrottleConfig { wait_delete_per_call: Duration::from_secs(3_600), ..ThrottleConfig::default() };
    let files = ExportFiles::new(ThrottledStore::new(InMemory::new(), slow));
    let fixture = start_with(folder, log, &TestClock::default(), files).await;
    for job in &pending {
        assert_eq!(fixture.end_of(&job.id).await.state, ExportState::Complete);
    }
}

/// Signs, but panics the first time.
#[derive(Debug, Default)]
struct Panics(AtomicBool);

#[async_trait]
impl SignUrls for Panics {
    async fn url(&self, _: &object_store::path::Path, _: Duration) -> object_store::Result<Url> {
        assert!(self.0.swap(true, SeqCst), "the first time");
        Ok("https://files.example.com/x".parse().unwrap())
    }
}

#[tokio::test]
async fn a_panic_does_not_stop_the_work() {
    let now = Timestamp::now();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let body = JobBody { file: Some("x".into()), kept_until: Some(later(now, HOUR)), ..JobBody::default() };
    let job = left_behind(ExportState::CreatingNewUrl, now, body);
    insert(&log, &job).await;
    let mut files = ExportFiles::new(InMemory::new());
    files.0.signer = Some(Arc::new(Panics::default()));
    let fixture = start_with(folder, log, &TestClock::default(), files).await;
    let export = fixture.end_of(&job.id).await;
    assert_eq!(export.presigned_url.as_deref(), Some("https://files.example.com/x"));
}
