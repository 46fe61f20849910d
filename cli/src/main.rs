//! `tagtrail-log`: shows, follows and summarizes the query log of a service; stores, serves and queries an audit log.

mod error;
mod export;
mod files;
mod filter;
mod gaps;
mod import;
mod options;
mod out;
mod prune;
mod query;
mod requests;
mod runtime;
mod serve;
mod source;
mod stats;
mod store;
mod table;
mod times;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::Level;

use crate::export::Export;
use crate::files::{Cat, Summary, Tail};
use crate::gaps::Gaps;
use crate::import::Import;
use crate::prune::Prune;
use crate::query::Query;
use crate::requests::{Requests, Trace};
use crate::serve::Serve;

const EXAMPLES: &str = "\
Read the files that a service writes: tail, cat, stats
  tagtrail-log tail /var/log/shop --follow --status 5xx
  tagtrail-log stats /var/log/shop --since 1h --by route

Query an audit log, in a store or on a server: query, requests, trace; what is missing from it: gaps
  tagtrail-log requests --store sqlite:audit.db --environment env1 --tag project=blog
  TAGTRAIL_TOKEN=... tagtrail-log query --server http://127.0.0.1:8080/v1 --newest-first

Store and serve an audit log: import, serve, prune
  tagtrail-log serve --store sqlite:audit.db --tokens tokens.json

Export a time range for another system: export
  ACCOUNT_KEY=... tagtrail-log export --url http://127.0.0.1:8080 --region-group us-std --since 1d --out logs.jsonl.gz

Times (--since, --until, --before) are in UTC, or in the time zone of this machine with --local:
  2024-05-10, 2024-05-10 18:05, 2024-05-10T18:05:42.871, 18:05 (of today), now, today, yesterday, tomorrow
  2024-05-10T18:05:42Z, 2024-05-10 18:05+02:00, 2024-05-10 18:05[Europe/Berlin]
  90s, 15m, 1h30m, 7d, 2 hours ago: a duration ago
  1715364342, 1715364342871: seconds or milliseconds since 1970

Exit status: 0 on success (even if nothing was found), 1 on failure, 2 for invalid arguments.
Tables are colored on a terminal, unless NO_COLOR is set.";

/// Show the query log of a service; store, serve and query an audit log
#[derive(Parser)]
#[command(name = "tagtrail-log", version, max_term_width = 100, after_help = EXAMPLES)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the last records in a log's files
    Tail(Tail),
    /// Show all records in a log's files
    Cat(Cat),
    /// Summarize a log's files: counts, failures and latencies, in total, by route and by tag
    Stats(Summary),
    /// Query the records of an audit log by user, environment, operation and time
    Query(Box<Query>),
    /// Query the requests of an audit log by trace, tag, status and route
    Requests(Box<Requests>),
    /// Show the requests of a trace across services, as a tree
    Trace(Trace),
    /// List what is missing from an audit log, and the services that are behind
    Gaps(Gaps),
    /// Serve an audit log and its exports over HTTP
    Serve(Serve),
    /// Import records into a store, from a log's files or from the API
    Import(Import),
    /// Drop old partitions of a PostgreSQL store, and their objects in an object store
    Prune(Prune),
    /// Export a time range from a server to a file
    Export(Export),
}

fn main() -> ExitCode {
    // Events of the server. Control characters in texts of callers are escaped.
    tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(io::stderr)
        .with_ansi(false)
        // Standard error may be closed.
        .log_internal_errors(false)
        .init();
    run(Command::parse()).unwrap_or_else(|error| error::exit_code(&*error))
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command.verb {
        Verb::Export(export) => return export.run(),
        Verb::Tail(tail) => tail.run()?,
        Verb::Cat(cat) => cat.run()?,
        Verb::Stats(summary) => summary.run()?,
        Verb::Serve(serve) => serve.run()?,
        Verb::Import(import) => import.run()?,
        Verb::Prune(prune) => prune.run()?,
        Verb::Query(query) => query.run()?,
        Verb::Requests(requests) => requests.run()?,
        Verb::Trace(trace) => trace.run()?,
        Verb::Gaps(gaps) => gaps.run()?,
    }
    Ok(ExitCode::SUCCESS)
}
