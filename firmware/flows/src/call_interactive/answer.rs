//! The answer of a server: checked whole before anything of it runs.

use std::rc::Rc;
use std::time::Duration;

use encoding_rs::{KOI8_R, WINDOWS_1251, WINDOWS_1252};
use tipring_model::fetch::HttpResponse;

use super::ivr::{NUMBERS_MAX, is_number, is_variable};
use super::request::ANSWER_BYTES_MAX;
use super::settings::{Profile, Rules};
use crate::Finding;
use crate::xml::{self, Element, Limits, Position};

const LIMITS: Limits = Limits {
    bytes_max: ANSWER_BYTES_MAX,
    elements_max: 500,
    depth_max: 8,
    attributes_max: 32,
    text_bytes_max: 8_192,
    encodings: &[WINDOWS_1251, KOI8_R, WINDOWS_1252],
};
/// Actions of one answer.
const ACTIONS_MAX: usize = 10;
/// Longest value of a variable, in bytes.
const VALUE_BYTES_MAX: usize = 1_024;
/// Longest piece of a name that a finding shows, in characters.
const NAME_SHOWN_MAX: usize = 60;
const PAUSE_USUAL: Duration = Duration::from_secs(10);
const PAUSE_S_MAX: u64 = 3_600;
const RING_S_MAX: u64 = 600;
const LOOPS_MAX: u32 = 100;

/// One action of an answer.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Step {
    pub(super) act: Act,
    /// Its tag, as written.
    pub(super) name: String,
    /// Which of the answer's actions it is, from 0.
    pub(super) at: usize,
}

/// What an action does.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Act {
    Hangup,
    Pause(Duration),
    SetVar {
        name: String,
        value: String,
    },
    Jump {
        to: Place,
        option: String,
        priority: usize,
    },
    SetCaller {
        name: String,
        number: String,
    },
    PlaySound(Sound),
    SimpleTransfer(Transfer),
    PlayTts {
        voice: Option<String>,
        text: String,
    },
    /// Something that this profile does not know.
    Unknown,
}

/// A context, as the profile names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Id(u32),
    Name(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sound {
    pub(super) file: String,
    pub(super) folder: String,
    pub(super) is_system: bool,
    pub(super) language: Option<String>,
    pub(super) loops: u32,
    /// Keys are waited for, and go into this variable if there is one.
    pub(super) background: Option<Option<String>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Transfer {
    /// None where the list is not as it must be.
    pub(super) numbers: Option<Vec<String>>,
    pub(super) is_final: bool,
    pub(super) ring_max: Option<Duration>,
    pub(super) early_media: bool,
}

/// An answer that can run, and what is odd about it.
#[derive(Default, Debug)]
pub(super) struct Answer {
    pub(super) steps: Vec<Step>,
    pub(super) findings: Vec<Finding>,
}

/// Reads what a server said.
///
/// # Errors
/// The catalogue code of what is wrong; nothing of the answer may run.
pub(super) fn read(response: &HttpResponse, rules: &Rules) -> Result<Answer, &'static str> {
    if !response.is_success() {
        return Err("TR-HOOK-STATUS");
    }
    if response.body.trim_ascii().is_empty() {
        return Ok(Answer::default());
    }
    let media = response.media_type.as_deref().unwrap_or("");
    let kind = media.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_other = ["audio/", "video/", "image/"].iter().any(|start| kind.starts_with(start));
    if is_other || kind == "application/json" {
        return Err("TR-FLOW-MEDIA-TYPE");
    }
    let charset = media.split(';').find_map(|part| part.trim().strip_prefix("charset="));
    document(&response.body, charset, rules).map_err(|finding| finding.code)
}

/// Every finding of a document that a server could send.
pub(super) fn check(bytes: &[u8]) -> Vec<Finding> {
    let rules = Rules { profile: Profile::Ringme, truncates: false, strict: false };
    match document(bytes, None, &rules) {
        Ok(answer) => answer.findings,
        Err(finding) => vec![finding],
    }
}

fn finding(code: &'static str, fatal: bool, at: Position, subject: &str) -> Finding {
    Finding { code, fatal, line: at.line, column: at.column, subject: subject.to_owned() }
}

fn document(bytes: &[u8], charset: Option<&str>, rules: &Rules) -> Result<Answer, Finding> {
    let root = xml::parse(bytes, charset, &LIMITS)
        .map_err(|error| finding(error.fault.code(), true, error.at, ""))?;
    if root.name != "Response" {
        return Err(finding("TR-FLOW-ROOT", true, root.at, &root.name));
    }
    let limited = rules.profile == Profile::Ringme;
    let mut answer = Answer::default();
    if limited && root.children.len() > ACTIONS_MAX && !rules.truncates {
        return Err(finding("TR-FLOW-TOO-MANY", true, root.at, &root.children.len().to_string()));
    }
    let most = if limited { ACTIONS_MAX } else { LIMITS.elements_max };
    if root.children.len() > most {
        answer.findings.push(finding("TR-FLOW-TOO-MANY", false, root.at, &root.children.len().to_string()));
    }
    for (at, element) in root.children.iter().take(most).enumerate() {
        let act = act(element, rules, &mut answer.findings)?;
        answer.steps.push(Step { act, name: element.name.clone(), at });
    }
    Ok(answer)
}

/// Attributes of each action, by the profile that knows them.
fn known(name: &str, profile: Profile) -> Option<&'static [&'static str]> {
    Some(match (name, profile) {
        ("Hangup", _) => &[],
        ("Pause", _) => &["length"],
        ("SetVar", _) => &["name"],
        ("Jump", Profile::Ringme) => &["context", "option"],
        ("Jump", Profile::Voipnow) => &["context", "option", "priority"],
        ("SetCaller" | "SetCallerId", _) => &["name", "number"],
        ("PlaySound", Profile::Ringme) => &["where", "digitvar"],
        ("PlaySound", Profile::Voipnow) => &["where", "digitvar", "language", "loop", "view", "folder"],
        ("SimpleTransfer", _) => &["final", "timeout", "early_media"],
        ("PlayTTS", Profile::Voipnow) => &["voice", "volume"],
        (_, _) => return None,
    })
}

