//! The parsers against the oracles: every length, every place, every byte.

use super::{check_tags, check_traceparent, check_tracestate};
use crate::support::CALLER;

const VALID: &[u8] = CALLER.as_bytes();

/// Counts the valid inputs, and all inputs.
fn count(inputs: impl IntoIterator<Item = bool>) -> (usize, usize) {
    inputs.into_iter().fold((0, 0), |(valid, all), is_valid| (valid + usize::from(is_valid), all + 1))
}

/// Replaces the byte at this place.
fn with(value: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut value = value.to_vec();
    value[at] = byte;
    value
}

/// Puts each byte in place of the `#` of each pattern.
fn each_byte_in(patterns: [&'static [u8]; 8]) -> impl Iterator<Item = Vec<Vec<u8>>> {
    (0..=u8::MAX).flat_map(move |byte| {
        patterns.map(|pattern| {
            let at = pattern.iter().position(|&byte| byte == b'#').unwrap();
            vec![with(pattern, at, byte)]
        })
    })
}

#[test]
fn traceparent_matches_oracle_for_every_length_place_and_byte() {
    let lengths = (0..=300).flat_map(|length| {
        let long: Vec<u8> = VALID.iter().chain(std::iter::repeat(&b'0')).copied().take(length).collect();
        let later = [b"cc", &VALID[2..], b"-", &[b'x'; 300]].concat()[..length].to_vec();
        [long, later]
    });
    let bytes = (0..VALID.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| with(VALID, at, byte)));
    let moved_dash = [2, 35, 52].into_iter().flat_map(|from| {
        (0..VALID.len()).map(move |to| {
            let mut value = VALID.to_vec();
            let dash = value.remove(from);
            value.insert(to, dash);
            value
        })
    });
    let removed = (0..VALID.len()).map(|at| [&VALID[..at], &VALID[at + 1..]].concat());
    let repeated = (0..VALID.len()).map(|at| [&VALID[..=at], &VALID[at..]].concat());
    let values = lengths.chain(bytes).chain(moved_dash).chain(removed).chain(repeated);
    let (valid, all) = count(values.map(|value| check_traceparent(&value)));
    assert!(all > 14_500, "{all}");
    // 15 other digits in each of 55 - 3 places, and a few more.
    assert!((800..1_200).contains(&valid), "{valid}");
}

#[test]
fn traceparent_matches_oracle_for_every_version() {
    let versions = (0..=u8::MAX).flat_map(|version| {
        let value = [format!("{version:02x}").as_bytes(), &VALID[2..]].concat();
        [&b""[..], b"-", b"-x", b".x", b"x", b"--"].map(|after| [&value, after].concat())
    });
    assert_eq!(count(versions.map(|value| check_traceparent(&value))), (255 + 254 * 3, 256 * 6));
}

#[test]
fn traceparent_matches_oracle_for_all_flags() {
    let flags = (0..=u8::MAX).map(|flags| [&VALID[..53], format!("{flags:02x}").as_bytes()].concat());
    assert_eq!(count(flags.map(|value| check_traceparent(&value))), (256, 256));
}

#[test]
fn tracestate_matches_oracle_for_every_size_and_byte() {
    let lines = |value: String| vec![value.into_bytes()];
    let members = |count: usize| (0..count).map(|n| format!("k{n}=v{n}")).collect::<Vec<_>>();
    let counts = (0..=40).map(|count| lines(members(count).join(",")));
    let many_lines = (1..=64).map(|count| members(count).into_iter().map(String::into_bytes).collect());
    let keys = (0..=300).map(|length| lines(format!("{}=v", "k".repeat(length))));
    let values = (0..=300).map(|length| lines(format!("k={}", "v".repeat(length))));
    let sizes = (0..=80).map(|size| lines(members(3).join(",") + &",".repeat(size * 100)));
    let too_long = (16_400..16_500).map(|size| lines(format!("{}k=v", ",".repeat(size - 3))));
    let bytes = each_byte_in([b"#k=v", b"k#=v", b"k=#", b"k=v#", b"k=#v", b"k=v#v", b"#", b"k=v,#"]);
    let empty_members = ["", " ", ",", ", ,", "\t,\t"].into_iter().flat_map(|empty| {
        [
            vec![empty.to_owned() + "a=1"],
            vec!["a=1".to_owned() + empty],
            vec![format!("a=1{empty},b=2")],
            vec![empty.to_owned(), "a=1".to_owned()],
            vec!["a=1".to_owned(), empty.to_owned(), "a=2".to_owned()],
        ]
        .map(|lines| lines.into_iter().map(String::into_bytes).collect::<Vec<_>>())
    });
    let all = counts
        .chain(many_lines)
        .chain(keys)
        .chain(values)
        .chain(sizes)
        .chain(too_long)
        .chain(bytes)
        .chain(empty_members);
    let (valid, all) = count(all.map(|lines| check_tracestate(&lines)));
    assert!(all > 2_500 && valid > 1_000 && valid < all - 1_000, "{valid} of {all}");
}

#[test]
fn tags_match_oracle_for_every_size_and_byte() {
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
    let bytes = each_byte_in([b"#n=v", b"n#=v", b"n=#", b"n=v#", b"n=#v", b"n=v#v=w", b"#", b"n=v,#"]);
    let bytes_of_long_pair = (0..=u8::MAX)
        .flat_map(|byte| (0..34).map(move |at| vec![with(b"abcdefghijklmnop=abcdefghijklmnopq", at, byte)]));
    let duplicates = (0..25).flat_map(|one| {
        (0..25).map(move |other| {
            let mut tags = (0..25).map(|n| format!("tag{n}=v")).collect::<Vec<_>>();
            tags[other] = tags[one].clone();
            vec![tags.join(",").into_bytes()]
        })
    });
    let lines = (1..=30).map(|count| tags(count).into_iter().map(String::into_bytes).collect());
    let all = counts
        .chain(names)
        .chain(values)
        .chain(lengths)
        .chain(bytes)
        .chain(bytes_of_long_pair)
        .chain(duplicates)
        .chain(lines);
    let (valid, all) = count(all.map(|lines| check_tags(&lines)));
    assert!(all > 10_000 && valid > 2_000 && valid < all - 2_000, "{valid} of {all}");
}

/// Up to 1,000 lines of full length, and as many empty ones.
#[test]
fn many_lines_match_oracle() {
    let state_line = (0..32).map(|n| format!("{n:0>256}={}", "v".repeat(256))).collect::<Vec<_>>().join(",");
    let tag_line = (0..24).map(|n| format!("{n:0>40}={}", "v".repeat(80))).collect::<Vec<_>>().join(",");
    for count in [1, 2, 3, 5, 10, 20, 50, 100, 500, 1_000] {
        assert_eq!(check_tracestate(&vec![state_line.clone().into_bytes(); count]), count == 1);
        assert_eq!(check_tags(&vec![tag_line.clone().into_bytes(); count]), count == 1);
        assert!(check_tracestate(&vec![Vec::new(); count]));
        assert!(check_tags(&vec![Vec::new(); count]));
    }
}
