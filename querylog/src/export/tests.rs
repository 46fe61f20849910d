//! Jobs under clocks that jump, and jobs that somebody left behind.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Instant;

use tagtrail::Trail;
use tokio::time::sleep;

use super::*;
use crate::record::{Outcome, Record};
use crate::store::Sqlite;

const HOUR: i64 = 3_600 * 1_000_000;

struct Fixture {
    log: AuditLog,
    exports: Exports,
    account: Account,
    folder: tempfile::TempDir,
}

fn account() -> Account {
    Account { scopes: vec!["us-std".parse().unwrap()] }
}

fn log(folder: &tempfile::TempDir) -> AuditLog {
    AuditLog::new(Sqlite::open(folder.path().join("audit.db")).unwrap())
}

async fn start(folder: tempfile::TempDir, log: AuditLog, clock: fn() -> Timestamp) -> Fixture {
    let mut record = Record::new(&Trail::start(true), "/");
    record.begin = Timestamp::from_micros(0);
    record.notes.region_group = Some("us-std".into());
    record.end(Duration::ZERO, Outcome::Complete);
    log.put_requests(&[record]).await.unwrap();
    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    let settings = Exports::settings(log.clone(), files, "http://127.0.0.1/api/v1/").unwrap();
    let exports = settings.arrival(Duration::ZERO).start_with(clock).await.unwrap();
    Fixture { log, exports, account: account(), folder }
}

fn asked(token: Option<u128>) -> Asked {
    Asked {
        scope: "us-std".parse().unwrap(),
        time_start: Timestamp::from_micros(0),
        time_end: Timestamp::from_micros(1),
        token: token.map(Uuid::from_u128),
    }
}

/// A job as a process that is gone left it.
fn left_behind(state: ExportState, due: i64, body: JobBody) -> Job {
    Job {
        id: Uuid::new_v4().to_string(),
        owner: owner(&account()),
        token: None,
        scope: "us-std".parse().unwrap(),
        state,
        version: 0,
        created: due,
        due,
        body: JobBody { time_start: 0, time_end: 1, ..body },
    }
}

impl Fixture {
    async fn end_of(&self, id: &str) -> Export {
        let begin = Instant::now();
        loop {
            let export = self.exports.get(&self.account, id).await.unwrap().unwrap();
            if export.state.is_final() {
                return export;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{export:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("exports")).unwrap().count()
    }
}

#[tokio::test]
async fn what_was_left_behind_is_taken_up_wherever_the_clock_was_set() {
    let now = Timestamp::now().as_micros();
    for (due, what) in [(now - 1, "its time is over"), (now + 10 * HOUR, "the clock was set back")] {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder);
        let body = JobBody { attempts: 1, started: Some(now), ..JobBody::default() };
        let job = left_behind(ExportState::Requested, due, body);
        log.exports().unwrap().add_job(job.clone(), 0).await.unwrap();
        let fixture = start(folder, log, Timestamp::now).await;
        let export = fixture.end_of(&job.id).await;
        assert_eq!(export.state, ExportState::Complete, "{what}");
        assert!(export.presigned_url.unwrap().contains(".2.jsonl.gz?"), "{what}: in a file of its own");
    }
}

#[tokio::test]
async fn what_others_work_on_is_left_alone() {
    let now = Timestamp::now().as_micros();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let body = JobBody { attempts: 1, started: Some(now), ..JobBody::default() };
    let job = left_behind(ExportState::Requested, now + 8_000_000, body);
    log.exports().unwrap().add_job(job.clone(), 0).await.unwrap();
    let fixture = start(folder, log, Timestamp::now).await;
    sleep(Duration::from_millis(1_500)).await;
    let export = fixture.exports.get(&fixture.account, &job.id).await.unwrap().unwrap();
    assert_eq!((export.state, export.version), (ExportState::Requested, 0));
}

#[tokio::test]
async fn what_was_tried_too_often_or_for_too_long_ends() {
    let now = Timestamp::now().as_micros();
    for (attempts, started, state) in
        [(3, now, ExportState::Failed), (1, now - 2 * HOUR, ExportState::TimedOut), (2, now, ExportState::Complete)]
    {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder);
        let body = JobBody { attempts, started: Some(started), ..JobBody::default() };
        let job = left_behind(ExportState::Requested, now, body);
        log.exports().unwrap().add_job(job.clone(), 0).await.unwrap();
        assert_eq!(start(folder, log, Timestamp::now).await.end_of(&job.id).await.state, state);
    }
}

