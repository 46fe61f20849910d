//! The API when the store or the authenticator fails: every response is JSON, and reveals no reasons.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use tagtrail_querylog::AuditLog;
use tagtrail_querylog::access::{Authenticator, Principal, Tokens};
use tagtrail_querylog::audit::Distinct;
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::store::{Hits, Key, Row, RowRange, Selection, Store, StoreError, WriterReport};

use crate::support::audit::{Server, TOKENS};

#[derive(Debug)]
enum Broken {
    Overloaded,
    Failed,
    Panics,
}

impl Broken {
    fn fail<T>(&self) -> Result<T, StoreError> {
        match self {
            Self::Overloaded => Err(StoreError::Overloaded),
            Self::Failed => Err(StoreError::failed("the password of the store is hunter2")),
            Self::Panics => panic!("the password of the store is hunter2"),
        }
    }
}

#[async_trait]
impl Store for Broken {
    async fn put(&self, _: Arc<[Row]>, _: Option<&WriterReport>) -> Result<(), StoreError> {
        self.fail()
    }
    async fn get(&self, _: &str) -> Result<Option<Row>, StoreError> {
        self.fail()
    }
    async fn page(&self, _: RowRange<Selection>, _: usize) -> Result<Vec<Row>, StoreError> {
        self.fail()
    }
    async fn first_of_each(&self, _: RowRange<Selection>, _: Distinct, _: usize) -> Result<Vec<Row>, StoreError> {
        self.fail()
    }
    async fn find(&self, _: RowRange<Vec<Key>>, _: usize, _: usize) -> Result<Hits, StoreError> {
        self.fail()
    }
    async fn have_objects(&self, _: &[String]) -> Result<Vec<bool>, StoreError> {
        self.fail()
    }
    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        Ok([7; 32])
    }
}

struct BrokenAuthenticator;

#[async_trait]
impl Authenticator for BrokenAuthenticator {
    async fn principal(&self, _: &str) -> Result<Option<Principal>, Box<dyn Error + Send + Sync>> {
        Err("the directory is down".into())
    }
}

async fn server(store: Broken, authenticator: impl Authenticator) -> Server {
    let log = AuditLog::new(store);
    let api = AuditApi::new(log.clone(), authenticator).await.unwrap();
    Server { log, router: api.router_with_fallback(), folder: Arc::new(tempfile::tempdir().unwrap()) }
}

const PATHS: [&str; 7] = [
    "/requests",
    "/requests?status=5xx",
    "/traces/0af7651916cd43dd8448eb211c80319c",
    "/log/self",
    "/log/by-id/0190163d-8694-739b-aea5-966c26f8ad91",
    "/log/by-udf-name/x",
    "/log/distinct-udf-id/self",
];

#[tokio::test]
async fn response_is_429_with_retry_after_if_the_store_is_overloaded() {
    let server = server(Broken::Overloaded, TOKENS.parse::<Tokens>().unwrap()).await;
    for path in PATHS {
        let response = server.get("ada", path).await;
        assert_eq!((response.status.as_u16(), response.headers["retry-after"].as_bytes()), (429, &b"1"[..]), "{path}");
        assert!(response.json["detail"].is_string());
        assert_eq!(server.get("ada", "/log/self?limit=x").await.status, 422, "an invalid request is still rejected");
    }
}

#[tokio::test]
async fn response_is_500_without_reasons_after_a_failure_or_panic() {
    for store in [Broken::Failed, Broken::Panics] {
        let server = server(store, TOKENS.parse::<Tokens>().unwrap()).await;
        for path in PATHS {
            let response = server.get("ada", path).await;
            assert_eq!(response.status, 500, "{path}");
            assert!(!response.json.to_string().contains("hunter2"), "{}", response.json);
        }
    }
    let server = server(Broken::Failed, BrokenAuthenticator).await;
    for path in PATHS {
        assert_eq!(server.get("ada", path).await.status, 500, "{path}");
    }
}
