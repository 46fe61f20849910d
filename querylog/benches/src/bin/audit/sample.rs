//! Sample records and requests.

use std::time::Duration;

use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::{Outcome, Record, Timestamp};
use uuid::Uuid;

use crate::{BATCH, START, WRITES};

/// Returns a record of about 530 bytes as JSON.
pub(crate) fn record(number: usize) -> AuditRecord {
    let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::from_micros(START + number as i64 * 997));
    record.exec_env_id = Some(format!("env-{}", number % 10));
    record.user_id = Some(format!("user-{}", number % 1_000));
    record.user_email = Some(format!("user-{}@example.com", number % 1_000));
    record.udf_id = Some(format!("udf-{}", number % 5_000));
    record.udf_name = Some(format!("team/udf-{}", number % 500));
    record.execution_engine = Some("realtime".into());
    record.cache = Some(false);
    record.stdout = Some("x".repeat(60));
    record.stderr = Some(String::new());
    record.shared_token = Some(format!("fc_{}", number % 20_000));
    record.client_ip = Some("192.0.2.7".into());
    record
}

/// Returns a request that has started. Ten requests form a trace, and each has two tags.
pub(crate) fn request(number: usize, trails: &mut Option<Trail>) -> Record {
    if number % 10 == 0 {
        *trails = None;
    }
    let tags = || format!("project=p{},env=prod", number / 30 % 20).parse::<Tags>().unwrap_or_default();
    let trail = trails.get_or_insert_with(|| Trail::start(Sample::Always).with_tags(tags()));
    let mut record = Record::new(trail, format!("/route-{}/{number}", number % 50));
    record.start_time = Timestamp::from_micros(START + number as i64 * 997);
    record.request.route = Some(format!("/route-{}/{{id}}", number % 50));
    record.notes.caller.exec_env_id = Some(format!("env-{}", number / 20 % 10));
    record.notes.caller.user_id = Some(format!("user-{}", number % 1_000));
    record.notes.caller.user_email = Some(format!("user-{}@example.com", number % 1_000));
    record
}

pub(crate) fn completed(mut request: Record, number: usize) -> Record {
    request.response.status = Some(if number % 31 == 0 { 503 } else { 200 });
    request.end(Duration::from_micros(1_234), Outcome::Complete);
    request
}

pub(crate) fn requests(count: usize) -> Vec<Record> {
    let mut trail = None;
    (0..count).map(|number| request(number, &mut trail)).collect()
}

pub(crate) fn record_batches() -> Vec<(Vec<AuditRecord>, Vec<AuditRecord>)> {
    let started: Vec<_> = (0..WRITES).map(record).collect();
    let ended = |record: &AuditRecord| AuditRecord { execution_time: Some(0.125), ..record.clone() };
    started.chunks(BATCH).map(|some| (some.to_vec(), some.iter().map(ended).collect())).collect()
}
