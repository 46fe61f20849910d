//! A server of exports on loopback, and the expected lines of its files.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::client::ExportClient;
use tagtrail_querylog::export::{ExportFiles, ExportService, ExportServiceBuilder};
use tagtrail_querylog::record::ResponsePart;
use tagtrail_querylog::server::ExportApi;
use tagtrail_querylog::store::{Postgres, Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, Outcome, Record, Timestamp};
use tokio::net::TcpListener;
use uuid::Uuid;

pub const TOKENS: &str = r#"{"tokens": [
    {"token": "us", "kind": "account", "region_groups": ["us-std"]},
    {"token": "us-again", "kind": "account", "region_groups": ["us-std"]},
    {"token": "eu", "kind": "account", "region_groups": ["eu-std"]},
    {"token": "both", "kind": "account", "region_groups": ["us-std", "eu-std"]},
    {"token": "shop", "kind": "account", "databases": ["us-std/shop"]},
    {"token": "stock", "kind": "account", "databases": ["us-std/shop/stock"]},
    {"token": "ada", "kind": "user", "user_id": "u1", "user_email": "ada@example.com", "exec_env_id": "env1"},
    {"token": "service", "kind": "service", "exec_env_id": "env1"}
]}"#;

/// The start of the ranges of tests: 2024-05-10T00:00:00Z.
pub const START: i64 = 1_715_299_200_000_000;
pub const SECOND: i64 = 1_000_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(START + seconds * SECOND)
}

/// Returns a request with a number in its tags.
pub fn record(number: i64, start: Timestamp, database: &str) -> Record {
    let tags: Tags = format!("number={number},project=blog").parse().unwrap();
    let mut record = Record::new(&Trail::start(Sample::Always).with_tags(tags), "/posts/7");
    record.start_time = start;
    let mut parts = database.split('/').map(str::to_owned);
    record.notes.region_group = parts.next();
    record.notes.database = parts.collect();
    record.response.status = Some(200);
    record.response.body_bytes = 5;
    record.end(Duration::from_millis(12), Outcome::Complete);
    record
}

/// Returns a request that has not ended.
pub fn open(number: i64, start: Timestamp, database: &str) -> Record {
    let mut record = record(number, start, database);
    record.duration = None;
    record.response = ResponsePart::default();
    record
}

/// Connects to a new schema on the server that `TAGTRAIL_TEST_POSTGRES` names. Without it, tests use SQLite.
pub async fn postgres() -> Option<Postgres> {
    let url = std::env::var("TAGTRAIL_TEST_POSTGRES").ok()?;
    let schema = format!("test_{}", Uuid::now_v7().simple());
    let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let and = if url.contains('?') { '&' } else { '?' };
    Some(Postgres::connect(&format!("{url}{and}options=-c%20search_path%3D{schema}")).await.unwrap())
}

pub async fn log(folder: &std::path::Path) -> AuditLog {
    if let Some(store) = postgres().await {
        return AuditLog::new(store);
    }
    let settings = Sqlite::builder(folder.join("audit.db")).synchronous(Synchronous::Normal);
    AuditLog::new(settings.open().unwrap())
}

/// The clock of a server, which a test sets ahead.
#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(Timestamp::now().as_micros() + self.0.load(SeqCst))
    }

    pub fn set_ahead(&self, seconds: i64) {
        self.0.store(seconds * SECOND, SeqCst);
    }
}

pub struct Server {
    pub log: AuditLog,
    pub url: String,
    pub exports: ExportService,
    pub folder: Arc<tempfile::TempDir>,
    http: reqwest::Client,
}

pub struct JsonResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|builder| builder.arrival(Duration::ZERO)).await
    }

    pub async fn with(change: impl FnOnce(ExportServiceBuilder) -> ExportServiceBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path()).await;
        let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
        Self::of(folder, log, files, change).await
    }

    pub async fn of(
        folder: tempfile::TempDir,
        log: AuditLog,
        files: ExportFiles,
        change: impl FnOnce(ExportServiceBuilder) -> ExportServiceBuilder,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let builder = ExportService::builder(log.clone(), files, &format!("{url}/api/v1")).unwrap();
        let exports = change(builder).start().await.unwrap();
        let api = ExportApi::new(exports.clone(), TOKENS.parse::<Tokens>().unwrap()).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, api.router_with_fallback()).await });
        let http = reqwest::Client::new();
        Self { log, url, exports, folder: Arc::new(folder), http }
    }

    pub fn client(&self, key: &str) -> ExportClient {
        ExportClient::new(&self.url, key).unwrap()
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> JsonResponse {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(headers["content-type"], "application/json", "{headers:?}");
        let json: Value = response.json().await.unwrap();
        assert!(json.is_object(), "{json}");
        if status != 200 {
            assert!(json["code"].is_string() && json["reason"].is_string(), "{json}");
        }
        JsonResponse { status, headers, json }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}/api/v1{path}", self.url))
    }

    pub async fn post(&self, key: &str, path: &str, body: &Value) -> JsonResponse {
        self.send(self.request("POST", path).bearer_auth(key).body(body.to_string())).await
    }

    pub async fn ask(&self, key: &str, body: &Value) -> JsonResponse {
        self.post(key, "/logs?type=query", body).await
    }

    pub async fn get(&self, key: &str, id: &str) -> JsonResponse {
        self.send(self.request("GET", &format!("/logs/{id}?type=query&regionGroup=us-std")).bearer_auth(key)).await
    }

    /// Requests an export, and polls until it is final.
    pub async fn export(&self, key: &str, body: &Value) -> Value {
        let response = self.ask(key, body).await;
        assert_eq!(response.status, 200, "{}", response.json);
        self.wait(key, response.json["request_id"].as_str().unwrap()).await
    }

    pub async fn wait(&self, key: &str, id: &str) -> Value {
        for _ in 0..3_000 {
            let response = self.get(key, id).await;
            assert_eq!(response.status, 200, "{}", response.json);
            if ["Complete", "DoesNotExist", "Failed", "TimedOut"].contains(&response.json["state"].as_str().unwrap()) {
                return response.json;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{id} is not final: {}", self.get(key, id).await.json);
    }

    /// Returns the lines of a complete export.
    pub async fn lines(&self, export: &Value) -> Vec<Value> {
        assert_eq!(export["state"], "Complete", "{export}");
        let response = self.http.get(export["presigned_url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        lines(&response.bytes().await.unwrap())
    }
}

pub fn range(scope: &str, start: i64, end: i64) -> Value {
    let of = if scope.contains('/') { "database" } else { "region_group" };
    json!({ of: scope, "time_start": at(start).to_string(), "time_end": at(end).to_string() })
}

pub fn lines(gzip: &[u8]) -> Vec<Value> {
    let mut text = String::new();
    MultiGzDecoder::new(gzip).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the numbers of exported records.
pub fn numbers(lines: &[Value]) -> Vec<i64> {
    lines.iter().map(|line| line["TAGS"]["number"].as_str().unwrap().parse().unwrap()).collect()
}
