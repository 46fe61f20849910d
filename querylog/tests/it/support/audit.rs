//! An audit log with many records, and helpers for naive readers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::store::{Partition, Payloads, Postgres, PostgresBuilder, Sqlite, Synchronous};
use tagtrail_querylog::{AuditLog, Timestamp};
use tokio::net::TcpListener;
use tower::ServiceExt;
use uuid::Uuid;

pub const TOKENS: &str = r#"{"tokens": [
    {"token": "ada", "kind": "user", "user_id": "u1", "user_email": "ada@example.com", "name": "Ada", "exec_env_id": "env1"},
    {"token": "ada-again", "kind": "user", "user_id": "u1", "user_email": "ada@example.com", "name": "Ada", "exec_env_id": "env1"},
    {"token": "bob", "kind": "user", "user_id": "u2", "user_email": "bob@example.com", "exec_env_id": "env1"},
    {"token": "eve", "kind": "user", "user_id": "u3", "user_email": "eve@example.com", "handle": "eve", "exec_env_id": "env2", "exec_env_name": "Eve's"},
    {"token": "service1", "kind": "service", "exec_env_id": "env1"},
    {"token": "service2", "kind": "service", "exec_env_id": "env2", "exec_env_name": "Production"},
    {"token": "account", "kind": "account", "region_groups": ["us"]}
]}"#;

/// Names that reveal mistakes.
pub const VALUES: [&str; 30] = [
    "rollup",
    "Rollup",
    "rollup ",
    " rollup",
    "team/rollup",
    "team//rollup",
    "team/rollup/",
    "/rollup",
    "fc_Token/my_udf",
    "a+b",
    "a b",
    "a%20b",
    "a%2Fb",
    "100%",
    "%",
    "_",
    "roll%",
    "roll_p",
    "*",
    "self",
    "exec-env/self",
    "é",
    "e\u{301}",
    "😀",
    "nul\0nul",
    "nul",
    "'; DROP TABLE record; --",
    "\" OR 1=1",
    "line\r\nbreak",
    "?limit=1#x",
];

pub fn pick<T: Clone>(values: &[T], random: &mut u64) -> T {
    // A short generator, which is good enough to mix records.
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    values[usize::try_from(*random >> 33).unwrap() % values.len()].clone()
}

