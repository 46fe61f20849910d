//! The API of exports: what it accepts, what it rejects, and what no key gets of another's.

use std::time::Duration;

use crate::support::export::{SECOND, Server, TOKENS, at, range, record};
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tagtrail_querylog::Timestamp;
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::server::ExportApi;
use tower::ServiceExt;

const DAY: i64 = 86_400;

fn with(body: &Value, member: &str, value: impl Into<Value>) -> Value {
    let mut body = body.clone();
    body[member] = value.into();
    body
}

#[tokio::test]
async fn the_api_has_the_paths_that_are_given() {
    let server = Server::start().await;
    let api = ExportApi::new(server.exports.clone(), TOKENS.parse::<Tokens>().unwrap()).await.unwrap();
    let api = api.at_paths(["/exports", ""]);
    assert!(format!("{api:?}").contains("/exports"), "{api:?}");
    let body = range("us-std", 0, 10).to_string();
    for (path, status) in [("/exports/logs", 200), ("/logs", 200), ("/api/v1/logs", 404), ("/exports", 404)] {
        let request = Request::post(format!("{path}?type=query")).header("authorization", "Bearer us");
        let response =
            api.router_with_fallback().oneshot(request.body(Body::from(body.clone())).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_request_is_rejected_with_a_reason_if_it_cannot_be_exported() {
    let server = Server::start().await;
    let good = range("us-std", 0, 10);
    let long = "x".repeat(2_000);
    for (member, value, reason) in [
        ("region_group", Value::Null, "region_group or database"),
        ("region_group", json!(7), "JSON"),
        ("region_group", json!(""), "region_group"),
        ("region_group", json!("us-std/"), "region_group"),
        ("region_group", json!("us-std/shop"), "region_group"),
        ("region_group", json!("us\nstd"), "region_group"),
        ("region_group", json!(long), "region_group"),
        ("database", json!("us-std"), "database"),
        ("database", json!("us-std//shop"), "database"),
        ("database", json!("/shop"), "database"),
        ("database", json!("us-std/shop/"), "database"),
        ("time_start", Value::Null, "time_start"),
        ("time_start", json!("2024-05-10T00:00:00"), "time_start"),
        ("time_start", json!("2024-05-10"), "time_start"),
        ("time_start", json!("yesterday"), "time_start"),
        ("time_start", json!(1_715_299_200), "JSON"),
        ("time_start", json!("2024-05-10T00:00:10Z"), "must be after time_start"),
        ("time_end", Value::Null, "time_end"),
        ("time_end", json!("2024-05-09T00:00:00Z"), "must be after time_start"),
        ("time_end", json!(at(90 * DAY + 1).to_string()), "90 days"),
        ("time_end", json!("2024-05-10T00:00:00[Europe/Paris]"), "time_end"),
        ("idempotency_token", json!("once"), "UUID"),
    ] {
        let response = server.ask("us", &with(&good, member, value.clone())).await;
        assert_eq!(
            (response.status.as_u16(), response.json["code"].as_str()),
            (400, Some("bad_request")),
            "{member} {value}"
        );
        assert!(response.json["reason"].as_str().unwrap().contains(reason), "{member} {value}: {}", response.json);
    }
    for (member, value) in [
        ("time_end", json!(at(90 * DAY).to_string())),
        ("time_start", json!("2024-05-10T02:00:00+02:00")),
        ("time_start", json!("2024-05-09T19:00:00.123456789-05:00")),
        ("database", json!("us-std/shop")),
        ("other", json!({"of": "later"})),
    ] {
        let response = server.ask("us", &with(&good, member, value.clone())).await;
        assert_eq!(response.status, 200, "{member} {value}: {}", response.json);
    }
    // The other spelling, and the database decides.
    let both = json!({
        "regionGroup": "eu-std", "database": "us-std/shop",
        "time_start": at(0).to_string(), "time_end": at(1).to_string(),
    });
    let response = server.ask("us", &both).await;
    assert_eq!((response.status.as_u16(), response.json["database"].as_str()), (200, Some("us-std/shop")));
    let response = server.ask("us", &with(&both, "database", Value::Null)).await;
    assert_eq!((response.status.as_u16(), response.json["code"].as_str()), (403, Some("permission_denied")));
}

#[tokio::test]
async fn a_range_is_rejected_if_it_ends_far_in_the_future() {
    let server = Server::start().await;
    let now = Timestamp::now().as_micros();
    let in_days = |days: i64| Timestamp::from_micros(now + days * DAY * SECOND).to_string();
    let ask = async |start, end| {
        let body = json!({"region_group": "us-std", "time_start": in_days(start), "time_end": in_days(end)});
        server.ask("us", &body).await
    };
    assert_eq!(ask(0, 90).await.status, 200);
    assert_eq!(ask(89, 90).await.status, 200);
    for (start, end) in [(3, 92), (36_500, 36_501)] {
        let response = ask(start, end).await;
        assert_eq!((response.status.as_u16(), response.json["code"].as_str()), (400, Some("bad_request")));
        assert!(response.json["reason"].as_str().unwrap().contains("time_end is too far in the future"));
    }
}

#[tokio::test]
async fn an_export_is_rejected_if_too_many_of_its_key_wait() {
    let server = Server::with(|builder| builder.arrival(Duration::ZERO).waiting(3)).await;
    let now = Timestamp::now();
    let until = |seconds, scope: &str| {
        let end = now.saturating_add(Duration::from_secs(seconds)).to_string();
        json!({"region_group": scope, "time_start": now.to_string(), "time_end": end})
    };
    let soon = || until(5, "us-std");
    let token = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let mut ids = Vec::new();
    let later = until(3_600, "us-std");
    for body in [&later, &with(&later, "idempotency_token", token), &later, &soon(), &soon(), &soon()] {
        let response = server.ask("us", body).await;
        assert_eq!(response.status, 200, "what waits for long locks nothing else out: {}", response.json);
        ids.push(response.json["request_id"].clone());
    }
    for (key, body) in [("us", &later), ("us", &soon()), ("us-again", &later), ("us-again", &soon())] {
        let response = server.ask(key, body).await;
        assert_eq!(
            (response.status.as_u16(), response.json["code"].as_str()),
            (429, Some("too_many_requests")),
            "{key}"
        );
        assert!(response.headers.contains_key("retry-after"));
    }
    let again = server.ask("us", &with(&later, "idempotency_token", token)).await;
    assert_eq!((again.status.as_u16(), &again.json["request_id"]), (200, &ids[1]), "it is no other one");
    for (key, scope) in [("eu", "eu-std"), ("both", "us-std")] {
        assert_eq!(server.ask(key, &until(3_600, scope)).await.status, 200, "{key} may wait beside it");
    }
    assert_eq!(server.wait("us", ids[5].as_str().unwrap()).await["state"], "DoesNotExist");
    assert_eq!(server.ask("us", &soon()).await.status, 200, "one has ended");
    assert_eq!(server.ask("us", &later).await.status, 429);
}

#[tokio::test]
async fn every_response_is_json_if_it_is_an_error_too() {
    let server = Server::start().await;
    let id = server.ask("us", &range("us-std", 0, 10)).await.json["request_id"].as_str().unwrap().to_owned();
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(70_000));
    for (method, path, body, status, code) in [
        ("POST", "/logs", "", 400, "bad_request"),
        ("POST", "/logs", "{", 400, "bad_request"),
        ("POST", "/logs", "[]", 400, "bad_request"),
        ("POST", "/logs", "\u{0}", 400, "bad_request"),
        ("POST", "/logs", &large, 400, "bad_request"),
        ("POST", "/logs?type=usage", &range("us-std", 0, 10).to_string(), 400, "bad_request"),
        ("GET", "/logs", "", 405, "method_not_allowed"),
        ("DELETE", &format!("/logs/{id}"), "", 405, "method_not_allowed"),
        ("POST", &format!("/logs/{id}"), "", 405, "method_not_allowed"),
        ("GET", "/logs/_list", "", 405, "method_not_allowed"),
        ("GET", "/logs/", "", 404, "not_found"),
        ("GET", "/logs/x", "", 404, "not_found"),
        ("GET", "/logs/x/y", "", 404, "not_found"),
        ("GET", "/logs/%00", "", 404, "not_found"),
        ("GET", "/logs/' OR 1=1 --", "", 404, "not_found"),
        ("GET", &format!("/logs/{id}/"), "", 404, "not_found"),
        ("GET", &format!("/logs/{}", id.to_uppercase()), "", 404, "not_found"),
        ("GET", "/users", "", 404, "not_found"),
        ("POST", "/logs/_list", "{\"states\": [\"complete\"]}", 400, "bad_request"),
        ("POST", "/logs/_list", "{\"max_results\": 0}", 400, "bad_request"),
        ("POST", "/logs/_list", "{\"max_results\": -1}", 400, "bad_request"),
        ("POST", "/logs/_list", "{\"next_token\": \"x\"}", 400, "bad_request"),
        ("POST", "/logs/files/x", "", 405, "method_not_allowed"),
    ] {
        let response = server.send(server.request(method, path).bearer_auth("us").body(body.to_owned())).await;
        assert_eq!((response.status.as_u16(), response.json["code"].as_str()), (status, Some(code)), "{method} {path}");
        let nothing = ["/logs/", "/logs/x/y", "/users"].contains(&path) || path.ends_with('/');
        assert_eq!(response.json["reason"] == "there is nothing under this path", nothing, "{method} {path}");
        if response.status == 405 {
            let allowed = if path == "/logs" || path == "/logs/_list" { "POST" } else { "GET, HEAD" };
            assert_eq!(response.headers["allow"], allowed, "{method} {path}");
        }
    }
    for (path, status) in [(format!("/logs/{id}?type=query"), 200), ("/logs?type=query".to_owned(), 405)] {
        let response = server.request("HEAD", &path).bearer_auth("us").send().await.unwrap();
        assert_eq!(response.status(), status, "HEAD {path}");
    }
    for authorization in ["", "us", "Bearer", "Bearer ", "Basic us", "Bearer nobody", "Bearer ada", "Bearer service"] {
        for (method, path) in [("POST", "/logs"), ("GET", &*format!("/logs/{id}")), ("POST", "/logs/_list")] {
            let request = server.request(method, path).header("authorization", authorization);
            let response = server.send(request.body(range("us-std", 0, 10).to_string())).await;
            assert_eq!((response.status.as_u16(), response.json["code"].as_str()), (401, Some("unauthorized")));
            assert_eq!(response.headers["www-authenticate"], "Bearer", "{authorization}");
        }
    }
    let twice = server.request("GET", &format!("/logs/{id}")).bearer_auth("us").bearer_auth("us");
    assert_eq!(server.send(twice).await.status, 401);
    assert_eq!(server.get("us", &format!("{id}?x=")).await.status, 200, "parameters that nobody knows are ignored");
}

#[tokio::test]
async fn a_key_sees_an_export_only_if_it_covers_its_scope() {
    let server = Server::start().await;
    let mut ids = Vec::new();
    for scope in
        ["us-std", "us-std/shop", "us-std/shop/stock", "us-std/shopping", "us-std/web", "eu-std", "eu-std/shop"]
    {
        ids.push((
            scope,
            server.ask("both", &range(scope, 0, 10)).await.json["request_id"].as_str().unwrap().to_owned(),
        ));
    }
    let seen_by: [(&str, &[&str]); 6] = [
        ("us", &["us-std", "us-std/shop", "us-std/shop/stock", "us-std/shopping", "us-std/web"]),
        ("us-again", &["us-std", "us-std/shop", "us-std/shop/stock", "us-std/shopping", "us-std/web"]),
        ("eu", &["eu-std", "eu-std/shop"]),
        ("shop", &["us-std/shop", "us-std/shop/stock"]),
        ("stock", &["us-std/shop/stock"]),
        ("ada", &[]),
    ];
    for (key, seen) in seen_by {
        for (scope, id) in &ids {
            let status = if key == "ada" {
                401
            } else if seen.contains(scope) {
                200
            } else {
                404
            };
            assert_eq!(server.get(key, id).await.status.as_u16(), status, "{key} {scope}");
            let asked = server.ask(key, &range(scope, 0, 10)).await.status.as_u16();
            assert_eq!(asked, if status == 404 { 403 } else { status }, "{key} {scope}");
        }
        let listed = server.post(key, "/logs/_list", &json!({})).await;
        let scopes = listed.json["results"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|export| export["database"].as_str().or(export["region_group"].as_str()).unwrap().to_owned());
        let mut scopes: Vec<_> = scopes.collect();
        scopes.sort();
        scopes.dedup();
        let mut expected = seen.to_vec();
        expected.sort_unstable();
        assert_eq!(scopes, expected, "{key}");
    }
}

#[tokio::test]
async fn a_key_gets_the_same_export_if_it_repeats_a_token() {
    let server = Server::start().await;
    let token = "0190163d-8694-739b-aea5-966c26f8ad91";
    let body = with(&range("us-std", 0, 10), "idempotency_token", token);
    let first = server.ask("us", &body).await.json["request_id"].clone();
    let again = futures_util::future::join_all((0..20).map(|_| server.ask("us", &body))).await;
    assert!(again.iter().all(|response| response.status == 200 && response.json["request_id"] == first));
    let upper = with(&body, "idempotency_token", token.to_uppercase());
    assert_eq!(server.ask("us-again", &upper).await.json["request_id"], first, "a key with the same rights");
    let other_range = with(&body, "time_end", at(11).to_string());
    assert_eq!(server.ask("us", &other_range).await.json["time_end"], "2024-05-10T00:00:10Z", "the same export");
    let database = with(&range("us-std/shop", 0, 10), "idempotency_token", token);
    assert_ne!(server.ask("shop", &database).await.json["request_id"], first, "of another key");
    assert_ne!(server.ask("both", &body).await.json["request_id"], first, "of a key with more rights");
    let without = range("us-std", 0, 10);
    let (one, other) = (server.ask("us", &without).await, server.ask("us", &without).await);
    assert_ne!(one.json["request_id"], other.json["request_id"], "without a token, each is one of its own");
    // All at once, and new.
    let body = with(&body, "idempotency_token", "0190163d-8694-739b-aea5-966c26f8ad92");
    let ids = futures_util::future::join_all((0..20).map(|_| server.ask("us", &body))).await;
    assert!(ids.iter().all(|response| response.json["request_id"] == ids[0].json["request_id"]));
}

#[tokio::test]
async fn the_list_has_pages_newest_first_and_by_state() {
    let server = Server::start().await;
    server.log.put_requests(&[record(0, at(0), "us-std")]).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..7 {
        // Those with an even number have a record.
        let export = server.export("us", &range("us-std", number % 2, 10)).await;
        ids.insert(0, (export["request_id"].clone(), export["state"].as_str().unwrap().to_owned()));
    }
    let page = async |body: Value| {
        let response = server.post("us", "/logs/_list?type=query&regionGroup=us-std", &body).await;
        assert_eq!(response.status, 200, "{}", response.json);
        response.json
    };
    let mut found = Vec::new();
    let mut token = Value::Null;
    for size in [3, 3, 1] {
        let response = page(json!({"max_results": 3, "next_token": token})).await;
        let results = response["results"].as_array().unwrap();
        assert_eq!(results.len(), size);
        found.extend(
            results.iter().map(|export| (export["request_id"].clone(), export["state"].as_str().unwrap().to_owned())),
        );
        token = response["next_token"].clone();
        if size == 3 {
            // It is valid for these states and this key alone.
            for (key, body) in
                [("us", json!({"states": ["Failed"], "next_token": token})), ("eu", json!({"next_token": token}))]
            {
                assert_eq!(server.post(key, "/logs/_list", &body).await.status, 400);
            }
            let mut changed = token.as_str().unwrap().to_owned();
            let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
            changed.insert(0, last);
            assert_eq!(server.post("us", "/logs/_list", &json!({"next_token": changed})).await.status, 400);
        }
    }
    assert_eq!((found, token), (ids.clone(), Value::Null));
    for states in [vec!["Complete"], vec!["DoesNotExist"], vec!["DoesNotExist", "Complete"], vec!["Failed", "Pending"]]
    {
        let response = page(json!({"states": states})).await;
        let expected: Vec<_> =
            ids.iter().filter(|(_, state)| states.contains(&state.as_str())).map(|(id, _)| id).collect();
        let found: Vec<_> =
            response["results"].as_array().unwrap().iter().map(|export| &export["request_id"]).collect();
        assert_eq!(found, expected, "{states:?}");
    }
}
