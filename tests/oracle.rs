//! The parsers against slow readers that are obviously right: regular expressions, and a reader that splits strings.
//! Inputs are generated: every length, every place, every byte, and what proptest makes up.

use std::collections::HashSet;
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use regex::bytes::Regex;
use tagtrail::{TagRules, Tags, TraceParent, TraceState};

const VALID: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

mod traceparent_rows {
    include!("rows/traceparent.rs");
}
mod tracestate_rows {
    include!("rows/tracestate.rs");
}
mod tag_rows {
    include!("rows/tags.rs");
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let Some(start) = value.iter().position(|byte| !blank(byte)) else { return b"" };
    let end = value.iter().rposition(|byte| !blank(byte)).unwrap();
    &value[start..=end]
}

/// What a `traceparent` is sent on as, if it is valid.
fn traceparent_oracle(value: &[u8]) -> Option<String> {
    static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\A(?s-u:([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?)\z").unwrap()
    });
    let captures = GRAMMAR.captures(trim(value))?;
    let field = |n: usize| std::str::from_utf8(&captures[n]).unwrap();
    let (version, trace_id, parent_id) = (field(1), field(2), field(3));
    let zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    if version == "ff" || version == "00" && captures.get(5).is_some() || zero(trace_id) || zero(parent_id) {
        return None;
    }
    let flags = u8::from_str_radix(field(4), 16).unwrap() & 3;
    Some(format!("00-{trace_id}-{parent_id}-{flags:02x}"))
}

fn check_traceparent(value: &[u8]) -> bool {
    let read = TraceParent::from_bytes(value).ok().map(|parent| parent.to_string());
    assert_eq!(read, traceparent_oracle(value), "{:?}", String::from_utf8_lossy(value));
    if let Some(text) = &read {
        assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), *text);
    }
    read.is_some()
}

type Members = Vec<(String, String)>;

/// The members of a `tracestate`, if it is valid.
fn tracestate_oracle(lines: &[Vec<u8>]) -> Option<Members> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| trim(line)).filter(|line| !line.is_empty()).collect();
    let list = String::from_utf8(lines.join(&b","[..])).ok()?;
    if list.len() > 32 * 513 + 31 {
        return None;
    }
    let mut members = Vec::new();
    for member in list.split(',') {
        let member = member.trim_matches([' ', '\t']);
        if member.is_empty() {
            continue;
        }
        let (key, value) = member.split_once('=')?;
        let key_start = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let key_char = |c: char| key_start(c) || "_-*/@".contains(c);
        let key_is_good = key.starts_with(key_start) && key.chars().all(key_char) && key.len() <= 256;
        let value_char = |c: char| (' '..='~').contains(&c) && c != ',' && c != '=';
        let value_is_good = !value.is_empty() && value.chars().all(value_char) && value.len() <= 256;
        // A blank at the end was trimmed: a value of blanks alone is an empty one.
        if !key_is_good || !value_is_good || value.ends_with(' ') {
            return None;
        }
        members.push((key.to_owned(), value.to_owned()));
    }
    (members.len() <= 32).then_some(members)
}

fn headers(name: &'static str, lines: &[Vec<u8>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Members {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn check_tracestate(lines: &[Vec<u8>]) -> bool {
    let expected = tracestate_oracle(lines);
    if let [line] = lines {
        let read = TraceState::from_bytes(line).ok().map(|state| owned(state.iter()));
        assert_eq!(read, expected, "{:?}", String::from_utf8_lossy(line));
    }
    if let Some(headers) = headers("tracestate", lines) {
        let read = TraceState::from_headers(&headers).ok().map(|state| owned(state.unwrap_or_default().iter()));
        assert_eq!(read, expected, "{lines:?}");
    }
    expected.is_some()
}

