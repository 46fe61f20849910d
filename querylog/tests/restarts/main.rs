//! A PostgreSQL that is restarted under a running log: a binary of its own, since the server is that of all tests.

/// One test at a time restarts the server.
static RESTARTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

mod audit;
mod export;
#[path = "../it/support/mod.rs"]
mod support;
