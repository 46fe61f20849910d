//! `tagtrail-log serve`: the API of an audit log as a server of its own.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tagtrail_querylog::audit_api::AuditApi;
use tagtrail_querylog::{AuditLog, Tokens};
use tokio::net::TcpListener;
use tokio::time;

use crate::audit::{StoreArgs, block_on};

/// Objects that no record has are deleted from this age on; they are looked for as often.
const SWEPT: Duration = Duration::from_secs(3_600);

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    place: StoreArgs,
    /// The file that says who a token is. Its form is `{"tokens": [{"token", "kind": "user", "user_id", "user_email",
    /// "name", "exec_env_id"}, {"token", "kind": "service", "exec_env_id"}]}`.
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// The address to listen on; with port 0, one that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The path that the API is under. Repeat it for several.
    #[arg(long, value_name = "PATH", default_values = ["/v1", "/server/v1"], value_parser = base)]
    base: Vec<String>,
}

/// A path without a slash at its end, and with one at its begin, unless it is empty.
fn base(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    if text.contains(['{', '}', '?', '#', '*']) {
        return Err("a path is needed, such as /v1".to_owned());
    }
    Ok(if text.is_empty() { String::new() } else { format!("/{text}") })
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let tokens = Tokens::read(&self.tokens)?;
        block_on(async move {
            let log = self.place.open().await?;
            let api = AuditApi::new(log.clone(), tokens).await?.under(self.base);
            let listener = TcpListener::bind(self.listen).await?;
            println!("listening on http://{}", listener.local_addr()?);
            let sweeper = tokio::spawn(sweep(log));
            axum::serve(listener, api.server()).with_graceful_shutdown(interrupted()).await?;
            sweeper.abort();
            Ok(())
        })
    }
}

async fn sweep(log: AuditLog) {
    let mut hours = time::interval(SWEPT);
    loop {
        hours.tick().await;
        match log.sweep(SWEPT).await {
            Ok(0) => {}
            Ok(deleted) => eprintln!("tagtrail-log: deleted {deleted} objects that no record has"),
            Err(error) => eprintln!("tagtrail-log: objects that no record has are not deleted: {error}"),
        }
    }
}

/// Ends with Ctrl-C, or the signal by which supervisors end programs.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    // Without signals, the process ends when it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
