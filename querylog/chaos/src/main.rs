//! A chaos run: services are killed and their store is broken while clients send requests, and then each request is
//! accounted for. See README.md.

mod cluster;
mod driver;
mod ledger;
mod open;
mod oracle;
mod plan;
mod process;
mod proxy;
mod random;
mod results;
mod run;
mod service;
mod signals;
mod world;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::plan::StoreKind;
use crate::results::{RunResult, Verdict};
use crate::run::Settings;
use crate::service::Service;

/// Kills services and breaks their store while clients send requests, and then accounts for each request
#[derive(Parser)]
#[command(max_term_width = 100)]
struct Arguments {
    /// Seed, which determines what goes wrong, and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long clients send requests
    #[arg(long, default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// Store to write into [default: both, if there is a PostgreSQL]
    #[arg(long, value_enum)]
    store: Option<StoreKind>,
    /// Run with further seeds until services were killed this often, in all runs of the file of results
    #[arg(long, value_name = "COUNT")]
    kills: Option<u64>,
    /// File to which a line is appended for each run
    #[arg(long, default_value = "results.jsonl")]
    results: PathBuf,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a service, as the program does itself
    #[command(hide = true)]
    Service(Service),
}

fn minutes(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|minutes| (0.05..=10_000.0).contains(minutes)).ok_or("expected minutes, from 0.05")
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).log_internal_errors(false).init();
    let arguments = Arguments::parse();
    match arguments.verb {
        Some(Verb::Service(service)) => service.run().await.map(|()| ExitCode::SUCCESS),
        None => runs(&arguments).await,
    }
}

async fn runs(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let stores = match arguments.store {
        Some(store) => vec![store],
        None if cluster::programs().is_some() => vec![StoreKind::Sqlite, StoreKind::Postgres],
        None => vec![StoreKind::Sqlite],
    };
    let mut seed = arguments.seed;
    if arguments.kills.is_some() {
        seed = seed.max(results::next_seed(&arguments.results)?);
    }
    let mut has_failed = false;
    loop {
        for &store in &stores {
            if arguments.kills.is_some_and(|kills| results::kills(&arguments.results).is_ok_and(|all| all >= kills)) {
                return Ok(ExitCode::from(u8::from(has_failed)));
            }
            let result = run_once(Settings { seed, minutes: arguments.minutes, store }).await?;
            results::append(&arguments.results, &result)?;
            has_failed |= result.verdict == Verdict::Failed;
        }
        if arguments.kills.is_none() {
            return Ok(ExitCode::from(u8::from(has_failed)));
        }
        seed += 1;
    }
}

/// Runs in a folder that is kept if something does not hold.
async fn run_once(settings: Settings) -> Result<RunResult, Box<dyn Error>> {
    let mut folder = tempfile::tempdir()?;
    println!("seed {}, {:?}, {} minutes", settings.seed, settings.store, settings.minutes);
    let result = run::run(settings, folder.path()).await.inspect_err(|_| folder.disable_cleanup(true))?;
    let RunResult { kills, requests, responded, acknowledged, found, missing, .. } = &result;
    println!("  {kills} kills; {requests} requests, {responded} with a whole response, {acknowledged} acknowledged");
    println!("  {found} records, {missing} missing; gaps: {} unclean, {} counted", result.unclean_gaps, result.counted);
    println!("  {:?} {:?}", result.verdict, result.violations);
    for fact in &result.facts {
        println!("    {fact}");
    }
    if result.verdict == Verdict::Failed {
        folder.disable_cleanup(true);
        println!("  kept: {}", folder.path().display());
    }
    Ok(result)
}
