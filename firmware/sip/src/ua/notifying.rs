//! NOTIFY: to those who have subscribed, and to telephones that want to know of their mailboxes
//! without having asked.
//!
//! One subscription costs at most two NOTIFYs a second and one open transaction, whatever
//! happens behind its lamp: what is told is what there is when it is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::subscriptions::{Due, Mailboxes};
use super::{Owner, UserAgent, contact_on};
use crate::dialog::{write_cseq, write_via};
use crate::hop::Hop;
use crate::lamps::{
    Entity, Lamp, MessageWaiting, Package, TellWaiting, dialog_info, message_summary, pidf, told,
};
use crate::lex;
use crate::method::Method;
use crate::registrar::way_to;
use crate::uri::Uri;

/// Shortest time between two NOTIFYs to one subscription, or to one telephone without any.
const GAP: Duration = Duration::from_millis(500);
/// Most NOTIFYs to one telephone without a subscription that wait for their answers. More than
/// one, so that a contact that is gone does not hold up the others.
const OPEN_MAX: usize = 16;

impl UserAgent {
    /// There is something to tell: at once, or as soon as it may be.
    pub(super) fn tell(&mut self, now: Instant, tag: u64) {
        if let Some(known) = self.subscriptions.by_tag.get_mut(&tag) {
            known.is_behind = true;
            self.tell_due(now, tag);
        }
    }

    pub(super) fn tell_due(&mut self, now: Instant, tag: u64) {
        let Some(known) = self.subscriptions.by_tag.get_mut(&tag) else { return };
        if !known.is_behind || known.is_open {
            return;
        }
        if let Some(at) = known.told_at.map(|told| told + GAP).filter(|at| *at > now) {
            self.subscriptions.timers.set(&mut known.due_pace, Due::Pace(tag), Some(at));
            return;
        }
        known.is_behind = false;
        known.is_open = true;
        known.told_at = Some(now);
        if !self.send_lamp(now, tag, None) {
            // No room for a transaction: later.
            if let Some(known) = self.subscriptions.by_tag.get_mut(&tag) {
                (known.is_behind, known.is_open) = (true, false);
                self.subscriptions.timers.set(&mut known.due_pace, Due::Pace(tag), Some(now + GAP));
            }
        }
    }

    /// The last NOTIFY; then it is forgotten.
    pub(super) fn end_subscription(&mut self, now: Instant, tag: u64, reason: &str) {
        self.send_lamp(now, tag, Some(reason));
        self.subscriptions.remove(tag);
    }

    /// A NOTIFY was answered, or was not.
    pub(super) fn notified(&mut self, now: Instant, tag: u64, status: Option<u16>) {
        let Some(known) = self.subscriptions.by_tag.get_mut(&tag) else { return };
        known.is_open = false;
        match status {
            Some(200..=299) => self.tell_due(now, tag),
            // It is busy with itself: the next change, or its own refresh, tells it all.
            Some(500 | 503 | 504) => {}
            // RFC 6665 §4.2.2: 481 above all. One that wants a password gets none, either.
            Some(_) | None => self.subscriptions.remove(tag),
        }
    }

    /// Writes and sends one NOTIFY; `end` is why it is the last. False when it could not be sent.
    fn send_lamp(&mut self, now: Instant, tag: u64, end: Option<&str>) -> bool {
        let branch = self.random.next_u64();
        let (lamps, accounts) = (&self.subscriptions.lamps, &self.subscriptions.accounts);
        let Some(known) = self.subscriptions.by_tag.get_mut(&tag) else { return false };
        let hop = way_to(known.hop, known.dialog.target());
        let host = hop.local.to_string();
        let entity = Entity { user: &known.resource, host: &host };
        let dark = Lamp::default();
        let lamp = lamps.get(&known.resource).unwrap_or(&dark);
        let body = match known.package {
            Package::MessageSummary => {
                let own = accounts.iter().find(|own| own.account == known.account);
                let none = MessageWaiting { names: vec![known.resource.clone()], new: 0, saved: 0 };
                let waiting = own.and_then(|own| own.named(&known.resource)).unwrap_or(&none);
                message_summary(entity, waiting)
            }
            Package::Dialog => {
                let ids: Vec<String> = told(lamp).map(|dialog| dialog.id.clone()).collect();
                let before = std::mem::replace(&mut known.told, ids);
                let over: Vec<String> = before.into_iter().filter(|id| !known.told.contains(id)).collect();
                let version = known.version;
                known.version = version.wrapping_add(1);
                dialog_info(entity, version, lamp, &over)
            }
            Package::Presence => pidf(entity, lamp),
        };
        let state = match end {
            None => {
                let left = known.expires_at.saturating_duration_since(now).as_secs();
                format!("active;expires={left}")
            }
            Some(reason) => format!("terminated;reason={reason}"),
        };
        let seq = known.dialog.next_seq();
        let w = known.dialog.write(&mut self.writer, Method::Notify, seq, &hop, branch);
        w.header("Contact", &known.contact);
        w.raw("Event", known.event());
        w.header("Subscription-State", &state);
        if !self.settings.product.is_empty() {
            w.header("User-Agent", &self.settings.product);
        }
        let bytes: Arc<[u8]> = w.body(known.package.content_type(), body.as_bytes()).into();
        let owner = if end.is_none() { Owner::Lamp(tag) } else { Owner::Nobody };
        self.transactions.request(now, branch, Method::Notify, hop, bytes, owner).is_ok()
    }

