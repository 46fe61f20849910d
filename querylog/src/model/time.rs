//! [`Timestamp`]: the only file that reads the clock and knows the calendar.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::{DateTime, Time};
use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use jiff::tz::Offset;

/// A time in UTC with microseconds, from year 1 to the end of 9999. The default is the start of 1970.
///
/// Its text has a fixed width, so that texts sort like times.
///
/// ```
/// use tagtrail_querylog::Timestamp;
///
/// let moment: Timestamp = "2024-05-10 20:05:42.871+02:00".parse()?;
/// assert_eq!(moment.to_string(), "2024-05-10T18:05:42.871000Z");
/// # Ok::<_, tagtrail_querylog::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_300_799_999_999;
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

impl Timestamp {
    /// The earliest time: the start of year 1.
    pub const MIN: Self = Self(FIRST);
    /// The latest time: the end of 9999.
    pub const MAX: Self = Self(LAST);

    /// Returns the current time.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Creates a timestamp from microseconds since the start of 1970 (UTC), clamped to [`MIN`](Self::MIN) and
    /// [`MAX`](Self::MAX).
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(FIRST, LAST))
    }

    /// Returns the microseconds since the start of 1970 (UTC); negative before.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the time after a duration, at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(duration)))
    }

    /// Returns the time before a duration, at least [`MIN`](Self::MIN).
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(micros(duration)))
    }

    /// Returns the form of exported records: `2024-05-10 18:05:42.871 Z`.
    pub(crate) fn exported(self) -> String {
        let text = self.to_string();
        // The date, and the time of day to the millisecond.
        let (date, time) = (text.get(..10).unwrap_or_default(), text.get(11..23).unwrap_or_default());
        format!("{date} {time} Z")
    }

    /// Returns the form of audit records: `2024-05-10T18:05:42.871000+00:00`, always 32 characters.
    #[cfg(any(feature = "client", feature = "store"))]
    pub(crate) fn audit(self) -> String {
        PRINTER.datetime_to_string(&self.calendar()) + "+00:00"
    }

    /// Returns the form of file names: `20240510T180542.871000Z`.
    pub(crate) fn compact(self) -> String {
        self.calendar().strftime("%Y%m%dT%H%M%S.%6fZ").to_string()
    }

    /// Parses the form of [`compact`](Self::compact), and no other.
    pub(crate) fn from_compact(text: &str) -> Option<Self> {
        let (micros, _) = micros_of(DateTime::strptime("%Y%m%dT%H%M%S%.fZ", text).ok()?);
        Self::within(micros).filter(|moment| moment.compact() == text)
    }

    fn within(micros: i64) -> Option<Self> {
        (FIRST..=LAST).contains(&micros).then_some(Self(micros))
    }

    /// Returns the date and the time of day in UTC.
    fn calendar(self) -> DateTime {
        // A timestamp of jiff is a date in every time zone, so its range ends a day before the end of 9999. In the zone
        // furthest ahead of UTC, the same date and time of day come earlier, and the range contains them all.
        let second = self.0.div_euclid(1_000_000) - i64::from(Offset::MAX.seconds());
        let nanos = i32::try_from(self.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default();
        jiff::Timestamp::new(second, nanos).map_or(EPOCH, |moment| Offset::MAX.to_datetime(moment))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Times before 1970 are kept.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self::from_micros(micros(since)),
            Err(before) => Self::default().saturating_sub(before.duration() + Duration::from_nanos(999)),
        }
    }
}

/// Returns the start of 1970 if the system cannot represent the time: on Windows, times start in 1601.
impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let distance = Duration::from_micros(timestamp.0.unsigned_abs());
        let time = if timestamp.0 < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.unwrap_or(UNIX_EPOCH)
    }
}

/// Writes ISO 8601 in UTC: `2024-05-10T18:05:42.871000Z`, always 27 characters.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PRINTER.print_datetime(&self.calendar(), StdFmtWrite(&mut *f)).map_err(|_| fmt::Error)?;
        f.write_str("Z")
    }
}

/// Parses ISO 8601. Without `Z` or an offset, the time is in UTC. Fractions of a second may have nine digits, of which
/// six are kept. A space may take the place of the `T`, and a date alone is its midnight.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (micros, _) = read_micros(text)?;
        Self::within(micros).ok_or(InvalidTimestamp(()))
    }
}

/// The error for a text that is not a time between years 1 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 time between years 1 and 9999 (example: 2024-05-10T18:05:42.871Z)")]
pub struct InvalidTimestamp(());

/// Parses ISO 8601. Returns the time in microseconds since the start of 1970 (UTC), rounded down, and whether it is
/// exact. It may be outside the range of a [`Timestamp`].
pub(crate) fn read_micros(text: &str) -> Result<(i64, bool), InvalidTimestamp> {
    const PARSER: DateTimeParser = DateTimeParser::new();
    let pieces = PARSER.parse_pieces(text).map_err(|_| InvalidTimestamp(()))?;
    if pieces.time_zone_annotation().is_some() {
        return Err(InvalidTimestamp(()));
    }
    let (micros, is_whole) = micros_of(pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight())));
    let ahead = pieces.to_numeric_offset().map_or(0, |offset| i64::from(offset.seconds()) * 1_000_000);
    Ok((micros - ahead, is_whole))
}

/// Returns whether a text has an offset from UTC.
#[cfg(feature = "export")]
pub(crate) fn has_zone(text: &str) -> bool {
    DateTimeParser::new().parse_pieces(text).is_ok_and(|pieces| pieces.to_numeric_offset().is_some())
}