fn act(element: &Rc<Element>, rules: &Rules, findings: &mut Vec<Finding>) -> Result<Act, Finding> {
    let name = element.name.as_str();
    let Some(attributes) = known(name, rules.profile) else {
        let odd = finding("TR-FLOW-UNKNOWN-COMMAND", rules.strict, element.at, name);
        if rules.strict {
            return Err(odd);
        }
        findings.push(odd);
        return Ok(Act::Unknown);
    };
    for (attribute, _) in &element.attributes {
        if !attributes.contains(&attribute.as_str()) {
            let subject = format!("{name} {attribute}");
            findings.push(finding("TR-FLOW-ATTRIBUTE-UNKNOWN", false, element.at, &subject));
        }
    }
    let spoils =
        |what: &str| finding("TR-FLOW-ATTRIBUTE-MISSING", true, element.at, &format!("{name} {what}"));
    let text = element.text.trim();
    Ok(match name {
        "Hangup" => Act::Hangup,
        "Pause" => Act::Pause(pause(element, findings)),
        "SetVar" => {
            let name = element.attribute("name").filter(|name| !name.trim().is_empty());
            let name = name.ok_or_else(|| spoils("name"))?;
            if !is_variable(name) {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(NAME_SHOWN_MAX).collect();
                let subject = format!("SetVar name: `{shown}` cannot be the name of a variable");
                return Err(finding("TR-FLOW-VALUE", true, element.at, &subject));
            }
            if text.len() > VALUE_BYTES_MAX {
                return Err(finding("TR-FLOW-TEXT-SIZE", true, element.at, "SetVar"));
            }
            Act::SetVar { name: name.to_owned(), value: text.to_owned() }
        }
        "Jump" => {
            let context = element.attribute("context").map(str::trim).filter(|context| !context.is_empty());
            let context = context.ok_or_else(|| spoils("context"))?;
            let to = match (rules.profile, context.parse()) {
                (_, Ok(id)) => Place::Id(id),
                (_, Err(_)) => Place::Name(context.to_owned()),
            };
            let option = element.attribute("option").map(str::trim).filter(|option| !option.is_empty());
            let priority = element.attribute("priority").and_then(|at| at.trim().parse().ok());
            Act::Jump {
                to,
                option: option.unwrap_or("start").to_owned(),
                priority: priority.filter(|_| rules.profile == Profile::Voipnow).unwrap_or(1),
            }
        }
        "SetCaller" | "SetCallerId" => {
            let [name, number] = ["name", "number"].map(|key| element.attribute(key).map(str::to_owned));
            Act::SetCaller {
                name: name.ok_or_else(|| spoils("name"))?,
                number: number.ok_or_else(|| spoils("number"))?,
            }
        }
        "PlaySound" => Act::PlaySound(sound(element, rules, findings)),
        "SimpleTransfer" => Act::SimpleTransfer(transfer(element, findings)),
        "PlayTTS" => {
            Act::PlayTts { voice: element.attribute("voice").map(str::to_owned), text: text.to_owned() }
        }
        _ => Act::Unknown,
    })
}

