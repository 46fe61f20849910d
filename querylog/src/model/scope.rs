//! The scope of an export: [`ExportScope`].

use std::fmt;
use std::str::FromStr;

/// The scope of an export: a region group, or a database and those below it.
///
/// Its text is the region group, followed by the path of the database:
///
/// ```
/// use tagtrail_querylog::export::ExportScope;
///
/// let group: ExportScope = "us-std".parse()?;
/// let database: ExportScope = "us-std/ECommerce".parse()?;
/// let child: ExportScope = "us-std/ECommerce/orders".parse()?;
/// assert!(group.covers(&database) && database.covers(&child));
/// assert!(!child.covers(&database));
/// # Ok::<_, tagtrail_querylog::export::InvalidExportScope>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExportScope {
    region_group: String,
    database: Vec<String>,
}

/// The maximum length of the text in bytes.
const MAX_LENGTH: usize = 1_000;

impl ExportScope {
    /// Returns the name of the region group.
    pub fn region_group(&self) -> &str {
        &self.region_group
    }

    /// Returns the path of the database, from the top; empty for a whole region group.
    pub fn database(&self) -> &[String] {
        &self.database
    }

    /// Returns whether this scope contains everything in another one.
    pub fn covers(&self, other: &Self) -> bool {
        self.has(&other.region_group, &other.database)
    }

    /// Returns whether this scope contains a database of a region group.
    pub(crate) fn has(&self, region_group: &str, database: &[impl AsRef<str>]) -> bool {
        self.region_group == region_group
            && self.database.len() <= database.len()
            && self.database.iter().zip(database).all(|(own, other)| own == other.as_ref())
    }
}

impl FromStr for ExportScope {
    type Err = InvalidExportScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/').map(str::to_owned);
        let is_invalid = |part: &String| part.is_empty() || part.contains(char::is_control);
        let region_group = parts.next().filter(|_| text.len() <= MAX_LENGTH).ok_or(InvalidExportScope(()))?;
        let database: Vec<_> = parts.collect();
        if is_invalid(&region_group) || database.iter().any(is_invalid) {
            return Err(InvalidExportScope(()));
        }
        Ok(Self { region_group, database })
    }
}

impl fmt::Display for ExportScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region_group)?;
        self.database.iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

/// The error for a text that is not an [`ExportScope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid export scope: expected a region group (us-std) or a database path (us-std/ECommerce)")]
pub struct InvalidExportScope(());

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> ExportScope {
        text.parse().unwrap()
    }

    #[test]
    fn scope_is_parsed_from_a_region_group_and_a_path() {
        for text in ["us-std", "us-std/a", "us-std/a/b c/é"] {
            assert_eq!(scope(text).to_string(), text);
        }
        let long = "x".repeat(MAX_LENGTH + 1);
        for text in ["", "/", "/a", "us-std/", "us-std//a", "us\0", "us-std/a\n", &long] {
            assert_eq!(text.parse::<ExportScope>(), Err(InvalidExportScope(())), "{text:?}");
        }
    }

    #[test]
    fn scope_covers_only_what_is_below_it() {
        for (outer, inner, expected) in [
            ("us", "us", true),
            ("us", "us/a", true),
            ("us/a", "us/a/b", true),
            ("us/a", "us", false),
            ("us/a", "us/ab", false),
            ("us/a/b", "us/a", false),
            ("us", "us-std", false),
            ("us-std", "us", false),
            ("us/a", "eu/a", false),
            ("us/a", "us/A", false),
        ] {
            assert_eq!(scope(outer).covers(&scope(inner)), expected, "{outer} {inner}");
        }
    }
}
