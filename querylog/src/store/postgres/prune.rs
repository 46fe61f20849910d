//! Partitions over time: creating them ahead, and dropping old ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::postgres::error::failed;
use crate::store::postgres::partitions::Partitions;
use crate::store::postgres::server::Server;

/// How often partitions are created ahead, and how often if some could not be created.
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// The number of rows of the partition `DEFAULT` that are deleted at a time.
const DELETED: i64 = 2_000;

/// Creates partitions ahead, for as long as the store is open, so that no put has to wait for it.
pub(super) async fn keep_ahead(server: Arc<Server>) {
    let Some(partitions) = server.ready().await.partitions else { return };
    loop {
        let all_exist = create_ahead(&server, &partitions).await;
        if let Err(error) = &all_exist {
            tracing::warn!(%error, "audit log: partitions could not be created ahead");
        }
        sleep(if all_exist.unwrap_or(false) { HOUR } else { MINUTE }).await;
    }
}

async fn create_ahead(server: &Server, partitions: &Partitions) -> Result<bool, StoreError> {
    let mut lease = server.lease().await?;
    let created = timeout(server.limits().maintenance, partitions.create_ahead(&mut lease)).await;
    lease.finish(created)
}

/// Drops the partitions whose records all started before a time, deletes such records from the partition `DEFAULT`, and
/// returns the number of partitions that were dropped.
pub(super) async fn drop_before(server: &Arc<Server>, before: Timestamp) -> Result<u64, StoreError> {
    let Some(partitions) = server.tables().await?.partitions else {
        return Err(StoreError::unusable("the tables are not partitioned, so no partitions can be dropped"));
    };
    let limit = server.limits().maintenance;
    let names = "SELECT relname::TEXT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
                 WHERE inhparent = 'record'::REGCLASS ORDER BY relname";
    let names = server.query(limit, names, &[]).await?;
    let mut dropped = 0;
    for name in &names {
        let name: &str = name.try_get(0).map_err(failed)?;
        let Some(span) = partitions.span_of(name) else { continue };
        if span.end() <= before.as_micros() {
            let mut lease = server.lease().await?;
            let is_dropped = timeout(limit, partitions.drop_span(&mut lease, span)).await;
            lease.finish(is_dropped.map(|is_dropped| is_dropped.map_err(failed)))?;
            dropped += 1;
        }
    }
    // The entries come first, so that none is left without its record.
    for (table, key) in [
        ("committed_default", "seq, timestamp, id"),
        ("entry_default", "key, timestamp, id"),
        ("record_default", "timestamp, id"),
    ] {
        let delete = format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE timestamp < $1 LIMIT {DELETED})"
        );
        loop {
            let lease = server.lease().await?;
            let deleted = timeout(limit, lease.execute(&delete, &[&before.as_micros()])).await;
            if lease.finish(deleted.map(|deleted| deleted.map_err(failed)))? == 0 {
                break;
            }
        }
    }
    Ok(dropped)
}
