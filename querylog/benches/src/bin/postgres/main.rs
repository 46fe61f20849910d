//! The audit log in PostgreSQL, compared with plain SQL: durable writes of requests in batches, and the time of a page.
//!
//! `.ci/with-postgres cargo run --release --manifest-path querylog/benches/Cargo.toml --bin postgres -- [RECORDS]
//! [month|day]`

mod pages;

use std::error::Error;
use std::pin::pin;
use std::time::{Duration, Instant};

use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::store::{Partition, Postgres, PostgresSettings};
use tagtrail_querylog::{AuditLog, Outcome, Record, Timestamp};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};

use crate::pages::pages;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The number of requests in a batch, which are started and completed.
const BATCH: usize = 1_000;
const WRITES: usize = 99 * BATCH;
/// January 1, 2025.
const START: i64 = 1_735_689_600_000_000;

const COLUMNS: &str = "id, timestamp, exec_env_id, user_id, user_email, udf_id, udf_name, execution_engine, \
                       execution_time, cache, shared_token, client_ip, object, object_members, ended, details, stdout, \
                       stderr, udf_data";
const ARRAYS: &str = "$1::BYTEA[], $2::BIGINT[], $3::BYTEA[], $4::BYTEA[], $5::BYTEA[], $6::BYTEA[], $7::BYTEA[], \
                      $8::BYTEA[], $9::DOUBLE PRECISION[], $10::BOOLEAN[], $11::BYTEA[], $12::BYTEA[], $13::BYTEA[], \
                      $14::BIGINT[], $15::BOOLEAN[], $16::BYTEA[], $17::BYTEA[], $18::BYTEA[], $19::BYTEA[]";

/// Returns a request that has started.
fn started(number: usize, trail: &Trail) -> Record {
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
        (number, started(number, &trail))
    };
    (first..first + count).map(traced).collect()
}

struct Server {
    url: String,
    partition: Option<Partition>,
}

/// A separate schema, and a connection without this crate.
struct Schema {
    settings: PostgresSettings,
    plain: Client,
    name: String,
}

impl Server {
    async fn schema(&self, name: &str) -> Result<Schema> {
        let (plain, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        tokio::spawn(connection);
        plain.batch_execute(&format!("CREATE SCHEMA {name}; SET search_path = {name}")).await?;
        let and = if self.url.contains('?') { '&' } else { '?' };
        let settings = Postgres::settings(&format!("{}{and}options=-c%20search_path%3D{name}", self.url));
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

/// The three take turns, batch by batch, so that other load on the machine affects all equally.
async fn writes(server: &Server) -> Result<()> {
    let started = requests(0, WRITES);
    let ended: Vec<Record> = started.iter().map(|(number, record)| ended(record.clone(), *number)).collect();
    let started: Vec<Record> = started.into_iter().map(|(_, record)| record).collect();
    // Plain SQL writes the same rows, which are read from the tables.
    let schema = server.schema("ours").await?;
    let log = schema.log().await?;
    log.put_requests(&started).await?;
    let at_start = Rows::read(&schema.plain).await?;
    log.put_requests(&ended).await?;
    let mut at_end = Rows::read(&schema.plain).await?;
    at_end.without_entries_of(&at_start);
    let size = "SELECT avg(pg_column_size(record))::BIGINT FROM record";
    let size: i64 = schema.plain.query_one(size, &[]).await?.get(0);
    schema.end().await?;

    let schema = server.schema("ours").await?;
    let mut plain = server.schema("plain").await?;
    let mut copied = server.schema("copied").await?;
    let some: Vec<Record> = ended.iter().step_by(BATCH).cloned().collect();
    for schema in [&schema, &plain, &copied] {
        // Creates the tables and their partitions.
        schema.log().await?.put_requests(&some).await?;
        schema.plain.batch_execute("TRUNCATE record, entry").await?;
    }
    let log = schema.log().await?;
    let statements = Statements::prepare(&plain.plain).await?;
    let mut times = [Duration::ZERO; 3];
    for (batch, (started, ended)) in started.chunks(BATCH).zip(ended.chunks(BATCH)).enumerate() {
        for turn in 0..3 {
            let whose = (batch + turn) % 3;
            let start = Instant::now();
            match whose {
                0 => {
                    log.put_requests(started).await?;
                    log.put_requests(ended).await?;
                }
                1 => statements.write(&mut plain.plain, batch, &at_start, &at_end).await?,
                _ => copy_batch(&mut copied.plain, batch, &at_start, &at_end).await?,
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

/// The rows of the two tables, in the order in which the records were created.
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

/// The columns of some rows.
fn columns(rows: &[Row]) -> Vec<Box<dyn ToSql + Sync + Send + '_>> {
    fn column<'a, T: tokio_postgres::types::FromSql<'a>>(rows: &'a [Row], place: usize) -> Vec<Option<T>> {
        rows.iter().map(|row| row.get(place)).collect()
    }
    let boxed = |place: usize| -> Box<dyn ToSql + Sync + Send + '_> {
        match *rows[0].columns()[place].type_() {
            Type::INT8 => Box::new(column::<i64>(rows, place)),
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

/// The least work with the same rows, tables and indexes: an insert for a start, and an update by id for an end.
struct Statements {
    insert: Statement,
    update: Statement,
    entries: Statement,
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
        Ok(Self { insert, update, entries: client.prepare(entries).await? })
    }

    async fn write(&self, client: &mut Client, batch: usize, at_start: &Rows, at_end: &Rows) -> Result<()> {
        for (rows, statement) in [(at_start, &self.insert), (at_end, &self.update)] {
            let transaction = client.transaction().await?;
            transaction.execute(statement, &references(&columns(rows.batch(batch)))).await?;
            transaction.execute(&self.entries, &references(&columns(&rows.entries[batch]))).await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}

/// Writes rows by `COPY` that have ended, and are not written again.
async fn copy_batch(client: &mut Client, batch: usize, at_start: &Rows, at_end: &Rows) -> Result<()> {
    let transaction = client.transaction().await?;
    copy(&transaction, "record", COLUMNS, at_end.batch(batch).iter()).await?;
    let entries = at_start.entries[batch].iter().chain(&at_end.entries[batch]);
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
