//! Who and what an office has: people, telephones, groups, mailboxes. Flows name them;
//! the configuration says who they are.

use crate::CallerId;
use crate::prompt::PromptSource;
use crate::recordings::RecordingAddresses;

/// Everything that flows can name.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Directory {
    /// The box's own name for its account with every dialect: 32 hexadecimal digits, the
    /// same after every start.
    pub account: String,
    /// Name of the box.
    pub name: String,
    /// IANA name of the time zone.
    pub time_zone: String,
    /// Where the box's recordings are reached.
    pub recordings: RecordingAddresses,
    /// People.
    pub users: Vec<User>,
    /// Telephones.
    pub phones: Vec<Phone>,
    /// Trunks, by the names of their lines.
    pub trunks: Vec<String>,
    /// Groups of people and telephones.
    pub groups: Vec<Group>,
    /// Mailboxes.
    pub mailboxes: Vec<MailboxEntry>,
}

/// Somebody who works here.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct User {
    /// Name in the configuration.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Numbers of his telephones.
    pub phones: Vec<String>,
    /// His mailbox.
    pub mailbox: Option<String>,
    /// Gets the messages of his mailbox by e-mail.
    pub email: Option<String>,
    /// Who is shown when he calls out.
    pub caller_id: Option<CallerId>,
    /// BCP 47.
    pub language: Option<String>,
    /// IANA name.
    pub time_zone: Option<String>,
}

/// A telephone.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Phone {
    /// Name of its line in the configuration.
    pub line: String,
    /// The number that reaches it.
    pub number: String,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Group {
    /// Name in the configuration.
    pub id: String,
    /// Users by their names, and numbers of telephones.
    pub members: Vec<String>,
}

/// A mailbox.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MailboxEntry {
    /// Name in the configuration.
    pub id: String,
    /// The number by which its owner names it.
    pub number: String,
    /// 4 to 6 digits; none lets nobody in but the owner's telephones.
    pub pin: Option<String>,
    /// The PIN is asked for even on the owner's telephone.
    pub asks_pin: bool,
    /// What callers hear. None: built-in words.
    pub greeting: Option<PromptSource>,
    /// Callers hear no greeting, only what to do and the tone.
    pub skips_greeting: bool,
    /// Of messages, the newest is heard first.
    pub newest_first: bool,
    /// Callers are not told what to do.
    pub skips_instructions: bool,
    /// Callers hear the greeting and cannot speak.
    pub announces_only: bool,
    /// The number that answers when a caller presses 0.
    pub operator: Option<String>,
    /// Numbers of the telephones that show that messages wait.
    pub phones: Vec<String>,
    /// Addresses that get each message by e-mail.
    pub email: Vec<String>,
    /// Most messages.
    pub messages_max: usize,
}

impl Directory {
    /// The user of this name, by the configuration or for people.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        let by_id = self.users.iter().find(|user| user.id == name);
        by_id.or_else(|| self.users.iter().find(|user| user.name.eq_ignore_ascii_case(name)))
    }

    /// The telephone of this number or line.
    #[must_use]
    pub fn phone(&self, name: &str) -> Option<&Phone> {
        let by_number = self.phones.iter().find(|phone| phone.number == name);
        by_number.or_else(|| self.phones.iter().find(|phone| phone.line == name))
    }

    /// The group of this name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == name)
    }

    /// The mailbox of this name or number.
    #[must_use]
    pub fn mailbox(&self, name: &str) -> Option<&MailboxEntry> {
        let by_id = self.mailboxes.iter().find(|mailbox| mailbox.id == name);
        by_id.or_else(|| self.mailboxes.iter().find(|mailbox| mailbox.number == name))
    }

    /// The user whose telephone has this number.
    #[must_use]
    pub fn owner(&self, number: &str) -> Option<&User> {
        self.users.iter().find(|user| user.phones.iter().any(|phone| phone == number))
    }
}
