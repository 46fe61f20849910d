//! Times that people write: [`TimeExpression`].

use std::str::FromStr;
use std::sync::LazyLock;

use clap::{ArgAction, Args};
use jiff::civil::{self, Time};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan, Zoned};
use tagtrail_querylog::Timestamp;

/// The forms of a time.
const EXPECTED: &str = "expected a date or time (2024-05-10, 2024-05-10T18:05:42Z, 2024-05-10 18:05+02:00, \
    2024-05-10 18:05[Europe/Berlin]), a duration ago (15m, 1h30m, 7d, 2 hours ago), now, today, yesterday, tomorrow, a \
    time of today (18:05), or seconds or milliseconds since 1970 (1715364342)";

/// When the program started. All options are relative to the same time.
static NOW: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);

/// A time as it is written, which may be relative to now, and to a time zone.
#[derive(Clone, Debug)]
pub(crate) enum TimeExpression {
    Moment(Timestamp),
    /// A date and time of day, in a time zone that it does not name. UTC's is exact.
    Civil {
        utc: Timestamp,
        civil: civil::DateTime,
    },
    /// A time of day, this many days from today.
    Day {
        days: i64,
        time: Time,
    },
    Now,
    Ago(Box<Span>),
}

/// The time zone of times without one.
#[derive(Args, Clone, Debug)]
pub(crate) struct ZoneArg {
    /// Read times without an offset in the time zone of this machine, or of the variable `TZ`, instead of UTC
    #[arg(long, action = ArgAction::SetTrue, value_parser = zone)]
    local: TimeZone,
}

impl ZoneArg {
    pub(crate) fn moment(&self, expression: &TimeExpression) -> Timestamp {
        expression.at(*NOW, &self.local)
    }
}

/// Reads whether the option is there.
fn zone(is_local: &str) -> Result<TimeZone, &'static str> {
    if is_local == "true" {
        TimeZone::try_system().map_err(|_| "the time zone of this machine is unknown; set the variable TZ")
    } else {
        Ok(TimeZone::UTC)
    }
}

impl FromStr for TimeExpression {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_ascii();
        let midnight = |days| Self::Day { days, time: Time::midnight() };
        match text {
            "now" => return Ok(Self::Now),
            "today" => return Ok(midnight(0)),
            "yesterday" => return Ok(midnight(-1)),
            "tomorrow" => return Ok(midnight(1)),
            _ => {}
        }
        let forms = [since_1970, in_named_zone, date, time_of_today, ago];
        forms.iter().find_map(|form| form(text)).ok_or(EXPECTED)
    }
}

/// Ten digits are seconds: from 2001 to 2286. Thirteen are milliseconds of the same years.
fn since_1970(text: &str) -> Option<TimeExpression> {
    let micros = match text.len() {
        10 => 1_000_000,
        13 => 1_000,
        _ => return None,
    };
    // Without a sign.
    let number: u64 = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
    Some(TimeExpression::Moment(Timestamp::from_micros(i64::try_from(number).ok()? * micros)))
}

fn in_named_zone(text: &str) -> Option<TimeExpression> {
    let zoned: Zoned = text.ends_with(']').then(|| text.parse().ok())??;
    Some(TimeExpression::Moment(Timestamp::from_micros(zoned.timestamp().as_microsecond())))
}

fn date(text: &str) -> Option<TimeExpression> {
    let utc: Timestamp = text.parse().ok()?;
    let pieces = DateTimeParser::new().parse_pieces(text).ok()?;
    Some(match pieces.to_numeric_offset() {
        Some(_) => TimeExpression::Moment(utc),
        None => {
            TimeExpression::Civil { utc, civil: pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight())) }
        }
    })
}

fn time_of_today(text: &str) -> Option<TimeExpression> {
    // jiff also takes the time of a date and time.
    let time = (text.as_bytes().get(2) == Some(&b':')).then(|| text.parse().ok())??;
    Some(TimeExpression::Day { days: 0, time })
}

/// A duration in jiff's friendly format.
fn ago(text: &str) -> Option<TimeExpression> {
    let span: Span = text.strip_suffix("ago").unwrap_or(text).trim_ascii_end().parse().ok()?;
    (!span.is_negative()).then(|| TimeExpression::Ago(Box::new(span)))
}

