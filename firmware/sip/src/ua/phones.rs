//! Phones on the local network: digest in front of everything, then the registrar.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use super::event::{Event, Peer, PhoneAccount, PhoneSettings};
use super::{Answer, Owner, UserAgent};
use crate::auth::{Algorithm, Claim, DigestServer, Verdict};
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::message::Message;
use crate::method::Method;
use crate::registrar::{Binding, RegisterRefusal, Registrar};

#[derive(Debug)]
pub(super) struct Phones {
    digest: DigestServer,
    registrar: Registrar,
    accounts: BTreeMap<String, PhoneAccount>,
    /// Mixed into the choice of a hash for names without an account.
    secret: [u8; 32],
}

impl Phones {
    pub(super) fn new(settings: &PhoneSettings, secret: [u8; 32], now: Instant) -> Phones {
        Phones {
            digest: DigestServer::new(&settings.realm, secret, now),
            registrar: Registrar::new(settings.expiry),
            secret,
            accounts: settings.accounts.iter().map(|a| (a.username.clone(), a.clone())).collect(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.registrar.poll_timeout()
    }

    /// The hash that whoever calls himself `username` is asked for. A name without an account is
    /// asked for one or the other as if it had one, so that the answer tells nothing.
    fn algorithm(&self, username: &str) -> Algorithm {
        let md5 = match self.accounts.get(username) {
            Some(account) => account.md5,
            None => {
                let with = self.accounts.values().filter(|a| a.md5).count();
                let mut hasher = DefaultHasher::new();
                (self.secret, username).hash(&mut hasher);
                with == self.accounts.len() || (with > 0 && hasher.finish() & 1 == 1)
            }
        };
        if md5 { Algorithm::Md5 } else { Algorithm::Sha256 }
    }
}

impl UserAgent {
    /// Replaces the accounts. Registrations of accounts that are gone end when they expire;
    /// their calls are refused from now on.
    pub fn set_phone_accounts(&mut self, accounts: &[PhoneAccount]) {
        if let Some(phones) = &mut self.phones {
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
        let named = if request.method() == Some(Method::Register) {
            request.to_address()
        } else {
            request.from_address()
        };
        let named = named.ok().and_then(|n| n.uri.user().map(Cow::into_owned)).unwrap_or_default();
        let algorithm = phones.algorithm(&named);
        let challenge = phones.digest.challenge(now, source, stale && !failed, algorithm);
        if failed {
            self.event(Event::AuthFailed { hop: *hop });
        }
        let headers = [("WWW-Authenticate", challenge.as_str())];
        let answer = Answer { status: 401, headers: &headers, ..Answer::default() };
        if self.answer_once(Peer::Phone, hop, request, answer) {
            return None;
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
        let tag = self.stateless_tag(request);
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
            let is_there = !contacts.is_empty();
            let event = if contacts.is_empty() {
                Event::PhoneGone { account: account.clone() }
            } else {
                Event::PhoneRegistered { account: account.clone(), hop }
            };
            self.event(event);
            if is_there {
                self.tell_contacts(now, &account);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;

    #[test]
    fn the_hash_asked_for_does_not_tell_who_has_an_account() {
        // Tests need some instant; a pure crate has no other way to one.
        #[allow(clippy::disallowed_methods, reason = "an origin for virtual time")]
        let now = Instant::now();
        let account = |username: &str, md5| PhoneAccount {
            username: username.into(),
            secret: Secret::Password("x".into()),
            md5,
        };
        let phones = |accounts| {
            let settings = PhoneSettings {
                realm: "tipring".into(),
                accounts,
                expiry: crate::registrar::ExpiryLimits::default(),
            };
            Phones::new(&settings, [3; 32], now)
        };
        let mixed = phones(vec![account("alice", true), account("bob", false)]);
        assert_eq!(mixed.algorithm("alice"), Algorithm::Md5);
        assert_eq!(mixed.algorithm("bob"), Algorithm::Sha256);
        let strangers: Vec<Algorithm> = (0..64).map(|n| mixed.algorithm(&format!("nobody{n}"))).collect();
        assert!(strangers.contains(&Algorithm::Md5) && strangers.contains(&Algorithm::Sha256));
        for md5 in [false, true] {
            let alike = phones(vec![account("alice", md5)]);
            assert_eq!(alike.algorithm("nobody"), alike.algorithm("alice"));
        }
    }
}
