//! What can be told of a scenario before it runs: whether it is a program, and whether it names
//! what the box does not have.

use std::time::Duration;

use super::interpreter::{Bounds, syntax};
use super::message::{Fault, FaultKind, Script};
use super::settings::CHARS_MAX;
use crate::Finding;

/// Global names that only refuse: as soon as one is called or a member of it is named.
const GLOBALS: [&str; 27] = [
    "ACD",
    "ACDEvents",
    "ASR",
    "ASRDictionary",
    "ASREvents",
    "ASRProfileList",
    "Avatar",
    "SmartQueue",
    "StreamingAgent",
    "OpenAI",
    "ElevenLabs",
    "Gemini",
    "Ultravox",
    "Cartesia",
    "Yandex",
    "CCAI",
    "Deepgram",
    "Inworld",
    "Grok",
    "PushService",
    "VoximplantAPI",
    "MeasurementProtocol",
    "WebSocket",
    "WebSocketEvents",
    "WebSocketAudioEncoding",
    "WebSocketCloseCode",
    "WebSocketReadyState",
];
/// Members that refuse, and events that nobody may listen for.
const MEMBERS: [&str; 18] = [
    "AI.createDialogflow",
    "PhoneNumber.getInfo",
    "AppEvents.WebSocket",
    "AppEvents.NewWebSocketFailed",
    "callWhatsappUser",
    "createASR",
    "createWebSocket",
    "allowWebSocketConnections",
    "createStreamingAgent",
    "enqueueACDRequest",
    "enqueueTask",
    "handleMicStatus",
    "enableBeepDetection",
    "disableBeepDetection",
    "enableStatisticsForIncomingWebsockets",
    "disableStatisticsForIncomingWebsockets",
    "enableTraceForIncomingWebsockets",
    "disableTraceForIncomingWebsockets",
];
/// Modules that are not there, and one that does nothing.
const MODULES: [&str; 13] = [
    "ACD",
    "ASR",
    "Avatar",
    "ElevenLabs",
    "Gemini",
    "OpenAI",
    "PushService",
    "SmartQueue",
    "StreamingAgent",
    "Ultravox",
    "Cartesia",
    "Yandex",
    "VoximplantAPI",
];
/// Findings of one scenario.
const FINDINGS_MAX: usize = 50;

/// Checks a scenario.
pub(super) fn check(bytes: &[u8]) -> Vec<Finding> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return vec![fatal(FaultKind::Syntax.code(), 1, 1, "not text in UTF-8")];
    };
    if text.chars().count() > CHARS_MAX {
        return vec![fatal("TR-SCRIPT-LENGTH", 1, 1, "")];
    }
    let script = Script { name: "scenario.js".to_owned(), text: text.to_owned() };
    match syntax(&[script], bounds()) {
        Err(Fault { kind, text, line, column, .. }) => {
            vec![fatal(kind.code(), line.max(1), column.max(1), &text)]
        }
        Ok(()) => absent(text),
    }
}

/// Checks scenarios that run in one global scope, each of which is a program: whether one of them
/// declares what an earlier one has declared. Gives its position and what is wrong.
#[must_use]
pub fn check_together(scripts: &[Script]) -> Option<(usize, Finding)> {
    let Fault { kind, text, file, line, column } = syntax(scripts, bounds()).err()?;
    let at = scripts.iter().rposition(|script| script.name == file)?;
    // The engine tells the name alone: it stands where the text first has it.
    let name = text.split('\'').nth(1).unwrap_or_default();
    let place = scripts.get(at).and_then(|script| first_word(&script.text, name));
    let (line, column) = place.unwrap_or((line.max(1), column.max(1)));
    Some((at, fatal(kind.code(), line, column, &text)))
}

