//! What this process has begun, and not ended yet.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::model::cursor::Cursor;
use crate::store::{Key, Row};

/// How many are remembered at most: a few megabytes.
const MOST: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The rows that this process has begun, and the keys whose entries are there since. When they end, these need not be
/// put again. To forget one costs some work, and no more.
pub(super) struct Begun(Mutex<LruCache<Cursor, HashSet<Key>>>);

impl Default for Begun {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Begun {
    fn rows(&self) -> MutexGuard<'_, LruCache<Cursor, HashSet<Key>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of a row that has begun.
    pub(super) fn keys(&self, row: &Row) -> Option<HashSet<Key>> {
        self.rows().peek(&Cursor::of(&row.record)).cloned()
    }

    /// Takes note of rows that are in the store now.
    pub(super) fn put(&self, rows: &[&Row]) {
        let mut known = self.rows();
        for row in rows {
            let place = Cursor::of(&row.record);
            if row.ended {
                known.pop(&place);
            } else {
                known.get_or_insert_mut(place, HashSet::new).extend(&row.keys);
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
    fn is_known_until_it_ends_and_the_number_has_a_bound() {
        let begun = Begun::default();
        let row = |ended| Row::of(AuditRecord::new(Uuid::now_v7(), Timestamp::MIN), ended);
        let [one, two] = ["one", "two"].map(|part| Key::of(&[part]));
        let first = Row { keys: vec![one], ..row(false) };
        begun.put(&[&first, &Row { keys: vec![two], ..first.clone() }]);
        assert_eq!(begun.keys(&first), Some(HashSet::from([one, two])));
        assert_eq!(begun.keys(&row(false)), None);
        begun.put(&[&Row { ended: true, ..first.clone() }]);
        assert_eq!(begun.keys(&first), None);
        let oldest = Row { keys: vec![one], ..row(false) };
        begun.put(&[&oldest]);
        for _ in 0..MOST.get() {
            begun.put(&[&row(false)]);
        }
        assert_eq!(begun.keys(&oldest), None);
        assert_eq!(begun.rows().len(), MOST.get());
    }
}
