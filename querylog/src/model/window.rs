//! A span of time: [`Window`].

use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use crate::model::time::{InvalidTimestamp, Timestamp, read_micros};

/// A span of time, whose ends are both inclusive. An end between two microseconds is rounded inward, so that the window
/// contains exactly the records in the span.
///
/// ```
/// use tagtrail_querylog::{Timestamp, Window};
///
/// let window = Window::parse(Some("2025-04-01T00:00:00.0000001Z"), None)?;
/// assert_eq!(window.start.to_string(), "2025-04-01T00:00:00.000001Z");
/// assert_eq!(window.end, Timestamp::MAX);
/// # Ok::<_, tagtrail_querylog::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Window {
    /// The start, inclusive.
    pub start: Timestamp,
    /// The end, inclusive.
    pub end: Timestamp,
}

impl Window {
    /// All of time.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// Parses the ends of a window from ISO 8601; `None` for no limit.
    ///
    /// # Errors
    ///
    /// If a text is not a time.
    pub fn parse(start: Option<&str>, end: Option<&str>) -> Result<Self, InvalidTimestamp> {
        let start = start.map_or(Ok(Timestamp::MIN), start_of)?;
        let end = end.map_or(Ok(Timestamp::MAX), end_of)?;
        Ok(Self { start, end })
    }
}

/// Creates a window from a range, whose ends may be inclusive or exclusive: `start..end`, `start..=end`, `start..`,
/// `..`.
///
/// ```
/// use tagtrail_querylog::{Timestamp, Window};
///
/// let (first, last) = ("2025-04-01".parse::<Timestamp>()?, "2025-04-02".parse::<Timestamp>()?);
/// assert_eq!(Window::from(first..=last).end, last);
/// assert_eq!(Window::from(first..last).end.to_string(), "2025-04-01T23:59:59.999999Z");
/// assert_eq!(Window::from(..), Window::ALL);
/// # Ok::<_, tagtrail_querylog::InvalidTimestamp>(())
/// ```
impl<R: RangeBounds<Timestamp>> From<R> for Window {
    fn from(range: R) -> Self {
        const STEP: Duration = Duration::from_micros(1);
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(STEP),
            Bound::Unbounded => Timestamp::MIN,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => *end,
            Bound::Excluded(end) => end.saturating_sub(STEP),
            Bound::Unbounded => Timestamp::MAX,
        };
        Self { start, end }
    }
}

/// Returns [`Window::ALL`].
impl Default for Window {
    fn default() -> Self {
        Self::ALL
    }
}

/// Parses a time in ISO 8601, rounded up to a microsecond.
pub(crate) fn start_of(text: &str) -> Result<Timestamp, InvalidTimestamp> {
    let (micros, is_whole) = read_micros(text)?;
    Ok(Timestamp::from_micros(if is_whole { micros } else { micros + 1 }))
}

/// Parses a time in ISO 8601, rounded down to a microsecond.
pub(crate) fn end_of(text: &str) -> Result<Timestamp, InvalidTimestamp> {
    let (micros, _) = read_micros(text)?;
    Ok(Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_of_a_range_includes_or_excludes_its_ends() {
        let at = Timestamp::from_micros;
        let bounds = |start: Bound<i64>, end: Bound<i64>| (start.map(at), end.map(at));
        let (first, last) = (Timestamp::MIN.as_micros(), Timestamp::MAX.as_micros());
        for (range, start, end) in [
            (bounds(Bound::Included(2), Bound::Included(5)), 2, 5),
            (bounds(Bound::Included(2), Bound::Excluded(5)), 2, 4),
            (bounds(Bound::Excluded(2), Bound::Unbounded), 3, last),
            (bounds(Bound::Unbounded, Bound::Excluded(5)), first, 4),
            (bounds(Bound::Included(2), Bound::Excluded(2)), 2, 1),
        ] {
            assert_eq!(Window::from(range), Window { start: at(start), end: at(end) }, "{range:?}");
        }
    }

    #[test]
    fn ends_are_exact_if_they_are_between_microseconds() {
        let (first, last) = (Timestamp::MIN.as_micros(), Timestamp::MAX.as_micros());
        for (text, start, end) in [
            ("1970-01-01", 0, 0),
            ("1970-01-01T00:00:00.000001", 1, 1),
            ("1970-01-01T00:00:00.000000001", 1, 0),
            ("1970-01-01T00:00:00.000001999", 2, 1),
            ("1969-12-31T23:59:59.999999999", 0, -1),
            ("1969-12-31T23:59:59.999999", -1, -1),
            ("1970-01-01T00:59:59.9999999+01:00", 0, -1),
            ("-000001-01-01", first, first),
            ("-009999-01-01T00:00+25:59", first, first),
            ("9999-12-31T23:59:59.999999999", last, last),
            ("9999-12-31T23:59:59-20:00", last, last),
        ] {
            assert_eq!(start_of(text), Ok(Timestamp::from_micros(start)), "{text}");
            assert_eq!(end_of(text), Ok(Timestamp::from_micros(end)), "{text}");
        }
    }
}
