//! The error of a query: [`QueryError`].

use std::borrow::Cow;
use std::error::Error;

/// The error of a query. Its [`kind`](Self::kind) says what a caller can do, and its source why the query failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    kind: QueryErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a caller can do about a [`QueryError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryErrorKind {
    /// The store or the server is overloaded. Retry after a short delay.
    Overloaded,
    /// The environment has no such record.
    NotFound,
    /// The caller is unknown, or may not run this query.
    Forbidden,
    /// The query is invalid, for example because its page token belongs to another query.
    Rejected,
    /// The audit log cannot be reached, or there is none at this address.
    Unreachable,
    /// The store or the server failed.
    Failed,
}

impl QueryError {
    /// Creates an error, for implementations of [`Questions`](crate::audit::Questions).
    pub fn new(kind: QueryErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Sets the error that led to this one.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Returns the kind, which says what a caller can do.
    pub fn kind(&self) -> QueryErrorKind {
        self.kind
    }
}
