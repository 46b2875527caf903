//! `Schedule` and `Call`: blocks that run only when something is so.

use std::rc::Rc;

use jiff::tz::TimeZone;
use tipring_model::call::Direction;
use tipring_model::flow::Moment;

use super::attributes::{Attributes, BAD_VALUE};
use super::flow::{Command, FrameKind, OpentactFlow};
use super::schedule;

impl OpentactFlow {
    pub(super) fn start_schedule(&mut self, now: Moment, command: Command) {
        let element = Rc::clone(&command.element);
        let mut attributes = Attributes::of(&element, command.name);
        let named = attributes.text("timezone").map(|name| TimeZone::get(name.trim()));
        let zone = match named {
            None => Some(self.app.timezone.clone()),
            Some(Ok(zone)) => Some(zone),
            Some(Err(_)) => {
                attributes.note("timezone", BAD_VALUE);
                None
            }
        };
        let (dow, time) = (attributes.text("dow"), attributes.text("time"));
        let matched = match zone {
            None => false,
            Some(zone) => schedule::matches(dow, time, &zone, now.unix_ms).unwrap_or_else(|_| {
                let faulty =
                    if schedule::matches(dow, None, &zone, now.unix_ms).is_err() { "dow" } else { "time" };
                attributes.note(faulty, BAD_VALUE);
                false
            }),
        };
        self.warn_all(attributes, &command.path);
        self.run_block(command, matched);
    }

    pub(super) fn start_call_filter(&mut self, command: Command) {
        let element = Rc::clone(&command.element);
        let attributes = Attributes::of(&element, command.name);
        let field = attributes.text("field").or_else(|| attributes.text("name")).map(str::trim);
        let wanted = attributes.text("value").map(str::trim);
        self.warn_all(attributes, &command.path);
        let matched = match field.and_then(|field| self.call_field(field)) {
            Some(value) => wanted.is_some_and(|wanted| is_equal(value.as_deref(), wanted)),
            None => {
                self.warn("TR-FLOW-ATTRIBUTE-MISSING", &command.path);
                false
            }
        };
        self.run_block(command, matched);
    }

    fn run_block(&mut self, command: Command, matched: bool) {
        self.succeed(&command, if matched { "matched" } else { "no-match" });
        if matched {
            self.enter(Rc::clone(&command.element), command.path, FrameKind::Plain);
        }
    }

    /// A field of the call: outer `None` for an unknown field, inner for one that
    /// is absent.
    fn call_field(&self, field: &str) -> Option<Option<String>> {
        let facts = self.facts.as_ref()?;
        match field.to_ascii_lowercase().as_str() {
            "from" => Some(facts.from.number.as_ref().map(ToString::to_string)),
            "to" | "tn" => Some(Some(facts.to.to_string())),
            "state" => Some(Some(self.state().as_str().to_owned())),
            // The box knows no tag of the call as such.
            "tag" => Some(None),
            "direction" => Some(Some(
                match facts.direction {
                    Direction::Inbound => "inbound",
                    Direction::Outbound => "outbound",
                }
                .to_owned(),
            )),
            _ => None,
        }
    }
}

/// Compares as the type that `wanted` is written in: number, null, boolean, text.
fn is_equal(value: Option<&str>, wanted: &str) -> bool {
    let Some(value) = value else {
        return wanted == "null";
    };
    if let (Ok(wanted), Ok(value)) = (wanted.parse::<f64>(), value.parse::<f64>()) {
        // Both were written out by somebody: equal numbers read equal.
        return wanted.total_cmp(&value).is_eq();
    }
    match wanted {
        "true" | "false" => value.eq_ignore_ascii_case(wanted),
        _ => value == wanted,
    }
}