/// The tags of a header, or the first words of its error.
fn tags_oracle(lines: &[Vec<u8>]) -> Result<Members, &'static str> {
    static GRAMMAR: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\A(?-u:[A-Za-z0-9_]+=[A-Za-z0-9_]+(,[A-Za-z0-9_]+=[A-Za-z0-9_]+)*)\z").unwrap());
    let lines: Vec<&[u8]> = lines.iter().map(|line| trim(line)).filter(|line| !line.is_empty()).collect();
    let list = lines.join(&b","[..]);
    if list.len() > 3000 {
        return Err("header is too long");
    }
    if list.is_empty() {
        return Ok(Vec::new());
    }
    if !GRAMMAR.is_match(&list) {
        return Err("invalid tags");
    }
    let list = String::from_utf8(list).unwrap();
    let pairs: Vec<_> = list.split(',').map(|pair| pair.split_once('=').unwrap()).collect();
    if pairs.len() > 25 {
        return Err("too many tags");
    }
    let mut names = HashSet::new();
    for (name, value) in &pairs {
        if name.len() > 40 {
            return Err("invalid key");
        }
        if value.len() > 80 {
            return Err("invalid value");
        }
        if !names.insert(name) {
            return Err("duplicate key");
        }
    }
    Ok(owned(pairs.into_iter()))
}

fn check_tags(lines: &[Vec<u8>]) -> bool {
    let expected = tags_oracle(lines);
    let verdict = |read: Result<Tags, tagtrail::InvalidTags>| match read {
        Ok(tags) => Ok(owned(tags.iter())),
        Err(error) => Err(error.rule()),
    };
    if let [line] = lines {
        assert_eq!(verdict(Tags::from_bytes(line)), expected, "{:?}", String::from_utf8_lossy(line));
    }
    if let Some(headers) = headers("x-fauna-tags", lines) {
        let read = TagRules::default().from_headers(&headers).map(Option::unwrap_or_default);
        assert_eq!(verdict(read), expected, "{lines:?}");
    }
    expected.is_ok()
}

/// How many of the inputs were valid, and how many there were.
fn count(inputs: impl IntoIterator<Item = bool>) -> (usize, usize) {
    inputs.into_iter().fold((0, 0), |(valid, all), is_valid| (valid + usize::from(is_valid), all + 1))
}

fn with(value: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut value = value.to_vec();
    value[at] = byte;
    value
}

#[test]
fn the_oracles_agree_with_the_rows() {
    for (value, expected) in traceparent_rows::ROWS {
        assert_eq!(traceparent_oracle(value.as_bytes()).as_deref(), expected.ok(), "{value:?}");
    }
    let bytes = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
    for (lines, expected) in tracestate_rows::ROWS {
        let expected = expected.ok().map(|members| owned(members.iter().copied()));
        assert_eq!(tracestate_oracle(&bytes(lines)), expected, "{lines:?}");
    }
    for (lines, expected) in tag_rows::ROWS {
        let expected =
            expected.map(|pairs| owned(pairs.iter().copied())).map_err(|words| words.split(':').next().unwrap());
        assert_eq!(tags_oracle(&bytes(lines)), expected, "{lines:?}");
    }
}

/// Attack row 1.
#[test]
fn traceparent_of_every_length_and_with_every_byte_in_every_place() {
    let lengths = (0..=300).flat_map(|length| {
        let long: Vec<u8> = VALID.iter().chain(std::iter::repeat(&b'0')).copied().take(length).collect();
        let later = [b"cc", &VALID[2..], b"-", &[b'x'; 300]].concat()[..length].to_vec();
        [long, later]
    });
    let bytes = (0..VALID.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| with(VALID, at, byte)));
    let moved = [2, 35, 52].into_iter().flat_map(|from| {
        (0..VALID.len()).map(move |to| {
            let mut value = VALID.to_vec();
            let dash = value.remove(from);
            value.insert(to, dash);
            value
        })
    });
    let removed = (0..VALID.len()).map(|at| [&VALID[..at], &VALID[at + 1..]].concat());
    let doubled = (0..VALID.len()).map(|at| [&VALID[..=at], &VALID[at..]].concat());
    let (valid, all) =
        count(lengths.chain(bytes).chain(moved).chain(removed).chain(doubled).map(|value| check_traceparent(&value)));
    assert!(all > 14_500, "{all}");
    // 15 other digits in each of 55 - 3 places, and a few more.
    assert!((800..1_200).contains(&valid), "{valid}");
}

