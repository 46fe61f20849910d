//! Creating the tables, and migrating those of earlier versions.

use futures_util::future::join_all;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::{connect, now, partitions_of, row, schema};
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::postgres::tables;
use crate::store::{Key, Partition, Postgres, RowRange, Store, WriterReport};

/// Creates the tables of the first version, with a row.
async fn version_1(admin: &Client) {
    let about =
        "CREATE TABLE about (only_one BIGINT NOT NULL PRIMARY KEY, version BIGINT NOT NULL, secret BYTEA NOT NULL);
                 INSERT INTO about VALUES (1, 1, sha256('secret'))";
    let (_, text, _) = tables::VERSIONS[0];
    let text = text.replace("{record_key}", "id").replace("{by_time}", "");
    let row = "INSERT INTO record (id, timestamp, exec_env_id, object_members, ended)
               VALUES ('0190163d-8694-739b-aea5-966c26f8ad91', 5, 'env', 0, true)";
    for text in [about, &text, row] {
        admin.batch_execute(text).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn tables_of_an_earlier_version_are_migrated_once_when_many_open_them() {
    let (admin, url) = schema().await;
    version_1(&admin).await;
    let secret: Vec<u8> = admin.query_one("SELECT secret FROM about", &[]).await.unwrap().get(0);
    for store in join_all((0..8).map(|_| connect(&url, None))).await {
        let store = store.unwrap();
        assert_eq!(store.secret().await.unwrap().as_slice(), secret, "page tokens stay valid");
        let found = store.get("0190163d-8694-739b-aea5-966c26f8ad91").await.unwrap().unwrap();
        assert_eq!((found.record.timestamp.as_micros(), found.details), (5, None));
    }
    let store = connect(&url, None).await.unwrap();
    store.put([row(6)].into(), None).await.unwrap();
    let range = RowRange::new(vec![Key::of(&["env"])], Window::ALL);
    assert_eq!(store.find(range, 10, 10).await.unwrap().rows.len(), 1);

    admin.batch_execute("UPDATE about SET version = 1000").await.unwrap();
    let error = connect(&url, None).await.unwrap_err().to_string();
    assert!(error.contains("later version") && error.contains("update this program"), "{error}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn tables_of_version_4_keep_their_gaps_and_get_writers() {
    let (admin, url) = schema().await;
    version_1(&admin).await;
    admin.batch_execute("ALTER TABLE about ADD COLUMN seq_base BIGINT NOT NULL DEFAULT 0").await.unwrap();
    for (version, text, _) in tables::VERSIONS.iter().filter(|(version, ..)| (2..=4).contains(version)) {
        admin.batch_execute(&text.replace("{by_time}", "")).await.unwrap();
        admin.execute("UPDATE about SET version = $1", &[version]).await.unwrap();
    }
    admin.batch_execute("INSERT INTO gap VALUES (1, 2, 7, 'overload'), (1, 2, NULL, 'overload')").await.unwrap();
    let store = connect(&url, None).await.unwrap();
    let gaps = store.gaps(Window::ALL, 10).await.unwrap();
    assert_eq!(gaps.len(), 2);
    // A gap of that version has no id, and is not mistaken for another.
    store.put_gap(Uuid::now_v7(), &gaps[0]).await.unwrap();
    assert_eq!(store.gaps(Window::ALL, 10).await.unwrap().len(), 3);
    let report = WriterReport::new(Uuid::now_v7(), Timestamp::now());
    store.report(&report).await.unwrap();
    assert_eq!(store.writers().await.unwrap()[0].id, report.id);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn tables_are_created_once_when_many_open_an_empty_database() {
    for partition in [None, Some(Partition::Day)] {
        let (_admin, url) = schema().await;
        let stores = join_all((0..8).map(|_| connect(&url, partition))).await;
        let secrets = join_all(stores.iter().map(|store| store.as_ref().unwrap().secret())).await;
        assert!(secrets.iter().all(|secret| secret.as_ref().unwrap() == secrets[0].as_ref().unwrap()));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn unrelated_tables_are_left_alone() {
    for table in [
        "about (version BIGINT)",
        "about (name TEXT)",
        "record (id BIGINT)",
        "entry (id BIGINT)",
        "export_job (id BIGINT)",
    ] {
        let (admin, url) = schema().await;
        admin.batch_execute(&format!("CREATE TABLE {table}")).await.unwrap();
        for existing in [false, true] {
            let settings = Postgres::builder(&url);
            let settings = if existing { settings.existing() } else { settings };
            let error = settings.connect().await.unwrap_err().to_string();
            assert!(error.contains("unrelated tables"), "{table}: {error}");
        }
        let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()";
        assert_eq!(admin.query_one(columns, &[]).await.unwrap().get::<_, i64>(0), 1, "{table}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn interrupted_migration_is_completed_by_the_next_open() {
    let (admin, url) = schema().await;
    version_1(&admin).await;
    // Interrupted halfway, as in a database whose `CREATE TABLE` is not transactional.
    admin.batch_execute("ALTER TABLE record ADD COLUMN details BYTEA").await.unwrap();
    // And by a process in a transaction that never ends.
    let mut config: tokio_postgres::Config = url.parse().unwrap();
    config.application_name("lost");
    let (lost, connection) = config.connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    lost.batch_execute("BEGIN; SELECT * FROM about FOR UPDATE; CREATE TABLE entry (); UPDATE about SET version = 2")
        .await
        .unwrap();
    let opened = tokio::spawn(async move { connect(&url, None).await });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(!opened.is_finished(), "it waits for the other");
    connection.abort();
    let store = opened.await.unwrap().unwrap();
    store.put([row(6)].into(), None).await.unwrap();
    assert_eq!(store.find(RowRange::new(vec![Key::of(&["env"])], Window::ALL), 10, 10).await.unwrap().rows.len(), 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn tables_keep_their_partitioning_when_opened_with_another() {
    for (made, wanted, expected) in [
        (None, Some(Partition::Day), "without partitions"),
        (Some(Partition::Day), Some(Partition::Month), "already partitioned by day"),
        (Some(Partition::Month), Some(Partition::Day), "already partitioned by month"),
    ] {
        let (admin, url) = schema().await;
        connect(&url, made).await.unwrap();
        let error = connect(&url, wanted).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        // Without a setting, the existing partitioning is used.
        let store = connect(&url, None).await.unwrap();
        store.put([row(now())].into(), None).await.unwrap();
        let plain = made.is_none();
        assert_eq!(partitions_of(&admin, "entry").await.is_empty(), plain);
        assert_eq!(store.drop_before(Timestamp::MIN).await.is_err(), plain);
    }
}
