//! Partitions: created on demand, filled, and dropped.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{DAY, all, connect, now, partitions_of, row, schema, wait_for_empty_default, wait_for_partitions};
use crate::model::time::Timestamp;
use crate::model::window::Window;
use crate::store::{Partition, RowRange, Selection, Store, StoreError};

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn row_is_put_while_its_partition_is_being_created() {
    let (mut admin, url) = schema().await;
    let store = connect(&url, Some(Partition::Month)).await.unwrap();
    // Created by hand, since a put does not create one for such a time.
    let time = "1990-05-10".parse::<Timestamp>().unwrap().as_micros();
    let transaction = admin.transaction().await.unwrap();
    for table in ["record", "entry"] {
        let text = format!(
            "LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE;
            CREATE TABLE {table}_by_hand (LIKE {table} INCLUDING ALL);
            ALTER TABLE {table} ATTACH PARTITION {table}_by_hand FOR VALUES FROM ({}) TO ({})",
            time - DAY,
            time + DAY
        );
        transaction.batch_execute(&text).await.unwrap();
    }
    let put = tokio::spawn({
        let store = store.clone();
        async move { store.put([row(time)].into(), None).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!put.is_finished(), "it waits for the table");
    transaction.commit().await.unwrap();
    put.await.unwrap().unwrap();
    assert_eq!(all(&store).await, [time]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn partitions_are_created_while_others_write_except_for_distant_times() {
    for partition in [Partition::Month, Partition::Day] {
        let (admin, url) = schema().await;
        let stores = join_all((0..3).map(|_| connect(&url, Some(partition)))).await;
        let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
        wait_for_partitions(&admin).await;
        // Each writer has the same days in a different order.
        let today = now();
        let writers = (0..12_usize).map(|writer| {
            let store = stores[writer % 3].clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for turn in 0..20_usize {
                    let days = i64::try_from((turn * 7 + writer * 5) % 20).unwrap();
                    let rows = vec![row(today - days * DAY), row(today - days * 10 * DAY), row(0)];
                    times.extend(rows.iter().map(|row| row.record.timestamp.as_micros()));
                    // Others may have all connections, or the tables, for longer than a call waits.
                    let rows: Arc<[_]> = rows.into();
                    while let Err(error) = store.put(Arc::clone(&rows), None).await {
                        assert!(matches!(error, StoreError::Overloaded), "{error}");
                    }
                }
                times
            })
        });
        let mut expected: Vec<i64> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
        let many = partitions_of(&admin, "record").await.len();

        let distant: Vec<i64> = (1..10_000).step_by(25).map(|year| (year - 1970) * 365 * DAY).collect();
        let distant: Vec<i64> = distant.into_iter().filter(|micros| (today - micros).abs() > 400 * DAY).collect();
        let few = partition == Partition::Month;
        let distant: Vec<_> = distant.into_iter().filter(|micros| !few || *micros < 0 || *micros > today).collect();
        stores[0].put(distant.iter().map(|micros| row(*micros)).collect(), None).await.unwrap();
        assert_eq!(partitions_of(&admin, "record").await.len(), many);

        expected.extend(distant);
        expected.sort_unstable();
        assert!(all(&stores[1]).await == expected, "each once, and in order");
        assert_eq!(partitions_of(&admin, "entry").await.len(), many);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn record_moves_into_its_partition_when_that_is_created() {
    let (admin, url) = schema().await;
    let store = connect(&url, Some(Partition::Day)).await.unwrap();
    wait_for_partitions(&admin).await;
    let (early, today) = (row(now()), row(now()));
    // As if it was put when the clock was wrong by years.
    for table in ["record", "entry"] {
        let other = "CREATE TABLE kept AS TABLE record WITH NO DATA".replace("kept", &format!("{table}_kept"));
        admin.batch_execute(&other.replace("TABLE record", &format!("TABLE {table}"))).await.unwrap();
    }
    store.put([early.clone()].into(), None).await.unwrap();
    let name = partitions_of(&admin, "record").await.into_iter().find(|name| name != "record_default").unwrap();
    for table in ["record", "entry"] {
        let partition = name.replace("record", table);
        let text = format!(
            "INSERT INTO {table}_kept TABLE {partition}; DROP TABLE {partition}; INSERT INTO {table} TABLE {table}_kept"
        );
        admin.batch_execute(&text).await.unwrap();
    }
    assert_eq!(all(&store).await.len(), 1);
    let other = connect(&url, None).await.unwrap();
    other.put([early, today].into(), None).await.unwrap();
    assert_eq!(all(&other).await.len(), 2);
    wait_for_empty_default(&admin).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn old_partitions_are_dropped_and_the_rest_stays() {
    let (admin, url) = schema().await;
    let store = connect(&url, Some(Partition::Day)).await.unwrap();
    let today = now().div_euclid(DAY) * DAY;
    let times: Vec<i64> = (0..10).map(|days| today - days * DAY + 1).collect();
    let distant = [Timestamp::MIN.as_micros(), 0, today + 4_000 * DAY];
    store.put(times.iter().chain(&distant).map(|micros| row(*micros)).collect(), None).await.unwrap();
    // In the middle of a day, which stays.
    let before = Timestamp::from_micros(today - 3 * DAY + 500);
    assert_eq!(store.drop_before(before).await.unwrap(), 6);
    let left = vec![today - 3 * DAY + 1, today - 2 * DAY + 1, today - DAY + 1, today + 1, today + 4_000 * DAY];
    assert_eq!(all(&store).await, left);
    assert_eq!(store.drop_before(before).await.unwrap(), 0);
    // A record of a day that was dropped creates its partition again.
    store.put([row(today - 5 * DAY)].into(), None).await.unwrap();
    assert_eq!(store.drop_before(before).await.unwrap(), 1);

    // A long read does not make others wait.
    admin.batch_execute("BEGIN; SELECT 1 FROM record").await.unwrap();
    let dropped = store.drop_before(Timestamp::from_micros(today)).await;
    assert!(matches!(dropped, Err(StoreError::Overloaded)), "{dropped:?}");
    admin.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.drop_before(Timestamp::from_micros(today)).await.unwrap(), 3);
    assert_eq!(all(&store).await, [today + 1, today + 4_000 * DAY]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn record_put_with_two_times_is_stored_twice_if_partitioned() {
    for (partition, times) in [(None, &[1][..]), (Some(Partition::Month), &[1, 2])] {
        let (_admin, url) = schema().await;
        let store = connect(&url, partition).await.unwrap();
        let mut row = row(1);
        store.put([row.clone(), row.clone()].into(), None).await.unwrap();
        store.put([row.clone()].into(), None).await.unwrap();
        row.record.timestamp = Timestamp::from_micros(2);
        row.keys.clear();
        store.put([row.clone()].into(), None).await.unwrap();
        let range = RowRange::new(Selection::Environment("env".into()), Window::ALL);
        let found = store.page(range, 10).await.unwrap();
        assert_eq!(found.iter().map(|row| row.record.timestamp.as_micros()).collect::<Vec<_>>(), times);
        let first = store.get(row.record.id.as_str()).await.unwrap().unwrap();
        assert_eq!(first.record.timestamp.as_micros(), 1);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn put_does_not_wait_for_its_partition_while_the_tables_are_in_use() {
    let (admin, url) = schema().await;
    let store = connect(&url, Some(Partition::Day)).await.unwrap();
    wait_for_partitions(&admin).await;
    // As a backup does, for as long as this test takes.
    admin.batch_execute("BEGIN; SELECT 1 FROM record_default").await.unwrap();
    let (time, name) = (now() - 100 * DAY, |admin| partitions_of(admin, "record"));
    let before = name(&admin).await;
    store.put([row(time)].into(), None).await.unwrap();
    store.put([row(time + 1)].into(), None).await.unwrap();
    assert_eq!(all(&store).await, [time, time + 1]);
    assert_eq!(name(&admin).await, before, "they are in DEFAULT");
    admin.batch_execute("COMMIT").await.unwrap();

    // The next process makes the partition, and moves them.
    let other = connect(&url, None).await.unwrap();
    other.put([row(time + 2)].into(), None).await.unwrap();
    assert_eq!(all(&store).await, [time, time + 1, time + 2]);
    wait_for_empty_default(&admin).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn partitions_are_created_ahead_in_the_background() {
    let (admin, url) = schema().await;
    let _store = connect(&url, Some(Partition::Day)).await.unwrap();
    let days = [now(), now() + DAY, now() + 2 * DAY].map(Timestamp::from_micros);
    let expected = days.map(|day| format!("record_{}", day.to_string()[..10].replace('-', "_")));
    let partitions = wait_for_partitions(&admin).await;
    assert!(expected.iter().all(|name| partitions.contains(name)), "{partitions:?}");
}
