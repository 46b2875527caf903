//! What telephones show without a call: that messages wait (RFC 3842), and what others are
//! doing (RFC 4235 dialogs, RFC 3856 presence). The states and the bodies that tell them; who
//! is told, and when, is the user agent's affair.

mod dialog_info;
mod message_summary;
mod pidf;

pub(crate) use dialog_info::{dialog_info, told};
pub(crate) use message_summary::message_summary;
pub(crate) use pidf::pidf;

use std::fmt::Write as _;

use crate::lex;

/// The event packages, as Allow-Events has them.
pub const ALLOW_EVENTS: &str = "message-summary, dialog, presence";

/// Most dialogs of one lamp that are told; with more, those that have got furthest.
pub const DIALOGS_TOLD_MAX: usize = 4;

/// An event package, RFC 6665 §4.1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Package {
    /// Messages in a mailbox, RFC 3842.
    MessageSummary,
    /// What a telephone is doing, RFC 4235.
    Dialog,
    /// The same in fewer words, RFC 3856.
    Presence,
}

impl Package {
    /// The package that the value of an Event header names, without its parameters.
    #[must_use]
    pub fn of_event(value: &[u8]) -> Option<Package> {
        let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
        let name = lex::trim(&value[..end]);
        [Package::MessageSummary, Package::Dialog, Package::Presence]
            .into_iter()
            // RFC 6665 §8.2.1: event types are compared byte by byte.
            .find(|package| package.as_str().as_bytes() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Package::MessageSummary => "message-summary",
            Package::Dialog => "dialog",
            Package::Presence => "presence",
        }
    }

    /// The media type of its bodies.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Package::MessageSummary => "application/simple-message-summary",
            Package::Dialog => "application/dialog-info+xml",
            Package::Presence => "application/pidf+xml",
        }
    }
}

/// A mailbox as one telephone may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageWaiting {
    /// The names under which the telephone may ask for it, the user parts of addresses; the
    /// first is told as the account.
    pub names: Vec<String>,
    /// Messages nobody has heard.
    pub new: u32,
    /// Messages that were heard and kept.
    pub saved: u32,
}

/// When a telephone is told of messages that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TellWaiting {
    /// Those of its contacts that have not subscribed are told all the same, after registering
    /// and at each change.
    #[default]
    Auto,
    /// Subscriptions alone are served.
    Subscribed,
    /// Every contact is told, whether it has subscribed or not.
    Always,
    /// Never; subscriptions are refused.
    Never,
}

/// What is behind a lamp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lamp {
    /// Somebody is there: a telephone that is registered. Told by presence alone.
    pub reachable: bool,
    /// What goes on; none is a dark lamp.
    pub dialogs: Vec<LampDialog>,
}

/// How far a dialog has got, RFC 4235 §3.7.1. What is over is in no [`Lamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DialogState {
    /// Called, nothing heard yet.
    Trying,
    /// It rings.
    Early,
    /// Answered.
    Confirmed,
}

/// Who began a dialog, seen from the telephone behind the lamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogDirection {
    /// The telephone calls.
    Initiator,
    /// It is called.
    Recipient,
}

/// Call-ID and tags of a dialog, for those who would take its place (RFC 3891).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogIds {
    /// Call-ID.
    pub call_id: String,
    /// The tag on this side.
    pub ours: String,
    /// The tag on the telephone's side; empty until it has answered anything.
    pub theirs: String,
}

/// One dialog of a lamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LampDialog {
    /// Its name among those of the lamp, for as long as it lives.
    pub id: String,
    /// Its names in SIP; none for what is no call, such as a lamp that a flow has lit.
    pub ids: Option<DialogIds>,
    /// Who began it; none where nobody did.
    pub direction: Option<DialogDirection>,
    /// How far it has got.
    pub state: DialogState,
    /// Whom the telephone talks with: display name, and number or user part. None where that
    /// is nobody's business.
    pub remote: Option<(String, String)>,
}

/// Whom a document is about and where addresses of this side are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entity<'a> {
    /// User part of the address that was asked for.
    pub user: &'a str,
    /// Host and port of this side, as the subscriber reaches it.
    pub host: &'a str,
}

impl Entity<'_> {
    fn address(self, user: &str) -> String {
        crate::Uri::sip(user, self.host)
            .map_or_else(|_| format!("sip:{}", self.host), |uri| uri.as_str().to_owned())
    }
}

/// Appends text with what XML forbids escaped or left out.
fn push_xml(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
}

/// Appends ` name="value"`.
fn push_attribute(out: &mut String, name: &str, value: &str) {
    // Writing into a String cannot fail.
    let _ = write!(out, " {name}=\"");
    push_xml(out, value);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_their_whole_name() {
        for (value, package) in [
            ("message-summary", Some(Package::MessageSummary)),
            ("dialog;id=7", Some(Package::Dialog)),
            ("dialog ; sla", Some(Package::Dialog)),
            ("presence", Some(Package::Presence)),
            ("presence.winfo", None),
            ("Dialog", None),
            ("", None),
            (";", None),
        ] {
            assert_eq!(Package::of_event(value.as_bytes()), package, "{value}");
        }
    }
}
