//! The audit log in SQLite, compared with plain rusqlite: durable writes in batches, the time of a page, and of a
//! response during writes.
//!
//! `cargo run --release --manifest-path querylog/benches/Cargo.toml --bin audit -- [RECORDS [FOLDER]]`

use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::{
    AuditRecord, Distinct, Latest, Order, Questions, RecordQuery, RequestFilter, Scan, StatusMatch, Whose,
};
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::store::{Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, Outcome, Record, Timestamp, Window};
use tokio::net::TcpListener;
use uuid::Uuid;

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

/// Returns a record of about 530 bytes as JSON.
fn record(number: usize) -> AuditRecord {
    let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::from_micros(START + number as i64 * 997));
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

/// Returns a request that has started. Ten requests form a trace, and each has two tags.
fn request(number: usize, trails: &mut Option<Trail>) -> Record {
    if number % 10 == 0 {
        *trails = None;
    }
    let tags = || format!("project=p{},env=prod", number / 30 % 20).parse::<Tags>().unwrap_or_default();
    let trail = trails.get_or_insert_with(|| Trail::start(Sample::Always).with_tags(tags()));
    let mut record = Record::new(trail, format!("/route-{}/{number}", number % 50));
    record.start_time = Timestamp::from_micros(START + number as i64 * 997);
    record.request.route = Some(format!("/route-{}/{{id}}", number % 50));
    record.notes.caller.exec_env_id = Some(format!("env-{}", number / 20 % 10));
    record.notes.caller.user_id = Some(format!("user-{}", number % 1_000));
    record.notes.caller.user_email = Some(format!("user-{}@example.com", number % 1_000));
    record
}

fn completed(mut request: Record, number: usize) -> Record {
    request.response.status = Some(if number % 31 == 0 { 503 } else { 200 });
    request.end(Duration::from_micros(1_234), Outcome::Complete);
    request
}

fn requests(count: usize) -> Vec<Record> {
    let mut trail = None;
    (0..count).map(|number| request(number, &mut trail)).collect()
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

fn record_batches() -> Vec<(Vec<AuditRecord>, Vec<AuditRecord>)> {
    let started: Vec<_> = (0..WRITES).map(record).collect();
    let ended = |record: &AuditRecord| AuditRecord { execution_time: Some(0.125), ..record.clone() };
    started.chunks(BATCH).map(|some| (some.to_vec(), some.iter().map(ended).collect())).collect()
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

/// Opens a file with the same tables and settings.
fn open_plain(path: &Path) -> Result<Connection, Failure> {
    drop(Sqlite::open(path)?);
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -64 * 1_024)?;
    Ok(connection)
}

const INSERT: &str = "INSERT INTO record (id, timestamp, exec_env_id, user_id, user_email, udf_id, udf_name, \
                      execution_engine, cache, shared_token, client_ip, object_members, ended, stdout, stderr, details) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, 0, ?12, ?13, ?14)";

fn insert(transaction: &Transaction<'_>, r: &AuditRecord, details: Option<&str>) -> rusqlite::Result<usize> {
    transaction.prepare_cached(INSERT)?.execute(params![
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
        r.stderr,
        details
    ])
}

/// Measures the least work: an insert, and an update by id.
fn plain_records(path: &Path) -> Result<Rate, Failure> {
    let mut connection = open_plain(path)?;
    let batches = record_batches();
    let start = Start::now();
    for (started, ended) in batches {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for record in &started {
            insert(&transaction, record, None)?;
        }
        transaction.commit()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut update =
                transaction.prepare_cached("UPDATE record SET execution_time = ?2, ended = 1 WHERE id = ?1")?;
            for record in &ended {
                update.execute(params![record.id.as_str(), record.execution_time])?;
            }
        }
        transaction.commit()?;
    }
    Ok(start.rate())
}

