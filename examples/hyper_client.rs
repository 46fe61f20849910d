//! A hyper client that sends a trace and tags: `cargo run --example hyper_client http://127.0.0.1:3000/`.

use std::env;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tagtrail::{Disclose, OutboundLayer, RequestTags, Sample, Targets, TraceParent, Trail};
use tower::{BoxError, Layer, Service, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = env::args().nth(1).ok_or("usage: hyper_client URL")?;
    // Services on this machine are sent everything, others nothing.
    let targets = Targets::with_default(Disclose::Nothing)
        .host("localhost", Disclose::All)?
        .host("127.0.0.1", Disclose::All)?
        .host("[::1]", Disclose::All)?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut client = OutboundLayer::new(targets).layer(client);

    let request = Request::get(&url)
        .extension(Trail::start(Sample::Always))
        .extension(RequestTags::new([("project", "blog")]))
        .body(Empty::new())?;
    let response = client.ready().await?.call(request).await?;
    match TraceParent::from_response_headers(response.headers())? {
        Some(traceparent) => println!("{}, in trace {}", response.status(), traceparent.trace_id()),
        None => println!("{}, which names no trace", response.status()),
    }
    print!("{}", String::from_utf8_lossy(&response.into_body().collect().await?.to_bytes()));
    Ok(())
}
