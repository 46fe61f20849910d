//! The tables: creating them, and migrating those of earlier versions.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::error::SqlState;

use crate::store::StoreError;
use crate::store::postgres::error::failed;
use crate::store::postgres::limits::{Limits, millis};
use crate::store::postgres::partitions::Partition;

/// The table `about`: one row, with the version of the tables, their partitioning, and which process sweeps. It is not
/// altered by a migration, which the others wait for with a lock on it.
const ABOUT: &str = "
    CREATE TABLE IF NOT EXISTS about (
        only_one BIGINT NOT NULL PRIMARY KEY,
        version BIGINT NOT NULL,
        secret BYTEA NOT NULL,
        partition BIGINT NOT NULL DEFAULT 0
    );
    ALTER TABLE about ADD COLUMN IF NOT EXISTS partition BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE about ADD COLUMN IF NOT EXISTS seq_base BIGINT NOT NULL DEFAULT 0;
    ALTER TABLE about ADD COLUMN IF NOT EXISTS sweeper BYTEA;
    ALTER TABLE about ADD COLUMN IF NOT EXISTS swept_until BIGINT NOT NULL DEFAULT 0;
";

/// The migrations, each from the version before, and their additional statements if the tables are partitioned. Each
/// may run more than once.
pub(super) const VERSIONS: [(i64, &str, &str); 5] = [
    (1, VERSION_1, PARTITIONED_1),
    (2, VERSION_2, PARTITIONED_2),
    (3, VERSION_3, ""),
    (4, VERSION_4, PARTITIONED_4),
    (VERSION, VERSION_5, ""),
];

/// The version that this crate writes.
pub(super) const VERSION: i64 = 5;

const VERSION_1: &str = "
    CREATE TABLE IF NOT EXISTS record (
        id BYTEA NOT NULL,
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
        udf_data BYTEA,
        PRIMARY KEY ({record_key})
    ) {by_time};
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

const PARTITIONED_1: &str = "
    CREATE INDEX IF NOT EXISTS record_of_id ON record (id);
    CREATE TABLE IF NOT EXISTS record_default PARTITION OF record DEFAULT;
";

const VERSION_2: &str = "
    ALTER TABLE record ADD COLUMN IF NOT EXISTS details BYTEA;
    CREATE TABLE IF NOT EXISTS entry (
        key BYTEA NOT NULL,
        timestamp BIGINT NOT NULL,
        id BYTEA NOT NULL,
        PRIMARY KEY (key, timestamp, id)
    ) {by_time};
";

const PARTITIONED_2: &str = "CREATE TABLE IF NOT EXISTS entry_default PARTITION OF entry DEFAULT;";

