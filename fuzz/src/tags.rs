use tagtrail::{InvalidTags, TagOptions, Tags};

use crate::oracle::{self, Limits, Pairs};
use crate::{check_message, header_map};

/// Limits that a fuzzer reaches soon.
const SMALL: Limits = Limits { tags: 3, name: 4, value: 5, length: 24 };

/// Checks a tag header: one field line, or several, separated by line feeds.
///
/// # Panics
///
/// If one of the checks fails.
pub fn tags(data: &[u8]) {
    let small =
        TagOptions::default().max_tags(SMALL.tags).max_name(SMALL.name).max_value(SMALL.value).max_length(SMALL.length);
    for (options, limits) in [(TagOptions::default(), Limits::DEFAULT), (small, SMALL)] {
        check(&options, limits, options.from_bytes(data), data);
        let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
        if let Some(map) = header_map("x-fauna-tags", &lines) {
            let read = options.from_headers(&map).map(|tags| tags.expect("there is a line"));
            check(&options, limits, read, &oracle::joined(&lines));
        }
    }
}

fn check(options: &TagOptions, limits: Limits, read: Result<Tags, InvalidTags>, list: &[u8]) {
    let expected = oracle::tags(list, limits);
    assert_eq!(read.as_ref().map(pairs).map_err(|error| error.kind().as_str()), expected);
    match read {
        Err(error) => {
            check_message(&error.to_string(), "Invalid header 'x-fauna-tags': ");
            if error.kind().as_str() == "invalid tags" {
                check_position(&error.to_string(), list);
            }
        }
        Ok(tags) => {
            let expected = expected.unwrap_or_default();
            assert_eq!(tags.as_str(), oracle::written(&expected));
            assert_eq!((tags.len(), tags.is_empty()), (expected.len(), expected.is_empty()));
            for (name, value) in &expected {
                assert_eq!(tags.get(name), Some(value.as_str()));
            }
            assert_eq!(options.from_bytes(tags.as_str().as_bytes()).as_ref(), Ok(&tags));
            assert_eq!(options.from_pairs(expected).as_ref(), Ok(&tags));
        }
    }
}

pub(crate) fn pairs(tags: &Tags) -> Pairs {
    tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Asserts that the error names the first position after which no continuation makes the list valid.
fn check_position(message: &str, list: &[u8]) {
    let number = |before: &str| -> usize {
        let rest = message.split_once(before).expect("a position").1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number")
    };
    // Whitespace around the list is not counted.
    let list = oracle::trim(list);
    let (pair, position) = (number("pair "), number("character "));
    let completable =
        |start: &[u8]| [&b""[..], b"a", b"=a", b"a=a"].iter().any(|end| oracle::is_tags(&[start, end].concat()));
    let good = &list[..position - 1];
    assert!(completable(good), "{message}");
    assert!(list.len() < position || !completable(&list[..position]), "{message}");
    assert_eq!(pair, good.split(|&byte| byte == b',').count(), "{message}");
}
