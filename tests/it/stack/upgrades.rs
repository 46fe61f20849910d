//! Upgrades: a WebSocket over axum. The 101 response carries the trace, and the socket's task can keep the trail.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use tagtrail::{Admit, InboundLayer, Trail};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{CALLER, TRACE_ID, caller, current_trace, response_traceparent, serve};

/// Responds to each message with the current trace.
async fn echo_trace(mut socket: WebSocket) {
    while let Some(Ok(_)) = socket.recv().await {
        let trace = current_trace().map_or("none".to_owned(), |trace| trace.to_string());
        socket.send(Message::text(trace)).await.unwrap();
    }
}

async fn scoped(upgrade: WebSocketUpgrade, trail: Trail) -> Response {
    upgrade.on_upgrade(move |socket| trail.scope(echo_trace(socket)))
}

async fn unscoped(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo_trace)
}

#[tokio::test]
async fn websocket_response_has_trace_and_scoped_socket_keeps_trail() {
    let app = Router::new().route("/scoped", any(scoped)).route("/unscoped", any(unscoped));
    let address = serve(app.layer(InboundLayer::new(Admit::Continue))).await;
    for (path, expected) in [("scoped", TRACE_ID), ("unscoped", "none")] {
        let mut request = format!("ws://{address}/{path}").into_client_request().unwrap();
        request.headers_mut().insert("traceparent", CALLER.parse().unwrap());
        let (mut socket, response) = connect_async(request).await.unwrap();
        assert_eq!(response.status(), 101);
        let echoed = response_traceparent(response.headers());
        assert_eq!(echoed.trace_id(), caller().trace_id());
        assert_ne!(echoed.parent_id(), caller().parent_id());
        for _ in 0..2 {
            socket.send("which trace?".into()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), expected, "{path}");
        }
        socket.close(None).await.unwrap();
    }
}
