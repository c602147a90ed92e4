//! Times as configurable-http-proxy writes and reads them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;

/// Cuts off what is finer than a millisecond, as times are told and compared so.
pub(crate) fn to_milliseconds(at: Timestamp) -> Timestamp {
    let below = at.as_nanosecond().rem_euclid(1_000_000);
    Timestamp::from_nanosecond(at.as_nanosecond() - below).unwrap_or(at)
}

/// Writes `2024-01-31T08:05:09.120Z`.
pub(crate) fn format(at: Timestamp) -> String {
    format!("{:.3}", to_milliseconds(at))
}

/// Reads an ISO 8601 time (or one of mail headers); `None` if it is none.
///
/// A date without a time is midnight in UTC, and a time without an offset is of `zone`, as in ECMAScript.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    // In a query, the plus of an offset that was not escaped has become a space.
    let mended = text.rsplit_once(' ').and_then(|(time, offset)| {
        let is_offset = offset.contains(':') && time.contains('T');
        is_offset.then(|| format!("{time}+{offset}"))
    });
    let text = mended.as_deref().unwrap_or(text);
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let of_date = |date: Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
    if let Some(date) = year_or_month(text) {
        return of_date(date);
    }
    if !text.contains(['T', 't', ' '])
        && let Ok(date) = text.parse::<Date>()
    {
        return of_date(date);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return zone.to_timestamp(time).ok();
    }
    rfc2822::parse(text).ok().map(|at| at.timestamp())
}

/// `2024` and `2024-05` are their first day.
fn year_or_month(text: &str) -> Option<Date> {
    let (year, month) = text.split_once('-').unwrap_or((text, "01"));
    let digits =
        |text: &str, length| text.len() == length && text.bytes().all(|one| one.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let found = parse(text, &TimeZone::UTC).map(format);
        assert_eq!(found.as_deref(), expected, "{text}");
    }

    #[test]
    fn times_are_read_in_the_forms_that_clients_send() {
        check(
            "2024-01-31T08:05:09.1209Z",
            Some("2024-01-31T08:05:09.120Z"),
        );
        check(
            "2024-01-31T08:05:09+02:00",
            Some("2024-01-31T06:05:09.000Z"),
        );
        check(
            "2024-01-31T08:05:09 02:00",
            Some("2024-01-31T06:05:09.000Z"),
        );
        check("2024-01-31T08:05", Some("2024-01-31T08:05:00.000Z"));
        check("2024-01-31 08:05:09", Some("2024-01-31T08:05:09.000Z"));
        check("2024-01-31", Some("2024-01-31T00:00:00.000Z"));
        check("2024-02", Some("2024-02-01T00:00:00.000Z"));
        check("2024", Some("2024-01-01T00:00:00.000Z"));
        check(
            "Wed, 31 Jan 2024 08:05:09 GMT",
            Some("2024-01-31T08:05:09.000Z"),
        );
        for text in ["", "yesterday", "2024-13-01", "2024-01-31T25:00:00Z", "12"] {
            check(text, None);
        }
    }

    #[test]
    fn times_before_the_epoch_are_cut_downwards() {
        check(
            "1969-12-31T23:59:59.9999Z",
            Some("1969-12-31T23:59:59.999Z"),
        );
    }
}
