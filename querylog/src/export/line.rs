//! The exported line of a request, from what a store has of it. It is the same as that of its
//! [`Record`](crate::Record), without making one: the columns of its row are not read.

use std::io;

use crate::model::record::export_counters;
use crate::model::scope::ExportScope;
use crate::model::time::Timestamp;
use crate::store::ExportedRow;
use crate::wire::exported::{Exported, headers, limits_hit, whole_millis};
use crate::wire::json::write_line;
use crate::wire::line::Line;

/// Appends the line of a request, if it is in the scope, and returns whether it is. What is damaged is left out, and the
/// log of the process says so.
pub(super) fn write_details(
    row: &ExportedRow,
    scope: &ExportScope,
    api_version: &str,
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    let Some(details) = &row.details else { return Ok(false) };
    let source: Line<'_> = match serde_json::from_str(details) {
        Ok(source) => source,
        Err(error) => {
            tracing::error!(%error, "export: the details of a request are damaged, and it is left out");
            return Ok(false);
        }
    };
    let database = source.database.as_ref().and_then(Option::as_deref).unwrap_or_default();
    let region_group = source.region_group.as_ref().and_then(Option::as_ref).map(AsRef::as_ref);
    let Some(region_group) = region_group.filter(|group| scope.has(group, database)) else { return Ok(false) };
    let counter =
        |name: &str| source.stats.counters.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count);
    let exported = Exported {
        api_version,
        bytes_in: source.stats.query_bytes_in,
        bytes_out: source.stats.query_bytes_out,
        byte_read_ops: counter(export_counters::BYTE_READ_OPS),
        byte_write_ops: counter(export_counters::BYTE_WRITE_OPS),
        compute_ops: counter(export_counters::COMPUTE_OPS),
        database: database.iter().map(AsRef::as_ref).collect(),
        query_time_ms: whole_millis(source.stats.query_time),
        rate_limits_hit: limits_hit(counter),
        region_group,
        request_headers: headers(source.request.headers())?,
        request_method: source.request.method(),
        response_code: source.response.code.unwrap_or_default().to_string(),
        shape: source.shape.as_ref().map(AsRef::as_ref),
        traceparent: source.trace.traceparent(),
        tags: source.tags,
        ts: Timestamp::from_micros(row.place.micros).exported(),
        txn_retries: counter(export_counters::TXN_RETRIES),
    };
    write_line(&exported, line)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tagtrail::{Sample, Tags, Trail};

    use super::*;
    use crate::model::cursor::Cursor;
    use crate::model::record::{Outcome, Record};
    use crate::wire::line::stored;

    fn row(record: &Record, details: String) -> ExportedRow {
        let place = Cursor { micros: record.start_time.as_micros(), id: record.id.to_string() };
        ExportedRow::new(place, Some(details))
    }

    fn records() -> Vec<Record> {
        let mut minimal = Record::new(&Trail::start(Sample::Always), "/");
        minimal.notes.region_group = Some("us-std".into());
        let trail = Trail::start(Sample::Never).with_tags("project=blog,env=prod".parse::<Tags>().unwrap());
        let mut record = Record::new(&trail, "/posts/\"7\"\u{1b}");
        record.start_time = Timestamp::from_micros(-1_234_567);
        record.request.method = "PURGE".parse().unwrap();
        record.request.headers = vec![
            (http::header::USER_AGENT, "a\u{1b}\"\\\n\u{9b}é😀".into()),
            (http::HeaderName::from_static("x-forwarded-for"), "1.1.1.1, ::1".into()),
        ];
        record.request.body_bytes = u64::MAX;
        record.response.status = Some(599);
        record.response.body_bytes = 7;
        record.notes.region_group = Some("us-std".into());
        record.notes.database = vec!["shop \"\u{7f}\"".into(), "a/b".into()];
        record.notes.shape = Some("f(\u{202e})\n".into());
        record.notes.add(export_counters::BYTE_READ_OPS, 1);
        record.notes.add(export_counters::BYTE_WRITE_OPS, 2);
        record.notes.add(export_counters::COMPUTE_OPS, 3);
        record.notes.add(export_counters::TXN_RETRIES, 4);
        record.notes.add(export_counters::READ_LIMITS_HIT, 5);
        record.notes.add(export_counters::COMPUTE_LIMITS_HIT, 6);
        record.notes.add("rows", 7);
        record.end(Duration::from_micros(1_999_999), Outcome::Aborted);
        vec![minimal, record]
    }

    #[test]
    fn a_line_is_the_same_as_that_of_the_record() {
        let scope: ExportScope = "us-std".parse().unwrap();
        for record in records() {
            let row = row(&record, stored(&record));
            let (mut line, mut expected) = (Vec::new(), Vec::new());
            assert!(write_details(&row, &scope, "v1", &mut line).unwrap());
            crate::wire::exported::write_record(&record, "v1", &mut expected).unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), String::from_utf8(expected).unwrap());
        }
    }

    #[test]
    fn a_request_is_left_out_if_it_is_elsewhere_or_damaged() {
        let record = records().remove(1);
        let details = stored(&record);
        let damaged = details.replace("\"code\":599", "\"code\":\"599\"");
        let whole = row(&record, details);
        let none = ExportedRow { details: None, ..whole.clone() };
        for (row, scope) in [
            (&whole, "eu-std"),
            (&whole, "us-std/shop"),
            (&row(&record, damaged), "us-std"),
            (&row(&record, String::new()), "us-std"),
            (&none, "us-std"),
        ] {
            let mut line = Vec::new();
            assert!(!write_details(row, &scope.parse().unwrap(), "v1", &mut line).unwrap());
            assert_eq!(line, b"");
        }
    }
}
