//! Rows: errors, keys, and entries.

use super::{all, connect, now, row, schema};
use crate::model::window::Window;
use crate::store::{Key, Row, RowRange, Store, StoreError};

/// Returns everything that an error and its sources show.
fn all_messages(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.fold(format!("{error} {error:?}"), |text, error| format!("{text} {error} {error:?}"))
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn error_says_why_and_holds_nothing_of_the_row() {
    let (admin, url) = schema().await;
    let store = connect(&url, None).await.unwrap();
    admin.batch_execute("ALTER TABLE record ADD CONSTRAINT no_secrets CHECK (udf_name IS NULL)").await.unwrap();
    let mut secret = row(now());
    secret.record.udf_name = Some("hunter2".into());
    let rejected = store.put([secret].into(), None).await.unwrap_err();
    assert!(matches!(rejected, StoreError::Rejected(_)), "{rejected}");
    admin.batch_execute("DROP TABLE entry").await.unwrap();
    let failed = store.put([row(now())].into(), None).await.unwrap_err();
    assert!(matches!(failed, StoreError::Failed(_)), "{failed}");
    admin.batch_execute("DROP TABLE record").await.unwrap();
    let not_read = store.get("x").await.unwrap_err();
    let unreachable = connect("postgres://postgres@127.0.0.1:1/postgres", None).await.unwrap_err();
    for (error, why) in [
        (rejected, "no_secrets"),
        (failed, "\"entry\" does not exist"),
        (not_read, "\"record\" does not exist"),
        (unreachable, "refused"),
    ] {
        assert!(error.to_string().contains(why), "{error}");
        let messages = all_messages(&error);
        for value in ["hunter2", "68756e74657232", "DETAIL", "HINT", "\n"] {
            assert!(!messages.contains(value), "{messages}");
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn orphaned_entries_do_not_prevent_a_put() {
    let (admin, url) = schema().await;
    let store = connect(&url, None).await.unwrap();
    let mut row = row(now());
    row.keys.push(row.keys[0]);
    store.put([row.clone()].into(), None).await.unwrap();
    admin.batch_execute("DELETE FROM record").await.unwrap();
    store.put([row.clone()].into(), None).await.unwrap();
    assert_eq!(all(&store).await, [row.record.timestamp.as_micros()]);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn end_adds_the_keys_that_its_start_did_not_have() {
    for others in [false, true] {
        let (_admin, url) = schema().await;
        let store = connect(&url, None).await.unwrap();
        // Started by this process, or by another.
        let writer = if others { connect(&url, None).await.unwrap() } else { store.clone() };
        let [first, second] = ["first", "second"].map(|part| Key::of(&[part]));
        let started = Row { ended: false, keys: vec![first], ..row(now()) };
        writer.put([started.clone()].into(), None).await.unwrap();
        let mut ended = Row { ended: true, keys: vec![second, first], ..started.clone() };
        ended.record.execution_time = Some(1.0);
        store.put([ended.clone()].into(), None).await.unwrap();
        writer.put([started].into(), None).await.unwrap();
        for key in [first, second] {
            let hits = store.find(RowRange::new(vec![key], Window::ALL), 10, 10).await.unwrap();
            let times: Vec<_> = hits.rows.iter().map(|row| (row.ended, row.record.execution_time)).collect();
            assert_eq!(times, [(true, Some(1.0))]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn request_is_found_once_while_entries_come_and_go() {
    let (admin, url) = schema().await;
    let store = connect(&url, None).await.unwrap();
    let [many, few] = ["many", "few"].map(|part| Key::of(&[part]));
    let rows = (0..100).map(|n| Row { keys: if n % 2 == 0 { vec![many, few] } else { vec![many] }, ..row(n * 1_000) });
    store.put(rows.collect(), None).await.unwrap();
    let expected: Vec<i64> = (0..100).step_by(2).map(|n| n * 1_000).collect();
    // Entries come and go everywhere: each moves the end of what is read.
    let others = tokio::spawn(async move {
        loop {
            let put = "INSERT INTO entry SELECT $1, n * 7000 + 1, 'x' FROM generate_series(0, 14) AS n";
            for text in [put, "DELETE FROM entry WHERE key = $1 AND id = 'x'"] {
                admin.execute(text, &[&many.as_bytes().as_slice()]).await.unwrap();
            }
        }
    });
    for _ in 0..20 {
        let (mut found, mut next) = (Vec::new(), Some(RowRange::new(vec![many, few], Window::ALL)));
        while let Some(range) = next {
            let hits = store.find(range.clone(), 8, 10).await.unwrap();
            found.extend(hits.rows.iter().map(|row| row.record.timestamp.as_micros()));
            next = hits.behind.map(|cursor| range.resume(cursor));
        }
        assert_eq!(found, expected);
    }
    others.abort();
}
