//! A PostgreSQL that is restarted under a running log: a binary of its own, since the server is that of all tests.

mod audit;
mod export;
#[path = "../it/support/mod.rs"]
mod support;

/// Held by the test that restarts the server.
static SERVER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
