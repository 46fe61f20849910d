//! Moments: the one file that knows the clock and the calendar.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::fmt::StdFmtWrite;
use jiff::fmt::temporal::{DateTimeParser, DateTimePrinter};
use jiff::tz::TimeZone;

/// A moment, in microseconds of UTC, from 1970 to the end of 9999.
///
/// Its text has one width, so that the order of texts is the order of moments.
///
/// ```
/// use tagtrail_querylog::Timestamp;
///
/// let moment: Timestamp = "2024-05-10 20:05:42.871+02:00".parse()?;
/// assert_eq!(moment.to_string(), "2024-05-10T18:05:42.871000Z");
/// # Ok::<_, tagtrail_querylog::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// The last microsecond that the calendar knows in every time zone: 9999-12-30T21:59:59.999999Z.
const LAST: u64 = 253_402_207_199_999_999;

impl Timestamp {
    /// The earliest moment: the begin of 1970.
    pub const MIN: Self = Self(0);
    /// The latest moment: the end of 9999.
    pub const MAX: Self = Self(LAST);

    /// What the clock of this machine shows.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// So many microseconds after the begin of 1970 (UTC), at most [`MAX`](Self::MAX).
    pub fn from_micros(micros: u64) -> Self {
        Self(micros.min(LAST))
    }

    /// Microseconds since the begin of 1970 (UTC).
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// So much later, at most [`MAX`](Self::MAX).
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(duration)))
    }

    /// So much earlier, at least [`MIN`](Self::MIN).
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// `2024-05-10 18:05:42.871 Z`, as exported records have it.
    pub(crate) fn exported(self) -> String {
        self.calendar().strftime("%Y-%m-%d %H:%M:%S.%3f Z").to_string()
    }

    /// `20240510T180542.871000Z`, as file names have it.
    pub(crate) fn compact(self) -> String {
        self.calendar().strftime("%Y%m%dT%H%M%S.%6fZ").to_string()
    }

    /// Reads [`compact`](Self::compact).
    pub(crate) fn from_compact(text: &str) -> Option<Self> {
        let moment = DateTime::strptime("%Y%m%dT%H%M%S%.fZ", text).ok().filter(|_| text.len() == 23)?;
        Self::of_calendar(moment.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }

    fn calendar(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0.cast_signed()).unwrap_or(jiff::Timestamp::MAX)
    }

    fn of_calendar(moment: jiff::Timestamp) -> Option<Self> {
        u64::try_from(moment.as_microsecond()).ok().map(Self::from_micros)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::from_micros(time.duration_since(UNIX_EPOCH).map_or(0, micros))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_micros(timestamp.0)
    }
}

/// `2024-05-10T18:05:42.871000Z`: ISO 8601, in UTC, always 27 characters.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
        PRINTER.print_timestamp(&self.calendar(), StdFmtWrite(f)).map_err(|_| fmt::Error)
    }
}

/// Reads ISO 8601: with `Z` or an offset, else in UTC; with up to nine digits of a second, of which six are kept; a
/// blank in place of the `T`; a date alone is its first moment.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PARSER: DateTimeParser = DateTimeParser::new();
        let zoned = PARSER.parse_timestamp(text).ok();
        let moment = zoned.or_else(|| {
            let local = PARSER.parse_datetime(text).ok()?;
            Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
        });
        moment.and_then(Self::of_calendar).ok_or(InvalidTimestamp(()))
    }
}

/// A text that is no moment between 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no time in ISO 8601, from 1970 to 9999, such as 2024-05-10T18:05:42.871Z")]
pub struct InvalidTimestamp(());

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        text.parse::<Timestamp>().ok().map(|moment| moment.to_string())
    }

    #[test]
    fn reads_every_form_of_iso_8601_that_a_user_writes() {
        let expected = Some("2024-05-10T18:05:42.871000Z".to_owned());
        for text in [
            "2024-05-10T18:05:42.871Z",
            "2024-05-10T18:05:42.871000Z",
            "2024-05-10T18:05:42.871000000+00:00",
            "2024-05-10t18:05:42.871z",
            "2024-05-10 18:05:42.871",
            "2024-05-10T18:05:42.871",
            "2024-05-10T20:05:42.871+02:00",
            "2024-05-10T12:35:42.871-05:30",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("2024-05-10"), Some("2024-05-10T00:00:00.000000Z".to_owned()));
        assert_eq!(read("2024-05-10T18:05"), Some("2024-05-10T18:05:00.000000Z".to_owned()));
    }

    #[test]
    fn refuses_what_is_no_moment() {
        for text in
            ["", "now", "18:05", "2024-13-01", "2024-02-30", "1969-12-31T23:59:59Z", "2024-05-10T18:05:42.871Zx"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn text_has_one_width_and_its_order_is_that_of_time() {
        let moments =
            [Timestamp::MIN, Timestamp(1), Timestamp(1_000_000), Timestamp(1_715_364_342_871_000), Timestamp::MAX];
        let texts: Vec<_> = moments.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        assert!(texts.iter().all(|text| text.len() == 27));
        for (moment, text) in moments.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(*moment));
            assert_eq!(Timestamp::from_compact(&moment.compact()), Some(*moment));
        }
        assert_eq!(texts[0], "1970-01-01T00:00:00.000000Z");
        assert_eq!(texts[4], "9999-12-30T21:59:59.999999Z");
        assert_eq!(moments[3].exported(), "2024-05-10 18:05:42.871 Z");
        assert_eq!(moments[3].compact(), "20240510T180542.871000Z");
        assert_eq!(Timestamp::from_compact("20240510T180542.8710Z"), None);
    }

    #[test]
    fn a_clock_before_1970_shows_the_first_moment() {
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_secs(9)), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.minus(Duration::from_secs(1)), Timestamp::MIN);
    }
}
