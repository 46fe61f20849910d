//! The latest record of each operation: [`Latest`], [`Distinct`].

use crate::model::record_query::Whose;
use crate::model::window::Window;

/// A query for the latest record of each operation. The newest records are read, and the latest of each value is
/// returned, newest first. Records without a value count as read, but are not returned.
///
/// ```
/// use tagtrail_querylog::Timestamp;
/// use tagtrail_querylog::audit::{Distinct, Latest, Whose};
///
/// let since: Timestamp = "2025-04-01".parse()?;
/// let names = Latest::new(Distinct::Names, Whose::Environment, since..).read_at_most(5_000);
/// # Ok::<_, tagtrail_querylog::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Latest {
    /// The value that tells operations apart.
    pub of: Distinct,
    /// Whose records are read.
    pub whose: Whose,
    /// The window in which they started.
    pub window: Window,
    /// The maximum number of records that are read.
    pub read_at_most: usize,
}

impl Latest {
    /// The default of [`read_at_most`](Self::read_at_most).
    pub const DEFAULT_READ: usize = 1_000;

    /// The maximum number of records that a server reads.
    pub const MAX_READ: usize = 5_000;

    /// Creates a query.
    pub fn new(of: Distinct, whose: Whose, window: impl Into<Window>) -> Self {
        Self { of, whose, window: window.into(), read_at_most: Self::DEFAULT_READ }
    }

    /// Sets the maximum number of records that are read: 1,000 by default, and no more than
    /// [`MAX_READ`](Self::MAX_READ).
    pub fn read_at_most(self, records: usize) -> Self {
        Self { read_at_most: records, ..self }
    }
}

/// The value that tells operations apart in a [`Latest`] query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distinct {
    /// The name of the operation, which the REST API calls `udf_name`.
    Names,
    /// The id of the operation, which the REST API calls `udf_id`.
    Ids,
}
