//! `[[rule]]`: which scenarios of an application run, and for which numbers.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use tipring_flows::voxengine::message::Script;
use tipring_flows::voxengine::{self, Scenario};
use tipring_flows::{Claim, Program, application};
use tipring_model::directory::Directory;
use tipring_web::platform_api::rules::{Pattern, Rule, ScenarioEntry};
use toml_edit::Table;

use super::FlowEntry;
use super::fields::RULE_FIELDS;
use super::read::{DOCUMENT_BYTES_MAX, Group, Reader};
use super::text_file::read_bytes;

const RULES_MAX: usize = 256;

/// A rule, ready to be started any number of times.
pub(crate) struct RuleEntry {
    /// What the control API tells of it.
    pub rule: Rule,
    /// Its scenarios.
    pub program: Rc<dyn Program>,
}

impl Reader<'_> {
    /// Every rule of the file, with its keys checked.
    pub(super) fn rules(&mut self, root: &Table) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for table in self.tables(root, "rule", RULES_MAX) {
            let group = self.read(table);
            self.check(&group, RULE_FIELDS);
            let id = group.raw.number("id");
            if id.is_some() && groups.iter().any(|other| other.raw.number("id") == id) {
                let what = "two rules have this id".to_owned();
                self.value_fault(&group, "id", "TR-CFG-DUPLICATE", what, None);
            }
            groups.push(group);
        }
        groups
    }

    /// Rules lead to flows that have rules.
    pub(super) fn rule_flows(&mut self, rules: &[Group], flows: &[(String, Option<FlowEntry>)]) {
        let names: Vec<String> = flows.iter().map(|(name, _)| name.clone()).collect();
        for group in rules {
            let at = self.reference(group, "flow", &names);
            let flow = at.and_then(|at| flows.get(at)).and_then(|(_, flow)| flow.as_ref());
            if flow.is_some_and(|flow| flow.dialect != voxengine::DIALECT.name) {
                let what = "only a flow of voxengine has rules".to_owned();
                self.value_fault(group, "flow", "TR-CFG-REFERENCE", what, None);
            }
        }
    }

    /// The rules of one flow, in file order; nothing where one of them has a fault.
    pub(super) fn rules_of(
        &mut self,
        rules: &[Group],
        flow: &str,
        language: &str,
        directory: &Rc<Directory>,
    ) -> Option<Vec<RuleEntry>> {
        let own = rules.iter().filter(|group| group.raw.text("flow") == Some(flow));
        let mut entries = Some(Vec::new());
        for group in own {
            match (self.rule(group, language, directory), &mut entries) {
                (Some(entry), Some(entries)) => {
                    self.warn_of_dead(group, &entry, entries);
                    entries.push(entry);
                }
                (Some(_) | None, _) => entries = None,
            }
        }
        entries
    }

    /// Of the rules of a flow the first that takes a number runs: one whose numbers all go to
    /// earlier ones is begun by no call.
    fn warn_of_dead(&mut self, group: &Group, entry: &RuleEntry, before: &[RuleEntry]) {
        let numbers = entry.rule.pattern.as_ref().and_then(Pattern::numbers).unwrap_or_default();
        let taker = |number: &String| {
            before.iter().find(|one| one.rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(number)))
        };
        let takers: Option<Vec<&RuleEntry>> = numbers.iter().map(taker).collect();
        if let Some([first, ..]) = takers.as_deref() {
            let what = format!("no call begins this rule: `{}` before it takes its numbers", first.rule.name);
            self.odd(group, "pattern", what, "put it before that one, or give it other numbers");
        }
    }

    fn rule(&mut self, group: &Group, language: &str, directory: &Rc<Directory>) -> Option<RuleEntry> {
        let pattern = match group.raw.text("pattern").map(Pattern::parse) {
            None => Some(None),
            Some(Ok(pattern)) => Some(Some(pattern)),
            Some(Err(what)) => {
                let help = Some("write a regular expression such as \"8\\\\d{3}\"; it takes the whole number, and has no look-ahead and no back-references".to_owned());
                self.value_fault(group, "pattern", "TR-CFG-MALFORMED", what, help);
                None
            }
        };
        let mut scenarios = Vec::new();
        let mut scripts = Vec::new();
        let mut paths = Vec::new();
        let mut is_whole = true;
        for file in group.raw.list("scenarios").to_vec() {
            let path = self.path(&file);
            match self.scenario(group, &path) {
                Some(text) => {
                    let name = |part: Option<&std::ffi::OsStr>| {
                        part.map_or_else(|| file.clone(), |part| part.to_string_lossy().into_owned())
                    };
                    scenarios.push(ScenarioEntry {
                        id: u64::from(crc32c::crc32c(file.as_bytes())),
                        name: name(path.file_stem()),
                        modified_s: modified_s(&path),
                    });
                    scripts.push(Script { name: name(path.file_name()), text });
                    paths.push(path);
                }
                None => is_whole = false,
            }
        }
        if !is_whole {
            return None;
        }
        if let Some((at, found)) = voxengine::check_together(&scripts) {
            let path = paths.get(at).map(|path| path.display().to_string()).unwrap_or_default();
            let what = format!("`{path}`:{}:{}: {}", found.line, found.column, found.subject);
            let help = "the scenarios of a rule share one scope: an earlier one has this name already";
            self.value_fault(group, "scenarios", found.code, what, Some(help.to_owned()));
            return None;
        }
        let program = voxengine::program(Scenario { scripts, language: language.to_owned() }, directory);
        let modified_s = scenarios.iter().map(|scenario| scenario.modified_s).max().unwrap_or(0);
        let id = u64::try_from(group.raw.number("id")?).ok()?;
        let rule =
            Rule { id, name: group.raw.text("name")?.to_owned(), pattern: pattern?, scenarios, modified_s };
        Some(RuleEntry { rule, program: Rc::from(program) })
    }

    /// The text of a scenario that is a program.
    fn scenario(&mut self, group: &Group, path: &Path) -> Option<String> {
        let bytes = match read_bytes(path, DOCUMENT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                let what = format!("`{}` {error}", path.display());
                self.value_fault(group, "scenarios", "TR-CFG-FILE", what, None);
                return None;
            }
        };
        let (fatal, odd): (Vec<_>, Vec<_>) =
            (voxengine::DIALECT.check)(&bytes).into_iter().partition(|found| found.fatal);
        self.doubts(path, odd);
        for found in &fatal {
            let (line, column) = (found.line, found.column);
            let what = format!("`{}`:{line}:{column}: {}", path.display(), found.subject);
            self.value_fault(group, "scenarios", found.code, what, None);
        }
        String::from_utf8(bytes).ok().filter(|_| fatal.is_empty())
    }
}

