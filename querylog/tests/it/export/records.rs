//! Which records an export has.

use std::time::Duration;

use crate::support::export::{self, START, Server, at, numbers, range, record};
use serde_json::json;
use tagtrail_querylog::Timestamp;

#[tokio::test]
async fn both_ends_of_a_range_are_exact() {
    let server = Server::start().await;
    let micros = |micros: i64| Timestamp::from_micros(START + micros);
    let records: Vec<_> = (0..10).map(|number| record(number, micros(number), "us-std")).collect();
    server.log.put_requests(&records).await.unwrap();
    for (start, end, expected) in [
        ("2024-05-10T00:00:00.000002Z", "2024-05-10T00:00:00.000005Z", 2..5),
        ("2024-05-10T00:00:00.000002001Z", "2024-05-10T00:00:00.0000049Z", 3..5),
        ("2024-05-10T00:00:00.000002999Z", "2024-05-10T00:00:00.000005001Z", 3..6),
        ("2024-05-09T12:00:00.000000-12:00", "2024-05-10T14:00:00.000001+14:00", 0..1),
        ("2024-05-09T00:00:00Z", "2024-05-11T00:00:00Z", 0..10),
    ] {
        let body = json!({"region_group": "us-std", "time_start": start, "time_end": end});
        let exported = server.lines(&server.export("us", &body).await).await;
        assert_eq!(numbers(&exported), expected.collect::<Vec<_>>(), "{start} {end}");
    }
}

#[tokio::test]
async fn an_export_has_the_records_of_its_scope_and_no_others() {
    let server = Server::start().await;
    let places =
        ["us-std", "us-std/shop", "us-std/shop/stock", "us-std/shopping", "us-std/web/shop", "eu-std/shop", "eu-std"];
    let mut records: Vec<_> = (0..700)
        .zip(places.into_iter().cycle())
        .map(|(number, place)| record(number, at(number / 10), place))
        .collect();
    // Without a region group, and without either.
    records.extend((700..710).map(|number| {
        let mut record = record(number, at(number), "us-std/shop");
        record.notes.region_group = None;
        record
    }));
    // In another place when it began than when it ended.
    let begun: Vec<_> = (0..70).map(|number| export::open(number, at(0), "us-std/shop")).collect();
    let begun: Vec<_> = begun
        .into_iter()
        .zip(&records)
        .map(|(mut begun, record)| {
            (begun.id, begun.start_time) = (record.id, record.start_time);
            begun
        })
        .collect();
    server.log.put_requests(&begun).await.unwrap();
    server.log.put_requests(&records).await.unwrap();
    for (key, scope) in [
        ("us", "us-std"),
        ("us", "us-std/shop"),
        ("us", "us-std/shop/stock"),
        ("us", "us-std/web"),
        ("eu", "eu-std"),
        ("eu", "eu-std/shop"),
    ] {
        let exported = server.lines(&server.export(key, &range(scope, 0, 10_000)).await).await;
        let is_in = |number: &i64| {
            let place = places[usize::try_from(*number).unwrap() % 7];
            place == scope || place.strip_prefix(scope).is_some_and(|rest| rest.starts_with('/'))
        };
        let mut found = numbers(&exported);
        found.sort_unstable();
        assert_eq!(found, (0..700).filter(is_in).collect::<Vec<_>>(), "{scope}");
        let times: Vec<_> = exported.iter().map(|line| line["TS"].as_str().unwrap()).collect();
        assert!(times.is_sorted());
    }
    assert_eq!(server.export("us", &range("us-std/none", 0, 10_000)).await["state"], "DoesNotExist");
}

#[tokio::test]
async fn records_are_exported_once_each_if_they_have_the_same_time() {
    let server = Server::start().await;
    let records: Vec<_> = (0..9_000).map(|number| record(number, at(number / 4_500), "us-std")).collect();
    for some in records.chunks(3_000) {
        server.log.put_requests(some).await.unwrap();
    }
    let mut found = numbers(&server.lines(&server.export("us", &range("us-std", 0, 10)).await).await);
    found.sort_unstable();
    assert_eq!(found, (0..9_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn records_are_exported_once_each_if_they_are_large() {
    let server = Server::with(|builder| builder.arrival(Duration::ZERO)).await;
    let records: Vec<_> = (0..20)
        .map(|number| {
            let mut record = record(number, at(number), "us-std");
            record.notes.shape = Some("x".repeat(1 << 19));
            record
        })
        .collect();
    for some in records.chunks(5) {
        server.log.put_requests(some).await.unwrap();
    }
    let export = server.export("us", &range("us-std", 0, 20)).await;
    assert_eq!(numbers(&server.lines(&export).await), (0..20).collect::<Vec<_>>());
}
