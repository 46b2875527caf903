//! What was to be, and what was.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use tipring_testkit::phone::{SAMPLES_PER_SECOND, compare};

use super::wav;

/// Least likeness of a sound with what was to be heard.
const ALIKE_MIN: f64 = 0.99;
/// Most likeness of a sound with another one.
pub(super) const OTHER_MAX: f64 = 0.6;
/// Least likeness of each of two voices with a recording of both at once: of two equally loud
/// ones, each is 0.7 of the sum.
const MIXED_MIN: f64 = 0.55;
/// Parts in which a conversation is compared, and how far a jitter buffer may move each.
const PART: usize = SAMPLES_PER_SECOND / 2;
pub(super) const SLIP: usize = SAMPLES_PER_SECOND * 60 / 1_000;

/// What was heard and kept.
pub(super) struct Evidence {
    pub(super) welcome: Vec<i16>,
    pub(super) caller_voice: Vec<i16>,
    pub(super) office_voice: Vec<i16>,
    pub(super) caller_heard: Vec<i16>,
    pub(super) office_heard: Vec<i16>,
    pub(super) caller_lost: usize,
    pub(super) office_lost: usize,
    pub(super) office_ended: String,
    pub(super) record: Value,
    pub(super) recordings: PathBuf,
    pub(super) calls_left: Option<u64>,
}

/// One thing that was looked at.
pub(super) struct Finding {
    pub(super) good: bool,
    pub(super) what: String,
}

pub(super) fn finding(good: bool, what: String) -> Finding {
    Finding { good, what }
}

