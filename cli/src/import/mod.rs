//! `tagtrail-log import`: stores lines of JSON, audit records from the API or records from a log's files.

mod batch;
mod line;
mod rejected;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tagtrail_querylog::AuditLog;

use self::batch::{Batch, put};
use self::line::{ImportLine, describe, is_gap};
use self::rejected::RejectedFile;
use crate::out::{self, report};
use crate::runtime::block_on;
use crate::store::{NewStoreArgs, SQLITE};

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// A longer line is not a record, as for `cat`.
const MAX_LINE: u64 = 256 << 20;
/// How much of such a line is read at once.
const MAX_PART: u64 = 1 << 20;
const USE_CAT: &str = "use `tagtrail-log cat PATH | tagtrail-log import -`";

#[derive(Args)]
pub(crate) struct Import {
    /// Files of JSON lines; `-` reads standard input
    ///
    /// Each line is an audit record with its fifteen members, as the API returns it, or a line of a log's files, as
    /// `tagtrail-log cat` shows it.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    store: NewStoreArgs,
    /// File for lines that are not records or that the store rejects
    ///
    /// An existing file is not overwritten. By default, the file is next to each input file, named like it with
    /// `.rejected` appended; for standard input, it is `stdin.rejected`.
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
}

impl Import {
    /// Imports the files. Records that are in the store already are not changed, so an interrupted import can be
    /// repeated.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        block_on(async {
            let rejected_paths = self.rejected_paths();
            if let Some(path) = rejected_paths.iter().find(|path| path.symlink_metadata().is_ok()) {
                let path = out::path(path);
                return Err(format!("{path} already exists and will not be overwritten (see --rejected)").into());
            }
            // Before a store is created.
            for file in self.files.iter().filter(|file| !is_stdin(file)) {
                check_file(file).map_err(|error| in_file(file, &*error))?;
            }
            let log = self.store.open().await?;
            let mut counts = Counts::default();
            let mut shared: Option<RejectedFile> = self.rejected.clone().map(RejectedFile::new);
            for file in &self.files {
                let mut own = RejectedFile::new(default_rejected_path(file));
                let rejected = shared.as_mut().unwrap_or(&mut own);
                import(&log, file, rejected, &mut counts).await.map_err(|error| in_file(file, &*error))?;
            }
            // None of them existed before.
            let created: Vec<_> =
                rejected_paths.iter().filter(|path| path.exists()).map(|path| out::path(path)).collect();
            counts.report(&created.join(", "))
        })
    }

    fn rejected_paths(&self) -> Vec<PathBuf> {
        match &self.rejected {
            Some(file) => vec![file.clone()],
            None => self.files.iter().map(|file| default_rejected_path(file)).collect(),
        }
    }
}

/// How many lines had which result.
#[derive(Default)]
struct Counts {
    /// Stored records.
    stored: usize,
    /// Stored records without an environment.
    without_environment: usize,
    /// Lines that are not records.
    invalid: usize,
    /// Records that the store rejected.
    rejected: usize,
}

impl Counts {
    /// Reports the counts. Fails if there are lines that were not stored; `paths` are the files that have them.
    fn report(&self, paths: &str) -> Result<(), Box<dyn Error>> {
        let Self { stored, without_environment, invalid, rejected } = self;
        report(&format!("{stored} records are in the store"));
        if *without_environment > 0 {
            report(&format!(
                "{without_environment} of them have no environment and will not appear in queries by environment"
            ));
        }
        match (invalid, rejected) {
            (0, 0) => Ok(()),
            (_, 0) => Err(format!("{invalid} lines are not records; they were written to {paths}").into()),
            (0, _) => Err(format!("the store rejected {rejected} records; they were written to {paths}").into()),
            _ => Err(format!(
                "{invalid} lines are not records, and the store rejected {rejected} records; they were written to {paths}"
            )
            .into()),
        }
    }
}

fn in_file(file: &Path, error: &dyn Error) -> String {
    format!("{}: {error}", name(file))
}

/// Returns the name of a file for messages.
fn name(file: &Path) -> String {
    if is_stdin(file) { "stdin".to_owned() } else { out::path(file) }
}

/// Checks that a file can be read and seems to contain lines. Nothing is read from a pipe.
fn check_file(path: &Path) -> Result<(), Box<dyn Error>> {
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(format!("expected a file of JSON lines, found a directory; {USE_CAT}").into());
    }
    if metadata.is_file() {
        check_start(BufReader::with_capacity(64, File::open(path)?).fill_buf()?)?;
    }
    Ok(())
}

/// Checks the first bytes of a file.
fn check_start(start: &[u8]) -> Result<(), String> {
    if start.starts_with(&GZIP) {
        return Err(format!("expected JSON lines, found a compressed file; {USE_CAT}"));
    }
    if start.starts_with(SQLITE) {
        return Err("expected JSON lines, found an SQLite database; use `tagtrail-log query` to read it".into());
    }
    Ok(())
}

fn default_rejected_path(file: &Path) -> PathBuf {
    if is_stdin(file) {
        return PathBuf::from("stdin.rejected");
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".rejected");
    name.into()
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Opens a file or standard input. Only a file has a size.
fn open(path: &Path) -> io::Result<(Box<dyn BufRead>, Option<u64>)> {
    if is_stdin(path) {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((Box::new(BufReader::with_capacity(1 << 20, file)), Some(size)))
}

async fn import(
    log: &AuditLog,
    path: &Path,
    rejected: &mut RejectedFile,
    counts: &mut Counts,
) -> Result<(), Box<dyn Error>> {
    let (mut reader, size) = open(path)?;
    check_start(reader.fill_buf()?)?;
    let progress = progress(size);
    let report_line = |number: u64, what: &str| {
        progress.suspend(|| report(&format!("{}, line {number}: {what}", name(path))));
    };
    let mut batch = Batch::default();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        progress.inc(read as u64);
        let text = line.trim_ascii();
        if read as u64 == MAX_LINE && !line.ends_with(b"\n") {
            counts.invalid += 1;
            report_line(number, "longer than 256 MiB");
            while read > 0 && !line.ends_with(b"\n") {
                rejected.write_part(&line)?;
                line.clear();
                read = reader.by_ref().take(MAX_PART).read_until(b'\n', &mut line)?;
                progress.inc(read as u64);
            }
            rejected.write(line.trim_ascii_end())?;
        } else if !text.is_empty() {
            match ImportLine::parse(number, text) {
                Ok(line) => batch.push(line),
                Err(_) if is_gap(text) => report_line(number, "a gap: records that are missing from the log"),
                Err(error) => {
                    counts.invalid += 1;
                    rejected.write(text)?;
                    report_line(number, &describe(&error));
                }
            }
        }
        if batch.is_full() || (read == 0 && !batch.lines.is_empty()) {
            let Batch { lines, .. } = std::mem::take(&mut batch);
            counts.stored += lines.len();
            counts.without_environment += lines.iter().filter(|line| line.has_no_environment()).count();
            for (line, error) in put(log, &lines).await? {
                counts.stored -= 1;
                counts.without_environment -= usize::from(line.has_no_environment());
                counts.rejected += 1;
                rejected.write(&line.text)?;
                report_line(line.number, &error.to_string());
            }
        }
        if read == 0 {
            break;
        }
    }
    rejected.flush()?;
    progress.finish_and_clear();
    Ok(())
}

fn progress(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:40} {percent}% {binary_bytes_per_sec}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {binary_bytes} {binary_bytes_per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
