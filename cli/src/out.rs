//! Output: entries and records on standard output, messages on standard error.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::Path;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tagtrail_querylog::Entry;
use tagtrail_querylog::files::ForeignLine;
use tagtrail_querylog::record::printable;

use crate::table;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Table,
    /// Lines of JSON
    Json,
}

/// Writes entries to standard output.
pub(crate) struct Output {
    pub(crate) writer: BufWriter<Stdout>,
    pub(crate) json: bool,
    pub(crate) color: bool,
    /// The number of lines that are not records.
    foreign: u64,
    /// Whether a file could not be read to its end.
    unread: bool,
}

/// Standard output, which is named in errors.
pub(crate) struct Stdout(StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(of_stdout)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn of_stdout(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
}

/// How many lines that are not records are listed.
const MAX_FOREIGN: u64 = 10;

impl Output {
    pub(crate) fn new(format: Option<Format>) -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        let json = format.map_or(!is_terminal, |format| format == Format::Json);
        let color = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { writer: BufWriter::new(Stdout(stdout)), json, color, foreign: 0, unread: false }
    }

    #[allow(clippy::needless_pass_by_value, reason = "for iterators of entries")]
    pub(crate) fn show(&mut self, entry: Entry) -> io::Result<()> {
        match &entry {
            Entry::Record(record) if self.json => writeln!(self.writer, "{record}"),
            Entry::Gap(gap) if self.json => writeln!(self.writer, "{gap}"),
            Entry::Record(record) => table::record(&mut self.writer, record, self.color),
            Entry::Gap(gap) => table::gap(&mut self.writer, gap, self.color),
            Entry::Foreign(line) => {
                self.report_foreign_line(line);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reports a line that is not a record, unless many were reported.
    pub(crate) fn report_foreign_line(&mut self, line: &ForeignLine) {
        self.foreign += 1;
        self.unread |= line.rest_unread;
        if self.foreign <= MAX_FOREIGN || line.rest_unread {
            report(&format!("{}, line {}: {}", path(&line.file), line.number, line.why));
        }
    }

    /// Ends the output of a log's files. Fails if a file could not be read to its end.
    pub(crate) fn end(&mut self) -> Result<(), Box<dyn Error>> {
        self.flush()?;
        self.report_foreign_lines();
        if self.unread { Err("not all of the log could be read".into()) } else { Ok(()) }
    }

    /// Reports the number of lines that are not records if not all were listed, and starts counting again.
    pub(crate) fn report_foreign_lines(&mut self) {
        if self.foreign > MAX_FOREIGN {
            report(&format!("{} lines are not records; only the first {MAX_FOREIGN} were listed", self.foreign));
        }
        self.foreign = 0;
    }

    /// Writes a line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        writeln!(self.writer, "{}", escape_json(&serde_json::to_string(value)?))
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Escapes control characters of terminals in JSON. They occur only in its strings.
fn escape_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut line, char| {
        if printable(char.encode_utf8(&mut [0; 4])).len() == char.len_utf8() {
            line.push(char);
        } else {
            // All of them are below U+10000. Writing to a string cannot fail.
            let _ = write!(line, "\\u{:04x}", u32::from(char));
        }
        line
    })
}

/// Creates a counter of records on standard error, unless the records are shown on the terminal.
pub(crate) fn counting() -> ProgressBar {
    let progress = if io::stdout().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    match ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}") {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

/// Returns a path without control characters.
pub(crate) fn path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// Writes a message to standard error, without control characters. It is lost if standard error is closed.
pub(crate) fn report(message: &str) {
    let _ = writeln!(io::stderr(), "tagtrail-log: {}", printable(message));
}

/// Reports that there are no records unless there are `any`: an empty output could mean that something is wrong.
pub(crate) fn report_if_none(any: bool) {
    if !any {
        report("no records found");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_control_characters() {
        let texts = ["plain é 漢 😀 \"\\", "\u{9b}31m", "\u{202e}", "\u{7f}\u{2028}\u{feff}"];
        let json = escape_json(&serde_json::to_string(&texts).unwrap());
        assert_eq!(printable(&json), json);
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), texts);
    }
}
