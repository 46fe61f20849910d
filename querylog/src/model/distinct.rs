//! The latest record of each operation: [`Latest`], [`Distinct`].

use crate::model::record_query::Whose;
use crate::model::window::Window;

/// A question for the latest record of each operation: the newest records are read, and the latest of each value is
/// returned, the newest first. Records without the value count as read, and are not returned.
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
    /// The value of which the latest records are asked for.
    pub of: Distinct,
    /// Whose records are read.
    pub whose: Whose,
    /// When they started.
    pub window: Window,
    /// How many of them are read, at most.
    pub read_at_most: usize,
}

impl Latest {
    /// How many records are read unless [`read_at_most`](Self::read_at_most) says otherwise.
    pub const DEFAULT_READ: usize = 1_000;

    /// How many records a server reads, at most.
    pub const MAX_READ: usize = 5_000;

    /// Creates the question.
    pub fn new(of: Distinct, whose: Whose, window: impl Into<Window>) -> Self {
        Self { of, whose, window: window.into(), read_at_most: Self::DEFAULT_READ }
    }

    /// Sets how many records are read: 1,000 by default. More than [`MAX_READ`](Self::MAX_READ) are that many.
    pub fn read_at_most(self, records: usize) -> Self {
        Self { read_at_most: records, ..self }
    }
}

/// Of what the latest record is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distinct {
    /// Of each operation's name, which the REST API calls `udf_name`.
    Names,
    /// Of each operation's id, which the REST API calls `udf_id`.
    Ids,
}
