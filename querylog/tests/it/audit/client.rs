//! The Rust client beside the server: every documented mode, every page, every refusal.

use std::time::Duration;

use crate::support::audit::{Server, VALUES, records, sorted};
use futures_util::TryStreamExt;
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::{AuditClient, AuditRecord, ClientError, Distinct, LogQuery, Record, StatusMatch, Timestamp};
use tokio::net::TcpListener;

async fn serve(server: &Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    let router = server.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn all(request: LogQuery) -> Vec<AuditRecord> {
    request.records().try_collect().await.unwrap()
}

#[tokio::test]
async fn every_mode_is_asked_for_as_documented() {
    let all_records = sorted(records(1_500));
    let server = Server::with(&all_records).await;
    let base = serve(&server).await;
    let client = AuditClient::new(&base, "ada").unwrap();
    let env: Vec<_> = all_records.iter().filter(|r| r.exec_env_id.as_deref() == Some("env1")).cloned().collect();
    let own: Vec<_> =
        all_records.iter().filter(|r| r.user_email.as_deref() == Some("ada@example.com")).cloned().collect();

    assert_eq!(client.log().send().await.unwrap().items, own[..100]);
    assert_eq!(all(client.log()).await, own);
    let mut newest = env.clone();
    newest.reverse();
    assert_eq!(all(client.log().exec_env().newest_first().limit(300)).await, newest);
    let window: Vec<_> =
        env.iter().filter(|r| (env[50].timestamp..=env[300].timestamp).contains(&r.timestamp)).cloned().collect();
    assert_eq!(all(client.log().exec_env().start(env[50].timestamp).end(env[300].timestamp).limit(7)).await, window);
    let one = client.log().id(env[3].id.as_str()).limit(0).send().await.unwrap();
    assert_eq!((one.items, one.limit, one.next_page_token), (vec![env[3].clone()], 1, None));
    for value in VALUES {
        let of = |member: fn(&AuditRecord) -> &Option<String>| -> Vec<_> {
            env.iter().filter(|record| member(record).as_deref() == Some(value)).cloned().collect()
        };
        assert_eq!(all(client.log().udf_name(value)).await, of(|record| &record.udf_name), "{value:?}");
        assert_eq!(all(client.log().udf_id(value)).await, of(|record| &record.udf_id), "{value:?}");
        assert_eq!(all(client.log().shared_token(value)).await, of(|record| &record.shared_token), "{value:?}");
    }
    for (of, kind) in [(Distinct::Names, "names"), (Distinct::Ids, "id")] {
        for (exec_env, scope) in [(false, "self"), (true, "exec-env/self")] {
            let request = client.log().udf_name("distinct goes first").distinct(of).max_records_to_scan(77);
            let request = if exec_env { request.exec_env() } else { request };
            let expected = server.get("ada", &format!("/log/distinct-udf-{kind}/{scope}?max_records_to_scan=77")).await;
            let items = serde_json::to_value(request.send().await.unwrap().items).unwrap();
            assert_eq!(items, expected.json["items"]);
        }
    }
    let (user, environment) = (client.user().await.unwrap(), client.environment().await.unwrap());
    assert_eq!((&*user.email, &*user.execution_environment_id, &*environment.id), ("ada@example.com", "env1", "env1"));
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let server = Server::start().await;
    let base = serve(&server).await;
    let client = AuditClient::new(&base, "ada").unwrap();
    let two = client.log().udf_name("x").id("y").distinct(Distinct::Ids).send().await.unwrap_err();
    assert_eq!(two.to_string(), "only one of id, udf_id, udf_name and shared_token can be asked for");
    let trail = Trail::start(Sample::Always).with_tags("project=blog".parse::<Tags>().unwrap());
    let mut requests: Vec<_> = (0..5).map(|_| Record::new(&trail, "/posts/7")).collect();
    for (request, micros) in requests.iter_mut().zip(1..) {
        request.begin = Timestamp::from_micros(micros);
        request.request.route = Some("/posts/{id}".into());
        request.response.status = Some(404);
        request.notes.caller.exec_env_id = Some("env1".into());
    }
    server.log.put_requests(&requests).await.unwrap();
    let found = || client.requests().tag("project", "blog").status(StatusMatch::Class(4)).route("/posts/{id}").limit(2);
    assert_eq!(found().records().try_collect::<Vec<_>>().await.unwrap(), requests);
    let window = found().start(requests[1].begin).end(requests[3].begin).newest_first().trace(trail.trace_id());
    let mut some = requests[1..=3].to_vec();
    some.reverse();
    assert_eq!(window.records().try_collect::<Vec<_>>().await.unwrap(), some);
    assert_eq!(found().status(StatusMatch::Code(500)).send().await.unwrap().items, [], "of two the last counts");
    let trace = client.trace(trail.trace_id()).await.unwrap();
    assert!(trace.complete && trace.requests.iter().map(|request| &request.record).eq(&requests));

    assert!(matches!(client.log().udf_name("..").send().await, Err(ClientError::Dots)));
    for (request, status) in [
        (client.log().limit(0), 422),
        (client.log().page_token("x"), 422),
        (client.log().id("x"), 404),
        (client.log().udf_name(""), 404),
        (AuditClient::new(&base, "nobody").unwrap().log(), 401),
        (AuditClient::new(&base, "service1").unwrap().log(), 403),
    ] {
        match request.send().await {
            Err(ClientError::Refused { status: found, detail }) => {
                assert!(found == status && detail.len() > 20, "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
    let nobody = AuditClient::new("http://127.0.0.1:9/v1", "ada").unwrap();
    assert!(matches!(nobody.log().start(Timestamp::MIN).send().await, Err(ClientError::Http(_))));
    for base in ["", "127.0.0.1:8080", "ftp://x/v1"] {
        assert!(matches!(AuditClient::new(base, "ada"), Err(ClientError::Base)), "{base}");
    }
    assert!(matches!(AuditClient::new(&base, "a\nb"), Err(ClientError::Token)));
    assert!(!format!("{client:?}").contains("ada"));
}

#[tokio::test]
async fn a_url_that_the_api_is_not_under_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/hunter2", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new()).await });
    let said = AuditClient::new(&base, "ada").unwrap().user().await.unwrap_err().to_string();
    assert_eq!(said, "the audit log answers 404: there is no such API under this URL");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_not_waited_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = AuditClient::new(&format!("http://{}/v1", listener.local_addr().unwrap()), "ada").unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(100), client.user()).await;
    assert!(matches!(answer, Ok(Err(ClientError::Http(_)))), "{answer:?}");
}