    // --- Without a subscription.

    /// The contacts of a telephone that are told without having asked should be told.
    pub(super) fn tell_contacts(&mut self, now: Instant, account: &str) {
        let found = self.subscriptions.accounts.iter().position(|known| known.account == account);
        let Some(at) = found.and_then(|at| u32::try_from(at).ok()) else { return };
        if let Some(known) = self.subscriptions.accounts.get_mut(at as usize) {
            known.is_behind = true;
        }
        self.contacts_due(now, at);
    }

    pub(super) fn contacts_due(&mut self, now: Instant, at: u32) {
        let Some(known) = self.subscriptions.accounts.get_mut(at as usize) else { return };
        let asked_only = match known.tell {
            TellWaiting::Auto | TellWaiting::Always => false,
            TellWaiting::Subscribed | TellWaiting::Never => true,
        };
        if !known.is_behind || asked_only || known.mailboxes.is_empty() {
            known.is_behind = false;
            return;
        }
        if let Some(later) = known.told_at.map(|told| told + GAP).filter(|later| *later > now) {
            self.subscriptions.timers.set(&mut known.due_pace, Due::Account(at), Some(later));
            return;
        }
        let (account, tell) = (known.account.clone(), known.tell);
        let contacts: Vec<(Hop, Uri)> = self
            .phone_contacts(now, &account)
            .map(|binding| (binding.way(), binding.contact.clone()))
            .filter(|(hop, contact)| {
                tell == TellWaiting::Always || !self.has_subscribed(&account, hop, contact)
            })
            .collect();
        let Some(known) = self.subscriptions.accounts.get_mut(at as usize) else { return };
        if contacts.is_empty() {
            known.is_behind = false;
            return;
        }
        if known.open + contacts.len() > OPEN_MAX {
            // The answers, or their absence, bring it back here.
            return;
        }
        known.is_behind = false;
        known.told_at = Some(now);
        for (hop, contact) in contacts {
            if self.send_unasked(now, at, hop, &contact)
                && let Some(known) = self.subscriptions.accounts.get_mut(at as usize)
            {
                known.open += 1;
            }
        }
    }

    /// A NOTIFY without a subscription was answered, or was not. Telephones that do not know
    /// them refuse each, which does no harm.
    pub(super) fn unasked_answered(&mut self, now: Instant, at: u32) {
        if let Some(known) = self.subscriptions.accounts.get_mut(at as usize) {
            known.open = known.open.saturating_sub(1);
            self.contacts_due(now, at);
        }
    }

    /// Whether whoever is behind a contact asks by himself.
    fn has_subscribed(&self, account: &str, hop: &Hop, contact: &Uri) -> bool {
        self.subscriptions.watching(Package::MessageSummary, account).iter().any(|tag| {
            self.subscriptions.by_tag.get(tag).is_some_and(|known| {
                let target = known.dialog.target();
                target.equivalent(contact) || way_to(known.hop, target).remote == hop.remote
            })
        })
    }

    fn send_unasked(&mut self, now: Instant, at: u32, hop: Hop, contact: &Uri) -> bool {
        let [branch, tag, call_id] = [(); 3].map(|()| self.random.next_u64());
        let Some(Mailboxes { account, mailboxes, .. }) = self.subscriptions.accounts.get(at as usize) else {
            return false;
        };
        let Some(waiting) = mailboxes.first() else { return false };
        let host = hop.local.to_string();
        let body = message_summary(Entity { user: account, host: &host }, waiting);
        let own = contact_on(account, &hop);
        // A request-URI never carries headers, RFC 3261 §19.1.1 table 1.
        let target = contact.as_str().split('?').next().unwrap_or("");
        let w = self.writer.request(Method::Notify, target);
        write_via(w, &hop, branch);
        w.number("Max-Forwards", 70);
        w.with("From", |out| {
            out.extend_from_slice(own.as_bytes());
            out.extend_from_slice(b";tag=");
            out.extend_from_slice(&lex::hex16(tag));
        });
        w.header("To", &format!("<{target}>"));
        w.raw("Call-ID", &lex::hex16(call_id));
        write_cseq(w, 1, Method::Notify);
        w.header("Contact", &own);
        w.header("Event", Package::MessageSummary.as_str());
        // There is no subscription that could go on; the field must be there (RFC 6665 §7.2).
        w.header("Subscription-State", "active");
        if !self.settings.product.is_empty() {
            w.header("User-Agent", &self.settings.product);
        }
        let bytes: Arc<[u8]> = w.body(Package::MessageSummary.content_type(), body.as_bytes()).into();
        self.transactions.request(now, branch, Method::Notify, hop, bytes, Owner::Unasked(at)).is_ok()
    }
}
