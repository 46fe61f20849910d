//! Setting aside the records that a store rejects.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::model::record::Record;
use crate::private_file;
use crate::store::Row;
use crate::wire::json::write_line;
use crate::wire::line;

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    rejected: &'a str,
    record: &'a Record,
}

/// Appends a record to the file for what a store rejects, as `{"rejected":"the reason","record":{…}}`.
pub(super) fn set_aside(file: Option<&Path>, row: &Row, why: &(dyn Error + Send + Sync)) {
    let id = row.record.id.as_str();
    let Some(file) = file else {
        tracing::error!(%why, id, "audit log: the store rejected a record, which is dropped");
        return;
    };
    match write(file, row, &why.to_string()) {
        Ok(()) => {
            tracing::error!(%why, id, file = %file.display(), "audit log: a record that the store rejected is set aside");
        }
        Err(error) => {
            tracing::error!(%why, %error, id, "audit log: the store rejected a record, which could not be set aside");
        }
    }
}

fn write(file: &Path, row: &Row, why: &str) -> io::Result<()> {
    let details = row.details.as_deref().ok_or(io::ErrorKind::InvalidData)?;
    let record = line::Line::read_stored(details, row.record.clone())?;
    let mut line = Vec::new();
    write_line(&Line { rejected: why, record: &record }, &mut line)?;
    let mut file = private_file::append(file)?;
    file.write_all(&line)?;
    file.sync_data()
}
