//! A query with pages: [`Scan`], [`Order`].

use crate::model::page::PageToken;
use crate::model::window::Window;

/// A query whose results come in pages: what to look for, in which window, and in which order.
///
/// ```
/// use tagtrail_querylog::Timestamp;
/// use tagtrail_querylog::audit::{Order, RecordQuery, Scan};
///
/// let since: Timestamp = "2025-04-01".parse()?;
/// let scan = Scan::new(RecordQuery::OperationName("nightly/rollup".into()), since..).order(Order::NewestFirst);
/// assert_eq!((scan.window.start, scan.window.end), (since, Timestamp::MAX));
/// # Ok::<_, tagtrail_querylog::InvalidTimestamp>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Scan<Q> {
    /// What to look for: a [`RecordQuery`](crate::audit::RecordQuery) or a
    /// [`RequestFilter`](crate::audit::RequestFilter).
    pub query: Q,
    /// The window in which it started.
    pub window: Window,
    /// The order of the results.
    pub order: Order,
    /// The token of the page; `None` for the first one.
    pub after: Option<PageToken>,
}

/// The order of the results of a [`Scan`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Oldest first.
    #[default]
    OldestFirst,
    /// Newest first.
    NewestFirst,
}

impl<Q> Scan<Q> {
    /// Creates a scan of a window, oldest first, from the first page. The window is a [`Window`] or a range of
    /// [`Timestamp`](crate::Timestamp)s.
    pub fn new(query: Q, window: impl Into<Window>) -> Self {
        Self { query, window: window.into(), order: Order::default(), after: None }
    }

    /// Sets the order of the results.
    pub fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Sets the start of the page: after the one that returned this token as its [`next`](crate::audit::Page::next).
    pub fn after(self, token: PageToken) -> Self {
        Self { after: Some(token), ..self }
    }
}
