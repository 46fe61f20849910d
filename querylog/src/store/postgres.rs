//! PostgreSQL, and what speaks its protocol: the store that many services share.
//!
//! Of PostgreSQL it uses: tables and indexes, two of them over an expression; arrays that become rows (`unnest`);
//! `INSERT … ON CONFLICT DO UPDATE … WHERE`; comparison of rows; prepared statements. No extensions, triggers, sequences,
//! advisory locks or `LISTEN`.
//!
//! Texts are `BYTEA`, since its `TEXT` has no NUL; `convert_from(udf_name, 'UTF8')` shows one. An index has at most the
//! first 200 bytes of a text, since longer ones do not fit.

mod exports;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts, Transaction,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls};

use self::exports::VERSION_3;
use super::{
    COLUMNS, Distinct, ExportStore, Hits, Key, Members, Place, REPLACED, Range, Row, Selection, Store, StoreError,
    short_columns, without_begins,
};
use crate::audit::AuditRecord;
use crate::time::Timestamp;

/// How long a call waits for a connection before it is told that there is too much to do.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many rows one statement has at most.
const STATEMENT: usize = 2_000;
/// How much of a text an index has.
const INDEXED: usize = 200;

/// What the tables are: one row, with the number of their version.
const ABOUT: &str = "CREATE TABLE IF NOT EXISTS about
    (only_one BIGINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL, secret BYTEA NOT NULL)";

/// What makes each version of the tables from the one before. Each step may be run again.
const VERSIONS: [(i64, &str); 3] = [(1, VERSION_1), (2, VERSION_2), (3, VERSION_3)];

const VERSION_1: &str = "
    CREATE TABLE IF NOT EXISTS record (
        id BYTEA NOT NULL PRIMARY KEY,
        timestamp BIGINT NOT NULL,
        exec_env_id BYTEA,
        user_id BYTEA,
        user_email BYTEA,
        udf_id BYTEA,
        udf_name BYTEA,
        execution_engine BYTEA,
        execution_time DOUBLE PRECISION,
        cache BOOLEAN,
        shared_token BYTEA,
        client_ip BYTEA,
        object BYTEA,
        object_members BIGINT NOT NULL,
        ended BOOLEAN NOT NULL,
        stdout BYTEA,
        stderr BYTEA,
        udf_data BYTEA
    );
    CREATE INDEX IF NOT EXISTS record_of_user ON record (substr(user_email, 1, 200), timestamp, id);
    CREATE INDEX IF NOT EXISTS record_of_env ON record (substr(exec_env_id, 1, 200), timestamp, id);
    CREATE INDEX IF NOT EXISTS record_of_udf_id
        ON record (substr(exec_env_id, 1, 200), substr(udf_id, 1, 200), timestamp, id);
    CREATE INDEX IF NOT EXISTS record_of_udf_name
        ON record (substr(exec_env_id, 1, 200), substr(udf_name, 1, 200), timestamp, id);
    CREATE INDEX IF NOT EXISTS record_of_shared_token
        ON record (substr(exec_env_id, 1, 200), substr(shared_token, 1, 200), timestamp, id);
    CREATE INDEX IF NOT EXISTS record_of_object ON record (object);
";

const VERSION_2: &str = "
    ALTER TABLE record ADD COLUMN IF NOT EXISTS details BYTEA;
    CREATE TABLE IF NOT EXISTS entry (
        key BYTEA NOT NULL,
        timestamp BIGINT NOT NULL,
        id BYTEA NOT NULL,
        PRIMARY KEY (key, timestamp, id)
    );
";

/// Entries of the index of keys. Those of the begin are there when the end is put.
const ENTRIES: &str = "
    INSERT INTO entry (key, timestamp, id) SELECT * FROM unnest($1::BYTEA[], $2::BIGINT[], $3::BYTEA[])
    ON CONFLICT (key, timestamp, id) DO NOTHING";

/// A store in PostgreSQL. A clone is the same store. Connections are not encrypted.
///
/// ```no_run
/// use tagtrail_querylog::AuditLog;
/// use tagtrail_querylog::store::{Payloads, Postgres};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Postgres::connect("postgres://audit@db.internal/audit").await?;
/// let log = AuditLog::new(store).payloads(Payloads::at("s3://our-bucket/audit")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Postgres(Pool);

