//! Runs the program.

mod errors;
#[cfg(unix)]
mod export;
mod failures;
mod files;
mod gaps;
mod import;
mod program;
mod prune;
mod query;
mod serve;
#[cfg(unix)]
mod stop;
#[path = "../../../querylog/tests/it/support/mod.rs"]
mod support;
mod tables;
mod times;
