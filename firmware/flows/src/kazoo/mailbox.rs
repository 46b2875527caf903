//! `voicemail`.

use tipring_model::flow::{Action, Mailbox, MailboxEnd, MailboxPurpose, Outcome};

use super::flow::{KazooFlow, Next, Then, milliseconds, seconds};
use super::keys::Data;
use crate::json::Json;

impl KazooFlow {
    pub(super) fn voicemail(&mut self, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        let listens = data.text("action") == Some("check");
        // Behind a feature code, the number that was dialled with it names the mailbox.
        let captured = if listens { String::new() } else { self.captures.longest.clone() };
        let id = data.filled("id").unwrap_or(&captured);
        let mailbox = self.mailbox_name(id);
        if mailbox.is_none() && (!listens || !id.is_empty()) {
            return self.no_mailbox("TR-FLOW-REFERENCE");
        }
        let is_owner = mailbox.as_deref().is_some_and(|mailbox| self.owns_mailbox(id, mailbox));
        let action = Mailbox {
            mailbox,
            purpose: if listens { MailboxPurpose::Listen } else { MailboxPurpose::Leave },
            length_max: seconds(data.count("max_message_length").unwrap_or(500).max(1)),
            between_digits: milliseconds(data.count("interdigit_timeout").unwrap_or(2_000)),
            is_owner,
            language: self.language.as_str().to_owned(),
        };
        self.act(Action::Mailbox(action), Then::Mailbox)
    }

    /// The box's own name for a mailbox of the account.
    fn mailbox_name(&self, id: &str) -> Option<String> {
        let directory = &self.app.directory;
        let names = self.app.document.stored.names_of_mailbox(id);
        let known = names.into_iter().flatten().filter(|name| !name.is_empty());
        known.filter_map(|name| directory.mailbox(&name)).map(|mailbox| mailbox.id.clone()).next()
    }

    fn owns_mailbox(&self, id: &str, mailbox: &str) -> bool {
        let user = self.caller_user();
        let stored = self.app.document.stored.find("vmboxes", id);
        let owner = stored.and_then(|stored| stored.get("owner_id")).and_then(Json::text);
        if owner.is_some() {
            return user.as_deref() == owner;
        }
        let directory = &self.app.directory;
        let by_user = user.and_then(|user| directory.user(&user)?.mailbox.clone());
        let phones = directory.mailbox(mailbox).map_or(&[][..], |mailbox| &mailbox.phones);
        let by_phone = self.caller_extension().is_some_and(|own| phones.iter().any(|phone| phone == own));
        by_user.as_deref() == Some(mailbox) || by_phone
    }

    /// The caller must not hear silence.
    fn no_mailbox(&mut self, code: &'static str) -> Next {
        self.fault = Some(code);
        if let Some(node) = self.node() {
            self.warn_key(&node, code, "id");
        }
        let words = self.prompt("vm-no_access");
        self.say(words, Next::on())
    }

    pub(super) fn mailbox_closed(&mut self, outcome: &Outcome) -> Next {
        if let Outcome::Failed(failure) = outcome {
            return self.no_mailbox(failure.code());
        }
        let Outcome::Mailbox(end) = outcome else { return Next::on() };
        self.served |= *end == MailboxEnd::Left;
        match end {
            MailboxEnd::Operator => self.operator(),
            MailboxEnd::Unknown => self.no_mailbox("TR-FLOW-REFERENCE"),
            MailboxEnd::Left
            | MailboxEnd::NotLeft
            | MailboxEnd::Full
            | MailboxEnd::AnnouncementOnly
            | MailboxEnd::Listened
            | MailboxEnd::Refused => Next::on(),
        }
    }

    /// The caller wants somebody to answer: the flow of number 0, or the mailbox's own number.
    fn operator(&mut self) -> Next {
        if let Some(flow) = self.stored_flow("0") {
            return Next::Replace(flow);
        }
        let Some(node) = self.node() else { return Next::Stop };
        let id = node.data().filled("id").unwrap_or("").to_owned();
        let stored =
            self.app.document.stored.data("vmboxes", &id).filled("operator_number").map(str::to_owned);
        let name = self.mailbox_name(&id);
        let own = name.and_then(|name| self.app.directory.mailbox(&name)?.operator.clone());
        let Some(number) = stored.or(own) else { return Next::on() };
        match self.stored_flow(&number) {
            Some(flow) => Next::Replace(flow),
            None => self.ring_number(&number),
        }
    }
}