/// Returns records of two environments and three users, with many equal timestamps, in random order.
pub fn records(count: usize) -> Vec<AuditRecord> {
    let random = &mut 42;
    let maybe = |random: &mut u64, values: &[&str]| {
        let value = pick(values, random);
        pick(&[true, true, true, false], random).then(|| value.to_owned())
    };
    (0..count)
        .map(|number| {
            let id =
                Uuid::from_u128(u128::from(number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
            let hour = i64::from(pick(&(0..200).collect::<Vec<i32>>(), random));
            let mut record = AuditRecord::new(id, Timestamp::from_micros(1_743_465_600_000_000 + hour * 3_600_000_000));
            record.exec_env_id = maybe(random, &["env1", "env2"]);
            let user = pick(&["ada", "bob", "eve"], random);
            if pick(&[true, true, false], random) {
                record.user_id = Some(user.into());
                record.user_email = Some(format!("{user}@example.com"));
            }
            record.udf_name = maybe(random, &VALUES);
            record.udf_id = maybe(random, &VALUES);
            record.shared_token = maybe(random, &VALUES);
            record.execution_time = pick(&[None, Some(0.1), Some(1e-7), Some(12_345.678_9), Some(0.0)], random);
            record.cache = pick(&[None, Some(true), Some(false)], random);
            record.execution_engine = pick(&[None, Some("realtime".into())], random);
            record.stdout = pick(&[None, Some(String::new()), Some("out\0\u{7f}\u{2028}😀".into())], random);
            record.stderr = pick(&[None, Some(" \n".into()), Some("Error: \"x\"".into())], random);
            record.udf_data = pick(&[None, Some("{\"a\": 1}".into())], random);
            record.client_ip = pick(&[None, Some("::1".into())], random);
            record
        })
        .collect()
}

/// Sorts records in the order of an audit log.
pub fn sorted(mut records: Vec<AuditRecord>) -> Vec<AuditRecord> {
    records.sort_by(|one, other| (one.timestamp, &one.id).cmp(&(other.timestamp, &other.id)));
    records
}

/// Connects to a new schema on the server that `TAGTRAIL_TEST_POSTGRES` names, with partitions if
/// `TAGTRAIL_TEST_POSTGRES_PARTITIONS` is set too. Without a server, tests use SQLite.
pub async fn postgres() -> Option<Postgres> {
    let (settings, _) = postgres_builder().await?;
    let settings = match std::env::var_os("TAGTRAIL_TEST_POSTGRES_PARTITIONS") {
        Some(_) => settings.partition_by(Partition::Month),
        None => settings,
    };
    Some(settings.connect().await.unwrap())
}

/// Returns the settings of a store in a new schema, and its URL.
pub async fn postgres_builder() -> Option<(PostgresBuilder, String)> {
    let url = std::env::var("TAGTRAIL_TEST_POSTGRES").ok()?;
    let schema = format!("test_{}", Uuid::now_v7().simple());
    let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let and = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{and}options=-c%20search_path%3D{schema}");
    Some((Postgres::builder(&url), url))
}

pub struct Server {
    pub log: AuditLog,
    pub router: Router,
    pub folder: Arc<tempfile::TempDir>,
}

pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = if let Some(store) = postgres().await {
            AuditLog::new(store)
        } else {
            let settings = Sqlite::builder(folder.path().join("audit.db"));
            AuditLog::new(settings.synchronous(Synchronous::Normal).open().unwrap())
        }
        .payloads(Payloads::folder(folder.path().join("audit.db.payloads")).unwrap());
        let api = AuditApi::new(log.clone(), TOKENS.parse::<Tokens>().unwrap()).await.unwrap();
        Self { log, router: api.router_with_fallback(), folder: Arc::new(folder) }
    }

    pub async fn with(records: &[AuditRecord]) -> Self {
        let server = Self::start().await;
        for some in records.chunks(500) {
            server.log.put(some.to_vec()).await.unwrap();
        }
        server
    }

    /// Serves the API on loopback, and returns its URL.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    pub async fn send(&self, request: Request<Body>) -> Response {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.headers["content-type"], "application/json", "{parts:?}");
        let json: Value = serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {bytes:?}"));
        assert!(json.is_object(), "{json}");
        Response { status: parts.status, headers: parts.headers, json }
    }

    /// Requests a path after `/v1` with a token.
    pub async fn get(&self, token: &str, path: &str) -> Response {
        let request = Request::get(format!("/v1{path}")).header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Returns the items of all pages, and asserts that only the last page is shorter than its limit.
    pub async fn all(&self, token: &str, path: &str, limit: usize) -> Vec<Value> {
        self.pages(token, path, limit, true).await
    }

    /// Returns the items of all pages, of any length.
    pub async fn all_pages(&self, token: &str, path: &str, limit: usize) -> Vec<Value> {
        self.pages(token, path, limit, false).await
    }

    async fn pages(&self, token: &str, path: &str, limit: usize, full: bool) -> Vec<Value> {
        let and = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let response = self.get(token, &format!("{path}{and}limit={limit}{next}")).await;
            assert_eq!(response.status, 200, "{path}: {}", response.json);
            let page = response.json["items"].as_array().unwrap();
            items.extend_from_slice(page);
            match &response.json["next_page_token"] {
                Value::Null => return items,
                token => {
                    assert!(page.len() == limit || !full, "only the last page is shorter");
                    next = format!("&page_token={}", token.as_str().unwrap());
                }
            }
        }
    }
}

/// Escapes only what a client must.
pub fn escaped(value: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/+*_-.~".contains(byte);
    let escape = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(escape).collect()
}

pub fn json(records: &[AuditRecord]) -> Vec<Value> {
    records.iter().map(|record| serde_json::to_value(record).unwrap()).collect()
}