/// Attack rows 3 and 4, as far as they are the parser's.
#[test]
fn traceparent_of_every_version_and_with_all_flags() {
    let hex = |byte: u8| format!("{byte:02x}").into_bytes();
    let versions = (0..=u8::MAX).flat_map(|version| {
        let value = [&hex(version), &VALID[2..]].concat();
        [&b""[..], b"-", b"-x", b".x", b"x", b"--"].map(|after| [&value, after].concat())
    });
    assert_eq!(count(versions.map(|value| check_traceparent(&value))), (255 + 254 * 3, 256 * 6));
    let flags = (0..=u8::MAX).map(|flags| [&VALID[..53], &hex(flags)].concat());
    assert_eq!(count(flags.map(|value| check_traceparent(&value))), (256, 256));
}

/// Attack row 6.
#[test]
fn tracestate_of_every_size_and_with_every_byte() {
    let lines = |value: String| vec![value.into_bytes()];
    let members = |count: usize| (0..count).map(|n| format!("k{n}=v{n}")).collect::<Vec<_>>();
    let counts = (0..=40).map(|count| lines(members(count).join(",")));
    let many_lines = (1..=64).map(|count| members(count).into_iter().map(String::into_bytes).collect());
    let keys = (0..=300).map(|length| lines(format!("{}=v", "k".repeat(length))));
    let values = (0..=300).map(|length| lines(format!("k={}", "v".repeat(length))));
    let sizes = (0..=80).map(|size| lines(members(3).join(",") + &",".repeat(size * 100)));
    let over = (16_400..16_500).map(|size| lines(format!("{}k=v", ",".repeat(size - 3))));
    let bytes = (0..=u8::MAX).flat_map(|byte| {
        let places: [&[u8]; 8] = [b"#k=v", b"k#=v", b"k=#", b"k=v#", b"k=#v", b"k=v#v", b"#", b"k=v,#"];
        places.map(|place| vec![with(place, place.iter().position(|&byte| byte == b'#').unwrap(), byte)])
    });
    let blanks = ["", " ", ",", ", ,", "\t,\t"].into_iter().flat_map(|blank| {
        [
            vec![blank.to_owned() + "a=1"],
            vec!["a=1".to_owned() + blank],
            vec![format!("a=1{blank},b=2")],
            vec![blank.to_owned(), "a=1".to_owned()],
            vec!["a=1".to_owned(), blank.to_owned(), "a=2".to_owned()],
        ]
        .map(|lines| lines.into_iter().map(String::into_bytes).collect::<Vec<_>>())
    });
    let all = counts.chain(many_lines).chain(keys).chain(values).chain(sizes).chain(over).chain(bytes).chain(blanks);
    let (valid, all) = count(all.map(|lines| check_tracestate(&lines)));
    assert!(all > 2_500 && valid > 1_000 && valid < all - 1_000, "{valid} of {all}");
}