impl Postgres {
    /// Connects, with up to 16 connections, and makes the tables where they are not there.
    ///
    /// # Errors
    ///
    /// If the URL is none of PostgreSQL, the server cannot be reached, or its tables are of a later version of this
    /// crate.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        // What it says may have the password in it.
        let config: Config = url.parse().map_err(|_| StoreError::failed("no URL of PostgreSQL"))?;
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let wait = Some(PATIENCE);
        let pool = Pool::builder(manager)
            .max_size(16)
            .timeouts(Timeouts { wait, create: Some(Duration::from_secs(5)), recycle: wait })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(StoreError::failed)?;
        let store = Self(pool);
        store.prepare().await?;
        Ok(store)
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        // Two that make the same table at the same time are in each other's way: one of them finds it made.
        if Self::migrate(&connection).await.is_err() {
            Self::migrate(&connection).await.map_err(StoreError::failed)?;
        }
        let version: i64 =
            connection.query_one("SELECT version FROM about", &[]).await.map_err(StoreError::failed)?.get(0);
        if VERSIONS.last().is_some_and(|(latest, _)| version <= *latest) {
            Ok(())
        } else {
            Err(StoreError::failed("the tables are of a later version of this crate"))
        }
    }

    async fn migrate(connection: &Object) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        connection.batch_execute(ABOUT).await?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let insert = "INSERT INTO about VALUES (1, 0, $1) ON CONFLICT (only_one) DO NOTHING";
        connection.execute(insert, &[&secret.as_slice()]).await?;
        let version: i64 = connection.query_one("SELECT version FROM about", &[]).await?.get(0);
        for (number, step) in VERSIONS.iter().filter(|(number, _)| *number > version) {
            connection.batch_execute(step).await?;
            connection.execute("UPDATE about SET version = $1 WHERE version < $1", &[number]).await?;
        }
        Ok(())
    }

    async fn connection(&self) -> Result<Object, StoreError> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Timeout(_) => StoreError::Overloaded,
            PoolError::Closed => StoreError::Closed,
            error => StoreError::failed(error),
        })
    }

    async fn query(
        &self,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(text).await.map_err(StoreError::failed)?;
        connection.query(&statement, parameters).await.map_err(StoreError::failed)
    }

    async fn range(&self, columns: &str, range: &Range, limit: usize) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let (text, values) = statement(columns, range);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let Range { after, before, .. } = range;
        let (after_id, before_id) = (after.id.as_bytes(), before.id.as_bytes());
        let indexed: Vec<&[u8]> = values.iter().map(|value| &value[..value.len().min(INDEXED)]).collect();
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&after.micros, &after_id, &before.micros, &before_id, &limit];
        for (value, indexed) in values.iter().zip(&indexed) {
            parameters.extend([value as &(dyn ToSql + Sync), indexed]);
        }
        self.query(&text, &parameters).await
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for Postgres {
    async fn put(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut rows: Vec<&Row> = without_begins(rows.iter()).collect();
        let mut connection = self.connection().await?;
        let transaction = connection.transaction().await.map_err(StoreError::failed)?;
        let statement = transaction.prepare_cached(&put_text()).await.map_err(StoreError::failed)?;
        while !rows.is_empty() {
            // A statement takes each id once, and in one order, so that two of them do not wait for each other.
            let mut ids = HashSet::new();
            let is_next = |row: &&Row| ids.len() < STATEMENT && ids.insert(row.record.id.clone());
            let (mut some, rest): (Vec<_>, _) = rows.into_iter().partition(is_next);
            some.sort_by(|one, other| one.record.id.cmp(&other.record.id));
            let columns = Columns::of(&some);
            transaction.execute(&statement, &columns.parameters()).await.map_err(StoreError::failed)?;
            put_entries(&transaction, &some).await?;
            rows = rest;
        }
        transaction.commit().await.map_err(StoreError::failed)
    }

    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM record WHERE id = $1");
        self.query(&text, &[&id.as_bytes()]).await?.first().map(read_row).transpose()
    }

    async fn page(&self, range: Range, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.range(COLUMNS, &range, limit).await?.iter().map(read_row).collect()
    }

    async fn first_of_each(&self, range: Range, of: Distinct, scan: usize) -> Result<Vec<Row>, StoreError> {
        let column = match of {
            Distinct::Names => "id, udf_name",
            Distinct::Ids => "id, udf_id",
        };
        let read = self.range(column, &range, scan).await?;
        let mut seen = HashSet::new();
        let ids: Vec<&[u8]> = read
            .iter()
            .filter(|row| row.get::<_, Option<&[u8]>>(1).is_some_and(|value| seen.insert(value)))
            .map(|row| row.get(0))
            .collect();
        let rows = self.query(&format!("SELECT {COLUMNS} FROM record WHERE id = ANY($1)"), &[&ids]).await?;
        let mut rows: HashMap<&[u8], _> = rows.iter().map(|row| (row.get(0), row)).collect();
        ids.iter().filter_map(|id| rows.remove(id)).map(read_row).collect()
    }

    async fn find(&self, range: Range<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        let Range { of: keys, after, before, newest_first } = &range;
        let (after_id, before_id) = (after.id.as_bytes(), before.id.as_bytes());
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes().as_slice()).collect();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (first_key, scan, one_more) = (keys.first().copied().unwrap_or_default(), count(scan), count(limit + 1));
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&after.micros, &after_id, &before.micros, &before_id, &first_key, &scan];
        let last = self.query(&last_entry(*newest_first), &parameters).await?;
        parameters.push(&one_more);
        parameters.extend(keys.iter().skip(1).map(|key| key as &(dyn ToSql + Sync)));
        let found = self.query(&entries(keys.len(), *newest_first), &parameters).await?;
        let mut places = found.iter().map(read_place).collect::<Result<Vec<_>, _>>()?;
        let behind = if places.len() > limit {
            places.truncate(limit);
            places.last().cloned()
        } else {
            last.first().map(read_place).transpose()?
        };
        let ids: Vec<&[u8]> = places.iter().map(|place| place.id.as_bytes()).collect();
        let columns = short_columns("NULL::BYTEA");
        let rows = self.query(&format!("SELECT {columns} FROM record WHERE id = ANY($1)"), &[&ids]).await?;
        let rows = rows.iter().map(read_row).collect::<Result<Vec<_>, _>>()?;
        let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (Place::of(&row.record), row)).collect();
        Ok(Hits { rows: places.iter().filter_map(|place| rows.remove(place)).collect(), behind })
    }

    async fn has_object(&self, object: &str) -> Result<bool, StoreError> {
        Ok(!self.query("SELECT 1 FROM record WHERE object = $1 LIMIT 1", &[&object.as_bytes()]).await?.is_empty())
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        let rows = self.query("SELECT secret FROM about", &[]).await?;
        let secret = rows.first().and_then(|row| row.get::<_, &[u8]>(0).try_into().ok());
        secret.ok_or_else(|| StoreError::failed("there is no secret in the table `about`"))
    }

    fn exports(&self) -> Option<&dyn ExportStore> {
        Some(self)
    }
}

