//! The audit log in PostgreSQL beside plain SQL: durable writes of requests in batches, and the time of a page.
//!
//! `.ci/with-postgres cargo run --release --manifest-path querylog/benches/Cargo.toml --bin postgres -- [RECORDS] [month|day]`

use std::error::Error;
use std::hint::black_box;
use std::pin::pin;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::audit::{
    Distinct, Latest, Order, Questions, RecordQuery, RequestFilter, Scan, StatusMatch, Whose,
};
use tagtrail_querylog::store::{Key, Partition, Postgres, PostgresBuilder};
use tagtrail_querylog::{AuditLog, Outcome, Record, Timestamp, Window};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Begun and completed, each in batches of this size.
const BATCH: usize = 1_000;
const WRITES: usize = 99 * BATCH;
/// The first of January 2025.
const START: i64 = 1_735_689_600_000_000;

const COLUMNS: &str = "id, timestamp, exec_env_id, user_id, user_email, udf_id, udf_name, execution_engine, \
                       execution_time, cache, shared_token, client_ip, object, object_members, ended, details, stdout, \
                       stderr, udf_data, service, outcome, status, duration";
const ARRAYS: &str = "$1::BYTEA[], $2::BIGINT[], $3::BYTEA[], $4::BYTEA[], $5::BYTEA[], $6::BYTEA[], $7::BYTEA[], \
                      $8::BYTEA[], $9::DOUBLE PRECISION[], $10::BOOLEAN[], $11::BYTEA[], $12::BYTEA[], $13::BYTEA[], \
                      $14::BIGINT[], $15::BOOLEAN[], $16::BYTEA[], $17::BYTEA[], $18::BYTEA[], $19::BYTEA[], $20::BYTEA[], $21::TEXT[], $22::SMALLINT[], \
                      $23::BIGINT[]";

/// A request that has begun.
fn begun(number: usize, trail: &Trail) -> Record {
    let mut record = Record::new(trail, &format!("/projects/{}/rollup", number % 5_000));
    record.start_time = Timestamp::from_micros(START + number as i64 * 60_000_000);
    record.request.route = Some(format!("/projects/{{id}}/{}", number % 50));
    record.client_ip = Some([192, 0, 2, 7].into());
    let notes = &mut record.notes;
    notes.caller.exec_env_id = Some(format!("env-{}", number % 10));
    notes.caller.user_id = Some(format!("user-{}", number % 1_000));
    notes.caller.user_email = Some(format!("user-{}@example.com", number % 1_000));
    notes.operation.id = Some(format!("udf-{}", number % 5_000));
    notes.operation.name = Some(format!("team/udf-{}", number % 500));
    notes.operation.engine = Some("realtime".into());
    notes.operation.cache = Some(false);
    notes.shared_token = Some(format!("fc_{}", number % 20_000));
    notes.stdout = Some("x".repeat(60));
    notes.stderr = Some(String::new());
    record
}

fn ended(mut record: Record, number: usize) -> Record {
    record.response.status = Some([200, 200, 200, 200, 200, 201, 304, 404, 200, 503][number / 10 % 10]);
    record.end(Duration::from_millis(125), Outcome::Complete);
    record
}

/// Traces have four requests, with two tags each.
fn requests(first: usize, count: usize) -> Vec<(usize, Record)> {
    let mut trail = Trail::start(Sample::Always);
    let traced = |number: usize| {
        if number % 4 == 0 || number == first {
            let tags: Tags = format!("project=p{},env=prod", number / 4 % 100).parse().expect("two tags");
            trail = Trail::start(Sample::Always).with_tags(tags);
        }
        (number, begun(number, &trail))
    };
    (first..first + count).map(traced).collect()
}

struct Server {
    url: String,
    partition: Option<Partition>,
}

/// A schema of its own: its tables, and a connection that knows nothing of this crate.
struct Schema {
    settings: PostgresBuilder,
    plain: Client,
    name: String,
}

impl Server {
    async fn schema(&self, name: &str) -> Result<Schema> {
        let (plain, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        plain.batch_execute(&format!("CREATE SCHEMA {name}; SET search_path = {name}")).await?;
        let and = if self.url.contains('?') { '&' } else { '?' };
        let settings = Postgres::builder(&format!("{}{and}options=-c%20search_path%3D{name}", self.url));
        let settings = match self.partition {
            Some(partition) => settings.partition_by(partition),
            None => settings,
        };
        Ok(Schema { settings, plain, name: name.to_owned() })
    }
}

impl Schema {
    async fn log(&self) -> Result<AuditLog> {
        Ok(AuditLog::new(self.settings.clone().connect().await?))
    }