/// What answers a call that reaches an application.
pub(super) fn program_of(rules: &[RuleEntry]) -> Rc<dyn Program> {
    let rules = rules.iter().map(|entry| {
        let pattern = entry.rule.pattern.clone();
        let lists_numbers = pattern.as_ref().is_some_and(|pattern| pattern.numbers().is_some());
        application::Rule {
            takes: Rc::new(move |number| pattern.as_ref().is_some_and(|pattern| pattern.matches(number))),
            claim: if lists_numbers { Claim::Number } else { Claim::Remainder },
            program: Rc::clone(&entry.program),
        }
    });
    application::program(rules.collect())
}

/// Files of rules, for whoever looks for a document's dialect.
pub(super) fn files_of(rules: &[Group], flow: &str, path: impl Fn(&str) -> PathBuf) -> Vec<PathBuf> {
    let own = rules.iter().filter(|group| group.raw.text("flow") == Some(flow));
    own.flat_map(|group| group.raw.list("scenarios").to_vec()).map(|file| path(&file)).collect()
}

/// When a file was changed, in seconds since 1970.
fn modified_s(path: &Path) -> i64 {
    let modified = std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let since = modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const FLOW: &str = "[[flow]]\nname = \"office\"\ndialect = \"voxengine\"\n";

    fn read(folder: &Path, text: &str) -> Result<Config, Vec<String>> {
        Config::parse(&format!("schema = 1\n{text}"), folder).map_err(|faults| {
            faults.into_iter().map(|fault| format!("{} {} {}", fault.code, fault.line, fault.what)).collect()
        })
    }

    fn rule(rest: &str) -> String {
        format!("[[rule]]\nid = 10\nname = \"callback\"\nflow = \"office\"\n{rest}\n")
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("library.js"), "function ring() {}\n").unwrap();
        std::fs::write(folder.path().join("callback.js"), "VoxEngine.createASR();\n").unwrap();
        std::fs::write(folder.path().join("again.js"), "const ring = 1;\n").unwrap();
        std::fs::write(folder.path().join("broken.js"), "let a = 1;\nlet b = ;\n").unwrap();
        folder
    }

    #[test]
    fn rules_belong_to_an_application_and_their_scenarios_are_read() {
        let folder = folder();
        let text = format!(
            "{FLOW}application_id = 5\n{}",
            rule("pattern = '8\\d{3}'\nscenarios = [\"library.js\", \"callback.js\"]")
        );
        let config = read(folder.path(), &text).ok().unwrap();
        let flow = &config.flows[0];
        assert_eq!((flow.application_id, flow.rules.len()), (5, 1));
        let rule = &flow.rules[0].rule;
        assert_eq!((rule.id, rule.scenarios[1].name.as_str()), (10, "callback"));
        assert!(rule.pattern.as_ref().unwrap().matches("8123"));
        assert_eq!(config.warnings.documents.len(), 1, "what the box does not have is a doubt");
    }

    #[test]
    fn a_rule_whose_numbers_go_to_an_earlier_one_is_odd() {
        let folder = folder();
        let first = rule("pattern = '8.*'\nscenarios = [\"library.js\"]");
        for (pattern, odd) in [("801|802", 1), ("801|902", 0), ("80.", 0), ("902", 0)] {
            let second = first.replace("8.*", pattern).replace("id = 10", "id = 11");
            let config = read(folder.path(), &format!("{FLOW}{first}{second}")).ok().unwrap();
            assert_eq!(config.warnings.file.len(), odd, "{pattern}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_told_with_its_place() {
        let folder = folder();
        let good = rule("scenarios = [\"library.js\"]");
        for (text, expected) in [
            (format!("{FLOW}{}", rule("")), "TR-CFG-MISSING 5"),
            (format!("{FLOW}{}", rule("scenarios = [\"none.js\"]")), "TR-CFG-FILE 9"),
            (format!("{FLOW}{}", rule("scenarios = [\"broken.js\"]")), "TR-SCRIPT-SYNTAX 9"),
            (format!("{FLOW}{}", rule("scenarios = [\"library.js\", \"again.js\"]")), "TR-SCRIPT-SYNTAX 9"),
            (
                format!("{FLOW}{}", rule("pattern = \"(\"\nscenarios = [\"library.js\"]")),
                "TR-CFG-MALFORMED 9",
            ),
            (format!("{FLOW}{good}{good}"), "TR-CFG-DUPLICATE 11"),
            (good.clone(), "TR-CFG-REFERENCE 5"),
            (
                format!("[[flow]]\nname = \"office\"\ndialect = \"opentact\"\nurl = \"http://x/\"\n{good}"),
                "TR-CFG-REFERENCE 9",
            ),
            (format!("{FLOW}file = \"library.js\"\n{good}"), "TR-CFG-CONFLICT 5"),
        ] {
            let faults = read(folder.path(), &text).err().unwrap_or_default();
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {text} {faults:#?}");
        }
    }
}
