//! One trait for stores and servers: the same queries return the same pages, and the same kinds of errors.

use std::time::Duration;

use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::audit::{
    AuditRecord, Distinct, Latest, Order, Page, PageToken, QueryError, QueryErrorKind, Questions, RecordQuery,
    RequestFilter, Scan, StatusMatch, Whose,
};
use tagtrail_querylog::client::AuditClient;
use tagtrail_querylog::{Outcome, Record, Timestamp, Window};

use crate::support::audit::{Server, VALUES, pick, records};

const START: i64 = 1_743_465_600_000_000;

/// Returns requests of a few traces, routes and statuses in two environments, some of which have not ended.
fn requests(count: usize) -> Vec<Record> {
    let random = &mut 11;
    let trails: Vec<_> = (0..5).map(|_| Trail::start(Sample::Always)).collect();
    let mut requests = Vec::new();
    for _ in 0..count {
        let tags = format!("project={}", pick(&["blog", "shop"], random));
        let trail = pick(&trails, random).with_tags(tags.parse::<Tags>().unwrap());
        let mut request = Record::new(&trail, "/posts/7");
        request.start_time = Timestamp::from_micros(START + pick(&[0_i64, 1, 2, 3], random) * 3_600_000_000);
        request.request.route = Some(pick(&["/", "/posts/{id}", "/a b%/é&=+"], random).to_owned());
        request.notes.caller.exec_env_id = pick(&[Some("env1"), Some("env2")], random).map(str::to_owned);
        if pick(&[true, true, false], random) {
            request.response.status = Some(pick(&[200, 404, 503], random));
            request.end(Duration::from_micros(17), Outcome::Complete);
        }
        requests.push(request);
    }
    requests
}

/// Starts a server with records and requests, and returns both ways to query it on behalf of Ada.
async fn both() -> (Server, [Box<dyn Questions>; 2], Vec<Record>) {
    let server = Server::with(&records(900)).await;
    let requests = requests(200);
    server.log.put_requests(&requests).await.unwrap();
    let client = AuditClient::new(&server.serve().await, "ada").unwrap();
    let log = server.log.scoped("env1").of_user("ada@example.com");
    (server, [Box::new(log), Box::new(client)], requests)
}

fn windows() -> [Window; 3] {
    let hour = |hour: i64| Timestamp::from_micros(START + hour * 3_600_000_000);
    [Window::ALL, (hour(1)..hour(150)).into(), (hour(9)..=hour(2)).into()]
}

/// Returns all pages, by their tokens.
async fn pages<Q: Clone, T>(
    scan: &Scan<Q>,
    query: impl AsyncFn(&Scan<Q>) -> Result<Page<T>, QueryError>,
) -> Vec<Vec<T>> {
    let mut scan = scan.clone();
    let mut pages = Vec::new();
    loop {
        let page = query(&scan).await.unwrap();
        pages.push(page.items);
        let Some(next) = page.next else { return pages };
        // A token can be stored as text.
        scan = scan.after(PageToken::from(next.as_str()));
    }
}

#[tokio::test]
async fn records_have_the_same_pages_from_store_and_server() {
    let (_server, [log, client], _) = both().await;
    let mut queries = vec![RecordQuery::Own, RecordQuery::Environment];
    for value in VALUES.iter().step_by(3).map(|value| (*value).to_owned()) {
        queries.push(RecordQuery::OperationId(value.clone()));
        queries.push(RecordQuery::OperationName(value.clone()));
        queries.push(RecordQuery::SharedToken(value));
    }
    let mut count = 0;
    for query in queries {
        for window in windows() {
            for (order, limit) in [(Order::OldestFirst, 300), (Order::NewestFirst, 41), (Order::OldestFirst, 7)] {
                let scan = Scan::new(query.clone(), window).order(order);
                let stored = pages(&scan, async |scan| log.records(scan, limit).await).await;
                let served = pages(&scan, async |scan| client.records(scan, limit).await).await;
                assert_eq!(stored, served, "{scan:?}");
                count += stored.concat().len();
            }
        }
    }
    assert!(count > 4_000, "{count}");
}

