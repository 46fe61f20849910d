//! Records as lines of a table. Texts of callers are shown without control characters.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use tagtrail_querylog::record::printable;
use tagtrail_querylog::{Gap, Outcome, Record};
use unicode_width::UnicodeWidthStr;

/// Writes time, status, duration, method and path, tags, trace-id, the outcome if it is not `complete`, the status of a
/// gRPC call, and the error.
pub(crate) fn record(out: &mut impl Write, record: &Record, color: bool) -> io::Result<()> {
    let status = record.response.status.map_or("---".into(), |status| status.to_string());
    let style = if color { style_of(record) } else { Style::new() };
    let dimmed = if color { Style::new().dimmed() } else { Style::new() };
    let time = record.duration.map_or("never".into(), |time| format!("{:.3} ms", time.as_secs_f64() * 1_000.0));
    write!(out, "{dimmed}{}{dimmed:#} {style}{status}{style:#} {time:>14} ", record.start_time)?;
    write!(out, "{} {}", left(&printable(record.request.method.as_str()), 7), printable(&record.request.path))?;
    if !record.tags.is_empty() {
        write!(out, " [{}]", record.tags)?;
    }
    write!(out, " {dimmed}{}{dimmed:#}", record.trace_id)?;
    match record.response.outcome {
        Some(Outcome::Complete) => {}
        Some(outcome) => write!(out, " {style}{outcome}{style:#}")?,
        None => write!(out, " {style}never ended{style:#}")?,
    }
    if let Some(status) = record.response.grpc_status {
        write!(out, " {style}grpc {status}{style:#}")?;
    }
    if let Some(error) = &record.response.error {
        write!(out, " {style}{}{style:#}", printable(error))?;
    }
    writeln!(out)
}

/// Writes how many records are missing, when, and why.
pub(crate) fn gap(out: &mut impl Write, gap: &Gap, color: bool) -> io::Result<()> {
    let style = if color { AnsiColor::Magenta.on_default() } else { Style::new() };
    let count = gap.count.map_or("perhaps some".into(), |count| count.to_string());
    writeln!(out, "{style}-- {count} records missing, {} to {}: {}{style:#}", gap.from, gap.to, printable(&gap.why))
}

/// Pads a text to this number of terminal columns. Wide characters, such as Chinese ones, take two.
pub(crate) fn left(text: &str, columns: usize) -> String {
    let padding = columns.saturating_sub(text.width());
    format!("{text}{:padding$}", "")
}

fn style_of(record: &Record) -> Style {
    match record.response.status.filter(|_| !record.has_failed()) {
        Some(..300) => AnsiColor::Green.on_default(),
        Some(300..400) => AnsiColor::Cyan.on_default(),
        Some(400..500) => AnsiColor::Yellow.on_default(),
        _ => AnsiColor::Red.on_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_counts_terminal_columns() {
        for (text, expected) in [
            ("ada", "ada   |"),
            ("漢字", "漢字  |"),
            ("한글x", "한글x |"),
            ("e\u{301}", "e\u{301}     |"),
            ("", "      |"),
            ("longer than six", "longer than six|"),
        ] {
            assert_eq!(format!("{}|", left(text, 6)), expected);
        }
    }
}
