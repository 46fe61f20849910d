//! The store on the server that `TAGTRAIL_TEST_POSTGRES` names.

mod partitions;
mod plans;
mod rows;
mod tables;

use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::model::audit_record::AuditRecord;
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::{Key, Partition, Postgres, Row, RowRange, Selection, Store, StoreError};

const DAY: i64 = 86_400_000_000;

/// Creates a schema, and returns a connection to it and its URL.
pub(crate) async fn schema() -> (Client, String) {
    let url = std::env::var("TAGTRAIL_TEST_POSTGRES").expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let schema = format!("test_{}", Uuid::now_v7().simple());
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}")).await.unwrap();
    let and = if url.contains('?') { '&' } else { '?' };
    (admin, format!("{url}{and}options=-c%20search_path%3D{schema}"))
}

async fn connect(url: &str, partition: Option<Partition>) -> Result<Postgres, StoreError> {
    let settings = Postgres::builder(url).connections(4);
    match partition {
        Some(partition) => settings.partition_by(partition).connect().await,
        None => settings.connect().await,
    }
}

fn now() -> i64 {
    Timestamp::now().as_micros()
}

fn row(micros: i64) -> Row {
    let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::from_micros(micros));
    record.exec_env_id = Some("env".into());
    Row { keys: vec![Key::of(&["env"])], ..Row::of(record, true) }
}

async fn all(store: &Postgres) -> Vec<i64> {
    let range = RowRange::new(Selection::Environment("env".into()), Window::ALL);
    let rows = store.page(range, 10_000).await.unwrap();
    let range = RowRange::new(vec![Key::of(&["env"])], Window::ALL);
    let hits = store.find(range, 10_000, 10_000).await.unwrap();
    let times = |rows: &[Row]| rows.iter().map(|row| row.record.timestamp.as_micros()).collect::<Vec<_>>();
    assert_eq!(times(&rows), times(&hits.rows));
    times(&rows)
}

/// Waits until the partitions of today and of what follows exist, which are created in the background.
async fn wait_for_partitions(admin: &Client) -> Vec<String> {
    for _ in 0..6_000 {
        let partitions = partitions_of(admin, "committed").await;
        // With `DEFAULT`.
        if partitions.len() >= 4 {
            return partitions_of(admin, "record").await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("expected partitions that were created ahead");
}

/// Waits until all rows are in their partitions, into which the background may still be moving them.
async fn wait_for_empty_default(admin: &Client) {
    const ROWS: &str = "
        SELECT (SELECT count(*) FROM record_default) + (SELECT count(*) FROM entry_default)
            + (SELECT count(*) FROM committed_default)";
    for _ in 0..6_000 {
        if admin.query_one(ROWS, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("expected no rows in the partition `DEFAULT`");
}

async fn partitions_of(admin: &Client, table: &str) -> Vec<String> {
    let text = "SELECT relname::TEXT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = $1::TEXT::REGCLASS ORDER BY relname";
    admin.query(text, &[&table]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
