//! Jobs under clocks that jump, and jobs that somebody left behind.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Instant;

use async_trait::async_trait;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tagtrail::{Sample, Trail};
use tokio::time::sleep;

use super::*;
use crate::model::record::{Outcome, Record};
use crate::store::Sqlite;

const HOUR: i64 = 3_600 * 1_000_000;

struct Fixture {
    log: AuditLog,
    exports: ExportService,
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
    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    start_with(folder, log, clock, files).await
}

async fn start_with(folder: tempfile::TempDir, log: AuditLog, clock: fn() -> Timestamp, files: ExportFiles) -> Fixture {
    let mut record = Record::new(&Trail::start(Sample::Always), "/");
    record.begin = Timestamp::from_micros(0);
    record.notes.region_group = Some("us-std".into());
    record.end(Duration::ZERO, Outcome::Complete);
    log.put_requests(&[record]).await.unwrap();
    let settings = ExportService::builder(log.clone(), files, "http://127.0.0.1/api/v1/").unwrap();
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
    async fn end_of(&self, id: &str) -> ExportStatus {
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
        log.exports().unwrap().add_job(job.clone(), 0, 1_000).await.unwrap();
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
    log.exports().unwrap().add_job(job.clone(), 0, 1_000).await.unwrap();
    let fixture = start(folder, log, Timestamp::now).await;
    sleep(Duration::from_millis(1_500)).await;
    let export = fixture.exports.get(&fixture.account, &job.id).await.unwrap().unwrap();
    assert_eq!((export.state, export.version), (ExportState::Requested, 0));
}

/// Of several processes each has its own clock, and of these one may be wrong.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn whose_turn_it_is_says_the_clock_of_the_store_that_several_share() {
    fn ahead() -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() + HOUR)
    }
    fn behind() -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() - HOUR)
    }
    for clock in [ahead, behind] {
        let Some((_admin, url)) = crate::store::postgres_schema().await else { return };
        let log = AuditLog::new(crate::store::Postgres::connect(&url).await.unwrap());
        let store = log.exports().unwrap();
        let now = Timestamp::now().as_micros();
        let body = JobBody { attempts: 1, started: Some(now), ..JobBody::default() };
        let others = left_behind(ExportState::Requested, now + 8_000_000, body.clone());
        let left = left_behind(ExportState::Requested, now - 1, body);
        for job in [&others, &left] {
            store.add_job(job.clone(), 0, 1_000).await.unwrap();
        }
        let fixture = start(tempfile::tempdir().unwrap(), log.clone(), clock).await;
        assert_eq!(fixture.end_of(&left.id).await.state, ExportState::Complete);
        let asked = fixture.exports.add(&fixture.account, asked(None)).await.unwrap().request_id;
        assert_eq!(fixture.end_of(&asked).await.state, ExportState::Complete);
        let others = fixture.exports.get(&fixture.account, &others.id).await.unwrap().unwrap();
        assert_eq!((others.state, others.version), (ExportState::Requested, 0), "somebody works on it");
        // What is put into the row is by that clock too.
        let known = store.job(&asked).await.unwrap().unwrap();
        for time in [known.created, known.body.started.unwrap(), known.body.updated] {
            assert!((time - now).abs() < HOUR / 2, "{known:?}");
        }
    }
}

/// However far from the clock of the store the one of a machine is, it is that one by which its URLs are good.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_url_is_good_by_the_clock_of_the_machine_that_checks_it() {
    fn days_ahead() -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() + 48 * HOUR)
    }
    let Some((_admin, url)) = crate::store::postgres_schema().await else { return };
    let log = AuditLog::new(crate::store::Postgres::connect(&url).await.unwrap());
    let fixture = start(tempfile::tempdir().unwrap(), log.clone(), days_ahead).await;
    let id = fixture.exports.add(&fixture.account, asked(None)).await.unwrap().request_id;
    let export = fixture.end_of(&id).await;
    let left = export.presigned_url_expiration_time.unwrap().as_micros() - days_ahead().as_micros();
    assert!((HOUR - 60_000_000..=HOUR).contains(&left), "{export:?}");
    assert_eq!(fixture.exports.get(&fixture.account, &id).await.unwrap().unwrap(), export);
    // As long as the file is kept, and no longer: that goes by the other clock.
    let store = log.exports().unwrap();
    let mut job = store.job(&id).await.unwrap().unwrap();
    (job.state, job.due) = (ExportState::CreatingNewUrl, Timestamp::now().as_micros());
    job.body.kept_until = Some(job.due + HOUR / 2);
    assert!(store.replace_job(job).await.unwrap());
    let export = fixture.end_of(&id).await;
    let left = export.presigned_url_expiration_time.unwrap().as_micros() - days_ahead().as_micros();
    assert!((HOUR / 2 - 60_000_000..=HOUR / 2).contains(&left), "{export:?}");
}

