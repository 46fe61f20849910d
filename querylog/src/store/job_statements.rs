//! The statements of jobs, in the SQL that SQLite and PostgreSQL share. Parameters are `$1`, `$2`, …

use crate::model::cursor::Cursor;
use crate::model::export_status::ExportState;
use crate::model::scope::ExportScope;
use crate::store::jobs::{JobLimit, JobList};
use crate::store::sql::many;

/// The columns of a job, in the order in which they are written and read.
const COLUMNS: &str = "id, owner, token, scope, state, version, created, due, body";

/// Removes the token from the job of an owner, if the job was created by a time.
pub(super) const RELEASE_TOKEN: &str =
    "UPDATE export_job SET token = NULL WHERE owner = $1 AND token = $2 AND created <= $3";

/// Replaces state, due time and body of the job with an id and a version. Returns a row if there is such a job.
pub(super) const COMPARE_AND_SWAP: &str = "UPDATE export_job SET state = $3, version = version + 1, due = $4, body = $5 WHERE id = $1 AND version = $2 \
     RETURNING 1";

/// Replaces the due time of the job with an id and a version. Returns a row if there is such a job.
pub(super) const POSTPONE: &str =
    "UPDATE export_job SET version = version + 1, due = $3 WHERE id = $1 AND version = $2 RETURNING 1";

/// Deletes the job with an id and a version. Returns a row if there is such a job.
pub(super) const DELETE: &str = "DELETE FROM export_job WHERE id = $1 AND version = $2 RETURNING 1";

/// The statement that inserts a job, and its parameters.
pub(super) struct Insert {
    /// The statement, which returns a row if it inserts the job. Its first nine parameters are the columns,
    pub(super) text: String,
    /// the tenth is this limit,
    pub(super) most: i64,
    /// and all others are the bounds of due times.
    pub(super) bounds: Vec<i64>,
}

/// Inserts a job, unless its token is used already, or its owner has reached the limit.
pub(super) fn insert(limit: &JobLimit) -> Insert {
    let numbers = (0..limit.counted.len()).map(|index| 11 + 2 * index);
    let counted = numbers
        .zip(&limit.counted)
        .map(|(n, (state, _))| format!("(state = '{state}' AND due BETWEEN ${n} AND ${})", n + 1));
    let counted = any(counted);
    let text = format!(
        "INSERT INTO export_job ({COLUMNS}) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 \
         WHERE (SELECT count(*) FROM export_job WHERE owner = $2 AND ({counted})) < $10 \
         ON CONFLICT DO NOTHING RETURNING 1"
    );
    let bounds = limit.counted.iter().flat_map(|(_, due)| [due.start().as_micros(), due.end().as_micros()]);
    Insert { text, most: many(limit.most), bounds: bounds.collect() }
}

/// Selects the job with an id.
pub(super) fn of_id() -> String {
    format!("SELECT {COLUMNS} FROM export_job WHERE id = $1")
}

/// Selects the job of an owner with a token.
pub(super) fn of_token() -> String {
    format!("SELECT {COLUMNS} FROM export_job WHERE owner = $1 AND token = $2")
}

/// Selects the oldest jobs in these states that are due by a time, or after another, up to a limit.
pub(super) fn due(states: &[ExportState]) -> String {
    format!(
        "SELECT {COLUMNS} FROM export_job WHERE (due <= $1 OR due > $2) AND state IN ({}) ORDER BY created LIMIT $3",
        words(states)
    )
}

/// The statement that lists jobs, and its parameters.
pub(super) struct List {
    /// The statement.
    pub(super) text: String,
    /// Its first two parameters,
    pub(super) before: Cursor,
    /// the third,
    pub(super) limit: i64,
    /// and all others.
    pub(super) scopes: Vec<String>,
}

/// Lists jobs, newest first.
pub(super) fn list(list: JobList, limit: usize) -> List {
    let JobList { scopes, states, before } = list;
    let numbers = scopes.iter().enumerate().map(|(index, _)| 4 + 3 * index);
    let conditions = any(numbers.map(|n| format!("scope = ${n} OR (scope >= ${} AND scope < ${})", n + 1, n + 2)));
    let text = format!(
        "SELECT {COLUMNS} FROM export_job WHERE (created, id) < ($1, $2) AND ({conditions}) AND state IN ({}) \
         ORDER BY created DESC, id DESC LIMIT $3",
        words(if states.is_empty() { ExportState::ALL } else { &states }),
    );
    let before = before.unwrap_or(Cursor { micros: i64::MAX, id: String::new() });
    List { text, before, limit: many(limit), scopes: scopes.iter().flat_map(bounds_of).collect() }
}

/// Returns the text of a scope, the lower bound of the texts of the scopes in it, and their upper bound.
fn bounds_of(scope: &ExportScope) -> [String; 3] {
    // In ASCII, `0` follows `/`.
    [scope.to_string(), format!("{scope}/"), format!("{scope}0")]
}

fn any(conditions: impl Iterator<Item = String>) -> String {
    let conditions = conditions.collect::<Vec<_>>().join(" OR ");
    if conditions.is_empty() { "false".to_owned() } else { conditions }
}

fn words(states: &[ExportState]) -> String {
    states.iter().map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", ")
}
