//! The audit log in SQLite, compared with plain rusqlite: durable writes in batches, the time of a page, and of a
//! response during writes.
//!
//! `cargo run --release --manifest-path querylog/benches/Cargo.toml --bin audit -- [RECORDS [FOLDER]]`

mod pages;
mod plain;
mod sample;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use tagtrail_querylog::AuditLog;
use tagtrail_querylog::store::Sqlite;

use crate::pages::pages;
use crate::plain::{plain_records, plain_requests};
use crate::sample::{completed, record_batches, requests};

type Failure = Box<dyn Error + Send + Sync>;

/// The number of records in a batch, which are started and completed.
const BATCH: usize = 1_000;
const WRITES: usize = 50_000;
const START: i64 = 1_743_465_600_000_000;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = match arguments.next() {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("durable writes, started and completed, {WRITES} in batches of {BATCH}, a second:");
    for round in 0..3 {
        let path = |name: &str| folder.path().join(format!("{name}-{round}.db"));
        let plain = plain_records(&path("plain-records"))?;
        let ours = runtime.block_on(our_records(&path("our-records")))?;
        show("audit records", plain, ours);
        let plain = plain_requests(&path("plain-requests"))?;
        let ours = runtime.block_on(our_requests(&path("our-requests")))?;
        show("requests", plain, ours);
    }
    runtime.block_on(pages(&folder.path().join("pages.db"), count))
}

/// The number of writes per second, and per second of CPU time, which is more meaningful on a busy machine.
#[derive(Clone, Copy)]
struct Rate {
    a_second: f64,
    of_cpu: f64,
}

struct Start(Instant, Duration);

impl Start {
    fn now() -> Self {
        Self(Instant::now(), cpu())
    }

    fn rate(&self) -> Rate {
        let (time, cpu) = (self.0.elapsed().as_secs_f64(), cpu().saturating_sub(self.1).as_secs_f64());
        Rate { a_second: WRITES as f64 / time, of_cpu: WRITES as f64 / cpu }
    }
}

/// Returns the CPU time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn show(what: &str, plain: Rate, ours: Rate) {
    let percent = |ours: f64, plain: f64| ours / plain * 100.0;
    println!(
        "  {what}: plain rusqlite {:.0}, audit log {:.0}: {:.0} %; by CPU time {:.0} %",
        plain.a_second,
        ours.a_second,
        percent(ours.a_second, plain.a_second),
        percent(ours.of_cpu, plain.of_cpu)
    );
}

async fn our_records(path: &Path) -> Result<Rate, Failure> {
    let log = AuditLog::new(Sqlite::open(path)?);
    let batches = record_batches();
    let start = Start::now();
    for (started, ended) in batches {
        log.begin(started).await?;
        log.put(ended).await?;
    }
    Ok(start.rate())
}

async fn our_requests(path: &Path) -> Result<Rate, Failure> {
    let log = AuditLog::new(Sqlite::open(path)?);
    let started = requests(WRITES);
    let ended: Vec<_> =
        started.iter().enumerate().map(|(number, started)| completed(started.clone(), number)).collect();
    let start = Start::now();
    for (started, ended) in started.chunks(BATCH).zip(ended.chunks(BATCH)) {
        log.put_requests(started).await?;
        log.put_requests(ended).await?;
    }
    Ok(start.rate())
}