/// The statement of a range, and what it asks for besides the two places: the texts that are to be equal.
fn statement<'a>(columns: &str, range: &'a Range) -> (String, Vec<&'a [u8]>) {
    let (names, values): (&[&str], Vec<&str>) = match &range.of {
        Selection::User(email) => (&["user_email"], vec![email]),
        Selection::Environment(id) => (&["exec_env_id"], vec![id]),
        Selection::UdfId { environment, value } => (&["exec_env_id", "udf_id"], vec![environment, value]),
        Selection::UdfName { environment, value } => (&["exec_env_id", "udf_name"], vec![environment, value]),
        Selection::SharedToken { environment, value } => (&["exec_env_id", "shared_token"], vec![environment, value]),
    };
    let equal = names.iter().enumerate().map(|(place, name)| {
        let (whole, indexed) = (6 + 2 * place, 7 + 2 * place);
        format!("{name} = ${whole} AND substr({name}, 1, {INDEXED}) = ${indexed} AND ")
    });
    let equal: String = equal.collect();
    let order = order(range.newest_first);
    let text = format!(
        "SELECT {columns} FROM record WHERE {equal}(timestamp, id) > ($1, $2) AND (timestamp, id) < ($3, $4) \
         ORDER BY {order} LIMIT $5"
    );
    (text, values.into_iter().map(str::as_bytes).collect())
}

