//! The processes that write into the tables: what they report, and who is lost.

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::model::gap::{Gap, NO_REPORTS};
use crate::model::time::Timestamp;
use crate::model::writer_status::{WriterReport, WriterState, WriterStatus};
use crate::store::StoreError;
use crate::store::postgres::error::failed;
use crate::store::postgres::rows::get;
use crate::store::postgres::server::{Parameter, borrowed, bytes, parameter};
use crate::store::postgres::statements;
use crate::store::postgres::tables;
use crate::store::sql::{FORGOTTEN, SILENT, clamped, state_of, word_of};

/// The clock of the server, in microseconds.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";

/// Reads the last gaps of a window, and those of writers that are silent and not marked as lost yet.
pub(super) fn gaps_text() -> String {
    format!(
        "(SELECT from_time, to_time, count, why FROM gap WHERE to_time >= $1 AND from_time <= $2
            ORDER BY to_time DESC LIMIT $3)
        UNION ALL
        SELECT least(written_through, {NOW}), {NOW}, NULL, $5::BYTEA FROM writer
        WHERE state = 'live' AND seen < {NOW} - $4::BIGINT AND {NOW} >= $1 AND least(written_through, {NOW}) <= $2
        ORDER BY 2 DESC LIMIT $3"
    )
}

/// Reads the writers, and whether each has been silent for so long.
pub(super) fn read_text() -> String {
    format!(
        "SELECT id, service, instance, started, written_through, seen, waiting, state, seen < {NOW} - $1 AS silent
        FROM writer ORDER BY id"
    )
}

pub(super) fn read_status(row: &tokio_postgres::Row) -> Result<WriterStatus, StoreError> {
    let text = |index: usize| -> Result<Option<String>, StoreError> {
        let bytes: Option<Vec<u8>> = get(row, index)?;
        bytes.map(String::from_utf8).transpose().map_err(StoreError::failed)
    };
    let time = |index: usize| get(row, index).map(Timestamp::from_micros);
    let (waiting, state): (i64, &str) = (get(row, 6)?, get(row, 7)?);
    Ok(WriterStatus {
        id: text(0)?.unwrap_or_default().parse().map_err(StoreError::failed)?,
        service: text(1)?,
        instance: text(2)?,
        started: time(3)?,
        written_through: time(4)?,
        seen: time(5)?,
        waiting: waiting.unsigned_abs(),
        state: state_of(state, get(row, 8)?),
    })
}

/// Returns the version of the tables, in a transaction that puts rows, and updates the status of the writer.
pub(super) async fn update(
    transaction: &Transaction<'_>,
    report: Option<&WriterReport>,
) -> Result<i64, tokio_postgres::Error> {
    let Some(report) = report else { return tables::version(transaction).await };
    let text = format!(
        "WITH updated AS (
            UPDATE writer SET written_through = $3, seen = {NOW}, waiting = $4,
                state = CASE WHEN $5 THEN 'closed' ELSE state END
            WHERE id = $1 AND started = $2
        )
        SELECT version FROM about"
    );
    let statement = transaction.prepare_cached(&text).await?;
    let (id, started, written) =
        (report.id.to_string(), report.started.as_micros(), report.written_through.as_micros());
    let parameters: [&(dyn ToSql + Sync); 5] =
        [&id.as_bytes(), &started, &written, &clamped(report.waiting), &report.closed];
    transaction.query_one(&statement, &parameters).await?.try_get(0)
}

/// Stores what a writer reports, and finds writers that are lost.
pub(super) async fn report(connection: &mut Object, report: &WriterReport) -> Result<(), StoreError> {
    let transaction = connection.transaction().await.map_err(failed)?;
    tables::check(tables::version(&transaction).await.map_err(failed)?)?;
    put_report(&transaction, report).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

async fn put_report(transaction: &Transaction<'_>, report: &WriterReport) -> Result<(), tokio_postgres::Error> {
    let id = report.id.to_string();
    let id = id.as_bytes();
    let find = "SELECT started, written_through, state FROM writer WHERE id = $1 FOR UPDATE";
    let earlier = transaction.query_opt(find, &[&id]).await?;
    let earlier =
        earlier.map(|row| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let earlier: Option<(i64, i64, String)> = earlier.transpose()?;
    if earlier.as_ref().is_some_and(|(.., state)| state == word_of(WriterState::Lost)) {
        transaction.execute("DELETE FROM gap WHERE id = $1", &[&id]).await?;
    }
    let written_through = earlier.as_ref().map(|(_, written_through, _)| *written_through);
    if earlier.is_none_or(|(started, ..)| started != report.started.as_micros()) && report.is_after_unclean_stop() {
        let gap = gap_parameters(Uuid::now_v7(), &Gap::of_unclean_stop(written_through, report));
        transaction.execute(statements::PUT_GAP, &borrowed(&gap)).await?;
    }
    put(transaction, id, report).await?;
    if report.finds_lost { find_lost(transaction).await } else { Ok(()) }
}

async fn put(transaction: &Transaction<'_>, id: &[u8], report: &WriterReport) -> Result<(), tokio_postgres::Error> {
    let text = format!(
        "INSERT INTO writer (id, service, instance, started, written_through, seen, waiting, state)
        VALUES ($1, $2, $3, $4, $5, {NOW}, $6, $7)
        ON CONFLICT (id) DO UPDATE SET service = excluded.service, instance = excluded.instance,
            started = excluded.started, written_through = excluded.written_through, seen = excluded.seen,
            waiting = excluded.waiting, state = excluded.state"
    );
    let [service, instance] = [&report.service, &report.instance].map(|text| text.as_ref().map(String::as_bytes));
    let (started, written) = (report.started.as_micros(), report.written_through.as_micros());
    let state = word_of(if report.closed { WriterState::Closed } else { WriterState::Live });
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&id, &service, &instance, &started, &written, &clamped(report.waiting), &state];
    transaction.execute(&text, &parameters).await.map(drop)
}

/// Marks writers as lost that are silent, and deletes those that have been closed or lost for long. A row that is locked
/// is of a writer that writes, or is found by another one.
async fn find_lost(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let lost = format!(
        "WITH lost AS (
            UPDATE writer SET state = 'lost' WHERE id IN (
                SELECT id FROM writer WHERE state = 'live' AND seen < {NOW} - $1::BIGINT FOR UPDATE SKIP LOCKED
            ) RETURNING id, written_through
        )
        INSERT INTO gap (id, from_time, to_time, count, why)
        SELECT id, least(written_through, {NOW}), {NOW}, NULL, $2 FROM lost
        ON CONFLICT (id) DO NOTHING"
    );
    transaction.execute(&lost, &[&SILENT, &NO_REPORTS.as_bytes()]).await?;
    // Gaps stay, and are no longer those of a writer that may come back.
    let forget = format!(
        "WITH forgotten AS (
            DELETE FROM writer WHERE id IN (
                SELECT id FROM writer WHERE state <> 'live' AND seen < {NOW} - $1::BIGINT FOR UPDATE SKIP LOCKED
            ) RETURNING id
        )
        UPDATE gap SET id = NULL WHERE id IN (SELECT id FROM forgotten)"
    );
    transaction.execute(&forget, &[&FORGOTTEN]).await.map(drop)
}

/// Returns the parameters that put a gap.
pub(super) fn gap_parameters(id: Uuid, gap: &Gap) -> Vec<Parameter> {
    vec![
        bytes(&id.to_string()),
        parameter(gap.from.as_micros()),
        parameter(gap.to.as_micros()),
        parameter(gap.count.map(clamped)),
        bytes(&gap.why),
    ]
}
