//! ToneScript: `350@-19,440@-19;10(*/0/1+2)` is two frequencies and a section of ten seconds, in
//! which both sound without a pause.

use std::time::Duration;

use tipring_model::prompt::Beep;

const TONES_MAX: usize = 8;
const SECTIONS_MAX: usize = 16;
const BEEPS_MAX: usize = 200;
/// Longest section without an end of its own, and all together.
const LENGTH_MAX: Duration = Duration::from_secs(600);
const HZ_MIN: u16 = 100;
const HZ_MAX: u16 = 3_600;

/// What a script of tones sounds like.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Beep>, &'static str> {
    let mut parts = text.split(';').map(str::trim);
    let tones = parts.next().unwrap_or("").split(',').map(frequency).collect::<Result<Vec<_>, _>>()?;
    if tones.len() > TONES_MAX {
        return Err("more than 8 frequencies in a tone script");
    }
    let sections: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    if sections.is_empty() || sections.len() > SECTIONS_MAX {
        return Err("a tone script has 1 to 16 sections");
    }
    let mut beeps = Vec::new();
    for section in sections {
        read_section(section, &tones, &mut beeps)?;
    }
    Ok(beeps)
}

fn frequency(text: &str) -> Result<u16, &'static str> {
    let (hz, level) = text.split_once('@').ok_or("a frequency in a tone script is Hz@dBm")?;
    let level: f32 = level.trim().parse().map_err(|_| "a level in a tone script is no number")?;
    let hz: u16 = hz.trim().parse().map_err(|_| "a frequency in a tone script is no number")?;
    if level > 3.5 || !(HZ_MIN..=HZ_MAX).contains(&hz) {
        return Err("a frequency in a tone script is from 100 to 3600 Hz");
    }
    Ok(hz)
}

/// Seconds, or `*` for as long as may be.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let text = text.trim();
    if text == "*" {
        return Ok(LENGTH_MAX);
    }
    let value: f64 = text.parse().map_err(|_| "a time in a tone script is no number")?;
    if !(0.0..=LENGTH_MAX.as_secs_f64()).contains(&value) {
        return Err("a time in a tone script is from 0 to 600 seconds");
    }
    Ok(Duration::from_secs_f64(value))
}

fn read_section(section: &str, tones: &[u16], beeps: &mut Vec<Beep>) -> Result<(), &'static str> {
    let malformed = "a section of a tone script is seconds(on/off/tones,...)";
    let (length, rest) = section.split_once('(').ok_or(malformed)?;
    let length = seconds(length)?;
    let inside = rest.trim().strip_suffix(')').ok_or(malformed)?;
    let mut cadence = Vec::new();
    for beat in inside.split(',') {
        let mut parts = beat.split('/');
        let (Some(on), Some(off), Some(which), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed);
        };
        let mut hz = Vec::new();
        for number in which.split('+') {
            let number: usize = number.trim().parse().map_err(|_| malformed)?;
            // 0 is silence.
            if number > 0 {
                hz.push(*tones.get(number - 1).ok_or("a section names a frequency that there is not")?);
            }
        }
        if hz.len() > 2 {
            return Err("no more than two frequencies sound at one time");
        }
        cadence.push(Beep { hz, on: seconds(on)?, off: seconds(off)? });
    }
    let mut left = length;
    while !left.is_zero() {
        let before = left;
        for beat in &cadence {
            let on = beat.on.min(left);
            left -= on;
            let off = beat.off.min(left);
            left -= off;
            if on.is_zero() && off.is_zero() {
                continue;
            }
            if beeps.len() >= BEEPS_MAX {
                return Err("a tone script has too many tones");
            }
            // Silence is a pause after nothing.
            let (on, off) = if beat.hz.is_empty() { (Duration::ZERO, on + off) } else { (on, off) };
            beeps.push(Beep { hz: beat.hz.clone(), on, off });
        }
        if left == before {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beep(hz: &[u16], on_ms: u64, off_ms: u64) -> Beep {
        Beep { hz: hz.to_vec(), on: Duration::from_millis(on_ms), off: Duration::from_millis(off_ms) }
    }

    #[test]
    fn tones_and_cadences() {
        assert_eq!(read("350@-19,440@-19;10(*/0/1+2)").unwrap(), [beep(&[350, 440], 10_000, 0)]);
        assert_eq!(
            read("480@-19,620@-19;2(.5/.5/1+2)").unwrap(),
            [beep(&[480, 620], 500, 500), beep(&[480, 620], 500, 500)]
        );
        assert_eq!(read("425@-15;1.2(.25/.25/1,.5/0/0)").unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_script_is_refused() {
        for text in [
            "",
            "350",
            "350@x;1(1/0/1)",
            "350@-9",
            "350@-9;1",
            "350@-9;1(1/0)",
            "350@-9;1(1/0/2)",
            "9@-9;1(1/0/1)",
            "350@-9;x(1/0/1)",
            "350@-9;600(.001/.001/1)",
            "350@-9;1(1/0/1",
            "350@-9;-1(1/0/1)",
            "350@-9;NaN(1/0/1)",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        // A cadence without a length ends.
        assert_eq!(read("350@-9;1(0/0/1)").unwrap(), []);
    }
}
