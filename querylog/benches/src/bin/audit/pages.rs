//! The times of pages and responses.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use hdrhistogram::Histogram;
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::{
    AuditRecord, Distinct, Latest, Order, Questions, RecordQuery, RequestFilter, Scan, StatusMatch, Whose,
};
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::store::{Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, Window};
use tokio::net::TcpListener;

use crate::sample::{completed, record, request};
use crate::{BATCH, Failure};

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

pub(crate) async fn pages(path: &Path, count: usize) -> Result<(), Failure> {
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
