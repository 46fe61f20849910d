//! A range of rows, in the order of records: [`RowRange`].

use crate::model::cursor::Cursor;
use crate::model::window::Window;

/// A range of rows, and the direction in which it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowRange<Of> {
    /// Which rows, by selection or keys.
    pub of: Of,
    /// Only rows after this position.
    pub after: Cursor,
    /// Only rows before this position.
    pub before: Cursor,
    /// Whether the newest comes first.
    pub newest_first: bool,
}

impl<Of> RowRange<Of> {
    /// Creates the range of a window, oldest first.
    pub fn new(of: Of, window: Window) -> Self {
        let at = |micros| Cursor { micros, id: String::new() };
        let (after, before) = (at(window.start.as_micros()), at(window.end.as_micros().saturating_add(1)));
        Self { of, after, before, newest_first: false }
    }

    /// Sets whether the newest comes first.
    #[must_use]
    pub fn newest_first(self, newest_first: bool) -> Self {
        Self { newest_first, ..self }
    }

    /// Returns the same range of other rows.
    pub(crate) fn map<T>(self, of: impl FnOnce(Of) -> T) -> RowRange<T> {
        let Self { after, before, newest_first, .. } = self;
        RowRange { of: of(self.of), after, before, newest_first }
    }

    /// Returns the rest of the range after a position that was read.
    #[must_use]
    pub fn resume(self, position: Cursor) -> Self {
        if self.newest_first {
            Self { before: position.min(self.before), ..self }
        } else {
            Self { after: position.max(self.after), ..self }
        }
    }
}
