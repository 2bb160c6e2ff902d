//! What a calendar or a clock shows of a point in time, in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::event::EventTime;
use crate::expr::DatePart;

pub(super) fn part(part: DatePart, time: EventTime) -> i64 {
    let timestamp =
        Timestamp::from_nanosecond(time.0.into()).expect("jiff covers all that 64 bits of nanoseconds do");
    let at = timestamp.to_zoned(TimeZone::UTC);
    match part {
        DatePart::Minute => at.minute().into(),
        DatePart::Hour => at.hour().into(),
        DatePart::Day => at.day().into(),
        DatePart::Week => at.date().iso_week_date().week().into(),
        DatePart::Month => at.month().into(),
        DatePart::Year => at.year().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_utc_and_weeks_are_iso() {
        let parts = [
            DatePart::Minute,
            DatePart::Hour,
            DatePart::Day,
            DatePart::Week,
            DatePart::Month,
            DatePart::Year,
        ];
        let of = |text: &str| {
            let time: Timestamp = text.parse().expect("a time");
            let time = EventTime(i64::try_from(time.as_nanosecond()).expect("in range"));
            parts.map(|which| part(which, time))
        };
        assert_eq!(of("2026-11-21T23:59:58Z"), [59, 23, 21, 47, 11, 2026]);
        assert_eq!(of("2027-01-01T00:00:00Z"), [0, 0, 1, 53, 1, 2027]);
        assert_eq!(of("1969-12-31T23:00:00Z"), [0, 23, 31, 1, 12, 1969]);
        for extreme in [i64::MIN, i64::MAX] {
            part(DatePart::Year, EventTime(extreme));
        }
    }
}