/// The jobs of exports, and the index of open requests.
const VERSION_3: &str = "
    CREATE TABLE IF NOT EXISTS export_job (
        id BYTEA NOT NULL PRIMARY KEY,
        owner BYTEA NOT NULL,
        token BYTEA,
        scope BYTEA NOT NULL,
        state BYTEA NOT NULL,
        version BIGINT NOT NULL,
        created BIGINT NOT NULL,
        due BIGINT NOT NULL,
        body BYTEA NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS export_job_of_token ON export_job (owner, token) WHERE token IS NOT NULL;
    CREATE INDEX IF NOT EXISTS export_job_by_time ON export_job (created, id);
    CREATE INDEX IF NOT EXISTS export_job_due ON export_job (due);
    CREATE INDEX IF NOT EXISTS record_open ON record (timestamp) WHERE NOT ended;
";

/// The summary of a request, in columns; the rows that each transaction inserted or replaced; and gaps. Times and
/// durations are in microseconds. Existing rows are not rewritten, and have no summary.
///
/// The number of a transaction is the sum of `seq_base` and its id. Ids are assigned when transactions start to write,
/// so rows with a smaller number may appear later: those below `seq_base + txid_snapshot_xmin(txid_current_snapshot())`
/// are final.
const VERSION_4: &str = "
    ALTER TABLE record ADD COLUMN IF NOT EXISTS service BYTEA;
    ALTER TABLE record ADD COLUMN IF NOT EXISTS outcome TEXT;
    ALTER TABLE record ADD COLUMN IF NOT EXISTS status SMALLINT;
    ALTER TABLE record ADD COLUMN IF NOT EXISTS duration BIGINT;
    CREATE TABLE IF NOT EXISTS committed (
        seq BIGINT NOT NULL,
        timestamp BIGINT NOT NULL,
        id BYTEA NOT NULL,
        PRIMARY KEY (seq, timestamp, id)
    ) {by_time};
    CREATE TABLE IF NOT EXISTS gap (
        from_time BIGINT NOT NULL,
        to_time BIGINT NOT NULL,
        count BIGINT,
        why BYTEA NOT NULL
    );
";

/// The processes that write into the store, and the ids of gaps.
const VERSION_5: &str = "
    ALTER TABLE gap ADD COLUMN IF NOT EXISTS id BYTEA;
    CREATE UNIQUE INDEX IF NOT EXISTS gap_of_id ON gap (id);
    CREATE INDEX IF NOT EXISTS gap_by_end ON gap (to_time, from_time);
    CREATE TABLE IF NOT EXISTS writer (
        id BYTEA NOT NULL PRIMARY KEY,
        service BYTEA,
        instance BYTEA,
        started BIGINT NOT NULL,
        written_through BIGINT NOT NULL,
        seen BIGINT NOT NULL,
        waiting BIGINT NOT NULL,
        state TEXT NOT NULL
    );
";

const PARTITIONED_4: &str = "CREATE TABLE IF NOT EXISTS committed_default PARTITION OF committed DEFAULT;";

/// Raises the numbers of transactions if the tables were restored into a server whose ids are lower.
const MOVE_UP: &str = "
    UPDATE about SET seq_base = (SELECT max(seq) FROM committed) + 1 - txid_snapshot_xmin(txid_current_snapshot())";

/// Whether the numbers must be moved up. Anyone who may only read may ask this.
const IS_BELOW: &str = "
    SELECT coalesce((SELECT max(seq) FROM committed) >= seq_base + txid_snapshot_xmax(txid_current_snapshot()), false)
    FROM about";

/// Returns the key of records. That of a partitioned table includes the time.
pub(super) fn record_key(partition: Option<Partition>) -> &'static str {
    if partition.is_some() { "timestamp, id" } else { "id" }
}

fn step(text: &str, partitioned: &str, partition: Option<Partition>) -> String {
    let (by_time, also) = if partition.is_some() { ("PARTITION BY RANGE (timestamp)", partitioned) } else { ("", "") };
    text.replace("{record_key}", record_key(partition)).replace("{by_time}", by_time) + also
}

const LATER: &str = "the tables are of a later version of tagtrail-querylog; update this program";

/// Fails if this crate does not know the version of the tables: another process has migrated them meanwhile.
pub(super) fn check(version: i64) -> Result<(), StoreError> {
    if version == VERSION { Ok(()) } else { Err(StoreError::unusable(LATER)) }
}

/// Returns the version of the tables, in a transaction that writes.
pub(super) async fn version(transaction: &Transaction<'_>) -> Result<i64, tokio_postgres::Error> {
    let statement = transaction.prepare_cached("SELECT version FROM about").await?;
    transaction.query_one(&statement, &[]).await?.try_get(0)
}