fn put_text() -> String {
    format!(
        "INSERT INTO record ({COLUMNS})
        SELECT * FROM unnest($1::BYTEA[], $2::BIGINT[], $3::BYTEA[], $4::BYTEA[], $5::BYTEA[], $6::BYTEA[], $7::BYTEA[],
            $8::BYTEA[], $9::DOUBLE PRECISION[], $10::BOOLEAN[], $11::BYTEA[], $12::BYTEA[], $13::BYTEA[],
            $14::BIGINT[], $15::BOOLEAN[], $16::BYTEA[], $17::BYTEA[], $18::BYTEA[], $19::BYTEA[])
        ON CONFLICT (id) DO UPDATE SET {REPLACED}
        WHERE (NOT record.ended AND excluded.ended)
            OR (record.execution_time IS NULL AND excluded.execution_time IS NOT NULL)"
    )
}

async fn put_entries(transaction: &Transaction<'_>, rows: &[&Row]) -> Result<(), StoreError> {
    let mut entries: Vec<_> = rows
        .iter()
        .flat_map(|row| row.keys.iter().chain(&row.end_keys).map(|key| (key, &row.record.timestamp, &row.record.id)))
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort();
    let keys: Vec<&[u8]> = entries.iter().map(|(key, ..)| key.as_bytes().as_slice()).collect();
    let timestamps: Vec<i64> = entries.iter().map(|(_, timestamp, _)| timestamp.as_micros()).collect();
    let ids: Vec<&[u8]> = entries.iter().map(|(.., id)| id.as_str().as_bytes()).collect();
    let statement = transaction.prepare_cached(ENTRIES).await.map_err(StoreError::failed)?;
    transaction.execute(&statement, &[&keys, &timestamps, &ids]).await.map_err(StoreError::failed)?;
    Ok(())
}

/// Entries of the first of some keys.
fn first_entries(newest_first: bool) -> String {
    let order = order(newest_first);
    format!(
        "SELECT timestamp, id FROM entry WHERE key = $5 AND (timestamp, id) > ($1, $2) AND (timestamp, id) < ($3, $4) \
         ORDER BY {order}"
    )
}

/// The statement that finds the last of the entries that are read, if there are so many.
fn last_entry(newest_first: bool) -> String {
    format!("{} LIMIT 1 OFFSET $6::BIGINT - 1", first_entries(newest_first))
}

/// The statement that reads entries whose rows have the other keys too.
fn entries(keys: usize, newest_first: bool) -> String {
    let others = (1..keys).map(|place| {
        let number = 7 + place;
        format!(
            " AND EXISTS (SELECT 1 FROM entry WHERE key = ${number} AND timestamp = first.timestamp AND id = first.id)"
        )
    });
    let (first, others) = (first_entries(newest_first), others.collect::<String>());
    let order = order(newest_first);
    format!("SELECT timestamp, id FROM ({first} LIMIT $6) AS first WHERE true{others} ORDER BY {order} LIMIT $7")
}

fn order(newest_first: bool) -> &'static str {
    if newest_first { "timestamp DESC, id DESC" } else { "timestamp, id" }
}

fn read_place(row: &tokio_postgres::Row) -> Result<Place, StoreError> {
    let id = String::from_utf8(get(row, 1)?).map_err(StoreError::failed)?;
    Ok(Place { micros: get(row, 0)?, id })
}

/// Rows, column by column.
#[derive(Default)]
struct Columns<'a> {
    texts: [Vec<Option<&'a [u8]>>; 14],
    timestamps: Vec<i64>,
    times: Vec<Option<f64>>,
    caches: Vec<Option<bool>>,
    members: Vec<i64>,
    ended: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(rows: &[&'a Row]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            let record = &row.record;
            let object = row.object.as_ref();
            let texts = [
                Some(record.id.as_str()),
                record.exec_env_id.as_deref(),
                record.user_id.as_deref(),
                record.user_email.as_deref(),
                record.udf_id.as_deref(),
                record.udf_name.as_deref(),
                record.execution_engine.as_deref(),
                record.shared_token.as_deref(),
                record.client_ip.as_deref(),
                object.map(|(name, _)| name.as_str()),
                row.details.as_deref(),
                record.stdout.as_deref(),
                record.stderr.as_deref(),
                record.udf_data.as_deref(),
            ];
            for (column, text) in columns.texts.iter_mut().zip(texts) {
                column.push(text.map(str::as_bytes));
            }
            columns.timestamps.push(record.timestamp.as_micros());
            columns.times.push(record.execution_time);
            columns.caches.push(record.cache);
            columns.members.push(object.map_or(0, |(_, members)| members.bits()));
            columns.ended.push(row.ended);
        }
        columns
    }

    /// In the order of [`COLUMNS`].
    fn parameters(&self) -> [&(dyn ToSql + Sync); 19] {
        let [id, env, user, email, udf_id, udf_name, engine, token, ip, object, details, stdout, stderr, data] =
            &self.texts;
        let Self { timestamps, times, caches, members, ended, .. } = self;
        [
            id, timestamps, env, user, email, udf_id, udf_name, engine, times, caches, token, ip, object, members,
            ended, details, stdout, stderr, data,
        ]
    }
}

