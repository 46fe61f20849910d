//! The same writes with plain rusqlite.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::store::Sqlite;

use crate::sample::{completed, record_batches, requests};
use crate::{BATCH, Failure, Rate, Start, WRITES};

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
pub(crate) fn plain_records(path: &Path) -> Result<Rate, Failure> {
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
pub(crate) fn plain_requests(path: &Path) -> Result<Rate, Failure> {
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
