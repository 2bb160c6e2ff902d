//! Event time and the wall clock: watermarks, allowed lateness, and timestamps as text in one place.
//!
//! [`EventTime`] and [`Span`] are the rules crate's; what they mean for order and waiting is said here.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use rules::event::{EventTime, Span};

/// How far a source has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watermark {
    /// No event before this time is still expected. One that comes nevertheless is late, not lost.
    At(EventTime),
    /// Nothing to say for now: this source holds nobody up.
    Idle,
}

impl Watermark {
    /// The watermark of two sources together: the one further behind. An idle one does not count.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(one), Self::At(two)) => Self::At(one.min(two)),
            (Self::At(one), Self::Idle) | (Self::Idle, Self::At(one)) => Self::At(one),
            (Self::Idle, Self::Idle) => Self::Idle,
        }
    }
}

/// How much later than its neighbours an event of one source may arrive and still find the watermark behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness(pub Span);

impl Lateness {
    /// A sensor sends in order over a few CPUs' buffers, and spools while the wire is down.
    pub const SENSOR: Self = Self(Span::from_secs(5));
    /// CloudTrail's file lag was measured at 3 min (median) to 10 min (maximum); 20 min leaves room for an outage.
    pub const CLOUDTRAIL: Self = Self(Span::from_secs(20 * 60));
    /// New findings are exported within about 5 min, repeats up to every 6 h: those are revisions.
    pub const GUARDDUTY: Self = Self(Span::from_secs(20 * 60));
    /// Ten minutes of aggregation and about ten more to the bucket.
    pub const VPCFLOW: Self = Self(Span::from_secs(20 * 60));

    pub fn watermark(self, newest: EventTime) -> Watermark {
        Watermark::At(newest - self.0)
    }
}

/// The time of day. Replay and tests hand in their own.
pub trait Clock: Send + Sync {
    fn now(&self) -> EventTime;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else takes")]
    fn now(&self) -> EventTime {
        let nanos = match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        EventTime(nanos)
    }
}

/// A clock that stands where it is put.
#[derive(Debug, Default)]
pub struct VirtualClock(AtomicI64);

impl VirtualClock {
    pub fn at(time: EventTime) -> Self {
        Self(AtomicI64::new(time.0))
    }

    /// Moves forward. A time in the past leaves the clock where it is, so that it never runs backwards.
    pub fn advance_to(&self, time: EventTime) {
        self.0.fetch_max(time.0, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::Relaxed))
    }
}

/// Reads a time as producers write it: RFC 3339 with any number of decimals and any offset, with a blank for the `T`,
/// or with no zone, which means UTC.
pub fn parse(text: &str) -> Option<EventTime> {
    let text = text.trim();
    // No time these producers write is longer; a hostile one need not reach the parser.
    if text.len() > 64 {
        return None;
    }
    if let Some(time) = parse_utc(text.as_bytes()) {
        return Some(time);
    }
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| format!("{text}Z").parse().ok())?;
    i64::try_from(timestamp.as_nanosecond()).ok().map(EventTime)
}

/// `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, which is nearly every time there is. Anything else is left to jiff.
fn parse_utc(text: &[u8]) -> Option<EventTime> {
    let (head, tail) = text.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, byte)| head[at] != byte) {
        return None;
    }
    let year = digits(&head[0..4])?;
    let month = digits(&head[5..7])?;
    let day = digits(&head[8..10])?;
    let (hour, minute, second) = (digits(&head[11..13])?, digits(&head[14..16])?, digits(&head[17..19])?);
    // Leap seconds and dates near the ends of the range go the slow way.
    if !(1971..=2261).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if day < 1 || day > days_in_month(year, month)? {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let nanos = match tail {
        b"Z" => 0,
        [b'.', fraction @ .., b'Z'] if (1..=9).contains(&fraction.len()) => {
            digits(fraction)? * 10_i64.pow(9 - fraction.len() as u32)
        }
        _ => return None,
    };
    Some(EventTime(seconds * 1_000_000_000 + nanos))
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => return None,
    })
}

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by size: the ranges for the years
/// 1971 to 5138 do not overlap.
pub fn from_epoch(number: i64) -> Option<EventTime> {
    let scale = match number {
        31_536_000..=99_999_999_999 => 1_000_000_000,
        100_000_000_000..=99_999_999_999_999 => 1_000_000,
        100_000_000_000_000..=99_999_999_999_999_999 => 1_000,
        100_000_000_000_000_000.. => 1,
        _ => return None,
    };
    number.checked_mul(scale).map(EventTime)
}

