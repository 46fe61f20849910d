//! What the writer must do next: [`Task`].

use std::time::Instant;

use crate::model::gap::Gaps;
use crate::model::time::Timestamp;
use crate::queue::ack::{AppendError, Written};
use crate::queue::batch::Moment;

/// What the writer must do next.
pub(crate) enum Task<B> {
    Write(Box<Taken<B>>),
    /// It is the time that was named.
    Tick,
    /// The log is closed, and all is written or it is too late.
    End {
        wrote_all: bool,
        deadline: Option<Instant>,
    },
}

/// What the writer has in hand.
pub(crate) struct Taken<B> {
    pub(crate) batch: B,
    /// When the first record came, if there is one.
    pub(crate) came: Option<Timestamp>,
    pub(crate) gaps: Gaps,
    pub(crate) moment: Moment,
}

/// If the writer panics with a batch in hand, those who wait learn of it.
impl<B> Drop for Taken<B> {
    fn drop(&mut self) {
        self.moment.done.set(Written::all(Err(AppendError::Closed)));
    }
}
