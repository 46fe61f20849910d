use tagtrail::TraceState;

use crate::oracle::{self, Pairs};
use crate::{check_message, header_map};

/// Checks a `tracestate`: one field line, or several, separated by line feeds.
///
/// # Panics
///
/// If one of the checks fails.
pub fn tracestate(data: &[u8]) {
    let one = TraceState::from_bytes(data);
    check(one.as_ref(), oracle::tracestate(data));
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    if let Some(map) = header_map("tracestate", &lines) {
        let read = TraceState::from_headers(&map).map(|state| state.expect("there is a line"));
        check(read.as_ref(), oracle::tracestate(&oracle::joined(&lines)));
    }
    if let Ok(state) = one {
        mutate(&state, data.len());
    }
}

fn check(read: Result<&TraceState, &tagtrail::InvalidTraceState>, expected: Option<Pairs>) {
    assert_eq!(read.ok().map(members), expected);
    match read {
        Err(error) => check_message(&error.to_string(), "invalid tracestate: "),
        Ok(state) => {
            let expected = expected.unwrap_or_default();
            assert_eq!((state.len(), state.is_empty()), (expected.len(), expected.is_empty()));
            // The first of a key is the newest.
            for (key, _) in &expected {
                let first = expected.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str());
                assert_eq!(state.get(key), first);
            }
            // The list that is sent reads the same, and is empty if there are no members.
            assert_eq!(state.as_str().is_empty(), expected.is_empty());
            assert_eq!(oracle::tracestate(state.as_str().as_bytes()), Some(expected));
            assert_eq!(state.as_str().parse().as_ref(), Ok(state));
        }
    }
}

pub(crate) fn members(state: &TraceState) -> Pairs {
    state.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Compares each change to a list with the same change to a `Vec`.
fn mutate(state: &TraceState, seed: usize) {
    let before = members(state);
    let mut keys: Vec<String> = before.iter().map(|(key, _)| key.clone()).collect();
    keys.push("new@system".to_owned());
    for key in &keys {
        let others: Pairs = before.iter().filter(|(other, _)| other != key).cloned().collect();
        let mut removed = state.clone();
        assert_eq!(removed.remove(key), others.len() < before.len());
        assert_eq!(members(&removed), others);

        let mut set = state.clone();
        assert_eq!(set.insert(key, "a value"), Ok(()));
        let mut expected = vec![(key.clone(), "a value".to_owned())];
        expected.extend(others.into_iter().take(31));
        assert_eq!(members(&set), expected);
    }
    for max in [0, 1, seed % 64, seed / 2, 128, 512] {
        let mut cut = state.clone();
        cut.truncate_to(max);
        assert!(cut.as_str().len() <= max);
        let fits = state.as_str().len() <= max;
        assert_eq!(members(&cut), if fits { before.clone() } else { truncated(before.clone(), max) });
    }
    // An invalid member changes nothing.
    for (key, value) in [("", "1"), ("A", "1"), ("a", ""), ("a", "1 "), ("a", "1,b=2"), ("a", "="), (" a", "1")] {
        let mut same = state.clone();
        assert!(same.insert(key, value).is_err(), "{key}={value}");
        assert_eq!(&same, state);
    }
}

fn truncated(mut members: Pairs, max: usize) -> Pairs {
    let large = |(key, value): &(String, String)| key.len() + 1 + value.len() > 128;
    while oracle::written(&members).len() > max {
        let last = members.iter().rposition(large).unwrap_or(members.len() - 1);
        members.remove(last);
    }
    members
}
