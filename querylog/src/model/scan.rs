//! What is asked page by page: [`Scan`], [`Order`].

use crate::model::page::PageToken;
use crate::model::window::Window;

/// A question that is asked page by page: what is looked for, when, and in which order.
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
    /// What is looked for: a [`RecordQuery`](crate::audit::RecordQuery) or a [`RequestFilter`](crate::audit::RequestFilter).
    pub query: Q,
    /// When it started.
    pub window: Window,
    /// Which end comes first.
    pub order: Order,
    /// Where the page starts, if it is not the first one.
    pub after: Option<PageToken>,
}

/// Which end of a window comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The oldest first.
    #[default]
    OldestFirst,
    /// The newest first.
    NewestFirst,
}

impl<Q> Scan<Q> {
    /// Creates a scan of a window, the oldest first, from its first page on. A window is a [`Window`] or a range of
    /// [`Timestamp`](crate::Timestamp)s.
    pub fn new(query: Q, window: impl Into<Window>) -> Self {
        Self { query, window: window.into(), order: Order::default(), after: None }
    }

    /// Sets which end comes first.
    pub fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Sets where the page starts: after the page that has this token as its [`next`](crate::audit::Page::next).
    pub fn after(self, token: PageToken) -> Self {
        Self { after: Some(token), ..self }
    }
}
