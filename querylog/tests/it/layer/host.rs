//! The host that was asked for, and the service that handled the request.

use axum::Router;
use axum::body::Body;
use http::{HeaderValue, Request, Version};

use super::send::{record_of, records};

#[tokio::test]
async fn host_that_was_asked_for_is_recorded() {
    let get = |uri: &str| Request::get(uri);
    let secret = || {
        let mut value = HeaderValue::from_static("secret.example");
        value.set_sensitive(true);
        value
    };
    for (request, expected) in [
        (get("/").header("host", "Shop.Example:8080"), Some("shop.example:8080")),
        (get("http://Shop.Example/").header("host", "other.example"), Some("shop.example")),
        (get("https://shop.example:8443/").version(Version::HTTP_2), Some("shop.example:8443")),
        (get("http://ada:hunter2@shop.example/"), Some("shop.example")),
        (get("/").header("host", "[2001:DB8::1]:80"), Some("[2001:db8::1]:80")),
        (get("/").header("host", HeaderValue::from_bytes(b"caf\xe9").unwrap()), Some("caf\u{fffd}")),
        (get("/").header("host", ""), None),
        (get("/").header("host", secret()), None),
        (get("/"), None),
    ] {
        let record = record_of(Router::new(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(record.request.authority.as_deref(), expected);
    }
}

#[tokio::test]
async fn service_is_recorded_by_its_name() {
    let request = || Request::get("/").body(Body::empty()).unwrap();
    let records = records(Router::new(), |layer| layer.service("shop"), vec![request()]).await;
    assert_eq!(records[0].service.as_deref(), Some("shop"));
}