/// Looks at everything.
pub(super) fn judge(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    let welcome = compare::find_in_parts(&evidence.welcome, &evidence.caller_heard, PART, SLIP);
    findings.push(finding(
        welcome.correlation >= ALIKE_MIN,
        format!(
            "the caller heard the announcement: likeness {:.4}, level {:.2}",
            welcome.correlation, welcome.gain
        ),
    ));
    let sides = [
        (
            "the second phone heard the caller",
            &evidence.caller_voice,
            &evidence.office_heard,
            &evidence.office_voice,
        ),
        (
            "the caller heard the second phone",
            &evidence.office_voice,
            &evidence.caller_heard,
            &evidence.caller_voice,
        ),
    ];
    for (what, voice, heard, own) in sides {
        let found = compare::find_in_parts(voice, heard, PART, SLIP);
        findings.push(finding(
            found.correlation >= ALIKE_MIN,
            format!("{what}: likeness {:.4}, level {:.2}", found.correlation, found.gain),
        ));
        let echo = compare::find(own, heard).correlation;
        findings.push(finding(echo <= OTHER_MAX, format!("and not itself: likeness {echo:.4}")));
    }
    let lost = evidence.caller_lost + evidence.office_lost;
    findings.push(finding(lost == 0, format!("{lost} packets lost")));
    findings.push(match recording(evidence) {
        Ok((path, seconds, likeness)) => finding(
            likeness.iter().all(|likeness| *likeness >= MIXED_MIN)
                && seconds * SAMPLES_PER_SECOND as f64 >= evidence.caller_voice.len() as f64,
            format!(
                "the recording holds both: {}, {seconds:.1} s, likeness {:.2} and {:.2} of the mixture",
                path.display(),
                likeness[0],
                likeness[1]
            ),
        ),
        Err(error) => finding(false, format!("the recording: {error:#}")),
    });
    let record = &evidence.record;
    let text = |key: &str| record[key].as_str().unwrap_or("(nothing)").to_owned();
    findings.push(finding(
        record["cause"] == "normal-clearing" && record["ended_by"] == "caller",
        format!("the record says: {}, ended by {}", text("cause"), text("ended_by")),
    ));
    let named: Vec<&str> =
        record["recordings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let kept = files(&evidence.recordings);
    let names_it = named.len() == 1 && kept.len() == 1 && kept[0].ends_with(named[0]);
    findings
        .push(finding(names_it, format!("the record names {} of {} recordings", named.len(), kept.len())));
    let legs = record["legs"].as_array().map_or(0, Vec::len);
    findings.push(finding(legs == 2, format!("the record has {legs} legs")));
    findings.push(finding(
        evidence.office_ended == "hung up there",
        format!("the second phone: {}", evidence.office_ended),
    ));
    findings.push(finding(
        evidence.calls_left == Some(0),
        evidence.calls_left.map_or_else(
            || "calls left in the box: unknown".to_owned(),
            |n| format!("{n} calls left in the box"),
        ),
    ));
    findings
}

/// The recording: where it lies, how long it is, and how much of it is the caller and the second
/// phone.
fn recording(evidence: &Evidence) -> Result<(PathBuf, f64, [f64; 2])> {
    let path = files(&evidence.recordings)
        .into_iter()
        .next()
        .with_context(|| format!("there is none in {}", evidence.recordings.display()))?;
    let file = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let (samples, rate) = wav::read(&file)?;
    let seconds = samples.len() as f64 / f64::from(rate);
    let step = (rate as usize / SAMPLES_PER_SECOND).max(1);
    let narrow: Vec<i16> = samples.into_iter().step_by(step).collect();
    let likeness = [&evidence.caller_voice, &evidence.office_voice]
        .map(|voice| compare::find_in_parts(voice, &narrow, PART, SLIP).correlation);
    Ok((path, seconds, likeness))
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tipring_testkit::phone::voice;

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn evidence() -> (Evidence, Folder) {
        let (welcome, asks, replies) =
            (voice::announcement(1, 1_500), voice::speech_like(2, 1_500), voice::speech_like(3, 1_500));
        let mixed: Vec<i16> = asks.iter().zip(&replies).map(|(a, b)| a.saturating_add(*b)).collect();
        let folder = std::env::temp_dir().join(format!("tipring-verdict-{:?}", std::thread::current().id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("a.wav"), wav::write(&mixed)).unwrap();
        let evidence = Evidence {
            caller_heard: [&[0; 500], welcome.as_slice(), &[0; 700], &replies].concat(),
            office_heard: [&[0; 300], asks.as_slice()].concat(),
            welcome,
            caller_voice: asks,
            office_voice: replies,
            caller_lost: 0,
            office_lost: 0,
            office_ended: "hung up there".to_owned(),
            record: json!({ "cause": "normal-clearing", "ended_by": "caller", "legs": [1, 2], "recordings": ["a.wav"] }),
            recordings: folder.clone(),
            calls_left: Some(0),
        };
        (evidence, Folder(folder))
    }

    fn bad(evidence: &Evidence) -> Vec<String> {
        judge(evidence).into_iter().filter(|finding| !finding.good).map(|finding| finding.what).collect()
    }

    #[test]
    fn a_good_call_is_good() {
        let (evidence, _folder) = evidence();
        assert_eq!(bad(&evidence), [""; 0]);
    }

    #[test]
    fn each_fault_is_seen() {
        let faults: [fn(&mut Evidence); 10] = [
            |e| std::fs::write(e.recordings.join("a.wav"), wav::write(&e.welcome)).unwrap(),
            |e| e.caller_heard.drain(..2_000).for_each(drop),
            |e| e.office_heard.iter_mut().for_each(|sample| *sample = 0),
            |e| e.caller_heard.truncate(13_500),
            |e| e.office_heard.extend(e.office_voice.clone()),
            |e| e.caller_lost = 1,
            |e| e.record["recordings"] = json!([]),
            |e| e.record["cause"] = json!("no-answer"),
            |e| e.office_ended = "lost".to_owned(),
            |e| e.calls_left = Some(1),
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            let (mut evidence, _folder) = evidence();
            fault(&mut evidence);
            assert_eq!(bad(&evidence).len(), 1, "fault {number}: {:?}", bad(&evidence));
        }
    }
}
