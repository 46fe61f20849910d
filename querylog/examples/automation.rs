//! API automation: a service is used, its log is exported by the API, and the downloaded records are grouped by tag and
//! by trace.
//!
//! `cargo run -p tagtrail-querylog --example automation`

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use flate2::read::GzDecoder;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::Value;
use tagtrail::{Admit, Disclose, OutboundMiddleware, Sample, Tags, Trail};
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::client::{ExportClient, ExportOutcome};
use tagtrail_querylog::export::{ExportFiles, ExportService};
use tagtrail_querylog::server::ExportApi;
use tagtrail_querylog::{AuditLog, LogStore, QueryLogLayer, RecordHandle, Timestamp};
use tokio::net::TcpListener;

const TOKENS: &str = r#"{"tokens": [{"token": "account-key", "kind": "account", "databases": ["us-std/ECommerce"]}]}"#;

/// Handles an order, which requests the stock: two requests, one trace.
async fn order(
    State((client, url)): State<(ClientWithMiddleware, String)>,
    Path(id): Path<u32>,
    record: RecordHandle,
) -> Result<String, String> {
    record.update(|notes| notes.database = vec!["ECommerce".into()]);
    let stock = client.get(format!("{url}/stock/{id}")).send().await.map_err(|error| error.to_string())?;
    Ok(format!("order of {id}: {}", stock.text().await.map_err(|error| error.to_string())?))
}

async fn stock(Path(id): Path<u32>, record: RecordHandle) -> String {
    record.update(|notes| notes.database = vec!["ECommerce".into(), "stock".into()]);
    format!("{} left", id * 3)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let http = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(Disclose::All)).build();

    // A service with a log, and the API that exports it.
    let audit = AuditLog::open(folder.path().join("audit.db"))?;
    let log = LogStore::new(audit.clone()).open()?;
    let layers = QueryLogLayer::new(log.clone()).region_group("us-std").with_inbound(Admit::Continue);
    let files = ExportFiles::folder(folder.path().join("exports"))?;
    let exports = ExportService::builder(audit, files, &format!("{url}/api/v1"))?;
    let exports = exports.arrival(Duration::from_millis(200)).start().await?;
    let api = ExportApi::new(exports, TOKENS.parse::<Tokens>()?).await?;
    let app = Router::new()
        .route("/orders/{id}", get(order))
        .route("/stock/{id}", get(stock))
        .with_state((http.clone(), url.clone()))
        .layer(layers)
        .merge(api.router());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    // Send requests of two projects.
    let start = Timestamp::now();
    for id in 1..=6 {
        let project = if id % 3 == 0 { "returns" } else { "shop" };
        let trail = Trail::start(Sample::Always).with_tags(format!("project={project},env=prod").parse::<Tags>()?);
        let request = http.get(format!("{url}/orders/{id}")).with_extension(trail);
        println!("{}", request.send().await?.text().await?);
    }
    // The records are in the store now.
    log.close(Duration::from_secs(5)).await?;

    // Request, poll, download.
    let client = ExportClient::new(&url, "account-key")?;
    let request = client.export("us-std/ECommerce".parse()?, start, Timestamp::now());
    let request =
        request.poll_every(Duration::from_millis(100)).on_status(|export| println!("export: {}", export.state));
    let ExportOutcome::Complete(file) = request.wait().await? else { return Err("there is no file".into()) };
    let path = folder.path().join("logs.jsonl.gz");
    let downloaded = file.save(&path).await?;

    // Group the records by tag and by trace.
    let (mut by_project, mut by_trace) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, Vec<Value>>::new());
    let text = std::io::read_to_string(GzDecoder::new(std::fs::File::open(&path)?))?;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line)?;
        let member = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        *by_project.entry(record["TAGS"]["project"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
        let traceparent = member("TRACEPARENT");
        let trace_id = traceparent.split('-').nth(1).ok_or("no trace")?;
        by_trace.entry(trace_id.to_owned()).or_default().push(record["DATABASE"].clone());
    }
    println!("{} records, by project: {by_project:?}", downloaded.lines);
    for (trace_id, databases) in &by_trace {
        println!("{trace_id}: {}", databases.iter().map(Value::to_string).collect::<Vec<_>>().join(" → "));
    }
    assert_eq!(downloaded.lines, 12);
    assert_eq!(by_project, [("returns".to_owned(), 4), ("shop".to_owned(), 8)].into());
    assert_eq!(by_trace.len(), 6);
    let each = [serde_json::json!(["ECommerce"]), serde_json::json!(["ECommerce", "stock"])];
    assert!(by_trace.values().all(|databases| *databases == each));
    server.abort();
    Ok(())
}
