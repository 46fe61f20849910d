//! What a request costs on its way to a store, in CPU time.
//!
//! `cargo run --release --manifest-path querylog/benches/Cargo.toml --bin stored -- [REQUESTS]`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::audit::Distinct;
use tagtrail_querylog::store::{Hits, Key, Row, RowRange, Selection, Sqlite, Store, StoreError, Synchronous, WriterReport};
use tagtrail_querylog::{AuditLog, LogStore, Outcome, QueryLog, Record};

type Failure = Box<dyn Error + Send + Sync>;

/// A store that takes everything and keeps nothing: what is left is the way to it.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Store for Nothing {
    async fn put(&self, _: Arc<[Row]>, _: Option<&WriterReport>) -> Result<(), StoreError> {
        Ok(())
    }
    async fn get(&self, _: &str) -> Result<Option<Row>, StoreError> {
        Ok(None)
    }
    async fn page(&self, _: RowRange<Selection>, _: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }
    async fn first_of_each(&self, _: RowRange<Selection>, _: Distinct, _: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }
    async fn find(&self, _: RowRange<Vec<Key>>, _: usize, _: usize) -> Result<Hits, StoreError> {
        Ok(Hits::default())
    }
    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        Ok(vec![true; objects.len()])
    }
    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        Ok([0; 32])
    }
}

fn main() -> Result<(), Failure> {
    let count = std::env::args().nth(1).map_or(Ok(200_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    println!("CPU time a request, microseconds:");
    for round in 0..3 {
        for (what, in_flight) in [("ended at once", 0), ("2,000 in flight", 2_000)] {
            let nothing = run(AuditLog::new(Nothing), count, in_flight)?;
            let path = folder.path().join(format!("{round}-{in_flight}.db"));
            let sqlite =
                run(AuditLog::new(Sqlite::builder(path).synchronous(Synchronous::Normal).open()?), count, in_flight)?;
            println!("  {what}: to nothing {nothing:.2}, to SQLite {sqlite:.2}");
        }
    }
    Ok(())
}

fn run(audit: AuditLog, count: usize, in_flight: usize) -> Result<f64, Failure> {
    let records: Vec<_> = (0..count).map(request).collect();
    let log = LogStore::new(audit).queue_bytes(1 << 30).open()?;
    let start = cpu();
    let mut open = std::collections::VecDeque::new();
    for (number, record) in records.into_iter().enumerate() {
        log.begin(&record);
        open.push_back(record);
        // As fast as a writer can follow: the queue holds some 10,000 starts and ends.
        if open.len() > in_flight {
            end(&log, open.pop_front());
        }
        if number % 1_000 == 0 {
            while log.stats().queued > 5_000 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    while !open.is_empty() {
        end(&log, open.pop_front());
    }
    log.close_blocking(Duration::from_secs(600))?;
    Ok((cpu() - start).as_secs_f64() * 1e6 / count as f64)
}

fn end(log: &QueryLog, record: Option<Record>) {
    if let Some(mut record) = record {
        record.response.status = Some(200);
        record.end(Duration::from_micros(1_234), Outcome::Complete);
        log.append(&record);
    }
}

fn request(number: usize) -> Record {
    let tags = format!("project=p{},env=prod", number / 30 % 20).parse::<Tags>().unwrap_or_default();
    let trail = Trail::start(Sample::Always).with_tags(tags);
    let mut record = Record::new(&trail, format!("/route-{}/{number}", number % 50));
    record.request.route = Some(format!("/route-{}/{{id}}", number % 50));
    record.notes.caller.exec_env_id = Some(format!("env-{}", number / 20 % 10));
    record.notes.caller.user_id = Some(format!("user-{}", number % 1_000));
    record.notes.caller.user_email = Some(format!("user-{}@example.com", number % 1_000));
    record
}

/// The CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
