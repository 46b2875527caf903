//! Reads the attributes of one command: values with their defaults, and what is
//! odd about them, in document order.

use std::str::FromStr;

use super::flow::child_named;
use super::parse::Name;
use crate::xml::Element;

/// Reads attributes and remembers what was odd.
pub(super) struct Attributes<'a> {
    element: &'a Element,
    name: Name,
    odd: Vec<(usize, &'static str)>,
}

/// The value of an attribute could not be read.
pub(super) const BAD_VALUE: &str = "TR-FLOW-ATTRIBUTE-VALUE";

impl<'a> Attributes<'a> {
    pub(super) fn of(element: &'a Element, name: Name) -> Self {
        Self { element, name, odd: Vec::new() }
    }

    /// The text of an attribute.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.element.attribute(key)
    }

    /// Notes something odd about an attribute.
    pub(super) fn note(&mut self, key: &str, code: &'static str) {
        if let Some(at) = self.element.attributes.iter().position(|(known, _)| known == key) {
            self.odd.push((at, code));
        }
    }

    /// A number from `min` to `max`; `None` when it is absent or unreadable.
    pub(super) fn number<N: FromStr + PartialOrd>(&mut self, key: &str, min: N, max: N) -> Option<N> {
        let text = self.text(key)?;
        match text.trim().parse::<N>() {
            Ok(number) if number >= min && number <= max => Some(number),
            Ok(_) | Err(_) => {
                self.note(key, BAD_VALUE);
                None
            }
        }
    }

    /// true/false, 1/0, yes/no; `default` otherwise.
    pub(super) fn toggle(&mut self, key: &str, default: bool) -> bool {
        match self.text(key).map(toggle) {
            None => default,
            Some(Some(on)) => on,
            Some(None) => {
                self.note(key, BAD_VALUE);
                default
            }
        }
    }

    /// The position of the value among `choices`, in any case.
    pub(super) fn choice(&mut self, key: &str, choices: &[&str]) -> Option<usize> {
        let text = self.text(key)?.trim();
        let chosen = choices.iter().position(|choice| choice.eq_ignore_ascii_case(text));
        if chosen.is_none() {
            self.note(key, BAD_VALUE);
        }
        chosen
    }

    /// Everything odd, in document order: attributes, then children that the
    /// command does not take. `path` is the command's own.
    pub(super) fn warnings(mut self, path: &str) -> Vec<(&'static str, String)> {
        let known = self.name.attributes();
        for (at, (key, _)) in self.element.attributes.iter().enumerate() {
            if key != "tag" && !known.contains(&key.as_str()) {
                self.odd.push((at, "TR-FLOW-ATTRIBUTE-UNKNOWN"));
            }
        }
        self.odd.sort_by_key(|(at, _)| *at);
        let handler = child_named(self.element, Name::Error).map(|(at, _)| at);
        let children = self.element.children.iter().enumerate().filter_map(|(at, child)| {
            let kind = Name::of(&child.name);
            let second_handler = kind == Some(Name::Error) && handler != Some(at);
            let taken = kind.is_some_and(|kind| self.name.takes(kind)) && !second_handler;
            // A block runs whatever it holds, and says so when it comes to it.
            let is_block = self.name.takes(Name::Answer);
            (!taken && !is_block).then(|| ("TR-FLOW-CHILD-IGNORED", child_path(path, child, at)))
        });
        self.odd.iter().map(|(_, code)| (*code, path.to_owned())).chain(children).collect()
    }
}

/// The boolean that `text` spells.
pub(super) fn toggle(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// The path of the child at position `at` below `path`; the root has none.
pub(super) fn child_path(path: &str, child: &Element, at: usize) -> String {
    let name: &str = Name::of(&child.name).map_or(&child.name, |known| known.as_str());
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{name}[{at}]")
}
