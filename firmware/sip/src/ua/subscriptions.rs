//! Telephones that subscribe to lamps: RFC 6665 from the notifier's side. What is told, and
//! when, is in `notifying.rs`.
//!
//! ```text
//! SUBSCRIBE, proved by digest -> 200, NOTIFY with all there is
//! set_lamp, ...               -> NOTIFY, at most one each 500 ms and one at a time
//! SUBSCRIBE inside, Expires 0 -> 200, the last NOTIFY
//! 481 to a NOTIFY, or silence -> forgotten
//! ```
//!
//! A telephone is asked for its password when it subscribes. What it sends inside the
//! subscription is known by its address and by our tag, as inside a call.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::event::{CommandError, Peer};
use super::{Answer, Owner, UserAgent, contact_on};
use crate::dialog::{Dialog, Fit};
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lamps::{ALLOW_EVENTS, Lamp, MessageWaiting, Package, TellWaiting};
use crate::lex;
use crate::message::Message;
use crate::registrar::ExpiryLimits;
use crate::timer_queue::TimerQueue;
use crate::uri::Uri;

/// Most subscriptions of all telephones.
pub const SUBSCRIPTIONS_MAX: usize = 2_048;
/// Most subscriptions of one telephone: a large one has some hundred keys with lamps.
pub const SUBSCRIPTIONS_A_PHONE_MAX: usize = 128;
/// Most lamps with anything to tell.
pub const LAMPS_MAX: usize = 2_048;
/// Longest name of a lamp, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Lifetimes of subscriptions; RFC 3842 §3.4 and RFC 4235 §3.4 propose an hour.
const EXPIRY: ExpiryLimits = ExpiryLimits { min_s: 60, max_s: 3_600, default_s: 3_600 };

/// One telephone that wants to know about one thing.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) account: String,
    pub(super) package: Package,
    /// User part of the address that was asked for.
    pub(super) resource: String,
    /// The Event header of its NOTIFYs: the package, with the `id` that was asked for.
    event: Box<[u8]>,
    pub(super) dialog: Dialog,
    pub(super) hop: Hop,
    pub(super) contact: Box<str>,
    pub(super) expires_at: Instant,
    /// Number of the next document, RFC 4235 §4.1.
    pub(super) version: u32,
    /// Dialogs that were told last.
    pub(super) told: Vec<String>,
    /// When the last NOTIFY was sent.
    pub(super) told_at: Option<Instant>,
    /// There is something that it was not told yet.
    pub(super) is_behind: bool,
    /// A NOTIFY waits for its answer.
    pub(super) is_open: bool,
    pub(super) due_expires: Option<Instant>,
    pub(super) due_pace: Option<Instant>,
}

impl Subscription {
    pub(super) fn event(&self) -> &[u8] {
        &self.event
    }

    /// What it waits on: mailboxes by the telephone's account, lamps by their names.
    fn watched(&self) -> (Package, String) {
        watched(self.package, &self.account, &self.resource)
    }
}

fn watched(package: Package, account: &str, resource: &str) -> (Package, String) {
    match package {
        Package::MessageSummary => (package, account.to_owned()),
        Package::Dialog | Package::Presence => (package, resource.to_owned()),
    }
}

/// The mailboxes of one telephone.
#[derive(Debug)]
pub(super) struct Mailboxes {
    pub(super) account: String,
    pub(super) tell: TellWaiting,
    pub(super) mailboxes: Vec<MessageWaiting>,
    /// Contacts without a subscription were not told yet.
    pub(super) is_behind: bool,
    pub(super) told_at: Option<Instant>,
    /// NOTIFYs without a subscription that wait for their answers.
    pub(super) open: usize,
    pub(super) due_pace: Option<Instant>,
}

impl Mailboxes {
    pub(super) fn named(&self, name: &str) -> Option<&MessageWaiting> {
        self.mailboxes.iter().find(|mailbox| mailbox.names.iter().any(|known| known == name))
    }
}

/// What is due at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A subscription has run out.
    Expires(u64),
    /// A subscription may be told again.
    Pace(u64),
    /// A telephone may be told of its mailboxes again.
    Account(u32),
}

