//! The plans of the statements, and the tables: on the server that `TAGTRAIL_TEST_POSTGRES` names.

use futures_util::future::join_all;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::*;
use crate::model::audit_record::AuditRecord;
use crate::model::window::Window;
use crate::store::Selection;

const DAY: i64 = 86_400_000_000;

/// A connection to a schema of its own, and the URL of it.
pub(crate) async fn schema() -> Option<(Client, String)> {
    let Ok(url) = std::env::var("TAGTRAIL_TEST_POSTGRES") else {
        eprintln!("left out: TAGTRAIL_TEST_POSTGRES has no URL of a server");
        return None;
    };
    let schema = format!("test_{}", Uuid::now_v7().simple());
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}")).await.unwrap();
    let and = if url.contains('?') { '&' } else { '?' };
    Some((admin, format!("{url}{and}options=-c%20search_path%3D{schema}")))
}

async fn connect(url: &str, partition: Option<Partition>) -> Result<Postgres, StoreError> {
    let settings = Postgres::settings(url).connections(4);
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

/// Tables with many rows, in three partitions.
async fn filled(admin: &Client, url: &str, partition: Option<Partition>) {
    let store = connect(url, partition).await.unwrap();
    let first = now() - 80 * DAY;
    store.put([row(first), row(first + 40 * DAY)].into()).await.unwrap();
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

/// Asserts that a statement reads by this index alone, and sorts nothing, whether it is planned for these parameters or
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
async fn every_range_is_read_by_its_index_and_without_sorting() {
    for partition in [None, Some(Partition::Month)] {
        let Some((admin, url)) = schema().await else { return };
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
async fn requests_are_found_by_the_index_of_keys_and_without_sorting() {
    for partition in [None, Some(Partition::Month)] {
        let Some((admin, url)) = schema().await else { return };
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
        reads_by(&admin, index, &statements::rows_of_places(COLUMNS), &[&times, &ids]).await;
    }
}

#[tokio::test]
async fn records_of_an_export_are_read_by_their_index_and_without_sorting() {
    for partition in [None, Some(Partition::Month)] {
        let Some((admin, url)) = schema().await else { return };
        filled(&admin, &url, partition).await;
        let (key, none): (&[u8], &[u8]) = (&1_i64.to_be_bytes(), b"");
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&key, &i64::MIN, &none, &i64::MAX, &none, &4_000_i64, &8_000_000_i64];
        // With a partition for each time, the index of ids is as good.
        let index = if partition.is_some() { "_" } else { "_pkey" };
        reads_by(&admin, index, exports::EXPORTED, &parameters).await;
    }
}

/// The tables as the first version made them, with a row.
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
async fn tables_of_an_earlier_version_get_what_they_miss_whoever_opens_them_at_the_same_time() {
    let Some((admin, url)) = schema().await else { return };
    version_1(&admin).await;
    let secret: Vec<u8> = admin.query_one("SELECT secret FROM about", &[]).await.unwrap().get(0);
    for store in join_all((0..8).map(|_| connect(&url, None))).await {
        let store = store.unwrap();
        assert_eq!(store.secret().await.unwrap().as_slice(), secret, "page tokens stay good");
        let found = store.get("0190163d-8694-739b-aea5-966c26f8ad91").await.unwrap().unwrap();
        assert_eq!((found.record.timestamp.as_micros(), found.details), (5, None));
    }
    let store = connect(&url, None).await.unwrap();
    store.put([row(6)].into()).await.unwrap();
    let range = RowRange::new(vec![Key::of(&["env"])], Window::ALL);
    assert_eq!(store.find(range, 10, 10).await.unwrap().rows.len(), 1);

    admin.batch_execute("UPDATE about SET version = 1000").await.unwrap();
    let error = connect(&url, None).await.unwrap_err().to_string();
    assert!(error.contains("later version") && error.contains("update this program"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_open_an_empty_database_make_the_tables_once() {
    for partition in [None, Some(Partition::Day)] {
        let Some((_admin, url)) = schema().await else { return };
        let stores = join_all((0..8).map(|_| connect(&url, partition))).await;
        let secrets = join_all(stores.iter().map(|store| store.as_ref().unwrap().secret())).await;
        assert!(secrets.iter().all(|secret| secret.as_ref().unwrap() == secrets[0].as_ref().unwrap()));
    }
}

#[tokio::test]
async fn tables_of_something_else_are_left_alone() {
    for table in [
        "about (version BIGINT)",
        "about (name TEXT)",
        "record (id BIGINT)",
        "entry (id BIGINT)",
        "export_job (id BIGINT)",
    ] {
        let Some((admin, url)) = schema().await else { return };
        admin.batch_execute(&format!("CREATE TABLE {table}")).await.unwrap();
        for existing in [false, true] {
            let settings = Postgres::settings(&url);
            let settings = if existing { settings.existing() } else { settings };
            let error = settings.connect().await.unwrap_err().to_string();
            assert!(error.contains("tables of something else"), "{table}: {error}");
        }
        let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()";
        assert_eq!(admin.query_one(columns, &[]).await.unwrap().get::<_, i64>(0), 1, "{table}");
    }
}

#[tokio::test]
async fn a_migration_that_was_interrupted_goes_on() {
    let Some((admin, url)) = schema().await else { return };
    version_1(&admin).await;
    // In the middle, where a database has no transactions for what makes tables.
    admin.batch_execute("ALTER TABLE record ADD COLUMN details BYTEA").await.unwrap();
    // And where it has, by one who does not come back.
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
    store.put([row(6)].into()).await.unwrap();
    assert_eq!(store.find(RowRange::new(vec![Key::of(&["env"])], Window::ALL), 10, 10).await.unwrap().rows.len(), 1);
}

async fn partitions_of(admin: &Client, table: &str) -> Vec<String> {
    let text = "SELECT relname::TEXT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = $1::TEXT::REGCLASS ORDER BY relname";
    admin.query(text, &[&table]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn tables_stay_partitioned_as_they_were_made() {
    for (made, asked, expected) in [
        (None, Some(Partition::Day), "made without partitions"),
        (Some(Partition::Day), Some(Partition::Month), "are partitioned by day"),
        (Some(Partition::Month), Some(Partition::Day), "are partitioned by month"),
    ] {
        let Some((admin, url)) = schema().await else { return };
        connect(&url, made).await.unwrap();
        let error = connect(&url, asked).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        // What is not asked for is found.
        let store = connect(&url, None).await.unwrap();
        store.put([row(now())].into()).await.unwrap();
        let plain = made.is_none();
        assert_eq!(partitions_of(&admin, "entry").await.len(), if plain { 0 } else { 2 });
        assert_eq!(store.drop_before(Timestamp::MIN).await.is_err(), plain);
    }
}

/// All that an error says, to whom asks for everything.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.fold(format!("{error} {error:?}"), |text, error| format!("{text} {error} {error:?}"))
}

#[tokio::test]
async fn a_fault_says_why_and_nothing_of_the_row() {
    let Some((admin, url)) = schema().await else { return };
    let store = connect(&url, None).await.unwrap();
    admin.batch_execute("ALTER TABLE record ADD CONSTRAINT no_secrets CHECK (udf_name IS NULL)").await.unwrap();
    let mut secret = row(now());
    secret.record.udf_name = Some("hunter2".into());
    let refused = store.put([secret].into()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)), "{refused}");
    admin.batch_execute("DROP TABLE entry").await.unwrap();
    let failed = store.put([row(now())].into()).await.unwrap_err();
    assert!(matches!(failed, StoreError::Failed(_)), "{failed}");
    admin.batch_execute("DROP TABLE record").await.unwrap();
    let not_read = store.get("x").await.unwrap_err();
    let unreachable = connect("postgres://postgres@127.0.0.1:1/postgres", None).await.unwrap_err();
    for (error, why) in [
        (refused, "no_secrets"),
        (failed, "\"entry\" does not exist"),
        (not_read, "\"record\" does not exist"),
        (unreachable, "refused"),
    ] {
        assert!(error.to_string().contains(why), "{error}");
        let words = words(&error);
        for value in ["hunter2", "68756e74657232", "DETAIL", "HINT", "\n"] {
            assert!(!words.contains(value), "{words}");
        }
    }
}

#[tokio::test]
async fn a_row_whose_partition_is_made_while_it_is_put_is_not_refused() {
    let Some((mut admin, url)) = schema().await else { return };
    let store = connect(&url, Some(Partition::Month)).await.unwrap();
    // Made by hand: of such a time, putting makes none.
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
        async move { store.put([row(time)].into()).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!put.is_finished(), "it waits for the table");
    transaction.commit().await.unwrap();
    put.await.unwrap().unwrap();
    assert_eq!(all(&store).await, [time]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_while_others_write_and_strange_times_make_none() {
    for partition in [Partition::Month, Partition::Day] {
        let Some((admin, url)) = schema().await else { return };
        let stores = join_all((0..3).map(|_| connect(&url, Some(partition)))).await;
        let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
        // Each writer has the same days in another order.
        let today = now();
        let writers = (0..12_usize).map(|writer| {
            let store = stores[writer % 3].clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for turn in 0..20_usize {
                    let days = i64::try_from((turn * 7 + writer * 5) % 20).unwrap();
                    let rows = vec![row(today - days * DAY), row(today - days * 10 * DAY), row(0)];
                    times.extend(rows.iter().map(|row| row.record.timestamp.as_micros()));
                    store.put(rows.into()).await.unwrap();
                }
                times
            })
        });
        let mut expected: Vec<i64> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
        let many = partitions_of(&admin, "record").await.len();

        let strange: Vec<i64> = (1..10_000).step_by(25).map(|year| (year - 1970) * 365 * DAY).collect();
        let strange: Vec<i64> = strange.into_iter().filter(|micros| (today - micros).abs() > 400 * DAY).collect();
        let few = partition == Partition::Month;
        let strange: Vec<_> = strange.into_iter().filter(|micros| !few || *micros < 0 || *micros > today).collect();
        stores[0].put(strange.iter().map(|micros| row(*micros)).collect()).await.unwrap();
        assert_eq!(partitions_of(&admin, "record").await.len(), many);

        expected.extend(strange);
        expected.sort_unstable();
        assert!(all(&stores[1]).await == expected, "each once, and in order");
        assert_eq!(partitions_of(&admin, "entry").await.len(), many);
    }
}

#[tokio::test]
async fn a_record_that_came_before_its_partition_moves_into_it() {
    let Some((admin, url)) = schema().await else { return };
    let store = connect(&url, Some(Partition::Day)).await.unwrap();
    let (early, today) = (row(now()), row(now()));
    // As a clock that is wrong by years has put it.
    for table in ["record", "entry"] {
        let other = "CREATE TABLE kept AS TABLE record WITH NO DATA".replace("kept", &format!("{table}_kept"));
        admin.batch_execute(&other.replace("TABLE record", &format!("TABLE {table}"))).await.unwrap();
    }
    store.put([early.clone()].into()).await.unwrap();
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
    other.put([early, today].into()).await.unwrap();
    assert_eq!(all(&other).await.len(), 2);
    for table in ["record", "entry"] {
        let rest = format!("SELECT count(*) FROM {table}_default");
        assert_eq!(admin.query_one(&rest, &[]).await.unwrap().get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn old_partitions_are_dropped_and_all_else_stays() {
    let Some((admin, url)) = schema().await else { return };
    let store = connect(&url, Some(Partition::Day)).await.unwrap();
    let today = now().div_euclid(DAY) * DAY;
    let times: Vec<i64> = (0..10).map(|days| today - days * DAY + 1).collect();
    let strange = [Timestamp::MIN.as_micros(), 0, today + 4_000 * DAY];
    store.put(times.iter().chain(&strange).map(|micros| row(*micros)).collect()).await.unwrap();
    // In the middle of a day: it stays.
    let before = Timestamp::from_micros(today - 3 * DAY + 500);
    assert_eq!(store.drop_before(before).await.unwrap(), 6);
    let left = vec![today - 3 * DAY + 1, today - 2 * DAY + 1, today - DAY + 1, today + 1, today + 4_000 * DAY];
    assert_eq!(all(&store).await, left);
    assert_eq!(store.drop_before(before).await.unwrap(), 0);
    // A record of a day that was dropped makes it again.
    store.put([row(today - 5 * DAY)].into()).await.unwrap();
    assert_eq!(store.drop_before(before).await.unwrap(), 1);

    // One who reads for long is not waited for by all.
    admin.batch_execute("BEGIN; SELECT 1 FROM record").await.unwrap();
    let dropped = store.drop_before(Timestamp::from_micros(today)).await;
    assert!(matches!(dropped, Err(StoreError::Overloaded)), "{dropped:?}");
    admin.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.drop_before(Timestamp::from_micros(today)).await.unwrap(), 3);
    assert_eq!(all(&store).await, [today + 1, today + 4_000 * DAY]);
}

#[tokio::test]
async fn a_record_with_two_times_is_there_twice_in_partitions_and_once_without() {
    for (partition, times) in [(None, &[1][..]), (Some(Partition::Month), &[1, 2])] {
        let Some((_admin, url)) = schema().await else { return };
        let store = connect(&url, partition).await.unwrap();
        let mut row = row(1);
        store.put([row.clone(), row.clone()].into()).await.unwrap();
        store.put([row.clone()].into()).await.unwrap();
        row.record.timestamp = Timestamp::from_micros(2);
        row.keys.clear();
        store.put([row.clone()].into()).await.unwrap();
        let range = RowRange::new(Selection::Environment("env".into()), Window::ALL);
        let found = store.page(range, 10).await.unwrap();
        assert_eq!(found.iter().map(|row| row.record.timestamp.as_micros()).collect::<Vec<_>>(), times);
        let first = store.get(row.record.id.as_str()).await.unwrap().unwrap();
        assert_eq!(first.record.timestamp.as_micros(), 1);
    }
}

#[tokio::test]
async fn entries_without_a_record_are_in_nobodys_way() {
    let Some((admin, url)) = schema().await else { return };
    let store = connect(&url, None).await.unwrap();
    let mut row = row(now());
    row.keys.push(row.keys[0]);
    store.put([row.clone()].into()).await.unwrap();
    admin.batch_execute("DELETE FROM record").await.unwrap();
    store.put([row.clone()].into()).await.unwrap();
    assert_eq!(all(&store).await, [row.record.timestamp.as_micros()]);
}

#[tokio::test]
async fn an_end_adds_the_keys_that_its_begin_had_not() {
    for others in [false, true] {
        let Some((_admin, url)) = schema().await else { return };
        let store = connect(&url, None).await.unwrap();
        // Begun by this process, or by another.
        let beginner = if others { connect(&url, None).await.unwrap() } else { store.clone() };
        let [first, second] = ["first", "second"].map(|part| Key::of(&[part]));
        let begun = Row { ended: false, keys: vec![first], ..row(now()) };
        beginner.put([begun.clone()].into()).await.unwrap();
        let mut ended = Row { ended: true, keys: vec![second, first], ..begun.clone() };
        ended.record.execution_time = Some(1.0);
        store.put([ended.clone()].into()).await.unwrap();
        beginner.put([begun].into()).await.unwrap();
        for key in [first, second] {
            let hits = store.find(RowRange::new(vec![key], Window::ALL), 10, 10).await.unwrap();
            let times: Vec<_> = hits.rows.iter().map(|row| (row.ended, row.record.execution_time)).collect();
            assert_eq!(times, [(true, Some(1.0))]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_found_once_whatever_is_put_between() {
    let Some((admin, url)) = schema().await else { return };
    let store = connect(&url, None).await.unwrap();
    let [many, few] = ["many", "few"].map(|part| Key::of(&[part]));
    let rows = (0..100).map(|n| Row { keys: if n % 2 == 0 { vec![many, few] } else { vec![many] }, ..row(n * 1_000) });
    store.put(rows.collect()).await.unwrap();
    let expected: Vec<i64> = (0..100).step_by(2).map(|n| n * 1_000).collect();
    // Entries that come and go everywhere: each moves the end of what is read.
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
            next = hits.behind.map(|place| range.resume(place));
        }
        assert_eq!(found, expected);
    }
    others.abort();
}
