//! tower-http follows redirects: in which order it has to be added.

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use tagtrail::Disclose::{All, Nothing};
use tagtrail::OutboundLayer;
use tower::{Layer, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;

use super::{ROWS, discloses, outbound, respond};
use crate::support::{Received, trail};

#[tokio::test]
async fn follow_redirect_above_layer_decides_disclosure_for_each_hop() {
    for (row, disclose) in ROWS {
        let received = Received::default();
        let client = OutboundLayer::new(outbound()).layer(received.app(respond));
        let client = FollowRedirectLayer::new().layer(client);
        let request = Request::get("http://example.com/start").header("to", row.replace("PORT", "80"));
        let trail = trail();
        let response = trail.scope(client.oneshot(request.body(Body::empty()).unwrap())).await.unwrap();
        let headers = received.all();
        assert_eq!((response.status(), headers.len()), (StatusCode::OK, 2), "{row}");
        assert!(discloses(&headers[0], All) && discloses(&headers[1], *disclose), "{row}: {headers:?}");
        if *disclose != Nothing {
            assert_eq!(received.assert_one_trace(), trail.trace_id(), "{row}");
        }
    }
}

#[tokio::test]
async fn follow_redirect_below_layer_discloses_everything_to_every_host() {
    let received = Received::default();
    let client = FollowRedirectLayer::new().layer(received.app(respond));
    let client = OutboundLayer::new(outbound()).layer(client);
    let request = Request::get("http://example.com/start").header("to", "http://evil.example/end");
    trail().scope(client.oneshot(request.body(Body::empty()).unwrap())).await.unwrap();
    let received = received.all();
    assert!(discloses(&received[1], All));
    assert_eq!(received[0]["traceparent"], received[1]["traceparent"]);
}
