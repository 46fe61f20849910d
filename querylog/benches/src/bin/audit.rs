//! The audit log in SQLite beside plain rusqlite: durable writes in batches, the time of a page, and of a response while
//! writes run.
//!
//! `cargo run --release --manifest-path querylog/benches/Cargo.toml --bin audit -- [RECORDS [FOLDER]]`

use std::error::Error;
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
use tagtrail_querylog::store::{Key, Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, Outcome, Record, Timestamp, Window};
use tokio::net::TcpListener;
use uuid::Uuid;

type Failure = Box<dyn Error + Send + Sync>;

/// Begun and completed, each in batches of this size.
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
    println!("durable writes, begun and completed, {WRITES} in batches of {BATCH}, a second:");
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

/// Of about 530 bytes as JSON.
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

/// A request of a service, begun: ten of them are a trace, and it has two tags.
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

/// How many were written in a second, and in a second of CPU time, which tells more where others work beside it.
#[derive(Clone, Copy)]
struct Rate {
    a_second: f64,
    of_cpu: f64,
}

struct Begin(Instant, Duration);

impl Begin {
    fn now() -> Self {
        Self(Instant::now(), cpu())
    }

    fn rate(&self) -> Rate {
        let (time, cpu) = (self.0.elapsed().as_secs_f64(), cpu().saturating_sub(self.1).as_secs_f64());
        Rate { a_second: WRITES as f64 / time, of_cpu: WRITES as f64 / cpu }
    }
}

/// The CPU time of this process.
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
    let begun: Vec<_> = (0..WRITES).map(record).collect();
    let ended = |record: &AuditRecord| AuditRecord { execution_time: Some(0.125), ..record.clone() };
    begun.chunks(BATCH).map(|some| (some.to_vec(), some.iter().map(ended).collect())).collect()
}

async fn our_records(path: &Path) -> Result<Rate, Failure> {
    let log = AuditLog::new(Sqlite::open(path)?);
    let batches = record_batches();
    let begin = Begin::now();
    for (begun, ended) in batches {
        log.begin(begun).await?;
        log.put(ended).await?;
    }
    Ok(begin.rate())
}

async fn our_requests(path: &Path) -> Result<Rate, Failure> {
    let log = AuditLog::new(Sqlite::open(path)?);
    let begun = requests(WRITES);
    let ended: Vec<_> = begun.iter().enumerate().map(|(number, begun)| completed(begun.clone(), number)).collect();
    let begin = Begin::now();
    for (begun, ended) in begun.chunks(BATCH).zip(ended.chunks(BATCH)) {
        log.put_requests(begun).await?;
        log.put_requests(ended).await?;
    }
    Ok(begin.rate())
}

/// The same tables and settings.
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

/// The least work: an insert, and an update by id, each with the number of its commit.
fn plain_records(path: &Path) -> Result<Rate, Failure> {
    let mut connection = open_plain(path)?;
    let batches = record_batches();
    let begin = Begin::now();
    for (begun, ended) in batches {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seq = next_commit(&transaction)?;
        for record in &begun {
            insert(&transaction, record, None)?;
            committed(&transaction, seq, record)?;
        }
        transaction.commit()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seq = next_commit(&transaction)?;
        {
            let mut update =
                transaction.prepare_cached("UPDATE record SET execution_time = ?2, ended = 1 WHERE id = ?1")?;
            for record in &ended {
                update.execute(params![record.id.as_str(), record.execution_time])?;
                committed(&transaction, seq, record)?;
            }
        }
        transaction.commit()?;
    }
    Ok(begin.rate())
}

/// The same for requests. The rows are made of the same structs: audit records, JSON and keys, in the measured time.
fn plain_requests(path: &Path) -> Result<Rate, Failure> {
    let mut connection = open_plain(path)?;
    let begun = requests(WRITES);
    let ended: Vec<_> = begun.iter().enumerate().map(|(number, begun)| completed(begun.clone(), number)).collect();
    let begin = Begin::now();
    for (begun, ended) in begun.chunks(BATCH).zip(ended.chunks(BATCH)) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seq = next_commit(&transaction)?;
        for request in begun {
            let record = request.audit();
            insert(&transaction, &record, Some(&details(request)))?;
            entries(&transaction, &record, &start_keys(request))?;
            committed(&transaction, seq, &record)?;
        }
        transaction.commit()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seq = next_commit(&transaction)?;
        for request in ended {
            let record = request.audit();
            update(&transaction, &record, request)?;
            entries(&transaction, &record, &end_keys(request))?;
            committed(&transaction, seq, &record)?;
        }
        transaction.commit()?;
    }
    Ok(begin.rate())
}