fn pause(element: &Element, findings: &mut Vec<Finding>) -> Duration {
    let Some(text) = element.attribute("length") else { return PAUSE_USUAL };
    match text.trim().parse().ok().filter(|seconds| *seconds <= PAUSE_S_MAX) {
        Some(seconds) => Duration::from_secs(seconds),
        None => {
            findings.push(finding("TR-FLOW-ATTRIBUTE-VALUE", false, element.at, "Pause length"));
            PAUSE_USUAL
        }
    }
}

fn sound(element: &Element, rules: &Rules, findings: &mut Vec<Finding>) -> Sound {
    let is = |key: &str, word: &str| {
        element.attribute(key).is_some_and(|value| value.trim().eq_ignore_ascii_case(word))
    };
    let voipnow = rules.profile == Profile::Voipnow;
    if element.attribute("where").is_some() && !is("where", "background") && !is("where", "foreground") {
        findings.push(finding("TR-FLOW-ATTRIBUTE-VALUE", false, element.at, "PlaySound where"));
    }
    if element.text.trim().is_empty() {
        let subject = "PlaySound: the name of a sound is needed";
        findings.push(finding("TR-FLOW-VALUE", false, element.at, subject));
    }
    let background = is("where", "background");
    let digitvar = element.attribute("digitvar").map(str::trim).filter(|name| is_variable(name));
    if element.attribute("digitvar").is_some() && (digitvar.is_none() || !background) {
        findings.push(finding("TR-FLOW-ATTRIBUTE-VALUE", false, element.at, "PlaySound digitvar"));
    }
    let text = |key: &str| element.attribute(key).map(str::trim).filter(|_| voipnow).map(str::to_owned);
    let loops = text("loop").and_then(|text| text.parse().ok()).unwrap_or(1);
    Sound {
        file: element.text.trim().to_owned(),
        folder: text("folder").unwrap_or_default(),
        is_system: voipnow && is("view", "system"),
        language: text("language"),
        loops: loops.clamp(1, LOOPS_MAX),
        background: background.then(|| digitvar.map(str::to_owned)),
    }
}

fn transfer(element: &Element, findings: &mut Vec<Finding>) -> Transfer {
    let numbers: Vec<String> = element.text.trim().split(',').map(str::to_owned).collect();
    let fits = numbers.len() <= NUMBERS_MAX && numbers.iter().all(|number| is_number(number));
    if !fits {
        findings.push(finding("TR-FLOW-TARGET", false, element.at, "SimpleTransfer"));
    }
    let timeout = element.attribute("timeout");
    let seconds = timeout.and_then(|text| text.trim().parse().ok()).filter(|s| (1..=RING_S_MAX).contains(s));
    if timeout.is_some() && seconds.is_none() {
        findings.push(finding("TR-FLOW-ATTRIBUTE-VALUE", false, element.at, "SimpleTransfer timeout"));
    }
    let r#final = element.attribute("final").map(str::trim);
    if r#final.is_some_and(|word| !word.eq_ignore_ascii_case("no") && !word.eq_ignore_ascii_case("yes")) {
        findings.push(finding("TR-FLOW-ATTRIBUTE-VALUE", false, element.at, "SimpleTransfer final"));
    }
    if element.attribute("early_media").is_some_and(|word| word != "True" && word != "False") {
        findings.push(finding("TR-FLOW-ATTRIBUTE-VALUE", false, element.at, "SimpleTransfer early_media"));
    }
    Transfer {
        numbers: fits.then_some(numbers),
        is_final: !r#final.is_some_and(|word| word.eq_ignore_ascii_case("no")),
        ring_max: seconds.map(Duration::from_secs),
        // In exactly this form, and no other.
        early_media: element.attribute("early_media") == Some("True"),
    }
}
