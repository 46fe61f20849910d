//! What can be wrong with a `traceparent`, or with an id.

use std::fmt;

use http::header::HeaderName;

use super::{LENGTH, TRACERESPONSE};

/// The error of an invalid `traceparent` header.
///
/// The message names the rule and the position, which counts characters from 1. It contains nothing of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {}: {kind}", self.header_name())]
pub struct InvalidTraceParent {
    is_traceresponse: bool,
    kind: ErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ErrorKind {
    #[error("expected a single field line, found several")]
    SeveralLines,
    #[error("expected at least {LENGTH} characters, found {length}")]
    TooShort { length: usize },
    #[error("expected {LENGTH} characters in version 00, found {length}")]
    TooLong { length: usize },
    #[error("expected a lowercase hexadecimal digit at character {position}")]
    ExpectedDigit { position: usize },
    #[error("expected '-' at character {position}")]
    ExpectedDash { position: usize },
    #[error("version ff is forbidden")]
    VersionFf,
    #[error("the {0} is all zero")]
    Zero(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    TraceId,
    ParentId,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TraceId => "trace-id",
            Self::ParentId => "parent-id",
        })
    }
}

impl InvalidTraceParent {
    #[cold]
    pub(super) fn new(name: &HeaderName, kind: ErrorKind) -> Self {
        Self { is_traceresponse: *name == TRACERESPONSE, kind }
    }

    fn header_name(&self) -> &'static str {
        if self.is_traceresponse { "traceresponse" } else { "traceparent" }
    }
}

/// The error of an invalid [`TraceId`](crate::TraceId) or [`ParentId`](crate::ParentId).
///
/// The message counts characters from 1, and contains nothing of the text that was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid id: {0}")]
pub struct InvalidId(pub(super) IdErrorKind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IdErrorKind {
    #[error("expected {expected} lowercase hexadecimal digits")]
    Length { expected: usize },
    #[error("expected a lowercase hexadecimal digit at character {position}")]
    ExpectedDigit { position: usize },
    #[error("all digits are zero")]
    Zero,
}
