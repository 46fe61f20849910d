//! What can be wrong with tags.

use std::fmt;

use http::header::HeaderName;

/// The error of invalid tags.
///
/// The message names the header, the rule and the position, and contains nothing of the value. Pairs and characters
/// count from 1; the characters are those of the list after its field lines were joined by commas, without empty lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid header '{header_name}': {}: {kind}", self.kind())]
pub struct InvalidTags {
    header_name: HeaderName,
    kind: ErrorKind,
}

impl InvalidTags {
    pub(super) fn new(header_name: HeaderName, kind: ErrorKind) -> Self {
        Self { header_name, kind }
    }

    /// Returns the name of the header that is invalid.
    pub fn header_name(&self) -> &HeaderName {
        &self.header_name
    }

    /// Returns the kind of rule that the tags violate.
    ///
    /// ```
    /// use tagtrail::{InvalidTagsKind, Tags};
    ///
    /// let error = Tags::from_pairs([("a", "1"), ("a", "2")]).unwrap_err();
    /// assert_eq!(error.kind(), InvalidTagsKind::DuplicateName);
    /// assert_eq!(error.kind().as_str(), "duplicate key");
    /// ```
    pub fn kind(&self) -> InvalidTagsKind {
        match self.kind {
            ErrorKind::TooLong { .. } => InvalidTagsKind::TooLong,
            ErrorKind::Grammar { .. } => InvalidTagsKind::Grammar,
            ErrorKind::TooManyTags { .. } => InvalidTagsKind::TooManyTags,
            ErrorKind::NameTooLong { .. } => InvalidTagsKind::NameTooLong,
            ErrorKind::ValueTooLong { .. } => InvalidTagsKind::ValueTooLong,
            ErrorKind::DuplicateName { .. } => InvalidTagsKind::DuplicateName,
        }
    }
}

/// The kind of rule that invalid tags violate: see [`InvalidTags::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidTagsKind {
    /// The header is longer than allowed.
    TooLong,
    /// The header does not follow the grammar.
    Grammar,
    /// There are more tags than allowed.
    TooManyTags,
    /// A name is longer than allowed.
    NameTooLong,
    /// A value is longer than allowed.
    ValueTooLong,
    /// Two tags have the same name.
    DuplicateName,
}

impl InvalidTagsKind {
    /// Returns a short text that never changes, for the label of a metric: `header is too long`, `invalid tags`, `too
    /// many tags`, `invalid key`, `invalid value` or `duplicate key`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "header is too long",
            Self::Grammar => "invalid tags",
            Self::TooManyTags => "too many tags",
            Self::NameTooLong => "invalid key",
            Self::ValueTooLong => "invalid value",
            Self::DuplicateName => "duplicate key",
        }
    }
}

/// Writes the text of [`as_str`](Self::as_str).
impl fmt::Display for InvalidTagsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ErrorKind {
    #[error("at most {max} characters are allowed")]
    TooLong { max: usize },
    #[error("pair {pair}, character {position}: {expected}")]
    Grammar { pair: usize, position: usize, expected: Expected },
    #[error("at most {max} are allowed")]
    TooManyTags { max: usize },
    #[error("pair {pair}: a name has at most {max} characters")]
    NameTooLong { pair: usize, max: usize },
    #[error("pair {pair}: a value has at most {max} characters")]
    ValueTooLong { pair: usize, max: usize },
    #[error("pair {pair}: name already used by an earlier pair")]
    DuplicateName { pair: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Expected {
    #[error("expected a name of letters, digits and '_', then '='")]
    Name,
    #[error("expected a value of letters, digits and '_', then ',' or the end")]
    Value,
}