/// Line and column of the first place where this word stands by itself, in characters from 1.
fn first_word(text: &str, word: &str) -> Option<(u32, u32)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    for (number, line) in words_alone(text).lines().enumerate() {
        for (at, _) in line.match_indices(word).filter(|_| !word.is_empty()) {
            let (before, rest) = line.split_at_checked(at)?;
            let after = rest.chars().nth(word.chars().count());
            if !before.chars().next_back().is_some_and(is_part) && !after.is_some_and(is_part) {
                let column = before.chars().count() + 1;
                return Some((u32::try_from(number + 1).ok()?, u32::try_from(column).ok()?));
            }
        }
    }
    None
}

fn bounds() -> Bounds {
    Bounds { callback: Duration::MAX, ..Bounds::default() }
}

fn fatal(code: &'static str, line: u32, column: u32, subject: &str) -> Finding {
    Finding { code, fatal: true, line, column, subject: subject.to_owned() }
}

/// Names in the program's own words, not in its texts and comments.
fn absent(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let modules: Vec<String> = MODULES.iter().map(|name| format!("Modules.{name}")).collect();
    let globals = GLOBALS.iter().map(|name| (*name, true));
    let members = MEMBERS.iter().copied().chain(modules.iter().map(String::as_str)).map(|name| (name, false));
    let names: Vec<(&str, bool)> = globals.chain(members).collect();
    for (at, line) in words_alone(text).lines().enumerate() {
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        for (name, is_global) in &names {
            let uses = |(found, _): &(usize, &str)| is_use(line, *found, name, *is_global);
            let Some((found, _)) = line.match_indices(name).find(uses) else { continue };
            if findings.len() < FINDINGS_MAX {
                let column =
                    u32::try_from(line.get(..found).map_or(0, |s| s.chars().count()) + 1).unwrap_or(1);
                findings.push(Finding {
                    code: "TR-SCRIPT-ABSENT",
                    fatal: false,
                    line: number,
                    column,
                    subject: (*name).to_owned(),
                });
            }
        }
    }
    findings
}

/// Whether a name that stands there in a line is a word by itself, and a global name one that is used.
fn is_use(line: &str, at: usize, name: &str, is_global: bool) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
    let before = line.get(..at).and_then(|before| before.chars().next_back());
    let after = line.get(at + name.len()..).unwrap_or("");
    if is_part(before) || is_part(after.chars().next()) {
        return false;
    }
    let after = after.trim_start();
    !is_global || (before != Some('.') && (after.starts_with(['.', '(', '[']) || after.starts_with("?.")))
}

