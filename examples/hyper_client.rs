//! A hyper client that sends a trace and tags: `cargo run --example hyper_client http://127.0.0.1:3000/`.

use std::env;
use std::error::Error;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tagtrail::{Disclose, OutboundLayer, RequestTags, Targets, TraceParent, Trail};
use tower::{Layer, Service, ServiceExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: hyper_client URL")?;
    // Services on this machine are told everything, others nothing.
    let targets = Targets::otherwise(Disclose::Nothing)
        .host("localhost", Disclose::All)?
        .host("127.0.0.1", Disclose::All)?
        .host("[::1]", Disclose::All)?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut client = OutboundLayer::new(targets).layer(client);

    let request = Request::get(&url)
        .extension(Trail::start(true))
        .extension(RequestTags::new([("project", "blog")]))
        .body(Empty::new())?;
    let answer = client.ready().await?.call(request).await?;
    match TraceParent::of_answer(answer.headers()) {
        Some(traceparent) => println!("{}, in trace {}", answer.status(), traceparent.trace_id()),
        None => println!("{}, which names no trace", answer.status()),
    }
    print!("{}", String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()));
    Ok(())
}
