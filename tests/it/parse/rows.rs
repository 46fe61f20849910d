//! The oracles against the rows that the unit tests of the parsers use too.

use super::oracle::{self, Limits};
use super::owned;

mod traceparent {
    include!("../../rows/traceparent.rs");
}
mod tracestate {
    include!("../../rows/tracestate.rs");
}
mod tags {
    include!("../../rows/tags.rs");
}

#[test]
fn oracle_agrees_with_traceparent_rows() {
    for (value, expected) in traceparent::ROWS {
        let read = oracle::traceparent(value.as_bytes()).map(|parent| parent.written());
        assert_eq!(read.as_deref(), expected.ok(), "{value:?}");
    }
}

#[test]
fn oracle_agrees_with_tracestate_rows() {
    for (lines, expected) in tracestate::ROWS {
        let expected = expected.ok().map(|members| owned(members.iter().copied()));
        assert_eq!(oracle::tracestate(&oracle::joined(lines)), expected, "{lines:?}");
    }
}

#[test]
fn oracle_agrees_with_tag_rows() {
    for (lines, expected) in tags::ROWS {
        let expected =
            expected.map(|pairs| owned(pairs.iter().copied())).map_err(|words| words.split(':').next().unwrap());
        assert_eq!(oracle::tags(&oracle::joined(lines), Limits::DEFAULT), expected, "{lines:?}");
    }
}
