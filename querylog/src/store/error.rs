//! The error of a store: [`StoreError`].

use std::error::Error;

/// The error of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store is overloaded, or took longer than it may. Retry after a short delay.
    #[error("the store is overloaded; retry shortly")]
    Overloaded,
    /// The store rejects one of the rows, and will reject it again. It accepts the others without that one.
    #[error("the store rejected a row: {0}")]
    Rejected(#[source] Box<dyn Error + Send + Sync>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The store failed, for example because its server is away. A retry may succeed later.
    #[error("the store failed: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// The store cannot be opened or used with this URL, path or these settings, or by this version of the program: its
    /// tables are of a later one. A retry fails until that is changed.
    #[error("{0}")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// Creates the error for a row that is rejected.
    pub fn rejected(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Rejected(why.into())
    }

    /// Creates the error for a failure of the store.
    pub fn failed(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(why.into())
    }

    /// Creates the error for a store that cannot be opened or used.
    pub fn unusable(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unusable(why.into())
    }
}
