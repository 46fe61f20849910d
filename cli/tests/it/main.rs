//! Runs the program.

mod audit;
#[cfg(unix)]
mod export;
mod files;
mod prune;
#[path = "../../../querylog/tests/it/support/mod.rs"]
mod support;
mod tables;
