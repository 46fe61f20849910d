//! A record as a line for people. What callers wrote is shown, and never obeyed.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use tagtrail_querylog::{Gap, Outcome, Record, printable};

/// Time, status, duration, method and path, tags, trace, and how it ended where it is not complete.
pub(crate) fn record(out: &mut impl Write, record: &Record, colour: bool) -> io::Result<()> {
    let status = record.response.status.map_or("---".into(), |status| status.to_string());
    let style = if colour { style_of(record) } else { Style::new() };
    let dimmed = if colour { Style::new().dimmed() } else { Style::new() };
    let time = record.duration.map_or("never".into(), |time| format!("{:.3} ms", time.as_secs_f64() * 1_000.0));
    write!(out, "{dimmed}{}{dimmed:#} {style}{status}{style:#} {time:>14} ", record.begin)?;
    write!(out, "{:7} {}", record.request.method, printable(&record.request.path))?;
    if !record.tags.is_empty() {
        write!(out, " [{}]", record.tags)?;
    }
    write!(out, " {dimmed}{}{dimmed:#}", record.trace_id)?;
    match record.response.outcome {
        Some(Outcome::Complete) => {}
        Some(outcome) => write!(out, " {style}{outcome}{style:#}")?,
        None => write!(out, " {style}never ended{style:#}")?,
    }
    writeln!(out)
}

/// What is missing there.
pub(crate) fn gap(out: &mut impl Write, gap: &Gap, colour: bool) -> io::Result<()> {
    let style = if colour { AnsiColor::Magenta.on_default() } else { Style::new() };
    let count = gap.count.map_or("perhaps some".into(), |count| count.to_string());
    writeln!(out, "{style}-- {count} records missing, {} to {}: {}{style:#}", gap.from, gap.to, printable(&gap.why))
}

fn style_of(record: &Record) -> Style {
    match record.response.status {
        Some(..300) => AnsiColor::Green.on_default(),
        Some(300..400) => AnsiColor::Cyan.on_default(),
        Some(400..500) => AnsiColor::Yellow.on_default(),
        _ => AnsiColor::Red.on_default(),
    }
}