/// Attack row 8.
#[test]
fn tags_of_every_size_and_with_every_byte() {
    let line = |value: String| vec![value.into_bytes()];
    let tags = |count: usize| (0..count).map(|n| format!("t{n}=v")).collect::<Vec<_>>();
    let counts = (0..=40).map(|count| line(tags(count).join(",")));
    let names = (0..=60).map(|length| line(format!("{}=v", "n".repeat(length))));
    let values = (0..=100).map(|length| line(format!("n={}", "v".repeat(length))));
    // 24 full pairs are 2,927 characters; a last one brings the whole to any length up to one over full size.
    let lengths = (2_931..=3_050).map(|length| {
        let full = (0..24).map(|n| format!("{n:0>40}={n:0>80}")).collect::<Vec<_>>().join(",");
        let value = (length - 2_930).min(80);
        line(format!("{full},{}={}", "x".repeat(length - 2_929 - value), "v".repeat(value)))
    });
    let bytes = (0..=u8::MAX).flat_map(|byte| {
        let places: [&[u8]; 8] = [b"#n=v", b"n#=v", b"n=#", b"n=v#", b"n=#v", b"n=v#v=w", b"#", b"n=v,#"];
        places.map(|place| vec![with(place, place.iter().position(|&byte| byte == b'#').unwrap(), byte)])
    });
    let long_bytes = (0..=u8::MAX)
        .flat_map(|byte| (0..34).map(move |at| vec![with(b"abcdefghijklmnop=abcdefghijklmnopq", at, byte)]));
    let doubles = (0..25).flat_map(|one| {
        (0..25).map(move |other| {
            let mut tags = (0..25).map(|n| format!("tag{n}=v")).collect::<Vec<_>>();
            tags[other] = tags[one].clone();
            vec![tags.join(",").into_bytes()]
        })
    });
    let lines = (1..=30).map(|count| tags(count).into_iter().map(String::into_bytes).collect());
    let all =
        counts.chain(names).chain(values).chain(lengths).chain(bytes).chain(long_bytes).chain(doubles).chain(lines);
    let (valid, all) = count(all.map(|lines| check_tags(&lines)));
    assert!(all > 10_000 && valid > 2_000 && valid < all - 2_000, "{valid} of {all}");
}

/// Attack row 7: what was sent beyond a limit is not worked on.
#[test]
fn many_long_lines_are_refused() {
    let state_line = (0..32).map(|n| format!("{n:0>256}={}", "v".repeat(256))).collect::<Vec<_>>().join(",");
    let tag_line = (0..24).map(|n| format!("{n:0>40}={}", "v".repeat(80))).collect::<Vec<_>>().join(",");
    for count in [1, 2, 3, 5, 10, 20, 50, 100, 500, 1_000] {
        check_tracestate(&vec![state_line.clone().into_bytes(); count]);
        check_tags(&vec![tag_line.clone().into_bytes(); count]);
        check_tracestate(&vec![Vec::new(); count]);
        check_tags(&vec![Vec::new(); count]);
    }
}

fn lines_of(line: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(line, 0..4)
}

fn near(characters: &'static str, max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(characters.as_bytes().to_vec()), 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_alike(line in prop::collection::vec(any::<u8>(), 0..80)) {
        check_traceparent(&line);
        check_tracestate(std::slice::from_ref(&line));
        check_tags(&[line]);
    }

    #[test]
    fn values_like_a_traceparent_are_read_alike(value in "[0f][0f]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,9})?") {
        check_traceparent(value.as_bytes());
    }

    #[test]
    fn values_like_a_tracestate_are_read_alike(lines in lines_of(near("ab1=,,= \t@-Z", 24))) {
        check_tracestate(&lines);
    }

    #[test]
    fn valid_members_are_read_alike(
        lines in lines_of("[a-z0-9][a-z0-9_*/@-]{0,9}=[ -+.-<>-~]{0,9}[!-+](,[ \t]?[a-z]=[a-z]){0,9}".prop_map(String::into_bytes)),
    ) {
        check_tracestate(&lines);
    }

    #[test]
    fn values_like_tags_are_read_alike(lines in lines_of(near("ab_Z9==,, -", 24))) {
        check_tags(&lines);
    }

    #[test]
    fn valid_tags_are_read_alike(lines in lines_of("[a-c_]{1,42}=[A-Z0-9_]{1,82}(,[a-e]{1,3}=[0-9]{1,20}){0,9}".prop_map(String::into_bytes))) {
        check_tags(&lines);
    }

    #[test]
    fn tags_of_any_names_and_values_are_what_they_say(
        pairs in prop::collection::vec(("[a-z,= ]{0,4}", "[a-z0-9,= ]{0,4}"), 0..5),
    ) {
        if let Ok(tags) = Tags::new(pairs.iter().map(|(name, value)| (name, value))) {
            prop_assert_eq!(owned(tags.iter()), pairs);
        }
    }
}