#[tokio::test]
async fn requests_have_the_same_pages_from_store_and_server() {
    let (_server, [log, client], requests) = both().await;
    let all = RequestFilter::new;
    for filter in [
        all(),
        all().trace(requests[0].trace_id),
        all().tag("project", "blog"),
        all().tag("project", "blog").tag("project", "shop"),
        all().status(StatusMatch::Code(404)),
        all().status(StatusMatch::Class(5)).tag("project", "shop"),
        all().route("/a b%/é&=+"),
        all().trace(requests[1].trace_id).route("/").status(StatusMatch::Class(2)),
    ] {
        for window in windows() {
            for (order, limit) in [(Order::OldestFirst, 300), (Order::NewestFirst, 7), (Order::OldestFirst, 1)] {
                let scan = Scan::new(filter.clone(), window).order(order);
                let stored = pages(&scan, async |scan| log.requests(scan, limit).await).await;
                let served = pages(&scan, async |scan| client.requests(scan, limit).await).await;
                assert_eq!(stored, served, "{scan:?}");
                assert!(stored.concat().iter().all(|request| filter.matches(request)), "{scan:?}");
            }
        }
    }
}

#[tokio::test]
async fn single_results_are_the_same_from_store_and_server() {
    let (_server, [log, client], requests) = both().await;
    for of in [Distinct::Names, Distinct::Ids] {
        for whose in [Whose::Own, Whose::Environment] {
            for (window, count) in windows().into_iter().zip([5_000, 77, 0]) {
                let question = Latest::new(of, whose, window).read_at_most(count);
                let stored = log.latest(&question).await.unwrap();
                assert_eq!(stored, client.latest(&question).await.unwrap(), "{question:?}");
                assert_eq!(stored.is_empty(), window.start > window.end, "{question:?}");
            }
        }
    }
    for request in &requests[..20] {
        let trace = log.trace(request.trace_id).await.unwrap();
        assert_eq!(trace, client.trace(request.trace_id).await.unwrap());
        assert!(!trace.requests.is_empty());
        let id = request.id.to_string();
        match (log.record(&id).await, client.record(&id).await) {
            (Ok(stored), Ok(served)) => assert_eq!(stored, served),
            (Err(stored), Err(served)) => {
                assert_eq!(request.notes.caller.exec_env_id.as_deref(), Some("env2"));
                assert_eq!([stored.kind(), served.kind()], [QueryErrorKind::NotFound; 2]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn errors_have_the_same_kind_from_store_and_server() {
    let (server, ada, _) = both().await;
    let scan = Scan::new(RecordQuery::Own, Window::ALL);
    let filter = Scan::new(RequestFilter::new(), Window::ALL);
    for log in ada {
        for token in ["", "x", "1743465600000000,x"] {
            let error = log.records(&scan.clone().after(token.into()), 10).await.unwrap_err();
            assert_eq!(error.kind(), QueryErrorKind::Rejected, "{error}");
            let error = log.requests(&filter.clone().after(token.into()), 10).await.unwrap_err();
            assert_eq!(error.kind(), QueryErrorKind::Rejected, "{error}");
        }
        let error = log.record("0190163d-8694-739b-aea5-966c26f8ad91").await.unwrap_err();
        assert_eq!(error.kind(), QueryErrorKind::NotFound, "{error}");
        assert_eq!(log.records(&scan, 0).await.unwrap().items.len(), 1, "a limit of 0 counts as 1");
    }
    let service = AuditClient::new(&server.serve().await, "service1").unwrap();
    for log in [&server.log.scoped("env1") as &dyn Questions, &service] {
        let error = log.records(&scan, 10).await.unwrap_err();
        assert_eq!(error.kind(), QueryErrorKind::Forbidden, "{error}");
        let error = log.latest(&Latest::new(Distinct::Names, Whose::Own, ..)).await.unwrap_err();
        assert_eq!(error.kind(), QueryErrorKind::Forbidden, "{error}");
        let everyones: Vec<AuditRecord> =
            log.records(&Scan::new(RecordQuery::Environment, ..), 10).await.unwrap().items;
        assert_eq!(everyones.len(), 10);
    }
}
