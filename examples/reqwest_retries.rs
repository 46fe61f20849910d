//! A reqwest client with retries: one trace, and a separate parent-id for each attempt.
//! `cargo run --example reqwest_retries`
//!
//! The server fails twice, and succeeds at the third attempt.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::get};
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tagtrail::{Disclose, OutboundMiddleware, Sample, TraceParent, Trail};
use tokio::net::TcpListener;

static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);

async fn third_time_lucky(headers: HeaderMap) -> (StatusCode, String) {
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed) + 1;
    let received = TraceParent::from_headers(&headers);
    println!("attempt {attempt}: {received:?}");
    match received {
        Ok(Some(traceparent)) if attempt == 3 => (StatusCode::OK, traceparent.to_string()),
        _ => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let app = Router::new().route("/", get(third_time_lucky));
    tokio::spawn(async { axum::serve(listener, app).await });

    let backoff = ExponentialBackoff::builder()
        .retry_bounds(Duration::from_millis(1), Duration::from_millis(10))
        .build_with_max_retries(3);
    let client = ClientBuilder::new(reqwest::Client::new())
        .with(RetryTransientMiddleware::new_with_policy(backoff))
        // After the retries, so that it sees each attempt.
        .with(OutboundMiddleware::new(Disclose::All))
        .build();

    let trail = Trail::start(Sample::Always);
    let response = client.get(url).with_extension(trail.clone()).send().await?;
    let last: TraceParent = response.error_for_status()?.text().await?.parse()?;
    println!("attempt 3 succeeded: {last}");
    if last.trace_id() != trail.trace_id() || last.parent_id() == trail.span_id() {
        return Err("the last attempt has a different trace, or shares its id".into());
    }
    Ok(())
}
