//! The parameters of a request: read leniently if the documentation is silent, and never ignored if they are invalid.

use std::str::FromStr;

use super::error::{ApiError, InvalidParameter};
use crate::model::request_filter::RequestFilter;
use crate::model::scan::Order;
use crate::model::time::{InvalidTimestamp, Timestamp};
use crate::model::window::{Window, end_of, start_of};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 300;

/// As many tags as a request has at most, by the limits of the header.
const MAX_TAGS: usize = 25;

/// The parameters of a query string, and those that are invalid.
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    invalid: Vec<InvalidParameter>,
}

/// What every page takes.
pub(super) struct Listing {
    pub(super) window: Window,
    pub(super) limit: usize,
    pub(super) order: Order,
}

impl Parameters {
    pub(super) fn new(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { pairs, invalid: Vec::new() }
    }

    /// Of repeated ones the last counts.
    pub(super) fn last(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All values of one that may be repeated.
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A value, by its `FromStr`.
    fn read<T: FromStr>(&mut self, name: &'static str, expected: &'static str) -> Option<T> {
        let value = self.last(name)?.parse().ok();
        if value.is_none() {
            self.reject(InvalidParameter::in_query(name, expected, "value_error"));
        }
        value
    }

    pub(super) fn reject(&mut self, invalid: InvalidParameter) {
        self.invalid.push(invalid);
    }

    /// Fails if one of those that were read is invalid.
    pub(super) fn check(self) -> Result<(), ApiError> {
        if self.invalid.is_empty() { Ok(()) } else { Err(ApiError::Parameters(self.invalid)) }
    }

    /// What every page takes.
    pub(super) fn listing(&mut self) -> Listing {
        let window = self.window();
        let limit = self.count("limit", DEFAULT_LIMIT, MAX_LIMIT);
        let order = if self.boolean("scan_forward", true) { Order::OldestFirst } else { Order::NewestFirst };
        Listing { window, limit, order }
    }

    /// Which requests are asked for.
    pub(super) fn filter(&mut self) -> RequestFilter {
        let mut filter = RequestFilter::new();
        filter.trace = self.read("trace", "expected a trace-id: 32 hexadecimal digits in lower case");
        filter.status = self.read("status", "expected a status, such as 404, or a class, such as 5xx");
        filter.route = self.last("route").map(str::to_owned);
        filter.grpc_status = self.read("grpc_status", "expected a gRPC status as a number, such as 14 for UNAVAILABLE");
        filter.failed = self.last("failed").is_some().then(|| self.boolean("failed", true));
        let outcomes = "expected an outcome: complete, aborted, failed, panicked, refused or upgraded";
        filter.outcome = self.read("outcome", outcomes);
        filter.authority = self.last("authority").map(str::to_owned);
        let tags: Result<Vec<_>, _> = self.all("tag").map(str::parse).collect();
        match tags {
            Ok(tags) if tags.len() <= MAX_TAGS => filter.tags = tags,
            Ok(_) => self.reject(InvalidParameter::in_query("tag", "expected at most 25 tags", "too_long")),
            Err(expected) => self.reject(InvalidParameter::in_query("tag", expected, "value_error")),
        }
        filter
    }

    /// Both timestamps. If the first is after the last, the window is empty.
    pub(super) fn window(&mut self) -> Window {
        let start = self.moment("start_timestamp", start_of).unwrap_or(Timestamp::MIN);
        let end = self.moment("end_timestamp", end_of).unwrap_or(Timestamp::MAX);
        Window { start, end }
    }

    fn moment(
        &mut self,
        name: &'static str,
        read: fn(&str) -> Result<Timestamp, InvalidTimestamp>,
    ) -> Option<Timestamp> {
        let moment = read(self.last(name)?).ok();
        if moment.is_none() {
            let msg = "expected an ISO 8601 time, such as 2025-04-01T00:00:00.000000Z";
            self.reject(InvalidParameter::in_query(name, msg, "datetime_parsing"));
        }
        moment
    }

    /// An integer of at least 1; what is over the most is the most.
    pub(super) fn count(&mut self, name: &'static str, default: usize, most: usize) -> usize {
        let Some(text) = self.last(name) else { return default };
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || digits.contains(|char: char| !char.is_ascii_digit()) {
            self.reject(InvalidParameter::in_query(name, "expected an integer", "int_parsing"));
            return default;
        }
        if text.starts_with('-') || digits.bytes().all(|digit| digit == b'0') {
            self.reject(InvalidParameter::in_query(name, "expected an integer of at least 1", "greater_than_equal"));
            return default;
        }
        // Only what is too large for an integer of the machine cannot be read by now.
        digits.parse().map_or(most, |count: usize| count.min(most))
    }

    fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.last(name) else { return default };
        match text {
            "1" => true,
            "0" => false,
            _ if text.eq_ignore_ascii_case("true") => true,
            _ if text.eq_ignore_ascii_case("false") => false,
            _ => {
                self.reject(InvalidParameter::in_query(name, "expected a boolean: true or false", "bool_parsing"));
                default
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Option<usize> {
        let mut parameters = Parameters::new(Some(&format!("limit={text}")));
        let count = parameters.count("limit", 100, 300);
        parameters.check().ok().map(|()| count)
    }

    #[test]
    fn a_count_is_an_integer_of_at_least_1_and_at_most_the_most() {
        for (text, expected) in [
            ("1", Some(1)),
            ("300", Some(300)),
            ("301", Some(300)),
            ("99999999999999999999999999", Some(300)),
            ("007", Some(7)),
            ("%2B7", Some(7)),
            ("0", None),
            ("000", None),
            ("-1", None),
            ("-99999999999999999999999999", None),
            ("", None),
            ("-", None),
            ("1.0", None),
            ("1e2", None),
            ("0x10", None),
            ("ten", None),
            ("+7", None),
            ("%D9%A3", None),
            ("%ff", None),
            ("1&limit=5", Some(5)),
            ("5&limit=x", None),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn a_boolean_is_of_any_case() {
        for (text, expected) in [
            ("True", Some(true)),
            ("False", Some(false)),
            ("true", Some(true)),
            ("FALSE", Some(false)),
            ("1", Some(true)),
            ("0", Some(false)),
            ("", None),
            ("yes", None),
            ("2", None),
            ("True ", None),
        ] {
            let mut parameters = Parameters::new(Some(&format!("scan_forward={text}")));
            let value = parameters.boolean("scan_forward", true);
            assert_eq!(parameters.check().ok().map(|()| value), expected, "{text}");
        }
    }

    #[test]
    fn an_invalid_time_is_rejected() {
        for text in ["", "x", "2025-02-30", "%00", "2025-04-01T00:00:00+02:00"] {
            let mut parameters = Parameters::new(Some(&format!("end_timestamp={text}")));
            parameters.window();
            assert!(parameters.check().is_err(), "{text}");
        }
    }
}
