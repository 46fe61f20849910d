//! A log with a spool, before a store that fails on demand.

use std::path::Path;
use std::time::Duration;

use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::store::Sqlite;
use tagtrail_querylog::{Ack, AppendError, AuditLog, LogStore, Outcome, QueryLog, Record, Spool, Window};

use crate::support::faulty::Faulty;

pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Fixture {
    pub folder: tempfile::TempDir,
    pub store: Faulty,
    pub audit: AuditLog,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Faulty::new(Sqlite::open(folder.path().join("audit.db")).unwrap());
        let audit = AuditLog::new(store.clone());
        Self { folder, store, audit }
    }

    pub fn spool_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("spool")
    }

    pub fn spool(&self) -> Spool {
        Spool::new(self.spool_folder()).after(Duration::from_millis(200))
    }

    pub fn open(&self) -> QueryLog {
        LogStore::new(self.audit.clone()).spool(self.spool()).open().unwrap()
    }

    pub async fn found(&self) -> Vec<Record> {
        let scan = Scan::new(RequestFilter::new(), Window::ALL);
        self.audit.scoped("env1").requests(&scan, 100_000).await.unwrap().items
    }

    pub async fn gaps(&self) -> Vec<(Option<u64>, String)> {
        let gaps = self.audit.gaps(Window::ALL).await.unwrap();
        gaps.into_iter().map(|gap| (gap.count, gap.why.into_owned())).collect()
    }

    /// How many bytes the folder of the spool has.
    pub fn spooled_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.spool_folder()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    pub fn segments(&self) -> usize {
        segments(&self.spool_folder())
    }
}

pub fn segments(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "spool")).count()
}

pub fn started(number: usize) -> Record {
    let mut record = Record::new(&Trail::start(Sample::Always), format!("/{number}"));
    record.service = Some("shop".into());
    record.notes.caller.exec_env_id = Some("env1".into());
    record
}

pub fn end(record: &mut Record) {
    record.end(Duration::from_micros(1_234), Outcome::Complete);
}

/// Starts and ends some requests.
pub fn requests(log: &QueryLog, numbers: std::ops::Range<usize>) -> (Vec<Record>, Vec<Ack>) {
    let mut acks = Vec::new();
    let records = numbers.map(|number| {
        let mut record = started(number);
        acks.push(log.begin(&record));
        end(&mut record);
        acks.push(log.append(&record));
        record
    });
    (records.collect(), acks)
}

pub async fn all(acks: Vec<Ack>) -> Result<(), AppendError> {
    for ack in acks {
        tokio::time::timeout(LIMIT, ack).await.expect("acknowledged")?;
    }
    Ok(())
}

pub async fn wait_for(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = std::time::Instant::now() + LIMIT;
    while !is_so().await {
        assert!(std::time::Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