    async fn end(self) -> Result<()> {
        Ok(self.plain.batch_execute(&format!("DROP SCHEMA {} CASCADE; CHECKPOINT", self.name)).await?)
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let count = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let partition = match std::env::args().nth(2).as_deref() {
        None => None,
        Some("month") => Some(Partition::Month),
        Some("day") => Some(Partition::Day),
        Some(_) => return Err("the second argument is month, or day, or none".into()),
    };
    let url = std::env::var("TAGTRAIL_TEST_POSTGRES").map_err(|_| "TAGTRAIL_TEST_POSTGRES has no URL of a server")?;
    let server = Server { url, partition };
    writes(&server).await?;
    pages(&server, count).await
}

/// The three take turns, batch by batch, so that all have the same share of what else the machine does.
async fn writes(server: &Server) -> Result<()> {
    let begun = requests(0, WRITES);
    let ended: Vec<Record> = begun.iter().map(|(number, record)| ended(record.clone(), *number)).collect();
    let begun: Vec<Record> = begun.into_iter().map(|(_, record)| record).collect();
    // What plain SQL writes: the same rows, which are read from the tables.
    let schema = server.schema("ours").await?;
    let log = schema.log().await?;
    log.put_requests(&begun).await?;
    let at_begin = Rows::read(&schema.plain).await?;
    log.put_requests(&ended).await?;
    let mut at_end = Rows::read(&schema.plain).await?;
    at_end.without_entries_of(&at_begin);
    let size = "SELECT avg(pg_column_size(record))::BIGINT FROM record";
    let size: i64 = schema.plain.query_one(size, &[]).await?.get(0);
    schema.end().await?;

    let schema = server.schema("ours").await?;
    let mut plain = server.schema("plain").await?;
    let mut copied = server.schema("copied").await?;
    let some: Vec<Record> = ended.iter().step_by(BATCH).cloned().collect();
    for schema in [&schema, &plain, &copied] {
        // Makes the tables, and their partitions.
        schema.log().await?.put_requests(&some).await?;
        schema.plain.batch_execute("TRUNCATE record, entry, committed").await?;
    }
    let log = schema.log().await?;
    let statements = Statements::prepare(&plain.plain).await?;
    let mut times = [Duration::ZERO; 3];
    for (batch, (begun, ended)) in begun.chunks(BATCH).zip(ended.chunks(BATCH)).enumerate() {
        for turn in 0..3 {
            let whose = (batch + turn) % 3;
            let start = Instant::now();
            match whose {
                0 => {
                    log.put_requests(begun).await?;
                    log.put_requests(ended).await?;
                }
                1 => {
                    begun.iter().chain(ended).for_each(build);
                    statements.write(&mut plain.plain, batch, &at_begin, &at_end).await?;
                }
                _ => {
                    ended.iter().for_each(build);
                    copy_batch(&mut copied.plain, batch, &at_begin, &at_end).await?;
                }
            }
            times[whose] += start.elapsed();
        }
    }
    let [ours, by_hand, copy] = times.map(|time| WRITES as f64 / time.as_secs_f64());
    println!(
        "durable writes of {WRITES} requests of {size} bytes in batches of {BATCH}, one after the other, a second: \
         INSERT and UPDATE {by_hand:.0}, COPY of what has ended {copy:.0}, audit log {ours:.0}: {:.0} % of INSERT and \
         UPDATE, {:.0} % of COPY",
        ours / by_hand * 100.0,
        ours / copy * 100.0
    );
    for schema in [schema, plain, copied] {
        schema.end().await?;
    }
    Ok(())
}

/// What it takes to make the row of a request from its struct: the audit record, the JSON and the keys. The others write
/// rows that are ready, after the same work.
fn build(request: &Record) {
    let key = |what: &str, value: &str| black_box(Key::of(&["environment", "env1", what, value]));
    black_box((request.audit(), request.to_string()));
    key("trace", &request.trace_id.to_string());
    for (name, value) in request.tags.iter() {
        key(name, value);
    }
    key("route", request.request.route.as_deref().unwrap_or_default());
    if let Some(status) = request.response.status {
        key("status", &status.to_string());
        key("class", &(status / 100).to_string());
    }
}

/// The rows of the two tables, in the order in which the records were made.
struct Rows {
    records: Vec<Row>,
    entries: Vec<Vec<Row>>,
}

impl Rows {
    async fn read(client: &Client) -> Result<Self> {
        let records = client.query(&format!("SELECT {COLUMNS} FROM record ORDER BY timestamp, id"), &[]).await?;
        let all = client.query("SELECT key, timestamp, id FROM entry ORDER BY timestamp, id, key", &[]).await?;
        let mut entries: Vec<Vec<Row>> = records.chunks(BATCH).map(|_| Vec::new()).collect();
        let mut batch = 0;
        for row in all {
            let time: i64 = row.get(1);
            while time > records[((batch + 1) * BATCH).min(records.len()) - 1].get::<_, i64>(1) {
                batch += 1;
            }
            entries[batch].push(row);
        }
        for some in &mut entries {
            some.sort_by(|one, other| one.get::<_, &[u8]>(0).cmp(other.get(0)));
        }
        Ok(Self { records, entries })
    }

    fn batch(&self, batch: usize) -> &[Row] {
        &self.records[batch * BATCH..(batch + 1) * BATCH]
    }