/// The text with the insides of texts and comments blanked; lines stay lines.
fn words_alone(text: &str) -> String {
    #[derive(Clone, Copy, PartialEq)]
    enum In {
        Code,
        Quote(char),
        Line,
        Block,
    }
    let mut inside = In::Code;
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let shown = match inside {
            In::Code => {
                inside = match (c, chars.peek()) {
                    ('\'' | '"' | '`', _) => In::Quote(c),
                    ('/', Some('/')) => In::Line,
                    ('/', Some('*')) => In::Block,
                    _ => In::Code,
                };
                c
            }
            In::Quote(quote) => {
                if c == '\\' {
                    plain.push(' ');
                    if let Some(next) = chars.next() {
                        plain.push(if next == '\n' { next } else { ' ' });
                    }
                    continue;
                }
                if c == quote || (c == '\n' && quote != '`') {
                    inside = In::Code;
                }
                ' '
            }
            In::Line => {
                if c == '\n' {
                    inside = In::Code;
                }
                ' '
            }
            In::Block => {
                if c == '*' && chars.peek() == Some(&'/') {
                    chars.next();
                    plain.push(' ');
                    inside = In::Code;
                }
                ' '
            }
        };
        plain.push(if c == '\n' { c } else { shown });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&'static str, bool, u32, u32, String)> {
        check(text.as_bytes())
            .into_iter()
            .map(|one| (one.code, one.fatal, one.line, one.column, one.subject))
            .collect()
    }

    #[test]
    fn a_program_is_no_finding_and_does_not_run() {
        assert_eq!(found("VoxEngine.addEventListener(AppEvents.Started, () => {});\nwhile (true) {}"), []);
        assert_eq!(found("'use strict';\nlet a = 1;"), []);
        assert_eq!(found(""), []);
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let findings = check(b"let a = 1;\nfunction f( {\n}");
        assert_eq!((findings[0].code, findings[0].fatal, findings[0].line), ("TR-SCRIPT-SYNTAX", true, 3));
        let findings = check(b"let a = ;");
        assert_eq!((findings[0].line, findings[0].column), (1, 9));
        assert_eq!(check(b"'use strict'; with (a) {}")[0].code, "TR-SCRIPT-SYNTAX");
        assert_eq!(check(b"\xff")[0].code, "TR-SCRIPT-SYNTAX");
        assert_eq!(check(&vec![b' '; CHARS_MAX + 1])[0].code, "TR-SCRIPT-LENGTH");
        assert_eq!(check(b"const Net = 1;")[0].code, "TR-SCRIPT-SYNTAX");
        assert_eq!(check("[".repeat(100_000).as_bytes())[0].code, "TR-SCRIPT-SYNTAX");
    }

    #[test]
    fn scenarios_of_one_scope_declare_a_name_once() {
        let script = |name: &str, text: &str| Script { name: name.to_owned(), text: text.to_owned() };
        let first = script("a.js", "'use strict';\nlet port = 1; var both = 1; function twice() {}");
        for (text, expected) in [
            ("var both = 2; function twice() {}\nlet other; with (other) {}", None),
            ("let ports; // port\nconst port = 2;", Some((1, "TR-SCRIPT-SYNTAX", 2, 7))),
            ("var port;", Some((1, "TR-SCRIPT-SYNTAX", 1, 5))),
        ] {
            let found = check_together(&[first.clone(), script("b.js", text)]);
            assert!(found.as_ref().is_none_or(|(_, found)| found.subject.contains("port")), "{found:?}");
            assert_eq!(
                found.map(|(at, found)| (at, found.code, found.line, found.column)),
                expected,
                "{text}"
            );
        }
        assert_eq!(check_together(&[]), None);
    }

    #[test]
    fn what_the_box_does_not_have_is_named() {
        let text = "require(Modules.ASR);\nlet x = 'Modules.ASR'; // createASR\nVoxEngine.createASR();\n";
        let absent =
            |line, column, subject: &str| ("TR-SCRIPT-ABSENT", false, line, column, subject.to_owned());
        assert_eq!(found(text), [absent(1, 9, "Modules.ASR"), absent(3, 11, "createASR")]);
        for (text, column, subject) in [
            ("OpenAI({})", 1, "OpenAI"),
            ("x = new WebSocket ('ws://a')", 9, "WebSocket"),
            ("WebSocketEvents.OPEN", 1, "WebSocketEvents"),
            ("myASR.x; ASR?.x", 10, "ASR"),
            ("VoxEngine.createWebSocket('ws://a')", 11, "createWebSocket"),
            ("VoxEngine.allowWebSocketConnections()", 11, "allowWebSocketConnections"),
            ("VoxEngine.addEventListener(AppEvents.WebSocket, f)", 28, "AppEvents.WebSocket"),
            ("on(AppEvents.NewWebSocketFailed, f)", 4, "AppEvents.NewWebSocketFailed"),
            ("VoxEngine.enableTraceForIncomingWebsockets()", 11, "enableTraceForIncomingWebsockets"),
        ] {
            assert_eq!(found(text), [absent(1, column, subject)], "{text}");
        }
        assert_eq!(found("typeof OpenAI; const WebSocket2 = 1; recreateASR(); createASRs()"), []);
        assert_eq!(found("myASR.x; a.ASR.x; Modules.ASRX; /* ASR.x */ `ASR.x`; '\\'ASR.x'"), []);
    }
}
