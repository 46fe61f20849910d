//! `tagtrail-log`: shows the query log of a service, follows it, and sums it up; keeps an audit log, and answers
//! questions about it.

mod audit;
mod export;
mod filter;
mod import;
mod options;
mod out;
mod prune;
mod query;
mod requests;
mod serve;
mod stats;
mod table;

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tagtrail_querylog::{Entries, Entry, read};
use tracing::Level;

use crate::audit::SQLITE;
use crate::export::Export;
use crate::filter::Filter;
use crate::import::Import;
use crate::out::{Format, Out};
use crate::prune::Prune;
use crate::query::Query;
use crate::requests::{RequestsVerb, TraceVerb};
use crate::serve::Serve;
use crate::stats::{By, Stats};

const MORE: &str = "\
Of the files that a service writes: tail, cat, stats
  tagtrail-log tail /var/log/shop --follow --status 5xx
  tagtrail-log stats /var/log/shop --since 1h --by route

Of an audit log, in a store or by its server: query, requests, trace
  tagtrail-log requests --store sqlite:audit.db --exec-env-id env1 --tag project=blog
  TAGTRAIL_TOKEN=... tagtrail-log query --server http://127.0.0.1:8080/v1 --newest-first

To keep one, and serve it: import, serve, prune
  tagtrail-log serve --store sqlite:audit.db --tokens tokens.json

To load a range of it into something else: export
  ACCOUNT_KEY=... tagtrail-log export --url http://127.0.0.1:8080 --region-group us-std --since 1d --out logs.jsonl.gz

Ends with 0 where all went well, though nothing be found, with 1 where something failed, and with 2 where the arguments are wrong.
Tables are coloured on a terminal, unless NO_COLOR is set.";

/// Shows the query log of a service; keeps an audit log, serves it, and asks it.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = MORE)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Shows the last records of a log's files.
    Tail {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 10, value_name = "COUNT")]
        lines: usize,
        /// Goes on with what is written from now on, across files that are rolled.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        log: Log,
    },
    /// Shows all records of a log's files.
    Cat {
        #[command(flatten)]
        log: Log,
    },
    /// Sums up a log's files: counts, failures and latencies, of all, and by route and by tag.
    Stats {
        /// By what: `route`, `path`, `status`, `tag` (each name and value), or `tag:NAME`. Repeat it for several.
        #[arg(long, value_name = "WHAT")]
        by: Vec<By>,
        /// How many lines by each.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        top: usize,
        #[command(flatten)]
        log: Log,
    },
    /// Asks an audit log about its records: by user, environment, operation and time.
    Query(Box<Query>),
    /// Asks an audit log about requests: by trace, tag, status and route.
    Requests(Box<RequestsVerb>),
    /// Shows the requests of a trace across services, as a tree.
    Trace(TraceVerb),
    /// Answers questions about an audit log by its REST API, and exports it.
    Serve(Serve),
    /// Puts records into a store: those of a log's files, and audit records as the API returns them.
    Import(Import),
    /// Drops the old partitions of a store in PostgreSQL, and what their records had in an object store.
    Prune(Prune),
    /// Exports the log of a server: asks for a range, waits, and downloads it.
    Export(Export),
}

#[derive(Args)]
struct Log {
    /// The folder of a log, or one file of it, compressed or not.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// A table for people, or lines of JSON. By default a table on a terminal, else JSON.
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    filter: Filter,
}

fn main() -> ExitCode {
    // What the parts of a server have to say; of a text that is not ours, nothing is obeyed by a terminal.
    tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(io::stderr)
        .with_ansi(false)
        // Where nobody reads the standard error any more, nobody is told.
        .log_internal_errors(false)
        .init();
    run(Command::parse()).unwrap_or_else(|error| out::ended(&*error))
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command.verb {
        Verb::Export(export) => return export.run(),
        Verb::Tail { log, lines, follow } => tail(&log, lines, follow)?,
        Verb::Cat { log } => {
            let mut out = Out::new(log.format);
            let mut any = false;
            for entry in log.entries()? {
                let entry = entry?;
                any |= is_record(&entry);
                out.show(entry)?;
            }
            out.end()?;
            out::tell_of_none(any);
        }
        Verb::Serve(serve) => serve.run()?,
        Verb::Import(import) => import.run()?,
        Verb::Prune(prune) => prune.run()?,
        Verb::Query(query) => query.run()?,
        Verb::Requests(requests) => requests.run()?,
        Verb::Trace(trace) => trace.run()?,
        Verb::Stats { log, by, top } => {
            let mut stats = Stats::new(if by.is_empty() { vec![By::Route, By::Tags] } else { by });
            let mut out = Out::new(log.format);
            for entry in log.entries()? {
                let entry = entry?;
                if let Entry::Foreign(line) = &entry
                    && line.rest_unread
                {
                    out.foreign(line);
                }
                stats.add(&entry);
            }
            stats.show(&mut out.writer, top, out.json)?;
            out.end()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tail(log: &Log, lines: usize, follow: bool) -> Result<(), Box<dyn Error>> {
    let mut out = Out::new(log.format);
    // Most often the newest file is enough.
    let mut files = 1;
    let any;
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
            any = last.len() == lines || last.iter().any(is_record);
            last.into_iter().try_for_each(|entry| out.show(entry))?;
            break entries;
        }
        files *= 4;
    };
    if !follow {
        out.end()?;
        out::tell_of_none(any);
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
        out.tell_of_foreign();
        thread::sleep(Duration::from_millis(200));
    }
}

fn is_record(entry: &Entry) -> bool {
    matches!(entry, Entry::Record(_))
}

/// Of a pipe, nothing is taken.
fn is_sqlite(path: &Path) -> bool {
    path.is_file()
        && File::open(path).is_ok_and(|file| {
            BufReader::with_capacity(64, file).fill_buf().is_ok_and(|begin| begin.starts_with(SQLITE))
        })
}

impl Log {
    fn read(&self) -> Result<Entries, Box<dyn Error>> {
        let range = self.filter.range()?;
        let unread = |why: &dyn Display| format!("cannot read {}: {why}", out::path(&self.path));
        let entries = read(&self.path).map_err(|error| unread(&error))?;
        if is_sqlite(&self.path) {
            return Err(unread(&"this is a database of SQLite: `query`, `requests` and `trace` ask it").into());
        }
        if entries.file_count() == 0 {
            let path = out::path(&self.path);
            out::tell(&format!("{path} has no file of a log: these are named querylog-TIME.jsonl"));
        }
        Ok(entries.between(range))
    }

    /// What passes the filter.
    fn entries(&self) -> Result<impl Iterator<Item = io::Result<Entry>>, Box<dyn Error>> {
        Ok(self.read()?.filter(|entry| entry.as_ref().map_or(true, |entry| self.filter.passes(entry))))
    }
}