/// Creates the tables or migrates them, and returns their partitioning. Current tables are only read. With `existing`,
/// none are created.
pub(super) async fn prepare(
    connection: &mut Object,
    wanted: Option<Partition>,
    existing: bool,
    limits: &Limits,
) -> Result<Option<Partition>, StoreError> {
    const FOREIGN: &str = "the database contains unrelated tables whose names clash with the audit log's; use a separate \
        database, or a schema, with `options=-c search_path=NAME` in the URL";
    let about = connection.query_one("SELECT version, partition FROM about", &[]).await;
    let about = about.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let (version, partition) = match about {
        Ok(about) if VERSIONS.iter().all(|(version, ..)| *version <= about.0) => about,
        Err(error) if is_foreign(connection, &error).await? => {
            return Err(StoreError::unusable(FOREIGN));
        }
        Err(error) if existing && error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            return Err(StoreError::unusable("there is no audit log in this database yet"));
        }
        _ => {
            connection.batch_execute(&limits.migrating()).await.map_err(failed)?;
            let migrated = migrate(connection, wanted, limits).await;
            let reset = connection.batch_execute(&limits.session()).await;
            let about = migrated?;
            reset.map_err(failed)?;
            about
        }
    };
    if version > VERSION {
        return Err(StoreError::unusable(LATER));
    }
    let is_below: bool = connection.query_one(IS_BELOW, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    if is_below && !existing {
        connection.batch_execute(MOVE_UP).await.map_err(failed)?;
    }
    let current = Partition::from_number(partition)?;
    match (wanted, current) {
        (Some(wanted), Some(current)) if wanted != current => Err(StoreError::unusable(format!(
            "the tables are already partitioned by {current}; this cannot be changed"
        ))),
        (Some(_), None) => {
            Err(StoreError::unusable("the tables already exist without partitions; this cannot be changed"))
        }
        _ => Ok(current),
    }
}

/// Returns whether the tables are not those of an audit log, which are created after `about`.
async fn is_foreign(connection: &Object, error: &tokio_postgres::Error) -> Result<bool, StoreError> {
    const FOREIGN: &str = "
        SELECT CASE WHEN to_regclass('about') IS NULL
            THEN coalesce(to_regclass('record'), to_regclass('entry'), to_regclass('export_job')) IS NOT NULL
            ELSE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('about') AND attname = 'only_one')
        END";
    if ![Some(&SqlState::UNDEFINED_TABLE), Some(&SqlState::UNDEFINED_COLUMN)].contains(&error.code()) {
        return Ok(false);
    }
    let row = connection.query_one(FOREIGN, &[]).await;
    row.and_then(|row| row.try_get(0)).map_err(failed)
}

async fn migrate(
    connection: &mut Object,
    wanted: Option<Partition>,
    limits: &Limits,
) -> Result<(i64, i64), StoreError> {
    let has_about = connection.query("SELECT partition, seq_base, sweeper, swept_until FROM about", &[]).await.is_ok();
    // If several processes create the same table at the same time, one succeeds, and the others fail after it has.
    if !has_about && connection.batch_execute(ABOUT).await.is_err() {
        connection.batch_execute(ABOUT).await.map_err(failed)?;
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(StoreError::failed)?;
    migrate_to_latest(connection, wanted, &secret, limits).await.map_err(failed)
}

async fn migrate_to_latest(
    connection: &mut Object,
    wanted: Option<Partition>,
    secret: &[u8],
    limits: &Limits,
) -> Result<(i64, i64), tokio_postgres::Error> {
    let insert =
        "INSERT INTO about (only_one, version, secret, partition) VALUES (1, 0, $1, $2) ON CONFLICT DO NOTHING";
    connection.execute(insert, &[&secret, &Partition::number(wanted)]).await?;
    // The others wait for the row, for as long as a migration may take. If this is interrupted, the transaction is rolled
    // back.
    let transaction = connection.transaction().await?;
    let row = transaction.query_one("SELECT version, partition FROM about FOR UPDATE", &[]).await?;
    let (mut version, number): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    transaction.batch_execute(&format!("SET LOCAL lock_timeout = {}", millis(limits.lock))).await?;
    // A partitioning that is unknown is of a later version, whose tables need no migration.
    let partition = Partition::from_number(number).ok().flatten();
    for (next, text, partitioned) in VERSIONS {
        if next > version {
            transaction.batch_execute(&step(text, partitioned, partition)).await?;
            transaction.execute("UPDATE about SET version = $1", &[&next]).await?;
            version = next;
        }
    }
    transaction.commit().await?;
    Ok((version, number))
}
