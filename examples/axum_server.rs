//! An axum server whose handlers know the trace and the tags of their requests.
//!
//! `cargo run --example axum_server 127.0.0.1:3000`, and in another terminal
//! `curl -i -H 'x-fauna-tags: project=blog' http://127.0.0.1:3000/`.

use std::env;
use std::error::Error;

use axum::Router;
use axum::routing::get;
use tagtrail::{Admit, InboundLayer, Trail};
use tokio::net::TcpListener;

async fn hello(trail: Trail) -> String {
    let project = trail.tags().get("project").unwrap_or("no project");
    format!("Hello, {project}! This is span {} of trace {}.\n", trail.span_id(), trail.trace_id())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: axum_server ADDRESS")?;
    // Open to the public: do not let callers write into our traces.
    let app = Router::new().route("/", get(hello)).layer(InboundLayer::new(Admit::Restart));
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
