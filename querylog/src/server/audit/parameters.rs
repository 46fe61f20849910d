//! The parameters of a request: read leniently where the documentation is silent, and never ignored where they are
//! wrong.

use std::str::FromStr;

use crate::model::time::{InvalidTimestamp, Timestamp};
use crate::model::window::{Window, end_of, start_of};
use crate::server::audit::answer::{Fault, Problem};

/// The parameters of a query string, and what is wrong with them.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Parameters {
    pub(crate) fn new(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { pairs, faults: Vec::new() }
    }

    /// Of repeated ones the last counts.
    pub(crate) fn last(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All values of one that may be repeated.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A value, by its `FromStr`. Where it is wrong, what is needed is said.
    pub(crate) fn read<T: FromStr>(&mut self, name: &'static str, needed: &'static str) -> Option<T> {
        let value = self.last(name)?.parse().ok();
        if value.is_none() {
            self.fault(Fault::new(name, needed, "value_error"));
        }
        value
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// What is wrong, if something is.
    pub(crate) fn check(self) -> Result<(), Problem> {
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::Parameters(self.faults)) }
    }

    /// Both timestamps. Where the first is after the last, the window is empty.
    pub(crate) fn window(&mut self) -> Window {
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
            let msg = "a time in ISO 8601 is needed, such as 2025-04-01T00:00:00.000000Z";
            self.fault(Fault::new(name, msg, "datetime_parsing"));
        }
        moment
    }

    /// An integer of at least 1; what is over the most is the most.
    pub(crate) fn count(&mut self, name: &'static str, default: usize, most: usize) -> usize {
        let Some(text) = self.last(name) else { return default };
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || digits.contains(|char: char| !char.is_ascii_digit()) {
            self.fault(Fault::new(name, "an integer is needed", "int_parsing"));
            return default;
        }
        if text.starts_with('-') || digits.bytes().all(|digit| digit == b'0') {
            self.fault(Fault::new(name, "an integer of at least 1 is needed", "greater_than_equal"));
            return default;
        }
        // Only what is too large for an integer of the machine is no number by now.
        digits.parse().map_or(most, |count: usize| count.min(most))
    }

    pub(crate) fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        let Some(text) = self.last(name) else { return default };
        match text {
            "1" => true,
            "0" => false,
            _ if text.eq_ignore_ascii_case("true") => true,
            _ if text.eq_ignore_ascii_case("false") => false,
            _ => {
                self.fault(Fault::new(name, "a boolean is needed: true or false", "bool_parsing"));
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
    fn a_time_that_is_wrong_is_never_ignored() {
        for text in ["", "x", "2025-02-30", "%00", "2025-04-01T00:00:00+02:00"] {
            let mut parameters = Parameters::new(Some(&format!("end_timestamp={text}")));
            parameters.window();
            assert!(parameters.check().is_err(), "{text}");
        }
    }
}
