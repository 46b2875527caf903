//! `Schedule`: is it that day and that time now?

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

/// A bad value anywhere: no match, and a warning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BadSchedule;

/// True if `unix_ms`, seen in `zone`, is on one of the days of `dow` and within
/// `time` (`spec/opentact.md` §5.9): absent means every day or all day, the end
/// second is included, and an end before its start runs over midnight with the
/// day of its start.
pub(super) fn matches(
    dow: Option<&str>,
    time: Option<&str>,
    zone: &TimeZone,
    unix_ms: i64,
) -> Result<bool, BadSchedule> {
    let days = dow.map_or(Ok([true; 7]), days)?;
    let range = time.map(range).transpose()?;
    let now = Timestamp::from_millisecond(unix_ms).map_err(|_| BadSchedule)?.to_zoned(zone.clone());
    let today = usize::try_from(now.weekday().to_sunday_zero_offset()).map_err(|_| BadSchedule)?;
    let on = |day: usize| days.get(day % 7).copied().unwrap_or(false);
    let clock = now.time().with().subsec_nanosecond(0).build().map_err(|_| BadSchedule)?;
    Ok(match range {
        None => on(today),
        Some((start, end)) if start <= end => on(today) && (start..=end).contains(&clock),
        Some((start, end)) => (on(today) && clock >= start) || (on(today + 6) && clock <= end),
    })
}

fn days(list: &str) -> Result<[bool; 7], BadSchedule> {
    const NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let mut days = [false; 7];
    for name in list.split(',').map(str::trim) {
        let at = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or(BadSchedule)?;
        if let Some(day) = days.get_mut(at) {
            *day = true;
        }
    }
    Ok(days)
}

fn range(text: &str) -> Result<(civil::Time, civil::Time), BadSchedule> {
    let (start, end) = text.split_once('-').ok_or(BadSchedule)?;
    Ok((time(start)?, time(end)?))
}

/// `HH:MM:SS`, and nothing else.
fn time(text: &str) -> Result<civil::Time, BadSchedule> {
    let mut parts = text.trim().split(':').map(|part| {
        let two_digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if two_digits { part.parse::<i8>().map_err(|_| BadSchedule) } else { Err(BadSchedule) }
    });
    let mut next = || parts.next().unwrap_or(Err(BadSchedule));
    let (hour, minute, second) = (next()?, next()?, next()?);
    if parts.next().is_some() {
        return Err(BadSchedule);
    }
    civil::Time::new(hour, minute, second, 0).map_err(|_| BadSchedule)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Friday 2026-11-20, 09:00:00 UTC.
    const FRIDAY_NINE: i64 = 1_795_165_200_000;

    #[test]
    fn days_and_times_follow_the_table() {
        let utc = TimeZone::UTC;
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (dow, time, zone, at, expected) in [
            (None, None, &utc, 0, Ok(true)),
            (Some("fri"), None, &utc, 0, Ok(true)),
            (Some("Sat, SUN"), None, &utc, 0, Ok(false)),
            (Some("fri"), Some("08:00:00-09:00:00"), &utc, 999, Ok(true)),
            (Some("fri"), Some("08:00:00-09:00:00"), &utc, 1_000, Ok(false)),
            (Some("fri"), Some("10:00:00-10:00:00"), &berlin, 0, Ok(true)),
            (Some("thu"), Some("22:00:00-09:30:00"), &utc, 0, Ok(true)),
            (Some("fri"), Some("22:00:00-09:30:00"), &utc, 0, Ok(false)),
            (Some("friday"), None, &utc, 0, Err(BadSchedule)),
            (None, Some("9:00:00-10:00:00"), &utc, 0, Err(BadSchedule)),
            (None, Some("09:00-10:00"), &utc, 0, Err(BadSchedule)),
            (None, Some("24:00:00-25:00:00"), &utc, 0, Err(BadSchedule)),
        ] {
            assert_eq!(matches(dow, time, zone, FRIDAY_NINE + at), expected, "{dow:?} {time:?}");
        }
    }
}
