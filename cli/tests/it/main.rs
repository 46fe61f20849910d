//! The program as its users run it.

mod audit;
#[cfg(unix)]
mod export;
mod files;
mod prune;
#[path = "../../../querylog/tests/it/support/mod.rs"]
mod support;
