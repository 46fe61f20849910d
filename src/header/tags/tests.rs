use std::collections::HashSet;

use http::header::{HeaderMap, HeaderName};

use super::*;

mod rows {
    include!("../../../tests/rows/tags.rs");
}

fn rejected(value: &str) -> String {
    let error = value.parse::<Tags>().unwrap_err().to_string();
    error.strip_prefix("Invalid header 'x-fauna-tags': ").unwrap().to_owned()
}

#[test]
fn lines_are_parsed_or_rejected_by_the_rows() {
    let options = TagOptions::default();
    for &(lines, expected) in rows::ROWS {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-fauna-tags", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let read = options.from_headers(&headers).map(Option::unwrap);
        match expected {
            Ok(pairs) => {
                let tags = read.unwrap();
                assert_eq!(tags.iter().collect::<Vec<_>>(), pairs, "{lines:?}");
                assert_eq!((tags.len(), tags.is_empty()), (pairs.len(), pairs.is_empty()), "{lines:?}");
                assert_eq!(Tags::from_pairs(pairs.iter().copied()), Ok(tags.clone()), "{lines:?}");
                assert_eq!(tags.to_string().parse(), Ok(tags), "{lines:?}");
            }
            Err(words) => assert_eq!(
                read.unwrap_err().to_string(),
                format!("Invalid header 'x-fauna-tags': {words}"),
                "{lines:?}"
            ),
        }
    }
    assert_eq!(options.from_headers(&HeaderMap::new()), Ok(None));
}

#[test]
fn control_characters_are_rejected_by_position() {
    assert!(rejected("a=b\n").starts_with("invalid tags: pair 1, character 4"));
    assert!(rejected("a=b\0").starts_with("invalid tags: pair 1, character 4"));
}

#[test]
fn enforces_limits_exactly() {
    let (name, value) = ("n".repeat(40), "v".repeat(80));
    assert_eq!(format!("{name}={value}").parse::<Tags>().unwrap().get(&name), Some(&*value));
    assert_eq!(rejected(&format!("a=b,{name}n=v")), "invalid key: pair 2: a name has at most 40 characters");
    assert_eq!(rejected(&format!("a=b,n={value}v")), "invalid value: pair 2: a value has at most 80 characters");

    let pairs = |count: usize| (0..count).map(|n| format!("t{n}=1")).collect::<Vec<_>>().join(",");
    assert_eq!(pairs(25).parse::<Tags>().unwrap().len(), 25);
    assert_eq!(rejected(&pairs(26)), "too many tags: at most 25 are allowed");

    let full = |count: usize| (0..count).map(|n| format!("{n:0>40}={value}")).collect::<Vec<_>>().join(",");
    assert_eq!((full(24).len(), full(25).len()), (2927, 3049));
    assert!(full(24).parse::<Tags>().is_ok());
    assert_eq!(rejected(&full(25)), "header is too long: at most 3000 characters are allowed");
    let of_length = |length: usize| format!("{},{}", full(24), "x".repeat(length - 2928 - 2) + "=1");
    assert_eq!(of_length(2970).parse::<Tags>().unwrap().as_str().len(), 2970);
    assert_eq!(rejected(&of_length(3000)), "invalid key: pair 25: a name has at most 40 characters");
    assert_eq!(rejected(&of_length(3001)), "header is too long: at most 3000 characters are allowed");
}

#[test]
fn reports_first_error_by_precedence() {
    // Too long, before grammar.
    assert!(rejected(&"?".repeat(3001)).starts_with("header is too long"));
    // Grammar of the whole, before a name's length.
    assert!(rejected(&"a".repeat(3000)).starts_with("invalid tags: pair 1, character 3001"));
    assert!(rejected(&format!("{}=1,b", "a".repeat(41))).starts_with("invalid tags: pair 2"));
    // The number of tags, before the errors of one of them.
    let many = |pair: &str| (0..26).map(|_| pair.to_owned()).collect::<Vec<_>>().join(",");
    assert!(rejected(&many(&format!("{}=1", "a".repeat(41)))).starts_with("too many tags"));
    // Pairs from left to right; in each its name, its value, then duplicates.
    let (name, value) = ("n".repeat(41), "v".repeat(81));
    assert!(rejected(&format!("a=1,a=2,{name}=1")).starts_with("duplicate key: pair 2"));
    assert!(rejected(&format!("{name}={value}")).starts_with("invalid key: pair 1"));
    assert!(rejected(&format!("a=1,a={value}")).starts_with("invalid value: pair 2"));
}