fn update(transaction: &Transaction<'_>, record: &AuditRecord, request: &Record) -> rusqlite::Result<usize> {
    const UPDATE: &str = "UPDATE record SET execution_time = ?2, details = ?3, ended = 1, outcome = ?4, status = ?5, \
                          duration = ?6 WHERE id = ?1";
    transaction.prepare_cached(UPDATE)?.execute(params![
        record.id.as_str(),
        record.execution_time,
        details(request),
        request.response.outcome.map(Outcome::as_str),
        request.response.status,
        request.duration.map(|duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
    ])
}

/// The line of a file, without the members that a store has in columns: as long as what the audit log stores.
fn details(request: &Record) -> String {
    request.to_string().split_off(210)
}

fn next_commit(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    let text = "UPDATE sequence SET last = last + 1 RETURNING last";
    transaction.prepare_cached(text)?.query_row([], |row| row.get(0))
}

fn committed(transaction: &Transaction<'_>, seq: i64, record: &AuditRecord) -> rusqlite::Result<usize> {
    let text = "INSERT INTO committed (seq, id, timestamp) VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(text)?.execute(params![seq, record.id.as_str(), record.timestamp.as_micros()])
}

fn entries(transaction: &Transaction<'_>, record: &AuditRecord, keys: &[Key]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached("INSERT INTO entry (key, timestamp, id) VALUES (?1, ?2, ?3)")?;
    keys.iter().try_for_each(|key| {
        insert.execute(params![key.as_bytes(), record.timestamp.as_micros(), record.id.as_str()]).map(drop)
    })
}

fn environment(request: &Record) -> &str {
    request.notes.caller.exec_env_id.as_deref().unwrap_or_default()
}

fn start_keys(request: &Record) -> Vec<Key> {
    let key = |what: &str, value: &str| Key::of(&["environment", environment(request), what, value]);
    let mut keys = vec![key("trace", &request.trace_id.to_string())];
    keys.extend(
        request.tags.iter().map(|(name, value)| Key::of(&["environment", environment(request), "tag", name, value])),
    );
    keys.extend(request.request.route.as_deref().map(|route| key("route", route)));
    keys
}

fn end_keys(request: &Record) -> Vec<Key> {
    let key = |what: &str, value: &str| Key::of(&["environment", environment(request), what, value]);
    let status = request.response.status.unwrap_or_default();
    vec![key("status", &status.to_string()), key("class", &(status / 100).to_string())]
}

/// Half of the records are requests.
async fn fill(log: &AuditLog, count: usize) -> Result<(), Failure> {
    let mut trail = None;
    let begin = Instant::now();
    for first in (0..count).step_by(2_000) {
        let numbers = first..count.min(first + 2_000);
        let records = numbers.clone().filter(|number| number % 20 >= 10);
        let records = records.map(|number| AuditRecord { execution_time: Some(0.1), ..record(number) });
        let requests = numbers.filter(|number| number % 20 < 10);
        let requests: Vec<_> = requests.map(|number| completed(request(number, &mut trail), number)).collect();
        log.put(records.collect()).await?;
        log.put_requests(&requests).await?;
    }
    println!("{count} records, half of them requests, put in {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

async fn pages(path: &Path, count: usize) -> Result<(), Failure> {
    let log = AuditLog::new(Sqlite::builder(path).synchronous(Synchronous::Normal).open()?);
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
    let begin = Instant::now();
    let done = work.await;
    times.record(u64::try_from(begin.elapsed().as_micros())?)?;
    Ok(done)
}

/// The first byte of responses over a socket, while requests are put as fast as they can be.
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
                let begun: Vec<_> = (first..first + BATCH).map(|number| request(number, &mut trail)).collect();
                log.put_requests(&begun).await?;
                let ended: Vec<_> =
                    begun.into_iter().zip(first..).map(|(begun, number)| completed(begun, number)).collect();
                log.put_requests(&ended).await?;
                written.fetch_add(BATCH, Relaxed);
            }
            Ok::<_, Failure>(())
        }
    });
    let client = reqwest::Client::new();
    let begin = Instant::now();
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
        written.load(Relaxed) as f64 / begin.elapsed().as_secs_f64()
    );
    server.abort();
    Ok(())
}

/// The resident memory of this process, in MB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1_000
}
