use std::collections::HashSet;

use super::*;

mod rows {
    include!("../../../tests/rows/tracestate.rs");
}

fn read(lines: &[&str]) -> Result<Option<TraceState>, String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("tracestate", HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    TraceState::from_headers(&headers).map_err(|error| error.to_string())
}

fn state(value: &str) -> TraceState {
    value.parse().unwrap()
}

#[test]
fn lines_are_parsed_or_rejected_by_the_rows() {
    for &(lines, expected) in rows::ROWS {
        let read = read(lines);
        match expected {
            Ok(members) => {
                let state = read.unwrap().unwrap();
                assert_eq!(state.iter().collect::<Vec<_>>(), members, "{lines:?}");
                assert_eq!((state.len(), state.is_empty()), (members.len(), members.is_empty()), "{lines:?}");
                // What is written is parsed as the same list.
                assert_eq!(TraceState::from_bytes(state.as_str().as_bytes()).unwrap(), state, "{lines:?}");
            }
            Err(words) => {
                assert_eq!(read.unwrap_err(), format!("invalid tracestate: {words}"), "{lines:?}");
            }
        }
    }
    assert_eq!(read(&[]).unwrap(), None);
}

#[test]
fn enforces_limits_exactly() {
    let rejected = |value: &str| value.parse::<TraceState>().unwrap_err().to_string();
    let (key, value) = ("k".repeat(256), "v".repeat(256));
    assert_eq!(state(&format!("{key}={value}")).get(&key), Some(&*value));
    assert_eq!(
        rejected(&format!("{key}k=1")),
        "invalid tracestate: member 1, character 1: a key has at most 256 characters"
    );
    assert_eq!(
        rejected(&format!("a={value}v")),
        "invalid tracestate: member 1, character 3: a value has at most 256 characters"
    );
    // Spaces after a value are not part of it.
    assert_eq!(state(&format!("a={value}  ,b=1")).len(), 2);

    let full = |members: usize| {
        let members: Vec<_> = (0..members).map(|n| format!("{n:0>256}={value}")).collect();
        members.join(",")
    };
    assert_eq!(full(32).len(), 16_447);
    assert_eq!(state(&full(32)).len(), 32);
    assert_eq!(rejected(&full(33)), "invalid tracestate: more than 16447 characters");
    let small: Vec<_> = (0..33).map(|n| format!("{n}=1")).collect();
    assert_eq!(state(&small[..32].join(",")).len(), 32);
    assert_eq!(rejected(&small.join(",")), "invalid tracestate: more than 32 members");
    // Empty members are not counted as members, but their commas count for the length.
    assert_eq!(state(&format!("{}a=1", ",".repeat(16_444))).len(), 1);
    assert_eq!(rejected(&format!("{}a=1", ",".repeat(16_445))), "invalid tracestate: more than 16447 characters");
    assert_eq!(read(&[&full(32), "a=1"]).unwrap_err(), "invalid tracestate: more than 16447 characters");
}

