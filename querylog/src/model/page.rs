//! A page of results: [`Page`], [`PageToken`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::coverage::Coverage;
#[cfg(feature = "store")]
use crate::model::cursor::Cursor;

/// A page of the results of a [`Scan`](crate::audit::Scan).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, in the order of the scan. A page may have fewer items than the limit, or none, even if more follow.
    pub items: Vec<T>,
    /// The token of the next page, for [`Scan::after`](crate::audit::Scan::after). `None` if there are no more items.
    pub next: Option<PageToken>,
    /// What is missing from the window of the scan, for pages of [requests](crate::audit::Questions::requests). `None`
    /// for pages of records, whose form has no place for it: see [`Questions::coverage`](crate::audit::Questions::coverage).
    pub coverage: Option<Coverage>,
}

impl<T> Page<T> {
    /// Creates a page, for implementations of [`Questions`](crate::audit::Questions).
    pub fn new(items: Vec<T>, next: Option<PageToken>) -> Self {
        Self { items, next, coverage: None }
    }

    /// Sets what is missing from the window of the scan.
    #[must_use]
    pub fn coverage(self, coverage: Coverage) -> Self {
        Self { coverage: Some(coverage), ..self }
    }
}

/// The start of a page. A token comes from the previous [`Page`]. It is valid only for the audit log or server that
/// returned that page, and for the same query: only the limit may differ.
///
/// A token is text, which can be stored and sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(String);

impl PageToken {
    /// Returns the token as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<String> for PageToken {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for PageToken {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Creates the token of an audit log. A server signs it before it sends it.
#[cfg(feature = "store")]
impl From<Cursor> for PageToken {
    fn from(cursor: Cursor) -> Self {
        Self(format!("{}.{}", cursor.micros, cursor.id))
    }
}

#[cfg(feature = "store")]
impl PageToken {
    /// Parses the token of an audit log.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        let (micros, id) = self.0.split_once('.')?;
        Some(Cursor { micros: micros.parse().ok()?, id: id.to_owned() })
    }
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::*;

    #[test]
    fn token_is_parsed_into_the_cursor_it_was_created_from() {
        for (micros, id) in [(0, ""), (-5, "0190163d"), (i64::MAX, "a.b"), (i64::MIN, "é")] {
            let cursor = Cursor { micros, id: id.into() };
            assert_eq!(PageToken::from(cursor.clone()).cursor(), Some(cursor));
        }
        for text in ["", "5", ".a", "x.a", "5,a"] {
            assert_eq!(PageToken::from(text).cursor(), None, "{text:?}");
        }
    }
}
