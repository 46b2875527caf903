//! Phones on the local network: digest in front of everything, then the registrar.

use std::collections::BTreeMap;
use std::time::Instant;

use super::event::{Event, Peer, PhoneAccount, PhoneSettings};
use super::{Answer, Owner, UserAgent};
use crate::auth::{Claim, DigestServer, Verdict};
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lex;
use crate::message::Message;
use crate::registrar::{Binding, RegisterRefusal, Registrar};

#[derive(Debug)]
pub(super) struct Phones {
    digest: DigestServer,
    registrar: Registrar,
    accounts: BTreeMap<String, PhoneAccount>,
    /// Some account may use MD5, so it is offered; to all alike, since who asks is not known.
    md5: bool,
}

impl Phones {
    pub(super) fn new(settings: &PhoneSettings, secret: [u8; 32], now: Instant) -> Phones {
        Phones {
            digest: DigestServer::new(&settings.realm, secret, now),
            registrar: Registrar::new(settings.expiry),
            md5: settings.accounts.iter().any(|a| a.md5),
            accounts: settings.accounts.iter().map(|a| (a.username.clone(), a.clone())).collect(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.registrar.poll_timeout()
    }
}

impl UserAgent {
    /// Replaces the accounts. Registrations of accounts that are gone end when they expire;
    /// their calls are refused from now on.
    pub fn set_phone_accounts(&mut self, accounts: &[PhoneAccount]) {
        if let Some(phones) = &mut self.phones {
            phones.md5 = accounts.iter().any(|a| a.md5);
            phones.accounts = accounts.iter().map(|a| (a.username.clone(), a.clone())).collect();
        }
    }

    /// Where an account's phones are now, the latest registered last.
    pub fn phone_contacts(&self, now: Instant, account: &str) -> impl Iterator<Item = &Binding> {
        let known = self.phones.as_ref().filter(|p| p.accounts.contains_key(account));
        known.into_iter().flat_map(move |p| p.registrar.contacts(now, account))
    }

    /// The account that proved itself, or `None` after a challenge was sent.
    pub(super) fn authenticate(&mut self, now: Instant, hop: &Hop, request: &Message) -> Option<String> {
        let phones = self.phones.as_mut()?;
        let source = hop.remote.ip();
        let mut stale = false;
        let mut failed = false;
        for value in request.header_lines(HeaderName::Authorization) {
            let Some(username) = phones.digest.claimed(value) else { continue };
            let account = phones.accounts.get(&username);
            let claim = Claim {
                source,
                method: request.method_text(),
                request_uri: request.request_uri_text(),
                authorization: value,
            };
            let secret = account.map(|a| &a.secret);
            let verdict = phones.digest.verify(now, claim, secret, account.is_some_and(|a| a.md5));
            match verdict {
                Verdict::Accepted => return Some(username),
                Verdict::Stale => stale = true,
                Verdict::Denied => failed = true,
            }
        }
        let challenges = phones.digest.challenge(now, source, stale && !failed, phones.md5);
        if failed {
            self.event(Event::AuthFailed { hop: *hop });
        }
        let headers: Vec<(&str, &str)> =
            challenges.iter().map(|c| ("WWW-Authenticate", c.as_str())).collect();
        // A short request may not be worth two challenges; then the first alone, then none.
        for count in (1..=headers.len()).rev() {
            let headers = headers.get(..count).unwrap_or(&[]);
            let answer = Answer { status: 401, headers, ..Answer::default() };
            if self.answer_once(Peer::Phone, hop, request, answer) {
                return None;
            }
        }
        self.counters.amplifying_dropped += 1;
        None
    }

    /// A REGISTER whose sender has proved to be `account`.
    pub(super) fn phone_register(&mut self, now: Instant, hop: Hop, request: &Message, account: String) {
        let Ok(transaction) = self.transactions.serve(request, hop, Owner::Nobody) else {
            self.overloaded(Peer::Phone, &hop, request);
            return;
        };
        let tag = lex::hex16(self.stateless_tag(request));
        let Some(phones) = self.phones.as_mut() else { return };
        let own =
            request.to_address().is_ok_and(|to| to.uri.user().is_some_and(|user| user == account.as_str()));
        let mut contacts = Vec::new();
        let mut min = String::new();
        let status = if own {
            match phones.registrar.register(now, &account, request, hop) {
                Ok(()) => {
                    contacts = phones.registrar.contact_values(now, &account);
                    200
                }
                Err(refusal) => {
                    if let RegisterRefusal::TooBrief { min_s } = refusal {
                        min = min_s.to_string();
                    }
                    refusal.status()
                }
            }
        } else {
            403
        };
        let mut headers: Vec<(&str, &str)> = contacts.iter().map(|c| ("Contact", c.as_str())).collect();
        if !min.is_empty() {
            headers.push(("Min-Expires", &min));
        }
        let answer = Answer { status, tag: &tag, headers: &headers, ..Answer::default() };
        self.answer(now, transaction, &hop, request, answer);
        if status == 200 && request.header(HeaderName::Contact).is_some() {
            let event = if contacts.is_empty() {
                Event::PhoneGone { account }
            } else {
                Event::PhoneRegistered { account, hop }
            };
            self.event(event);
        }
    }

    pub(super) fn phones_due(&mut self, now: Instant) {
        let gone = self.phones.as_mut().map(|p| p.registrar.expire(now)).unwrap_or_default();
        for account in gone {
            self.event(Event::PhoneGone { account });
        }
    }

    pub(super) fn phones_lost_hop(&mut self, hop: &Hop) {
        // A datagram socket outlives any one failure to reach a phone.
        if hop.transport.is_reliable() {
            let gone = self.phones.as_mut().map(|p| p.registrar.remove_hop(hop)).unwrap_or_default();
            for account in gone {
                self.event(Event::PhoneGone { account });
            }
        }
    }
}