#[tokio::test]
async fn a_new_url_is_made_though_whoever_began_it_is_gone() {
    static AHEAD: AtomicI64 = AtomicI64::new(0);
    fn clock() -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() + AHEAD.load(SeqCst))
    }
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let fixture = start(folder, log, clock).await;
    let id = fixture.exports.add(&fixture.account, asked(None)).await.unwrap().request_id;
    let first = fixture.end_of(&id).await;
    fixture.exports.shutdown().await;
    AHEAD.store(2 * HOUR, SeqCst);
    let asked = fixture.exports.get(&fixture.account, &id).await.unwrap().unwrap();
    assert_eq!((asked.state, asked.presigned_url), (ExportState::CreatingNewUrl, None));
    let Fixture { log, folder, .. } = fixture;
    let other = start(folder, log, clock).await;
    let renewed = other.end_of(&id).await;
    assert_eq!(renewed.state, ExportState::Complete);
    assert_ne!(renewed.presigned_url, first.presigned_url);
    assert_eq!(other.files(), 1, "not extracted anew");
}

#[tokio::test]
async fn a_day_later_the_file_is_gone_and_the_token_is_free() {
    static AHEAD: AtomicI64 = AtomicI64::new(0);
    fn clock() -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() + AHEAD.load(SeqCst))
    }
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let fixture = start(folder, log, clock).await;
    let add = async || fixture.exports.add(&fixture.account, asked(Some(1))).await.unwrap().request_id;
    let first = add().await;
    fixture.end_of(&first).await;
    // What a crash left of an attempt goes too.
    let staged = fixture.folder.path().join(format!("exports/{first}.1.jsonl.gz#1"));
    std::fs::write(staged, "half").unwrap();
    assert_eq!((add().await, fixture.files()), (first.clone(), 2));
    AHEAD.store(23 * HOUR, SeqCst);
    assert_eq!(add().await, first);
    assert_eq!(fixture.files(), 2);
    AHEAD.store(25 * HOUR, SeqCst);
    let begin = Instant::now();
    while fixture.exports.get(&fixture.account, &first).await.unwrap().is_some() || fixture.files() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(10)).await;
    }
    assert_ne!(add().await, first);
    // Back again: what is there stays, and is not taken for old.
    AHEAD.store(-25 * HOUR, SeqCst);
    let again = add().await;
    assert_eq!(fixture.end_of(&again).await.state, ExportState::Complete);
}

#[tokio::test]
async fn a_token_is_free_after_a_day_though_its_export_is_not_over() {
    static AHEAD: AtomicI64 = AtomicI64::new(0);
    fn clock() -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() + AHEAD.load(SeqCst))
    }
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let fixture = start(folder, log, clock).await;
    let later = || Asked { time_end: Timestamp::now().plus(Duration::from_secs(80 * 86_400)), ..asked(Some(2)) };
    let first = fixture.exports.add(&fixture.account, later()).await.unwrap();
    AHEAD.store(25 * HOUR, SeqCst);
    let second = fixture.exports.add(&fixture.account, later()).await.unwrap();
    assert_ne!(first.request_id, second.request_id);
    for export in [first, second] {
        let known = fixture.exports.get(&fixture.account, &export.request_id).await.unwrap().unwrap();
        assert_eq!(known.state, ExportState::Pending);
    }
}

#[tokio::test]
async fn the_url_of_the_api_is_one_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    for url in ["", "logs.example.com", "ftp://logs.example.com", "http://x/?y", "http://x/#y"] {
        let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
        assert!(Exports::settings(log.clone(), files, url).is_err(), "{url}");
    }
    assert!(ExportFiles::at("ftp://x/y").is_err());
    assert!(ExportFiles::at(folder.path().join("other").to_str().unwrap()).is_ok());
}
