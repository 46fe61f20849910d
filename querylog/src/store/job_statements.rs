//! The statements of export jobs, in the words that SQLite and PostgreSQL share. Parameters are `$1`, `$2`, …

use super::exports::JobList;
use super::many;
use crate::model::export_status::ExportState;
use crate::model::scan::Cursor;
use crate::model::scope::ExportScope;

/// The columns of a job, in the order in which they are written and read.
const COLUMNS: &str = "id, owner, token, scope, state, version, created, due, body";

/// Takes the token off a job of an owner, with this token, that was created by a time.
pub(super) const FREE_TOKEN: &str =
    "UPDATE export_job SET token = NULL WHERE owner = $1 AND token = $2 AND created <= $3";

/// Replaces state, due time and body of a job of an id and version. Returns a row where there is such a job.
pub(super) const REPLACE: &str = "UPDATE export_job SET state = $3, version = version + 1, due = $4, body = $5 WHERE id = $1 AND version = $2 \
     RETURNING 1";

/// Replaces the due time of a job of an id and version. Returns a row where there is such a job.
pub(super) const PUT_OFF: &str =
    "UPDATE export_job SET version = version + 1, due = $3 WHERE id = $1 AND version = $2 RETURNING 1";

/// Deletes a job of an id and version. Returns a row where there is such a job.
pub(super) const DELETE: &str = "DELETE FROM export_job WHERE id = $1 AND version = $2 RETURNING 1";

/// How many jobs of an owner are to be made still: of those that are due by a time, or of the others.
pub(super) fn count_waiting() -> String {
    let waiting = words(&[ExportState::Pending, ExportState::Requested]);
    let ahead = format!("state = '{}' AND due > $2", ExportState::Pending);
    format!("SELECT count(*) FROM export_job WHERE owner = $1 AND state IN ({waiting}) AND ({ahead}) = $3")
}

/// Adds a job, column by column, but for one whose token is taken.
pub(super) fn insert() -> String {
    format!("INSERT INTO export_job ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING")
}

/// The job of an id.
pub(super) fn of_id() -> String {
    format!("SELECT {COLUMNS} FROM export_job WHERE id = $1")
}

/// The job of an id, or else the one of an owner and a token.
pub(super) fn of_id_or_token() -> String {
    format!("SELECT {COLUMNS} FROM export_job WHERE id = $1 OR (owner = $2 AND token = $3) LIMIT 1")
}

/// The oldest jobs of these states that are due by a time, or later than another: so many.
pub(super) fn due(states: &[ExportState]) -> String {
    format!(
        "SELECT {COLUMNS} FROM export_job WHERE (due <= $1 OR due > $2) AND state IN ({}) ORDER BY created LIMIT $3",
        words(states)
    )
}

/// What a list is asked for.
pub(super) struct Listed {
    /// The statement.
    pub(super) text: String,
    /// Its first two parameters,
    pub(super) before: Cursor,
    /// the third,
    pub(super) limit: i64,
    /// and all others.
    pub(super) scopes: Vec<String>,
}

/// Those of a list, the newest first.
pub(super) fn list(list: JobList, limit: usize) -> Listed {
    let JobList { scopes, states, before } = list;
    let numbers = scopes.iter().enumerate().map(|(place, _)| 4 + 3 * place);
    let conditions = numbers.map(|n| format!("scope = ${n} OR (scope >= ${} AND scope < ${})", n + 1, n + 2));
    let conditions = conditions.collect::<Vec<_>>().join(" OR ");
    let text = format!(
        "SELECT {COLUMNS} FROM export_job WHERE (created, id) < ($1, $2) AND ({}) AND state IN ({}) \
         ORDER BY created DESC, id DESC LIMIT $3",
        if conditions.is_empty() { "false" } else { &conditions },
        words(if states.is_empty() { ExportState::ALL } else { &states }),
    );
    let before = before.unwrap_or(Cursor { micros: i64::MAX, id: String::new() });
    Listed { text, before, limit: many(limit), scopes: scopes.iter().flat_map(with_those_beneath).collect() }
}

/// The text of a scope, the first text of those beneath it, and the text behind the last of them.
fn with_those_beneath(scope: &ExportScope) -> [String; 3] {
    // A zero comes right behind a slash.
    [scope.to_string(), format!("{scope}/"), format!("{scope}0")]
}

fn words(states: &[ExportState]) -> String {
    states.iter().map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", ")
}
