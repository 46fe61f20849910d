//! The parsers against the oracles, on inputs that proptest generates.

use proptest::prelude::*;
use tagtrail::Tags;

use super::{check_tags, check_traceparent, check_tracestate, owned};

/// Up to three lines.
fn lines_of(line: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(line, 0..4)
}

/// Lines of valid parts.
fn lines_matching(regex: &'static str) -> impl Strategy<Value = Vec<Vec<u8>>> {
    lines_of(regex.prop_map(String::into_bytes))
}

/// Lines that are often almost valid.
fn lines_of_characters(characters: &'static str) -> impl Strategy<Value = Vec<Vec<u8>>> {
    lines_of(prop::collection::vec(prop::sample::select(characters.as_bytes().to_vec()), 0..24))
}

const TRACEPARENT: &str = "[0f][0f]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]{0,9})?";
const MEMBERS: &str = "[a-z0-9][a-z0-9_*/@-]{0,9}=[ -+.-<>-~]{0,9}[!-+](,[ \t]?[a-z]=[a-z]){0,9}";
const TAGS: &str = "[a-c_]{1,42}=[A-Z0-9_]{1,82}(,[a-e]{1,3}=[0-9]{1,20}){0,9}";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn parsers_match_oracles_for_any_bytes(line in prop::collection::vec(any::<u8>(), 0..80)) {
        check_traceparent(&line);
        check_tracestate(std::slice::from_ref(&line));
        check_tags(&[line]);
    }

    #[test]
    fn traceparent_matches_oracle_for_similar_values(value in TRACEPARENT) {
        check_traceparent(value.as_bytes());
    }

    #[test]
    fn tracestate_matches_oracle_for_similar_lines(lines in lines_of_characters("ab1=,,= \t@-Z")) {
        check_tracestate(&lines);
    }

    #[test]
    fn tracestate_matches_oracle_for_valid_members(lines in lines_matching(MEMBERS)) {
        check_tracestate(&lines);
    }

    #[test]
    fn tags_match_oracle_for_similar_lines(lines in lines_of_characters("ab_Z9==,, -")) {
        check_tags(&lines);
    }

    #[test]
    fn tags_match_oracle_for_valid_tags(lines in lines_matching(TAGS)) {
        check_tags(&lines);
    }

    #[test]
    fn accepted_tags_keep_names_and_values(
        pairs in prop::collection::vec(("[a-z,= ]{0,4}", "[a-z0-9,= ]{0,4}"), 0..5),
    ) {
        if let Ok(tags) = Tags::from_pairs(pairs.iter().map(|(name, value)| (name, value))) {
            prop_assert_eq!(owned(tags.iter()), pairs);
        }
    }
}
