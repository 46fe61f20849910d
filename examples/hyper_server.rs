//! A hyper server without axum, over HTTP/1.1 and HTTP/2: `cargo run --example hyper_server 127.0.0.1:3000`.

use std::convert::Infallible;
use std::env;
use std::error::Error;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tagtrail::{Admit, InboundLayer, Trail};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // The trail is in the extensions, and it is current anywhere in the handler.
    let trail = request.extensions().get::<Trail>().cloned().or_else(Trail::current);
    let trace = trail.map(|trail| trail.trace_id().to_string()).unwrap_or_default();
    Ok(Response::new(Full::from(format!("Hello from trace {trace}.\n"))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: hyper_server ADDRESS")?;
    // Behind our own gateway, which has decided whom to trust.
    let service = InboundLayer::new(Admit::Continue).layer(service_fn(hello));
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            if let Err(error) = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await
            {
                eprintln!("connection: {error}");
            }
        });
    }
}
