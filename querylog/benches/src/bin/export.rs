//! Exports of the audit log from SQLite: records a second, the share of gzip, memory, and what writes lose meanwhile.
//!
//! `cargo run --release --manifest-path querylog/benches/Cargo.toml --bin export -- [RECORDS]`

use std::error::Error;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::client::{ExportClient, ExportOutcome};
use tagtrail_querylog::export::{ExportFiles, ExportService};
use tagtrail_querylog::record::export_counters;
use tagtrail_querylog::server::ExportApi;
use tagtrail_querylog::store::{Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, Outcome, Record, Timestamp};
use tokio::net::TcpListener;

const START: i64 = 1_743_465_600_000_000;
const APART: i64 = 997;
const TOKENS: &str = r#"{"tokens": [{"token": "key", "kind": "account", "region_groups": ["us-std"]}]}"#;

/// Of about 550 bytes as an exported line.
fn record(number: usize) -> Record {
    let tags: Tags = format!("project=shop,env=prod,user=u{}", number % 1_000).parse().expect("tags");
    let mut record =
        Record::new(&Trail::start(Sample::Always).with_tags(tags), format!("/products/{}", number % 5_000));
    record.start_time = Timestamp::from_micros(START + number as i64 * APART);
    record.request.route = Some("/products/{id}".into());
    record.request.headers = vec![(http::header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:126.0)".into())];
    record.request.body_bytes = 120;
    record.response.status = Some(if number % 50 == 0 { 404 } else { 200 });
    record.response.body_bytes = 2_000 + number as u64 % 1_000;
    record.client_ip = Some([192, 0, 2, 7].into());
    record.host = Some("app-7".into());
    record.notes.caller.exec_env_id = Some("env1".into());
    record.notes.region_group = Some("us-std".into());
    record.notes.database = vec!["ECommerce".into()];
    record.notes.add(export_counters::BYTE_READ_OPS, number as u64 % 40);
    record.notes.add(export_counters::COMPUTE_OPS, 1);
    record.end(Duration::from_micros(1_000 + number as u64 % 20_000), Outcome::Complete);
    record
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let log = AuditLog::new(Sqlite::builder(folder.path().join("audit.db")).synchronous(Synchronous::Normal).open()?);
    let begin = Instant::now();
    for first in (0..count).step_by(2_000) {
        log.put_requests(&(first..count.min(first + 2_000)).map(record).collect::<Vec<_>>()).await?;
    }
    let megabytes = std::fs::metadata(folder.path().join("audit.db"))?.len() / 1_000_000;
    println!("{count} records, {megabytes} MB, put in {:.0?}; memory at most {} MB", begin.elapsed(), memory()?);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let files = ExportFiles::folder(folder.path().join("exports"))?;
    let exports = ExportService::builder(log.clone(), files, &format!("{url}/api/v1"))?.start().await?;
    let api = ExportApi::new(exports, TOKENS.parse::<Tokens>()?).await?;
    tokio::spawn(async move { axum::serve(listener, api.router_with_fallback()).await });
    let client = ExportClient::new(&url, "key")?;

    let path = folder.path().join("logs.jsonl.gz");
    for _ in 0..3 {
        let begin = Instant::now();
        let file = export(&client, count).await?;
        let time = begin.elapsed();
        let downloaded = file.save(&path).await?;
        assert_eq!(downloaded.lines, count as u64);
        let rate = count as f64 / time.as_secs_f64();
        println!(
            "exported in {time:.2?}: {rate:.0} records a second, {} MB of gzip; memory at most {} MB; \
             download and check in {:.2?}",
            downloaded.bytes / 1_000_000,
            memory()?,
            begin.elapsed() - time,
        );
    }
    gzip_alone(&path, count)?;

    // What is written meanwhile is durable.
    let written = AuditLog::new(Sqlite::open(folder.path().join("audit.db"))?);
    for _ in 0..3 {
        let alone = writes(&written, count, &AtomicBool::new(true)).await?;
        let exporting = Arc::new(AtomicBool::new(true));
        let (client, flag) = (client.clone(), Arc::clone(&exporting));
        let beside = tokio::spawn(async move {
            let mut exported = 0;
            while flag.load(Relaxed) {
                exported += export(&client, count).await.map(|_| count).unwrap_or_default();
            }
            exported
        });
        let begin = Instant::now();
        let with = writes(&written, count, &exporting).await?;
        let exported = beside.await? as f64 / begin.elapsed().as_secs_f64();
        println!(
            "durable writes, records a second: {alone:.0} alone, {with:.0} beside an export ({:.0} %), which made \
             {exported:.0}",
            with / alone * 100.0
        );
    }
    Ok(())
}

async fn export(client: &ExportClient, count: usize) -> Result<tagtrail_querylog::client::ExportedFile, String> {
    let (start, end) = (Timestamp::from_micros(START), Timestamp::from_micros(START + count as i64 * APART));
    let scope = "us-std".parse().map_err(|_| "no scope")?;
    match client.export(scope, start, end).poll_every(Duration::from_millis(20)).wait().await {
        Ok(ExportOutcome::Complete(file)) => Ok(file),
        other => Err(format!("{other:?}")),
    }
}

/// Records of after the range, for five seconds, as a service writes them: in batches of 500. Says when it ends.
async fn writes(log: &AuditLog, count: usize, going_on: &AtomicBool) -> Result<f64, Box<dyn Error>> {
    let batches: Vec<Vec<Record>> =
        (0..40).map(|batch| (0..500).map(|number| record(count + batch * 500 + number)).collect()).collect();
    let (begin, mut written) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(5) {
        for batch in &batches {
            let mut batch = batch.clone();
            batch.iter_mut().for_each(|record| record.id = uuid::Uuid::now_v7());
            log.put_requests(&batch).await?;
            written += batch.len();
            if begin.elapsed() > Duration::from_secs(5) {
                break;
            }
        }
    }
    going_on.store(false, Relaxed);
    Ok(written as f64 / begin.elapsed().as_secs_f64())
}

/// The same lines, compressed on one thread, and nothing else.
fn gzip_alone(path: &std::path::Path, count: usize) -> Result<(), Box<dyn Error>> {
    let mut lines = Vec::new();
    GzDecoder::new(std::fs::File::open(path)?).take(200 << 20).read_to_end(&mut lines)?;
    let records = lines.iter().filter(|&&byte| byte == b'\n').count();
    let begin = Instant::now();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in lines.chunks(1 << 20) {
        gzip.write_all(piece)?;
        gzip.get_mut().clear();
    }
    gzip.finish()?;
    let rate = records as f64 / begin.elapsed().as_secs_f64();
    println!("gzip alone, of {records} of {count}: {rate:.0} records a second; {} bytes a line", lines.len() / records);
    Ok(())
}

/// The most memory that this process had, in megabytes.
fn memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_000)
}