/// Returns the microseconds of a date and a time of day in UTC, rounded down, and whether they are exact. Dates of the
/// calendar are far from the limits of the number.
fn micros_of(utc: DateTime) -> (i64, bool) {
    let since = utc.duration_since(EPOCH);
    let nanos = i64::from(since.subsec_nanos());
    (since.as_secs() * 1_000_000 + nanos.div_euclid(1_000), nanos % 1_000 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<Timestamp>().ok().map(|moment| moment.to_string())
    }

    #[test]
    fn timestamp_is_parsed_from_every_form_of_iso_8601() {
        for text in [
            "2024-05-10T18:05:42.871Z",
            "2024-05-10T18:05:42.871000Z",
            "2024-05-10T18:05:42.871000+00:00",
            "2024-05-10T18:05:42.871000000+00:00",
            "2024-05-10t18:05:42.871z",
            "2024-05-10t18:05:42.871000999z",
            "2024-05-10 18:05:42.871",
            "2024-05-10T18:05:42.871",
            "2024-05-10T20:05:42.871+02:00",
            "2024-05-10T20:05:42.871+0200",
            "2024-05-10T12:35:42.871-05:30",
            "2024-05-10T04:05:42.871-14",
            "2024-05-11T08:05:42.871+14",
        ] {
            assert_eq!(read(text).as_deref(), Some("2024-05-10T18:05:42.871000Z"), "{text}");
        }
        assert_eq!(read("2024-05-10").as_deref(), Some("2024-05-10T00:00:00.000000Z"));
        assert_eq!(read("2024-05-10T18:05").as_deref(), Some("2024-05-10T18:05:00.000000Z"));
        assert_eq!(read("1969-12-31T23:59:59Z").as_deref(), Some("1969-12-31T23:59:59.000000Z"));
        assert_eq!(read("1969-12-31T23:59:59.9999999Z").as_deref(), Some("1969-12-31T23:59:59.999999Z"));
    }

    #[test]
    fn timestamp_is_rejected_if_it_is_not_iso_8601() {
        for text in [
            "",
            " ",
            "now",
            "18:05",
            "1743465600",
            "2024-13-01",
            "2024-02-30",
            "2025-02-29",
            "2025-04-01T25:00",
            "2025-04-01T10:20:30 02:00",
            "2025-04-01T10:20:30Zx",
            "2024-05-10T18:05:42.871Zx",
            "2025-04-01T10:20+02:00[Europe/Paris]",
            "0000-12-31T23:59:59.999999999",
            "0001-01-01T00:00+05:00",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn text_has_a_fixed_width_and_sorts_like_time() {
        let moments = [FIRST, -1, 0, 1, 1_000_000, 1_715_364_342_871_000, LAST - 93_600_000_000, LAST].map(Timestamp);
        let texts = moments.map(|moment| moment.to_string());
        let audit = moments.map(Timestamp::audit);
        let names = moments.map(Timestamp::compact);
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 27), "{texts:?}");
        assert!(audit.is_sorted() && audit.iter().all(|text| text.len() == 32), "{audit:?}");
        assert!(names.is_sorted() && names.iter().all(|text| text.len() == 23), "{names:?}");
        for (index, moment) in moments.into_iter().enumerate() {
            assert_eq!(texts[index].parse(), Ok(moment));
            assert_eq!(audit[index].parse(), Ok(moment));
            assert_eq!(Timestamp::from_compact(&names[index]), Some(moment));
        }
        assert_eq!(texts[0], "0001-01-01T00:00:00.000000Z");
        assert_eq!(texts[1], "1969-12-31T23:59:59.999999Z");
        assert_eq!(texts[2], "1970-01-01T00:00:00.000000Z");
        assert_eq!(texts[6], "9999-12-30T21:59:59.999999Z");
        assert_eq!(texts[7], "9999-12-31T23:59:59.999999Z");
        assert_eq!(audit[0], "0001-01-01T00:00:00.000000+00:00");
        assert_eq!(audit[1], "1969-12-31T23:59:59.999999+00:00");
        assert_eq!(audit[7], "9999-12-31T23:59:59.999999+00:00");
        assert_eq!(moments[1].exported(), "1969-12-31 23:59:59.999 Z");
        assert_eq!(moments[5].exported(), "2024-05-10 18:05:42.871 Z");
        assert_eq!(names[5], "20240510T180542.871000Z");
    }

    #[test]
    fn compact_time_is_rejected_in_any_other_form() {
        for text in [
            "20240510T180542.8710Z",
            "20240510T180542.8710000Z",
            "+20240510T180542.87100Z",
            "20240510T180560.871000Z",
            "00000510T180542.871000Z",
        ] {
            assert_eq!(Timestamp::from_compact(text), None, "{text}");
        }
    }

    #[test]
    fn clock_before_1970_keeps_its_time() {
        let before = |nanos| Timestamp::from(UNIX_EPOCH - Duration::from_nanos(nanos));
        assert_eq!(before(9_000_000_000), Timestamp(-9_000_000));
        assert_eq!([before(1), before(1_000), before(1_001)], [-1, -1, -2].map(Timestamp));
        assert_eq!(Timestamp::from(UNIX_EPOCH), Timestamp::default());
        for micros in [-9_000_001, -1, 0, 1, LAST] {
            assert_eq!(Timestamp::from(SystemTime::from(Timestamp(micros))), Timestamp(micros));
        }
    }

    #[test]
    fn arithmetic_saturates_at_the_limits() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::from_secs(1)), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp(1).saturating_sub(Duration::from_micros(2)), Timestamp(-1));
        assert_eq!([i64::MIN, i64::MAX].map(Timestamp::from_micros), [Timestamp::MIN, Timestamp::MAX]);
    }
}
