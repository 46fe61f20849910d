//! The times of pages.

use std::error::Error;
use std::time::Instant;

use hdrhistogram::Histogram;
use tagtrail_querylog::audit::{
    Distinct, Latest, Order, Questions, RecordQuery, RequestFilter, Scan, StatusMatch, Whose,
};
use tagtrail_querylog::{Record, Window};

use crate::{Result, Server, ended, requests};

pub(crate) async fn pages(server: &Server, count: usize) -> Result<()> {
    let schema = server.schema("pages").await?;
    let log = schema.log().await?;
    let start = Instant::now();
    let mut traces = Vec::new();
    for first in (0..count).step_by(2_000) {
        let records = requests(first, 2_000.min(count - first));
        let records: Vec<Record> = records.into_iter().map(|(number, record)| ended(record, number)).collect();
        if first % 20_000 == 0 {
            traces.push((records[0].notes.caller.exec_env_id.clone().unwrap_or_default(), records[0].trace_id));
        }
        log.put_requests(&records).await?;
    }
    let written = start.elapsed();
    schema.plain.batch_execute("VACUUM ANALYZE record").await?;
    schema.plain.batch_execute("VACUUM ANALYZE entry").await?;
    let size = "SELECT sum(pg_total_relation_size(oid))::BIGINT FROM pg_class
                WHERE relkind = 'r' AND relnamespace = current_schema()::REGNAMESPACE";
    let size: i64 = schema.plain.query_one(size, &[]).await?.get(0);
    println!("{count} requests, put in {} s, {} MB; times in microseconds:", written.as_secs(), size / 1_000_000);

    let statement = schema.plain.prepare("SELECT 1").await?;
    let mut times = Times::new("a round trip (SELECT 1)")?;
    for _ in 0..1_000 {
        times.of(schema.plain.query(&statement, &[])).await?;
    }
    times.show();

    let scoped = log.scoped("env-3").of_user("user-3@example.com");
    for (name, query) in [
        ("page of 100 by environment", RecordQuery::Environment),
        ("page of 100 by user", RecordQuery::Own),
        ("page of 100 by name", RecordQuery::OperationName("team/udf-3".into())),
    ] {
        for (order, direction) in [(Order::OldestFirst, "oldest first"), (Order::NewestFirst, "newest first")] {
            let mut scan = Scan::new(query.clone(), Window::ALL).order(order);
            let mut times = Times::new(&format!("{name}, {direction}, every page"))?;
            loop {
                let Some(next) = times.of(scoped.records(&scan, 100)).await?.next else { break };
                scan = scan.after(next);
            }
            times.show();
        }
    }
    let of = RequestFilter::new;
    for (name, of) in [
        ("page of 100 by tag", of().tag("project", "p3")),
        ("page of 100 by tag and status", of().tag("env", "prod").status(StatusMatch::Code(404))),
    ] {
        let mut times = Times::new(&format!("{name}, newest first, every page"))?;
        let mut scan = Scan::new(of, Window::ALL).order(Order::NewestFirst);
        while let Some(next) = times.of(scoped.requests(&scan, 100)).await?.next {
            scan = scan.after(next);
        }
        times.show();
    }
    let mut times = Times::new("a whole trace")?;
    for (environment, trace) in traces.iter().cycle().take(500) {
        times.of(log.scoped(environment).trace(*trace)).await?;
    }
    times.show();
    let mut times = Times::new("distinct names, 5,000 scanned")?;
    for _ in 0..100 {
        let question = Latest::new(Distinct::Names, Whose::Environment, Window::ALL).read_at_most(5_000);
        times.of(scoped.latest(&question)).await?;
    }
    times.show();
    schema.end().await
}

struct Times {
    name: String,
    times: Histogram<u64>,
}

impl Times {
    fn new(name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), times: Histogram::new(3)? })
    }

    async fn of<T, E: Error + Send + Sync + 'static>(
        &mut self,
        work: impl Future<Output = std::result::Result<T, E>>,
    ) -> Result<T> {
        let start = Instant::now();
        let done = work.await?;
        self.times.record(u64::try_from(start.elapsed().as_micros())?)?;
        Ok(done)
    }

    fn show(&self) {
        let [median, high] = [0.5, 0.99].map(|quantile| self.times.value_at_quantile(quantile));
        let Self { name, times } = self;
        println!("  {name} ({}): median {median}, p99 {high}, max {}", times.len(), times.max());
    }
}
