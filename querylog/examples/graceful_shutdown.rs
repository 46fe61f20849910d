//! A service that runs until it is stopped, by Ctrl-C or SIGTERM, and then writes all that is left of its log.
//!
//! `cargo run -p tagtrail-querylog --example graceful_shutdown -- /tmp/log 127.0.0.1:8080`

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use tagtrail::Admit;
use tagtrail_querylog::{LogFiles, QueryLog, QueryLogLayer, shutdown_signal};
use tokio::net::TcpListener;

async fn post(Path(id): Path<u32>) -> String {
    format!("post {id}")
}

pub(crate) async fn serve(listener: TcpListener, log: QueryLog) -> Result<(), Box<dyn Error>> {
    let layers = QueryLogLayer::new(log.clone()).with_inbound(Admit::Restart);
    let app = Router::new().route("/posts/{id}", get(post)).layer(layers);
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(shutdown_signal())
        .await?;
    // Writes what is queued. A second signal ends the process, even here.
    log.close(Duration::from_secs(5)).await?;
    println!("closed the log");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: graceful_shutdown FOLDER ADDRESS (example: /tmp/log 127.0.0.1:8080)".into());
    };
    serve(TcpListener::bind(address).await?, LogFiles::new(folder).open()?).await
}
