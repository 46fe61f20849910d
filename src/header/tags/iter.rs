//! Iterates over the pairs of a list that follows the grammar.

use std::iter::FusedIterator;
use std::str::Split;

/// An iterator over the names and values of [`Tags`](crate::Tags), in the order they were sent.
///
/// Created by [`Tags::iter`](crate::Tags::iter).
#[derive(Clone, Debug)]
pub struct TagsIter<'a> {
    pairs: Split<'a, char>,
    /// How many are left.
    len: usize,
}

impl<'a> TagsIter<'a> {
    pub(super) fn new(list: &'a str, len: usize) -> Self {
        Self { pairs: list.split(','), len }
    }
}

impl<'a> Iterator for TagsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.len = self.len.checked_sub(1)?;
        self.pairs.next()?.split_once('=')
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl ExactSizeIterator for TagsIter<'_> {}

impl FusedIterator for TagsIter<'_> {}
