//! The tag header, `x-fauna-tags` by default.
//!
//! ```text
//! tags  = "" / pair *( "," pair )
//! pair  = name "=" value
//! name  = 1*40 ( ALPHA / DIGIT / "_" )
//! value = 1*80 ( ALPHA / DIGIT / "_" )
//! ```
//!
//! At most 25 pairs and 3,000 characters in total. [`TagOptions`] holds the header's name and the four limits. Spaces
//! and tabs around the whole value belong to HTTP; there is no quoting, no percent-decoding, and no case folding.
//! Several field lines are one list, joined by commas, without empty lines.

mod error;
mod iter;
mod options;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use http::header::HeaderValue;

use self::error::{ErrorKind, Expected};
pub use self::error::{InvalidTags, InvalidTagsKind};
pub use self::iter::TagsIter;
use self::options::DEFAULT;
pub use self::options::TagOptions;
use super::list::trimmed;
use super::value::as_str;

/// The tags of a request: names and values, in the order they were sent. A name occurs once.
///
/// Tags are stored as one header value, which is checked once, read in place, and shared by all clones. The default
/// value has no tags; it is not sent at all.
///
/// ```
/// use tagtrail::Tags;
///
/// let tags = Tags::from_pairs([("project", "blog"), ("env", "prod")])?;
/// assert_eq!(tags.get("env"), Some("prod"));
/// assert_eq!(tags.to_string(), "project=blog,env=prod");
///
/// let error = Tags::from_pairs([("project", "my blog")]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "Invalid header 'x-fauna-tags': invalid tags: pair 1, character 11: \
///      expected a value of letters, digits and '_', then ',' or the end",
/// );
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
///
/// Two values are equal if they have the same pairs in the same order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tags {
    /// Invariant: follows the grammar, without whitespace around it.
    value: HeaderValue,
    /// Invariant: the number of pairs in `value`.
    len: usize,
}

impl Tags {
    /// Creates a value without tags.
    pub const fn empty() -> Self {
        Self { value: HeaderValue::from_static(""), len: 0 }
    }

    /// Creates tags from names and values, with the default [`TagOptions`].
    ///
    /// There is no `FromIterator`, since the pairs may be invalid.
    ///
    /// # Errors
    ///
    /// Returns an error if the pairs violate a rule: see [`TagOptions::from_bytes`].
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidTags>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        DEFAULT.from_pairs(pairs)
    }

    /// Parses the value of a header, with the default [`TagOptions`].
    ///
    /// # Errors
    ///
    /// Returns an error if the value violates a rule: see [`TagOptions::from_bytes`].
    pub fn from_bytes(value: &[u8]) -> Result<Self, InvalidTags> {
        DEFAULT.from_bytes(value)
    }

    /// Returns the value of a tag. Names are case-sensitive.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(other, value)| (other == name).then_some(value))
    }

    /// Returns whether there is a tag with this name. Names are case-sensitive.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Iterates over names and values, in the order they were sent.
    pub fn iter(&self) -> TagsIter<'_> {
        TagsIter::new(self.as_str(), self.len)
    }

    /// Returns the number of tags.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no tags. Then no header is sent.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the value of the header.
    pub fn as_str(&self) -> &str {
        as_str(&self.value)
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'a> IntoIterator for &'a Tags {
    type Item = (&'a str, &'a str);
    type IntoIter = TagsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl AsRef<str> for Tags {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for Tags {
    type Err = InvalidTags;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&str> for Tags {
    type Error = InvalidTags;

    fn try_from(value: &str) -> Result<Self, Self::Error> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&HeaderValue> for Tags {
    type Error = InvalidTags;

    fn try_from(value: &HeaderValue) -> Result<Self, Self::Error> {
        DEFAULT.parse_trimmed(trimmed(value))
    }
}

/// Returns the value as it is sent. Do not send an empty one.
impl From<&Tags> for HeaderValue {
    fn from(tags: &Tags) -> Self {
        tags.value.clone()
    }
}

/// Returns the value as it is sent. Do not send an empty one.
impl From<Tags> for HeaderValue {
    fn from(tags: Tags) -> Self {
        tags.value
    }
}

/// Writes the value of the header.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
