//! Feature codes: what somebody of the office switches from his telephone.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::flow::{Action, Collect, FlowOutput, Moment, Outcome};
use tipring_model::lamp::Lamp;
use tipring_model::prompt::{Prompt, PromptSource};
use tipring_model::{Cause, Digit, DigitSet};

use super::collect::BETWEEN;
use super::flow::{KazooFlow, Next, Then};
use super::keys::{Data, Module};
use super::parse::Node;
use crate::json::Json;

/// Longest number that calls are forwarded to.
const NUMBER_DIGITS_MAX: usize = 20;
/// Wait for the first key.
const FIRST: Duration = Duration::from_secs(5);

/// A question about forwarding.
pub(super) struct AskForward {
    owner: String,
    stage: Stage,
    retries: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Menu,
    Number,
}

impl KazooFlow {
    /// Whose setting is changed: the user who calls, or his telephone.
    fn owner(&self) -> Option<String> {
        let device = || self.caller_device().map(|(id, _)| id.to_owned());
        self.caller_user().or_else(device).or_else(|| self.caller_extension().map(str::to_owned))
    }

    /// The caller is nobody whom the box knows, or this cannot be done.
    pub(super) fn not_possible(&mut self, code: &'static str) -> Next {
        self.fault = Some(code);
        if let Some(next) = self.answer_first() {
            return next;
        }
        let words = self.prompt("fault-can_not_complete_at_this_time");
        self.say(words, Next::Stop)
    }

    fn ask(&mut self, sound: PromptSource, digits_max: usize, then: Then) -> Next {
        let collect = Collect {
            prompts: vec![Prompt { barge_in: DigitSet::ALL, ..Prompt::once(sound) }],
            digits_max,
            finish: DigitSet::of("#"),
            first_digit: Some(FIRST),
            between_digits: Some(BETWEEN),
            total: None,
            typed_ahead: self.collections.takes_ahead(),
        };
        self.act(Action::Collect(collect), then)
    }

    // --- call_forward

    pub(super) fn call_forward(&mut self, data: Data<'_>) -> Next {
        let Some(owner) = self.owner() else { return self.not_possible("TR-FLOW-REFERENCE") };
        if let Some(next) = self.answer_first() {
            return next;
        }
        let is_on = self.kept(&format!("forward.{owner}")).as_deref() == Some("on");
        let number = self.captures.longest.clone();
        match data.text("action") {
            Some("deactivate") => self.forward_off(&owner),
            Some("toggle") if is_on => self.forward_off(&owner),
            Some("menu") => {
                let retries = data.count("menu_retries").unwrap_or(3).min(10);
                self.forward_menu(AskForward { owner, stage: Stage::Menu, retries })
            }
            Some("update") => self.forward_number(owner),
            Some(_) | None if !number.is_empty() => self.forward_on(&owner, &number),
            Some(_) | None => match self.kept(&format!("forward_number.{owner}")) {
                Some(known) => self.forward_on(&owner, &known),
                None => self.forward_number(owner),
            },
        }
    }

    fn forward_menu(&mut self, ask: AskForward) -> Next {
        let is_on = self.kept(&format!("forward.{}", ask.owner)).as_deref() == Some("on");
        let sound = self.prompt(if is_on { "cf-main_menu_active" } else { "cf-main_menu_inactive" });
        self.ask(sound, 1, Then::Forward(Box::new(ask)))
    }

    fn forward_number(&mut self, owner: String) -> Next {
        let sound = self.prompt("cf-enter_number");
        let ask = AskForward { owner, stage: Stage::Number, retries: 0 };
        self.ask(sound, NUMBER_DIGITS_MAX, Then::Forward(Box::new(ask)))
    }

    pub(super) fn forward_asked(&mut self, ask: AskForward, outcome: &Outcome) -> Next {
        let Outcome::Collected(collected) = outcome else { return Next::on() };
        let digits = collected.digits.to_string();
        if ask.stage == Stage::Number {
            return if digits.is_empty() { Next::on() } else { self.forward_on(&ask.owner, &digits) };
        }
        let is_on = self.kept(&format!("forward.{}", ask.owner)).as_deref() == Some("on");
        match (collected.digits.as_slice(), is_on) {
            ([Digit::D1], true) => self.forward_off(&ask.owner),
            ([Digit::D1], false) => match self.kept(&format!("forward_number.{}", ask.owner)) {
                Some(known) => self.forward_on(&ask.owner, &known),
                None => self.forward_number(ask.owner),
            },
            ([Digit::D2], _) => self.forward_number(ask.owner),
            _ if ask.retries > 1 => self.forward_menu(AskForward { retries: ask.retries - 1, ..ask }),
            _ => Next::on(),
        }
    }

    fn forward_on(&mut self, owner: &str, number: &str) -> Next {
        self.keep(format!("forward_number.{owner}"), Some(number.to_owned()));
        self.keep(format!("forward.{owner}"), Some("on".to_owned()));
        let words = self.prompt("cf-now_forwarded_to");
        self.say(words, Next::on())
    }

    fn forward_off(&mut self, owner: &str) -> Next {
        self.keep(format!("forward.{owner}"), Some("off".to_owned()));
        let words = self.prompt("cf-disabled");
        self.say(words, Next::on())
    }

    // --- Settings that are on or off.

