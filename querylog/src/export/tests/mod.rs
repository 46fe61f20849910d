//! The service with a store and files, under clocks that jump, and with jobs that vanished processes left.

mod clocks;
mod recovery;
mod stores;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tagtrail::{Sample, Trail};
use tokio::time::sleep;
use uuid::Uuid;

use crate::access::principal::Account;
use crate::audit::log::AuditLog;
use crate::export::admission::{NewExport, owner};
use crate::export::{ExportFiles, ExportService};
use crate::model::export_status::{ExportState, ExportStatus};
use crate::model::record::{Outcome, Record};
use crate::model::time::Timestamp;
use crate::store::{Job, JobBody, JobLimit, Jobs, Sqlite};

const HOUR: i64 = 3_600 * 1_000_000;

/// The clock of this machine, set ahead or back by microseconds.
#[derive(Clone, Default)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn ahead(micros: i64) -> Self {
        Self(Arc::new(micros.into()))
    }

    fn set(&self, micros: i64) {
        self.0.store(micros, SeqCst);
    }

    fn now(&self) -> Timestamp {
        later(Timestamp::now(), self.0.load(SeqCst))
    }
}

fn later(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + micros)
}

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

/// The logs in which a test of stores runs: PostgreSQL only if there is a server for tests.
async fn logs(folder: &tempfile::TempDir) -> Vec<AuditLog> {
    let mut logs = vec![log(folder)];
    #[cfg(feature = "postgres")]
    if std::env::var_os("TAGTRAIL_TEST_POSTGRES").is_some() {
        let (_, url) = crate::store::postgres_schema().await;
        logs.push(AuditLog::new(crate::store::Postgres::connect(&url).await.unwrap()));
    }
    logs
}

fn jobs(log: &AuditLog) -> &dyn Jobs {
    log.store().jobs().unwrap()
}

async fn insert(log: &AuditLog, job: &Job) {
    let unlimited = JobLimit { most: usize::MAX, counted: Vec::new() };
    assert!(jobs(log).insert(job.clone(), unlimited).await.unwrap());
}

/// Starts a service whose log has one record, at the start of 1970.
async fn start(folder: tempfile::TempDir, log: AuditLog, clock: &TestClock) -> Fixture {
    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    start_with(folder, log, clock, files).await
}

async fn start_with(folder: tempfile::TempDir, log: AuditLog, clock: &TestClock, files: ExportFiles) -> Fixture {
    log.put_requests(&[record(Timestamp::from_micros(0), true)]).await.unwrap();
    let clock = clock.clone();
    let builder = ExportService::builder(log.clone(), files, "http://127.0.0.1/api/v1/").unwrap();
    let exports = builder.arrival(Duration::ZERO).clock(move || clock.now()).start().await.unwrap();
    Fixture { log, exports, account: account(), folder }
}

fn record(begin: Timestamp, ended: bool) -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), "/");
    record.start_time = begin;
    record.notes.region_group = Some("us-std".into());
    if ended {
        record.end(Duration::ZERO, Outcome::Complete);
    }
    record
}

fn new_export(token: Option<u128>) -> NewExport {
    NewExport {
        scope: "us-std".parse().unwrap(),
        time_start: Timestamp::from_micros(0),
        time_end: Timestamp::from_micros(1),
        token: token.map(Uuid::from_u128),
    }
}

/// A job as a vanished process left it.
fn left_behind(state: ExportState, due: Timestamp, body: JobBody) -> Job {
    let id = Uuid::new_v4().to_string();
    let mut job = Job::new(id, owner(&account()), "us-std".parse().unwrap(), due);
    job.state = state;
    job.body = JobBody { time_start: Timestamp::from_micros(0), time_end: Timestamp::from_micros(1), ..body };
    job
}

/// The body of a job whose first attempt started at a time.
fn started(time: Timestamp) -> JobBody {
    JobBody { attempts: 1, started: Some(time), ..JobBody::default() }
}

impl Fixture {
    async fn add(&self, token: Option<u128>) -> String {
        self.exports.add(&self.account, new_export(token)).await.unwrap().request_id
    }

    async fn get(&self, id: &str) -> Option<ExportStatus> {
        self.exports.get(&self.account, id).await.unwrap()
    }

    async fn end_of(&self, id: &str) -> ExportStatus {
        let start = Instant::now();
        loop {
            let export = self.get(id).await.unwrap();
            if export.state.is_final() {
                return export;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{export:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("exports")).unwrap().count()
    }
}

#[tokio::test]
async fn the_url_of_the_api_must_be_an_http_url() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(&folder);
    for url in ["", "logs.example.com", "ftp://logs.example.com", "http://x/?y", "http://x/#y"] {
        let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
        let error = ExportService::builder(log.clone(), files, url).unwrap_err().to_string();
        assert_eq!(error, "the URL of the API must be an HTTP URL, such as https://logs.example.com/api/v1", "{url}");
    }
    assert!(ExportFiles::at("ftp://x/y").is_err());
    assert!(ExportFiles::at(folder.path().join("other").to_str().unwrap()).is_ok());
}
