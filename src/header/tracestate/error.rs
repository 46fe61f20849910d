//! What can be wrong with a `tracestate`.

use super::{MAX_KEY, MAX_LENGTH, MAX_MEMBERS, MAX_VALUE};

/// The error of an invalid `tracestate` header.
///
/// The message names the rule and the position, and contains nothing of the value. Members and characters count from
/// 1; the characters are those of the list after its field lines were joined by commas, without empty lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid tracestate: {0}")]
pub struct InvalidTraceState(ErrorKind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ErrorKind {
    #[error("more than {MAX_LENGTH} characters")]
    TooLong,
    #[error("more than {MAX_MEMBERS} members")]
    TooManyMembers,
    #[error("member {member}, character {position}: {error}")]
    Member { member: usize, position: usize, error: MemberError },
    #[error("expected one key and one value, without whitespace around them")]
    NotOneMember,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MemberError {
    #[error("a key starts with a-z or 0-9")]
    KeyStart,
    #[error("a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='")]
    Key,
    #[error("a key has at most {MAX_KEY} characters")]
    KeyTooLong,
    #[error("expected a value")]
    EmptyValue,
    #[error("a value consists of printable ASCII characters except ',' and '='")]
    Value,
    #[error("a value has at most {MAX_VALUE} characters")]
    ValueTooLong,
}

impl From<ErrorKind> for InvalidTraceState {
    #[cold]
    fn from(kind: ErrorKind) -> Self {
        Self(kind)
    }
}
