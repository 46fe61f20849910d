//! Streams: chunks that are made after the handler returned, and clients that disconnect.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream, StreamExt};
use reqwest_middleware::ClientBuilder;
use tagtrail::{Admit, Disclose, InboundLayer, OutboundMiddleware, Trail};

use crate::support::{CALLER, OpenStreams, Received, caller, serve};

/// Three events, each made from a call to `url` after the handler returned.
fn events(url: String) -> impl Stream<Item = Result<Event, Infallible>> {
    let client = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(Disclose::All)).build();
    stream::iter(0..3).then(move |_| {
        let request = client.get(&url);
        async move {
            tokio::task::yield_now().await;
            let code = request.send().await.unwrap().status();
            let trail = Trail::current().unwrap();
            Ok(Event::default().data(format!("{code} {}", trail.trace_id())))
        }
    })
}

#[tokio::test]
async fn server_sent_events_keep_trail_and_propagate_it() {
    let downstream = Received::default();
    let url = format!("http://{}/", serve(downstream.ok_app()).await);
    let handler = move || async move { Sse::new(events(url)).keep_alive(KeepAlive::default()) };
    let app = Router::new().route("/", get(handler)).layer(InboundLayer::new(Admit::Continue));
    let address = serve(app).await;

    let request = reqwest::Client::new().get(format!("http://{address}/")).header("traceparent", CALLER);
    let body = request.send().await.unwrap().text().await.unwrap();
    let expected = format!("data: 200 OK {}\n\n", caller().trace_id());
    assert_eq!(body, expected.repeat(3));
    assert_eq!((downstream.assert_one_trace(), downstream.len()), (caller().trace_id(), 3));
}

#[tokio::test]
async fn stream_is_dropped_with_trail_when_client_disconnects() {
    let streams = OpenStreams::default();
    let handler = {
        let streams = streams.clone();
        move || async move { streams.endless_body() }
    };
    let app = Router::new().route("/", get(handler)).layer(InboundLayer::new(Admit::Continue));
    let url = format!("http://{}/", serve(app).await);
    for http2 in [false, true] {
        let mut client = reqwest::Client::builder();
        if http2 {
            client = client.http2_prior_knowledge();
        }
        let client = client.build().unwrap();
        let mut responses = Vec::new();
        for _ in 0..20 {
            let mut response = client.get(&url).send().await.unwrap();
            assert_eq!(response.chunk().await.unwrap().unwrap(), "data: first\n\n");
            responses.push(response);
        }
        assert_eq!(streams.count(), 20);
        drop(responses);
        let all_dropped = async {
            while streams.count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all_dropped).await.unwrap();
    }
    assert_eq!(streams.dropped_with_trail(), 40);
    assert!(Trail::current().is_none());
}
