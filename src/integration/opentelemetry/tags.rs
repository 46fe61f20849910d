//! Tags as OpenTelemetry's attributes.

use opentelemetry::KeyValue;

use crate::header::Tags;

/// Converts [`Tags`] to OpenTelemetry's attributes and baggage.
///
/// ```
/// use opentelemetry::KeyValue;
/// use tagtrail::{OpenTelemetryTagsExt, Tags};
///
/// let tags = Tags::from_pairs([("project", "blog")])?;
/// let attributes: Vec<_> = tags.key_values("tag.").collect();
/// assert_eq!(attributes, [KeyValue::new("tag.project", "blog")]);
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
pub trait OpenTelemetryTagsExt {
    /// Iterates over the tags as key-value pairs, with this prefix before each name.
    fn key_values(&self, prefix: &str) -> impl Iterator<Item = KeyValue>;
}

impl OpenTelemetryTagsExt for Tags {
    fn key_values(&self, prefix: &str) -> impl Iterator<Item = KeyValue> {
        self.iter().map(move |(name, value)| KeyValue::new(format!("{prefix}{name}"), value.to_owned()))
    }
}
