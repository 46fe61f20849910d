//! The REST API of the audit log: every documented mode, compared with a naive reader, and every error.

use std::collections::HashSet;

use axum::body::Body;
use http::Request;
use serde_json::json as value;
use tagtrail_querylog::Timestamp;
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::server::AuditApi;

use crate::support::audit::{Server, TOKENS, VALUES, escaped, json, records, sorted};

/// The condition of a naive reader.
type Test = Box<dyn Fn(&AuditRecord) -> bool>;

fn pages() -> Vec<(&'static str, String, Test)> {
    let mut all: Vec<(&str, String, Test)> = vec![
        ("ada", "/log/self".into(), Box::new(|r| r.user_email.as_deref() == Some("ada@example.com"))),
        ("eve", "/log/self".into(), Box::new(|r| r.user_email.as_deref() == Some("eve@example.com"))),
        ("ada", "/log/exec-env/self".into(), Box::new(|r| r.exec_env_id.as_deref() == Some("env1"))),
        ("service2", "/log/exec-env/self".into(), Box::new(|r| r.exec_env_id.as_deref() == Some("env2"))),
    ];
    for name in VALUES {
        let path = escaped(name);
        let in_env = |r: &AuditRecord| r.exec_env_id.as_deref() == Some("env1");
        all.push((
            "bob",
            format!("/log/by-udf-name/{path}"),
            Box::new(move |r| in_env(r) && r.udf_name.as_deref() == Some(name)),
        ));
        all.push((
            "ada",
            format!("/log/by-udf-id/{path}"),
            Box::new(move |r| in_env(r) && r.udf_id.as_deref() == Some(name)),
        ));
        all.push((
            "service1",
            format!("/log/by-shared-token/{path}"),
            Box::new(move |r| in_env(r) && r.shared_token.as_deref() == Some(name)),
        ));
    }
    all
}

#[tokio::test]
async fn pages_contain_what_a_naive_reader_finds() {
    let records = records(3_000);
    let server = Server::with(&records).await;
    let records = sorted(records);
    for (token, path, test) in pages() {
        let mut expected: Vec<_> = records.iter().filter(|record| test(record)).cloned().collect();
        assert!(expected.len() > 5, "{path}");
        assert_eq!(server.all(token, &path, 300).await, json(&expected), "{path}");
        // A full last page has no token.
        assert_eq!(server.all(token, &path, expected.len().min(300)).await, json(&expected), "{path}");
        let window = "start_timestamp=2025-04-02T05:00:00Z&end_timestamp=2025-04-05+07:00:00";
        let within = |record: &&AuditRecord| {
            let text = record.timestamp.to_string();
            ("2025-04-02T05:00:00.000000Z"..="2025-04-05T07:00:00.000000Z").contains(&text.as_str())
        };
        let some: Vec<_> = expected.iter().filter(within).cloned().collect();
        assert_eq!(server.all(token, &format!("{path}?{window}"), 7).await, json(&some), "{path}");
        expected.reverse();
        assert_eq!(server.all(token, &format!("{path}?scan_forward=False"), 99).await, json(&expected), "{path}");
    }
}

#[tokio::test]
async fn distinct_returns_the_latest_of_each_value_among_the_newest() {
    let records = records(3_000);
    let server = Server::with(&records).await;
    let mut records = sorted(records);
    records.reverse();
    for (path, scope) in [
        ("self", Box::new(|r: &AuditRecord| r.user_email.as_deref() == Some("ada@example.com")) as Test),
        ("exec-env/self", Box::new(|r| r.exec_env_id.as_deref() == Some("env1"))),
    ] {
        for (kind, value_of) in [
            ("names", (|r: &AuditRecord| r.udf_name.clone()) as fn(&AuditRecord) -> Option<String>),
            ("id", |r| r.udf_id.clone()),
        ] {
            for (scan, window) in [(1, ""), (20, ""), (1_000, ""), (5_000, ""), (300, "&end_timestamp=2025-04-03")] {
                let last: Timestamp = if window.is_empty() { Timestamp::MAX } else { "2025-04-03".parse().unwrap() };
                let mut seen = HashSet::new();
                let read = records.iter().filter(|record| scope(record) && record.timestamp <= last).take(scan);
                let expected: Vec<_> =
                    read.filter(|record| value_of(record).is_some_and(|value| seen.insert(value))).cloned().collect();
                let path = format!("/log/distinct-udf-{kind}/{path}?max_records_to_scan={scan}{window}");
                let response = server.get("ada", &path).await;
                assert_eq!(response.json["items"].as_array().unwrap(), &json(&expected), "{path}");
                assert_eq!(response.json["limit"], scan);
                assert!(response.json["next_page_token"].is_null());
            }
        }
    }
    let response = server.get("ada", "/log/distinct-udf-names/self?max_records_to_scan=99999").await;
    assert_eq!(response.json["limit"], 5_000);
    assert_eq!(server.get("ada", "/log/distinct-udf-names/self").await.json["limit"], 1_000);
}

