//! `tagtrail-log tail`, `cat` and `stats`: read the files of a log.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use tagtrail_querylog::{Entry, LogReader};

use crate::filter::Filter;
use crate::out::{self, Format, Output, report, report_if_none};
use crate::stats::{By, Stats};
use crate::store::SQLITE;

/// How often the end of a log is checked for new records.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct LogArgs {
    /// Directory of a log, or one file: compressed or not, renamed by a rotation, or the output of a container; `-` for
    /// standard input
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Format of the output [default: table on a terminal, else json]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Args)]
pub(crate) struct Tail {
    /// Show this many records
    #[arg(short = 'n', long, default_value_t = 10, value_name = "COUNT")]
    lines: usize,
    /// Wait for new records, also in new files
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Args)]
pub(crate) struct Cat {
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Args)]
pub(crate) struct Summary {
    /// Group by `route`, `path`, `status`, `grpc-status`, `outcome`, `tag` (each name and value) or `tag:NAME`
    /// [default: route and tag]
    ///
    /// Repeat it to group by several.
    #[arg(long, value_name = "WHAT")]
    by: Vec<By>,
    /// Show this many groups of each kind
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    top: usize,
    #[command(flatten)]
    log: LogArgs,
}

impl Tail {
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let mut out = Output::new(self.log.format);
        let (last, entries) = self.last()?;
        let any = self.lines == 0 || last.len() == self.lines || last.iter().any(is_record);
        last.into_iter().try_for_each(|entry| out.show(entry))?;
        if self.follow {
            return self.follow(entries, &mut out);
        }
        out.end()?;
        report_if_none(any);
        Ok(())
    }

    /// Returns the last entries that pass the filter, and the iterator after them.
    fn last(&self) -> Result<(VecDeque<Entry>, LogReader), Box<dyn Error>> {
        // Most often the newest file has enough.
        let mut files = 1;
        loop {
            let all = self.log.read()?;
            let is_all = files >= all.file_count();
            let mut entries = all.newest_files(files);
            if self.follow {
                entries = entries.follow();
            }
            let mut last = VecDeque::new();
            for entry in entries.by_ref() {
                let entry = entry?;
                if self.log.filter.passes(&entry) {
                    last.push_back(entry);
                    if last.len() > self.lines {
                        last.pop_front();
                    }
                }
            }
            if last.len() == self.lines || is_all {
                return Ok((last, entries));
            }
            files *= 4;
        }
    }

    fn follow(&self, mut entries: LogReader, out: &mut Output) -> Result<(), Box<dyn Error>> {
        loop {
            for entry in entries.by_ref() {
                let entry = entry?;
                if self.log.filter.passes(&entry) {
                    out.show(entry)?;
                }
            }
            out.flush()?;
            out.report_foreign_lines();
            thread::sleep(FOLLOW_INTERVAL);
        }
    }
}

impl Cat {
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let mut out = Output::new(self.log.format);
        let mut any = false;
        for entry in self.log.entries()? {
            let entry = entry?;
            any |= is_record(&entry);
            out.show(entry)?;
        }
        out.end()?;
        report_if_none(any);
        Ok(())
    }
}

impl Summary {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let mut stats = Stats::new(if self.by.is_empty() { vec![By::Route, By::Tags] } else { self.by });
        let mut out = Output::new(self.log.format);
        for entry in self.log.entries()? {
            let entry = entry?;
            if let Entry::Foreign(line) = &entry
                && line.rest_unread
            {
                out.report_foreign_line(line);
            }
            stats.add(&entry);
        }
        stats.show(&mut out.writer, self.top, out.json)?;
        out.end()
    }
}

fn is_record(entry: &Entry) -> bool {
    matches!(entry, Entry::Record(_))
}

/// Returns whether a file is an SQLite database. Nothing is read from a pipe.
fn is_sqlite(path: &Path) -> bool {
    path.is_file()
        && File::open(path).is_ok_and(|file| {
            BufReader::with_capacity(64, file).fill_buf().is_ok_and(|start| start.starts_with(SQLITE))
        })
}

impl LogArgs {
    fn read(&self) -> Result<LogReader, Box<dyn Error>> {
        let range = self.filter.range()?;
        let unreadable = |why: &dyn Display| format!("cannot read {}: {why}", out::path(&self.path));
        // Where there is no such file, there is no standard input.
        let path = if self.path.as_os_str() == "-" { Path::new("/dev/stdin") } else { &self.path };
        let entries = LogReader::open(path).map_err(|error| unreadable(&error))?;
        if is_sqlite(&self.path) {
            let why = "this is an SQLite database; use `query`, `requests` or `trace` with --store sqlite:PATH";
            return Err(unreadable(&why).into());
        }
        if entries.file_count() == 0 {
            let path = out::path(&self.path);
            report(&format!(
                "{path} contains no log files; their names are querylog-TIME.jsonl, or end in .jsonl or .log"
            ));
        }
        Ok(entries.between(range))
    }

    /// Returns the entries that pass the filter.
    fn entries(&self) -> Result<impl Iterator<Item = io::Result<Entry>>, Box<dyn Error>> {
        Ok(self.read()?.filter(|entry| entry.as_ref().map_or(true, |entry| self.filter.passes(entry))))
    }
}
