//! When a temporal rule is active.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::dial::GREGORIAN_OFFSET;
use super::keys::Data;

/// Whether the day from which a rule counts is not ahead.
pub(super) fn has_begun(rule: Data<'_>, unix_ms: i64) -> bool {
    start_seconds(rule).is_some_and(|start| start <= unix_ms.div_euclid(1_000))
}

fn start_seconds(rule: Data<'_>) -> Option<i64> {
    rule.integer("start_date")?.checked_sub(GREGORIAN_OFFSET)
}

/// Whether the calendar of a rule says that it is active now; none if it cannot be read.
pub(super) fn is_active(rule: Data<'_>, unix_ms: i64, zone: &TimeZone) -> Option<bool> {
    let now = Timestamp::from_millisecond(unix_ms).ok()?.to_zoned(zone.clone());
    let start = Timestamp::from_second(start_seconds(rule)?).ok()?.to_zoned(zone.clone()).date();
    let is_today = occurs(rule, start, now.date())?;
    let second = i64::from(now.hour()) * 3_600 + i64::from(now.minute()) * 60 + i64::from(now.second());
    let window = rule.integer("time_window_start")?..=rule.integer("time_window_stop")?;
    Some(is_today && window.contains(&second))
}

/// Whether a rule that counts from `start` has an occurrence on `day`.
fn occurs(rule: Data<'_>, start: Date, day: Date) -> Option<bool> {
    if day < start {
        return Some(false);
    }
    let interval = rule.integer("interval")?.max(1);
    let days_between = |from: Date, to: Date| i64::from((to - from).get_days());
    let months_between =
        i64::from(day.year() - start.year()) * 12 + i64::from(day.month()) - i64::from(start.month());
    Some(match rule.text("cycle")? {
        "date" => day == start,
        "daily" => days_between(start, day) % interval == 0,
        "weekly" => {
            let weeks = days_between(monday_of(start)?, monday_of(day)?) / 7;
            weeks % interval == 0 && weekdays(rule).contains(&day.weekday())
        }
        "monthly" => months_between % interval == 0 && is_day_of_month(rule, day),
        "yearly" => {
            let is_month = rule.integer("month").is_none_or(|month| month == i64::from(day.month()));
            i64::from(day.year() - start.year()) % interval == 0 && is_month && is_day_of_month(rule, day)
        }
        _ => return None,
    })
}

fn monday_of(day: Date) -> Option<Date> {
    day.checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days()).ok()
}

/// One of the listed days, or the first, second, last ... weekday of its month.
fn is_day_of_month(rule: Data<'_>, day: Date) -> bool {
    let Some(ordinal) = rule.filled("ordinal") else {
        let days = rule.value("days").map_or(&[][..], crate::json::Json::items);
        return days
            .iter()
            .filter_map(crate::json::Json::scalar)
            .any(|listed| listed == day.day().to_string());
    };
    let weekdays = weekdays(rule);
    if ordinal == "every" {
        return weekdays.contains(&day.weekday());
    }
    let which = (day.day() - 1) / 7;
    let is_last = day.day() + 7 > day.days_in_month();
    weekdays.first() == Some(&day.weekday())
        && match ordinal {
            "first" => which == 0,
            "second" => which == 1,
            "third" => which == 2,
            "fourth" => which == 3,
            "fifth" => which == 4,
            "last" => is_last,
            _ => false,
        }
}