/// As ECS documents write it: UTC, milliseconds at least, more decimals only where they say something.
pub fn format(time: EventTime) -> String {
    let (seconds, nanos) = (time.0.div_euclid(1_000_000_000), time.0.rem_euclid(1_000_000_000));
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (decimals, fraction) = match nanos {
        nanos if nanos % 1_000_000 == 0 => (3, nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => (6, nanos / 1_000),
        nanos => (9, nanos),
    };
    // Every event is given its time as text: this is several times as fast as the general way.
    let mut out = String::with_capacity("2026-11-02T10:00:00.123456789Z".len());
    let parts = [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (second / 3_600, 2, ':'),
        (second / 60 % 60, 2, ':'),
        (second % 60, 2, '.'),
        (fraction, decimals, 'Z'),
    ];
    for (number, n_digits, then) in parts {
        let digit = |place: u32| char::from(b'0' + (number / 10_i64.pow(place) % 10) as u8);
        out.extend((0..n_digits).rev().map(digit));
        out.push(then);
    }
    out
}

/// The date of a day since 1970-01-01, after Howard Hinnant's `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, nanos: Option<i64>) {
        assert_eq!(parse(text), nanos.map(EventTime), "{text}");
    }

    const DAY: i64 = 1_795_219_200_000_000_000;

    #[test]
    fn times_as_producers_write_them() {
        check("2026-11-21T00:00:00Z", Some(DAY));
        check("2026-11-21T00:00:00.000Z", Some(DAY));
        check("2026-11-21T00:00:00.123456789Z", Some(DAY + 123_456_789));
        check("2026-11-21T00:00:00.5Z", Some(DAY + 500_000_000));
        check("2026-11-21T01:00:00+01:00", Some(DAY));
        check("2026-11-21 00:00:00", Some(DAY));
        check("2026-11-21T00:00:00", Some(DAY));
        check(" 2026-11-21T00:00:00Z\n", Some(DAY));
        check("1970-01-01T00:00:00Z", Some(0));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000_000));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in
            ["", "now", "2026-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "2026-11-21T25:00:00Z", "99999"]
        {
            check(text, None);
        }
        check(&"9".repeat(10_000), None);
    }

    #[test]
    fn epochs_are_told_apart_by_size() {
        let seconds = DAY / 1_000_000_000;
        for number in [seconds, seconds * 1_000, seconds * 1_000_000, DAY] {
            assert_eq!(from_epoch(number), Some(EventTime(DAY)));
        }
        assert_eq!(from_epoch(0), None);
        assert_eq!(from_epoch(-5), None);
    }

    #[test]
    fn an_idle_source_holds_nobody() {
        let at = |nanos| Watermark::At(EventTime(nanos));
        assert_eq!(at(5).and(Watermark::Idle), at(5));
        assert_eq!(at(5).and(at(3)), at(3));
        assert_eq!(Watermark::Idle.and(Watermark::Idle), Watermark::Idle);
    }

    proptest! {
        #[test]
        fn formatting_then_parsing_is_identity(nanos in 0_i64..9_000_000_000_000_000_000) {
            prop_assert_eq!(parse(&format(EventTime(nanos))), Some(EventTime(nanos)));
        }

        #[test]
        fn times_are_written_as_jiff_writes_them(nanos in any::<i64>()) {
            let text = format!("{:.9}", Timestamp::from_nanosecond(nanos.into()).unwrap());
            let ours = format(EventTime(nanos));
            prop_assert!(text.starts_with(ours.trim_end_matches('Z')), "{} and {}", ours, text);
        }

        #[test]
        fn the_fast_way_agrees_with_jiff(seconds in 31_536_000_i64..9_000_000_000) {
            let text = Timestamp::from_second(seconds).unwrap().to_string();
            prop_assert_eq!(parse_utc(text.as_bytes()), Some(EventTime(seconds * 1_000_000_000)));
        }

        #[test]
        fn no_text_panics(text in ".{0,70}") {
            let _ = parse(&text);
        }
    }
}
