//! The callers of the REST API: tokens, page tokens and environments.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json as value};
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::server::AuditApi;

use crate::support::audit::{Server, TOKENS, VALUES, escaped, records};

#[tokio::test]
async fn caller_is_rejected_without_a_known_token() {
    let server = Server::start().await;
    for scheme in ["Bearer", "bearer", "Fused-Service-Token", "FUSED-ENV-BEARER", "fused-rtenv-bearer"] {
        let request = Request::get("/v1/user/self").header("authorization", format!("{scheme} ada"));
        let response = server.send(request.body(Body::empty()).unwrap()).await;
        let expected = value!({
            "id": "u1", "name": "Ada", "email": "ada@example.com", "handle": null, "execution_environment_id": "env1"
        });
        assert_eq!(response.json, expected, "{scheme}");
    }
    for value in
        ["", "ada", "Bearer", "Bearer ", "Basic ada", "Bearer nobody", "Bearer account", "Bearer ada x", "Bearer ADA"]
    {
        for path in [
            "/log/self",
            "/log/by-id/x",
            "/log/by-udf-name/x",
            "/user/self",
            "/execution-env/self",
            "/log/self?limit=x",
        ] {
            let request = Request::get(format!("/v1{path}")).header("authorization", value);
            let response = server.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                (response.status.as_u16(), response.headers["www-authenticate"].as_bytes()),
                (401, &b"Bearer"[..]),
                "{value}"
            );
        }
    }
    let none = Request::get("/v1/log/self").body(Body::empty()).unwrap();
    assert_eq!(server.send(none).await.status, 401);
    let two = Request::get("/v1/log/self").header("authorization", "Bearer ada").header("authorization", "Bearer eve");
    assert_eq!(server.send(two.body(Body::empty()).unwrap()).await.status, 401);

    for path in ["/log/self", "/log/distinct-udf-names/self", "/log/distinct-udf-id/self", "/user/self"] {
        assert_eq!(server.get("service1", path).await.status, 403, "{path}");
    }
    for path in [
        "/log/exec-env/self",
        "/log/distinct-udf-names/exec-env/self",
        "/log/distinct-udf-id/exec-env/self",
        "/log/by-udf-name/x",
        "/execution-env/self",
    ] {
        assert_eq!(server.get("service1", path).await.status, 200, "{path}");
    }
    for (token, id, name) in [
        ("service1", "env1", "env1"),
        ("service2", "env2", "Production"),
        ("eve", "env2", "Eve's"),
        ("ada", "env1", "env1"),
    ] {
        let response = server.get(token, "/execution-env/self").await;
        assert_eq!(response.json, value!({"id": id, "name": name}), "{token}");
    }
    assert_eq!(server.get("eve", "/user/self").await.json["handle"], "eve");
}

#[tokio::test]
async fn page_token_is_bound_to_the_query_and_the_caller() {
    let server = Server::with(&records(2_000)).await;
    let path = "/log/by-udf-name/rollup?limit=2&start_timestamp=2025-04-01";
    let response = server.get("ada", path).await;
    let token = response.json["next_page_token"].as_str().unwrap();
    let ids = |response: &Value| -> Vec<Value> {
        response["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
    };

    let next = server.get("ada", &format!("{path}&page_token={token}")).await;
    assert_eq!(next.status, 200);
    assert!(ids(&next.json).iter().all(|id| !ids(&response.json).contains(id)));
    for same in [
        format!("/log/by-udf-name/rollup?limit=9&start_timestamp=2025-04-01&page_token={token}"),
        format!(
            "/log/by-udf-name/rollup?start_timestamp=2025-04-01T02:00%2B02:00&page_token={token}&scan_forward=True"
        ),
    ] {
        assert_eq!(server.get("ada", &same).await.status, 200, "{same}");
        assert_eq!(server.get("ada-again", &same).await.status, 200, "the same user by another token");
    }

    for other in [
        "/log/by-udf-name/rollup?start_timestamp=2025-04-01T00:00:00.000001",
        "/log/by-udf-name/rollup",
        "/log/by-udf-name/rollup?start_timestamp=2025-04-01&end_timestamp=2030-01-01",
        "/log/by-udf-name/rollup?start_timestamp=2025-04-01&scan_forward=False",
        "/log/by-udf-name/Rollup?start_timestamp=2025-04-01",
        "/log/by-udf-id/rollup?start_timestamp=2025-04-01",
        "/log/by-shared-token/rollup?start_timestamp=2025-04-01",
        "/log/self?start_timestamp=2025-04-01",
        "/log/exec-env/self?start_timestamp=2025-04-01",
    ] {
        let and = if other.contains('?') { '&' } else { '?' };
        let response = server.get("ada", &format!("{other}{and}page_token={token}")).await;
        assert_eq!(response.status, 422, "{other}");
        assert_eq!(response.json["detail"][0]["loc"], value!(["query", "page_token"]));
    }
    for other in ["bob", "eve", "service1", "service2"] {
        assert_eq!(server.get(other, &format!("{path}&page_token={token}")).await.status, 422, "{other}");
    }
    for place in (0..token.len()).step_by(3) {
        let mut changed = token.to_owned();
        let byte = if changed.as_bytes()[place] == b'A' { "B" } else { "A" };
        changed.replace_range(place..=place, byte);
        for damaged in [&changed, &token[..place], &format!("{token}{}", &token[..=place])] {
            assert_eq!(server.get("ada", &format!("{path}&page_token={damaged}")).await.status, 422, "{damaged}");
        }
    }
    // Another server on the same store accepts the token; one on another store does not.
    let api = AuditApi::new(server.log.clone(), TOKENS.parse::<Tokens>().unwrap()).await.unwrap();
    let replica = Server { router: api.router_with_fallback(), log: server.log.clone(), folder: server.folder.clone() };
    assert_eq!(replica.get("ada", &format!("{path}&page_token={token}")).await.status, 200);
    let stranger = Server::start().await;
    assert_eq!(stranger.get("ada", &format!("{path}&page_token={token}")).await.status, 422);
}

#[tokio::test]
async fn caller_sees_no_record_of_another_environment() {
    let all = records(1_000);
    let server = Server::with(&all).await;
    for (token, env, email) in
        [("ada", "env1", "ada@example.com"), ("eve", "env2", "eve@example.com"), ("service2", "env2", "")]
    {
        let mut paths = vec!["/log/exec-env/self".to_owned(), "/log/distinct-udf-names/exec-env/self".to_owned()];
        paths.push("/log/distinct-udf-id/exec-env/self".to_owned());
        for value in VALUES {
            let value = escaped(value);
            paths.extend(["name", "id"].map(|kind| format!("/log/by-udf-{kind}/{value}")));
            paths.push(format!("/log/by-shared-token/{value}"));
        }
        for path in paths {
            let response =
                server.get(token, &format!("{path}?limit=300&exec_env_id=env1&user_email=ada@example.com")).await;
            assert!(response.json["items"].as_array().unwrap().iter().all(|item| item["exec_env_id"] == env), "{path}");
        }
        if !email.is_empty() {
            let own = server.all(token, "/log/self", 300).await;
            assert!(!own.is_empty() && own.iter().all(|item| item["user_email"] == email));
        }
    }
}
