//! Why a store did not do it: [`StoreError`].

use std::error::Error;

/// Why a store did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It has too much to do right now. Try again after a while.
    #[error("the store is overloaded; try again later")]
    Overloaded,
    /// It does not take one of these rows, however often it is put. Without that one it takes the others.
    #[error("the store rejected a row: {0}")]
    Rejected(#[source] Box<dyn Error + Send + Sync>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// It failed.
    #[error("the store failed: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// It cannot be opened, or used, with this URL, path or settings.
    #[error("{0}")]
    Unusable(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// A row was rejected, for this reason.
    pub fn rejected(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Rejected(why.into())
    }

    /// The store failed, for this reason.
    pub fn failed(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(why.into())
    }

    /// The store cannot be opened, or used, for this reason.
    pub fn unusable(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unusable(why.into())
    }
}
