//! Partitions by time: [`Partition`].
//!
//! Records with a time near the present get a partition of their month or day, which is created ahead, or when its first
//! record is put. All others are in the partition `DEFAULT`: the times of imported records cannot be trusted, and could
//! otherwise create any number of partitions.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use jiff::civil::{Date, Time};
use jiff::{SignedDuration, ToSpan};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use crate::model::time::Timestamp;
use crate::store::StoreError;
use crate::store::postgres::error::failed;
use crate::store::postgres::limits::millis;

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
pub(super) struct Span {
    first: Date,
    next: Date,
}

impl Span {
    /// Returns the first microsecond after the span.
    pub(super) fn end(self) -> i64 {
        micros_of(self.next)
    }
}

const EPOCH: Date = Date::constant(1970, 1, 1);
const DAY: i64 = 86_400_000_000;
/// How long the creation or the drop of a partition waits for a lock.
const LOCK: Duration = Duration::from_secs(1);
/// For how long rows are put into the partition `DEFAULT` before the creation of theirs is tried again.
const PAUSE: Duration = Duration::from_secs(60);
/// The maximum number of rows that are moved from the partition `DEFAULT` into a new one. The table is locked meanwhile.
const MOVED: i64 = 50_000;

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
    /// When the creation of partitions was last tried that do not exist yet.
    tried: Mutex<HashMap<Span, Instant>>,
    /// Held while partitions are created.
    creating: tokio::sync::Mutex<()>,
}

impl Partitions {
    pub(super) fn new(by: Partition) -> Self {
        Self { by, known: Mutex::default(), tried: Mutex::default(), creating: tokio::sync::Mutex::default() }
    }

    pub(super) fn by(&self) -> Partition {
        self.by
    }

