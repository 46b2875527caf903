//! `[speech]`: who speaks texts.

use tipring_model::settings::Problem;
use toml_edit::Table;

use super::fields::SPEECH_FIELDS;
use super::read::{Group, Reader, is_web_address};
use super::report::code_of;
use crate::prompts::{PLACEHOLDERS, SpeechEngine};

/// Longest argument of a program, in bytes.
const ARGUMENT_BYTES_MAX: usize = 1_024;
/// The keys, and the engine that each is for.
const OWNERS: [(&str, &str); 3] = [("command", "command"), ("ssml", "command"), ("url", "http")];

impl Reader<'_> {
    pub(super) fn speech(&mut self, root: &Table) -> SpeechEngine {
        let group = self.group(root, "speech", SPEECH_FIELDS);
        let engine = group.raw.text("engine").unwrap_or("espeak-ng");
        for (key, owner) in OWNERS {
            if group.raw.get(key).is_some() && engine != owner {
                let what = format!("`{key}` is for `engine = \"{owner}\"` alone");
                self.value_fault(&group, key, "TR-CFG-CONFLICT", what, None);
            }
        }
        match engine {
            "command" => {
                self.command(&group);
                SpeechEngine::Command {
                    command: group.raw.list("command").to_vec(),
                    is_ssml: group.raw.toggle("ssml").unwrap_or(false),
                }
            }
            "http" => {
                let url = group.raw.text("url").map(|url| url.trim().to_owned());
                match &url {
                    None if group.raw.get("url").is_none() => {
                        let what = "`url` is needed here".to_owned();
                        self.value_fault(&group, "engine", code_of(&Problem::Missing), what, None);
                    }
                    Some(url) if !is_web_address(url) => {
                        // It is not repeated: it may hold a password.
                        let help =
                            Some("write an address such as \"http://192.168.1.20:5000/say\"".to_owned());
                        let what = "not an http or https address".to_owned();
                        self.value_fault(&group, "url", "TR-CFG-MALFORMED", what, help);
                    }
                    // One of another type was reported where it stands.
                    None | Some(_) => {}
                }
                SpeechEngine::Http { url: url.unwrap_or_default() }
            }
            // Another word was reported as one.
            _ => SpeechEngine::EspeakNg,
        }
    }

    fn command(&mut self, group: &Group) {
        let help = Some("write a list such as [\"/usr/bin/piper\", \"--voice\", \"{voice}\"]".to_owned());
        let command = group.raw.list("command");
        let Some((program, arguments)) = command.split_first() else {
            match group.raw.get("command") {
                None => {
                    let what = "`command` is needed here".to_owned();
                    self.value_fault(group, "engine", code_of(&Problem::Missing), what, help);
                }
                Some(_) if group.raw.check(SPEECH_FIELDS).is_ok() => {
                    let what = "the list names no program".to_owned();
                    self.value_fault(group, "command", "TR-CFG-MALFORMED", what, help);
                }
                // Of another type, and reported.
                Some(_) => {}
            }
            return;
        };
        if program.trim().is_empty() || program.contains(['{', '}']) {
            let what = "the first entry is no program".to_owned();
            self.value_fault(group, "command", "TR-CFG-MALFORMED", what, help.clone());
        }
        if command.iter().any(|entry| entry.len() > ARGUMENT_BYTES_MAX || entry.contains('\0')) {
            let what = format!("an entry is over {ARGUMENT_BYTES_MAX} bytes long, or holds a zero");
            self.value_fault(group, "command", "TR-CFG-MALFORMED", what, None);
        }
        if let Some(unknown) = arguments.iter().find_map(|argument| unknown_placeholder(argument)) {
            let what = format!("nothing is put in for `{{{unknown}}}`");
            let help = Some(format!("known: {{{}}}", PLACEHOLDERS.join("} {")));
            self.value_fault(group, "command", "TR-CFG-MALFORMED", what, help);
        }
    }
}

