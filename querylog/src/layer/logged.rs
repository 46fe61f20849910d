//! The record of a request on its way through the response.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use http_body::Body;

use crate::layer::open::Open;
use crate::model::record::Outcome;
use crate::queue::ack::Ack;

/// The record of a request, and whether the response waits for it.
pub(crate) struct Logged {
    pub(crate) open: Open,
    pub(crate) holds_response: bool,
}

impl Logged {
    /// The handler has returned a response. Ends the record if no body follows, and returns what to wait for then.
    pub(crate) fn responded<B: Body>(&mut self, response: &Response<B>) -> Option<Ack> {
        let body = response.body();
        let length = body.size_hint().exact().or_else(|| content_length(response.headers()));
        self.open.responded(response.status(), response.headers(), length);
        if body.is_end_stream() { self.open.end(Outcome::Complete).filter(|_| self.holds_response) } else { None }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
