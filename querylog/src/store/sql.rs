//! What the SQL stores share.

use std::collections::HashSet;
use std::time::Duration;

use crate::model::writer_status::WriterState;
use crate::store::Row;

/// The columns of a row, in the order in which they are written and read. Short ones come first.
pub(super) const COLUMNS: &str = "id, timestamp, exec_env_id, user_id, user_email, udf_id, udf_name, execution_engine, \
                                  execution_time, cache, shared_token, client_ip, object, object_members, ended, \
                                  details, stdout, stderr, udf_data, service, outcome, status, duration";

/// Returns the columns without output, with this value in its place.
pub(super) fn short_columns(null: &str) -> String {
    COLUMNS.replace("stdout, stderr, udf_data", &[null; 3].join(", "))
}

/// The assignments that replace a row that is put again. The id and the time stay, and so do details that the new row
/// does not have, so that an audit record does not remove those of a request.
pub(super) const REPLACED: &str = "
    exec_env_id = excluded.exec_env_id, user_id = excluded.user_id, user_email = excluded.user_email,
    udf_id = excluded.udf_id, udf_name = excluded.udf_name, execution_engine = excluded.execution_engine,
    execution_time = excluded.execution_time, cache = excluded.cache, shared_token = excluded.shared_token,
    client_ip = excluded.client_ip, object = excluded.object, object_members = excluded.object_members,
    ended = excluded.ended, details = coalesce(excluded.details, record.details), stdout = excluded.stdout,
    stderr = excluded.stderr, udf_data = excluded.udf_data, service = coalesce(excluded.service, record.service),
    outcome = coalesce(excluded.outcome, record.outcome), status = coalesce(excluded.status, record.status),
    duration = coalesce(excluded.duration, record.duration)";

/// Returns a limit as SQL has it.
pub(super) fn many(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Returns rows without the starts of requests that also end among them, so that these are written once.
pub(super) fn without_starts<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> impl Iterator<Item = &'a Row> {
    let ended: HashSet<_> = rows.clone().filter(|row| row.ended).map(|row| row.record.id.as_str()).collect();
    rows.filter(move |row| row.ended || !ended.contains(row.record.id.as_str()))
}

/// After so many microseconds without a report, a writer is lost.
pub(super) const SILENT: i64 = 30_000_000;
/// After so many microseconds without a report, a writer that was closed or lost is deleted.
pub(super) const FORGOTTEN: i64 = 30 * 86_400_000_000;

/// Returns the state of a writer as tables have it.
pub(super) fn word_of(state: WriterState) -> &'static str {
    match state {
        WriterState::Live => "live",
        WriterState::Closed => "closed",
        WriterState::Lost => "lost",
    }
}

/// Returns the state of a writer. One that is silent is lost, even if no other writer has marked it yet.
pub(super) fn state_of(word: &str, is_silent: bool) -> WriterState {
    match word {
        "closed" => WriterState::Closed,
        "live" if !is_silent => WriterState::Live,
        _ => WriterState::Lost,
    }
}

/// Returns a count as SQL has it.
pub(super) fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn whole_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn from_micros(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}