/// A word in braces that is not one of ours. Braces around anything else are the program's.
fn unknown_placeholder(argument: &str) -> Option<&str> {
    let words = argument.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    let mut named = words.filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic()));
    named.find(|word| !PLACEHOLDERS.contains(word))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn faults(keys: &str) -> Vec<String> {
        let found = Config::parse(&format!("schema = 1\n[speech]\n{keys}\n"), Path::new("."));
        let found = found.err().unwrap_or_default();
        found
            .iter()
            .map(|fault| format!("{} {}:{} {}", fault.code, fault.line, fault.column, fault.what))
            .collect()
    }

    fn engine(keys: &str) -> SpeechEngine {
        Config::parse(&format!("schema = 1\n{keys}\n"), Path::new(".")).ok().unwrap().speech
    }

    #[test]
    fn engines_are_read() {
        assert_eq!(engine(""), SpeechEngine::EspeakNg);
        assert_eq!(engine("[speech]\nengine = \"espeak-ng\""), SpeechEngine::EspeakNg);
        let command =
            engine("[speech]\nengine = \"command\"\ncommand = [\"piper\", \"{voice}\", \"{\\\"a\\\":1}\"]");
        let words = ["piper", "{voice}", "{\"a\":1}"].map(str::to_owned).to_vec();
        assert_eq!(command, SpeechEngine::Command { command: words, is_ssml: false });
        let ssml = engine("[speech]\nengine = \"command\"\ncommand = [\"x\"]\nssml = true");
        assert_eq!(ssml, SpeechEngine::Command { command: vec!["x".to_owned()], is_ssml: true });
        let http = engine("[speech]\nengine = \"http\"\nurl = \"http://10.0.0.5/say\"");
        assert_eq!(http, SpeechEngine::Http { url: "http://10.0.0.5/say".to_owned() });
    }

    #[test]
    fn faults_have_a_place() {
        let command = |list: &str| format!("engine = \"command\"\ncommand = {list}");
        let long = format!("[\"x\", \"{}\"]", "a".repeat(ARGUMENT_BYTES_MAX + 1));
        for (keys, expected) in [
            ("engine = \"festival\"".to_owned(), "TR-CFG-CHOICE 3:10"),
            ("engine = \"command\"".to_owned(), "TR-CFG-MISSING 3:10 `command`"),
            ("engine = \"http\"".to_owned(), "TR-CFG-MISSING 3:10 `url`"),
            ("engine = \"http\"\nurl = \"ftp://x/\"".to_owned(), "TR-CFG-MALFORMED 4:7"),
            ("engine = \"http\"\nurl = 5".to_owned(), "TR-CFG-TYPE 4:7"),
            ("engine = \"http\"\nurl = \"http://x/\"\nssml = true".to_owned(), "TR-CFG-CONFLICT 5:8"),
            ("url = \"http://x/\"".to_owned(), "TR-CFG-CONFLICT 3:7"),
            ("command = [\"x\"]".to_owned(), "TR-CFG-CONFLICT 3:11"),
            ("voices = \"x\"".to_owned(), "TR-CFG-UNKNOWN 3:1"),
            (command("\"piper -x\""), "TR-CFG-TYPE 4:11"),
            (command("[]"), "TR-CFG-MALFORMED 4:11 the list"),
            (command("[\" \"]"), "TR-CFG-MALFORMED 4:11 the first"),
            (command("[\"{voice}\"]"), "TR-CFG-MALFORMED 4:11 the first"),
            (command("[\"x\", \"a{voice}{name}\"]"), "TR-CFG-MALFORMED 4:11 nothing is put in for `{name}`"),
            (command(&long), "TR-CFG-MALFORMED 4:11 an entry"),
        ] {
            let faults = faults(&keys);
            assert!(faults.len() == 1 && faults[0].starts_with(expected), "{keys}: {faults:?}");
        }
    }
}
