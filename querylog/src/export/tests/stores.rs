//! What exports need of a store, on each of the stores that this crate has.

use async_trait::async_trait;

use super::*;
use crate::audit::keys::key_of_scope;
use crate::export::admission;
use crate::export::settings::Settings;
use crate::model::distinct::Distinct;
use crate::model::scope::ExportScope;
use crate::model::window::Window;
use crate::store::{Hits, Key, Row, RowRange, Selection, Store, StoreError, WriterReport};

fn job(id: &str, token: Option<&str>, due: i64) -> Job {
    let mut job = Job::new(id, "owner", "us-std".parse().unwrap(), Timestamp::from_micros(0));
    job.token = token.map(str::to_owned);
    job.due = Timestamp::from_micros(due);
    job
}

#[tokio::test]
async fn an_owner_has_one_job_with_a_token_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    for log in logs(&folder).await {
        let jobs = jobs(&log);
        let unlimited = || JobLimit { most: usize::MAX, counted: Vec::new() };
        assert!(jobs.insert(job("a", Some("t"), 0), unlimited()).await.unwrap());
        assert!(!jobs.insert(job("b", Some("t"), 0), unlimited()).await.unwrap());
        assert!(jobs.insert(job("c", Some("u"), 0), unlimited()).await.unwrap());
        assert!(jobs.insert(job("d", None, 0), unlimited()).await.unwrap());
        let mut others = job("e", Some("t"), 0);
        others.owner = "other".into();
        assert!(jobs.insert(others, unlimited()).await.unwrap());
        assert_eq!(jobs.by_token("owner", "t").await.unwrap(), Some(job("a", Some("t"), 0)));
        assert_eq!(jobs.by_token("owner", "x").await.unwrap(), None);

        jobs.release_token("owner", "t", Timestamp::from_micros(-1)).await.unwrap();
        assert!(!jobs.insert(job("b", Some("t"), 0), unlimited()).await.unwrap(), "it was created later");
        jobs.release_token("owner", "t", Timestamp::from_micros(0)).await.unwrap();
        assert_eq!(jobs.by_id("a").await.unwrap(), Some(job("a", None, 0)), "of the same version");
        assert!(jobs.insert(job("b", Some("t"), 0), unlimited()).await.unwrap());
    }
}

#[tokio::test]
async fn an_owner_has_no_more_jobs_than_the_limit() {
    const SECOND: i64 = 1_000_000;
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { waiting: 2, ..Settings::default() };
    for log in logs(&folder).await {
        let jobs = jobs(&log);
        let insert = async |job: Job| jobs.insert(job.clone(), admission::limit(&job, &settings)).await.unwrap();
        // Those that wait for long are counted by themselves: from a minute on.
        for (id, due, inserted) in [
            ("1", 0, true),
            ("2", 61 * SECOND, true),
            ("3", 60 * SECOND, true),
            ("4", 3_600 * SECOND, true),
            ("5", 60 * SECOND + 1, false),
            ("6", 1, false),
        ] {
            assert_eq!(insert(job(id, None, due)).await, inserted, "{id}");
        }
        let mut others = job("7", None, 0);
        others.owner = "other".into();
        assert!(insert(others).await, "each owner has its own");
        // One that is being extracted counts still, one that has ended does not.
        for (state, version, inserted) in [(ExportState::Requested, 0, false), (ExportState::Complete, 1, true)] {
            let mut first = job("1", None, 5 * 3_600 * SECOND);
            (first.state, first.version) = (state, version);
            assert!(jobs.compare_and_swap(first).await.unwrap());
            assert_eq!(insert(job("8", None, 0)).await, inserted, "{state}");
        }
    }
}

#[tokio::test]
async fn a_store_knows_whether_requests_of_a_window_are_open() {
    let folder = tempfile::tempdir().unwrap();
    for log in logs(&folder).await {
        let at = Timestamp::from_micros;
        log.put_requests(&[record(at(10), false), record(at(20), true)]).await.unwrap();
        for (start, end, expected) in [(0, 9, false), (0, 10, true), (10, 30, true), (11, 30, false)] {
            let window = Window { start: at(start), end: at(end) };
            assert_eq!(log.store().any_open(window).await.unwrap(), expected, "{log:?} {start} {end}");
        }
    }
}

async fn pages(store: &dyn Store, end: i64, limit: usize) -> Vec<Vec<i64>> {
    let window = Window { start: Timestamp::from_micros(0), end: Timestamp::from_micros(end) };
    let mut range = RowRange::new(key_of_scope(&"us-std".parse::<ExportScope>().unwrap()), window);
    let mut pages = Vec::new();
    loop {
        let page = store.exported(range.clone(), limit).await.unwrap();
        let Some(last) = page.last() else { return pages };
        assert!(page.iter().all(|row| row.details.is_some()));
        range = range.resume(last.place.clone());
        pages.push(page.iter().map(|row| row.place.micros).collect());
    }
}

#[tokio::test]
async fn a_page_has_few_records_if_they_are_large() {
    let folder = tempfile::tempdir().unwrap();
    for log in logs(&folder).await {
        let records: Vec<_> = (0..20)
            .map(|micros| {
                let mut record = record(Timestamp::from_micros(micros), false);
                record.notes.shape = Some("x".repeat(1 << 20));
                record
            })
            .collect();
        log.put_requests(&records).await.unwrap();
        let pages = pages(log.store(), 20, 4_000).await;
        assert!(pages.iter().all(|page| page.len() <= 8), "{pages:?}");
        assert_eq!(pages.concat(), (0..20).collect::<Vec<_>>(), "{log:?}");
    }
}

/// A store that has only what every store must have.
#[derive(Debug)]
struct Plain(Sqlite);

#[async_trait]
impl Store for Plain {
    async fn put(&self, rows: Arc<[Row]>, report: Option<&WriterReport>) -> Result<(), StoreError> {
        self.0.put(rows, report).await
    }
    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        Store::get(&self.0, id).await
    }
    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.0.page(range, limit).await
    }
    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.0.first_of_each(range, of, scan).await
    }
    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        self.0.find(range, limit, scan).await
    }
    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        self.0.have_objects(objects).await
    }
    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        self.0.secret().await
    }
}

#[tokio::test]
async fn records_of_any_store_can_be_read_but_exports_need_one_with_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::new(Plain(Sqlite::open(folder.path().join("audit.db")).unwrap()));
    let records: Vec<_> = (0..20).map(|micros| record(Timestamp::from_micros(micros), micros % 2 == 0)).collect();
    log.put_requests(&records).await.unwrap();
    let pages = pages(log.store(), 14, 4).await;
    assert_eq!(pages.concat(), (0..15).collect::<Vec<_>>());
    assert!(pages.iter().all(|page| page.len() <= 4), "{pages:?}");
    let window = Window { start: Timestamp::from_micros(0), end: Timestamp::from_micros(20) };
    assert!(!log.store().any_open(window).await.unwrap());

    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    let builder = ExportService::builder(log, files, "http://127.0.0.1/api/v1").unwrap();
    let error = builder.start().await.unwrap_err().to_string();
    assert!(error.contains("no jobs of exports"), "{error}");
}