/// Who waits for what, and what there is. Subscriptions go by our tag in their dialogs.
#[derive(Debug)]
pub(super) struct Subscriptions {
    pub(super) by_tag: BTreeMap<u64, Subscription>,
    watchers: BTreeMap<(Package, String), BTreeSet<u64>>,
    pub(super) lamps: BTreeMap<String, Lamp>,
    /// By the numbers in [`Due::Account`].
    pub(super) accounts: Vec<Mailboxes>,
    pub(super) timers: TimerQueue<Due>,
}

impl Subscriptions {
    pub(super) fn new() -> Subscriptions {
        Subscriptions {
            by_tag: BTreeMap::new(),
            watchers: BTreeMap::new(),
            lamps: BTreeMap::new(),
            accounts: Vec::new(),
            timers: TimerQueue::new(),
        }
    }

    pub(super) fn account(&self, name: &str) -> Option<&Mailboxes> {
        self.accounts.iter().find(|known| known.account == name)
    }

    pub(super) fn watching(&self, package: Package, what: &str) -> Vec<u64> {
        let tags = self.watchers.get(&(package, what.to_owned()));
        tags.into_iter().flatten().copied().collect()
    }

    fn insert(&mut self, tag: u64, mut subscription: Subscription) {
        let at = Some(subscription.expires_at);
        self.timers.set(&mut subscription.due_expires, Due::Expires(tag), at);
        self.watchers.entry(subscription.watched()).or_default().insert(tag);
        self.by_tag.insert(tag, subscription);
    }

    pub(super) fn remove(&mut self, tag: u64) {
        let Some(mut gone) = self.by_tag.remove(&tag) else { return };
        self.timers.set(&mut gone.due_expires, Due::Expires(tag), None);
        self.timers.set(&mut gone.due_pace, Due::Pace(tag), None);
        if let Some(tags) = self.watchers.get_mut(&gone.watched()) {
            tags.remove(&tag);
        }
        self.watchers.retain(|_, tags| !tags.is_empty());
    }
}

/// What a SUBSCRIBE asks for.
struct Wanted {
    package: Package,
    event: Box<[u8]>,
    expires_s: u32,
}