impl TimeExpression {
    /// Returns the time, in this zone if the expression has none. A time that the zone skips, when clocks are set
    /// forward, counts as the hour after; of one that it repeats, the first. Outside of the calendar's range it is the
    /// closest time.
    fn at(&self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let here = || {
            let now = jiff::Timestamp::from_microsecond(now.as_micros()).unwrap_or_default();
            now.to_zoned(zone.clone())
        };
        let moment = match self {
            Self::Moment(moment) => return *moment,
            Self::Now => return now,
            Self::Civil { utc, .. } if *zone == TimeZone::UTC => return *utc,
            Self::Civil { civil, .. } => zone.to_zoned(*civil),
            Self::Day { days, time } => {
                let day = here().date().saturating_add(days.days());
                zone.to_zoned(day.to_datetime(*time))
            }
            Self::Ago(span) => here().checked_sub(**span),
        };
        moment.map_or(Timestamp::MIN, |moment| Timestamp::from_micros(moment.timestamp().as_microsecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        // With the rules of the European Union, in the form that needs no database.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn at(text: &str, now: &str, zone: &TimeZone) -> String {
        let expression: TimeExpression = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let moment = expression.at(now.parse().unwrap(), zone).to_string();
        moment.strip_suffix(":00.000000Z").map_or(moment.clone(), str::to_owned)
    }

    #[test]
    fn time_is_read_in_utc_or_in_local_time() {
        let now = "2026-11-27T10:30Z";
        for (text, utc, local) in [
            ("now", "2026-11-27T10:30", "2026-11-27T10:30"),
            ("today", "2026-11-27T00:00", "2026-11-26T23:00"),
            ("yesterday", "2026-11-26T00:00", "2026-11-25T23:00"),
            ("tomorrow", "2026-11-28T00:00", "2026-11-27T23:00"),
            ("09:00", "2026-11-27T09:00", "2026-11-27T08:00"),
            ("2026-11-27", "2026-11-27T00:00", "2026-11-26T23:00"),
            ("2026-11-27 09:00", "2026-11-27T09:00", "2026-11-27T08:00"),
            ("2026-07-27 09:00", "2026-07-27T09:00", "2026-07-27T07:00"),
            ("2026-11-27T09:00:00.871", "2026-11-27T09:00:00.871000Z", "2026-11-27T08:00:00.871000Z"),
            // These have a zone of their own.
            ("2026-11-27 09:00Z", "2026-11-27T09:00", "2026-11-27T09:00"),
            ("2026-11-27 09:00+02:00", "2026-11-27T07:00", "2026-11-27T07:00"),
            ("2026-11-27T09:00-05", "2026-11-27T14:00", "2026-11-27T14:00"),
            ("2026-11-27 09:00[UTC]", "2026-11-27T09:00", "2026-11-27T09:00"),
            ("2026-11-27 09:00+02:00[+02:00]", "2026-11-27T07:00", "2026-11-27T07:00"),
            ("1700000000", "2023-11-14T22:13:20.000000Z", "2023-11-14T22:13:20.000000Z"),
            ("1700000000871", "2023-11-14T22:13:20.871000Z", "2023-11-14T22:13:20.871000Z"),
            ("90m", "2026-11-27T09:00", "2026-11-27T09:00"),
            ("90m ago", "2026-11-27T09:00", "2026-11-27T09:00"),
            ("1h30m", "2026-11-27T09:00", "2026-11-27T09:00"),
            ("1h 30m ago", "2026-11-27T09:00", "2026-11-27T09:00"),
            ("2 hours ago", "2026-11-27T08:30", "2026-11-27T08:30"),
            ("1 day, 2 hours ago", "2026-11-26T08:30", "2026-11-26T08:30"),
            ("1.5h", "2026-11-27T09:00", "2026-11-27T09:00"),
            ("2w", "2026-11-13T10:30", "2026-11-13T10:30"),
            ("0s", "2026-11-27T10:30", "2026-11-27T10:30"),
            (" 2h ", "2026-11-27T08:30", "2026-11-27T08:30"),
        ] {
            assert_eq!(at(text, now, &TimeZone::UTC), utc, "{text} in UTC");
            assert_eq!(at(text, now, &berlin()), local, "{text} in local time");
        }
    }

    #[test]
    fn days_follow_the_calendar_where_clocks_change_and_years_end() {
        for (text, now, moment) in [
            // Clocks are set forward on 2026-03-29 at 02:00, and back on 2026-10-25 at 03:00.
            ("today", "2026-03-29T10:00Z", "2026-03-28T23:00"),
            ("tomorrow", "2026-03-29T10:00Z", "2026-03-29T22:00"),
            ("yesterday", "2026-03-30T10:00Z", "2026-03-28T23:00"),
            ("1d", "2026-03-30T00:00Z", "2026-03-29T01:00"),
            ("1d", "2026-03-29T10:00Z", "2026-03-28T11:00"),
            ("24h", "2026-03-29T10:00Z", "2026-03-28T10:00"),
            ("2026-03-29 02:30", "2026-03-29T10:00Z", "2026-03-29T01:30"),
            ("02:30", "2026-10-25T10:00Z", "2026-10-25T00:30"),
            ("2026-10-25 02:30", "2026-10-25T10:00Z", "2026-10-25T00:30"),
            ("2026-10-25 02:30+01:00", "2026-10-25T10:00Z", "2026-10-25T01:30"),
            // Here, the new year has begun.
            ("today", "2026-12-31T23:30Z", "2026-12-31T23:00"),
            ("yesterday", "2026-12-31T23:30Z", "2026-12-30T23:00"),
            ("yesterday", "2027-01-01T10:00Z", "2026-12-30T23:00"),
            ("1mo", "2026-03-31T10:00Z", "2026-02-28T11:00"),
            ("1y", "2028-02-29T10:00Z", "2027-02-28T10:00"),
        ] {
            assert_eq!(at(text, now, &berlin()), moment, "{text} at {now}");
        }
        assert_eq!(at("yesterday", "2027-01-01T00:00Z", &TimeZone::UTC), "2026-12-31T00:00");
        assert_eq!(at("1y", "2028-02-29T10:00Z", &TimeZone::UTC), "2027-02-28T10:00");
        assert_eq!(at("9000y", "2028-02-29T10:00Z", &TimeZone::UTC), "0001-01-01T00:00");
        assert_eq!(at("9999-12-31T23:59", "2028-02-29T10:00Z", &TimeZone::UTC), "9999-12-31T23:59");
    }

    #[test]
    fn other_texts_are_rejected_with_what_is_accepted() {
        for text in [
            "",
            " ",
            "m",
            "15",
            "170000000",
            "17000000000",
            "17000000001234",
            "+170000000",
            "-1h",
            "-1h ago",
            "ago",
            "1h30",
            "h1",
            "15é",
            "é",
            "25:00",
            "2024-13-01",
            "2024-05-10[",
            "2024-05-10 18:05[Nowhere/Town]",
            "2024-05-10 18:05+05:00[UTC]",
            "last week",
        ] {
            assert_eq!(text.parse::<TimeExpression>().err(), Some(EXPECTED), "{text}");
        }
    }
}
