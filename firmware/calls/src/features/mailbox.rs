//! What a mailbox is asked and what it answers. Its files are the shell's.

use std::time::Duration;

use tipring_model::CallerId;
use tipring_model::prompt::PromptSource;

/// Something to be done with a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailboxRequest {
    /// Look into it.
    Open {
        /// Its name or its number.
        mailbox: String,
    },
    /// Take a recording in as a new message.
    Keep {
        /// Name of the mailbox.
        mailbox: String,
        /// File of the recording.
        file: String,
        /// Who spoke.
        from: CallerId,
        /// How long.
        length: Duration,
    },
    /// A message was heard.
    Saved {
        /// Name of the mailbox.
        mailbox: String,
        /// File of the message.
        message: String,
    },
    /// A message is no longer wanted.
    Deleted {
        /// Name of the mailbox.
        mailbox: String,
        /// File of the message.
        message: String,
    },
    /// A recording becomes the greeting; none brings the usual words back.
    Greeting {
        /// Name of the mailbox.
        mailbox: String,
        /// File of the recording.
        file: Option<String>,
    },
    /// A new PIN.
    Pin {
        /// Name of the mailbox.
        mailbox: String,
        /// 4 to 6 digits.
        pin: String,
    },
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MailboxReply {
    /// It is open.
    Opened(Box<MailboxContents>),
    /// There is none of that name.
    Unknown,
    /// It was done.
    Done,
    /// It could not be done.
    Failed,
}

/// What is in a mailbox, and how it is set.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MailboxContents {
    /// Its name.
    pub name: String,
    /// The number by which its owner names it.
    pub number: String,
    /// Its PIN, if it has one.
    pub pin: Option<String>,
    /// The PIN is asked for also on the owner's telephone.
    pub asks_pin: bool,
    /// File of the greeting that its owner has spoken.
    pub greeting: Option<String>,
    /// What is its greeting otherwise.
    pub prompt: Option<PromptSource>,
    /// Callers hear no greeting.
    pub skips_greeting: bool,
    /// Callers are not told what to do.
    pub skips_instructions: bool,
    /// Callers cannot speak.
    pub announces_only: bool,
    /// There is somebody to be asked for by 0.
    pub has_operator: bool,
    /// It is full.
    pub is_full: bool,
    /// Messages, in the order in which they are heard among the new and among the old ones.
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its file.
    pub file: String,
    /// Who spoke.
    pub from: String,
    /// When, milliseconds since 1970 UTC.
    pub at_unix_ms: i64,
    /// Nobody has heard it yet.
    pub is_new: bool,
}
