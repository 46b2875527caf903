//! What an account has stored beside its callflows: menus, devices, users and the like.

use std::collections::BTreeMap;

use tipring_model::directory::{Directory, MailboxEntry, Phone, User};
use tipring_model::prompt::{Gender, PromptSource, Speech};

use super::keys::{self, Data, Key};
use crate::address;
use crate::json::Json;

/// A kind of stored document.
pub(super) struct Kind {
    /// The list of a bundle that holds them.
    pub(super) name: &'static str,
    /// What they are checked against.
    pub(super) keys: Option<&'static [Key]>,
}

const fn kind(name: &'static str, keys: Option<&'static [Key]>) -> Kind {
    Kind { name, keys }
}

/// Everything that a bundle may hold beside callflows.
pub(super) const KINDS: &[Kind] = &[
    kind("menus", Some(keys::MENU)),
    kind("users", None),
    kind("devices", None),
    kind("groups", None),
    kind("vmboxes", Some(keys::MAILBOX)),
    kind("conferences", Some(keys::CONFERENCE)),
    kind("temporal_rules", Some(keys::TEMPORAL_RULE)),
    kind("temporal_rules_sets", Some(keys::TEMPORAL_SET)),
    kind("media", None),
    kind("lists", None),
    kind("ring_groups", None),
    kind("directories", None),
];

/// Most messages in a mailbox of an account.
const MESSAGES_MAX: usize = 100;

/// True if a mailbox of this id can have its folder.
fn names_a_folder(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(is_plain)
}

/// Stored documents by kind and id.
#[derive(Default, Debug)]
pub(super) struct Stored {
    documents: BTreeMap<&'static str, BTreeMap<String, Json>>,
}

impl Stored {
    pub(super) fn add(&mut self, kind: &'static str, id: &str, document: Json) {
        self.documents.entry(kind).or_default().insert(id.to_owned(), document);
    }

    pub(super) fn find(&self, kind: &str, id: &str) -> Option<&Json> {
        self.documents.get(kind)?.get(id)
    }

    pub(super) fn all(&self, kind: &str) -> impl Iterator<Item = (&str, &Json)> {
        self.documents.get(kind).into_iter().flatten().map(|(id, document)| (id.as_str(), document))
    }

    /// The document of any kind with this id.
    pub(super) fn any(&self, id: &str) -> Option<&Json> {
        self.documents.values().find_map(|documents| documents.get(id))
    }

    /// The number that reaches a device: its own, or that of the telephone or line that its
    /// SIP name is.
    pub(super) fn number_of(device: &Json, directory: &Directory) -> Option<String> {
        let text = |path: [&str; 2]| device.at_path(path).and_then(Json::scalar);
        text(["tipring", "number"]).or_else(|| {
            let name = text(["sip", "username"])?;
            directory.phone(&name).map(|phone| phone.number.clone())
        })
    }

    /// The directory of the box with those of the account before it.
    pub(super) fn people(&self, directory: &Directory) -> Directory {
        let devices: Vec<(&str, &Json, String)> = self
            .all("devices")
            .filter_map(|(id, device)| Some((id, device, Self::number_of(device, directory)?)))
            .collect();
        let phones =
            devices.iter().map(|(id, _, number)| Phone { line: (*id).to_owned(), number: number.clone() });
        let users = self.all("users").map(|(id, _)| {
            let owned = devices
                .iter()
                .filter(|(_, device, _)| device.get("owner_id").and_then(Json::text) == Some(id));
            let own = directory.user(id).cloned().unwrap_or_default();
            let numbers: Vec<String> = owned.map(|(_, _, number)| number.clone()).collect();
            let phones = if numbers.is_empty() { own.phones.clone() } else { numbers };
            User { id: id.to_owned(), phones, ..own }
        });
        Directory {
            users: users.chain(directory.users.iter().cloned()).collect(),
            phones: phones.chain(directory.phones.iter().cloned()).collect(),
            ..directory.clone()
        }
    }

    /// The mailboxes of the account that the box does not have under another name.
    pub(super) fn mailboxes(&self, people: &Directory) -> Vec<MailboxEntry> {
        let is_known = |name: &String| !name.is_empty() && people.mailbox(name).is_some();
        self.all("vmboxes")
            .map(|(id, _)| id)
            .filter(|id| names_a_folder(id) && !self.names_of_mailbox(id).iter().flatten().any(is_known))
            .map(|id| {
                let data = self.data("vmboxes", id);
                let owner = self.find("vmboxes", id).and_then(|stored| stored.get("owner_id"));
                let media = data.inside("media", "media.");
                let greeting = media.filled("unavailable").and_then(|media| self.sound(media));
                MailboxEntry {
                    id: id.to_owned(),
                    number: data.filled("mailbox").unwrap_or("").to_owned(),
                    pin: data.filled("pin").map(str::to_owned),
                    asks_pin: data.is("require_pin"),
                    greeting,
                    skips_greeting: data.is("skip_greeting"),
                    newest_first: !data.is("oldest_message_first"),
                    skips_instructions: data.is("skip_instructions"),
                    announces_only: data.is("announcement_only"),
                    operator: data.filled("operator_number").map(str::to_owned),
                    phones: owner
                        .and_then(Json::text)
                        .and_then(|owner| people.user(owner))
                        .map_or_else(Vec::new, |user| user.phones.clone()),
                    email: addresses(self.find("vmboxes", id)),
                    messages_max: MESSAGES_MAX,
                }
            })
            .collect()
    }

    /// A sound that is the same in every call: on the box, at an address, or a text of the account.
    fn sound(&self, media: &str) -> Option<PromptSource> {
        if media.starts_with("http://") || media.starts_with("https://") {
            return address::absolute(media).map(PromptSource::Url);
        }
        let stored = self.find("media", media);
        let text = stored.filter(|stored| stored.get("media_source").and_then(Json::text) == Some("tts"));
        let text = text.and_then(|stored| stored.at_path(["tts", "text"])).and_then(Json::text);
        match text {
            Some(text) => Some(PromptSource::Speech(Speech {
                text: text.to_owned(),
                language: "en-US".to_owned(),
                gender: Gender::Female,
                voice: None,
                is_ssml: false,
            })),
            None => (!media.contains('/')).then(|| PromptSource::Library(media.to_owned())),
        }
    }

    /// What the box may call a mailbox of the account; the first that it knows holds.
    pub(super) fn names_of_mailbox(&self, id: &str) -> [Option<String>; 3] {
        let stored = self.find("vmboxes", id);
        let text = |path: &[&str]| stored?.at_path(path.iter().copied())?.scalar();
        [text(&["tipring", "mailbox"]), Some(id.to_owned()), text(&["mailbox"])]
    }

    /// The values of a document of a kind that has a table; only defaults if it is unknown.
    pub(super) fn data(&self, kind: &str, id: &str) -> Data<'_> {
        let keys = KINDS.iter().find(|known| known.name == kind).and_then(|known| known.keys);
        Data::new(keys.unwrap_or(&[]), self.find(kind, id))
    }
}

/// Who is told of the messages of a mailbox by e-mail.
fn addresses(stored: Option<&Json>) -> Vec<String> {
    /// Most addresses of one mailbox.
    const ADDRESSES_MAX: usize = 8;
    let listed = stored.and_then(|stored| stored.get("notify_email_addresses")).map_or(&[][..], Json::items);
    listed.iter().filter_map(Json::text).take(ADDRESSES_MAX).map(str::to_owned).collect()
}
