//! What clients know: each request that was sent, and the response.

use serde::Serialize;
use tagtrail_querylog::Timestamp;

/// What a response promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Promise {
    /// Nothing.
    Plain,
    /// The handler had waited until the start of the record was in the log.
    Started,
    /// The end of the response was held until the record was written.
    Held,
}

impl Promise {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Started, Self::Held];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Started => "started",
            Self::Held => "held",
        }
    }
}

/// A request, whose number is its place in the ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) promise: Promise,
    pub(crate) service: usize,
    pub(crate) sent: Timestamp,
    /// When the client had the whole response, if it was a 200.
    pub(crate) responded: Option<Timestamp>,
}

impl Request {
    /// Whether the client knows that the record is kept.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.responded.is_some() && self.promise != Promise::Plain
    }
}
