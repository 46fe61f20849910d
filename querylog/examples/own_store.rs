//! Your own store: keeps the records of an audit log in memory, while the process runs.
//!
//! `cargo run -p tagtrail-querylog --example own_store`

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use tagtrail::{Sample, Trail};
use tagtrail_querylog::audit::{AuditRecord, Distinct, Order, Questions, RequestFilter, Scan};
use tagtrail_querylog::store::Cursor;
use tagtrail_querylog::store::{Hits, Key, Row, RowRange, Selection, Store, StoreError, WriterReport};
use tagtrail_querylog::{AuditLog, Outcome, Record, Window};
use uuid::Uuid;

#[derive(Debug)]
struct Memory {
    kept: Mutex<Kept>,
    secret: [u8; 32],
}

#[derive(Debug, Default)]
struct Kept {
    rows: BTreeMap<Cursor, Row>,
    places: HashMap<String, Cursor>,
    index: BTreeSet<(Key, Cursor)>,
}

impl Memory {
    fn new() -> Self {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        secret[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self { kept: Mutex::default(), secret }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn put(&mut self, mut row: Row) {
        // The time of the first row of an id stays.
        let first = || Cursor::of(&row.record);
        let place = self.places.entry(row.record.id.as_str().to_owned()).or_insert_with(first).clone();
        if let Some(old) = self.rows.get_mut(&place) {
            let has_time = |row: &Row| row.record.execution_time.is_some();
            let is_completed = (!old.ended && row.ended) || (!has_time(old) && has_time(&row));
            if !is_completed {
                return;
            }
            row.record.timestamp = old.record.timestamp;
            row.details = row.details.or(old.details.take());
        }
        // The keys of its start stay.
        let keys = std::mem::take(&mut row.keys).into_iter().chain(std::mem::take(&mut row.end_keys));
        self.index.extend(keys.map(|key| (key, place.clone())));
        self.rows.insert(place, row);
    }
}

fn is_one_of(row: &Row, of: &Selection) -> Result<bool, StoreError> {
    let record = &row.record;
    let (environment, member, value) = match of {
        Selection::User(email) => return Ok(record.user_email.as_ref() == Some(email)),
        Selection::Environment(environment) => return Ok(record.exec_env_id.as_ref() == Some(environment)),
        Selection::UdfId { environment, value } => (environment, &record.udf_id, value),
        Selection::UdfName { environment, value } => (environment, &record.udf_name, value),
        Selection::SharedToken { environment, value } => (environment, &record.shared_token, value),
        _ => return Err(StoreError::failed("this store does not support this query")),
    };
    Ok(record.exec_env_id.as_ref() == Some(environment) && member.as_ref() == Some(value))
}

/// Returns the entries of a range, in its direction.
fn in_order<'a, Of, T>(
    all: impl DoubleEndedIterator<Item = (&'a Cursor, T)> + 'a,
    range: &'a RowRange<Of>,
) -> Box<dyn Iterator<Item = (&'a Cursor, T)> + 'a>
where
    T: 'a,
{
    let all = all.filter(|(place, _)| **place > range.after && **place < range.before);
    if range.newest_first { Box::new(all.rev()) } else { Box::new(all) }
}

#[async_trait]
impl Store for Memory {
    async fn put(&self, rows: Arc<[Row]>, _: Option<&WriterReport>) -> Result<(), StoreError> {
        let mut kept = self.lock();
        for row in &*rows {
            kept.put(row.clone());
        }
        Ok(())
    }

    async fn get(&self, id: &str) -> Result<Option<Row>, StoreError> {
        let kept = self.lock();
        Ok(kept.places.get(id).and_then(|place| kept.rows.get(place)).cloned())
    }

    async fn page(&self, range: RowRange<Selection>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let kept = self.lock();
        let mut page = Vec::new();
        for (_, row) in in_order(kept.rows.iter(), &range) {
            if page.len() == limit {
                break;
            }
            if is_one_of(row, &range.of)? {
                page.push(row.clone());
            }
        }
        Ok(page)
    }

    async fn first_of_each(
        &self,
        range: RowRange<Selection>,
        of: Distinct,
        scan: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let member: fn(&AuditRecord) -> &Option<String> = match of {
            Distinct::Names => |record| &record.udf_name,
            Distinct::Ids => |record| &record.udf_id,
            _ => return Err(StoreError::failed("this store does not support this query")),
        };
        let mut rows = self.page(range, scan).await?;
        let mut seen = HashSet::new();
        rows.retain(|row| member(&row.record).clone().is_some_and(|value| seen.insert(value)));
        Ok(rows)
    }

    async fn find(&self, range: RowRange<Vec<Key>>, limit: usize, scan: usize) -> Result<Hits, StoreError> {
        let kept = self.lock();
        let mut hits = Hits::default();
        let entries = kept.index.iter().filter(|(key, _)| range.of.first() == Some(key)).map(|(_, place)| (place, ()));
        for (read, (place, ())) in in_order(entries, &range).enumerate() {
            if read == scan || hits.rows.len() == limit {
                // There are more after the last entry that was read.
                return Ok(hits);
            }
            hits.behind = Some(place.clone());
            if range.of.iter().all(|key| kept.index.contains(&(*key, place.clone()))) {
                hits.rows.extend(kept.rows.get(place).cloned());
            }
        }
        hits.behind = None;
        Ok(hits)
    }

    async fn have_objects(&self, objects: &[String]) -> Result<Vec<bool>, StoreError> {
        let kept = self.lock();
        let known: HashSet<_> =
            kept.rows.values().filter_map(|row| row.object.as_ref()).map(|(name, _)| name).collect();
        Ok(objects.iter().map(|object| known.contains(object)).collect())
    }

    async fn secret(&self) -> Result<[u8; 32], StoreError> {
        Ok(self.secret)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let log = AuditLog::new(Memory::new());
    for number in 0..12 {
        let mut record = Record::new(&Trail::start(Sample::Always), format!("/posts/{number}"));
        record.notes.caller.exec_env_id = Some("env1".into());
        // Once when it starts, and once when it ends.
        log.put_requests(std::slice::from_ref(&record)).await?;
        record.response.status = Some(if number % 3 == 0 { 503 } else { 200 });
        record.end(Duration::from_millis(number), Outcome::Complete);
        log.put_requests(&[record]).await?;
    }
    let log = log.scoped("env1");
    let scan = Scan::new(RequestFilter::new().status("5xx".parse()?), Window::ALL).order(Order::NewestFirst);
    let failed: Vec<Record> = log.all_requests(scan, 3).try_collect().await?;
    let failed: Vec<_> = failed.iter().map(|record| record.request.path.as_str()).collect();
    assert_eq!(failed, ["/posts/9", "/posts/6", "/posts/3", "/posts/0"]);
    println!("failed: {}", failed.join(", "));
    Ok(())
}
