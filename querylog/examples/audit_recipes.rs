//! Two recipes for an audit log: which operations were used in the last week, and which of them fail.
//!
//! `cargo run -p tagtrail-querylog --example audit_recipes`

use std::collections::HashMap;
use std::error::Error;

use futures_util::TryStreamExt;
use tagtrail_querylog::access::Tokens;
use tagtrail_querylog::audit::{AuditRecord, Distinct, Latest, Order, QueryError, Questions, RecordQuery, Scan, Whose};
use tagtrail_querylog::client::AuditClient;
use tagtrail_querylog::server::AuditApi;
use tagtrail_querylog::{AuditLog, Timestamp, Window};
use tokio::net::TcpListener;
use uuid::Uuid;

const DAY: i64 = 24 * 3_600 * 1_000_000;

/// Returns seven windows of a day, newest first.
fn week(now: Timestamp) -> impl Iterator<Item = Window> {
    let ago = move |days: i64| Timestamp::from_micros(now.as_micros() - days * DAY);
    (0..7).map(move |day| (ago(day + 1)..=ago(day)).into())
}

/// Returns the latest record of each name in the last week, newest first.
async fn recently_used(log: &dyn Questions, now: Timestamp) -> Result<Vec<AuditRecord>, QueryError> {
    let mut latest = HashMap::new();
    for window in week(now) {
        let question = Latest::new(Distinct::Names, Whose::Own, window).read_at_most(5_000);
        for record in log.latest(&question).await? {
            latest.entry(record.udf_name.clone()).or_insert(record);
        }
    }
    let mut records: Vec<_> = latest.into_values().collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.timestamp));
    Ok(records)
}

#[derive(Debug)]
struct Failing {
    name: String,
    failure_count: usize,
    last_failure: Timestamp,
    sample_error: Option<String>,
}

/// Returns the operations that failed in the last week, most failures first.
async fn failing(log: &dyn Questions, now: Timestamp) -> Result<Vec<Failing>, QueryError> {
    let mut failing: HashMap<String, Failing> = HashMap::new();
    for window in week(now) {
        let scan = Scan::new(RecordQuery::Environment, window).order(Order::NewestFirst);
        let mut records = log.all_records(scan, 300);
        while let Some(record) = records.try_next().await? {
            let error = record.stderr.filter(|text| !text.trim().is_empty());
            if error.is_none() && record.execution_time.is_some() {
                continue;
            }
            let name = record.udf_name.unwrap_or_default();
            let entry = failing.entry(name.clone()).or_insert(Failing {
                name,
                failure_count: 0,
                last_failure: record.timestamp,
                sample_error: None,
            });
            entry.failure_count += 1;
            entry.last_failure = entry.last_failure.max(record.timestamp);
            entry.sample_error = entry.sample_error.take().or(error);
        }
    }
    let mut failing: Vec<_> = failing.into_values().collect();
    failing.sort_by(|one, other| other.failure_count.cmp(&one.failure_count).then(one.name.cmp(&other.name)));
    Ok(failing)
}

/// Returns nine days of records: every third of "rollup" fails, and every fifth of "report" never ends.
fn records(now: Timestamp) -> Vec<AuditRecord> {
    (0..900)
        .map(|number| {
            let ago = Timestamp::from_micros(now.as_micros() - number * DAY / 100);
            let mut record = AuditRecord::new(Uuid::now_v7(), ago);
            record.exec_env_id = Some("env".into());
            record.user_email = Some("ada@example.com".into());
            record.execution_time = Some(0.25);
            if number % 2 == 0 {
                record.udf_name = Some("team/rollup".into());
                record.stderr = (number % 3 == 0).then(|| format!("row {number} is invalid"));
            } else {
                record.udf_name = Some("report".into());
                record.execution_time = (number % 5 != 0).then_some(1.5);
                record.stderr = Some(" \n".into());
            }
            record
        })
        .collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let log = AuditLog::open(folder.path().join("audit.db"))?;
    let tokens: Tokens =
        r#"{"tokens": [{"token": "secret", "kind": "user", "user_id": "u", "user_email": "ada@example.com",
                                         "exec_env_id": "env"}]}"#
            .parse()?;
    let api = AuditApi::new(log.clone(), tokens).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = AuditClient::new(&format!("http://{}/v1", listener.local_addr()?), "secret")?;
    let server = tokio::spawn(async move { axum::serve(listener, api.router_with_fallback()).await });

    let now = Timestamp::now();
    log.put(records(now)).await?;

    println!("Recently used:");
    let used = recently_used(&client, now).await?;
    for record in &used {
        println!("  {} {}", record.timestamp, record.udf_name.as_deref().unwrap_or("no name"));
    }
    println!("Failing:");
    let failing = failing(&client, now).await?;
    for Failing { name, failure_count, last_failure, sample_error } in &failing {
        println!("  {name}: {failure_count}, last at {last_failure}, such as {sample_error:?}");
    }

    let names: Vec<_> = used.iter().filter_map(|record| record.udf_name.as_deref()).collect();
    assert_eq!(names, ["team/rollup", "report"]);
    // Both ends of a window are inclusive: a record on the boundary of two windows counts in both.
    let count = |name: &str| failing.iter().find(|failing| failing.name == name).map(|failing| failing.failure_count);
    assert!(count("team/rollup") >= Some(117) && count("report") == Some(70));
    assert_eq!(failing[0].sample_error.as_deref(), Some("row 0 is invalid"));
    server.abort();
    Ok(())
}