fn read_row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let text = |place: usize| -> Result<Option<String>, StoreError> {
        let bytes: Option<Vec<u8>> = get(row, place)?;
        bytes.map(String::from_utf8).transpose().map_err(StoreError::failed)
    };
    let id = text(0)?.unwrap_or_default().try_into().map_err(StoreError::failed)?;
    let members = Members::of_bits(get(row, 13)?);
    let record = AuditRecord {
        id,
        timestamp: Timestamp::from_micros(get(row, 1)?),
        exec_env_id: text(2)?,
        user_id: text(3)?,
        user_email: text(4)?,
        udf_id: text(5)?,
        udf_name: text(6)?,
        execution_engine: text(7)?,
        execution_time: get(row, 8)?,
        cache: get(row, 9)?,
        stdout: text(16)?,
        stderr: text(17)?,
        udf_data: text(18)?,
        shared_token: text(10)?,
        client_ip: text(11)?,
    };
    let object = text(12)?.map(|object| (object, members));
    Ok(Row { record, object, ended: get(row, 14)?, details: text(15)?, keys: Vec::new(), end_keys: Vec::new() })
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a tokio_postgres::Row, place: usize) -> Result<T, StoreError> {
    row.try_get(place).map_err(StoreError::failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Window;
    use uuid::Uuid;

    #[tokio::test]
    async fn every_range_is_read_by_an_index_and_without_sorting() {
        let Ok(url) = std::env::var("TAGTRAIL_TEST_POSTGRES") else {
            eprintln!("left out: TAGTRAIL_TEST_POSTGRES has no URL of a server");
            return;
        };
        let schema = format!("test_{}", Uuid::now_v7().simple());
        let config: Config = url.parse().unwrap();
        let (admin, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        admin.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}")).await.unwrap();
        admin.batch_execute(VERSION_1).await.unwrap();
        admin.batch_execute(VERSION_2).await.unwrap();
        let rows = "INSERT INTO record (id, timestamp, exec_env_id, user_email, udf_id, udf_name, shared_token, \
                    object_members, ended) SELECT sha256(int8send(n)), n, int8send(n % 3), int8send(n % 50), \
                    int8send(n % 70), int8send(n % 80), int8send(n % 90), 0, true FROM generate_series(1, 20000) AS n";
        admin.batch_execute(rows).await.unwrap();
        admin.batch_execute("ANALYZE record").await.unwrap();
        let (environment, value) = ("e".to_owned(), "v".to_owned());
        for of in [
            Selection::User(value.clone()),
            Selection::Environment(value.clone()),
            Selection::UdfId { environment: environment.clone(), value: value.clone() },
            Selection::UdfName { environment: environment.clone(), value: value.clone() },
            Selection::SharedToken { environment, value },
        ] {
            for newest_first in [false, true] {
                let range = Range::new(of.clone(), Window::ALL).newest_first(newest_first);
                let (text, values) = statement(COLUMNS, &range);
                let parts = values.iter().flat_map(|value| [value, value]);
                let numbers = [range.after.micros, range.before.micros];
                let none: &[u8] = b"";
                let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&numbers[0], &none, &numbers[1], &none, &101_i64];
                parameters.extend(parts.map(|part| part as &(dyn ToSql + Sync)));
                let plan = admin.query(&format!("EXPLAIN {text}"), &parameters).await.unwrap();
                let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
                let plan = plan.join("\n");
                let index = plan.contains("Index Scan using record_of_")
                    || plan.contains("Index Scan Backward using record_of_");
                assert!(index && !plan.contains("Sort") && !plan.contains("Seq Scan"), "{of:?}: {plan}");
                assert!(plan.contains("Index Cond: ((substr("), "{plan}");
            }
        }
        admin.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    }
}
