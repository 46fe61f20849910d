//! Restarts PostgreSQL while a log is running. A separate binary, since all tests share the server.

mod audit;
mod export;
#[path = "../it/support/mod.rs"]
mod support;

/// Held by the test that restarts the server.
static SERVER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
