use tagtrail::{InvalidTags, TagRules, Tags};

use crate::oracle::{self, DEFAULT, Limits};
use crate::{check_message, header_map};

/// Limits that a fuzzer meets soon.
const SMALL: Limits = Limits { tags: 3, name: 4, value: 5, length: 24 };

/// A tag header: one field line, or several, divided by line feeds.
///
/// # Panics
///
/// If one of the checks fails.
pub fn tags(data: &[u8]) {
    let small =
        TagRules::default().max_tags(SMALL.tags).max_name(SMALL.name).max_value(SMALL.value).max_length(SMALL.length);
    for (rules, limits) in [(TagRules::default(), DEFAULT), (small, SMALL)] {
        check(&rules, limits, rules.parse(data), data);
        let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
        if let Some(map) = header_map("x-fauna-tags", &lines) {
            let read = rules.from_headers(&map).map(|tags| tags.expect("there is a line"));
            check(&rules, limits, read, &oracle::joined(&lines));
        }
    }
}

fn check(rules: &TagRules, limits: Limits, read: Result<Tags, InvalidTags>, list: &[u8]) {
    let expected = oracle::tags(list, limits);
    assert_eq!(read.as_ref().map(pairs).map_err(InvalidTags::rule), expected);
    match read {
        Err(fault) => {
            check_message(&fault.to_string(), "x-fauna-tags");
            if fault.rule() == "invalid tags" {
                check_place(&fault.to_string(), list);
            }
        }
        Ok(tags) => {
            let expected = expected.unwrap_or_default();
            assert_eq!(tags.as_str(), oracle::written(&expected));
            assert_eq!((tags.len(), tags.is_empty()), (expected.len(), expected.is_empty()));
            for (name, value) in &expected {
                assert_eq!(tags.get(name), Some(value.as_str()));
            }
            assert_eq!(rules.parse(tags.as_str().as_bytes()).as_ref(), Ok(&tags));
            assert_eq!(rules.tags(expected).as_ref(), Ok(&tags));
        }
    }
}

pub(crate) fn pairs(tags: &Tags) -> Vec<(String, String)> {
    tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The place that is named is the first that cannot be mended by what comes after it.
fn check_place(message: &str, list: &[u8]) {
    let number = |before: &str| -> usize {
        let rest = message.split_once(before).expect("a place").1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    // Blanks around the list are not counted.
    let list = oracle::trim(list);
    let (pair, position) = (number("pair "), number("character "));
    let mendable =
        |start: &[u8]| [&b""[..], b"a", b"=a", b"a=a"].iter().any(|end| oracle::is_tags(&[start, end].concat()));
    let good = &list[..position - 1];
    assert!(mendable(good), "{message}");
    assert!(list.len() < position || !mendable(&list[..position]), "{message}");
    assert_eq!(pair, good.split(|&byte| byte == b',').count(), "{message}");
}
