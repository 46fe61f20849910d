//! The description of the API, beside what the API does.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tagtrail_querylog::Timestamp;
use uuid::Uuid;

use crate::support::export::{Server, at, record};

/// A response as the description sees it.
struct Seen {
    status: String,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

async fn send(request: reqwest::RequestBuilder) -> Seen {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_str().to_owned(), response.headers().clone());
    Seen { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

fn resolve<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(path) => description.pointer(path.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Checks a value by a schema of the few kinds that the description has.
fn check(description: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolve(description, schema);
    let types = match &schema["type"] {
        Value::String(name) => vec![name.as_str()],
        names => names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect(),
    };
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&name), "{place}: {name} is not one of {types:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{place}: {value}");
    }
    match (schema["format"].as_str(), value.as_str()) {
        (Some("date-time"), Some(text)) => drop(text.parse::<Timestamp>().unwrap()),
        (Some("uuid"), Some(text)) => drop(text.parse::<Uuid>().unwrap()),
        (Some("uri"), Some(text)) => drop(text.parse::<http::Uri>().unwrap()),
        _ => {}
    }
    for item in value.as_array().into_iter().flatten() {
        check(description, &schema["items"], item, place);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let property = schema["properties"].get(name).unwrap_or_else(|| panic!("{place}.{name} is not described"));
        check(description, property, value, &format!("{place}.{name}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter(|_| value.is_object()) {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{place}: no {name}");
    }
}

/// Checks a response by its description.
fn check_response(description: &Value, operation: &Value, seen: &Seen, place: &str) {
    let described = operation["responses"].get(&seen.status);
    let described = described.unwrap_or_else(|| panic!("{place}: {} is not described", seen.status));
    let described = resolve(description, described);
    for (header, _) in described["headers"].as_object().into_iter().flatten() {
        assert!(seen.headers.contains_key(header.as_str()), "{place} {}: {header}", seen.status);
    }
    let content_type = seen.headers["content-type"].to_str().unwrap();
    let content = &described["content"][content_type];
    assert!(content.is_object(), "{place} {}: {content_type}", seen.status);
    if content_type == "application/json" {
        check(description, &content["schema"], &serde_json::from_slice(&seen.body).unwrap(), place);
    }
}

/// Requests to an operation that takes a body: the example, and what its schema does not allow.
fn requests(description: &Value, server: &Server, path: &str, operation: &Value) -> Vec<reqwest::RequestBuilder> {
    let content = &operation["requestBody"]["content"]["application/json"];
    let (example, schema) = (&content["example"], resolve(description, &content["schema"]));
    check(description, schema, example, path);
    let post =
        |key: &str, path: &str, body: &Value| server.request("POST", path).bearer_auth(key).body(body.to_string());
    let mut sent = vec![
        post("us", path, example),
        post("nobody", path, example),
        post("eu", path, example),
        post("us", &format!("{path}?type=usage"), example),
    ];
    for (name, _) in schema["properties"].as_object().unwrap() {
        let mut wrong = example.clone();
        wrong[name] = json!({ "of another type": true });
        sent.push(post("us", path, &wrong));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let mut without = example.clone();
        without.as_object_mut().unwrap().remove(name.as_str().unwrap());
        sent.push(post("us", path, &without));
    }
    sent
}

#[tokio::test]
async fn the_description_needs_no_key() {
    let server = Server::start().await;
    let description = send(server.request("GET", "/logs/openapi.json")).await;
    assert_eq!(
        (description.status.as_str(), &description.headers["content-type"]),
        ("200", &"application/json".parse().unwrap())
    );
    let post = server.send(server.request("POST", "/logs/openapi.json").bearer_auth("us")).await;
    assert_eq!((post.status.as_u16(), &post.headers["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    assert_eq!(server.get("us", "openapi.yaml").await.status, 404);
}

#[tokio::test]
async fn the_api_does_what_its_description_says() {
    let server = Server::with(|builder| builder.arrival(Duration::ZERO).waiting(1)).await;
    server.log.put_requests(&[record(0, at(0), "us-std/ECommerce")]).await.unwrap();
    let description: Value =
        serde_json::from_slice(&send(server.request("GET", "/logs/openapi.json")).await.body).unwrap();
    let base = reqwest::Url::parse(&format!("{}/api/v1/logs/openapi.json", server.url)).unwrap();
    let root = base.join(description["servers"][0]["url"].as_str().unwrap()).unwrap();
    assert_eq!(root.path(), "/api/v1/", "paths are relative to that of the API");

    let operation = |path: &str, method: &str| {
        let item = description["paths"][path].as_object().unwrap();
        assert_eq!(item.keys().collect::<Vec<_>>(), [method], "{path}");
        &item[method]
    };
    let add = operation("/logs", "post");
    let mut seen: Vec<(&str, &Value, Seen)> = Vec::new();
    let example = &add["requestBody"]["content"]["application/json"]["example"];
    let first = server.export("us", example).await;
    assert_eq!(first["state"], "Complete");
    for request in requests(&description, &server, "/logs", add) {
        seen.push(("/logs", add, send(request).await));
    }
    // What waits for the end of its range, of which one may wait.
    let start = Timestamp::now();
    let end = start.saturating_add(Duration::from_secs(3_600));
    let future = json!({"region_group": "us-std", "time_start": start.to_string(), "time_end": end.to_string()});
    for _ in 0..2 {
        seen.push((
            "/logs",
            add,
            send(server.request("POST", "/logs").bearer_auth("us").body(future.to_string())).await,
        ));
    }

    let list = operation("/logs/_list", "post");
    for request in requests(&description, &server, "/logs/_list", list) {
        seen.push(("/logs/_list", list, send(request).await));
    }

    let get = operation("/logs/{request_id}", "get");
    let known = first["request_id"].as_str().unwrap();
    let unknown = Uuid::nil().to_string();
    for (key, id) in [("us", known), ("nobody", known), ("us", unknown.as_str()), ("us", &format!("{known}?type=x"))] {
        let request = server.request("GET", &format!("/logs/{id}")).bearer_auth(key);
        seen.push(("/logs/{request_id}", get, send(request).await));
    }

    let file = operation("/logs/files/{name}", "get");
    let (url, client) = (first["presigned_url"].as_str().unwrap(), reqwest::Client::new());
    for parameter in file["parameters"].as_array().unwrap().iter().filter(|parameter| parameter["in"] == "query") {
        assert!(url.contains(&format!("{}=", parameter["name"].as_str().unwrap())), "{url}");
    }
    for request in [
        client.get(url),
        client.get(url).header("range", "bytes=1-"),
        client.get(url).header("range", "bytes=9999-"),
        client.get(format!("{url}x")),
    ] {
        seen.push(("/logs/files/{name}", file, send(request).await));
    }
    std::fs::remove_dir_all(server.folder.path().join("exports")).unwrap();
    seen.push(("/logs/files/{name}", file, send(client.get(url)).await));

    for (path, operation, response) in &seen {
        check_response(&description, operation, response, path);
    }
    let paths = description["paths"].as_object().unwrap();
    for (path, operation) in
        paths.iter().flat_map(|(path, item)| item.as_object().unwrap().values().map(move |of| (path, of)))
    {
        let mut statuses: BTreeSet<_> =
            seen.iter().filter(|(of, ..)| of == path).map(|(.., response)| response.status.as_str()).collect();
        // What a test of the API cannot bring about.
        statuses.extend(["500", "503"].into_iter().filter(|status| operation["responses"].get(status).is_some()));
        let described: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(statuses, described, "{path}");
    }
}
