//! A page of what was asked for, and how the next one is: [`Page`], [`PageToken`].

use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(feature = "store")]
use crate::model::cursor::Cursor;

/// A page of what a [`Scan`](crate::audit::Scan) asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items, in the order of the scan. There may be fewer than were asked for, or none, and more after them.
    pub items: Vec<T>,
    /// Where the next page starts: see [`Scan::after`](crate::audit::Scan::after). `None` as soon as nothing is left.
    pub next: Option<PageToken>,
}

impl<T> Page<T> {
    /// Creates a page, for implementations of [`Questions`](crate::audit::Questions).
    pub fn new(items: Vec<T>, next: Option<PageToken>) -> Self {
        Self { items, next }
    }
}

/// Where a page starts. A token comes from the [`Page`] before, and belongs to who gave that page (an audit log, or a
/// server) and to the same question: of what is asked, only the limit may change between pages.
///
/// It is a text, which can be kept and sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageToken(String);

impl PageToken {
    /// Returns the text.
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

/// The token of an audit log itself. A server signs what it gives away.
#[cfg(feature = "store")]
impl From<Cursor> for PageToken {
    fn from(place: Cursor) -> Self {
        Self(format!("{}.{}", place.micros, place.id))
    }
}

#[cfg(feature = "store")]
impl PageToken {
    /// Reads the token of an audit log itself.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        let (micros, id) = self.0.split_once('.')?;
        Some(Cursor { micros: micros.parse().ok()?, id: id.to_owned() })
    }
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_as_its_cursor() {
        for (micros, id) in [(0, ""), (-5, "0190163d"), (i64::MAX, "a.b"), (i64::MIN, "é")] {
            let place = Cursor { micros, id: id.into() };
            assert_eq!(PageToken::from(place.clone()).cursor(), Some(place));
        }
        for text in ["", "5", ".a", "x.a", "5,a"] {
            assert_eq!(PageToken::from(text).cursor(), None, "{text:?}");
        }
    }
}
