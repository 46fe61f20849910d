//! A service that is killed: the program starts itself as one.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Args;
use tagtrail::Admit;
use tagtrail_querylog::{Caller, QueryLogLayer, RecordHandle, shutdown_signal};
use tokio::net::TcpListener;

use crate::open;

/// How long the service may write what is queued when it is stopped.
const DRAIN: Duration = Duration::from_mins(1);
/// A text that is kept in the object store.
const LONG: usize = 110_000;

/// Runs a service, as the program does itself.
#[derive(Args)]
pub(crate) struct Service {
    #[arg(long)]
    store: String,
    #[arg(long)]
    folder: PathBuf,
    /// The folder that only this service uses
    #[arg(long)]
    own: PathBuf,
    /// Its number, from 0
    #[arg(long)]
    number: usize,
    #[arg(long)]
    listen: SocketAddr,
}

/// The start of the record is in the log before this responds.
async fn started(record: RecordHandle, Path(number): Path<u64>) -> Result<String, StatusCode> {
    record.started().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(respond(&record, number))
}

async fn plain(record: RecordHandle, Path(number): Path<u64>) -> String {
    respond(&record, number)
}

fn respond(record: &RecordHandle, number: u64) -> String {
    if number.is_multiple_of(97) {
        record.update(|notes| notes.stdout = Some("x".repeat(LONG)));
    }
    format!("request {number}")
}

impl Service {
    pub(crate) async fn run(self) -> Result<(), Box<dyn Error>> {
        let log = open::log(open::store(&self.store, &self.folder)?, self.number, &self.own)?;
        let layer = QueryLogLayer::new(log.clone()).caller(|_| {
            let mut caller = Caller::default();
            caller.exec_env_id = Some(open::ENVIRONMENT.into());
            caller
        });
        let held = Router::new()
            .route("/held/{number}", get(plain))
            .layer(layer.clone().hold_response_until_written().with_inbound(Admit::Restart));
        let app = Router::new()
            .route("/plain/{number}", get(plain))
            .route("/started/{number}", get(started))
            .layer(layer.with_inbound(Admit::Restart))
            .merge(held);
        let listener = TcpListener::bind(self.listen).await?;
        axum::serve(listener, app).with_graceful_shutdown(shutdown_signal()).await?;
        log.close(DRAIN).await?;
        Ok(())
    }
}
