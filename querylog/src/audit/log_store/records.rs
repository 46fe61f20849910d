//! Records on their way to a store: [`Records`].

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::audit::row::row_of;
use crate::model::audit_record::AuditRecord;
use crate::model::record::Record;
use crate::queue::batch::{Batch, Items, Progress};
use crate::store::Row;

/// How many rows are put at once: enough that a commit costs little, and few enough that other writers do not wait long.
const MAX_ROWS: usize = 8_192;

/// Records on their way to a store, and what became of each.
#[derive(Debug, Default)]
pub(super) struct Records {
    waiting: Vec<Record>,
    bytes: usize,
    requests: u64,
    prepared: Option<Prepared>,
}

/// The rows of records. A request that started and ended in one batch has one row.
#[derive(Debug)]
pub(super) struct Prepared {
    /// For each record, in order, the index of its row, and whether it is counted.
    row_numbers: Vec<(usize, bool)>,
    /// The rows, until their long values are stored,
    pub(super) making: Vec<Row>,
    /// and then.
    pub(super) rows: Arc<[Row]>,
    /// Which rows are neither in the store, nor rejected, nor in the spool. The first ones are last.
    pub(super) todo: Vec<Range<usize>>,
    pub(super) rejected: HashSet<usize>,
    spooled: u64,
    pub(super) is_acknowledged_later: bool,
    /// The columns of rows whose long values are moved to the object store, with these values, for the spool.
    pub(super) long: HashMap<usize, AuditRecord>,
    /// The numbers of records that were spooled, and then rejected, which is counted.
    rejected_later: Vec<u64>,
}

impl Records {
    pub(super) fn of(records: Vec<Record>) -> Self {
        let mut all = Self::default();
        for record in records {
            all.push(record, usize::MAX);
        }
        all
    }

    /// Makes the rows, once.
    pub(super) fn prepare(&mut self) -> &mut Prepared {
        let waiting = &mut self.waiting;
        self.prepared.get_or_insert_with(|| Prepared::of(std::mem::take(waiting)))
    }

    /// What was spooled of them is in the store, but for the records with these numbers, and so is the rest.
    pub(super) fn stored(&mut self, rejected: Vec<u64>) {
        let prepared = self.prepare();
        (prepared.is_acknowledged_later, prepared.rejected_later) = (false, rejected);
    }
}

impl Batch for Records {
    type Item<'a> = Record;

    fn weigh(record: &Record) -> usize {
        record.weight()
    }

    fn is_counted(record: &Record) -> bool {
        record.has_ended()
    }

    fn push(&mut self, record: Record, _limit: usize) {
        self.bytes += record.weight();
        self.requests += u64::from(record.has_ended());
        self.waiting.push(record);
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn len(&self) -> u64 {
        self.prepared.as_ref().map_or(self.waiting.len(), |prepared| prepared.row_numbers.len()) as u64
    }

    fn requests(&self) -> u64 {
        self.requests
    }

    fn progress(&self) -> Progress {
        let Some(prepared) = &self.prepared else {
            let unwritten = Items { numbers: (0..self.len()).collect(), requests: self.requests };
            return Progress { unwritten, ..Progress::default() };
        };
        let mut rejected = prepared.rejected();
        rejected.numbers.extend(&prepared.rejected_later);
        rejected.numbers.sort_unstable();
        Progress {
            unwritten: prepared.items(|row| prepared.todo.iter().any(|rows| rows.contains(&row))),
            rejected,
            spooled: prepared.spooled,
            is_acknowledged_later: prepared.is_acknowledged_later,
        }
    }
}

impl Prepared {
    fn of(records: Vec<Record>) -> Self {
        let mut latest: Vec<Record> = Vec::with_capacity(records.len());
        let mut index_of = HashMap::with_capacity(records.len());
        let mut row_numbers = Vec::with_capacity(records.len());
        for record in records {
            let index = *index_of.entry(record.id).or_insert(latest.len());
            row_numbers.push((index, record.has_ended()));
            match latest.get_mut(index) {
                None => latest.push(record),
                Some(start) if !start.has_ended() && record.has_ended() => *start = record,
                Some(_) => {}
            }
        }
        // The first rows are put first.
        let starts = (0..latest.len()).step_by(MAX_ROWS);
        let todo = starts.map(|start| start..latest.len().min(start + MAX_ROWS)).rev().collect();
        let making = latest.into_iter().map(row_of).collect();
        Self {
            row_numbers,
            making,
            rows: [].into(),
            todo,
            rejected: HashSet::new(),
            spooled: 0,
            is_acknowledged_later: false,
            long: HashMap::new(),
            rejected_later: Vec::new(),
        }
    }

    /// The items that the store has rejected before the others were spooled.
    pub(super) fn rejected(&self) -> Items {
        self.items(|row| self.rejected.contains(&row))
    }

    /// Returns the rows, whether or not their long values are stored.
    pub(super) fn all(&self) -> &[Row] {
        if self.making.is_empty() { &self.rows } else { &self.making }
    }

    fn items(&self, is_one: impl Fn(usize) -> bool) -> Items {
        let numbered = (0..).zip(&self.row_numbers).filter(|(_, (row, _))| is_one(*row));
        let mut items = Items::default();
        for (number, (_, is_counted)) in numbered {
            items.numbers.push(number);
            items.requests += u64::from(*is_counted);
        }
        items
    }

    /// Returns the numbers of the records of each row of a range.
    pub(super) fn numbers_of(&self, rows: &Range<usize>) -> Vec<Vec<u64>> {
        let mut numbers = vec![Vec::new(); rows.len()];
        for (number, (row, _)) in (0..).zip(&self.row_numbers) {
            if rows.contains(row) {
                numbers[row - rows.start].push(number);
            }
        }
        numbers
    }

    /// The first rows that are left to do are in the spool, which counts as done: this many.
    pub(super) fn spooled(&mut self, rows: usize) {
        let Some(mut range) = self.todo.pop() else { return };
        let done = range.start..range.end.min(range.start + rows);
        self.spooled += self.items(|row| done.contains(&row)).requests;
        range.start = done.end;
        if !range.is_empty() {
            self.todo.push(range);
        }
    }
}
