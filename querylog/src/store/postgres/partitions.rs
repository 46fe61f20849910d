//! Partitions by time: [`Partition`].
//!
//! Records with a time near the present get a partition of their month or day, which is created when its first record
//! is put. All others are in the partition `DEFAULT`: the times of imported records cannot be trusted, and could
//! otherwise create any number of partitions.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::Object;
use jiff::civil::{Date, Time};
use jiff::{SignedDuration, ToSpan};
use tokio_postgres::error::SqlState;

use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::postgres::error::failed;

/// The partitioning of the tables of a [`Postgres`](crate::store::Postgres) store, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Partition {
    /// By month, from January 2000 to two months from now.
    Month,
    /// By day, from a year ago to two months from now.
    Day,
}

impl Partition {
    /// Returns the number in the table `about`.
    pub(super) fn number(partition: Option<Self>) -> i64 {
        match partition {
            None => 0,
            Some(Self::Month) => 1,
            Some(Self::Day) => 2,
        }
    }

    pub(super) fn from_number(number: i64) -> Result<Option<Self>, StoreError> {
        let mut all = [None, Some(Self::Month), Some(Self::Day)].into_iter();
        let unknown =
            "the partitioning of the tables is unknown to this version of tagtrail-querylog; update this program";
        all.find(|partition| Self::number(*partition) == number).ok_or_else(|| StoreError::unusable(unknown))
    }

    /// Returns the first and the last day that have partitions.
    fn days(self, today: Date) -> (Date, Date) {
        let first = match self {
            Self::Month => Date::constant(2000, 1, 1),
            Self::Day => today.saturating_sub(1.year()),
        };
        (first, today.saturating_add(2.months()))
    }

    /// Returns the span that contains a day.
    fn span(self, day: Date) -> Span {
        match self {
            Self::Month => Span { first: day.first_of_month(), next: day.first_of_month().saturating_add(1.month()) },
            Self::Day => Span { first: day, next: day.saturating_add(1.day()) },
        }
    }

    /// Returns what follows the name of the table in the name of a partition.
    fn suffix(self, span: Span) -> String {
        let (year, month, day) = (span.first.year(), span.first.month(), span.first.day());
        match self {
            Self::Month => format!("_{year:04}_{month:02}"),
            Self::Day => format!("_{year:04}_{month:02}_{day:02}"),
        }
    }

    fn parse_suffix(self, suffix: &str) -> Option<Span> {
        let mut parts = suffix.strip_prefix('_')?.split('_');
        let (year, month) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let day = parts.next().map_or(Some(1), |day| day.parse().ok())?;
        let span = self.span(Date::new(year, month, day).ok()?);
        (self.suffix(span) == suffix).then_some(span)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Month => "month",
            Self::Day => "day",
        })
    }
}

/// The days of a partition. The end is exclusive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Span {
    first: Date,
    next: Date,
}

const EPOCH: Date = Date::constant(1970, 1, 1);
const DAY: i64 = 86_400_000_000;
/// The number of rows of the partition `DEFAULT` that are deleted at a time.
const DELETED: i64 = 2_000;

fn day_of(micros: i64) -> Date {
    EPOCH.saturating_add(SignedDuration::from_hours(micros.div_euclid(DAY) * 24))
}

/// Returns the first microsecond of a day.
fn micros_of(day: Date) -> i64 {
    let midnight = day.to_datetime(Time::midnight());
    midnight.duration_since(EPOCH.to_datetime(Time::midnight())).as_secs() * 1_000_000
}

/// The partitions of the three tables, and those of them that this process knows to exist.
pub(super) struct Partitions {
    by: Partition,
    known: Mutex<HashSet<Span>>,
    /// Held while partitions are created.
    creating: tokio::sync::Mutex<()>,
}

impl Partitions {
    pub(super) fn new(by: Partition) -> Self {
        Self { by, known: Mutex::default(), creating: tokio::sync::Mutex::default() }
    }

    pub(super) fn by(&self) -> Partition {
        self.by
    }

    /// Creates the partitions that rows of some times need.
    pub(super) async fn create_for(
        &self,
        connection: &mut Object,
        times: impl Iterator<Item = i64>,
    ) -> Result<(), StoreError> {
        let days: HashSet<i64> = times.map(|micros| micros.div_euclid(DAY)).collect();
        let (first, last) = self.by.days(day_of(Timestamp::now().as_micros()));
        let days = days.into_iter().map(|day| day_of(day * DAY)).filter(|day| (first..=last).contains(day));
        let spans: BTreeSet<Span> = days.map(|day| self.by.span(day)).collect();
        if self.missing(&spans).is_empty() {
            return Ok(());
        }
        let _creating = self.creating.lock().await;
        for span in self.missing(&spans) {
            self.create(connection, span).await.map_err(failed)?;
            self.known().insert(span);
        }
        Ok(())
    }