#[tokio::test]
async fn record_is_found_by_its_id_only_in_its_environment() {
    let records = records(200);
    let server = Server::with(&records).await;
    for record in &records {
        let path = format!("/log/by-id/{}", record.id);
        for (token, env) in [("ada", "env1"), ("eve", "env2"), ("service1", "env1")] {
            let response = server.get(token, &path).await;
            if record.exec_env_id.as_deref() == Some(env) {
                let expected = value!({"items": [record], "limit": 1, "next_page_token": null});
                assert_eq!(response.json, expected);
            } else {
                assert_eq!(response.status, 404);
            }
        }
        // Equality is by code points.
        let upper = record.id.to_string().to_uppercase();
        assert_eq!(server.get("ada", &format!("/log/by-id/{upper}")).await.status, 404);
    }
    for path in ["/log/by-id/x", "/log/by-id/00000000-0000-0000-0000-00000000ffff", "/log/by-id/%27%20OR%201=1"] {
        assert_eq!(server.get("ada", path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn limit_is_reported_and_applied() {
    let server = Server::with(&records(900)).await;
    for (limit, used) in
        [("", 100), ("?limit=1", 1), ("?limit=300", 300), ("?limit=301", 300), ("?limit=3&limit=5&x=y", 5)]
    {
        let response = server.get("ada", &format!("/log/exec-env/self{limit}")).await;
        assert_eq!(response.json["limit"], used);
        assert_eq!(response.json["items"].as_array().unwrap().len(), used);
        assert!(response.json["next_page_token"].is_string());
    }
    for path in [
        "/log/by-udf-name/nobody",
        "/log/by-udf-id/nobody",
        "/log/by-shared-token/nobody",
        "/log/self?start_timestamp=2025-04-02&end_timestamp=2025-04-01",
        "/log/self?start_timestamp=9999-12-31T23:59:59.9999999Z",
        "/log/self?end_timestamp=0001-01-01",
    ] {
        let response = server.get("ada", path).await;
        assert_eq!(response.json, value!({"items": [], "limit": 100, "next_page_token": null}), "{path}");
    }
}

#[tokio::test]
async fn invalid_parameters_are_rejected_by_name() {
    let server = Server::start().await;
    for (query, names) in [
        ("limit=0", &["limit"][..]),
        ("limit=ten&scan_forward=maybe", &["limit", "scan_forward"]),
        ("start_timestamp=yesterday&end_timestamp=", &["start_timestamp", "end_timestamp"]),
        ("page_token=", &["page_token"]),
        ("page_token=%27%3B--", &["page_token"]),
    ] {
        for path in
            ["/log/self", "/log/exec-env/self", "/log/by-udf-name/x", "/log/by-udf-id/x", "/log/by-shared-token/x"]
        {
            let response = server.get("ada", &format!("{path}?{query}")).await;
            assert_eq!(response.status, 422);
            let details = response.json["detail"].as_array().unwrap();
            let locs: Vec<_> = details.iter().map(|detail| detail["loc"].clone()).collect();
            assert_eq!(locs, names.iter().map(|name| value!(["query", name])).collect::<Vec<_>>());
            assert!(details.iter().all(|detail| detail["msg"].is_string() && detail["type"].is_string()));
        }
    }
    let response = server.get("ada", "/log/distinct-udf-id/self?max_records_to_scan=x&start_timestamp=x").await;
    assert_eq!(response.json["detail"].as_array().unwrap().len(), 2);
    // These paths have no such parameter.
    assert_eq!(server.get("ada", "/log/distinct-udf-id/self?limit=x&page_token=x").await.status, 200);
}

#[tokio::test]
async fn response_is_json_for_every_path_and_method() {
    let server = Server::start().await;
    for (path, status) in [
        ("/v1/log/by-udf-name/", 404),
        ("/v1/log/by-udf-name", 404),
        ("/v1/log/by-id/", 404),
        ("/v1/log/other/x", 404),
        ("/v1/log/self/", 404),
        ("/v1/log", 404),
        ("/v1/", 404),
        ("/v1", 404),
        ("/v2/log/self", 404),
        ("/", 404),
        ("/v1/log/by-udf-name/%ff", 400),
        ("/v1/log/by-udf-name/a%c3%28", 400),
        ("/v1/log/by-udf-name/%", 200),
        ("/v1//log/self", 200),
        ("/v1///log/by-udf-name/x", 200),
        ("/server/v1/log/self", 200),
        ("/server/v1//user/self", 200),
    ] {
        let request = Request::get(path).header("authorization", "bearer ada").body(Body::empty()).unwrap();
        let response = server.send(request).await;
        assert_eq!(response.status, status, "{path}");
        assert!(status == 200 || response.json["detail"].is_string(), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"] {
        for path in ["/v1/log/self", "/v1/log/by-udf-name/x", "/v1/openapi.json", "/v1/user/self"] {
            let request = Request::builder().method(method).uri(path).body(Body::from("{}")).unwrap();
            let response = server.send(request).await;
            assert_eq!(
                (response.status.as_u16(), &response.headers["allow"]),
                (405, &"GET, HEAD".parse().unwrap()),
                "{method}"
            );
        }
    }
}

#[tokio::test]
async fn api_is_served_under_the_given_paths() {
    let server = Server::start().await;
    let api = AuditApi::new(server.log.clone(), TOKENS.parse::<Tokens>().unwrap()).await.unwrap();
    let api = api.at_paths(["/audit", ""]);
    assert!(format!("{api:?}").contains("/audit"), "{api:?}");
    let moved = Server { router: api.router_with_fallback(), ..server };
    for (path, status) in
        [("/audit/log/self", 200), ("/log/self", 200), ("/log/other", 404), ("/v1/log/self", 404), ("/audit", 404)]
    {
        let request = Request::get(path).header("authorization", "Bearer ada").body(Body::empty()).unwrap();
        assert_eq!(moved.send(request).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn pages_contain_each_record_once_while_others_are_written() {
    for forward in [true, false] {
        let all = records(1_500);
        let server = Server::with(&all[..1_000]).await;
        let committed: HashSet<_> = all[..1_000]
            .iter()
            .filter(|r| r.exec_env_id.as_deref() == Some("env1"))
            .map(|r| r.id.to_string())
            .collect();
        let mut later = all[1_000..].chunks(10);
        let mut seen = Vec::new();
        let mut next = String::new();
        loop {
            let path = format!("/log/exec-env/self?limit=17&scan_forward={forward}{next}");
            let response = server.get("ada", &path).await;
            seen.extend(
                response.json["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
            );
            let Some(token) = response.json["next_page_token"].as_str() else { break };
            next = format!("&page_token={token}");
            if let Some(some) = later.next() {
                server.log.put(some.to_vec()).await.unwrap();
            }
        }
        let distinct: HashSet<_> = seen.iter().cloned().collect();
        assert_eq!(distinct.len(), seen.len(), "no duplicate");
        assert!(committed.is_subset(&distinct), "no gap");
    }
}

#[tokio::test]
async fn value_with_metacharacters_is_matched_exactly() {
    let server = Server::start().await;
    let mut put = Vec::new();
    for (number, text) in VALUES.iter().enumerate() {
        let text = Some((*text).to_owned());
        let id = uuid::Uuid::from_u128(number as u128 + 1);
        let mut record = AuditRecord::new(id, Timestamp::from_micros(i64::try_from(number).unwrap()));
        record.exec_env_id = Some("env1".into());
        for member in [
            &mut record.user_id,
            &mut record.user_email,
            &mut record.udf_id,
            &mut record.udf_name,
            &mut record.execution_engine,
            &mut record.stdout,
            &mut record.stderr,
            &mut record.udf_data,
            &mut record.shared_token,
            &mut record.client_ip,
        ] {
            member.clone_from(&text);
        }
        put.push(record);
    }
    server.log.put(put.clone()).await.unwrap();
    for (text, record) in VALUES.iter().zip(&put) {
        for kind in ["by-udf-name", "by-udf-id", "by-shared-token"] {
            let response = server.get("ada", &format!("/log/{kind}/{}", escaped(text))).await;
            assert_eq!(response.json["items"], value!([record]), "{kind} {text:?}");
        }
    }
    let large = "x".repeat(60_000);
    for path in [format!("/log/by-udf-name/{large}"), format!("/log/self?page_token={large}"), format!("/log/{large}")]
    {
        let response = server.get("ada", &path).await;
        assert!(response.status.as_u16() < 500 && response.json.to_string().len() < 500, "{}", response.status);
    }
    let request = Request::get("/v1/log/self").header("authorization", format!("Bearer {large}"));
    assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status, 401);
}