/// Measures the same for requests, whose details and keys are prepared: an insert with the keys of the start, and an
/// update with those of the end.
fn plain_requests(path: &Path) -> Result<Rate, Failure> {
    struct Plain {
        record: AuditRecord,
        details: String,
        keys: Vec<[u8; 16]>,
        new_keys: Vec<[u8; 16]>,
    }
    let mut connection = open_plain(path)?;
    let plain = requests(WRITES).into_iter().enumerate().map(|(number, request)| {
        let env = request.notes.caller.exec_env_id.clone().unwrap_or_default();
        let mut keys = vec![key(&(&env, "trace", request.trace_id)), key(&(&env, "route", &request.request.route))];
        keys.extend(request.tags.iter().map(|tag| key(&(&env, tag))));
        let request = completed(request, number);
        let status = request.response.status;
        let new_keys = vec![key(&(&env, status)), key(&(&env, "class", status.map(|status| status / 100)))];
        // As long as the details.
        let details = request.to_string()[210..].to_owned();
        Plain { record: request.audit(), details, keys, new_keys }
    });
    let plain: Vec<_> = plain.collect();
    let start = Start::now();
    for batch in plain.chunks(BATCH) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Plain { record, details, keys, .. } in batch {
            insert(&transaction, record, Some(details))?;
            entries(&transaction, record, keys)?;
        }
        transaction.commit()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut update = transaction
            .prepare_cached("UPDATE record SET execution_time = ?2, details = ?3, ended = 1 WHERE id = ?1")?;
        for Plain { record, details, new_keys, .. } in batch {
            update.execute(params![record.id.as_str(), record.execution_time, details])?;
            entries(&transaction, record, new_keys)?;
        }
        drop(update);
        transaction.commit()?;
    }
    Ok(start.rate())
}

fn entries(transaction: &Transaction<'_>, record: &AuditRecord, keys: &[[u8; 16]]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached("INSERT INTO entry (key, timestamp, id) VALUES (?1, ?2, ?3)")?;
    keys.iter()
        .try_for_each(|key| insert.execute(params![key, record.timestamp.as_micros(), record.id.as_str()]).map(drop))
}

fn key(what: &impl Hash) -> [u8; 16] {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    let half = hasher.finish();
    (u128::from(half) << 64 | u128::from(half)).to_be_bytes()
}

