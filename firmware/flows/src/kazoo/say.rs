//! `say` of an `audio_macro`: numbers, dates and names as words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How a text is to be read.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    /// What it is.
    pub(super) kind: &'a str,
    /// `pronounced`, `iterated` or `counted`.
    pub(super) method: &'a str,
    /// BCP 47.
    pub(super) language: &'a str,
}

/// The words for a text. A date and a time are those of the second since 1970 that the text
/// names, or of now.
pub(super) fn words(text: &str, manner: Manner<'_>, now_unix_ms: i64, zone: &TimeZone) -> String {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (manner.kind, manner.method) {
        (
            "telephone_number" | "telephone_extension" | "account_number" | "name_spelled" | "postal_address",
            _,
        ) => spelled(text),
        ("name_phonetic", _) => phonetic(text),
        ("ip_address", _) => text.split('.').collect::<Vec<_>>().join(" . "),
        ("current_date" | "current_time" | "current_date_time" | "short_date_time", _) => {
            moment(text, manner, now_unix_ms, zone)
        }
        (_, "iterated") => spelled(text),
        ("number" | "items" | "persons" | "messages", "counted") if is_number(text) => {
            counted(text, manner.language)
        }
        _ => text.to_owned(),
    }
}

/// One character after the other.
fn spelled(text: &str) -> String {
    let parts: Vec<String> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_uppercase().to_string()).collect();
    parts.join(" ")
}

/// The spelling alphabet of ITU and ICAO.
fn phonetic(text: &str) -> String {
    const WORDS: [&str; 26] = [
        "Alfa", "Bravo", "Charlie", "Delta", "Echo", "Foxtrot", "Golf", "Hotel", "India", "Juliett", "Kilo",
        "Lima", "Mike", "November", "Oscar", "Papa", "Quebec", "Romeo", "Sierra", "Tango", "Uniform",
        "Victor", "Whiskey", "X-ray", "Yankee", "Zulu",
    ];
    let word = |c: char| {
        let at = u32::from(c.to_ascii_lowercase()).checked_sub(u32::from('a'));
        let word = at.and_then(|at| WORDS.get(usize::try_from(at).ok()?));
        word.map_or_else(|| c.to_string(), |word| (*word).to_owned())
    };
    text.chars().filter(|c| !c.is_whitespace()).map(word).collect::<Vec<_>>().join(" ")
}

/// `1st`, which a voice reads as an ordinal; elsewhere `1.`
fn counted(text: &str, language: &str) -> String {
    if !language.starts_with("en") {
        return format!("{text}.");
    }
    let is_teen = text.len() > 1 && text.as_bytes().get(text.len() - 2) == Some(&b'1');
    let ending = match text.as_bytes().last() {
        Some(b'1') if !is_teen => "st",
        Some(b'2') if !is_teen => "nd",
        Some(b'3') if !is_teen => "rd",
        Some(_) | None => "th",
    };
    format!("{text}{ending}")
}

fn moment(text: &str, manner: Manner<'_>, now_unix_ms: i64, zone: &TimeZone) -> String {
    let second = text.trim().parse::<i64>().unwrap_or_else(|_| now_unix_ms.div_euclid(1_000));
    let Ok(at) = Timestamp::from_second(second) else { return text.to_owned() };
    let at = at.to_zoned(zone.clone());
    let time = format!("{}:{:02}", at.hour(), at.minute());
    let date = if manner.language.starts_with("en") {
        // As the calendar writes it, in words: no voice takes the day for the month.
        at.strftime("%A, %B %-d, %Y").to_string()
    } else {
        format!("{}-{:02}-{:02}", at.year(), at.month(), at.day())
    };
    match manner.kind {
        "current_date" => date,
        "current_time" => time,
        _ => format!("{date}, {time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_what_they_are() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for (text, kind, method, language, expected) in [
            ("4711", "number", "pronounced", "en-US", "4711"),
            ("4711", "number", "iterated", "en-US", "4 7 1 1"),
            ("21", "number", "counted", "en-US", "21st"),
            ("112", "items", "counted", "en-GB", "112th"),
            ("3", "number", "counted", "de-DE", "3."),
            ("many", "number", "counted", "en-US", "many"),
            ("+1 555", "telephone_number", "", "en-US", "+ 1 5 5 5"),
            ("Ann", "name_spelled", "", "en-US", "A N N"),
            ("ab 7", "name_phonetic", "", "en-US", "Alfa Bravo 7"),
            ("192.0.2.7", "ip_address", "", "en-US", "192 . 0 . 2 . 7"),
            ("0", "current_date", "", "en-US", "Thursday, January 1, 1970"),
            ("0", "current_time", "", "en-US", "1:00"),
            ("", "current_date_time", "", "de-DE", "1970-01-02, 1:00"),
            ("x", "short_date_time", "", "en-US", "Friday, January 2, 1970, 1:00"),
            ("12.50", "currency", "pronounced", "en-US", "12.50"),
            ("9999999999999999999", "current_date", "", "en-US", "Friday, January 2, 1970"),
            ("999999999999999", "current_date", "", "en-US", "999999999999999"),
        ] {
            let manner = Manner { kind, method, language };
            assert_eq!(words(text, manner, 86_400_000, &zone), expected, "{text} {kind} {method}");
        }
    }
}
