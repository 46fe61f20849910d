//! Why there is no result: [`QueryError`].

use std::borrow::Cow;
use std::error::Error;

/// Why a question has no result. Its [`kind`](Self::kind) says what a caller can do, and its source why it failed.
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
    /// The store or the server has too much to do. Ask again a little later.
    Overloaded,
    /// There is no such record in the environment.
    NotFound,
    /// The caller is not known, or may not ask this.
    Forbidden,
    /// The question itself is invalid: a page token of another question, say. Change it.
    Rejected,
    /// There is no audit log at that place, or no connection to it.
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

    /// Returns what a caller can do.
    pub fn kind(&self) -> QueryErrorKind {
        self.kind
    }
}
