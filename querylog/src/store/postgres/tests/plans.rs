//! The plans of the statements: each reads by an index.

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::{DAY, connect, now, row, schema, wait_for_partitions};
use crate::model::window::Window;
use crate::store::postgres::statements;
use crate::store::sql::COLUMNS;
use crate::store::{Partition, RowRange, Selection, Store};

/// Creates tables with many rows, in three partitions.
async fn filled(admin: &Client, url: &str, partition: Option<Partition>) {
    let store = connect(url, partition).await.unwrap();
    if partition.is_some() {
        // An index of an empty table is not used.
        for name in wait_for_partitions(admin).await.iter().filter(|name| *name != "record_default") {
            let drops =
                ["record", "entry", "committed"].map(|table| format!("DROP TABLE {}", name.replace("record", table)));
            admin.batch_execute(&drops.join(";")).await.unwrap();
        }
    }
    let first = now() - 80 * DAY;
    store.put([row(first), row(first + 40 * DAY)].into(), None).await.unwrap();
    let rows = format!(
        "INSERT INTO record (id, timestamp, exec_env_id, user_email, udf_id, udf_name, shared_token, object_members, ended)
         SELECT sha256(int8send(n)), {first} + n * 360000000, int8send(n % 3), int8send(n % 50), int8send(n % 70),
         int8send(n % 80), int8send(n % 90), 0, true FROM generate_series(1::BIGINT, 20000) AS n;
         INSERT INTO entry (key, timestamp, id)
         SELECT int8send(key), {first} + n * 360000000, sha256(int8send(n))
         FROM generate_series(1::BIGINT, 20000) AS n, generate_series(1, 4) AS key WHERE n % (2 * key - 1) = 0;
         ANALYZE record; ANALYZE entry"
    );
    admin.batch_execute(&rows).await.unwrap();
}

/// Asserts that a statement reads by an index only, and does not sort, whether it is planned for these parameters or
/// for any.
async fn reads_by(admin: &Client, index: &str, text: &str, parameters: &[&(dyn ToSql + Sync)]) {
    for mode in ["force_custom_plan", "force_generic_plan"] {
        admin.batch_execute(&format!("SET plan_cache_mode = {mode}")).await.unwrap();
        let plan = admin.query(&format!("EXPLAIN {text}"), parameters).await.unwrap();
        let plan: Vec<&str> = plan.iter().map(|row| row.get(0)).collect();
        let steps =
            plan.iter().filter(|line| line.contains("(cost=")).map(|line| line.trim_start_matches([' ', '-', '>']));
        let mut scans = 0;
        for step in steps {
            assert!(!step.starts_with("Sort") && !step.starts_with("Hash"), "{}", plan.join("\n"));
            let scan = step.contains("Scan") && !step.starts_with("Subquery") && !step.starts_with("Function");
            assert!(!scan || (step.starts_with("Index") && step.contains(index)), "{}", plan.join("\n"));
            scans += usize::from(scan);
        }
        assert!(scans > 0, "{}", plan.join("\n"));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn ranges_are_read_by_their_indexes_without_sorting() {
    for partition in [None, Some(Partition::Month)] {
        let (admin, url) = schema().await;
        filled(&admin, &url, partition).await;
        let (environment, value) = ("e".to_owned(), "v".to_owned());
        for (of, index) in [
            (Selection::User(value.clone()), "record_of_user"),
            (Selection::Environment(value.clone()), "record_of_env"),
            (Selection::UdfId { environment: environment.clone(), value: value.clone() }, "record_of_udf_id"),
            (Selection::UdfName { environment: environment.clone(), value: value.clone() }, "record_of_udf_name"),
            (Selection::SharedToken { environment, value }, "record_of_shared_token"),
        ] {
            // PostgreSQL names the indexes of partitions itself.
            let index = if partition.is_some() { "_timestamp_id_idx" } else { index };
            for newest_first in [false, true] {
                let range = RowRange::new(of.clone(), Window::ALL).newest_first(newest_first);
                let (text, values) = statements::range(COLUMNS, &range);
                let parts = values.iter().flat_map(|value| [value, value]);
                let none: &[u8] = b"";
                let mut parameters: Vec<&(dyn ToSql + Sync)> =
                    vec![&range.after.micros, &none, &range.before.micros, &none, &101_i64];
                parameters.extend(parts.map(|part| part as &(dyn ToSql + Sync)));
                reads_by(&admin, index, &text, &parameters).await;
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn requests_are_found_by_the_index_of_keys_without_sorting() {
    for partition in [None, Some(Partition::Month)] {
        let (admin, url) = schema().await;
        filled(&admin, &url, partition).await;
        let keys = [1, 2, 3].map(i64::to_be_bytes);
        let [first, others @ ..] = keys.each_ref().map(<[u8; 8]>::as_slice);
        let none: &[u8] = b"";
        for newest_first in [false, true] {
            let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&i64::MIN, &none, &i64::MAX, &none, &first, &5_000_i64];
            let last = statements::last_entry(newest_first);
            reads_by(&admin, "_pkey", &last, &parameters).await;
            parameters.push(&101_i64);
            reads_by(&admin, "_pkey", &statements::entries(1, newest_first), &parameters).await;
            parameters.extend(others.iter().map(|key| key as &(dyn ToSql + Sync)));
            reads_by(&admin, "_pkey", &statements::entries(3, newest_first), &parameters).await;
        }
        let (times, ids): (Vec<i64>, Vec<&[u8]>) = (vec![now(); 100], vec![b"x"; 100]);
        // With a partition for each time, the index of ids is as good.
        let index = if partition.is_some() { "id" } else { "_pkey" };
        reads_by(&admin, index, &statements::rows_at(COLUMNS), &[&times, &ids]).await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn exported_records_are_read_by_their_index_without_sorting() {
    for partition in [None, Some(Partition::Month)] {
        let (admin, url) = schema().await;
        filled(&admin, &url, partition).await;
        let (key, none): (&[u8], &[u8]) = (&1_i64.to_be_bytes(), b"");
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&key, &i64::MIN, &none, &i64::MAX, &none, &4_000_i64, &8_000_000_i64];
        // With a partition for each time, the index of ids is as good.
        let index = if partition.is_some() { "_" } else { "_pkey" };
        reads_by(&admin, index, statements::EXPORTED, &parameters).await;
    }
}