impl UserAgent {
    /// Says what is behind a lamp; who watches it is told. Dark lamps are forgotten.
    ///
    /// # Errors
    /// [`CommandError::Full`] above [`LAMPS_MAX`].
    pub fn set_lamp(&mut self, now: Instant, name: &str, lamp: Lamp) -> Result<(), CommandError> {
        let lamps = &mut self.subscriptions.lamps;
        let before = lamps.get(name);
        if before.map_or(lamp == Lamp::default(), |before| *before == lamp) {
            return Ok(());
        }
        if lamp == Lamp::default() {
            lamps.remove(name);
        } else {
            if before.is_none() && lamps.len() >= LAMPS_MAX {
                return Err(CommandError::Full);
            }
            lamps.insert(name.to_owned(), lamp);
        }
        for package in [Package::Dialog, Package::Presence] {
            for tag in self.subscriptions.watching(package, name) {
                self.tell(now, tag);
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Says what waits for a telephone, and how it is told. Without mailboxes it is told
    /// nothing, and may not ask.
    pub fn set_message_waiting(
        &mut self,
        now: Instant,
        account: &str,
        tell: TellWaiting,
        mailboxes: Vec<MessageWaiting>,
    ) {
        let accounts = &mut self.subscriptions.accounts;
        let known = accounts.iter().position(|known| known.account == account);
        let at = known.unwrap_or(accounts.len());
        if known.is_none() {
            accounts.push(Mailboxes {
                account: account.to_owned(),
                tell,
                mailboxes: Vec::new(),
                is_behind: false,
                told_at: None,
                open: 0,
                due_pace: None,
            });
        }
        let Some(entry) = accounts.get_mut(at) else { return };
        if known.is_some() && entry.mailboxes == mailboxes && entry.tell == tell {
            return;
        }
        (entry.tell, entry.mailboxes) = (tell, mailboxes);
        for tag in self.subscriptions.watching(Package::MessageSummary, account) {
            self.tell(now, tag);
        }
        self.tell_contacts(now, account);
        self.settle(now);
    }

    /// Subscriptions alive.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.by_tag.len()
    }

    /// What a SUBSCRIBE asks for; none when it has been refused.
    fn wanted(&mut self, hop: &Hop, request: &Message) -> Option<Wanted> {
        let mut refuse = |status: u16, headers: &[(&str, &str)]| {
            let answer = Answer { status, headers, ..Answer::default() };
            self.answer_once(Peer::Phone, hop, request, answer);
            None
        };
        let event = request.header(HeaderName::Event).unwrap_or(&[]);
        let Some(package) = Package::of_event(event) else {
            return refuse(489, &[("Allow-Events", ALLOW_EVENTS)]);
        };
        let takes = |value: &[u8]| {
            let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
            [package.content_type(), "application/*", "*/*"]
                .iter()
                .any(|kind| lex::trim(&value[..end]).eq_ignore_ascii_case(kind.as_bytes()))
        };
        if request.header(HeaderName::Accept).is_some() && !request.values(HeaderName::Accept).any(takes) {
            return refuse(406, &[]);
        }
        // What is no number, or none of this world, is as good as nothing.
        let expires_s = request.number(HeaderName::Expires).unwrap_or(EXPIRY.default_s);
        if expires_s > 0 && expires_s < EXPIRY.min_s {
            return refuse(423, &[("Min-Expires", &EXPIRY.min_s.to_string())]);
        }
        let mut repeated = package.as_str().as_bytes().to_vec();
        if let Some(id) = lex::param(event, b"id").filter(|id| id.len() <= NAME_BYTES_MAX) {
            repeated.extend_from_slice(b";id=");
            repeated.extend_from_slice(id);
        }
        Some(Wanted { package, event: repeated.into(), expires_s: expires_s.min(EXPIRY.max_s) })
    }

    /// The name that may be subscribed to under an address; none if it may not.
    fn resource(&self, package: Package, account: &str, target: &Uri) -> Option<String> {
        let user = target.number()?;
        match package {
            Package::MessageSummary => {
                let own = self.subscriptions.account(account)?;
                (own.tell != TellWaiting::Never && own.named(&user).is_some()).then(|| user.into_owned())
            }
            Package::Dialog | Package::Presence => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.+*#".contains(&b);
                let fits = !user.is_empty() && user.len() <= NAME_BYTES_MAX && user.bytes().all(plain);
                fits.then(|| user.into_owned())
            }
        }
    }

    /// A SUBSCRIBE outside any dialog, of a telephone that has proved to be `account`.
    pub(super) fn subscribe(
        &mut self,
        now: Instant,
        hop: Hop,
        request: &Message,
        account: &str,
        target: &Uri,
    ) {
        let Some(wanted) = self.wanted(&hop, request) else { return };
        let tag = self.random.next_u64();
        let seq = (self.random.next_u64() & 0xffff) as u32;
        let Ok(dialog) = Dialog::callee(request, &lex::hex16(tag), seq) else {
            return self.refuse(&hop, request, 400, "Bad Contact or Record-Route");
        };
        let Some(resource) = self.resource(wanted.package, account, target) else {
            return self.refuse(&hop, request, 404, "");
        };
        // A telephone that has started anew does not know its old subscription any more.
        let same = |known: &Subscription| {
            known.account == account
                && known.package == wanted.package
                && known.resource == resource
                && known.dialog.target().equivalent(dialog.target())
        };
        let known = self.subscriptions.by_tag.iter();
        let old: Vec<u64> = known.filter(|(_, known)| same(known)).map(|(tag, _)| *tag).collect();
        for tag in old {
            self.subscriptions.remove(tag);
        }
        let own = self.subscriptions.by_tag.values().filter(|known| known.account == account).count();
        if own >= SUBSCRIPTIONS_A_PHONE_MAX {
            return self.refuse(&hop, request, 403, "Too many subscriptions");
        }
        if self.subscriptions.by_tag.len() >= SUBSCRIPTIONS_MAX {
            return self.overloaded(Peer::Phone, &hop, request);
        }
        let Ok(transaction) = self.transactions.serve(request, hop, Owner::Nobody) else {
            return self.overloaded(Peer::Phone, &hop, request);
        };
        let subscription = Subscription {
            account: account.to_owned(),
            package: wanted.package,
            contact: contact_on(&resource, &hop).into(),
            resource,
            event: wanted.event,
            dialog,
            hop,
            expires_at: now + Duration::from_secs(u64::from(wanted.expires_s)),
            version: 0,
            told: Vec::new(),
            told_at: None,
            is_behind: false,
            is_open: false,
            due_expires: None,
            due_pace: None,
        };
        self.subscriptions.insert(tag, subscription);
        self.subscribed(now, tag, transaction, request, wanted.expires_s);
    }

    fn refuse(&mut self, hop: &Hop, request: &Message, status: u16, reason: &str) {
        let answer = Answer { status, reason, ..Answer::default() };
        self.answer_once(Peer::Phone, hop, request, answer);
    }

    /// True for a request inside a subscription, which is not one inside a call.
    pub(super) fn is_subscribed(&self, request: &Message) -> bool {
        lex::unhex16(request.to_tag()).is_some_and(|tag| self.subscriptions.by_tag.contains_key(&tag))
    }

    /// A SUBSCRIBE inside its subscription: goes on with it, or ends it.
    pub(super) fn resubscribe(&mut self, now: Instant, peer: Peer, hop: Hop, request: &Message) {
        let tag = lex::unhex16(request.to_tag()).unwrap_or_default();
        let Some(known) = self.subscriptions.by_tag.get_mut(&tag) else { return };
        let is_own = peer == Peer::Phone && known.hop.remote.ip() == hop.remote.ip();
        let fit = if is_own { known.dialog.receive(request) } else { Fit::Stranger };
        let status = match fit {
            Fit::InOrder => None,
            Fit::Stranger => {
                self.counters.strangers += 1;
                Some(481)
            }
            Fit::OutOfOrder => Some(500),
        };
        if let Some(status) = status {
            self.answer_once(peer, &hop, request, Answer { status, ..Answer::default() });
            return;
        }
        let Some(wanted) = self.wanted(&hop, request) else { return };
        let Some(known) = self.subscriptions.by_tag.get_mut(&tag) else { return };
        if known.package != wanted.package || known.event != wanted.event {
            self.answer_once(peer, &hop, request, Answer { status: 481, ..Answer::default() });
            return;
        }
        let Ok(transaction) = self.transactions.serve(request, hop, Owner::Nobody) else {
            return self.overloaded(peer, &hop, request);
        };
        known.hop = hop;
        known.dialog.refresh_target(request);
        known.expires_at = now + Duration::from_secs(u64::from(wanted.expires_s));
        let at = Some(known.expires_at);
        self.subscriptions.timers.set(&mut known.due_expires, Due::Expires(tag), at);
        self.subscribed(now, tag, transaction, request, wanted.expires_s);
    }

    /// Answers 200, and tells all there is (RFC 6665 §4.2.1.1).
    fn subscribed(
        &mut self,
        now: Instant,
        tag: u64,
        transaction: crate::transaction::TransactionId,
        request: &Message,
        expires_s: u32,
    ) {
        let Some(known) = self.subscriptions.by_tag.get(&tag) else { return };
        let (hop, contact, expires) = (known.hop, known.contact.clone(), expires_s.to_string());
        let answer = Answer {
            status: 200,
            tag: &lex::hex16(tag),
            headers: &[("Contact", &*contact), ("Expires", &expires)],
            ..Answer::default()
        };
        self.answer(now, transaction, &hop, request, answer);
        if expires_s == 0 {
            self.end_subscription(now, tag, "timeout");
        } else {
            self.tell(now, tag);
        }
    }

    pub(super) fn subscriptions_due(&mut self, now: Instant) {
        while let Some(due) = self.subscriptions.timers.pop_due(now) {
            match due {
                Due::Expires(tag) => {
                    if let Some(known) = self.subscriptions.by_tag.get_mut(&tag) {
                        known.due_expires = None;
                    }
                    self.end_subscription(now, tag, "timeout");
                }
                Due::Pace(tag) => {
                    if let Some(known) = self.subscriptions.by_tag.get_mut(&tag) {
                        known.due_pace = None;
                    }
                    self.tell_due(now, tag);
                }
                Due::Account(at) => {
                    if let Some(known) = self.subscriptions.accounts.get_mut(at as usize) {
                        known.due_pace = None;
                    }
                    self.contacts_due(now, at);
                }
            }
        }
    }

    /// A connection is gone, and with it those who subscribed over it.
    pub(super) fn subscriptions_lost_hop(&mut self, hop: &Hop) {
        if !hop.transport.is_reliable() {
            return;
        }
        let known = self.subscriptions.by_tag.iter();
        let gone: Vec<u64> = known
            .filter(|(_, known)| known.hop.socket == hop.socket && known.hop.remote == hop.remote)
            .map(|(tag, _)| *tag)
            .collect();
        for tag in gone {
            self.subscriptions.remove(tag);
        }
    }
}
