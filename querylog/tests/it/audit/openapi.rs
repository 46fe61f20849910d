//! The description of the API, compared with the API.

use std::collections::BTreeSet;

use axum::body::Body;
use http::Request;
use serde_json::Value;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::Record;

use crate::support::audit::{Server, records};

fn resolve<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(path) => description.pointer(path.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

/// Checks a value against a schema of the kinds that the description uses.
fn check(description: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolve(description, schema);
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        kinds => kinds.as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() && kinds.contains(&"integer") => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{place}: {kind} is not in {kinds:?}");
    for item in value.as_array().into_iter().flatten() {
        check(description, &schema["items"], item, place);
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        let required: BTreeSet<_> =
            schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(required, object.keys().map(String::as_str).collect(), "{place}: exactly these members");
        for (name, value) in object {
            check(description, &properties[name], value, &format!("{place}.{name}"));
        }
    }
}

#[tokio::test]
async fn description_matches_every_response_of_the_api() {
    let all = records(50);
    let server = Server::with(&all).await;
    let request = Request::get("/v1/openapi.json").body(Body::empty()).unwrap();
    let description = server.send(request).await.json;
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 16);
    let mut request = Record::new(&Trail::start(Sample::Always), "/");
    request.notes.caller.exec_env_id = Some("env1".into());
    server.log.put_requests(std::slice::from_ref(&request)).await.unwrap();
    let known = all.iter().find(|record| record.exec_env_id.as_deref() == Some("env1")).unwrap().id.to_string();

    for (path, item) in paths {
        assert_eq!(item.as_object().unwrap().len(), 1, "{path}: only GET");
        let operation = &item["get"];
        let responses = operation["responses"].as_object().unwrap();
        let parameters: Vec<_> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| resolve(&description, parameter))
            .collect();
        let with = |value: &str| path.replace("{value}", value);
        let known = if path.starts_with("/traces/") { request.trace_id.to_string() } else { known.clone() };

        let mut cases = vec![("ada", with(&known)), ("nobody", with("x")), ("service1", with(&known))];
        if path.contains("{value}") {
            cases.push(("ada", with("%ff")));
            cases.push(("ada", with("00000000-0000-0000-0000-000000000000")));
        }
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            cases.push(("ada", format!("{}?{name}=wrong", with("x"))));
            if let Some(least) = parameter["schema"]["minimum"].as_u64() {
                cases.push(("ada", format!("{}?{name}={least}", with(&known))));
                cases.push(("ada", format!("{}?{name}={}", with(&known), least - 1)));
            }
            assert_eq!(
                name == "tag",
                parameter["schema"]["type"] == "array",
                "{name}: a parameter that may be repeated is a list"
            );
            if let Some(most) = parameter["schema"]["maxItems"].as_u64() {
                for (count, status) in [(most, 200), (most + 1, 422)] {
                    let repeated = format!("{name}=a%3Db&").repeat(usize::try_from(count).unwrap());
                    assert_eq!(
                        server.get("ada", &format!("{path}?{repeated}")).await.status.as_u16(),
                        status,
                        "{name}"
                    );
                }
            }
        }
        let mut seen = BTreeSet::from(["429".to_owned(), "500".to_owned()]);
        for (token, path) in cases {
            let response = server.get(token, &path).await;
            let status = response.status.as_str();
            let described = responses.get(status).unwrap_or_else(|| panic!("{path}: {status} is not described"));
            let schema = &resolve(&description, described)["content"]["application/json"]["schema"];
            check(&description, schema, &response.json, &path);
            for header in resolve(&description, described)["headers"].as_object().into_iter().flatten() {
                assert!(response.headers.contains_key(header.0.as_str()), "{path}: {}", header.0);
            }
            seen.insert(status.to_owned());
        }
        for status in responses.keys() {
            assert!(seen.contains(status), "{path}: {status} is described, but was never returned");
        }
        let page = parameters
            .iter()
            .find(|parameter| parameter["name"] == "limit" || parameter["name"] == "max_records_to_scan");
        if let Some(page) = page {
            let response = server.get("ada", &with("x")).await;
            assert_eq!(response.json["limit"], page["schema"]["default"], "{path}");
        }
    }
}
