//! The record of a request on its way through the response.

use std::time::{Duration, Instant};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use http_body::Body;

use crate::layer::hold::{Hold, hold};
use crate::layer::open::Open;
use crate::model::record::Outcome;
use crate::queue::ack::Ack;

/// The record of a request, and for how long the response waits for it.
pub(crate) struct Logged {
    pub(crate) open: Open,
    pub(crate) held_for: Option<Duration>,
}

impl Logged {
    /// Returns what the response waits for when its record is on its way.
    pub(crate) fn hold(&self, ack: Option<Ack>) -> Option<Hold> {
        Some(hold(ack?, Instant::now().checked_add(self.held_for?)))
    }

    /// The handler has returned a response. Ends the record if no body follows, and returns what to wait for then.
    pub(crate) fn responded<B: Body>(&mut self, response: &Response<B>) -> Option<Hold> {
        let body = response.body();
        let length = body.size_hint().exact().or_else(|| content_length(response.headers()));
        self.open.responded(response.status(), response.headers(), length);
        let outcome = if self.open.is_upgrade(response.status()) {
            Outcome::Upgraded
        } else if body.is_end_stream() {
            Outcome::Complete
        } else {
            return None;
        };
        let ack = self.open.end(outcome);
        self.hold(ack)
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
