//! The name of the tag header, and its limits.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::parse::count_pairs;
use super::{ErrorKind, Expected, InvalidTags, Tags};
use crate::header::list::{self, trim};
use crate::header::value::{header_value, remove};

/// Options of the tag header: its name, and its limits.
///
/// ```
/// use http::HeaderName;
/// use tagtrail::TagOptions;
///
/// let options = TagOptions::default().header_name(HeaderName::from_static("x-query-tags")).max_tags(2);
/// assert_eq!(options.from_bytes(b"a=1,b=2")?.len(), 2);
/// assert_eq!(
///     options.from_bytes(b"a=1,b=2,c=3").unwrap_err().to_string(),
///     "Invalid header 'x-query-tags': too many tags: at most 2 are allowed",
/// );
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct TagOptions {
    name: HeaderName,
    pub(super) max_tags: usize,
    pub(super) max_name: usize,
    pub(super) max_value: usize,
    pub(super) max_length: usize,
}

pub(super) static DEFAULT: TagOptions = TagOptions {
    name: HeaderName::from_static("x-fauna-tags"),
    max_tags: 25,
    max_name: 40,
    max_value: 80,
    max_length: 3000,
};

impl Default for TagOptions {
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl TagOptions {
    /// Sets the name of the header; `x-fauna-tags` by default.
    pub fn header_name(self, name: HeaderName) -> Self {
        Self { name, ..self }
    }

    /// Sets how many tags are allowed; 25 by default.
    pub fn max_tags(self, max_tags: usize) -> Self {
        Self { max_tags, ..self }
    }

    /// Sets how many characters a name may have; 40 by default.
    pub fn max_name(self, max_name: usize) -> Self {
        Self { max_name, ..self }
    }

    /// Sets how many characters a value may have; 80 by default.
    pub fn max_value(self, max_value: usize) -> Self {
        Self { max_value, ..self }
    }

    /// Sets how many characters all tags may have as one header value; 3,000 by default.
    pub fn max_length(self, max_length: usize) -> Self {
        Self { max_length, ..self }
    }

    /// Returns the name of the header.
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Creates tags from names and values.
    ///
    /// # Errors
    ///
    /// See [`from_bytes`](Self::from_bytes); a comma or an equals sign in a name or a value is reported first. The
    /// position is that in the header that the pairs would make.
    pub fn from_pairs<N, V>(&self, pairs: impl IntoIterator<Item = (N, V)>) -> Result<Tags, InvalidTags>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut list = String::new();
        for (index, (name, value)) in pairs.into_iter().enumerate() {
            let (name, value) = (name.as_ref(), value.as_ref());
            // A comma would start another tag, and an equals sign would move the start of the value.
            let start = list.len() + usize::from(index > 0);
            let grammar = |at, expected| ErrorKind::Grammar { pair: index + 1, position: start + at + 1, expected };
            if let Some(at) = name.find([',', '=']) {
                return Err(self.error(grammar(at, Expected::Name)));
            }
            if let Some(at) = value.find([',', '=']) {
                return Err(self.error(grammar(name.len() + 1 + at, Expected::Value)));
            }
            if index > 0 {
                list.push(',');
            }
            list.extend([name, "=", value]);
            if list.len() > self.max_length {
                break;
            }
        }
        let len = count_pairs(list.as_bytes(), self).map_err(|kind| self.error(kind))?;
        Ok(Tags { value: header_value(list.as_bytes()), len })
    }

    /// Parses the value of a header. Spaces and tabs around the value are ignored; an empty value has no tags.
    ///
    /// # Errors
    ///
    /// Returns an error if the value violates a rule. Checks are made in this order: the header is too long; the
    /// grammar of the whole header; too many tags; and then for each pair, from left to right: its name is too long,
    /// its value is too long, an earlier pair has the same name.
    pub fn from_bytes(&self, value: &[u8]) -> Result<Tags, InvalidTags> {
        let value = trim(value);
        let len = count_pairs(value, self).map_err(|kind| self.error(kind))?;
        Ok(Tags { value: header_value(value), len })
    }

    /// Parses all field lines of the header, in order, as one list; `None` if there are none.
    ///
    /// # Errors
    ///
    /// See [`from_bytes`](Self::from_bytes), for the list. Reads no more than the limits allow.
    #[inline]
    pub fn from_headers(&self, headers: &HeaderMap) -> Result<Option<Tags>, InvalidTags> {
        match list::join(&headers.get_all(&self.name), self.max_length) {
            Ok(value) => value.map(|value| self.parse_trimmed(value)).transpose(),
            Err(list::TooLong) => Err(self.error(ErrorKind::TooLong { max: self.max_length })),
        }
    }

    #[inline]
    pub(super) fn parse_trimmed(&self, value: HeaderValue) -> Result<Tags, InvalidTags> {
        let len = count_pairs(value.as_bytes(), self).map_err(|kind| self.error(kind))?;
        Ok(Tags { value, len })
    }

    /// Sets the header, replacing all its lines, or removes it if there are no tags.
    pub fn insert(&self, headers: &mut HeaderMap, tags: &Tags) {
        if tags.is_empty() {
            self.remove(headers);
        } else {
            headers.insert(self.name.clone(), tags.value.clone());
        }
    }

    /// Removes the header.
    pub(crate) fn remove(&self, headers: &mut HeaderMap) {
        remove(headers, &self.name);
    }

    /// Checks tags that may have been created with other options.
    pub(crate) fn check(&self, tags: &Tags) -> Result<(), InvalidTags> {
        count_pairs(tags.value.as_bytes(), self).map(|_| ()).map_err(|kind| self.error(kind))
    }

    #[cold]
    fn error(&self, kind: ErrorKind) -> InvalidTags {
        InvalidTags::new(self.name.clone(), kind)
    }
}
