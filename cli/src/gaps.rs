//! `tagtrail-log gaps`, and what other commands report as missing.

use std::error::Error;
use std::io::{self, Write};

use clap::{ArgGroup, Args};
use serde_json::json;
use tagtrail_querylog::audit::{Behind, Coverage};
use tagtrail_querylog::record::printable;
use tagtrail_querylog::{Entry, Gap};

use crate::options::{TimeArgs, window};
use crate::out::{Format, Output, report};
use crate::runtime::block_on;
use crate::source::Source;
use crate::table;

/// How many gaps a command that shows records reports.
const MOST: usize = 10;

const NOT_SAID: &str = "the server does not say whether records are missing";

#[derive(Args)]
#[command(group(ArgGroup::new("source").required(true).args(["store", "server"])))]
pub(crate) struct Gaps {
    /// Store to query: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// URL of the API to query, such as `http://127.0.0.1:8080/v1`; it does not say how many requests are missing
    ///
    /// The token is read from the environment variable `TAGTRAIL_TOKEN`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    times: TimeArgs,
    /// Format of the output [default: table on a terminal, else json]
    ///
    /// In JSON, gaps have the form that they have in files.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

impl Gaps {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        self.times.range()?;
        block_on(async move {
            let source = Source::of_log(self.store.as_deref(), self.server.as_deref()).await?;
            let missing = source.missing(window(self.times.since(), self.times.last())).await?;
            let Some(coverage) = &missing.coverage else {
                let expected = "expected the URL with the path of the API, such as http://127.0.0.1:8080/v1";
                return Err(format!("--server: {NOT_SAID}; {expected}").into());
            };
            let mut out = Output::new(self.format);
            missing.show(coverage, &mut out)?;
            out.flush()?;
            if coverage.is_whole() {
                report("nothing is known to be missing");
            }
            Ok(())
        })
    }
}

/// What is missing from what a command shows.
pub(crate) struct Missing {
    /// `None` if the server does not say it.
    pub(crate) coverage: Option<Coverage>,
    /// Whether it has counts, where these are known.
    pub(crate) has_counts: bool,
}

impl Missing {
    /// Returns what an export, or a server, says is missing.
    pub(crate) fn without_counts(coverage: Option<Coverage>) -> Self {
        Self { coverage, has_counts: false }
    }

    pub(crate) fn within(self, window: tagtrail_querylog::Window) -> Self {
        Self { coverage: self.coverage.map(|coverage| coverage.within(window)), ..self }
    }

    /// Writes the gaps as files have them.
    pub(crate) fn write_gaps(&self, out: &mut Output) -> io::Result<()> {
        self.gaps().iter().try_for_each(|gap| out.show(Entry::Gap(gap.clone())))?;
        out.flush()
    }

    /// Reports what is missing on standard error, a line each.
    pub(crate) fn report(&self) {
        let Some(coverage) = &self.coverage else {
            return report(NOT_SAID);
        };
        for gap in coverage.gaps.iter().take(MOST) {
            report(&format!("{}, {} to {}: {}", self.count(gap), gap.from, gap.to, gap.why));
        }
        if coverage.gaps.len() > MOST {
            report(&format!("{} more gaps; `tagtrail-log gaps` lists them", coverage.gaps.len() - MOST));
        }
        for behind in &coverage.behind {
            report(&format!("no news from {} since {}{}", name(behind), behind.written_through, waiting(behind)));
        }
    }

    fn gaps(&self) -> &[Gap] {
        self.coverage.as_ref().map_or(&[], |coverage| &coverage.gaps)
    }

    fn count(&self, gap: &Gap) -> String {
        match gap.count {
            Some(1) => "1 request is missing".to_owned(),
            Some(count) => format!("{count} requests are missing"),
            None if self.has_counts => "an unknown number of requests may be missing".to_owned(),
            None => "requests are missing".to_owned(),
        }
    }

    /// Lists what is missing.
    fn show(&self, coverage: &Coverage, out: &mut Output) -> io::Result<()> {
        if out.json {
            self.write_gaps(out)?;
            return coverage.behind.iter().try_for_each(|behind| out.json(&json!({ "behind": behind })));
        }
        let line = |out: &mut Output, from: &dyn ToString, to: &dyn ToString, count: Option<u64>, why: &str| {
            let count = match count {
                Some(count) => count.to_string(),
                None if self.has_counts => "unknown".to_owned(),
                None => String::new(),
            };
            let [from, to] = [from, to].map(|time| table::left(&time.to_string(), 27));
            writeln!(out.writer, "{from}  {to}  {count:>9}  {}", printable(why))
        };
        if !coverage.is_whole() {
            writeln!(out.writer, "{}  {}  {:>9}  why", table::left("from", 27), table::left("to", 27), "requests")?;
        }
        for gap in &coverage.gaps {
            line(out, &gap.from, &gap.to, gap.count, &gap.why)?;
        }
        for behind in &coverage.behind {
            let why = format!("no news from {}{}", name(behind), waiting(behind));
            line(out, &behind.written_through, &"now", behind.waiting, &why)?;
        }
        Ok(())
    }
}

/// Names a writer as far as it is known.
fn name(behind: &Behind) -> String {
    match (&behind.service, &behind.instance) {
        (Some(service), Some(instance)) => format!("{service} ({instance})"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => "a service without a name".to_owned(),
    }
}

fn waiting(behind: &Behind) -> String {
    match behind.waiting {
        None | Some(0) => String::new(),
        Some(1) => "; 1 request waited there then".to_owned(),
        Some(waiting) => format!("; {waiting} requests waited there then"),
    }
}
