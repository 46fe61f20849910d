//! A range of records, and a place in it: [`Scan`], [`Cursor`].

use crate::model::audit_record::AuditRecord;
use crate::model::window::Window;

/// A place in the order of records: between two of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The time, by which records are ordered first, in microseconds since 1970 (UTC).
    pub micros: i64,
    /// The id, by which those of one time are ordered. The empty one is before all others.
    pub id: String,
}

impl Cursor {
    /// The place of a record.
    pub fn of(record: &AuditRecord) -> Self {
        Self { micros: record.timestamp.as_micros(), id: record.id.as_str().to_owned() }
    }
}

/// A range of records, and the direction it is read in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scan<Of> {
    /// Which records.
    pub of: Of,
    /// Only those after this place.
    pub after: Cursor,
    /// Only those before this place.
    pub before: Cursor,
    /// Whether the newest comes first.
    pub newest_first: bool,
}

impl<Of> Scan<Of> {
    /// All of a window, the oldest first.
    pub fn new(of: Of, window: Window) -> Self {
        let place = |micros| Cursor { micros, id: String::new() };
        let (after, before) = (place(window.start.as_micros()), place(window.end.as_micros().saturating_add(1)));
        Self { of, after, before, newest_first: false }
    }

    /// With the newest first, or the oldest.
    #[must_use]
    pub fn newest_first(self, newest_first: bool) -> Self {
        Self { newest_first, ..self }
    }

    /// What is left of the range behind a place that was read.
    #[must_use]
    pub fn behind(self, place: Cursor) -> Self {
        if self.newest_first {
            Self { before: place.min(self.before), ..self }
        } else {
            Self { after: place.max(self.after), ..self }
        }
    }

    /// The place that it is read from.
    #[cfg(feature = "audit-api")]
    pub(crate) fn begin(&self) -> &Cursor {
        if self.newest_first { &self.before } else { &self.after }
    }

    /// The same range of others.
    pub(crate) fn map<T>(self, of: impl FnOnce(Of) -> T) -> Scan<T> {
        let Self { after, before, newest_first, .. } = self;
        Scan { of: of(self.of), after, before, newest_first }
    }
}