#[tokio::test]
async fn what_was_tried_too_often_or_for_too_long_ends() {
    let now = Timestamp::now().as_micros();
    for (attempts, given_back, started, state) in [
        (3, 0, now, ExportState::Failed),
        (4, 1, now, ExportState::Failed),
        (1, 0, now - 2 * HOUR, ExportState::TimedOut),
        (2, 0, now, ExportState::Complete),
        (5, 3, now, ExportState::Complete),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let log = log(&folder);
        let body = JobBody { attempts, given_back, started: Some(started), ..JobBody::default() };
        let job = left_behind(ExportState::Requested, now, body);
        log.exports().unwrap().add_job(job.clone(), 0, 1_000).await.unwrap();
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
        assert!(ExportService::builder(log.clone(), files, url).is_err(), "{url}");
    }
    assert!(ExportFiles::at("ftp://x/y").is_err());
    assert!(ExportFiles::at(folder.path().join("other").to_str().unwrap()).is_ok());
}

#[tokio::test]
async fn one_that_was_begun_in_the_future_has_no_more_time_than_others() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let fixture = start(folder, log, Timestamp::now).await;
    let core = &fixture.exports.0.core;
    let now = Timestamp::now().as_micros();
    for (started, most) in [(now + 10 * HOUR, 3_600), (now - HOUR / 2, 1_800), (now - 2 * HOUR, 0)] {
        let job = left_behind(ExportState::Requested, now, JobBody { started: Some(started), ..JobBody::default() });
        let left = runner::time_left(core, &job, Timestamp::from_micros(now));
        assert!(left <= Duration::from_secs(most) && left + Duration::from_secs(5) >= Duration::from_secs(most));
    }
}

#[tokio::test]
async fn what_waits_for_open_requests_holds_up_nothing_behind_it() {
    let now = Timestamp::now().as_micros();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let mut open = Record::new(&Trail::start(Sample::Always), "/");
    open.begin = Timestamp::from_micros(now - 5_000_000);
    open.notes.region_group = Some("us-std".into());
    log.put_requests(&[open]).await.unwrap();
    let store = log.exports().unwrap();
    for age in [3, 2] {
        let mut waiting = left_behind(ExportState::Pending, now - age, JobBody::default());
        (waiting.body.time_start, waiting.body.time_end) = (now - 10_000_000, now);
        store.add_job(waiting, 0, 1_000).await.unwrap();
    }
    let behind = left_behind(ExportState::Pending, now - 1, JobBody::default());
    store.add_job(behind.clone(), 0, 1_000).await.unwrap();
    let fixture = start(folder, log, Timestamp::now).await;
    assert_eq!(fixture.end_of(&behind.id).await.state, ExportState::Complete);
}

