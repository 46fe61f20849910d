//! The processes that write into the file: what they report, and who is lost.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use crate::model::gap::{Gap, NO_REPORTS};
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::model::writer_status::{WriterReport, WriterState, WriterStatus};
use crate::store::sql::{FORGOTTEN, SILENT, clamped, many, state_of, word_of};
use crate::store::sqlite::statements::{GAPS, PUT_GAP};
use crate::store::sqlite::tables;

const FIND: &str = "SELECT started, written_through, state FROM writer WHERE id = ?1";

const PUT: &str = "
    INSERT INTO writer (id, service, instance, started, written_through, seen, waiting, state)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (id) DO UPDATE SET service = excluded.service, instance = excluded.instance, started = excluded.started,
        written_through = excluded.written_through, seen = excluded.seen, waiting = excluded.waiting,
        state = excluded.state";

/// Updates the status of a run that has reported before.
const UPDATE: &str = "
    UPDATE writer SET written_through = ?3, seen = ?4, waiting = ?5, state = CASE WHEN ?6 THEN 'closed' ELSE state END
    WHERE id = ?1 AND started = ?2";

const LOST_GAPS: &str = "
    INSERT INTO gap (id, from_time, to_time, count, why)
    SELECT id, min(written_through, ?1), ?1, NULL, ?2 FROM writer WHERE state = 'live' AND seen < ?3
    ON CONFLICT (id) DO NOTHING";

const LOST: &str = "UPDATE writer SET state = 'lost' WHERE state = 'live' AND seen < ?1";

const WRITERS: &str =
    "SELECT id, service, instance, started, written_through, seen, waiting, state FROM writer ORDER BY id";

/// Updates the status of a writer in the transaction that puts its rows.
pub(super) fn update(transaction: &Transaction<'_>, report: &WriterReport) -> rusqlite::Result<()> {
    let parameters = params![
        report.id.to_string(),
        report.started.as_micros(),
        report.written_through.as_micros(),
        Timestamp::now().as_micros(),
        clamped(report.waiting),
        report.closed,
    ];
    transaction.prepare_cached(UPDATE)?.execute(parameters).map(drop)
}

/// Stores what a writer reports, and finds writers that are lost.
pub(super) fn report(connection: &mut Connection, report: &WriterReport) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tables::check_version(&transaction)?;
    let (id, now) = (report.id.to_string(), Timestamp::now().as_micros());
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let earlier: Option<(i64, i64, String)> = transaction.query_row(FIND, [&id], read).optional()?;
    if earlier.as_ref().is_some_and(|(.., state)| state == word_of(WriterState::Lost)) {
        transaction.execute("DELETE FROM gap WHERE id = ?1", [&id])?;
    }
    let written_through = earlier.as_ref().map(|(_, written_through, _)| *written_through);
    if earlier.is_none_or(|(started, ..)| started != report.started.as_micros()) && report.is_after_unclean_stop() {
        put_gap(&transaction, Uuid::now_v7(), &Gap::of_unclean_stop(written_through, report))?;
    }
    let status = WriterStatus::new(report, Timestamp::from_micros(now));
    let parameters = params![
        id,
        status.service,
        status.instance,
        status.started.as_micros(),
        status.written_through.as_micros(),
        now,
        clamped(status.waiting),
        word_of(status.state),
    ];
    transaction.execute(PUT, parameters)?;
    if report.finds_lost {
        find_lost(&transaction, now)?;
    }
    transaction.commit()
}

/// Marks writers as lost that are silent, and deletes those that have been closed or lost for long.
fn find_lost(transaction: &Transaction<'_>, now: i64) -> rusqlite::Result<()> {
    transaction.execute(LOST_GAPS, params![now, NO_REPORTS, now - SILENT])?;
    transaction.execute(LOST, [now - SILENT])?;
    // Gaps stay, and are no longer those of a writer that may come back.
    let forgotten = "SELECT id FROM writer WHERE state <> 'live' AND seen < ?1";
    transaction.execute(&format!("UPDATE gap SET id = NULL WHERE id IN ({forgotten})"), [now - FORGOTTEN])?;
    transaction.execute(&format!("DELETE FROM writer WHERE id IN ({forgotten})"), [now - FORGOTTEN])?;
    Ok(())
}

pub(super) fn put_gap(connection: &Connection, id: Uuid, gap: &Gap) -> rusqlite::Result<()> {
    let (from, to, count) = (gap.from.as_micros(), gap.to.as_micros(), gap.count.map(clamped));
    connection.execute(PUT_GAP, params![id.to_string(), from, to, count, gap.why]).map(drop)
}

/// Reads the last gaps of a window, as of now.
pub(super) fn read_gaps(connection: &Connection, window: Window, limit: usize) -> rusqlite::Result<Vec<Gap>> {
    let now = Timestamp::now().as_micros();
    let read = |row: &rusqlite::Row<'_>| {
        let count: Option<i64> = row.get(2)?;
        Ok(Gap {
            from: Timestamp::from_micros(row.get(0)?),
            to: Timestamp::from_micros(row.get(1)?),
            count: count.map(i64::unsigned_abs),
            why: row.get::<_, String>(3)?.into(),
        })
    };
    let (start, end) = (window.start.as_micros(), window.end.as_micros());
    let parameters = params![start, end, many(limit), now, now - SILENT, NO_REPORTS];
    connection.prepare_cached(GAPS)?.query_map(parameters, read)?.collect()
}

/// Reads the writers, as of now.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<WriterStatus>> {
    let silent = Timestamp::from_micros(Timestamp::now().as_micros() - SILENT);
    let read = |row: &rusqlite::Row<'_>| {
        let (id, waiting): (String, i64) = (row.get(0)?, row.get(6)?);
        let seen = Timestamp::from_micros(row.get(5)?);
        Ok(WriterStatus {
            id: id.parse().unwrap_or_default(),
            service: row.get(1)?,
            instance: row.get(2)?,
            started: Timestamp::from_micros(row.get(3)?),
            written_through: Timestamp::from_micros(row.get(4)?),
            seen,
            waiting: waiting.unsigned_abs(),
            state: state_of(&row.get::<_, String>(7)?, seen < silent),
        })
    };
    connection.prepare_cached(WRITERS)?.query_map([], read)?.collect()
}
