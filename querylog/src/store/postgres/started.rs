//! The rows that this process has started and not ended yet: [`Started`].

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::cursor::Cursor;
use crate::store::{Key, Row};

/// The maximum number of rows that are remembered, which take a few megabytes.
const MOST: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The rows that this process has started, and the keys whose entries exist since then. When the rows end, these need
/// not be put again. Forgetting a row only costs time.
pub(super) struct Started(Mutex<LruCache<Cursor, HashSet<Key>>>);

impl Default for Started {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Started {
    fn rows(&self) -> MutexGuard<'_, LruCache<Cursor, HashSet<Key>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a row has started.
    pub(super) fn has(&self, row: &Row) -> bool {
        self.rows().contains(&Cursor::of(&row.record))
    }

    /// Returns the keys of a row that has started.
    pub(super) fn keys(&self, row: &Row) -> Option<HashSet<Key>> {
        self.rows().peek(&Cursor::of(&row.record)).cloned()
    }

    /// Notes rows that are in the store now.
    pub(super) fn put(&self, rows: &[&Row]) {
        let mut known = self.rows();
        for row in rows {
            let cursor = Cursor::of(&row.record);
            if row.ended {
                known.pop(&cursor);
            } else {
                known.get_or_insert_mut(cursor, HashSet::new).extend(&row.keys);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::audit_record::AuditRecord;
    use crate::model::time::Timestamp;

    #[test]
    fn row_is_known_until_it_ends_or_is_evicted() {
        let started = Started::default();
        let row = |ended| Row::of(AuditRecord::new(Uuid::now_v7(), Timestamp::MIN), ended);
        let [one, two] = ["one", "two"].map(|part| Key::of(&[part]));
        let first = Row { keys: vec![one], ..row(false) };
        started.put(&[&first, &Row { keys: vec![two], ..first.clone() }]);
        assert_eq!(started.keys(&first), Some(HashSet::from([one, two])));
        assert_eq!(started.keys(&row(false)), None);
        started.put(&[&Row { ended: true, ..first.clone() }]);
        assert_eq!(started.keys(&first), None);
        let oldest = Row { keys: vec![one], ..row(false) };
        started.put(&[&oldest]);
        for _ in 0..MOST.get() {
            started.put(&[&row(false)]);
        }
        assert_eq!(started.keys(&oldest), None);
        assert_eq!(started.rows().len(), MOST.get());
    }
}
