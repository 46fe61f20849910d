//! Moments of an audit log, whose records may come from elsewhere: [`Moment`].

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::DateTimeParser;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::time::Timestamp;

/// A moment of an audit log, in microseconds of UTC, from the year 1 to the end of 9999.
///
/// Its text has one width, so that the order of texts is the order of moments.
///
/// ```
/// use tagtrail_querylog::Moment;
///
/// let moment: Moment = "2025-04-01 02:00+02:00".parse()?;
/// assert_eq!(moment.to_string(), "2025-04-01T00:00:00.000000+00:00");
/// # Ok::<_, tagtrail_querylog::InvalidMoment>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_300_799_999_999;

impl Moment {
    /// The begin of the year 1.
    pub const MIN: Self = Self(FIRST);
    /// The end of 9999.
    pub const MAX: Self = Self(LAST);

    /// So many microseconds after the begin of 1970 (UTC), within [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(FIRST, LAST))
    }

    /// Microseconds since the begin of 1970 (UTC).
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    fn calendar(self) -> DateTime {
        EPOCH.checked_add(SignedDuration::from_micros(self.0)).unwrap_or(EPOCH)
    }
}

impl From<Timestamp> for Moment {
    fn from(timestamp: Timestamp) -> Self {
        Self::from_micros(timestamp.as_micros().cast_signed())
    }
}

/// `2025-04-01T00:00:00.000000+00:00`: ISO 8601, in UTC, always 32 characters.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calendar = self.calendar();
        let (date, time) = (calendar.date(), calendar.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+00:00",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.subsec_nanosecond() / 1_000
        )
    }
}

/// Reads ISO 8601: with `Z` or an offset, else in UTC; with up to nine digits of a second, of which six are kept; a
/// blank in place of the `T`; a date alone is its first moment.
impl FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let micros = nanoseconds(text)?.div_euclid(1_000);
        i64::try_from(micros).ok().filter(|micros| (FIRST..=LAST).contains(micros)).map(Self).ok_or(InvalidMoment(()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A text that is no moment between the years 1 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no time in ISO 8601, such as 2025-04-01T00:00:00.000000+00:00")]
pub struct InvalidMoment(());

/// A span of time, both ends included. An end that is between two microseconds loses none of its precision: the span
/// has exactly the moments of records that are within.
///
/// ```
/// use tagtrail_querylog::{Moment, Window};
///
/// let window = Window::parse(Some("2025-04-01T00:00:00.0000001Z"), None)?;
/// assert_eq!(window.start.to_string(), "2025-04-01T00:00:00.000001+00:00");
/// assert_eq!(window.end, Moment::MAX);
/// # Ok::<_, tagtrail_querylog::InvalidMoment>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first moment.
    pub start: Moment,
    /// The last moment.
    pub end: Moment,
}

impl Window {
    /// All the time there is.
    pub const ALL: Self = Self { start: Moment::MIN, end: Moment::MAX };

    /// A window from texts in ISO 8601; `None` for no limit.
    ///
    /// # Errors
    ///
    /// If a text is no time.
    pub fn parse(start: Option<&str>, end: Option<&str>) -> Result<Self, InvalidMoment> {
        let start = start.map_or(Ok(Moment::MIN), start_of)?;
        let end = end.map_or(Ok(Moment::MAX), end_of)?;
        Ok(Self { start, end })
    }
}

/// The whole of time.
impl Default for Window {
    fn default() -> Self {
        Self::ALL
    }
}

/// The first microsecond that is not before the text's moment.
pub(crate) fn start_of(text: &str) -> Result<Moment, InvalidMoment> {
    nanoseconds(text).map(|nanos| clamped(-(-nanos).div_euclid(1_000)))
}

/// The last microsecond that is not after the text's moment.
pub(crate) fn end_of(text: &str) -> Result<Moment, InvalidMoment> {
    nanoseconds(text).map(|nanos| clamped(nanos.div_euclid(1_000)))
}

fn clamped(micros: i128) -> Moment {
    Moment(i64::try_from(micros.clamp(FIRST.into(), LAST.into())).unwrap_or(LAST))
}

/// Nanoseconds since the begin of 1970 (UTC).
fn nanoseconds(text: &str) -> Result<i128, InvalidMoment> {
    const PARSER: DateTimeParser = DateTimeParser::new();
    let pieces = PARSER.parse_pieces(text).map_err(|_| InvalidMoment(()))?;
    if pieces.time_zone_annotation().is_some() {
        return Err(InvalidMoment(()));
    }
    let local = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    let offset = pieces.to_numeric_offset().map_or(0, |offset| i128::from(offset.seconds()));
    Ok(local.duration_since(EPOCH).as_nanos() - offset * 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<Moment>().ok().map(|moment| moment.to_string())
    }

    #[test]
    fn reads_every_form_of_iso_8601_that_a_user_writes() {
        for text in [
            "2025-04-01T10:20:30.5Z",
            "2025-04-01T10:20:30.500000+00:00",
            "2025-04-01 10:20:30.5",
            "2025-04-01t10:20:30.500000999z",
            "2025-04-01T12:20:30.5+02:00",
            "2025-04-01T12:20:30.5+0200",
            "2025-04-01T04:50:30.5-05:30",
            "2025-03-31T20:20:30.5-14",
        ] {
            assert_eq!(read(text).as_deref(), Some("2025-04-01T10:20:30.500000+00:00"), "{text}");
        }
        assert_eq!(read("2025-04-01").as_deref(), Some("2025-04-01T00:00:00.000000+00:00"));
        assert_eq!(read("2025-04-01T10:20").as_deref(), Some("2025-04-01T10:20:00.000000+00:00"));
    }

    #[test]
    fn refuses_what_is_no_moment() {
        for text in [
            "",
            " ",
            "now",
            "1743465600",
            "2025-13-01",
            "2025-02-29",
            "2025-04-01T25:00",
            "2025-04-01T10:20:30 02:00",
            "2025-04-01T10:20:30Zx",
            "2025-04-01T10:20+02:00[Europe/Paris]",
            "0001-01-01T00:00+05:00",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn text_has_one_width_and_its_order_is_that_of_time() {
        let moments = [FIRST, -1, 0, 1, 1_743_465_600_000_000, LAST].map(Moment);
        let texts: Vec<_> = moments.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 32), "{texts:?}");
        for (moment, text) in moments.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(*moment), "{text}");
        }
        assert_eq!(texts[0], "0001-01-01T00:00:00.000000+00:00");
        assert_eq!(texts[1], "1969-12-31T23:59:59.999999+00:00");
        assert_eq!(texts[5], "9999-12-31T23:59:59.999999+00:00");
    }

    #[test]
    fn ends_of_a_window_are_exact() {
        for (text, start, end) in [
            ("1970-01-01", 0, 0),
            ("1970-01-01T00:00:00.000001", 1, 1),
            ("1970-01-01T00:00:00.000000001", 1, 0),
            ("1970-01-01T00:00:00.000001999", 2, 1),
            ("1969-12-31T23:59:59.999999999", 0, -1),
            ("-000001-01-01", FIRST, FIRST),
            ("9999-12-31T23:59:59.999999999", LAST, LAST),
            ("9999-12-31T23:59:59-20:00", LAST, LAST),
        ] {
            assert_eq!(start_of(text), Ok(Moment(start)), "{text}");
            assert_eq!(end_of(text), Ok(Moment(end)), "{text}");
        }
    }
}