#[test]
fn equality_and_hash_depend_on_characters() {
    let two = state("a=1,b=2");
    assert_eq!(TraceState::try_from(&HeaderValue::from_static(" a=1,b=2\t")), Ok(two.clone()));
    assert!(TraceState::try_from(&HeaderValue::from_static("a=1,b")).is_err());
    for other in ["", "a=1", "b=2,a=1", "a=1,b=3"] {
        assert_ne!(state(other), two, "{other}");
    }
    assert_eq!(HashSet::from([two.clone(), state(" a=1,b=2"), state("a=1")]).len(), 2);
    assert_eq!(format!("{two:?}"), r#"{"a": "1", "b": "2"}"#);
    assert_eq!(TraceState::try_from(two.as_ref()).as_ref(), Ok(&two));
    assert_eq!(HeaderValue::from(&two), HeaderValue::from(two));
}

#[test]
fn get_returns_first_of_duplicates() {
    assert_eq!(state("foo=1,foo=2").get("foo"), Some("1"));
    assert_eq!(state("foo=1").get("bar"), None);
}

#[test]
fn insert_moves_member_to_the_left_end() {
    for (before, key, value, after) in [
        ("", "a", "1", "a=1"),
        ("b=2,c=3", "a", "1", "a=1,b=2,c=3"),
        ("b=2,a=0,c=3", "a", "1", "a=1,b=2,c=3"),
        ("a=0,b=2,a=9", "a", "1", "a=1,b=2"),
        ("b=2 , ,c=3", "a", " 1", "a= 1,b=2,c=3"),
    ] {
        let mut state = state(before);
        state.insert(key, value).unwrap();
        assert_eq!(state.to_string(), after);
        assert_eq!(state.len(), after.split(',').count());
    }
}

#[test]
fn insert_evicts_right_most_when_full() {
    let members: Vec<_> = (0..32).map(|n| format!("m{n}=1")).collect();
    let mut full = state(&members.join(","));
    full.insert("m7", "2").unwrap();
    assert_eq!((full.len(), full.get("m31")), (32, Some("1")));
    full.insert("new", "1").unwrap();
    assert_eq!((full.len(), full.get("new"), full.get("m31")), (32, Some("1"), None));
}

#[test]
fn insert_rejects_invalid_members_without_a_change() {
    let before = state("b=2,c=3");
    for (key, value) in [
        ("", "1"),
        ("A", "1"),
        ("a", ""),
        ("a", "1,d=4"),
        ("a", "1 "),
        (" a", "1"),
        ("a=1,b", "1"),
        ("a", "="),
        (",a", "1"),
        ("a", "1,"),
        ("a", "\n"),
    ] {
        let mut state = before.clone();
        state.insert(key, value).unwrap_err();
        assert_eq!(state, before, "{key:?} {value:?}");
    }
}

#[test]
fn remove_drops_all_members_of_a_key() {
    let mut state = state("a=1,b=2,a=3");
    assert!(!state.remove("c"));
    assert_eq!(state.to_string(), "a=1,b=2,a=3");
    assert!(state.remove("a"));
    assert_eq!((state.to_string().as_str(), state.len()), ("b=2", 1));
    assert!(state.remove("b"));
    assert_eq!(state, TraceState::empty());
}

#[test]
fn truncate_to_drops_whole_members_large_ones_first() {
    let large = |key: &str| format!("{key}={}", "x".repeat(127));
    let fits = |key: &str| format!("{key}={}", "x".repeat(126));
    for (before, max, after) in [
        ("a=1,b=2,c=3".to_owned(), 11, "a=1,b=2,c=3".to_owned()),
        ("a=1,b=2,c=3".to_owned(), 10, "a=1,b=2".to_owned()),
        ("a=1,b=2,c=3".to_owned(), 7, "a=1,b=2".to_owned()),
        ("a=1,b=2,c=3".to_owned(), 6, "a=1".to_owned()),
        ("a=1,b=2,c=3".to_owned(), 2, String::new()),
        ("a=1 , ,b=2".to_owned(), 9, "a=1,b=2".to_owned()),
        (format!("{},b=2,{},d=4", large("a"), large("c")), 140, format!("{},b=2,d=4", large("a"))),
        (format!("{},b=2,{},d=4", large("a"), large("c")), 100, "b=2,d=4".to_owned()),
        (format!("{},b=2", fits("a")), 130, fits("a")),
        (format!("{},b=2", large("a")), 130, "b=2".to_owned()),
        (format!("{},b=2,{}", fits("a"), fits("c")), 200, format!("{},b=2", fits("a"))),
    ] {
        let mut state = state(&before);
        state.truncate_to(max);
        assert_eq!(state.to_string(), after, "{before} to {max}");
        assert!(state.as_str().len() <= max || before.len() <= max);
    }
}

#[test]
fn insert_into_removes_the_header_if_empty() {
    let mut headers = HeaderMap::new();
    headers.append("tracestate", HeaderValue::from_static("old=1"));
    headers.append("tracestate", HeaderValue::from_static("old=2"));
    state("new=1").insert_into(&mut headers);
    assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["new=1"]);
    state(" , ").insert_into(&mut headers);
    assert!(headers.is_empty());
}
