//! A service that starts while PostgreSQL is away.

use std::time::Duration;

use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::store::StoreError;
use tagtrail_querylog::{AuditLog, Timestamp};
use uuid::Uuid;

use crate::support::audit;

async fn put(log: &AuditLog) -> Result<(), StoreError> {
    log.put(vec![AuditRecord::new(Uuid::now_v7(), Timestamp::now())]).await
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn lazy_store_works_as_soon_as_the_server_does() {
    let (settings, _) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let _server = crate::SERVER.lock().await;
    crate::shell(crate::stop()).await;
    let log = AuditLog::new(settings.connect_lazy().unwrap());
    for _ in 0..3 {
        let failed = put(&log).await;
        assert!(matches!(failed, Err(StoreError::Failed(_) | StoreError::Overloaded)), "{failed:?}");
    }
    crate::shell(crate::restart()).await;
    while let Err(error) = put(&log).await {
        assert!(matches!(error, StoreError::Failed(_) | StoreError::Overloaded), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(log.writers().await.unwrap(), []);
}
