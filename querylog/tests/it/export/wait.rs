//! Waiting for an export: polls, retries, and their limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::export::at;
use axum::Router;
use serde_json::json;
use tagtrail_querylog::client::{ExportClient, ExportClientError};
use tokio::net::TcpListener;

/// A server whose exports never end, and how many requests it got.
async fn serve_pending() -> (ExportClient, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let app = Router::new().fallback(move || {
        counter.fetch_add(1, SeqCst);
        let status = json!({
            "request_id": "r", "state": "Pending", "time_start": "2024-05-10T00:00:00Z",
            "time_end": "2024-05-11T00:00:00Z", "region_group": "us-std", "updated_at": "2024-05-11T00:00:00Z",
            "version": 1,
        });
        std::future::ready(status.to_string())
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (ExportClient::new(&url, "us").unwrap(), requests)
}

#[tokio::test]
async fn polls_are_at_least_ten_milliseconds_apart() {
    let (client, requests) = serve_pending().await;
    let request = client.export("us-std".parse().unwrap(), at(0), at(1)).poll_every(Duration::ZERO);
    let error = request.patience(Duration::from_millis(300)).wait().await.unwrap_err();
    assert_eq!(error.to_string(), "export r did not finish in time: its state is Pending");
    let requests = requests.load(SeqCst);
    assert!((2..=32).contains(&requests), "{requests}");
}

#[tokio::test]
async fn wait_polls_once_more_at_the_end_of_a_shorter_patience() {
    let (client, requests) = serve_pending().await;
    let request = client.export("us-std".parse().unwrap(), at(0), at(1)).poll_every(Duration::MAX);
    let error = request.clone().patience(Duration::from_millis(100)).wait().await.unwrap_err();
    assert!(matches!(error, ExportClientError::Unfinished { .. }), "{error}");
    assert_eq!(requests.load(SeqCst), 2);
    let forever = request.patience(Duration::MAX);
    assert!(tokio::time::timeout(Duration::from_millis(100), forever.wait()).await.is_err());
    assert_eq!(requests.load(SeqCst), 3);
}

#[tokio::test]
async fn wait_returns_the_last_error_if_the_server_cannot_be_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = ExportClient::with_http(reqwest::Client::new(), &url, "us").unwrap();
    let request = client.export("us-std".parse().unwrap(), at(0), at(1));
    let error = request.patience(Duration::ZERO).wait().await.unwrap_err();
    assert!(matches!(error, ExportClientError::Http(_)) && error.is_transient(), "{error}");
    assert_eq!(error.to_string(), "the export server cannot be reached");
}

#[tokio::test]
async fn wait_does_not_retry_errors_of_middleware() {
    let http = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(FailingMiddleware).build();
    let client = ExportClient::with_http(http, "http://127.0.0.1:9", "us").unwrap();
    let error = client.export("us-std".parse().unwrap(), at(0), at(1)).wait().await.unwrap_err();
    assert!(matches!(error, ExportClientError::Http(_)) && !error.is_transient(), "{error}");
}

struct FailingMiddleware;

#[async_trait::async_trait]
impl reqwest_middleware::Middleware for FailingMiddleware {
    async fn handle(
        &self,
        _: reqwest::Request,
        _: &mut http::Extensions,
        _: reqwest_middleware::Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        Err(reqwest_middleware::Error::middleware(std::io::Error::other("no credentials")))
    }
}