/// Puts records, half of which are requests.
async fn fill(log: &AuditLog, count: usize) -> Result<(), Failure> {
    let mut trail = None;
    let start = Instant::now();
    for first in (0..count).step_by(2_000) {
        let numbers = first..count.min(first + 2_000);
        let records = numbers.clone().filter(|number| number % 20 >= 10);
        let records = records.map(|number| AuditRecord { execution_time: Some(0.1), ..record(number) });
        let requests = numbers.filter(|number| number % 20 < 10);
        let requests: Vec<_> = requests.map(|number| completed(request(number, &mut trail), number)).collect();
        log.put(records.collect()).await?;
        log.put_requests(&requests).await?;
    }
    println!("{count} records, half of them requests, put in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

async fn pages(path: &Path, count: usize) -> Result<(), Failure> {
    let log = AuditLog::new(Sqlite::settings(path).synchronous(Synchronous::Normal).open()?);
    fill(&log, count).await?;
    println!("a file of {} MB, {} MB of memory", std::fs::metadata(path)?.len() / 1_000_000, memory());
    println!("pages of 100, in microseconds:");
    let scoped = log.scoped("env-3").of_user("user-13@example.com");
    for (name, query) in [
        ("by environment", RecordQuery::Environment),
        ("by user", RecordQuery::Own),
        ("by name", RecordQuery::OperationName("team/udf-13".into())),
    ] {
        for newest_first in [false, true] {
            let mut scan = Scan::new(query.clone(), Window::ALL).order(order(newest_first));
            let mut times = Times::new()?;
            loop {
                let page = times.time(scoped.records(&scan, 100)).await??;
                times.read += page.items.len();
                let Some(next) = page.next else { break };
                scan = scan.after(next);
            }
            times.show(name, newest_first);
        }
    }
    let one = scoped.requests(&Scan::new(RequestFilter::new().status(StatusMatch::Code(200)), Window::ALL), 1).await?;
    let trace = one.items.first().map(|request| request.trace_id).ok_or("no request")?;
    let of = RequestFilter::new;
    for (name, of) in [
        ("by tag", of().tag("project", "p2")),
        ("by route", of().route("/route-12/{id}")),
        ("by status 503", of().status(StatusMatch::Code(503))),
        ("by status 200", of().status(StatusMatch::Code(200))),
        ("by tag, class and route", of().tag("project", "p2").status(StatusMatch::Class(5)).route("/route-12/{id}")),
    ] {
        for newest_first in [false, true] {
            let mut scan = Scan::new(of.clone(), Window::ALL).order(order(newest_first));
            let mut times = Times::new()?;
            loop {
                let page = times.time(scoped.requests(&scan, 100)).await??;
                times.read += page.items.len();
                let Some(next) = page.next else { break };
                scan = scan.after(next);
            }
            times.show(name, newest_first);
        }
    }
    let mut times = Times::new()?;
    for _ in 0..1_000 {
        times.read += times_of(&mut times.histogram, scoped.trace(trace)).await??.requests.len();
    }
    times.show("a trace of ten", false);
    let mut times = Times::new()?;
    for _ in 0..200 {
        let question = Latest::new(Distinct::Names, Whose::Environment, Window::ALL).read_at_most(5_000);
        let latest = times_of(&mut times.histogram, scoped.latest(&question));
        times.read += latest.await??.len();
    }
    times.show("distinct names, 5,000 scanned", true);
    responses(log, trace.to_string(), count).await?;
    println!("{} MB of memory", memory());
    Ok(())
}

fn order(newest_first: bool) -> Order {
    if newest_first { Order::NewestFirst } else { Order::OldestFirst }
}

struct Times {
    histogram: Histogram<u64>,
    read: usize,
}

impl Times {
    fn new() -> Result<Self, Failure> {
        Ok(Self { histogram: Histogram::new(3)?, read: 0 })
    }

    async fn time<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        times_of(&mut self.histogram, work).await
    }

    fn show(&self, name: &str, newest_first: bool) {
        let direction = if newest_first { "newest first" } else { "oldest first" };
        let [median, high] = [0.5, 0.99].map(|quantile| self.histogram.value_at_quantile(quantile));
        let (pages, read, most) = (self.histogram.len(), self.read, self.histogram.max());
        println!("  {name}, {direction}: {pages} pages of {read}: median {median}, p99 {high}, max {most}");
    }
}

async fn times_of<T>(times: &mut Histogram<u64>, work: impl Future<Output = T>) -> Result<T, Failure> {
    let start = Instant::now();
    let done = work.await;
    times.record(u64::try_from(start.elapsed().as_micros())?)?;
    Ok(done)
}

/// Measures the first byte of responses over a socket, while requests are put as fast as possible.
async fn responses(log: AuditLog, trace: String, count: usize) -> Result<(), Failure> {
    let tokens = r#"{"tokens": [{"token": "t", "kind": "user", "user_id": "user-13", "user_email": "user-13@example.com",
                     "exec_env_id": "env-3"}]}"#;
    let api = AuditApi::new(log.clone(), tokens.parse::<Tokens>()?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}/v1", listener.local_addr()?);
    let server = tokio::spawn(async move { axum::serve(listener, api.router_with_fallback()).await });
    let ended = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn({
        let (ended, written) = (Arc::clone(&ended), Arc::clone(&written));
        async move {
            let mut trail = None;
            while !ended.load(Relaxed) {
                let first = count + written.load(Relaxed);
                let started: Vec<_> = (first..first + BATCH).map(|number| request(number, &mut trail)).collect();
                log.put_requests(&started).await?;
                let ended: Vec<_> =
                    started.into_iter().zip(first..).map(|(started, number)| completed(started, number)).collect();
                log.put_requests(&ended).await?;
                written.fetch_add(BATCH, Relaxed);
            }
            Ok::<_, Failure>(())
        }
    });
    let client = reqwest::Client::new();
    let start = Instant::now();
    println!("the first byte of responses while requests are put, in microseconds:");
    for path in [
        "/log/self?limit=300".to_owned(),
        "/log/exec-env/self?limit=300&scan_forward=False".to_owned(),
        "/log/by-udf-name/team/udf-13?limit=300".to_owned(),
        "/log/distinct-udf-names/exec-env/self?max_records_to_scan=5000".to_owned(),
        "/requests?tag=project=p2&limit=300".to_owned(),
        format!("/traces/{trace}"),
    ] {
        let mut times = Times::new()?;
        for _ in 0..200 {
            let request = client.get(format!("{base}{path}")).bearer_auth("t");
            let response = times.time(request.send()).await??.error_for_status()?;
            times.read += response.bytes().await?.len();
        }
        let [median, high] = [0.5, 0.99].map(|quantile| times.histogram.value_at_quantile(quantile));
        println!("  {path}: median {median}, p99 {high}, max {}", times.histogram.max());
    }
    ended.store(true, Relaxed);
    writer.await??;
    println!(
        "  meanwhile {:.0} requests a second were put",
        written.load(Relaxed) as f64 / start.elapsed().as_secs_f64()
    );
    server.abort();
    Ok(())
}

/// Returns the resident memory of this process, in MB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1_000
}
