//! `temporal_route`: what the time of the day and the calendar say.

use std::rc::Rc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tipring_model::flow::{Action, Collect, Moment, Outcome};
use tipring_model::prompt::Prompt;
use tipring_model::{Digit, DigitSet};

use super::calendar;
use super::flow::{KazooFlow, Next, Then, WILDCARD};
use super::keys::Data;
use super::parse::Node;

/// Rules that one node looks at.
const RULES_MAX: usize = 512;
const RULE_SET: &str = "rule_set";

impl KazooFlow {
    pub(super) fn temporal_route(&mut self, now: Moment, node: &Rc<Node>) -> Next {
        let data = node.data();
        match data.text("action") {
            Some("menu") => {
                if let Some(next) = self.answer_first() {
                    return next;
                }
                let all = DigitSet::ALL;
                let collect = Collect {
                    prompts: vec![Prompt { barge_in: all, ..Prompt::once(self.prompt("temporal-menu")) }],
                    digits_max: 1,
                    finish: DigitSet::NONE,
                    first_digit: Some(Duration::from_secs(5)),
                    between_digits: None,
                    total: None,
                    typed_ahead: self.collections.takes_ahead(),
                };
                self.act(Action::Collect(collect), Then::Temporal)
            }
            Some(action) => {
                if let Some(next) = self.answer_first() {
                    return next;
                }
                self.switch_rules(action)
            }
            None => self.route_by_time(now, node),
        }
    }

    pub(super) fn temporal_chosen(&mut self, outcome: &Outcome) -> Next {
        let Outcome::Collected(collected) = outcome else { return Next::on() };
        match collected.digits.as_slice() {
            [Digit::D1] => self.switch_rules("enable"),
            [Digit::D2] => self.switch_rules("disable"),
            [Digit::D3] => self.switch_rules("reset"),
            _ => Next::on(),
        }
    }

    fn switch_rules(&mut self, action: &str) -> Next {
        let Some(node) = self.node() else { return Next::Stop };
        let state = match action {
            "enable" => Some("on"),
            "disable" => Some("off"),
            _ => None,
        };
        for rule in node.data().texts("rules") {
            self.keep(format!("rule.{rule}"), state.map(str::to_owned));
        }
        let done = self.confirmed();
        self.say(done, Next::on())
    }

    fn route_by_time(&mut self, now: Moment, node: &Rc<Node>) -> Next {
        let data = node.data();
        let zone = self.zone(data);
        for (rule, key) in self.rules(node) {
            let app = Rc::clone(&self.app);
            let stored = app.document.stored.data("temporal_rules", &rule);
            if stored.json().is_none() {
                self.warn("TR-FLOW-REFERENCE", format!("{}.data.rules: {rule}", node.path));
                continue;
            }
            if !calendar::has_begun(stored, now.unix_ms) {
                continue;
            }
            let is_active = match self.kept(&format!("rule.{rule}")).as_deref() {
                Some(kept) => kept == "on",
                None => match stored.toggle("enabled") {
                    Some(forced) => forced,
                    None => calendar::is_active(stored, now.unix_ms, &zone) == Some(true),
                },
            };
            if is_active {
                return Next::Go(key);
            }
        }
        Next::on()
    }

    /// The rules that are looked at, each with the child that it leads to.
    fn rules(&self, node: &Node) -> Vec<(String, String)> {
        let data = node.data();
        let listed = data.texts("rules").into_iter().map(|id| (id, id));
        let children = node.children.iter().map(|(key, _)| key.as_str());
        let children = children.filter(|key| ![WILDCARD, RULE_SET].contains(key)).map(|id| (id, id));
        let of_set = data.filled(RULE_SET).map(|id| (id, RULE_SET));
        let mut rules = Vec::new();
        for (id, key) in listed.chain(children).chain(of_set) {
            if rules.len() >= RULES_MAX {
                break;
            }
            let set = self.app.document.stored.data("temporal_rules_sets", id);
            if set.json().is_some() {
                rules.extend(
                    set.texts("temporal_rules").into_iter().map(|rule| (rule.to_owned(), key.to_owned())),
                );
            } else if !rules.iter().any(|(known, _)| known == id) {
                rules.push((id.to_owned(), key.to_owned()));
            }
        }
        rules.truncate(RULES_MAX);
        rules
    }

    /// The zone of the node, of the user who calls, or of the box.
    fn zone(&mut self, data: Data<'_>) -> TimeZone {
        let own = data.filled("timezone").map(str::to_owned);
        let names = [own, self.caller_user_value("timezone"), Some(self.app.directory.time_zone.clone())];
        for name in names.into_iter().flatten().filter(|name| !name.is_empty()) {
            match TimeZone::get(&name) {
                Ok(zone) => return zone,
                Err(_) => self.warn("TR-FLOW-KEY-CHOICE", format!("timezone: {name}")),
            }
        }
        TimeZone::UTC
    }
}
