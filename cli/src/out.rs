//! What the program shows, and where: entries and records on the standard output, errors on the other one.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tagtrail_querylog::{Entry, ForeignLine, printable};

use crate::table;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// Where entries are shown, and how.
pub(crate) struct Out {
    pub(crate) writer: BufWriter<Stdout>,
    pub(crate) json: bool,
    pub(crate) colour: bool,
    /// How many lines are no records.
    foreign: u64,
    /// Whether a file could not be read to its end.
    unread: bool,
}

/// The standard output, which errors of writing name.
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
    io::Error::new(error.kind(), format!("cannot write to the standard output: {error}"))
}

/// So many lines that are no records are told of, each by itself.
const FOREIGN: u64 = 10;

impl Out {
    pub(crate) fn new(format: Option<Format>) -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        let json = format.map_or(!is_terminal, |format| format == Format::Json);
        let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { writer: BufWriter::new(Stdout(stdout)), json, colour, foreign: 0, unread: false }
    }

    #[allow(clippy::needless_pass_by_value, reason = "for iterators of entries")]
    pub(crate) fn show(&mut self, entry: Entry) -> io::Result<()> {
        match &entry {
            Entry::Record(record) if self.json => writeln!(self.writer, "{record}"),
            Entry::Gap(gap) if self.json => writeln!(self.writer, "{gap}"),
            Entry::Record(record) => table::record(&mut self.writer, record, self.colour),
            Entry::Gap(gap) => table::gap(&mut self.writer, gap, self.colour),
            Entry::Foreign(line) => {
                self.foreign(line);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Tells of a line that is no record, unless many were told of.
    pub(crate) fn foreign(&mut self, line: &ForeignLine) {
        self.foreign += 1;
        self.unread |= line.rest_unread;
        if self.foreign <= FOREIGN || line.rest_unread {
            tell(&format!("{}, line {}: {}", path(&line.file), line.number, line.why));
        }
    }

    /// Ends what is shown of a log's files: says how many lines are no records, and fails where not all could be read.
    pub(crate) fn end(&mut self) -> Result<(), Box<dyn Error>> {
        self.flush()?;
        self.tell_of_foreign();
        if self.unread { Err("not all of the log could be read".into()) } else { Ok(()) }
    }

    /// Says how many lines are no records, where not each of them was told of, and counts anew.
    pub(crate) fn tell_of_foreign(&mut self) {
        if self.foreign > FOREIGN {
            tell(&format!("{} lines are no records; the first {FOREIGN} of them are told of", self.foreign));
        }
        self.foreign = 0;
    }

    /// A line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        writeln!(self.writer, "{}", escaped(&serde_json::to_string(value)?))
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// JSON with what a terminal would obey escaped. Such characters are in its strings alone.
fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut line, char| {
        if printable(char.encode_utf8(&mut [0; 4])).len() == char.len_utf8() {
            line.push(char);
        } else {
            // All of them are below U+10000. Nothing fails that writes to a string.
            let _ = write!(line, "\\u{:04x}", u32::from(char));
        }
        line
    })
}

/// Counts records on the standard error, where the records themselves are not on the terminal.
pub(crate) fn counting() -> ProgressBar {
    let progress = if io::stdout().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    match ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}") {
        Ok(style) => progress.with_style(style),
        Err(_) => progress,
    }
}

/// A path, for people.
pub(crate) fn path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// Arguments that cannot be meant so.
#[derive(Debug)]
pub(crate) struct Misuse(String);

impl Misuse {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Misuse {}

/// What is wrong with the value of an option.
pub(crate) fn of_option(option: &str, error: &(dyn Error + 'static)) -> Box<dyn Error> {
    format!("{option}: {}", whole(error)).into()
}

/// An error with those that it came from, as far as it does not have their words.
pub(crate) fn whole(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(source) = next {
        let why = source.to_string();
        if !text.contains(&why) && !why.ends_with(&last) {
            text = format!("{text}: {why}");
        }
        last = why;
        next = source.source();
    }
    text
}

/// A line on the standard error, with nothing in it that a terminal obeys. Where nobody reads that any more, nobody is told.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "tagtrail-log: {}", printable(text));
}

/// Says that there are no records, where there are not `any`: to show nothing could mean that something is wrong.
pub(crate) fn tell_of_none(any: bool) {
    if !any {
        tell("no records are found");
    }
}

/// Says what went wrong, and how the program ends.
pub(crate) fn ended(error: &(dyn Error + 'static)) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    tell(&whole(error));
    if error.is::<Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// Whoever reads has had enough: `| head`.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_nothing_that_a_terminal_obeys() {
        let texts = ["plain é 漢 😀 \"\\", "\u{9b}31m", "\u{202e}", "\u{7f}\u{2028}\u{feff}"];
        let json = escaped(&serde_json::to_string(&texts).unwrap());
        assert_eq!(printable(&json), json);
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), texts);
    }

    /// An error, and the one that it came from.
    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn an_error_says_where_it_came_from_once() {
        let inner = io::Error::new(ErrorKind::ConnectionRefused, "refused");
        let outer = io::Error::other(io::Error::other(inner));
        assert_eq!(whole(&outer), "refused");
        let inner = io::Error::other("error code 26: no database");
        assert_eq!(whole(&Outer("no database", inner)), "no database");
        let inner = io::Error::new(ErrorKind::ConnectionRefused, "refused");
        assert_eq!(whole(&Outer("not reached", inner)), "not reached: refused");
        assert_eq!(of_option("--store", &Misuse::new("no")).to_string(), "--store: no");
    }
}
