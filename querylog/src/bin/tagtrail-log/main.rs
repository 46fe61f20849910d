//! `tagtrail-log`: shows the query log of a service, follows it, and sums it up; keeps an audit log, and answers
//! questions about it.

mod audit;
mod export;
mod filter;
mod import;
mod prune;
mod query;
mod requests;
mod serve;
mod stats;
mod table;

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tagtrail_querylog::{Entries, Entry, read};

use crate::export::Export;
use crate::filter::Filter;
use crate::import::Import;
use crate::prune::Prune;
use crate::query::Query;
use crate::requests::{RequestsVerb, TraceVerb};
use crate::serve::Serve;
use crate::stats::{By, Stats};

/// Shows the query log of a service, and serves its audit log.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// The last records.
    Tail {
        #[command(flatten)]
        log: Log,
        /// How many.
        #[arg(short = 'n', long, default_value_t = 10)]
        lines: usize,
        /// Goes on with what is written from now on, across files that are rolled.
        #[arg(short, long)]
        follow: bool,
    },
    /// All records.
    Cat {
        #[command(flatten)]
        log: Log,
    },
    /// Counts, failures and latencies: of all, and by route and by tag.
    Stats {
        #[command(flatten)]
        log: Log,
        /// By what: `route`, `path`, `status`, `tag` (each name and value), or `tag:NAME`. Repeat it for several.
        #[arg(long, value_name = "WHAT")]
        by: Vec<By>,
        /// How many lines by each.
        #[arg(long, default_value_t = 20)]
        top: usize,
    },
    /// Answers questions about an audit log by its REST API.
    Serve(Serve),
    /// Puts audit records, as the API returns them, into a store.
    Import(Import),
    /// Drops the old partitions of a store in PostgreSQL, and what their records had in an object store.
    Prune(Prune),
    /// Asks an audit log: a store, or a server.
    Query(Box<Query>),
    /// Asks an audit log about requests: by trace, tag, status and route.
    Requests(Box<RequestsVerb>),
    /// Shows the requests of a trace across services, as a tree.
    Trace(TraceVerb),
    /// Exports the log of a server: asks for a range, waits, and downloads it.
    Export(Export),
}

#[derive(Args)]
struct Log {
    /// The folder of a log, or one file of it, compressed or not.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    filter: Filter,
    /// A table for people, or lines of JSON. By default a table on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tagtrail-log: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever reads has had enough: `| head`.
fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command.verb {
        Verb::Export(export) => return export.run(),
        Verb::Tail { log, lines, follow } => tail(&log, lines, follow)?,
        Verb::Cat { log } => {
            let mut out = Out::new(log.format);
            for entry in log.entries()? {
                out.show(entry?)?;
            }
            out.flush()?;
        }
        Verb::Serve(serve) => serve.run()?,
        Verb::Import(import) => import.run()?,
        Verb::Prune(prune) => prune.run()?,
        Verb::Query(query) => query.run()?,
        Verb::Requests(requests) => requests.run()?,
        Verb::Trace(trace) => trace.run()?,
        Verb::Stats { log, by, top } => {
            let mut stats = Stats::new(if by.is_empty() { vec![By::Route, By::Tags] } else { by });
            for entry in log.entries()? {
                stats.add(&entry?);
            }
            let mut out = Out::new(log.format);
            stats.show(&mut out.writer, top, out.json)?;
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tail(log: &Log, lines: usize, follow: bool) -> Result<(), Box<dyn Error>> {
    let mut out = Out::new(log.format);
    // Most often the newest file is enough.
    let mut files = 1;
    let mut entries = loop {
        let all = log.read()?;
        let is_all = files >= all.file_count();
        let mut entries = all.newest_files(files);
        if follow {
            entries = entries.growing();
        }
        let mut last = VecDeque::new();
        for entry in entries.by_ref() {
            let entry = entry?;
            if log.filter.passes(&entry) {
                last.push_back(entry);
                if last.len() > lines {
                    last.pop_front();
                }
            }
        }
        if last.len() == lines || is_all {
            last.into_iter().try_for_each(|entry| out.show(entry))?;
            break entries;
        }
        files *= 4;
    };
    out.flush()?;
    if !follow {
        return Ok(());
    }
    loop {
        for entry in entries.by_ref() {
            let entry = entry?;
            if log.filter.passes(&entry) {
                out.show(entry)?;
            }
        }
        out.flush()?;
        thread::sleep(Duration::from_millis(200));
    }
}

impl Log {
    fn read(&self) -> Result<Entries, Box<dyn Error>> {
        let entries = read(&self.path).map_err(|error| format!("cannot read {}: {error}", self.path.display()))?;
        Ok(entries.between(self.filter.range()))
    }

    /// What passes the filter.
    fn entries(&self) -> Result<impl Iterator<Item = io::Result<Entry>>, Box<dyn Error>> {
        Ok(self.read()?.filter(|entry| entry.as_ref().map_or(true, |entry| self.filter.passes(entry))))
    }
}

/// Where entries are shown, and how.
struct Out {
    writer: BufWriter<StdoutLock<'static>>,
    json: bool,
    colour: bool,
}

impl Out {
    fn new(format: Option<Format>) -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        let json = format.map_or(!is_terminal, |format| format == Format::Json);
        let colour = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { writer: BufWriter::new(stdout), json, colour }
    }

    #[allow(clippy::needless_pass_by_value, reason = "for iterators of entries")]
    fn show(&mut self, entry: Entry) -> io::Result<()> {
        match &entry {
            Entry::Record(record) if self.json => writeln!(self.writer, "{record}"),
            Entry::Gap(gap) if self.json => writeln!(self.writer, "{gap}"),
            Entry::Record(record) => table::record(&mut self.writer, record, self.colour),
            Entry::Gap(gap) => table::gap(&mut self.writer, gap, self.colour),
            Entry::Foreign(line) => {
                eprintln!("tagtrail-log: {}, line {}: {}", line.file.display(), line.number, line.why);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
