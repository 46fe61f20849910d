//! Iterates over the members of a list that follows the grammar.

use std::iter::FusedIterator;
use std::str::Split;

/// An iterator over the keys and values of a [`TraceState`](crate::TraceState), from the newest to the oldest.
///
/// Created by [`TraceState::iter`](crate::TraceState::iter).
#[derive(Clone, Debug)]
pub struct TraceStateIter<'a>(Split<'a, char>);

impl<'a> TraceStateIter<'a> {
    pub(super) fn new(list: &'a str) -> Self {
        Self(list.split(','))
    }
}

impl<'a> Iterator for TraceStateIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        // Empty members have no equals sign.
        self.0.find_map(|member| trim(member).split_once('='))
    }
}

impl FusedIterator for TraceStateIter<'_> {}

/// Iterates over the members, without the whitespace around them and without empty ones.
pub(super) fn members(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(trim).filter(|member| !member.is_empty())
}

fn trim(member: &str) -> &str {
    member.trim_matches([' ', '\t'])
}
