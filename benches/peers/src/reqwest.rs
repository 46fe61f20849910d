//! Clients of reqwest-middleware, around a middleware that responds by itself.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use http::Extensions;
use opentelemetry_0_32::global;
use opentelemetry_0_32::trace::TracerProvider;
use opentelemetry_sdk_0_32::propagation::TraceContextPropagator;
use opentelemetry_sdk_0_32::trace::SdkTracerProvider;
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next, Result};
use reqwest_tracing::TracingMiddleware;
use tagtrail::{Disclose, OutboundMiddleware, Sample, Trail};
use tagtrail_benches::case::Case;
use tracing_opentelemetry_0_33 as tracing_opentelemetry;
use tracing_subscriber::layer::SubscriberExt;

/// Sends nothing.
struct Responder;

#[async_trait]
impl Middleware for Responder {
    async fn handle(&self, _: Request, _: &mut Extensions, _: Next<'_>) -> Result<Response> {
        Ok(Response::from(http::Response::new("ok")))
    }
}

fn drive(client: &ClientWithMiddleware) -> bool {
    let sent = pin!(client.get("http://users.example.com/").send());
    let Poll::Ready(response) = sent.poll(&mut Context::from_waker(Waker::noop())) else { panic!("no response") };
    response.is_ok()
}

pub(crate) fn cases() -> Vec<Case> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");

    let client = || ClientBuilder::new(reqwest::Client::new());
    let bare = client().with(Responder).build();
    let ours = client().with(OutboundMiddleware::new(Disclose::All)).with(Responder).build();
    let peer = client().with(TracingMiddleware::default()).with(Responder).build();
    let trail = Trail::start(Sample::Always);
    vec![
        Case::new("client-reqwest-bare", "bare", move || drive(&bare)),
        Case::new("client-reqwest", "tagtrail", move || trail.in_scope(|| drive(&ours))).over("client-reqwest-bare"),
        Case::new("client-reqwest", "reqwest-tracing", move || drive(&peer)).over("client-reqwest-bare"),
    ]
}