fn weekdays(rule: Data<'_>) -> Vec<Weekday> {
    let named = |name: &str| {
        Some(match name {
            "monday" => Weekday::Monday,
            "tuesday" => Weekday::Tuesday,
            "wednesday" | "wensday" => Weekday::Wednesday,
            "thursday" => Weekday::Thursday,
            "friday" => Weekday::Friday,
            "saturday" => Weekday::Saturday,
            "sunday" => Weekday::Sunday,
            _ => return None,
        })
    };
    rule.texts("wdays").into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::super::keys::TEMPORAL_RULE;
    use super::*;
    use crate::json::{Limits, parse};

    /// Days of 2024 on which a rule is active at noon in Oslo.
    fn days(rule: &str) -> Vec<String> {
        let limits = Limits { bytes_max: 10_000, values_max: 100, depth_max: 9 };
        let json = parse(rule.as_bytes(), &limits).unwrap().root;
        let zone = TimeZone::get("Europe/Oslo").unwrap();
        let first = jiff::civil::date(2024, 1, 1);
        (0..366)
            .map(|n: i64| first.checked_add(n.days()).unwrap())
            .filter(|day| {
                let noon = day.at(12, 0, 0, 0).to_zoned(zone.clone()).unwrap();
                let rule = Data::new(TEMPORAL_RULE, Some(&json));
                is_active(rule, noon.timestamp().as_millisecond(), &zone) == Some(true)
            })
            .map(|day| day.strftime("%m-%d").to_string())
            .collect()
    }

    /// Gregorian seconds of noon UTC on a day of 2024.
    fn seconds(month: i8, day: i8) -> i64 {
        let noon = jiff::civil::date(2024, month, day).at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap();
        noon.timestamp().as_second() + GREGORIAN_OFFSET
    }

    #[test]
    fn recurrences_count_from_the_start() {
        let from = |month, day| seconds(month, day);
        for (rule, wanted) in [
            (format!(r#"{{"cycle":"date","start_date":{}}}"#, from(5, 17)), "05-17"),
            (
                format!(r#"{{"cycle":"daily","interval":100,"start_date":{}}}"#, from(2, 1)),
                "02-01 05-11 08-19 11-27",
            ),
            (
                format!(
                    r#"{{"cycle":"weekly","interval":2,"wdays":["monday","wensday"],"start_date":{}}}"#,
                    from(12, 4)
                ),
                "12-04 12-16 12-18 12-30",
            ),
            (
                format!(r#"{{"cycle":"monthly","interval":3,"days":[1,"31"],"start_date":{}}}"#, from(1, 15)),
                "01-31 04-01 07-01 07-31 10-01 10-31",
            ),
            (
                format!(
                    r#"{{"cycle":"monthly","ordinal":"fifth","wdays":["tuesday"],"start_date":{}}}"#,
                    from(1, 1)
                ),
                "01-30 04-30 07-30 10-29 12-31",
            ),
            (
                format!(
                    r#"{{"cycle":"monthly","ordinal":"last","wdays":["friday"],"start_date":{}}}"#,
                    from(10, 1)
                ),
                "10-25 11-29 12-27",
            ),
            (r#"{"cycle":"yearly","month":12,"days":[24,25]}"#.to_owned(), "12-24 12-25"),
            (r#"{"cycle":"yearly","month":11,"ordinal":"fourth","wdays":["thursday"]}"#.to_owned(), "11-28"),
            (
                r#"{"cycle":"yearly","month":9,"ordinal":"every","wdays":["sunday"]}"#.to_owned(),
                "09-01 09-08 09-15 09-22 09-29",
            ),
            (r#"{"cycle":"yearly","interval":2,"month":5,"days":[1]}"#.to_owned(), ""),
            (r#"{"cycle":"sometimes","days":[1]}"#.to_owned(), ""),
        ] {
            assert_eq!(days(&rule).join(" "), wanted, "{rule}");
        }
    }

    #[test]
    fn windows_are_local_time_with_both_ends() {
        let limits = Limits { bytes_max: 1_000, values_max: 100, depth_max: 9 };
        let text = r#"{"cycle":"daily","time_window_start":32400,"time_window_stop":61200}"#;
        let json = parse(text.as_bytes(), &limits).unwrap().root;
        let rule = Data::new(TEMPORAL_RULE, Some(&json));
        let zone = TimeZone::get("Europe/Oslo").unwrap();
        for (hour, minute, second, active) in
            [(8, 59, 59, false), (9, 0, 0, true), (17, 0, 0, true), (17, 0, 1, false)]
        {
            // On both sides of a change of the clocks.
            for month in [1, 7] {
                let at = jiff::civil::date(2026, month, 5).at(hour, minute, second, 0);
                let at = at.to_zoned(zone.clone()).unwrap().timestamp().as_millisecond();
                assert_eq!(is_active(rule, at, &zone), Some(active), "{hour}:{minute}:{second}");
            }
        }
    }
}