    pub(super) fn do_not_disturb(&mut self, data: Data<'_>) -> Next {
        let owner = data.filled("id").map(str::to_owned).or_else(|| self.owner());
        let Some(owner) = owner else { return self.not_possible("TR-FLOW-REFERENCE") };
        if let Some(next) = self.answer_first() {
            return next;
        }
        let stored = &self.app.document.stored;
        let document = stored.find("users", &owner).or_else(|| stored.find("devices", &owner));
        let written = document.and_then(|json| json.get("do_not_disturb"));
        let written = Data::new(&[], written).is("enabled");
        let is_on = self.toggled(&format!("dnd.{owner}"), written, data.text("action"));
        let words = self.prompt(if is_on { "dnd-activated" } else { "dnd-deactivated" });
        self.say(words, Next::on())
    }

    pub(super) fn call_waiting(&mut self, data: Data<'_>) -> Next {
        let device = self.caller_device().map(|(id, _)| id.to_owned());
        let device = device.or_else(|| self.caller_extension().map(str::to_owned));
        let is_user = data.text("scope") == Some("user");
        let owner = if is_user { self.caller_user() } else { device };
        let Some(owner) = owner else { return self.not_possible("TR-FLOW-REFERENCE") };
        if let Some(next) = self.answer_first() {
            return next;
        }
        self.toggled(&format!("call_waiting.{owner}"), true, data.text("action"));
        let words = self.confirmed();
        self.say(words, Next::on())
    }

    /// Switches a kept value; true if it is on now.
    fn toggled(&mut self, name: &str, otherwise: bool, action: Option<&str>) -> bool {
        let was_on = self.kept(name).map_or(otherwise, |kept| kept == "on");
        let is_on = match action {
            Some("activate") => true,
            Some("deactivate") => false,
            Some(_) | None => !was_on,
        };
        self.keep(name.to_owned(), Some(if is_on { "on" } else { "off" }.to_owned()));
        is_on
    }

    // --- ring_group_toggle

    pub(super) fn ring_group_toggle(&mut self, data: Data<'_>) -> Next {
        let id = data.filled("callflow_id").unwrap_or("").to_owned();
        let device = self.caller_device().map(|(id, _)| id.to_owned());
        let own: Vec<String> = [device, self.caller_extension().map(str::to_owned), self.caller_user()]
            .into_iter()
            .flatten()
            .collect();
        let app = Rc::clone(&self.app);
        let mut found = Vec::new();
        if let Some(callflow) = app.document.callflow(&id) {
            members(callflow.flow.as_ref(), &own, &mut found);
        }
        if found.is_empty() {
            return self.not_possible("TR-FLOW-REFERENCE");
        }
        if let Some(next) = self.answer_first() {
            return next;
        }
        let out = (data.text("action") == Some("logout")).then(|| "out".to_owned());
        for member in found {
            self.keep(format!("ring.{id}.{member}"), out.clone());
        }
        let words = self.confirmed();
        self.say(words, Next::on())
    }

    /// Whether a member of the current ring group has logged out of it.
    pub(super) fn is_logged_out(&self, member: &str) -> bool {
        let flow = self.current.as_ref().map_or("", |node| &node.flow_id);
        self.kept(&format!("ring.{flow}.{member}")).is_some()
    }

    // --- manual_presence

    pub(super) fn manual_presence(&mut self, data: Data<'_>) -> Next {
        // The realm is the box's own.
        let name = data.filled("presence_id").and_then(|id| id.split('@').next()).unwrap_or("").to_owned();
        if !is_lamp(&name) {
            return self.fail("TR-FLOW-LAMP");
        }
        let shows = data.text("status").and_then(Lamp::named).unwrap_or_default();
        self.push(FlowOutput::Lamp { name, shows, stays: true });
        Next::on()
    }

    // --- after_bridge

    pub(super) fn after_bridge(&mut self, data: Data<'_>) -> Next {
        let target = data.value("data").and_then(Json::scalar);
        self.after_bridge = data.filled("action").map(|action| (action.to_owned(), target));
        Next::on()
    }

    /// What was asked for after a conversation.
    pub(super) fn bridge_after(&mut self, now: Moment) -> Option<Next> {
        let (action, target) = self.after_bridge.take()?;
        match (action.as_str(), target) {
            ("hangup", _) => Some(Next::Over(Cause::NormalClearing, "after_bridge")),
            ("park", _) => Some(self.park_anywhere(now)),
            ("transfer", Some(number)) => Some(self.transfer_to(&number)),
            _ => None,
        }
    }
}

/// Whether telephones can subscribe to that.
pub(super) fn is_lamp(name: &str) -> bool {
    const BYTES_MAX: usize = 64;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+*#".contains(&b);
    !name.is_empty() && name.len() <= BYTES_MAX && name.bytes().all(is_plain)
}

/// Members of ring groups in a flow that are among `own`.
fn members(tree: Option<&Rc<Node>>, own: &[String], found: &mut Vec<String>) {
    let Some(node) = tree else { return };
    if node.module == Module::RingGroup {
        let endpoints = node.data.get("endpoints").map_or(&[][..], Json::items);
        let ids =
            endpoints.iter().filter_map(|endpoint| endpoint.text().or_else(|| endpoint.get("id")?.text()));
        found.extend(ids.filter(|id| own.iter().any(|own| own == id)).map(str::to_owned));
    }
    members(node.inline.as_ref(), own, found);
    for (_, child) in &node.children {
        members(child.as_ref(), own, found);
    }
}
