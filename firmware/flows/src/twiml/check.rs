//! The check of a document without a call: what will not be read, and what a flow would warn of.

use std::rc::Rc;

use tipring_model::directory::Directory;
use tipring_model::flow::{Flow as _, FlowOutput, Warning};

use super::flow::TwimlFlow;
use super::names::{Kind, Name};
use super::parse::{child_path, document};
use super::script::{Role, Script, Verb};
use super::settings::{First, Profile, Terms};
use crate::Finding;
use crate::xml::Element;

/// Checks a document without running it.
pub(super) fn check(bytes: &[u8]) -> Vec<Finding> {
    match document(bytes, None, false) {
        Err(error) => vec![Finding {
            code: error.code,
            fatal: true,
            line: error.at.line,
            column: error.at.column,
            subject: "document".to_owned(),
        }],
        Ok(root) => {
            let mut findings = Vec::new();
            for (at, child) in root.children.iter().enumerate() {
                check_verb(child, &mut findings);
                check_values(&root, at, child, &mut findings);
            }
            findings.sort_by_key(|finding| (finding.line, finding.column));
            findings
        }
    }
}

/// The addresses of a document that are relative to its own, which a file of the box does not have.
pub(super) fn needs_server(bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok(root) = document(bytes, None, true) {
        relative(&root, &mut findings);
    }
    findings
}

fn relative(element: &Element, findings: &mut Vec<Finding>) {
    /// Attributes that hold an address.
    const ADDRESSES: [&str; 12] = [
        "action",
        "amdStatusCallback",
        "eventCallbackUrl",
        "partialResultCallback",
        "recordingStatusCallback",
        "referUrl",
        "statusCallback",
        "statusCallbackUrl",
        "storageUrl",
        "transcribeCallback",
        "url",
        "waitUrl",
    ];
    let is_relative = |text: &str| {
        !text.trim().is_empty()
            && url::Url::parse(text.trim()) == Err(url::ParseError::RelativeUrlWithoutBase)
    };
    let named = element.attributes.iter().filter(|(name, _)| ADDRESSES.contains(&name.as_str()));
    let texts = named.map(|(name, text)| (name.as_str(), text.as_str()));
    // In Pivot, what looks like no address is the name of a sound of the account.
    let is_address = |text: &str| element.name == "Redirect" || text.contains(['/', ':', '.']);
    let own = matches!(element.name.as_str(), "Redirect" | "Play").then_some(element.text.as_str());
    let own = own.filter(|text| is_address(text)).map(|text| (element.name.as_str(), text));
    for (subject, _) in texts.chain(own).filter(|(_, text)| is_relative(text)) {
        findings.push(Finding { fatal: true, ..finding(element, "TR-FLOW-RELATIVE", subject) });
    }
    for child in &element.children {
        relative(child, findings);
    }
}

fn finding(element: &Element, code: &'static str, subject: &str) -> Finding {
    let (line, column) = (element.at.line, element.at.column);
    Finding { code, fatal: false, line, column, subject: subject.to_owned() }
}

fn found(findings: &mut Vec<Finding>, element: &Element, code: &'static str, subject: &str) {
    findings.push(finding(element, code, subject));
}

fn check_verb(element: &Element, findings: &mut Vec<Finding>) {
    match Name::of(&element.name).map(|name| (name, name.kind())) {
        None => found(findings, element, "TR-FLOW-UNKNOWN-COMMAND", &element.name),
        Some((_, Kind::Noun)) => found(findings, element, "TR-FLOW-OUTSIDE", &element.name),
        Some((name, kind)) => {
            if kind == Kind::Foreign {
                found(findings, element, "TR-FLOW-NOT-OFFERED", &element.name);
            }
            check_inside(element, name, findings);
        }
    }
}

fn check_inside(element: &Element, name: Name, findings: &mut Vec<Finding>) {
    for (attribute, _) in &element.attributes {
        if !name.attributes().contains(&attribute.as_str()) {
            found(findings, element, "TR-FLOW-ATTRIBUTE-UNKNOWN", attribute);
        }
        if name.is_without_effect(attribute) {
            found(findings, element, "TR-FLOW-NO-EFFECT", attribute);
        }
    }
    for child in &element.children {
        match Name::of(&child.name) {
            Some(kind) if name.children().contains(&kind) => check_inside(child, kind, findings),
            // Markup that the engine does not know is read as its text.
            None if name == Name::Say => {}
            Some(_) | None => found(findings, child, "TR-FLOW-CHILD-IGNORED", &child.name),
        }
    }
}

