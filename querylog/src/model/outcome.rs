//! How a request ended: [`Outcome`].

use std::fmt;
use std::str::FromStr;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The whole response was handed to the server.
    Complete,
    /// The request or its response was dropped before its end: the client disconnected, or a time limit outside the
    /// layer passed.
    Aborted,
    /// The service, or the body of the response, returned an error.
    Failed,
    /// The handler, or the body of the response, panicked.
    Panicked,
    /// The request was rejected because of its tags, before any handler ran.
    Refused,
    /// The response switched the connection to another protocol, such as WebSocket, or opened a tunnel (`CONNECT`). The
    /// record ends there: what follows is not part of it.
    Upgraded,
    /// An outcome of a later version of this crate, whose word is not known here.
    Other,
}

impl Outcome {
    const ALL: [Self; 7] =
        [Self::Complete, Self::Aborted, Self::Failed, Self::Panicked, Self::Refused, Self::Upgraded, Self::Other];

    /// Returns the name of the outcome in a log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Refused => "refused",
            Self::Upgraded => "upgraded",
            Self::Other => "other",
        }
    }
}

/// Writes the name of the outcome in a log: `complete`, `aborted`, `failed`, `panicked`, `refused`, `upgraded`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = InvalidOutcome;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(InvalidOutcome(()))
    }
}

/// The error for a text that is not an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid outcome: expected complete, aborted, failed, panicked, refused or upgraded")]
pub struct InvalidOutcome(());