#[tokio::test]
async fn jobs_that_cannot_be_taken_or_read_hold_up_none_behind_them() {
    let now = Timestamp::now().as_micros();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let store = log.exports().unwrap();
    let refused = left_behind(ExportState::Pending, now - 9, JobBody::default());
    let fine = left_behind(ExportState::Pending, now - 1, JobBody::default());
    let kept = JobBody { file: Some("x".into()), kept_until: Some(now + HOUR), ..JobBody::default() };
    let renewed = left_behind(ExportState::CreatingNewUrl, now - 1, kept);
    for job in [&refused, &fine, &renewed] {
        store.add_job(job.clone(), 0, 1_000).await.unwrap();
    }
    let mut damaged = Vec::new();
    for state in [ExportState::Pending, ExportState::Requested, ExportState::CreatingNewUrl, ExportState::Complete] {
        let job = left_behind(state, now - 5, JobBody::default());
        store.add_job(job.clone(), 0, 1_000).await.unwrap();
        damaged.push(job.id);
    }
    let admin = rusqlite::Connection::open(folder.path().join("audit.db")).unwrap();
    let text = format!(
        "UPDATE export_job SET body = '{{\"url\": \"hunter2\"}}' WHERE id IN ('{}');
        CREATE TRIGGER refuses BEFORE UPDATE ON export_job WHEN NEW.state = 'Requested' AND NEW.id = '{}'
        BEGIN SELECT RAISE(FAIL, 'refused'); END",
        damaged.join("', '"),
        refused.id
    );
    admin.execute_batch(&text).unwrap();
    let fixture = start(folder, log, Timestamp::now).await;
    assert_eq!(fixture.end_of(&fine.id).await.state, ExportState::Complete);
    assert_eq!(fixture.end_of(&renewed.id).await.state, ExportState::Complete);
    assert_eq!(fixture.end_of(&refused.id).await.state, ExportState::Failed, "each time it counts as an attempt");
    // They are as they were, looked at now and then, and in nobody's way.
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
    let now = Timestamp::now().as_micros();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let store = log.exports().unwrap();
    let over = JobBody { attempts: 1, kept_until: Some(now - 1), ..JobBody::default() };
    store.add_job(left_behind(ExportState::Complete, now - 1, over), 0, 1_000).await.unwrap();
    let jobs: Vec<_> = (1..=3).map(|age| left_behind(ExportState::Pending, now - age, JobBody::default())).collect();
    for job in &jobs {
        store.add_job(job.clone(), 0, 1_000).await.unwrap();
    }
    let slow = ThrottleConfig { wait_delete_per_call: Duration::from_secs(3_600), ..ThrottleConfig::default() };
    let files = ExportFiles::new(ThrottledStore::new(InMemory::new(), slow));
    let fixture = start_with(folder, log, Timestamp::now, files).await;
    for job in &jobs {
        assert_eq!(fixture.end_of(&job.id).await.state, ExportState::Complete);
    }
}

/// Signs, but panics the first time.
#[derive(Debug, Default)]
struct Panics(AtomicBool);

#[async_trait]
impl files::SignsUrls for Panics {
    async fn url(&self, _: &object_store::path::Path, _: Duration) -> object_store::Result<Url> {
        assert!(self.0.swap(true, SeqCst), "the first time");
        Ok("https://files.example.com/x".parse().unwrap())
    }
}

#[tokio::test]
async fn a_panic_ends_no_work() {
    let now = Timestamp::now().as_micros();
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    let body = JobBody { file: Some("x".into()), kept_until: Some(now + HOUR), ..JobBody::default() };
    let job = left_behind(ExportState::CreatingNewUrl, now, body);
    log.exports().unwrap().add_job(job.clone(), 0, 1_000).await.unwrap();
    let mut files = ExportFiles::new(InMemory::new());
    files.signer = Some(Arc::new(Panics::default()));
    let fixture = start_with(folder, log, Timestamp::now, files).await;
    let export = fixture.end_of(&job.id).await;
    assert_eq!(export.presigned_url.as_deref(), Some("https://files.example.com/x"));
}

#[tokio::test]
async fn a_page_of_large_records_has_few_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut logs = vec![log(&folder)];
    #[cfg(feature = "postgres")]
    if let Some((_, url)) = crate::store::postgres_schema().await {
        logs.push(AuditLog::new(crate::store::Postgres::connect(&url).await.unwrap()));
    }
    for log in logs {
        let records: Vec<_> = (0..20)
            .map(|micros| {
                let mut record = Record::new(&Trail::start(Sample::Always), "/");
                record.begin = Timestamp::from_micros(micros);
                record.notes.region_group = Some("us-std".into());
                record.notes.shape = Some("x".repeat(1 << 20));
                record
            })
            .collect();
        log.put_requests(&records).await.unwrap();
        let window = Window { start: Timestamp::from_micros(0), end: Timestamp::from_micros(20) };
        let mut range = crate::model::scan::Scan::new("us-std".parse::<ExportScope>().unwrap().key(), window);
        let mut pages = Vec::new();
        loop {
            let page = log.exports().unwrap().exported(range.clone(), 4_000).await.unwrap();
            let Some(last) = page.last() else { break };
            range = range.behind(last.place.clone());
            pages.push(page.iter().map(|row| row.place.micros).collect::<Vec<_>>());
        }
        assert!(pages.iter().all(|page| page.len() <= 8), "{pages:?}");
        assert_eq!(pages.concat(), (0..20).collect::<Vec<_>>(), "{log:?}");
    }
}
