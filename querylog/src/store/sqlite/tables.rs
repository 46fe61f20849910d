//! The tables: creating them, and migrating those of earlier versions.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::store::StoreError;

/// The migrations, each from the version before. A file has the number of its version (`user_version`).
const VERSIONS: [(u32, &str); 5] = [(1, VERSION_1), (2, VERSION_2), (3, VERSION_3), (4, VERSION_4), (5, VERSION_5)];

/// Records. The pointer to an object has its own columns. Short columns come first, so that reading them does not touch
/// the overflow pages of long values. The two indexes that queries for distinct values use contain these values.
pub(super) const VERSION_1: &str = "
    CREATE TABLE record (
        id TEXT NOT NULL PRIMARY KEY,
        timestamp INTEGER NOT NULL,
        exec_env_id TEXT,
        user_id TEXT,
        user_email TEXT,
        udf_id TEXT,
        udf_name TEXT,
        execution_engine TEXT,
        execution_time REAL,
        cache INTEGER,
        shared_token TEXT,
        client_ip TEXT,
        object TEXT,
        object_members INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        stdout TEXT,
        stderr TEXT,
        udf_data TEXT
    ) STRICT;
    CREATE INDEX record_of_user ON record (user_email, timestamp, id, udf_name, udf_id)
        WHERE user_email IS NOT NULL;
    CREATE INDEX record_of_env ON record (exec_env_id, timestamp, id, udf_name, udf_id)
        WHERE exec_env_id IS NOT NULL;
    CREATE INDEX record_of_udf_id ON record (exec_env_id, udf_id, timestamp, id) WHERE udf_id IS NOT NULL;
    CREATE INDEX record_of_udf_name ON record (exec_env_id, udf_name, timestamp, id) WHERE udf_name IS NOT NULL;
    CREATE INDEX record_of_shared_token ON record (exec_env_id, shared_token, timestamp, id)
        WHERE shared_token IS NOT NULL;
    CREATE INDEX record_of_object ON record (object) WHERE object IS NOT NULL;
    CREATE TABLE secret (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), bytes BLOB NOT NULL) STRICT;
";

/// The details of requests, and the index by which they are found. `keys` identifies the set of keys whose entries
/// exist.
const VERSION_2: &str = "
    ALTER TABLE record ADD COLUMN details TEXT;
    ALTER TABLE record ADD COLUMN keys INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE entry (
        key BLOB NOT NULL,
        timestamp INTEGER NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (key, timestamp, id)
    ) STRICT, WITHOUT ROWID;
";

/// The jobs of exports, and the index of open requests.
const VERSION_3: &str = "
    CREATE TABLE export_job (
        id TEXT NOT NULL PRIMARY KEY,
        owner TEXT NOT NULL,
        token TEXT,
        scope TEXT NOT NULL,
        state TEXT NOT NULL,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        due INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX export_job_of_token ON export_job (owner, token) WHERE token IS NOT NULL;
    CREATE INDEX export_job_by_time ON export_job (created, id);
    CREATE INDEX export_job_due ON export_job (due);
    CREATE INDEX record_open ON record (timestamp) WHERE ended = 0;
";

/// The summary of a request, in columns; the rows that each commit inserted or replaced, in the order of commits; and
/// gaps. Times and durations are in microseconds. Existing rows are not rewritten, and have no summary.
const VERSION_4: &str = "
    ALTER TABLE record ADD COLUMN service TEXT;
    ALTER TABLE record ADD COLUMN outcome TEXT;
    ALTER TABLE record ADD COLUMN status INTEGER;
    ALTER TABLE record ADD COLUMN duration INTEGER;
    CREATE TABLE sequence (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1), last INTEGER NOT NULL) STRICT;
    INSERT INTO sequence VALUES (1, 0);
    CREATE TABLE committed (
        seq INTEGER NOT NULL,
        id TEXT NOT NULL,
        timestamp INTEGER NOT NULL,
        PRIMARY KEY (seq, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE gap (
        from_time INTEGER NOT NULL,
        to_time INTEGER NOT NULL,
        count INTEGER,
        why TEXT NOT NULL
    ) STRICT;
";

/// The processes that write into the store, and the ids of gaps.
const VERSION_5: &str = "
    ALTER TABLE gap ADD COLUMN id TEXT;
    CREATE UNIQUE INDEX gap_of_id ON gap (id);
    CREATE INDEX gap_by_end ON gap (to_time, from_time);
    CREATE TABLE writer (
        id TEXT NOT NULL PRIMARY KEY,
        service TEXT,
        instance TEXT,
        started INTEGER NOT NULL,
        written_through INTEGER NOT NULL,
        seen INTEGER NOT NULL,
        waiting INTEGER NOT NULL,
        state TEXT NOT NULL
    ) STRICT;
";

/// Fails if the tables are of a later version, because another process has migrated them meanwhile.
pub(super) fn check_version(connection: &Connection) -> rusqlite::Result<()> {
    if version(connection)? == VERSIONS[VERSIONS.len() - 1].0 {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_SCHEMA);
    Err(rusqlite::Error::SqliteFailure(code, Some(LATER.to_owned())))
}

/// Whether a write was stopped by [`check_version`].
pub(super) fn is_later(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(_, Some(message)) if message == LATER)
}

const LATER: &str = "the file was written by a later version of tagtrail-querylog; update this program";

/// Creates the tables, or migrates them.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<Result<(), StoreError>> {
    if version(connection)? == 0 {
        // For a file that already has pages, only a `VACUUM` would change this.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = version(&transaction)?;
    if VERSIONS.last().is_some_and(|(latest, _)| version > *latest) {
        return Ok(Err(StoreError::unusable(LATER)));
    }
    for (number, step) in VERSIONS.iter().filter(|(number, _)| *number > version) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    if version == 0 {
        create_secret(&transaction)?;
    }
    transaction.commit().map(Ok)
}

/// Returns the version of the tables; 0 if there are none.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Returns whether a database has tables that are not those of an audit log.
pub(super) fn is_foreign(connection: &mut Connection) -> rusqlite::Result<bool> {
    // Both are read from one snapshot, since another process may create the tables meanwhile.
    let transaction = connection.transaction()?;
    let version = version(&transaction)?;
    let tables = "SELECT count(*), count(*) FILTER (WHERE name = 'secret') FROM sqlite_schema";
    let (all, ours): (i64, i64) = transaction.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(if version == 0 { all > 0 } else { ours == 0 })
}

fn create_secret(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction.execute("INSERT INTO secret VALUES (1, ?1)", [secret]).map(drop)
}
