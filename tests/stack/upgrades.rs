//! Upgrades: a WebSocket over axum. The trace is on the 101, and the socket's task can keep it.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use tagtrail::{Admit, InboundLayer, Trail};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{CALLER, caller, serve};

/// Answers each message with the trace that is current where it is handled.
async fn echo_trace(mut socket: WebSocket) {
    while let Some(Ok(_)) = socket.recv().await {
        let trace = Trail::current().map_or("none".to_owned(), |trail| trail.trace_id().to_string());
        socket.send(Message::text(trace)).await.unwrap();
    }
}

async fn kept(upgrade: WebSocketUpgrade, trail: Trail) -> Response {
    upgrade.on_upgrade(move |socket| trail.scope(echo_trace(socket)))
}

async fn not_kept(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo_trace)
}

#[tokio::test]
async fn the_trace_is_on_the_101_and_in_the_sockets_task_where_it_is_kept() {
    let app = Router::new().route("/kept", any(kept)).route("/not-kept", any(not_kept));
    let address = serve(app.layer(InboundLayer::new(Admit::Continue))).await;
    let of_caller = caller().trace_id().to_string();
    for (path, expected) in [("kept", of_caller.as_str()), ("not-kept", "none")] {
        let mut request = format!("ws://{address}/{path}").into_client_request().unwrap();
        request.headers_mut().insert("traceparent", CALLER.parse().unwrap());
        let (mut socket, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.status(), 101);
        let answered = tagtrail::TraceParent::of_answer(answer.headers()).unwrap();
        assert_eq!(answered.trace_id(), caller().trace_id());
        assert_ne!(answered.parent_id(), caller().parent_id());
        for _ in 0..2 {
            socket.send("which trace?".into()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), expected, "{path}");
        }
        socket.close(None).await.unwrap();
    }
}