#[test]
fn every_duplicate_is_found_among_many_names() {
    // More names than are compared one by one.
    let options = TagOptions::default().max_tags(255).max_length(65_535);
    let names: Vec<_> = (0..255).map(|n| format!("name_{n}")).collect();
    assert_eq!(options.from_pairs(names.iter().map(|name| (name, "1"))).unwrap().len(), 255);
    for (one, other) in [(0, 254), (0, 1), (7, 31), (31, 32), (0, 32), (33, 34), (100, 254), (253, 254)] {
        let mut names = names.clone();
        names[other] = names[one].clone();
        let error = options.from_pairs(names.iter().map(|name| (name, "1"))).unwrap_err();
        assert!(error.to_string().contains(&format!("duplicate key: pair {}: name already", other + 1)), "{error}");
    }
}

#[test]
fn from_pairs_follows_the_same_rules() {
    let tags = Tags::from_pairs([("project", "blog"), ("env", "prod")]).unwrap();
    assert_eq!((tags.as_str(), tags.get("env"), tags.get("Env")), ("project=blog,env=prod", Some("prod"), None));
    assert!(tags.contains("project") && !tags.contains("Project"));
    let mut pairs = tags.iter();
    assert_eq!((pairs.len(), pairs.next(), pairs.len()), (2, Some(("project", "blog")), 1));
    assert_eq!((pairs.next(), pairs.next(), pairs.len()), (Some(("env", "prod")), None, 0));
    assert_eq!(Tags::from_pairs([("", ""); 0]).unwrap(), Tags::empty());
    for (pairs, words) in [
        (&[("a", "1,b=2")][..], "invalid tags: pair 1, character 4: expected a value"),
        (&[("a", "1"), ("b", "1=2")], "invalid tags: pair 2, character 8: expected a value"),
        (&[("a=1,b", "2")], "invalid tags: pair 1, character 2: expected a name"),
        (&[("a", "1"), ("", "2")], "invalid tags: pair 2, character 5: expected a name"),
        (&[("a", "")], "invalid tags: pair 1, character 3: expected a value"),
        (&[("a", "1"), ("a", "2")], "duplicate key: pair 2"),
        (&[(" a", "1")], "invalid tags: pair 1, character 1: expected a name"),
        (&[("a", "1 ")], "invalid tags: pair 1, character 4: expected a value"),
    ] {
        let error = Tags::from_pairs(pairs.iter().copied()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("Invalid header 'x-fauna-tags': {words}")), "{pairs:?}: {error}");
    }
    let endless = std::iter::repeat(("name", "value"));
    assert_eq!(Tags::from_pairs(endless).unwrap_err().kind().as_str(), "header is too long");
}

#[test]
fn equality_and_hash_depend_on_pairs_in_order() {
    let tags: Tags = "a=1,b=2".parse().unwrap();
    assert_eq!(Tags::try_from(&HeaderValue::from_static(" a=1,b=2\t")), Ok(tags.clone()));
    assert!(Tags::try_from(&HeaderValue::from_static("a=1,b")).is_err());
    for other in ["", "a=1", "b=2,a=1", "a=1,b=3"] {
        assert_ne!(other.parse::<Tags>().unwrap(), tags, "{other}");
    }
    assert_eq!(HashSet::from([tags.clone(), " a=1,b=2".parse().unwrap(), Tags::empty()]).len(), 2);
    assert_eq!(format!("{tags:?}"), r#"{"a": "1", "b": "2"}"#);
    assert_eq!(Tags::try_from(tags.as_ref()).as_ref(), Ok(&tags));
    assert_eq!(HeaderValue::from(&tags), HeaderValue::from(tags));
}

#[test]
fn options_set_name_and_limits() {
    let options = TagOptions::default()
        .header_name(HeaderName::from_static("x-query-tags"))
        .max_tags(2)
        .max_name(3)
        .max_value(4)
        .max_length(12);
    assert_eq!(options.from_bytes(b"abc=1234,d=5").unwrap().len(), 2);
    for (value, words) in [
        ("abc=1234,d=56", "header is too long: at most 12 characters are allowed"),
        ("a=1,b=2,c=3", "too many tags: at most 2 are allowed"),
        ("abcd=1", "invalid key: pair 1: a name has at most 3 characters"),
        ("a=12345", "invalid value: pair 1: a value has at most 4 characters"),
    ] {
        let error = options.from_bytes(value.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), format!("Invalid header 'x-query-tags': {words}"));
        assert_eq!(
            (error.header_name().as_str(), error.kind().as_str()),
            ("x-query-tags", words.split(':').next().unwrap())
        );
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-fauna-tags", HeaderValue::from_static("a=1"));
    assert_eq!(options.from_headers(&headers), Ok(None));
    headers.insert("x-query-tags", HeaderValue::from_static("b=2"));
    assert_eq!(options.from_headers(&headers).unwrap().unwrap().as_str(), "b=2");
}
