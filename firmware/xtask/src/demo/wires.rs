//! The second call: over two wires, by a line card in software.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use tipring_testkit::linecard::{Between, Order, Simulator, Sound, StageSettings, Told, bellcore};
use tipring_testkit::phone::{SAMPLES_PER_SECOND, compare};

use super::Sounds;
use super::daemon::{Daemon, pause};
use super::story::LIMIT;
use super::timeline::Timeline;
use super::verdict::{Finding, OTHER_MAX, SLIP, finding};

/// Ports of the card: the line of the exchange, and the telephone.
const LINE: usize = 1;
const PHONE: usize = 2;
/// Who calls.
const CALLER: &str = "5550147";
/// Parts in which sound is compared: the card's clock and the box's are kept together by a sample
/// now and then, each of which spoils the likeness of its part a little.
const PART: usize = SAMPLES_PER_SECOND / 10;
/// Least likeness of a sound with what was to be heard: a busy machine may be late for a hundredth
/// of a second now and then, which a true card would not be.
const ALIKE_MIN: f64 = 0.9;
/// Time between two looks at something.
const LOOK: Duration = Duration::from_millis(200);

/// A line card with a line of the exchange and a telephone, plugged in.
pub(super) fn card() -> Result<Simulator> {
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    let directory = std::env::temp_dir().join(format!("tipring-card-{}-{clock:x}", std::process::id()));
    Ok(Simulator::start(StageSettings { directory, kinds: "LP".to_owned(), audio: None })?)
}

/// The whole call, and what is to be said of it.
pub(super) fn tell(
    daemon: &Daemon,
    card: &Simulator,
    sounds: &Sounds,
    timeline: &Timeline,
) -> Result<Vec<Finding>> {
    wait_for_lines(daemon)?;
    timeline.say("exchange", &format!("rings, and says that {CALLER} calls"));
    card.order(Order::Forget { port: LINE })?;
    let caller_id = bellcore("11290915", CALLER, "A CALLER");
    card.order(Order::Ring {
        port: LINE,
        cadence: vec![2_000, 4_000],
        between: Some(Between { after: 1, wait_ms: 600, sound: Sound::Samples(caller_id) }),
    })?;
    wait_loop(card, true).context("the box did not answer the exchange")?;
    timeline.say("exchange", "the line is answered");
    heard_until(card, LINE, &sounds.welcome, timeline).context("no announcement was heard")?;
    timeline.say("caller", "hears the announcement, and presses 2: tones in the sound");
    press(card, "2")?;

    wait(card, |told| matches!(told, Told::Ring { port: PHONE, on: true, .. }).then_some(()))
        .context("the telephone did not ring")?;
    timeline.say("reception", "the bell rings; lifts the receiver");
    card.order(Order::Lift { port: PHONE })?;
    wait_answered(daemon)?;
    card.order(Order::Forget { port: LINE })?;
    card.order(Order::Forget { port: PHONE })?;
    timeline.say("caller", "speaks");
    say(card, LINE, &sounds.caller_voice)?;
    let phone_heard = heard_until(card, PHONE, &sounds.caller_voice, timeline);
    timeline.say("reception", "speaks");
    say(card, PHONE, &sounds.office_voice)?;
    let line_heard = heard_until(card, LINE, &sounds.office_voice, timeline);

    timeline.say("exchange", "the caller hangs up: the loop is broken for 400 ms");
    card.order(Order::Break { port: LINE, ms: 400 })?;
    wait_loop(card, false).context("the box did not free the line")?;
    timeline.say("exchange", "the line is free");
    card.order(Order::HangUp { port: PHONE })?;
    let record = daemon.record(1, LIMIT)?;
    timeline.say("box", &format!("record of the call: {record}"));

    let mut findings = Vec::new();
    let voices = [
        ("the telephone heard the caller", &sounds.caller_voice, &phone_heard, &sounds.office_voice),
        ("the caller heard the telephone", &sounds.office_voice, &line_heard, &sounds.caller_voice),
    ];
    for (what, voice, heard, own) in voices {
        let heard = heard.as_deref().unwrap_or_default();
        let found = compare::find_in_parts(voice, heard, PART, SLIP);
        findings.push(finding(
            found.correlation >= ALIKE_MIN,
            format!("{what}: likeness {:.4}", found.correlation),
        ));
        let echo = compare::find(own, heard).correlation;
        findings.push(finding(echo <= OTHER_MAX, format!("and not itself: likeness {echo:.4}")));
    }
    findings.extend(judge(&record));
    let left = daemon.status()?["counters"]["calls_active"].as_u64();
    findings.push(finding(left == Some(0), format!("{} calls left in the box", left.unwrap_or(u64::MAX))));
    Ok(findings)
}

