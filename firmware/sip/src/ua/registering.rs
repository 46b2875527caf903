//! Our registrations at registrars.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{CommandError, Event, RegistrationKey};
use super::{Owner, UserAgent, contact_on};
use crate::dialog::{write_cseq, write_via};
use crate::hop::Hop;
use crate::lex;
use crate::message::Message;
use crate::method::Method;
use crate::registration::{RegisterSettings, Registration, Verdict, refresh_after};
use crate::uri::Uri;

/// Most registrations at a time.
pub const REGISTRATIONS_MAX: usize = 64;

impl UserAgent {
    /// Registers and keeps registering until [`UserAgent::unregister`].
    ///
    /// # Errors
    /// [`CommandError::Full`] above [`REGISTRATIONS_MAX`].
    pub fn register(
        &mut self,
        now: Instant,
        settings: RegisterSettings,
    ) -> Result<RegistrationKey, CommandError> {
        if self.registrations.len() >= REGISTRATIONS_MAX {
            return Err(CommandError::Full);
        }
        self.next_number = self.next_number.wrapping_add(1);
        let key = RegistrationKey(self.next_number);
        let call_id = String::from_utf8_lossy(&lex::hex16(self.random.next_u64())).into_owned();
        let tag = self.random.next_u64();
        self.registrations.insert(key, Registration::new(settings, call_id, tag));
        self.registration_due(now, key);
        self.settle(now);
        Ok(key)
    }

    /// Takes a registration back; [`Event::Unregistered`] follows.
    ///
    /// # Errors
    /// [`CommandError::NoCall`] when there is no such registration.
    pub fn unregister(&mut self, now: Instant, key: RegistrationKey) -> Result<(), CommandError> {
        let registration = self.registrations.get_mut(&key).ok_or(CommandError::NoCall)?;
        if registration.is_removing() {
            return Ok(());
        }
        let stood = registration.is_registered();
        registration.remove();
        self.set_registration_timer(key, None);
        if stood {
            self.registration_due(now, key);
        } else {
            self.registrations.remove(&key);
            self.event(Event::Unregistered { registration: key });
        }
        self.settle(now);
        Ok(())
    }

    /// Registers over another way from now on, as after a failover or an address change, and
    /// asks at once.
    ///
    /// # Errors
    /// [`CommandError::NoCall`] when there is no such registration.
    pub fn set_registration_hop(
        &mut self,
        now: Instant,
        key: RegistrationKey,
        hop: Hop,
    ) -> Result<(), CommandError> {
        let registration = self.registrations.get_mut(&key).ok_or(CommandError::NoCall)?;
        registration.settings.hop = hop;
        self.registration_due(now, key);
        self.settle(now);
        Ok(())
    }

    fn set_registration_timer(&mut self, key: RegistrationKey, at: Option<Instant>) {
        if let Some(registration) = self.registrations.get_mut(&key) {
            self.registration_timers.set(&mut registration.timer_at, key, at);
        }
    }

    pub(super) fn registration_due(&mut self, now: Instant, key: RegistrationKey) {
        self.set_registration_timer(key, None);
        let asked = self.registrations.get_mut(&key).and_then(Registration::ask);
        if let Some((seq, expires)) = asked {
            self.send_register(now, key, seq, expires);
        }
    }

    fn send_register(&mut self, now: Instant, key: RegistrationKey, seq: u32, expires: u32) {
        let branch = self.random.next_u64();
        let cnonce = self.random.next_u64();
        let allow = self.allow();
        let Some(registration) = self.registrations.get_mut(&key) else { return };
        let settings = &registration.settings;
        let target = settings.registrar.as_str();
        let authorize = registration.digest.as_mut().map(|d| d.authorize("REGISTER", target, cnonce));
        let hop = settings.hop;
        let w = self.writer.request(Method::Register, target);
        write_via(w, &hop, branch);
        w.number("Max-Forwards", 70);
        for route in &settings.routes {
            w.header("Route", &format!("<{route}>"));
        }
        w.with("From", |out| {
            settings.record.write_address(out);
            out.extend_from_slice(b";tag=");
            out.extend_from_slice(&lex::hex16(registration.from_tag));
        });
        w.with("To", |out| settings.record.write_address(out));
        w.header("Call-ID", &registration.call_id);
        write_cseq(w, seq, Method::Register);
        w.header("Contact", &contact_on(&settings.contact_user, &hop));
        w.number("Expires", u64::from(expires));
        w.header("Allow", allow);
        for (name, value) in authorize.iter().flatten() {
            w.header(name, value);
        }
        if !self.settings.product.is_empty() {
            w.header("User-Agent", &self.settings.product);
        }
        let bytes: Arc<[u8]> = w.end().into();
        let owner = Owner::Register(key);
        if self.transactions.request(now, branch, Method::Register, hop, bytes, owner).is_err() {
            self.registration_silent(now, key);
        }
    }

    pub(super) fn registration_answered(&mut self, now: Instant, key: RegistrationKey, response: &Message) {
        let jitter = self.random.next_u64();
        let Some(registration) = self.registrations.get_mut(&key) else { return };
        // An answer to an earlier request says nothing about the present one.
        if response.cseq() != registration.seq {
            return;
        }
        let hop = registration.settings.hop;
        let contact = contact_on(&registration.settings.contact_user, &hop);
        let contact = contact.trim_matches(['<', '>']).parse::<Uri>();
        let Ok(contact) = contact else { return };
        let verdict = registration.answered(response, &contact, jitter);
        if verdict == Verdict::Again {
            let (seq, expires) = registration.next();
            self.send_register(now, key, seq, expires);
            return;
        }
        self.registration_verdict(now, key, verdict, response.status(), public_address(response));
    }

    pub(super) fn registration_silent(&mut self, now: Instant, key: RegistrationKey) {
        let jitter = self.random.next_u64();
        let Some(registration) = self.registrations.get_mut(&key) else { return };
        let verdict = registration.failed(None, jitter);
        self.registration_verdict(now, key, verdict, None, None);
    }

    fn registration_verdict(
        &mut self,
        now: Instant,
        key: RegistrationKey,
        verdict: Verdict,
        status: Option<u16>,
        public: Option<SocketAddr>,
    ) {
        match verdict {
            Verdict::Again => {}
            Verdict::Registered { expires } => {
                // Up to a fiftieth earlier, so that many lines do not refresh in one second.
                let early = Duration::from_millis(self.random.below(expires.as_millis() as u64 / 50 + 1));
                let after = refresh_after(expires).saturating_sub(early);
                self.set_registration_timer(key, Some(now + after.max(Duration::from_secs(1))));
                self.event(Event::Registered { registration: key, expires, public });
            }
            Verdict::Failed { retry } => {
                self.set_registration_timer(key, Some(now + retry));
                self.event(Event::RegistrationFailed { registration: key, status, retry_in: retry });
            }
            Verdict::Removed => {
                self.set_registration_timer(key, None);
                self.registrations.remove(&key);
                self.event(Event::Unregistered { registration: key });
            }
        }
    }
}

/// Our address as the peer saw it: `received` and `rport` of our Via, RFC 3581 §4.
fn public_address(response: &Message) -> Option<SocketAddr> {
    let via = response.top_via()?;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let port = via.param("rport").and_then(|p| lex::number(p, 65_535)).map(|p| p as u16);
    let ip = match via.param("received").and_then(text) {
        Some(received) => crate::uri::host_ip(received).or_else(|| received.parse().ok())?,
        None => crate::uri::host_ip(text(via.host)?)?,
    };
    Some(SocketAddr::new(ip, port.or(via.port)?))
}