/// What a flow would say of the values in a Say, Play, Pause, Gather or Dial: it reads them as one
/// that runs would.
fn check_values(root: &Rc<Element>, at: usize, element: &Rc<Element>, findings: &mut Vec<Finding>) {
    let directory = Rc::new(Directory::default());
    let terms = Rc::new(Terms::of(Profile::Twilio, &directory));
    let mut reader = TwimlFlow::new(terms, directory, First::Document(Rc::clone(root)));
    let mut script = Script::new(Role::Main, reader.leg);
    // Where the document will come from is not known; any address lets relative ones be.
    script.base = Some("http://document.invalid/".to_owned());
    let path = child_path("", element, at);
    let name = Name::of(&element.name);
    match name {
        Some(Name::Say) => drop(reader.say_prompt(element, &path)),
        Some(Name::Play) => drop(reader.play_prompts(element, script.base.as_deref(), &path)),
        Some(Name::Pause) => drop(reader.pause_length(element, &path)),
        Some(name @ Name::Set) => {
            reader.start_set(&mut script, &Verb { element: Rc::clone(element), name, path });
        }
        Some(name @ Name::Gather) => {
            drop(reader.read_gather(&script, Verb { element: Rc::clone(element), name, path }));
        }
        Some(name @ Name::Dial) => {
            let verb = Verb { element: Rc::clone(element), name, path };
            drop(reader.dial_terms(&script, &verb));
            drop(reader.targets(&script, &verb));
        }
        Some(_) | None => return,
    }
    while let Some(output) = reader.poll() {
        let FlowOutput::Warn(Warning { code, path }) = output else { continue };
        let (path, attribute) =
            path.split_once('@').map_or((path.as_str(), None), |(path, key)| (path, Some(key)));
        let place = element_at(root, path).unwrap_or(element);
        let subject = attribute.unwrap_or(&place.name);
        let said = |finding: &&Finding| {
            finding.code == code && attribute.is_none_or(|attribute| finding.subject == attribute)
        };
        // Who works in the office is not known here.
        let is_person = Name::of(&place.name)
            .is_some_and(|name| matches!(name, Name::Client | Name::User | Name::Device | Name::Verto));
        let is_known = findings
            .iter()
            .filter(said)
            .any(|finding| (finding.line, finding.column) == (place.at.line, place.at.column));
        if is_known || (is_person && code == "TR-FLOW-TARGET") {
            continue;
        }
        found(findings, place, code, subject);
    }
}

/// The element at a path such as `Dial[0].Number[1]`.
fn element_at<'a>(root: &'a Element, path: &str) -> Option<&'a Element> {
    path.split('.').try_fold(root, |element, step| {
        let at = step.split_once('[')?.1.strip_suffix(']')?.parse::<usize>().ok()?;
        element.children.get(at).map(|child| &**child)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_knows_what_will_be_warned_of_and_where() {
        let findings = check(
            b"<Response>\n <play>x</play><Gather foo='1'><Dial/><Say><break/></Say></Gather>\n<Number/><Pay/>\
              <Redirect>x</Redirect><Dial action='ftp://x/y'><Number byoc='1'>1</Number></Dial>\n\
              <Gather timeout='x' numDigits='0'/><Dial><Number>a</Number><Client>ann</Client></Dial>\n\
              <Say voice='Polly.Joey'/><Pause length='-1'/><Play>ftp://x</Play><Play>a.wav</Play></Response>",
        );
        let found: Vec<String> = findings
            .iter()
            .map(|finding| {
                format!("{} {}:{} {}", finding.code, finding.line, finding.column, finding.subject)
            })
            .collect();
        assert_eq!(
            found,
            [
                "TR-FLOW-UNKNOWN-COMMAND 2:2 play",
                "TR-FLOW-ATTRIBUTE-UNKNOWN 2:16 foo",
                "TR-FLOW-CHILD-IGNORED 2:32 Dial",
                "TR-FLOW-OUTSIDE 3:1 Number",
                "TR-FLOW-NOT-OFFERED 3:10 Pay",
                "TR-HOOK-URL 3:38 action",
                "TR-FLOW-NO-EFFECT 3:63 byoc",
                "TR-FLOW-ATTRIBUTE-VALUE 4:1 timeout",
                "TR-FLOW-ATTRIBUTE-RANGE 4:1 numDigits",
                "TR-FLOW-TARGET 4:42 Number",
                "TR-FLOW-VOICE 5:1 voice",
                "TR-FLOW-ATTRIBUTE-RANGE 5:26 length",
                "TR-HOOK-URL 5:46 Play",
            ]
        );
        assert!(check(b"<Response>").iter().all(|finding| finding.fatal));
        let odd = check(
            b"<Response><Say>a<Play>http://x/y</Play></Say><Set><Variable key='callSid' value='1'/></Set></Response>",
        );
        let codes: Vec<&str> = odd.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["TR-FLOW-CHILD-IGNORED", "TR-FLOW-VARIABLE"]);
    }

    #[test]
    fn a_file_of_the_box_has_no_address_to_which_others_could_be_relative() {
        let found = needs_server(
            b"<Response><Redirect> ../a </Redirect><Redirect/><Play>hold</Play><Play>b.wav</Play>\
              <Dial action='/c'><Number url='http://x/y' statusCallback='d'>1</Number></Dial>\
              <Connect><Stream url='wss://x/y'/></Connect><Gather><Play>e/f.mp3</Play></Gather></Response>",
        );
        assert!(found.iter().all(|finding| finding.fatal && finding.code == "TR-FLOW-RELATIVE"));
        let subjects: Vec<&str> = found.iter().map(|finding| finding.subject.as_str()).collect();
        assert_eq!(subjects, ["Redirect", "Play", "action", "statusCallback", "Play"]);
    }
}
