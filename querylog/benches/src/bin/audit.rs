//! The audit log in SQLite beside plain rusqlite: durable writes in batches, and the time of a page.
//!
//! `cargo run --release --manifest-path querylog/benches/Cargo.toml --bin audit -- [RECORDS]`

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rusqlite::{Connection, TransactionBehavior, params};
use tagtrail_querylog::store::{Distinct, Place, Range, Selection, Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, AuditRecord, Timestamp, Window};
use uuid::Uuid;

/// Begun and completed, each in batches of so many.
const BATCH: usize = 1_000;
const WRITES: usize = 50_000;

/// Of about 530 bytes as JSON.
fn record(number: usize) -> AuditRecord {
    let mut record =
        AuditRecord::new(Uuid::now_v7(), Timestamp::from_micros(1_743_465_600_000_000 + number as i64 * 997));
    record.exec_env_id = Some(format!("env-{}", number % 10));
    record.user_id = Some(format!("user-{}", number % 1_000));
    record.user_email = Some(format!("user-{}@example.com", number % 1_000));
    record.udf_id = Some(format!("udf-{}", number % 5_000));
    record.udf_name = Some(format!("team/udf-{}", number % 500));
    record.execution_engine = Some("realtime".into());
    record.cache = Some(false);
    record.stdout = Some("x".repeat(60));
    record.stderr = Some(String::new());
    record.shared_token = Some(format!("fc_{}", number % 20_000));
    record.client_ip = Some("192.0.2.7".into());
    record
}

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("durable writes, begun and completed, {WRITES} records in batches of {BATCH}, records a second:");
    for _ in 0..3 {
        let plain = plain(&folder.path().join("plain.db"))?;
        let ours = runtime.block_on(ours(&folder.path().join("ours.db")))?;
        println!("  plain rusqlite {plain:.0}, audit log {ours:.0}: {:.0} %", ours / plain * 100.0);
        for name in ["plain.db", "ours.db"] {
            std::fs::remove_file(folder.path().join(name))?;
        }
    }
    runtime.block_on(pages(&folder.path().join("pages.db"), count))
}

fn batches() -> Vec<(Vec<AuditRecord>, Vec<AuditRecord>)> {
    let begun: Vec<_> = (0..WRITES).map(record).collect();
    let ended = |record: &AuditRecord| AuditRecord { execution_time: Some(0.125), ..record.clone() };
    begun.chunks(BATCH).map(|some| (some.to_vec(), some.iter().map(ended).collect())).collect()
}

async fn ours(path: &Path) -> Result<f64, Box<dyn Error>> {
    let log = AuditLog::new(Sqlite::open(path)?);
    let batches = batches();
    let begin = Instant::now();
    for (begun, ended) in batches {
        log.begin(begun).await?;
        log.put(ended).await?;
    }
    Ok(WRITES as f64 / begin.elapsed().as_secs_f64())
}

/// The same tables and settings, and the least work: an insert, and an update by id.
fn plain(path: &Path) -> Result<f64, Box<dyn Error>> {
    drop(Sqlite::open(path)?);
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let batches = batches();
    let begin = Instant::now();
    for (begun, ended) in batches {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO record (id, timestamp, exec_env_id, user_id, user_email, udf_id, udf_name, \
                 execution_engine, cache, shared_token, client_ip, object_members, ended, stdout, stderr) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, 0, ?12, ?13)",
            )?;
            for r in &begun {
                insert.execute(params![
                    r.id.as_str(),
                    r.timestamp.as_micros(),
                    r.exec_env_id,
                    r.user_id,
                    r.user_email,
                    r.udf_id,
                    r.udf_name,
                    r.execution_engine,
                    r.cache,
                    r.shared_token,
                    r.client_ip,
                    r.stdout,
                    r.stderr
                ])?;
            }
        }
        transaction.commit()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut update =
                transaction.prepare_cached("UPDATE record SET execution_time = ?2, ended = 1 WHERE id = ?1")?;
            for r in &ended {
                update.execute(params![r.id.as_str(), r.execution_time])?;
            }
        }
        transaction.commit()?;
    }
    Ok(WRITES as f64 / begin.elapsed().as_secs_f64())
}

async fn pages(path: &Path, count: usize) -> Result<(), Box<dyn Error>> {
    let log = AuditLog::new(Sqlite::settings(path).synchronous(Synchronous::Normal).open()?);
    for first in (0..count).step_by(2_000) {
        let records = (first..count.min(first + 2_000)).map(|n| AuditRecord { execution_time: Some(0.1), ..record(n) });
        log.put(records.collect()).await?;
    }
    println!("{count} records, {} MB; pages of 100, in microseconds:", std::fs::metadata(path)?.len() / 1_000_000);
    let environment = || "env-3".to_owned();
    for (name, of) in [
        ("by environment", Selection::Environment(environment())),
        ("by user", Selection::User("user-3@example.com".into())),
        ("by name", Selection::UdfName { environment: environment(), value: "team/udf-3".into() }),
    ] {
        for newest_first in [false, true] {
            let mut range = Range::new(of.clone(), Window::ALL).newest_first(newest_first);
            let (mut times, mut read) = (Histogram::<u64>::new(3)?, 0);
            loop {
                let begin = Instant::now();
                let found = log.page(range.clone(), 100).await?;
                times.record(micros(begin.elapsed()))?;
                read += found.records.len();
                let Some(last) = found.records.last().filter(|_| found.more) else { break };
                range = range.behind(Place::of(last));
            }
            let direction = if newest_first { "newest first" } else { "oldest first" };
            let [median, high] = [0.5, 0.99].map(|quantile| times.value_at_quantile(quantile));
            println!("  {name}, {direction}, all {read}: median {median}, p99 {high}, max {}", times.max());
        }
    }
    let mut times = Histogram::<u64>::new(3)?;
    for _ in 0..50 {
        let begin = Instant::now();
        log.latest(Selection::Environment(environment()), Window::ALL, Distinct::Names, 5_000).await?;
        times.record(micros(begin.elapsed()))?;
    }
    println!("  distinct names, 5,000 scanned: median {}, max {}", times.value_at_quantile(0.5), times.max());
    Ok(())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
