//! Lamps on telephones: messages that wait, and lamps that flows light.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tipring_model::LineId;
use tipring_model::directory::{Directory, MailboxEntry};
use tipring_model::lamp::{Lamp, MessagesWaiting};

use super::switchboard::Switchboard;

/// Before the name of a lamp that stays as it is, among what flows keep.
const KEPT: &str = "lamp.";

/// What is known without asking the disk.
#[derive(Default)]
pub(super) struct Lamps {
    /// New and saved messages by mailbox.
    waiting: RefCell<BTreeMap<String, (u32, u32)>>,
    /// Lamps that go out with the calls that lit them.
    of_calls: RefCell<BTreeMap<String, u32>>,
}

impl Switchboard {
    /// Shows what there is at the start.
    pub(crate) fn light_all(&self) {
        for (name, lamp) in self.0.kept.beginning_with(KEPT) {
            if let Some(lamp) = Lamp::named(&lamp) {
                self.set_lamp(&name, lamp);
            }
        }
        let found = self.0.mailboxes.counts();
        self.0.lamps.waiting.replace(found);
        for phone in &self.0.mailboxes.directory().phones {
            self.show_messages(&phone.number);
        }
    }

    /// Something has changed in a mailbox.
    pub(super) fn messages_changed(&self, mailbox: &str, new: usize, saved: usize) {
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        self.0.lamps.waiting.borrow_mut().insert(mailbox.to_owned(), (count(new), count(saved)));
        let directory = self.0.mailboxes.directory();
        for phone in &directory.phones {
            if shown_by(directory, &phone.number).any(|entry| entry.id == mailbox) {
                self.show_messages(&phone.number);
            }
        }
    }

    fn show_messages(&self, number: &str) {
        let directory = self.0.mailboxes.directory();
        let line = directory.phone(number).and_then(|phone| {
            let at = self.0.line_names.iter().position(|name| *name == phone.line)?;
            u16::try_from(at).ok().map(LineId)
        });
        let Some(line) = line else { return };
        let waiting = self.0.lamps.waiting.borrow();
        let mailboxes: Vec<MessagesWaiting> = shown_by(directory, number)
            .map(|entry| {
                let (new, saved) = waiting.get(&entry.id).copied().unwrap_or_default();
                let mut names = vec![entry.id.clone()];
                if entry.number != entry.id {
                    names.push(entry.number.clone());
                }
                MessagesWaiting { names, new, saved }
            })
            .collect();
        self.0.lines.set_message_waiting(line, &mailboxes);
    }

    /// A flow lights a lamp: until it is over, or until somebody says otherwise.
    pub(super) fn lamp(&self, call: u32, name: String, lamp: Lamp, stays: bool) {
        if stays {
            let dialect = self.dialect_of(call);
            let value = (lamp != Lamp::Idle).then(|| lamp.as_str().to_owned());
            self.0.kept.keep(dialect, format!("{KEPT}{name}"), value);
            self.0.lamps.of_calls.borrow_mut().remove(&name);
        } else if lamp == Lamp::Idle {
            self.0.lamps.of_calls.borrow_mut().remove(&name);
        } else {
            self.0.lamps.of_calls.borrow_mut().insert(name.clone(), call);
        }
        self.set_lamp(&name, lamp);
    }

    /// The lamps that a call has lit go out.
    pub(super) fn darken_lamps_of(&self, call: u32) {
        let own: Vec<String> = {
            let lit = self.0.lamps.of_calls.borrow();
            lit.iter().filter(|(_, by)| **by == call).map(|(name, _)| name.clone()).collect()
        };
        for name in own {
            self.0.lamps.of_calls.borrow_mut().remove(&name);
            self.set_lamp(&name, Lamp::Idle);
        }
    }

    fn set_lamp(&self, name: &str, lamp: Lamp) {
        if let Err(error) = self.0.lines.sip.set_lamp(name, lamp) {
            self.0.lamps.of_calls.borrow_mut().remove(name);
            tracing::warn!(code = "TR-SIP-LAMPS", lamp = name, %error, "a lamp stays as it was");
        }
    }
}

/// The mailboxes that a telephone shows: those that name it, and its owner's.
fn shown_by<'a>(directory: &'a Directory, number: &'a str) -> impl Iterator<Item = &'a MailboxEntry> {
    let owned = directory.owner(number).and_then(|user| user.mailbox.as_deref());
    directory
        .mailboxes
        .iter()
        .filter(move |entry| Some(entry.id.as_str()) == owned || entry.phones.iter().any(|own| own == number))
}

#[cfg(test)]
mod tests {
    use tipring_model::directory::{Phone, User};

    use super::*;

    #[test]
    fn a_telephone_shows_its_owners_mailbox_and_those_that_name_it() {
        let mailbox = |id: &str, phones: &[&str]| MailboxEntry {
            id: id.to_owned(),
            number: id.to_owned(),
            phones: phones.iter().map(|number| (*number).to_owned()).collect(),
            ..MailboxEntry::default()
        };
        let directory = Directory {
            users: vec![User {
                id: "ann".to_owned(),
                phones: vec!["201".to_owned(), "202".to_owned()],
                mailbox: Some("ann".to_owned()),
                ..User::default()
            }],
            phones: vec![Phone { line: "desk".to_owned(), number: "201".to_owned() }],
            mailboxes: vec![mailbox("sales", &["201", "203"]), mailbox("ann", &["201"]), mailbox("x", &[])],
            ..Directory::default()
        };
        for (number, expected) in
            [("201", vec!["sales", "ann"]), ("202", vec!["ann"]), ("203", vec!["sales"]), ("204", vec![])]
        {
            let shown: Vec<&str> = shown_by(&directory, number).map(|entry| entry.id.as_str()).collect();
            assert_eq!(shown, expected, "{number}");
        }
    }
}