    /// Creates the partitions that rows of some times need, unless the tables are in use. Until they exist, these rows
    /// are put into the partition `DEFAULT`.
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
        let Ok(_creating) = timeout(LOCK, self.creating.lock()).await else { return Ok(()) };
        for span in self.missing(&spans) {
            self.try_create(connection, span).await?;
        }
        Ok(())
    }

    /// Creates the partitions of today and of what follows, and those that could not be created before. Returns whether
    /// all of them exist.
    pub(super) async fn create_ahead(&self, connection: &mut Object) -> Result<bool, StoreError> {
        let today = self.by.span(day_of(Timestamp::now().as_micros()));
        let next = self.by.span(today.next);
        let mut spans = BTreeSet::from([today, next, self.by.span(next.next)]);
        spans.extend(self.tried().keys());
        let _creating = self.creating.lock().await;
        for span in &spans {
            if !self.known().contains(span) {
                self.try_create(connection, *span).await?;
            }
        }
        Ok(self.tried().is_empty())
    }

    /// Returns the spans that have no partition, as far as is known, and whose creation was not tried recently.
    fn missing(&self, spans: &BTreeSet<Span>) -> Vec<Span> {
        let (known, tried) = (self.known(), self.tried());
        let is_due = |span: &Span| tried.get(span).is_none_or(|tried| tried.elapsed() >= PAUSE);
        spans.iter().filter(|span| !known.contains(span) && is_due(span)).copied().collect()
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Span>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tried(&self) -> MutexGuard<'_, HashMap<Span, Instant>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_create(&self, connection: &mut Object, span: Span) -> Result<(), StoreError> {
        // First, since this may be cancelled.
        self.tried().insert(span, Instant::now());
        match self.create(connection, span).await {
            Ok(true) => {
                self.known().insert(span);
                self.tried().remove(&span);
            }
            Ok(false) => {
                let suffix = self.by.suffix(span);
                tracing::warn!("audit log: too many rows of the partition {suffix} are in DEFAULT; they stay there");
            }
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                let suffix = self.by.suffix(span);
                tracing::warn!("audit log: the tables are in use, so the partition {suffix} is created later");
            }
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    /// Creates the partitions of a span, and returns whether they exist: they do not if too many rows would have to be
    /// moved into them.
    async fn create(&self, connection: &mut Object, span: Span) -> Result<bool, tokio_postgres::Error> {
        let (from, to) = (micros_of(span.first), micros_of(span.next));
        for table in ["record", "entry", "committed"] {
            let name = format!("{table}{}", self.by.suffix(span));
            let there = "SELECT 1 FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid \
                         WHERE inhparent = $1::TEXT::REGCLASS AND relname = $2::TEXT";
            if !connection.query(there, &[&table, &name]).await?.is_empty() {
                continue;
            }
            let in_default = format!(
                "SELECT 1 FROM record_default WHERE timestamp >= {from} AND timestamp < {to} OFFSET {MOVED} LIMIT 1"
            );
            if !connection.query(&in_default, &[]).await?.is_empty() {
                return Ok(false);
            }
            let created = match self.create_table(connection, table, span, false).await {
                Ok(false) => self.create_table(connection, table, span, true).await,
                created => created,
            };
            match created {
                // Created by another process meanwhile; or detached on purpose, or part of a partition that was created
                // by hand.
                Err(error)
                    if [&SqlState::DUPLICATE_TABLE, &SqlState::INVALID_OBJECT_DEFINITION]
                        .contains(&error.code().unwrap_or(&SqlState::SUCCESSFUL_COMPLETION)) => {}
                created => {
                    created?;
                }
            }
        }
        Ok(true)
    }

    /// Creates a partition of a table, and returns whether it was created: it is not if rows would have to be moved into
    /// it, unless this `moves` rows.
    ///
    /// Readers and writers continue meanwhile, except those of the partition `DEFAULT`. Its rows in this span, which were
    /// put when it was too far from the present or the table was in use, are moved. A reader that has found the
    /// partitions before would then miss them, so it must not have. Others queue for the locks while this waits for them,
    /// so it must not wait long.
    async fn create_table(
        &self,
        connection: &mut Object,
        table: &str,
        span: Span,
        moves: bool,
    ) -> Result<bool, tokio_postgres::Error> {
        let name = format!("{table}{}", self.by.suffix(span));
        let (from, to) = (micros_of(span.first), micros_of(span.next));
        let rows = format!("{table}_default WHERE timestamp >= {from} AND timestamp < {to}");
        let lock = format!(
            "SET LOCAL lock_timeout = {};
            LOCK TABLE ONLY {table} IN {} MODE;
            LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE",
            millis(LOCK),
            if moves { "ACCESS EXCLUSIVE" } else { "SHARE UPDATE EXCLUSIVE" }
        );
        let create = format!(
            "CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
            WITH moved AS (DELETE FROM {rows} RETURNING *) INSERT INTO {name} SELECT * FROM moved;
            ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
        );
        let transaction = connection.transaction().await?;
        transaction.batch_execute(&lock).await?;
        if !moves && !transaction.query(&format!("SELECT 1 FROM {rows} LIMIT 1"), &[]).await?.is_empty() {
            return Ok(false);
        }
        transaction.batch_execute(&create).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Returns the span of a partition of the table `record`, if its name has one.
    pub(super) fn span_of(&self, name: &str) -> Option<Span> {
        self.by.parse_suffix(name.strip_prefix("record")?)
    }

    /// Drops the partitions of a span.
    pub(super) async fn drop_span(&self, connection: &mut Object, span: Span) -> Result<(), tokio_postgres::Error> {
        // The drop locks the tables, and others queue for them while it waits, so it must not wait long.
        let suffix = self.by.suffix(span);
        let text = format!(
            "SET LOCAL lock_timeout = {}; DROP TABLE IF EXISTS record{suffix}; DROP TABLE IF EXISTS entry{suffix};
            DROP TABLE IF EXISTS committed{suffix}",
            millis(LOCK)
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
