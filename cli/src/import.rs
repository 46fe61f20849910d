//! `tagtrail-log import`: JSON lines into a store: audit records, as the API returns them, and records of a log's files.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use serde_json::error::Category;
use tagtrail_querylog::store::StoreError;
use tagtrail_querylog::{AuditLog, AuditRecord, Record};

use crate::audit::{NewPlace, SQLITE, block_on};
use crate::out;

/// So many records, or so many bytes of them, are put at a time.
const RECORDS: usize = 2_000;
const BYTES: usize = 32 << 20;
/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BY_CAT: &str = "`tagtrail-log cat PATH | tagtrail-log import -` reads it";

#[derive(Args)]
pub(crate) struct Import {
    /// Files of JSON lines, each a record as the API returns it, with its fifteen members, or a line of a log's files; `-`
    /// for the standard input, such as what `tagtrail-log cat` shows.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    place: NewPlace,
    /// The file to keep lines in that are no records, or that the store refuses, which must not be there yet. By default
    /// one beside each file, of the same name with `.rejected` behind it; for the standard input, `stdin.rejected`.
    #[arg(long, value_name = "FILE")]
    rejected: Option<PathBuf>,
}

impl Import {
    /// Records that are there already stay as they are, so an import that was interrupted is run again.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        block_on(async {
            let rejects = match &self.rejected {
                Some(file) => vec![file.clone()],
                None => self.files.iter().map(|file| beside(file)).collect(),
            };
            if let Some(kept) = rejects.iter().find(|kept| kept.symlink_metadata().is_ok()) {
                let kept = out::path(kept);
                return Err(format!("{kept}: it is there already, and is not overwritten: see --rejected").into());
            }
            // Before a store is made for files of which one is not there.
            for file in self.files.iter().filter(|file| !is_stdin(file)) {
                look_at(file).map_err(|error| in_file(file, &*error))?;
            }
            let log = self.place.open().await?;
            let mut counts = Counts::default();
            let mut kept: Option<Kept> = self.rejected.clone().map(Kept::at);
            for file in &self.files {
                let mut beside = Kept::at(beside(file));
                let kept = kept.as_mut().unwrap_or(&mut beside);
                import(&log, file, kept, &mut counts).await.map_err(|error| in_file(file, &*error))?;
            }
            // None of them was there before.
            let made: Vec<_> = rejects.iter().filter(|kept| kept.exists()).map(|kept| out::path(kept)).collect();
            counts.tell(&made.join(", "))
        })
    }
}

/// What became of the lines.
#[derive(Default)]
struct Counts {
    records: usize,
    /// Those of them that have no environment.
    alone: usize,
    /// Lines that are no records.
    rejected: usize,
    /// Records that the store does not take.
    refused: usize,
}

impl Counts {
    /// `kept` is where the lines are that are not in the store.
    fn tell(&self, kept: &str) -> Result<(), Box<dyn Error>> {
        let Self { records, alone, rejected, refused } = self;
        out::tell(&format!("{records} records are in the store"));
        if *alone > 0 {
            out::tell(&format!("{alone} of them have no environment: no question about one finds them"));
        }
        match (rejected, refused) {
            (0, 0) => Ok(()),
            (_, 0) => Err(format!("{rejected} lines are no records, and are kept in {kept}").into()),
            (0, _) => Err(format!("{refused} records are refused by the store, and are kept in {kept}").into()),
            _ => Err(format!(
                "{rejected} lines are no records, and {refused} records are refused by the store: they are kept in {kept}"
            )
            .into()),
        }
    }
}

fn in_file(file: &Path, error: &dyn Error) -> String {
    format!("{}: {error}", out::path(file))
}

/// Whether a file can be read, and has lines as far as its begin shows. Of a pipe, nothing is taken.
fn look_at(path: &Path) -> Result<(), Box<dyn Error>> {
    let kind = path.metadata()?;
    if kind.is_dir() {
        return Err(format!("this is a folder, and lines are needed: {BY_CAT}").into());
    }
    if kind.is_file() {
        has_lines(BufReader::with_capacity(64, File::open(path)?).fill_buf()?)?;
    }
    Ok(())
}

/// Whether a file that begins so has lines.
fn has_lines(begin: &[u8]) -> Result<(), String> {
    if begin.starts_with(&GZIP) {
        return Err(format!("this is compressed, and lines are needed: {BY_CAT}"));
    }
    if begin.starts_with(SQLITE) {
        return Err(
            "this is a database of SQLite, and lines are needed, such as those that `tagtrail-log query` shows".into(),
        );
    }
    Ok(())
}

