//! Reads the attributes of one element: values with their defaults, and what is odd about them.

use tipring_model::fetch::Method;
use tipring_model::{Digit, DigitSet};

use super::names::Name;
use super::parse::child_path;
use crate::address;
use crate::xml::Element;

/// Reads attributes and remembers what was odd.
pub(super) struct Attributes<'a> {
    element: &'a Element,
    name: Name,
    odd: Vec<(usize, &'static str)>,
}

/// The value of an attribute could not be read: its default counts.
pub(super) const BAD_VALUE: &str = "TR-FLOW-ATTRIBUTE-VALUE";
/// A number beyond its range: the nearest bound counts.
const OUT_OF_RANGE: &str = "TR-FLOW-ATTRIBUTE-RANGE";

impl<'a> Attributes<'a> {
    pub(super) const fn of(element: &'a Element, name: Name) -> Self {
        Self { element, name, odd: Vec::new() }
    }

    /// The text of an attribute.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.element.attribute(key)
    }

    /// The text of an attribute, trimmed, if there is any.
    pub(super) fn word(&self, key: &str) -> Option<&'a str> {
        self.text(key).map(str::trim).filter(|text| !text.is_empty())
    }

    /// Notes something odd about an attribute.
    pub(super) fn note(&mut self, key: &str, code: &'static str) {
        if let Some(at) = self.element.attributes.iter().position(|(known, _)| known == key) {
            self.odd.push((at, code));
        }
    }

    /// A whole number, moved into its range; `default` when it is absent or unreadable.
    pub(super) fn number(&mut self, key: &str, default: u64, (min, max): (u64, u64)) -> u64 {
        let Some(text) = self.text(key) else { return default };
        let text = text.trim();
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            self.note(key, BAD_VALUE);
            return default;
        }
        let wanted = if text.starts_with('-') { 0 } else { digits.parse().unwrap_or(u64::MAX) };
        let negative = text.starts_with('-') && digits.bytes().any(|b| b != b'0');
        let moved = wanted.clamp(min, max);
        if moved != wanted || negative {
            self.note(key, OUT_OF_RANGE);
        }
        moved
    }

    /// true or false, in any case; `default` otherwise.
    pub(super) fn toggle(&mut self, key: &str, default: bool) -> bool {
        match self.text(key).map(str::trim) {
            None => default,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(_) => {
                self.note(key, BAD_VALUE);
                default
            }
        }
    }

    /// One of these words; `None` when it is absent or another.
    pub(super) fn choice(&mut self, key: &str, choices: &[&'static str]) -> Option<&'static str> {
        let text = self.text(key)?.trim();
        let chosen = choices.iter().find(|choice| **choice == text).copied();
        if chosen.is_none() {
            self.note(key, BAD_VALUE);
        }
        chosen
    }

    /// GET or POST, in any case.
    pub(super) fn method(&mut self, key: &str, default: Method) -> Method {
        let Some(text) = self.text(key) else { return default };
        match Method::parse(text.trim()) {
            Some(method @ (Method::Get | Method::Post)) => method,
            Some(Method::Head | Method::Put | Method::Patch | Method::Delete | Method::Options) | None => {
                self.note(key, BAD_VALUE);
                default
            }
        }
    }

    /// Keys 0 to 9, * and #; absent gives `default`. Nothing, or -1, is no key.
    pub(super) fn keys(&mut self, key: &str, default: &str) -> DigitSet {
        let Some(text) = self.text(key) else { return DigitSet::of(default) };
        if text.trim() == "-1" {
            return DigitSet::NONE;
        }
        let is_key = |c: char| Digit::from_char(c).is_some_and(|digit| digit.event() < 12);
        if text.chars().any(|c| !is_key(c) && !c.is_whitespace()) {
            self.note(key, BAD_VALUE);
        }
        text.chars().filter(|c| is_key(*c)).filter_map(Digit::from_char).collect()
    }

    /// Words of a list, those that are not known left out; absent gives `default`.
    pub(super) fn words(&mut self, key: &str, known: &[&str], default: &[&str]) -> Vec<String> {
        let Some(text) = self.text(key) else {
            return default.iter().map(|word| (*word).to_owned()).collect();
        };
        let words = || text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        if words().any(|word| !known.contains(&word)) {
            self.note(key, BAD_VALUE);
        }
        words().filter(|word| known.contains(word)).map(str::to_owned).collect()
    }

    /// An address, absolute or relative to `base`; its fragment stays.
    pub(super) fn url(&mut self, key: &str, base: Option<&str>) -> Option<String> {
        let text = self.word(key)?;
        let url = address::resolve_with_fragment(base, text);
        if url.is_none() {
            self.note(key, "TR-HOOK-URL");
        }
        url
    }

    /// Everything odd, in document order: attributes, as `Gather[0]@timeout`, then children that do
    /// not belong there.
    pub(super) fn warnings(mut self, path: &str) -> Vec<(&'static str, String)> {
        for (at, (key, _)) in self.element.attributes.iter().enumerate() {
            if !self.name.attributes().contains(&key.as_str()) {
                self.odd.push((at, "TR-FLOW-ATTRIBUTE-UNKNOWN"));
            } else if self.name.is_without_effect(key) {
                self.odd.push((at, "TR-FLOW-NO-EFFECT"));
            }
        }
        self.odd.sort_by_key(|(at, _)| *at);
        let children = self.element.children.iter().enumerate().filter_map(|(at, child)| {
            let taken = match Name::of(&child.name) {
                Some(kind) => self.name.children().contains(&kind),
                None => false,
            };
            // Markup that the engine does not know is read as its text.
            let spoken = self.name == Name::Say && Name::of(&child.name).is_none();
            (!taken && !spoken).then(|| ("TR-FLOW-CHILD-IGNORED", child_path(path, child, at)))
        });
        let attributes = self.odd.iter().map(|(at, code)| {
            let key = self.element.attributes.get(*at).map_or("", |(key, _)| key.as_str());
            (*code, format!("{path}@{key}"))
        });
        attributes.chain(children).collect()
    }
}

/// The children of an element that are of that name, with their positions.
pub(super) fn children_named(element: &Element, name: Name) -> impl Iterator<Item = (usize, &Element)> {
    let children = element.children.iter().enumerate();
    children.filter(move |(_, child)| Name::of(&child.name) == Some(name)).map(|(at, child)| (at, &**child))
}

/// Parameters of one element; more are left out.
pub(super) const PARAMETERS_MAX: usize = 32;

/// Names and values of the children of that name.
pub(super) fn parameters(element: &Element, name: Name) -> Vec<(String, String)> {
    children_named(element, name)
        .filter_map(|(_, child)| Some((child.attribute("name")?, child.attribute("value").unwrap_or(""))))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .take(PARAMETERS_MAX)
        .collect()
}