/// What the record has to say.
fn judge(record: &Value) -> [Finding; 3] {
    let text = |value: &Value| value.as_str().unwrap_or("(nothing)").to_owned();
    let leg = record["legs"].as_array().and_then(|legs| legs.iter().find(|leg| leg["line"] == "wall"));
    let wire = leg.map_or(&Value::Null, |leg| &leg["wire"]);
    let ends: Vec<&str> = wire["end_by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    [
        finding(record["from"] == CALLER, format!("the record says who called: {}", text(&record["from"]))),
        finding(
            wire["caller_id"] == "bellcore",
            format!("and by which standard it was told: {}", text(&wire["caller_id"])),
        ),
        finding(ends == ["loop-break"], format!("and how the end was known: {}", ends.join(", "))),
    ]
}

fn wait<T>(card: &Simulator, pick: impl FnMut(&Told) -> Option<T>) -> Result<T> {
    card.wait(LIMIT, pick).map_err(|instead| anyhow!("the card says only {instead:?}"))
}

fn wait_loop(card: &Simulator, expected: bool) -> Result<()> {
    wait(card, |told| {
        matches!(told, Told::Loop { port: LINE, closed, .. } if *closed == expected).then_some(())
    })
}

/// Waits until the analog lines are up: the card's own clock and session take a moment.
fn wait_for_lines(daemon: &Daemon) -> Result<()> {
    let until = Instant::now() + LIMIT;
    loop {
        let status = daemon.status()?;
        let is_up = |name: &str| {
            let mut lines = status["lines"].as_array().into_iter().flatten();
            lines.any(|line| line["name"] == name && line["state"] == "up")
        };
        if is_up("wall") && is_up("reception") {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the card does not come up: {}", status["lines"]);
        pause(LOOK);
    }
}

/// Waits until two legs of the call are there and talk.
fn wait_answered(daemon: &Daemon) -> Result<()> {
    let until = Instant::now() + LIMIT;
    loop {
        let status = daemon.status()?;
        let mut calls = status["calls"].as_array().into_iter().flatten();
        if calls.any(|call| call["legs"].as_array().map_or(0, Vec::len) == 2) {
            // The two are being joined.
            pause(LOOK * 3);
            return Ok(());
        }
        ensure!(Instant::now() < until, "the telephone is not connected: {}", status["calls"]);
        pause(LOOK);
    }
}

fn press(card: &Simulator, digits: &str) -> Result<()> {
    let digits = digits.to_owned();
    card.order(Order::Press { port: LINE, digits, on_ms: 100, off_ms: 100, level_dbm0: -9.0 })?;
    Ok(())
}

fn say(card: &Simulator, port: usize, samples: &[i16]) -> Result<()> {
    card.order(Order::Say { port, sound: Sound::Samples(samples.to_vec()) })?;
    Ok(())
}

/// What is heard at a port, once it is like what was to be heard, or after the longest wait.
fn heard_until(card: &Simulator, port: usize, expected: &[i16], timeline: &Timeline) -> Result<Vec<i16>> {
    let until = Instant::now() + LIMIT;
    loop {
        let heard = card.heard(port)?;
        let found = compare::find_in_parts(expected, &heard, PART, SLIP).correlation;
        if heard.len() > expected.len() + SAMPLES_PER_SECOND / 2 && found >= ALIKE_MIN {
            return Ok(heard);
        }
        if Instant::now() >= until {
            timeline.say("box", &format!("port {port}: what was to be heard has a likeness of {found:.4}"));
            return Ok(heard);
        }
        pause(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_record_of_a_call_over_wires_names_caller_standard_and_end() {
        let record = |from: &str, standard: &str, end: &str| {
            let wire = json!({ "caller_id": standard, "end_by": [end] });
            json!({ "from": from, "legs": [{ "line": "wall", "wire": wire }, { "line": "reception" }] })
        };
        let bad = |record: Value| judge(&record).iter().filter(|finding| !finding.good).count();
        assert_eq!(bad(record(CALLER, "bellcore", "loop-break")), 0);
        assert_eq!(bad(record("anonymous", "bellcore", "loop-break")), 1);
        assert_eq!(bad(record(CALLER, "etsi", "loop-break")), 1);
        assert_eq!(bad(record(CALLER, "bellcore", "silence")), 1);
        assert_eq!(bad(json!({})), 3);
    }
}