fn beside(file: &Path) -> PathBuf {
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

/// The file of lines that are not in the store, made with the first of them.
struct Kept {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Kept {
    fn at(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn keep(&mut self, line: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(self.create()?)),
        };
        file.write_all(line)?;
        file.write_all(b"\n")
    }

    fn create(&self) -> io::Result<File> {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", out::path(&self.path)));
        File::create_new(&self.path).map_err(told)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

async fn import(log: &AuditLog, path: &Path, kept: &mut Kept, counts: &mut Counts) -> Result<(), Box<dyn Error>> {
    let (mut reader, size): (Box<dyn BufRead>, _) = if is_stdin(path) {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        (Box::new(BufReader::with_capacity(1 << 20, file)), Some(size))
    };
    has_lines(reader.fill_buf()?)?;
    let progress = progress(size);
    let tell = |number: u64, what: &str| {
        progress.suspend(|| out::tell(&format!("{}, line {number}: {what}", out::path(path))));
    };
    let mut number = 0;
    let mut batch = Batch::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        number += 1;
        progress.inc(read as u64);
        let text = line.trim_ascii();
        if !text.is_empty() {
            match Line::read(number, text) {
                Ok(line) => batch.take(line),
                Err(_) if is_gap(text) => tell(number, "a gap: records that the log did not have"),
                Err(error) => {
                    counts.rejected += 1;
                    kept.keep(text)?;
                    tell(number, &fault(&error));
                }
            }
        }
        if batch.lines.len() >= RECORDS || batch.bytes >= BYTES || (read == 0 && !batch.lines.is_empty()) {
            let Batch { lines, .. } = std::mem::take(&mut batch);
            counts.records += lines.len();
            counts.alone += lines.iter().filter(|line| line.is_alone()).count();
            for (line, error) in put(log, &lines).await? {
                counts.records -= 1;
                counts.alone -= usize::from(line.is_alone());
                counts.refused += 1;
                kept.keep(&line.text)?;
                tell(line.number, &error.to_string());
            }
        }
        if read == 0 {
            kept.flush()?;
            progress.finish_and_clear();
            return Ok(());
        }
    }
}

/// A line that is a record.
struct Line {
    number: u64,
    text: Vec<u8>,
    record: Either,
}

enum Either {
    Audit(Box<AuditRecord>),
    /// Of a log's files.
    Request(Box<Record>),
}

impl Line {
    fn read(number: u64, text: &[u8]) -> serde_json::Result<Self> {
        let record = match serde_json::from_slice(text) {
            Ok(record) => Either::Audit(record),
            Err(error) => Either::Request(serde_json::from_slice(text).map_err(|_| error)?),
        };
        Ok(Self { number, text: text.to_owned(), record })
    }

    /// Whether it has no environment.
    fn is_alone(&self) -> bool {
        match &self.record {
            Either::Audit(record) => record.exec_env_id.is_none(),
            Either::Request(request) => request.notes.caller.exec_env_id.is_none(),
        }
    }
}

/// What is put at a time.
#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    bytes: usize,
}

impl Batch {
    fn take(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push(line);
    }
}

/// Puts lines. Where the store refuses them, each half for itself, so that all are in it but for those that it refuses
/// alone, which are returned.
async fn put<'a>(log: &AuditLog, lines: &'a [Line]) -> Result<Vec<(&'a Line, StoreError)>, StoreError> {
    let mut refused = Vec::new();
    let mut rest = vec![lines];
    while let Some(some) = rest.pop() {
        match (put_at_once(log, some).await, some) {
            (Err(error @ StoreError::Rejected(_)), [line]) => refused.push((line, error)),
            (Err(StoreError::Rejected(_)), _) => {
                let (first, second) = some.split_at(some.len() / 2);
                rest.extend([second, first]);
            }
            (done, _) => done?,
        }
    }
    Ok(refused)
}

async fn put_at_once(log: &AuditLog, lines: &[Line]) -> Result<(), StoreError> {
    let (mut records, mut requests) = (Vec::new(), Vec::new());
    for line in lines {
        match &line.record {
            Either::Audit(record) => records.push((**record).clone()),
            Either::Request(request) => requests.push((**request).clone()),
        }
    }
    log.put(records).await?;
    log.put_requests(&requests).await
}

/// Whether a line of a log's files tells of records that are missing.
fn is_gap(line: &[u8]) -> bool {
    serde_json::from_slice(line).is_ok_and(|line: Value| line["gap"].is_object())
}

/// What is wrong with a line, without what the line has.
fn fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Syntax | Category::Io => "not JSON",
        Category::Eof => "JSON that ends too early",
        Category::Data => "JSON without the members of a record, or with other types",
    };
    format!("{what}, at column {}", error.column())
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
