//! The parser of tags.

use std::collections::HashSet;

use super::{ErrorKind, Expected, TagOptions};
use crate::header::grammar::is_tag_char;
use crate::header::scan::Scanner;

/// Checks a list in one pass, and returns the number of its pairs. An error of the grammar ends the pass; a violated
/// limit is reported only if the grammar of the whole list is right.
pub(super) fn count_pairs(list: &[u8], options: &TagOptions) -> Result<usize, ErrorKind> {
    if list.len() > options.max_length {
        return Err(ErrorKind::TooLong { max: options.max_length });
    }
    if list.is_empty() {
        return Ok(0);
    }
    let mut stops = Scanner::new(list, 0, is_tag_char);
    let mut names = None;
    let mut over_limit = None;
    let mut pair = 1;
    let mut start = 0;
    loop {
        let equals = stops.next_stop();
        if equals == start || list.get(equals) != Some(&b'=') {
            return Err(ErrorKind::Grammar { pair, position: equals + 1, expected: Expected::Name });
        }
        let end = stops.next_stop();
        let next = list.get(end);
        if end == equals + 1 || !matches!(next, None | Some(b',')) {
            return Err(ErrorKind::Grammar { pair, position: end + 1, expected: Expected::Value });
        }
        if pair <= options.max_tags && over_limit.is_none() {
            let name = list.get(start..equals).unwrap_or_default();
            let is_only_pair = pair == 1 && next.is_none();
            if name.len() > options.max_name {
                over_limit = Some(ErrorKind::NameTooLong { pair, max: options.max_name });
            } else if end - equals - 1 > options.max_value {
                over_limit = Some(ErrorKind::ValueTooLong { pair, max: options.max_value });
            } else if !is_only_pair && !names.get_or_insert_with(Names::new).insert(name) {
                over_limit = Some(ErrorKind::DuplicateName { pair });
            }
        }
        if next.is_none() {
            break;
        }
        start = end + 1;
        pair += 1;
    }
    match over_limit {
        _ if pair > options.max_tags => Err(ErrorKind::TooManyTags { max: options.max_tags }),
        Some(kind) => Err(kind),
        None => Ok(pair),
    }
}

/// The names so far. The first few are compared one by one, which for so few costs less than hashing them; with the
/// default limits there are no more. Any others are hashed, so that a list costs what its length costs.
struct Names<'a> {
    first: [Option<&'a [u8]>; 25],
    others: Option<HashSet<&'a [u8]>>,
}

impl<'a> Names<'a> {
    fn new() -> Self {
        Self { first: [None; 25], others: None }
    }

    /// Adds a name; `false` if it is a duplicate.
    #[inline]
    fn insert(&mut self, name: &'a [u8]) -> bool {
        for place in &mut self.first {
            match place {
                Some(other) if is_same(other, name) => return false,
                Some(_) => {}
                None => {
                    *place = Some(name);
                    return true;
                }
            }
        }
        self.insert_other(name)
    }

    #[cold]
    fn insert_other(&mut self, name: &'a [u8]) -> bool {
        self.others.get_or_insert_default().insert(name)
    }
}

/// Compares the first eight bytes before the whole: most names of the same length differ there.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.first_chunk::<8>() == other.first_chunk() && one == other
}