    fn missing(&self, spans: &BTreeSet<Span>) -> Vec<Span> {
        let known = self.known();
        spans.iter().filter(|span| !known.contains(span)).copied().collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<Span>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn create(&self, connection: &mut Object, span: Span) -> Result<(), tokio_postgres::Error> {
        let (from, to) = (micros_of(span.first), micros_of(span.next));
        for table in ["record", "entry", "committed"] {
            let name = format!("{table}{}", self.by.suffix(span));
            let there = "SELECT 1 FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
                         WHERE inhparent = $1::TEXT::REGCLASS AND relname = $2::TEXT";
            if !connection.query(there, &[&table, &name]).await?.is_empty() {
                continue;
            }
            // Readers and writers continue meanwhile, except those of the partition `DEFAULT`. Its rows in this span,
            // which were put when it was too far from the present, are moved.
            let text = format!(
                "LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE;
                LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE;
                CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
                WITH moved AS (
                    DELETE FROM {table}_default WHERE timestamp >= {from} AND timestamp < {to} RETURNING *
                ) INSERT INTO {name} SELECT * FROM moved;
                ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
            );
            let transaction = connection.transaction().await?;
            let created = match transaction.batch_execute(&text).await {
                Ok(()) => transaction.commit().await,
                Err(error) => Err(error),
            };
            match created {
                // Created by another process meanwhile; or detached on purpose, or part of a partition that was created
                // by hand.
                Err(error)
                    if [&SqlState::DUPLICATE_TABLE, &SqlState::INVALID_OBJECT_DEFINITION]
                        .contains(&error.code().unwrap_or(&SqlState::SUCCESSFUL_COMPLETION)) => {}
                created => created?,
            }
        }
        Ok(())
    }

    /// Drops the partitions whose records all started before a time, deletes such records from the partition `DEFAULT`,
    /// and returns the number of partitions that were dropped.
    pub(super) async fn drop_before(&self, connection: &mut Object, before: Timestamp) -> Result<u64, StoreError> {
        let names = "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
                     WHERE inhparent = 'record'::REGCLASS ORDER BY relname";
        let names = connection.query(names, &[]).await.map_err(failed)?;
        let mut dropped = 0;
        for name in &names {
            let name: &str = name.try_get(0).map_err(failed)?;
            let Some(span) = name.strip_prefix("record").and_then(|suffix| self.by.parse_suffix(suffix)) else {
                continue;
            };
            if micros_of(span.next) <= before.as_micros() {
                self.drop(connection, span).await.map_err(|error| match error.code() {
                    Some(&SqlState::LOCK_NOT_AVAILABLE) => StoreError::Overloaded,
                    _ => failed(error),
                })?;
                dropped += 1;
            }
        }
        // The entries come first, so that none is left without its record.
        for (table, key) in [
            ("committed_default", "seq, timestamp, id"),
            ("entry_default", "key, timestamp, id"),
            ("record_default", "timestamp, id"),
        ] {
            let delete = format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE timestamp < $1 LIMIT {DELETED})"
            );
            while connection.execute(&delete, &[&before.as_micros()]).await.map_err(failed)? > 0 {}
        }
        Ok(dropped)
    }

    async fn drop(&self, connection: &mut Object, span: Span) -> Result<(), tokio_postgres::Error> {
        // The drop locks the tables, and others queue for them while it waits, so it must not wait long.
        let suffix = self.by.suffix(span);
        let text = format!(
            "SET LOCAL lock_timeout = '1s'; DROP TABLE IF EXISTS record{suffix}; DROP TABLE IF EXISTS entry{suffix};
            DROP TABLE IF EXISTS committed{suffix}"
        );
        let transaction = connection.transaction().await?;
        transaction.batch_execute(&text).await?;
        transaction.commit().await?;
        self.known().remove(&span);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_months_or_days_in_utc() {
        for (by, text, suffix, first, next) in [
            (Partition::Month, "2000-01-31T23:59:59.999999", "_2000_01", "2000-01-01", "2000-02-01"),
            (Partition::Month, "2025-12-01", "_2025_12", "2025-12-01", "2026-01-01"),
            (Partition::Day, "2024-02-29T12:00", "_2024_02_29", "2024-02-29", "2024-03-01"),
            (Partition::Day, "1969-12-31T23:59:59.999999", "_1969_12_31", "1969-12-31", "1970-01-01"),
        ] {
            let micros = |text: &str| text.parse::<Timestamp>().unwrap().as_micros();
            let span = by.span(day_of(micros(text)));
            assert_eq!((micros_of(span.first), micros_of(span.next)), (micros(first), micros(next)), "{text}");
            assert_eq!(by.suffix(span), suffix);
            assert!(by.parse_suffix(suffix) == Some(span), "{suffix}");
        }
        for other in ["_default", "", "_2000", "_2000_13", "_2000_1", "_2000_01_01", "_old"] {
            assert!(Partition::Month.parse_suffix(other).is_none(), "{other}");
        }
        assert!(Partition::Day.parse_suffix("_2000_01").is_none());
    }

    #[test]
    fn every_time_has_a_day_and_only_near_days_have_partitions() {
        assert_eq!(micros_of(day_of(Timestamp::MIN.as_micros())), Timestamp::MIN.as_micros());
        assert_eq!(day_of(Timestamp::MAX.as_micros()), Date::constant(9999, 12, 31));
        let today = Date::constant(2026, 11, 22);
        assert_eq!(Partition::Month.days(today), (Date::constant(2000, 1, 1), Date::constant(2027, 1, 22)));
        assert_eq!(Partition::Day.days(today), (Date::constant(2025, 11, 22), Date::constant(2027, 1, 22)));
    }
}
