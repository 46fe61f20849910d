//! Putting rows into the tables: [`Put`].

use std::collections::{HashMap, HashSet};

use deadpool_postgres::{Object, Transaction};
use futures_util::future::join;

use crate::model::writer_status::WriterReport;
use crate::store::postgres::partitions::Partition;
use crate::store::postgres::rows::Columns;
use crate::store::postgres::started::Started;
use crate::store::postgres::{statements, tables, writers};
use crate::store::{Key, Row};

/// The maximum number of rows of a statement.
const STATEMENT: usize = 2_000;

/// What putting rows depends on.
#[derive(Clone, Copy)]
pub(super) struct Put<'a> {
    pub(super) started: &'a Started,
    pub(super) partition: Option<Partition>,
    pub(super) report: Option<&'a WriterReport>,
}

impl Put<'_> {
    /// Puts rows. With `trusts`, a new row is expected to have no entries, so none are looked for. Returns the
    /// version of the tables. The rows were not put if that is not the one of this crate: another process has migrated
    /// the tables meanwhile.
    pub(super) async fn put_rows(
        self,
        connection: &mut Object,
        rows: &[&Row],
        trusts: bool,
    ) -> Result<i64, tokio_postgres::Error> {
        let transaction = connection.transaction().await?;
        // Both are sent to the server at once. Tables of a later version may be a reason why the second one fails.
        let (version, is_put) =
            join(writers::update(&transaction, self.report), self.put_all(&transaction, rows, trusts)).await;
        let version = version?;
        if version == tables::VERSION {
            is_put?;
            transaction.commit().await?;
        }
        Ok(version)
    }

    async fn put_all(
        self,
        transaction: &Transaction<'_>,
        rows: &[&Row],
        trusts: bool,
    ) -> Result<(), tokio_postgres::Error> {
        let mut rows: Vec<&Row> = rows.to_vec();
        while !rows.is_empty() {
            // A statement has each id once, and in a fixed order, so that statements do not deadlock.
            let mut ids = HashSet::new();
            let (mut some, mut rest) = (Vec::new(), Vec::new());
            for row in rows {
                let is_next = ids.len() < STATEMENT && ids.insert(row.record.id.as_str());
                if is_next { some.push(row) } else { rest.push(row) }
            }
            some.sort_unstable_by(|one, other| one.record.id.cmp(&other.record.id));
            if trusts {
                some = self.put_new(transaction, some).await?;
                some = self.end_started(transaction, some).await?;
            }
            if !some.is_empty() {
                let statement = transaction.prepare_cached(&statements::put(self.partition)).await?;
                let put = transaction.query(&statement, &Columns::of(&some).parameters()).await?;
                // An existing row keeps its time, which is that of its entries.
                let times = put.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
                let times: HashMap<&[u8], i64> = times.collect::<Result<_, tokio_postgres::Error>>()?;
                let time = |row: &Row| times.get(row.record.id.as_str().as_bytes()).copied();
                put_entries(transaction, &some, statements::PUT_ENTRIES, time, |row| self.started.keys(row)).await?;
            }
            rows = rest;
        }
        Ok(())
    }

    /// Puts the rows that are new, and returns the others.
    async fn put_new<'a>(
        self,
        transaction: &Transaction<'_>,
        rows: Vec<&'a Row>,
    ) -> Result<Vec<&'a Row>, tokio_postgres::Error> {
        let unknown: Vec<&Row> = rows.iter().filter(|row| !self.started.has(row)).copied().collect();
        if unknown.is_empty() {
            return Ok(rows);
        }
        let statement = transaction.prepare_cached(&statements::put_new(self.partition)).await?;
        let new = transaction.query(&statement, &Columns::of(&unknown).parameters()).await?;
        let new: HashSet<&[u8]> = new.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let is_new = |row: &&Row| new.contains(row.record.id.as_str().as_bytes());
        let (new, others): (Vec<_>, _) = rows.into_iter().partition(is_new);
        let time = |row: &Row| Some(row.record.timestamp.as_micros());
        put_entries(transaction, &new, statements::PUT_NEW_ENTRIES, time, |_| None).await?;
        Ok(others)
    }

    /// Ends the rows that this process has started, which is an update, and returns the others.
    async fn end_started<'a>(
        self,
        transaction: &Transaction<'_>,
        rows: Vec<&'a Row>,
    ) -> Result<Vec<&'a Row>, tokio_postgres::Error> {
        let is_ours = |row: &&Row| row.ended && self.started.has(row);
        let started: Vec<&Row> = rows.iter().copied().filter(is_ours).collect();
        if started.is_empty() {
            return Ok(rows);
        }
        let statement = transaction.prepare_cached(&statements::end()).await?;
        let ended = transaction.query(&statement, &Columns::of(&started).parameters()).await?;
        let ended: HashSet<&[u8]> = ended.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let has_ended = |row: &&Row| ended.contains(row.record.id.as_str().as_bytes());
        let (ended, others): (Vec<_>, _) = rows.into_iter().partition(has_ended);
        let time = |row: &Row| Some(row.record.timestamp.as_micros());
        put_entries(transaction, &ended, statements::PUT_NEW_ENTRIES, time, |row| self.started.keys(row)).await?;
        Ok(others)
    }
}

/// Puts the entries of rows at their times, except those that exist since the rows started.
async fn put_entries(
    transaction: &Transaction<'_>,
    rows: &[&Row],
    statement: &str,
    time: impl Fn(&Row) -> Option<i64>,
    started: impl Fn(&Row) -> Option<HashSet<Key>>,
) -> Result<(), tokio_postgres::Error> {
    let mut entries = Vec::new();
    for row in rows {
        // A row that was not changed keeps its entries.
        let Some(time) = time(row) else { continue };
        let there = started(row).unwrap_or_default();
        let keys = row.keys.iter().chain(&row.end_keys).filter(|key| !there.contains(key));
        entries.extend(keys.map(|key| (key, time, row.record.id.as_str().as_bytes())));
    }
    if entries.is_empty() {
        return Ok(());
    }
    entries.sort_unstable();
    entries.dedup();
    let keys: Vec<&[u8]> = entries.iter().map(|(key, ..)| key.as_bytes().as_slice()).collect();
    let times: Vec<i64> = entries.iter().map(|(_, time, _)| *time).collect();
    let ids: Vec<&[u8]> = entries.iter().map(|(.., id)| *id).collect();
    let statement = transaction.prepare_cached(statement).await?;
    transaction.execute(&statement, &[&keys, &times, &ids]).await.map(drop)
}
