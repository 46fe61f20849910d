//! A service whose requests are recorded in SQLite, and queries for who did what.
//!
//! `cargo run -p tagtrail-querylog --example audited_service`

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde_json::Value;
use tagtrail::Admit;
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tagtrail_querylog::client::AuditClient;
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::{AuditLog, LogStore, QueryLogLayer, RecordHandle, Window};
use tokio::net::TcpListener;

const TOKENS: &str = r#"{"tokens": [{"token": "secret", "kind": "user", "user_id": "u1", "user_email": "ada@example.com",
                                     "name": "Ada", "exec_env_id": "blog"}]}"#;

async fn post(Path(id): Path<u32>, record: RecordHandle) -> String {
    record.update(|notes| {
        notes.caller.user_email = Some("ada@example.com".into());
        notes.caller.exec_env_id = Some("blog".into());
        if id == 8 {
            notes.stderr = Some("post 8 has no title".into());
        }
    });
    format!("post {id}")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;

    // Record every request in SQLite, in three lines.
    let audit = AuditLog::open(folder.path().join("audit.db"))?;
    let log = LogStore::new(audit.clone()).open()?;
    let layers = QueryLogLayer::new(log.clone()).with_inbound(Admit::Restart);

    // The service, and the API of its audit log.
    let api = AuditApi::new(audit, TOKENS.parse::<Tokens>()?).await?;
    let app = Router::new().route("/posts/{id}", get(post)).layer(layers).merge(api.router());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server =
        tokio::spawn(
            async move { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await },
        );

    let client = reqwest::Client::new();
    for id in 7..=9 {
        let request = client.get(format!("{url}/posts/{id}")).header("x-fauna-tags", format!("post={id}"));
        request.send().await?.bytes().await?;
    }
    log.close(Duration::from_secs(5)).await?;

    let query = client.get(format!("{url}/v1/log/self?scan_forward=False")).bearer_auth("secret");
    let response: Value = query.send().await?.error_for_status()?.json().await?;
    let items = response["items"].as_array().ok_or("no items")?;
    for item in items {
        println!("{} {} {} s, stderr {}", item["timestamp"], item["udf_name"], item["execution_time"], item["stderr"]);
    }
    assert_eq!(items.len(), 3);

    // Find a request by its tag, and then the other requests of its trace.
    let client = AuditClient::new(&format!("{url}/v1"), "secret")?;
    let filter = RequestFilter::new().tag("post", "8").status("2xx".parse()?);
    let found = client.requests(&Scan::new(filter, Window::ALL), 100).await?;
    let [request] = &*found.items else { return Err("expected one request with this tag".into()) };
    println!("{} {:?} {}", request.request.path, request.response.status, request.tags);
    let trace = client.trace(request.trace_id).await?;
    assert_eq!(trace.requests.len(), 1, "it called no other service");
    server.abort();
    Ok(())
}
