//! What a caller can add to a log.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderValue, Request};
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::{Outcome, QueryLogLayer, Record, RecordHandle};

use super::send::records;
use crate::support::common::{Logged, record};

fn request(path: &str) -> http::request::Builder {
    Request::get(path)
}

#[tokio::test]
async fn texts_are_cut_and_the_record_says_which() {
    async fn handler(record: RecordHandle) -> &'static str {
        record.update(|notes| {
            notes.operation.name = Some("é".repeat(100));
            notes.caller.exec_env_id = Some("e".repeat(102));
            notes.payload = Some("p".repeat(2_000));
            for number in 0..100 {
                notes.add(number.to_string(), 1);
            }
        });
        "hello"
    }
    let long = "x".repeat(300);
    let request = request(&format!("/{long}")).header("user-agent", &long).header("host", &long).body(Body::empty());
    let limits = |layer: QueryLogLayer| layer.max_text(101).max_output(1_000);
    let record = records(Router::new().fallback(get(handler)), limits, vec![request.unwrap()]).await.remove(0);
    let start = "x".repeat(101);
    assert_eq!((record.request.path.len(), record.request.authority.as_ref()), (101, Some(&start)));
    assert_eq!(record.request.headers[0].1, start);
    assert_eq!(record.notes.operation.name, Some("é".repeat(50)), "a character is not torn");
    assert_eq!(record.notes.caller.exec_env_id, None, "the start of a name might be the name of another");
    assert_eq!(record.notes.counters.len(), 64);
    let cut = ["path headers.user-agent authority caller.exec_env_id operation.name", "counters payload"];
    assert_eq!(record.cut.join(" "), cut.join(" "));
    assert_eq!(record.response.outcome, Some(Outcome::Complete));
}

#[test]
fn record_that_is_appended_without_a_layer_is_cut_too() {
    let logged = Logged::new();
    logged.log.append(&record(&"x".repeat(10_000)));
    let read = logged.records().remove(0);
    assert_eq!((read.request.path.len(), read.cut.join(" ")), (8_192, "path".to_owned()));
}

#[test]
fn record_does_not_keep_the_memory_of_the_request() {
    let head = Bytes::from("project=blog, and whatever else the request has".to_owned());
    let tags = Tags::try_from(&HeaderValue::from_maybe_shared(head.slice(..12)).unwrap()).unwrap();
    let trail = Trail::start(Sample::Always).with_tags(tags);
    let record = Record::new(&trail, "/");
    assert_eq!(record.tags.get("project"), Some("blog"));
    assert!(!head.is_unique());
    drop(trail);
    assert!(head.is_unique());
}
