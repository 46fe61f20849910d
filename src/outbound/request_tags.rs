//! The tags of a single request.

use crate::header::{InvalidTags, TagOptions, Tags};

/// A request extension with the tags of one request, which replace those of its trail.
///
/// Invalid tags are stored as an error, which is returned when the request is sent, so callers handle it in one place.
///
/// ```
/// use tagtrail::RequestTags;
///
/// let request = http::Request::builder()
///     .uri("http://users.example/")
///     .extension(RequestTags::new([("project", "blog"), ("job", "nightly")]))
///     .body(())
///     .unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTags(Result<Tags, InvalidTags>);

impl RequestTags {
    /// Creates tags from names and values, with the default [`TagOptions`]. To use others, convert the result of
    /// [`TagOptions::from_pairs`], which may be an error: `RequestTags::from(options.from_pairs(pairs))`.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        Self(Tags::from_pairs(pairs))
    }

    /// Returns the tags, if they are valid with these options.
    pub(super) fn check(&self, options: &TagOptions) -> Result<&Tags, InvalidTags> {
        let tags = self.0.as_ref().map_err(InvalidTags::clone)?;
        options.check(tags)?;
        Ok(tags)
    }
}

impl From<Tags> for RequestTags {
    fn from(tags: Tags) -> Self {
        Self(Ok(tags))
    }
}

impl From<Result<Tags, InvalidTags>> for RequestTags {
    fn from(tags: Result<Tags, InvalidTags>) -> Self {
        Self(tags)
    }
}
