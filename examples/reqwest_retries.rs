//! A reqwest client with retries: one trace, and a parent-id of its own for each attempt.
//! `cargo run --example reqwest_retries`
//!
//! The server here fails twice, and answers the third attempt.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::get};
use reqwest_middleware::ClientBuilder;
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tagtrail::{Disclose, OutboundMiddleware, TraceParent, Trail};
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

    let trail = Trail::start(true);
    let answer = client.get(url).with_extension(trail.clone()).send().await?;
    let last: TraceParent = answer.error_for_status()?.text().await?.parse()?;
    println!("answered: attempt 3, {last}");
    if last.trace_id() != trail.trace_id() || last.parent_id() == trail.operation_id() {
        return Err("the last attempt has another trace, or an id that is not its own".into());
    }
    Ok(())
}
