//! Mailboxes: a folder each, with the messages and a small file that says what is in it. The
//! file is written whole or not at all; what it does not know is no message.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tipring_calls::CallInput;
use tipring_calls::features::mailbox::{MailboxContents, MailboxReply, MailboxRequest, Message};
use tipring_model::directory::{Directory, MailboxEntry};
use tipring_model::{ActionId, CallerId};
use tipring_spool::Class;
use tokio::sync::Mutex;
use tokio::task::{spawn_blocking, spawn_local};

use super::mail::Owed;
use super::switchboard::{Switchboard, moment};

const INDEX: &str = "mailbox.json";

/// All mailboxes of the box.
pub(crate) struct Mailboxes {
    folder: PathBuf,
    recordings: PathBuf,
    directory: Rc<Directory>,
    /// One change at a time.
    turn: Rc<Mutex<()>>,
}

/// What is in a mailbox, as its file says.
#[derive(Serialize, Deserialize, Default, Debug)]
struct Index {
    greeting: Option<String>,
    pin: Option<String>,
    messages: Vec<Entry>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
struct Entry {
    file: String,
    from: String,
    name: Option<String>,
    at_unix_ms: i64,
    length_ms: u64,
    is_new: bool,
    /// Addresses that are not told of it yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mail: Vec<String>,
}

impl Mailboxes {
    pub(crate) fn new(data_dir: &Path, recordings: PathBuf, directory: Rc<Directory>) -> Self {
        Self { folder: data_dir.join("mailboxes"), recordings, directory, turn: Rc::default() }
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// New and saved messages of each mailbox, as the disk has them now. Blocks.
    pub(super) fn counts(&self) -> BTreeMap<String, (u32, u32)> {
        let mut counts = BTreeMap::new();
        for entry in &self.directory.mailboxes {
            match read(&self.folder.join(&entry.id)) {
                Ok(index) => {
                    let of = |is_new| index.messages.iter().filter(|known| known.is_new == is_new).count();
                    let [new, saved] =
                        [of(true), of(false)].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                    counts.insert(entry.id.clone(), (new, saved));
                }
                Err(error) => {
                    tracing::error!(code = "TR-DAEMON-MAILBOX", mailbox = entry.id, %error, "a mailbox cannot be used");
                }
            }
        }
        counts
    }

    /// Who is told of messages in a mailbox by e-mail: its own addresses, and its owners'.
    fn addresses(&self, entry: &MailboxEntry) -> Vec<String> {
        let owners = self.directory.users.iter().filter(|user| user.mailbox.as_ref() == Some(&entry.id));
        let mut all = entry.email.clone();
        all.extend(owners.filter_map(|user| user.email.clone()));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The messages that somebody is still to be told of by e-mail.
    pub(super) async fn owed(&self) -> Vec<Owed> {
        let ids: Vec<String> = self.directory.mailboxes.iter().map(|entry| entry.id.clone()).collect();
        let folder = self.folder.clone();
        let _turn = self.turn.lock().await;
        let read = spawn_blocking(move || {
            let of = |id: &String| (id.clone(), read(&folder.join(id)).unwrap_or_default());
            let messages = ids.iter().map(of).flat_map(|(id, index)| {
                index.messages.into_iter().filter(|known| !known.mail.is_empty()).map(move |known| Owed {
                    mailbox: id.clone(),
                    file: known.file,
                    from: known.from,
                    name: known.name,
                    at_unix_ms: known.at_unix_ms,
                    length_ms: known.length_ms,
                    to: known.mail,
                })
            });
            messages.collect()
        });
        read.await.unwrap_or_default()
    }

    /// An address was told of a message, or never will be.
    pub(super) async fn told(&self, owed: &Owed, to: &str) {
        let folder = self.folder.join(&owed.mailbox);
        let (file, to) = (owed.file.clone(), to.to_owned());
        let _turn = self.turn.lock().await;
        let written = spawn_blocking(move || {
            let mut index = read(&folder)?;
            for known in index.messages.iter_mut().filter(|known| known.file == file) {
                known.mail.retain(|address| *address != to);
            }
            write(&folder, &index)
        });
        if let Ok(Err(error)) = written.await {
            tracing::error!(code = "TR-DAEMON-MAILBOX", mailbox = owed.mailbox, %error, "a mailbox cannot be used");
        }
    }

    /// The file of a message or a greeting; none for a name that could lead elsewhere.
    pub(crate) fn file(&self, mailbox: &str, file: &str) -> Option<PathBuf> {
        let is_plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
        (is_plain(mailbox) && is_plain(file)).then(|| self.folder.join(mailbox).join(file))
    }
}

impl Switchboard {
    pub(super) fn mailbox(&self, call: u32, action: ActionId, request: MailboxRequest) {
        let board = self.clone();
        let boxes = &self.0.mailboxes;
        let name = match &request {
            MailboxRequest::Open { mailbox }
            | MailboxRequest::Keep { mailbox, .. }
            | MailboxRequest::Saved { mailbox, .. }
            | MailboxRequest::Deleted { mailbox, .. }
            | MailboxRequest::Greeting { mailbox, .. }
            | MailboxRequest::Pin { mailbox, .. } => mailbox,
        };
        let Some(entry) = boxes.directory.mailbox(name).cloned() else {
            spawn_local(async move {
                board.handle(call, CallInput::Mailbox(action, MailboxReply::Unknown));
            });
            return;
        };
        let mail = if self.0.mail.sends() { boxes.addresses(&entry) } else { Vec::new() };
        let (folder, recordings) = (boxes.folder.join(&entry.id), boxes.recordings.clone());
        let (turn, at_unix_ms) = (Rc::clone(&boxes.turn), moment().unix_ms);
        let id = entry.id.clone();
        spawn_local(async move {
            let done = {
                let _turn = turn.lock().await;
                spawn_blocking(move || perform(&folder, &recordings, &entry, request, (at_unix_ms, mail)))
                    .await
            };
            let done = done.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
            let (reply, changed) = match done {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(code = "TR-DAEMON-MAILBOX", mailbox = id, %error, "a mailbox cannot be used");
                    (MailboxReply::Failed, None)
                }
            };
            if let Some(waiting) = changed {
                board.messages_changed(&id, waiting.new, waiting.saved);
                if waiting.left.as_ref().is_some_and(|left| !left.mail.is_empty()) {
                    board.0.mail.is_owed();
                }
                let topic = if waiting.left.is_some() { "voicemail.new" } else { "voicemail.changed" };
                board.0.webhooks.event(topic, &id, Class::Record, waiting.told(&id));
            }
            board.handle(call, CallInput::Mailbox(action, reply));
        });
    }
}

/// How many messages there are after a change.
struct Waiting {
    new: usize,
    saved: usize,
    left: Option<Entry>,
}

impl Waiting {
    fn told(&self, mailbox: &str) -> serde_json::Value {
        let mut told = json!({"mailbox": mailbox, "new": self.new, "saved": self.saved});
        if let Some(left) = &self.left {
            let at = jiff::Timestamp::from_millisecond(left.at_unix_ms).unwrap_or_default();
            told["message"] = json!({
                "file": left.file,
                "from": left.from,
                "name": left.name,
                "at": at.to_string(),
                "length_ms": left.length_ms,
            });
        }
        told
    }
}

/// Does what is asked. Blocks.
fn perform(
    folder: &Path,
    recordings: &Path,
    entry: &MailboxEntry,
    request: MailboxRequest,
    (at_unix_ms, mail): (i64, Vec<String>),
) -> io::Result<(MailboxReply, Option<Waiting>)> {
    let mut index = read(folder)?;
    let mut left = None;
    let mut gone = None;
    match request {
        MailboxRequest::Open { .. } => {
            return Ok((MailboxReply::Opened(Box::new(contents(entry, &index))), None));
        }
        MailboxRequest::Keep { file, from, length, .. } => {
            let kept = take(recordings, folder, &file, at_unix_ms)?;
            let entry = Entry { mail, ..message(kept, &from, length, at_unix_ms) };
            index.messages.push(entry.clone());
            left = Some(entry);
        }
        MailboxRequest::Saved { message, .. } => {
            for known in index.messages.iter_mut().filter(|known| known.file == message) {
                known.is_new = false;
            }
        }
        MailboxRequest::Deleted { message, .. } => {
            index.messages.retain(|known| known.file != message);
            gone = Some(message);
        }
        MailboxRequest::Greeting { file, .. } => {
            gone = index.greeting.take();
            index.greeting = file.map(|file| take(recordings, folder, &file, at_unix_ms)).transpose()?;
        }
        MailboxRequest::Pin { pin, .. } => index.pin = Some(pin),
    }
    write(folder, &index)?;
    // Nothing names it any more; if it stays it only takes room.
    if let Some(gone) = gone {
        let _ = std::fs::remove_file(folder.join(gone));
    }
    let new = index.messages.iter().filter(|message| message.is_new).count();
    let saved = index.messages.len() - new;
    Ok((MailboxReply::Done, Some(Waiting { new, saved, left })))
}

fn message(file: String, from: &CallerId, length: Duration, at_unix_ms: i64) -> Entry {
    Entry {
        file,
        from: from.number_or_anonymous().to_owned(),
        name: from.name.clone(),
        at_unix_ms,
        length_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
        is_new: true,
        mail: Vec::new(),
    }
}

fn contents(entry: &MailboxEntry, index: &Index) -> MailboxContents {
    let mut messages: Vec<Message> = index
        .messages
        .iter()
        .map(|known| Message {
            file: known.file.clone(),
            from: known.from.clone(),
            at_unix_ms: known.at_unix_ms,
            is_new: known.is_new,
        })
        .collect();
    if entry.newest_first {
        messages.reverse();
    }
    MailboxContents {
        name: entry.id.clone(),
        number: entry.number.clone(),
        pin: index.pin.clone().or_else(|| entry.pin.clone()),
        asks_pin: entry.asks_pin,
        greeting: index.greeting.clone(),
        prompt: entry.greeting.clone(),
        skips_greeting: entry.skips_greeting,
        skips_instructions: entry.skips_instructions,
        announces_only: entry.announces_only,
        has_operator: entry.operator.is_some(),
        is_full: index.messages.len() >= entry.messages_max,
        messages,
    }
}

/// Moves a recording into the mailbox and gives its name there.
fn take(recordings: &Path, folder: &Path, file: &str, at_unix_ms: i64) -> io::Result<String> {
    std::fs::create_dir_all(folder)?;
    let name = format!("{at_unix_ms}-{file}");
    std::fs::rename(recordings.join(file), folder.join(&name))?;
    Ok(name)
}

fn read(folder: &Path) -> io::Result<Index> {
    match std::fs::read(folder.join(INDEX)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
        Err(error) => Err(error),
    }
}

fn write(folder: &Path, index: &Index) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let (path, part) = (folder.join(INDEX), folder.join("mailbox.part"));
    let mut file = File::create(&part)?;
    file.write_all(&serde_json::to_vec_pretty(index)?)?;
    file.sync_all()?;
    std::fs::rename(&part, &path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> MailboxEntry {
        MailboxEntry {
            id: "ann".to_owned(),
            number: "201".to_owned(),
            pin: Some("4711".to_owned()),
            asks_pin: false,
            greeting: None,
            skips_greeting: false,
            newest_first: false,
            skips_instructions: false,
            announces_only: false,
            operator: None,
            phones: Vec::new(),
            email: Vec::new(),
            messages_max: 2,
        }
    }

    #[test]
    fn messages_are_kept_marked_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (recordings, own) = (folder.path().join("recordings"), folder.path().join("ann"));
        std::fs::create_dir_all(&recordings).unwrap();
        let mailbox = || "ann".to_owned();
        let ask = |request| {
            perform(&own, &recordings, &entry(), request, (5, vec!["ann@office.example".to_owned()]))
                .map(|(reply, _)| reply)
        };
        let open = || match ask(MailboxRequest::Open { mailbox: mailbox() }) {
            Ok(MailboxReply::Opened(contents)) => *contents,
            other => panic!("{other:?}"),
        };
        assert!(open().messages.is_empty());
        for file in ["a.wav", "b.wav"] {
            std::fs::write(recordings.join(file), b"RIFF").unwrap();
            let from = CallerId::of("15550100");
            let length = Duration::from_secs(3);
            let keep = MailboxRequest::Keep { mailbox: mailbox(), file: file.to_owned(), from, length };
            assert_eq!(ask(keep).unwrap(), MailboxReply::Done);
        }
        assert!(open().is_full && !recordings.join("a.wav").exists());
        let first = open().messages[0].clone();
        assert!(own.join(&first.file).exists() && first.is_new);
        let saved = MailboxRequest::Saved { mailbox: mailbox(), message: first.file.clone() };
        ask(saved).unwrap();
        assert!(!open().messages[0].is_new);
        ask(MailboxRequest::Deleted { mailbox: mailbox(), message: first.file.clone() }).unwrap();
        assert_eq!(open().messages.len(), 1);
        assert!(!own.join(&first.file).exists());
        ask(MailboxRequest::Pin { mailbox: mailbox(), pin: "99999".to_owned() }).unwrap();
        assert_eq!(open().pin.as_deref(), Some("99999"));
        let missing = MailboxRequest::Greeting { mailbox: mailbox(), file: Some("none.wav".to_owned()) };
        assert!(ask(missing).is_err() && open().messages.len() == 1, "a fault changes nothing");
    }

    #[test]
    fn the_newest_message_may_come_first() {
        let message = |file: &str| Entry {
            file: file.to_owned(),
            from: String::new(),
            name: None,
            at_unix_ms: 0,
            length_ms: 1,
            is_new: true,
            mail: Vec::new(),
        };
        let index = Index { messages: vec![message("1"), message("2")], ..Index::default() };
        for (newest_first, expected) in [(false, ["1", "2"]), (true, ["2", "1"])] {
            let contents = contents(&MailboxEntry { newest_first, ..entry() }, &index);
            let files: Vec<&str> = contents.messages.iter().map(|message| message.file.as_str()).collect();
            assert_eq!(files, expected);
        }
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        let boxes = Mailboxes::new(Path::new("/data"), PathBuf::new(), Rc::default());
        for (mailbox, file) in [("..", "a"), ("a", "../b"), ("a/b", "c"), ("", "a"), ("a", "")] {
            assert_eq!(boxes.file(mailbox, file), None, "{mailbox} {file}");
        }
        assert_eq!(boxes.file("ann", "1.wav"), Some(PathBuf::from("/data/mailboxes/ann/1.wav")));
    }
}
