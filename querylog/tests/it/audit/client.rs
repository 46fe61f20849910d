//! The Rust client, compared with the server: every documented mode, every page, every rejection.

use std::error::Error;
use std::time::Duration;

use futures_util::TryStreamExt;
use tagtrail_querylog::audit::{
    AuditRecord, Distinct, Latest, Order, PageToken, QueryErrorKind, Questions, RecordQuery, RequestFilter, Scan, Whose,
};
use tagtrail_querylog::client::{AuditClient, AuditClientError};
use tagtrail_querylog::{Timestamp, Window};
use tokio::net::TcpListener;

use crate::support::audit::{Server, VALUES, records, sorted};

#[tokio::test]
async fn client_returns_what_a_naive_reader_finds_in_every_mode() {
    let all_records = sorted(records(1_500));
    let server = Server::with(&all_records).await;
    let client = AuditClient::new(&server.serve().await, "ada").unwrap();
    let all = async |scan: Scan<RecordQuery>, limit| -> Vec<AuditRecord> {
        client.all_records(scan, limit).try_collect().await.unwrap()
    };
    let env: Vec<_> = all_records.iter().filter(|r| r.exec_env_id.as_deref() == Some("env1")).cloned().collect();
    let own: Vec<_> =
        all_records.iter().filter(|r| r.user_email.as_deref() == Some("ada@example.com")).cloned().collect();

    let scan = Scan::new(RecordQuery::Own, Window::ALL);
    assert_eq!(client.records(&scan, 100).await.unwrap().items, own[..100]);
    assert_eq!(client.records(&scan, 1_000).await.unwrap().items, own[..300], "a server returns 300 at most");
    assert_eq!(all(scan, 100).await, own);
    let mut newest = env.clone();
    newest.reverse();
    assert_eq!(all(Scan::new(RecordQuery::Environment, ..).order(Order::NewestFirst), 300).await, newest);
    let window = env[50].timestamp..=env[300].timestamp;
    let expected: Vec<_> = env.iter().filter(|r| window.contains(&r.timestamp)).cloned().collect();
    assert_eq!(all(Scan::new(RecordQuery::Environment, window), 7).await, expected);
    assert_eq!(client.record(env[3].id.as_str()).await.unwrap(), env[3]);
    for value in VALUES {
        let of = |member: fn(&AuditRecord) -> &Option<String>| -> Vec<_> {
            env.iter().filter(|record| member(record).as_deref() == Some(value)).cloned().collect()
        };
        for (query, expected) in [
            (RecordQuery::OperationName(value.into()), of(|record| &record.udf_name)),
            (RecordQuery::OperationId(value.into()), of(|record| &record.udf_id)),
            (RecordQuery::SharedToken(value.into()), of(|record| &record.shared_token)),
        ] {
            assert_eq!(all(Scan::new(query, Window::ALL), 100).await, expected, "{value:?}");
        }
    }
    for (of, kind) in [(Distinct::Names, "names"), (Distinct::Ids, "id")] {
        for (whose, scope) in [(Whose::Own, "self"), (Whose::Environment, "exec-env/self")] {
            let found = client.latest(&Latest::new(of, whose, Window::ALL).read_at_most(77)).await.unwrap();
            let expected = server.get("ada", &format!("/log/distinct-udf-{kind}/{scope}?max_records_to_scan=77")).await;
            assert_eq!(serde_json::to_value(found).unwrap(), expected.json["items"]);
        }
    }
    let (user, environment) = (client.user().await.unwrap(), client.environment().await.unwrap());
    assert_eq!((&*user.email, &*user.execution_environment_id, &*environment.id), ("ada@example.com", "env1", "env1"));
}

#[tokio::test]
async fn rejection_has_a_kind_and_a_reason() {
    let server = Server::start().await;
    let base = server.serve().await;
    let client = AuditClient::new(&base, "ada").unwrap();
    let scan = |query| Scan::new(query, Window::ALL);
    for value in ["", ".", ".."] {
        for query in [RecordQuery::OperationName(value.into()), RecordQuery::SharedToken(value.into())] {
            let error = client.records(&scan(query), 10).await.unwrap_err();
            assert_eq!(error.kind(), QueryErrorKind::Rejected, "{error}");
        }
        assert_eq!(client.record(value).await.unwrap_err().kind(), QueryErrorKind::Rejected);
    }
    let with = |token| AuditClient::new(&base, token).unwrap();
    for (client, scan, status, kind) in [
        (with("ada"), scan(RecordQuery::Own).after(PageToken::from("x")), 422, QueryErrorKind::Rejected),
        (with("nobody"), scan(RecordQuery::Own), 401, QueryErrorKind::Forbidden),
        (with("service1"), scan(RecordQuery::Own), 403, QueryErrorKind::Forbidden),
    ] {
        let error = client.records(&scan, 10).await.unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), kind, "{message}");
        assert!(message.starts_with(&format!("the audit log responded {status}: ")) && message.len() > 50, "{message}");
    }
    let many = (0..26).fold(RequestFilter::new(), |filter, _| filter.tag("a", "b"));
    let error = client.requests(&Scan::new(many, Window::ALL), 10).await.unwrap_err();
    assert!(error.kind() == QueryErrorKind::Rejected && error.to_string().contains("at most 25 tags"), "{error}");
    let message = client.record("x").await.unwrap_err().to_string();
    assert_eq!(message, "the audit log responded 404: no record in your environment has this id");

    let unreachable = AuditClient::new("http://127.0.0.1:9/v1", "ada").unwrap();
    let error = unreachable.records(&Scan::new(RecordQuery::Own, Timestamp::MIN..), 1).await.unwrap_err();
    assert!(error.kind() == QueryErrorKind::Unreachable && error.source().is_some(), "{error}");
}

#[tokio::test]
async fn client_is_not_created_if_the_url_or_the_token_is_invalid() {
    for base in ["", "127.0.0.1:8080", "ftp://x/v1"] {
        assert!(matches!(AuditClient::new(base, "ada"), Err(AuditClientError::Url)), "{base}");
    }
    let base = "http://127.0.0.1:9/v1";
    assert!(matches!(AuditClient::new(base, "a\nb"), Err(AuditClientError::Token)));
    assert!(!format!("{:?}", AuditClient::new(base, "hunter2").unwrap()).contains("hunter2"));
}

#[tokio::test]
async fn audit_log_is_unreachable_if_the_url_has_no_api() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/hunter2", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new()).await });
    let error = AuditClient::new(&base, "ada").unwrap().user().await.unwrap_err();
    let expected = "the audit log responded 404: there is no such API under this URL; expected the URL with the path of \
                    the API, such as http://127.0.0.1:8080/v1";
    assert_eq!((error.kind(), error.to_string().as_str()), (QueryErrorKind::Unreachable, expected));
}

#[tokio::test(start_paused = true)]
async fn client_times_out_if_the_server_does_not_respond() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = AuditClient::new(&format!("http://{}/v1", listener.local_addr().unwrap()), "ada").unwrap();
    let response = tokio::time::timeout(Duration::from_secs(100), client.user()).await;
    assert_eq!(response.unwrap().unwrap_err().kind(), QueryErrorKind::Unreachable);
}
