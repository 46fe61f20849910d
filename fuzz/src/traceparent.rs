use tagtrail::TraceParent;

use crate::oracle::{self, Parent};
use crate::{check_message, header_map};

/// Checks a `traceparent` value.
///
/// # Panics
///
/// If one of the checks fails.
pub fn traceparent(value: &[u8]) {
    let expected = oracle::traceparent(value);
    let read = TraceParent::from_bytes(value);
    assert_eq!(read.ok().map(fields), expected);
    if let Err(error) = read {
        check_message(&error.to_string(), "invalid traceparent: ");
    }
    if let Ok(parent) = read {
        // Exactly version 00 is sent on.
        let sent = parent.to_string();
        assert_eq!(Some(&sent), expected.as_ref().map(Parent::written).as_ref());
        assert_eq!(sent.len(), 55);
        assert!(sent.starts_with("00-"));
        assert_eq!(oracle::traceparent(sent.as_bytes()), expected);
        assert_eq!(sent.parse(), Ok(parent));
        let child = parent.child();
        assert_eq!((child.trace_id(), child.flags()), (parent.trace_id(), parent.flags()));
        assert_ne!(child.parent_id(), parent.parent_id());
    }
    // One line in a map reads the same; two lines are an error, even if they are equal.
    if let Some(map) = header_map("traceparent", &[value]) {
        assert_eq!(TraceParent::from_headers(&map).ok(), read.ok().map(Some));
    }
    if let Some(map) = header_map("traceparent", &[value, value]) {
        assert!(TraceParent::from_headers(&map).is_err());
    }
}

pub(crate) fn fields(parent: TraceParent) -> Parent {
    let (trace_id, parent_id) = (parent.trace_id().to_string(), parent.parent_id().to_string());
    Parent { trace_id, parent_id, flags: parent.flags().bits() }
}
