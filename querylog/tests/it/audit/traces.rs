//! Traces across services, as trees.

use serde_json::Value;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::{Record, Timestamp, Window};
use uuid::Uuid;

use crate::support::audit::Server;

const START: i64 = 1_743_465_600_000_000;

#[tokio::test]
async fn trace_is_a_tree_across_services() {
    let server = Server::start().await;
    let web = Trail::start(Sample::Always);
    let mut records: Vec<Record> = ["web", "shop", "stock", "auth"].map(|name| Record::new(&web, name)).into();
    for (place, record) in records.iter_mut().enumerate() {
        record.start_time = Timestamp::from_micros(START + i64::try_from(place).unwrap());
        record.span_id = Trail::start(Sample::Always).span_id();
        record.notes.caller.exec_env_id = Some("env1".into());
    }
    // The web calls the shop, which calls the stock. Then the web calls auth.
    for (caller, called) in [(0, 1), (1, 2), (0, 3)] {
        let id = Trail::start(Sample::Always).span_id();
        records[caller].sent.push(id);
        records[called].parent_id = Some(id);
    }
    records[3].notes.stdout = Some("x".repeat(200_000));
    records[3].notes.stderr = Some("short".into());
    server.log.put_requests(&records).await.unwrap();
    let path = format!("/traces/{}", web.trace_id());
    let response = server.get("ada", &path).await;
    let items = response.json["items"].as_array().unwrap();
    let shown: Vec<_> = items
        .iter()
        .map(|item| {
            (
                item["request"]["request"]["path"].as_str().unwrap(),
                item["depth"].as_u64().unwrap(),
                item["parent"].as_u64(),
            )
        })
        .collect();
    assert_eq!(shown, [("web", 0, None), ("shop", 1, Some(0)), ("stock", 2, Some(1)), ("auth", 1, Some(0))]);
    assert_eq!(response.json["complete"], true);
    assert_eq!(items[3]["request"].get("stdout"), None, "output is left out");
    for path in ["/requests".to_owned(), format!("/requests?trace={}", web.trace_id())] {
        let requests = server.get("ada", &path).await;
        assert!(requests.json["items"][3].is_object() && requests.json["items"][3].get("stderr").is_none(), "{path}");
    }
    let printed = server.get("ada", &format!("/log/by-id/{}", records[3].id)).await;
    assert_eq!(printed.json["items"][0]["stdout"].as_str().unwrap().len(), 200_000);

    assert_eq!(server.get("eve", &path).await.json["items"], Value::Array(vec![]), "of another environment");
    assert_eq!(server.get("service1", &path).await.json["items"].as_array().unwrap().len(), 4);
    for (path, status) in [
        ("/traces/", 404),
        ("/traces/0af7651916cd43dd8448eb211c80319", 422),
        ("/traces/00000000000000000000000000000000", 422),
        ("/traces/0AF7651916CD43DD8448EB211C80319C", 422),
        ("/traces/..%2F0", 422),
        ("/traces/%ff", 400),
    ] {
        let response = server.get("ada", path).await;
        assert_eq!(response.status.as_u16(), status, "{path}");
        // As in the description of the API.
        let place = if status == 422 { serde_json::json!(["path", "value"]) } else { Value::Null };
        assert_eq!(response.json["detail"][0]["loc"], place, "{path}");
    }
}

#[tokio::test]
async fn trace_is_complete_up_to_the_limit_of_requests() {
    let server = Server::start().await;
    let mut first = Record::new(&Trail::start(Sample::Always), "/");
    let again = |first: &Record| {
        let mut record = first.clone();
        record.id = Uuid::now_v7();
        record
    };
    first.notes.caller.exec_env_id = Some("env1".into());
    for (more, count, complete) in [(4_999, 4_999, true), (1, 5_000, true), (1, 5_000, false)] {
        let requests: Vec<_> = (0..more).map(|_| again(&first)).collect();
        server.log.put_requests(&requests).await.unwrap();
        let trace = server.log.scoped("env1").trace(first.trace_id).await.unwrap();
        assert_eq!((trace.requests.len(), trace.complete), (count, complete));
    }
    // The same number of entries is read for a page, even if none of them has the other value.
    let nothing = Scan::new(RequestFilter::new().trace(first.trace_id).route("/"), Window::ALL);
    let log = server.log.scoped("env1");
    let page = log.requests(&nothing, 10).await.unwrap();
    assert!(page.items.is_empty());
    let page = log.requests(&nothing.after(page.next.unwrap()), 10).await.unwrap();
    assert_eq!((page.items.len(), page.next), (0, None));
}
