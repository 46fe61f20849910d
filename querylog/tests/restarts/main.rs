//! Restarts PostgreSQL while a log is running. A separate binary, since all tests share the server.

mod audit;
mod export;
#[cfg(target_os = "linux")]
mod hang;
mod lazy;
mod outage;
#[path = "../it/support/mod.rs"]
mod support;

use std::process::{Command, Stdio};

/// Held by the test that restarts the server.
static SERVER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Runs a command, and asserts that it succeeds.
async fn shell(command: String) {
    let ended = tokio::task::spawn_blocking(move || {
        // A server that the command starts must not hold the output of this test open.
        Command::new("sh").args(["-c", &command]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
    });
    assert!(ended.await.unwrap().success());
}

/// Returns the command that kills and restarts the server.
fn restart() -> String {
    std::env::var("TAGTRAIL_TEST_POSTGRES_RESTART").expect("no command that restarts the server")
}

/// Returns the command that kills the server, which [`restart`] starts again.
fn stop() -> String {
    restart().strip_suffix("restart").expect("the command ends with `restart`").to_owned() + "stop"
}