    fn without_entries_of(&mut self, before: &Self) {
        fn whole(row: &Row) -> (&[u8], &[u8]) {
            (row.get(0), row.get(2))
        }
        for (some, before) in self.entries.iter_mut().zip(&before.entries) {
            let before: std::collections::HashSet<_> = before.iter().map(whole).collect();
            some.retain(|row| !before.contains(&whole(row)));
        }
    }
}

/// Rows, column by column.
fn columns(rows: &[Row]) -> Vec<Box<dyn ToSql + Sync + Send + '_>> {
    fn column<'a, T: tokio_postgres::types::FromSql<'a>>(rows: &'a [Row], place: usize) -> Vec<Option<T>> {
        rows.iter().map(|row| row.get(place)).collect()
    }
    let boxed = |place: usize| -> Box<dyn ToSql + Sync + Send + '_> {
        match *rows[0].columns()[place].type_() {
            Type::INT8 => Box::new(column::<i64>(rows, place)),
            Type::INT2 => Box::new(column::<i16>(rows, place)),
            Type::TEXT => Box::new(column::<&str>(rows, place)),
            Type::FLOAT8 => Box::new(column::<f64>(rows, place)),
            Type::BOOL => Box::new(column::<bool>(rows, place)),
            _ => Box::new(column::<&[u8]>(rows, place)),
        }
    };
    (0..rows[0].len()).map(boxed).collect()
}

fn references<'a>(columns: &'a [Box<dyn ToSql + Sync + Send + '_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    columns.iter().map(|column| &**column as &(dyn ToSql + Sync)).collect()
}

/// The same rows, tables and indexes, and the least work: what begins is inserted, and updated by its id when it ends.
struct Statements {
    insert: Statement,
    update: Statement,
    entries: Statement,
    committed: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self> {
        let set = COLUMNS.split(", ").filter(|name| *name != "id" && *name != "timestamp");
        let set = set.map(|name| format!("{name} = new.{name}")).collect::<Vec<_>>().join(", ");
        let insert = format!("INSERT INTO record ({COLUMNS}) SELECT * FROM unnest({ARRAYS})");
        let update = format!(
            "UPDATE record SET {set} FROM unnest({ARRAYS}) AS new ({COLUMNS}) \
             WHERE record.id = new.id AND record.timestamp = new.timestamp"
        );
        let entries =
            "INSERT INTO entry (key, timestamp, id) SELECT * FROM unnest($1::BYTEA[], $2::BIGINT[], $3::BYTEA[])";
        let (insert, update) = (client.prepare(&insert).await?, client.prepare(&update).await?);
        let committed = "INSERT INTO committed (seq, id, timestamp) \
                         SELECT txid_current(), * FROM unnest($1::BYTEA[], $2::BIGINT[])";
        let committed = client.prepare(committed).await?;
        Ok(Self { insert, update, entries: client.prepare(entries).await?, committed })
    }

    async fn write(&self, client: &mut Client, batch: usize, at_begin: &Rows, at_end: &Rows) -> Result<()> {
        for (rows, statement) in [(at_begin, &self.insert), (at_end, &self.update)] {
            let transaction = client.transaction().await?;
            transaction.execute(statement, &references(&columns(rows.batch(batch)))).await?;
            transaction.execute(&self.entries, &references(&columns(&rows.entries[batch]))).await?;
            let columns = columns(rows.batch(batch));
            transaction.execute(&self.committed, &[&*columns[0], &*columns[1]]).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

/// Rows that have ended, and will not be written again, by `COPY`.
async fn copy_batch(client: &mut Client, batch: usize, at_begin: &Rows, at_end: &Rows) -> Result<()> {
    let transaction = client.transaction().await?;
    copy(&transaction, "record", COLUMNS, at_end.batch(batch).iter()).await?;
    let entries = at_begin.entries[batch].iter().chain(&at_end.entries[batch]);
    copy(&transaction, "entry", "key, timestamp, id", entries).await?;
    Ok(transaction.commit().await?)
}

async fn copy(
    transaction: &tokio_postgres::Transaction<'_>,
    table: &str,
    columns: &str,
    rows: impl Iterator<Item = &Row>,
) -> Result<()> {
    let mut rows = rows.peekable();
    let Some(first) = rows.peek() else { return Ok(()) };
    let types: Vec<Type> = first.columns().iter().map(|column| column.type_().clone()).collect();
    let sink = transaction.copy_in(&format!("COPY {table} ({columns}) FROM STDIN BINARY")).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    for row in rows {
        let value = |place: usize| -> Box<dyn ToSql + Sync + Send + '_> {
            match types[place] {
                Type::INT8 => Box::new(row.get::<_, Option<i64>>(place)),
                Type::INT2 => Box::new(row.get::<_, Option<i16>>(place)),
                Type::TEXT => Box::new(row.get::<_, Option<&str>>(place)),
                Type::FLOAT8 => Box::new(row.get::<_, Option<f64>>(place)),
                Type::BOOL => Box::new(row.get::<_, Option<bool>>(place)),
                _ => Box::new(row.get::<_, Option<&[u8]>>(place)),
            }
        };
        let values: Vec<_> = (0..types.len()).map(value).collect();
        writer.as_mut().write(&references(&values)).await?;
    }
    writer.finish().await?;
    Ok(())
}

async fn pages(server: &Server, count: usize) -> Result<()> {
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
