//! The location store of a registrar: RFC 3261 §10.3. Who may register is decided before.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::header::HeaderName;
use crate::hop::Hop;
use crate::message::Message;
use crate::name_addr::NameAddr;
use crate::uri::Uri;

/// Most contacts of one address of record.
pub const CONTACTS_MAX: usize = 8;
/// Most contacts in all.
pub const BINDINGS_MAX: usize = 256;

/// How long contacts live, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryLimits {
    /// Shorter is refused with 423; 60.
    pub min_s: u32,
    /// Longer is cut to this; 3600.
    pub max_s: u32,
    /// When the phone does not say; 3600.
    pub default_s: u32,
}

impl Default for ExpiryLimits {
    fn default() -> ExpiryLimits {
        ExpiryLimits { min_s: 60, max_s: 3600, default_s: 3600 }
    }
}

/// One registered contact.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The contact as registered: the request-URI of calls to the phone.
    pub contact: Uri,
    /// The way the registration came in, which is the way calls go out: it works through NAT
    /// and connections, where the contact's own address does not.
    pub hop: Hop,
    /// When it ends.
    pub expires_at: Instant,
    call_id: Box<[u8]>,
    cseq: u32,
}

impl Binding {
    /// The way to the telephone; see [`way_to`].
    #[must_use]
    pub fn way(&self) -> Hop {
        way_to(self.hop, &self.contact)
    }
}

/// The way to a telephone whose request came over `hop` and named `contact`: back where it
/// came from, which works through a router. One that names its own address is behind none, and
/// waits at the port it names.
#[must_use]
pub fn way_to(hop: Hop, contact: &Uri) -> Hop {
    const SIP_PORT: u16 = 5060;
    let names_itself = !hop.transport.is_reliable() && contact.ip() == Some(hop.remote.ip());
    let port = if names_itself { contact.port().unwrap_or(SIP_PORT) } else { hop.remote.port() };
    Hop { remote: SocketAddr::new(hop.remote.ip(), port), ..hop }
}

/// Why a REGISTER changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterRefusal {
    /// A malformed Contact, or `*` with anything else or without `Expires: 0`: 400.
    Contact,
    /// Shorter than the minimum: 423 with Min-Expires.
    TooBrief {
        /// The minimum in seconds.
        min_s: u32,
    },
    /// A CSeq not above the stored one of the same Call-ID: 500.
    OutOfOrder,
    /// [`CONTACTS_MAX`] or [`BINDINGS_MAX`] would be passed: 503.
    Full,
}

impl RegisterRefusal {
    /// The status to answer with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            RegisterRefusal::Contact => 400,
            RegisterRefusal::TooBrief { .. } => 423,
            RegisterRefusal::OutOfOrder => 500,
            RegisterRefusal::Full => 503,
        }
    }
}

impl fmt::Display for RegisterRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RegisterRefusal::Contact => "bad contact",
            RegisterRefusal::TooBrief { .. } => "interval too brief",
            RegisterRefusal::OutOfOrder => "out of order",
            RegisterRefusal::Full => "too many contacts",
        })
    }
}

impl std::error::Error for RegisterRefusal {}

/// Contacts by address of record. The caller chooses the key, such as the account's name.
#[derive(Debug, Default)]
pub struct Registrar {
    limits: ExpiryLimits,
    records: BTreeMap<String, Vec<Binding>>,
    count: usize,
    next: Option<Instant>,
}

impl Registrar {
    /// An empty store.
    #[must_use]
    pub fn new(limits: ExpiryLimits) -> Registrar {
        Registrar { limits, ..Registrar::default() }
    }

    /// Contacts stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when nobody is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The live contacts of an address of record, the latest registered last.
    pub fn contacts(&self, now: Instant, record: &str) -> impl Iterator<Item = &Binding> {
        self.records.get(record).into_iter().flatten().filter(move |b| b.expires_at > now)
    }

    /// Applies a REGISTER, all of it or nothing; without a Contact it is a question only.
    ///
    /// # Errors
    /// [`RegisterRefusal`], with the status to answer.
    pub fn register(
        &mut self,
        now: Instant,
        record: &str,
        request: &Message,
        hop: Hop,
    ) -> Result<(), RegisterRefusal> {
        self.expire(now);
        let header = request.number(HeaderName::Expires);
        if request.values(HeaderName::Contact).any(|v| v == b"*") {
            if header != Some(0) || request.values(HeaderName::Contact).count() != 1 {
                return Err(RegisterRefusal::Contact);
            }
            let list = self.records.get(record).map_or(&[][..], Vec::as_slice);
            if list.iter().any(|b| out_of_order(b, request)) {
                return Err(RegisterRefusal::OutOfOrder);
            }
            self.replace(record, Vec::new());
            return Ok(());
        }
        let mut list = self.records.get(record).cloned().unwrap_or_default();
        let mut changed = false;
        for value in request.values(HeaderName::Contact) {
            let contact = NameAddr::from_bytes(value).map_err(|_| RegisterRefusal::Contact)?;
            let seconds = match contact.param("expires") {
                // RFC 3261 §20.10: a malformed value is treated as 3600.
                Some(text) => text.parse().unwrap_or(self.limits.default_s),
                None => header.unwrap_or(self.limits.default_s),
            };
            if seconds > 0 && seconds < self.limits.min_s {
                return Err(RegisterRefusal::TooBrief { min_s: self.limits.min_s });
            }
            if let Some(at) = list.iter().position(|b| b.contact.equivalent(&contact.uri)) {
                if list.get(at).is_some_and(|b| out_of_order(b, request)) {
                    return Err(RegisterRefusal::OutOfOrder);
                }
                list.remove(at);
            }
            changed = true;
            if seconds > 0 {
                let life = Duration::from_secs(u64::from(seconds.min(self.limits.max_s)));
                list.push(Binding {
                    contact: contact.uri,
                    hop,
                    expires_at: now + life,
                    call_id: request.call_id().into(),
                    cseq: request.cseq(),
                });
            }
        }
        let before = self.records.get(record).map_or(0, Vec::len);
        if list.len() > CONTACTS_MAX || self.count - before + list.len() > BINDINGS_MAX {
            return Err(RegisterRefusal::Full);
        }
        if changed {
            self.replace(record, list);
        }
        Ok(())
    }

    fn replace(&mut self, record: &str, list: Vec<Binding>) {
        if list.is_empty() {
            self.records.remove(record);
        } else {
            self.records.insert(record.to_owned(), list);
        }
        self.recount();
    }

    fn recount(&mut self) {
        self.count = self.records.values().map(Vec::len).sum();
        self.next = self.records.values().flatten().map(|b| b.expires_at).min();
    }

    /// The Contact values of the 200 to a REGISTER, with the seconds left.
    #[must_use]
    pub fn contact_values(&self, now: Instant, record: &str) -> Vec<String> {
        self.contacts(now, record)
            .map(|b| {
                let left = b.expires_at.saturating_duration_since(now).as_secs_f64().ceil() as u64;
                format!("<{}>;expires={left}", b.contact)
            })
            .collect()
    }

    /// Takes out every contact over a connection that is gone; returns the records that have no
    /// contact left.
    pub fn remove_hop(&mut self, hop: &Hop) -> Vec<String> {
        self.retain(|b| {
            b.hop.socket != hop.socket || b.hop.transport != hop.transport || b.hop.remote != hop.remote
        })
    }

    /// When [`Registrar::expire`] is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Takes out what has expired; returns the records that have no contact left.
    pub fn expire(&mut self, now: Instant) -> Vec<String> {
        if self.next.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.retain(|b| b.expires_at > now)
    }

    fn retain(&mut self, keep: impl Fn(&Binding) -> bool) -> Vec<String> {
        let mut gone = Vec::new();
        self.records.retain(|record, list| {
            list.retain(&keep);
            if list.is_empty() {
                gone.push(record.clone());
            }
            !list.is_empty()
        });
        self.recount();
        gone
    }
}

fn out_of_order(binding: &Binding, request: &Message) -> bool {
    *binding.call_id == *request.call_id() && request.cseq() <= binding.cseq
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::Transport;

    fn start() -> Instant {
        // Tests need some instant; a pure crate has no other way to one.
        #[allow(clippy::disallowed_methods, reason = "an origin for virtual time")]
        Instant::now()
    }

    fn hop() -> Hop {
        Hop {
            transport: Transport::Udp,
            socket: 0,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.50:1234".parse().unwrap(),
        }
    }

    fn register(call_id: &str, cseq: u32, headers: &str) -> Message {
        Message::from_datagram(
            format!(
                "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=f\r\n\
                 To: <sip:a@h>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{headers}\r\n"
            )
            .as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn life_of_a_contact() {
        let now = start();
        let mut r = Registrar::new(ExpiryLimits::default());
        r.register(now, "a", &register("c", 1, "Contact: <sip:a@10.0.0.9>\r\nExpires: 60\r\n"), hop())
            .unwrap();
        assert_eq!(r.contact_values(now, "a"), ["<sip:a@10.0.0.9>;expires=60"]);
        assert_eq!(r.contacts(now, "a").next().unwrap().hop, hop());
        assert_eq!(r.poll_timeout(), Some(now + Duration::from_secs(60)));
        let later = now + Duration::from_secs(30);
        r.register(later, "a", &register("c", 2, "Contact: <sip:A@10.0.0.9>;expires=90\r\n"), hop()).unwrap();
        r.register(later, "a", &register("c", 3, "Contact: <sip:a@10.0.0.9>;expires=7200\r\n"), hop())
            .unwrap();
        assert_eq!(
            r.contact_values(later, "a"),
            ["<sip:A@10.0.0.9>;expires=90", "<sip:a@10.0.0.9>;expires=3600"]
        );
        assert!(r.expire(later + Duration::from_secs(90)).is_empty());
        assert_eq!(r.len(), 1);
        assert_eq!(r.expire(later + Duration::from_secs(3600)), ["a"]);
        assert!(r.is_empty() && r.poll_timeout().is_none());
    }

    #[test]
    fn refusals_change_nothing() {
        let now = start();
        let mut r = Registrar::new(ExpiryLimits::default());
        r.register(now, "a", &register("c", 5, "Contact: <sip:a@1.2.3.4>\r\n"), hop()).unwrap();
        let before = r.contact_values(now, "a");
        for (headers, cseq, want) in [
            (
                "Contact: <sip:b@1.2.3.4>, <sip:c@1.2.3.4>;expires=59\r\n",
                6,
                RegisterRefusal::TooBrief { min_s: 60 },
            ),
            ("Contact: <sip:b@1.2.3.4>, <nonsense\r\n", 6, RegisterRefusal::Contact),
            ("Contact: *\r\n", 6, RegisterRefusal::Contact),
            ("Contact: *\r\nExpires: 60\r\n", 6, RegisterRefusal::Contact),
            ("Contact: *, <sip:a@1.2.3.4>\r\nExpires: 0\r\n", 6, RegisterRefusal::Contact),
            ("Contact: *\r\nExpires: 0\r\n", 5, RegisterRefusal::OutOfOrder),
            ("Contact: <sip:a@1.2.3.4>;expires=0\r\n", 5, RegisterRefusal::OutOfOrder),
            ("Contact: <sip:a@1.2.3.4>\r\n", 4, RegisterRefusal::OutOfOrder),
        ] {
            assert_eq!(r.register(now, "a", &register("c", cseq, headers), hop()), Err(want), "{headers}");
            assert_eq!(r.contact_values(now, "a"), before, "{headers}");
        }
        r.register(now, "a", &register("c", 6, ""), hop()).unwrap();
        assert_eq!(r.contact_values(now, "a"), before, "a question");
        r.register(now, "a", &register("other", 1, "Contact: <sip:a@1.2.3.4>;expires=0\r\n"), hop()).unwrap();
        assert!(r.is_empty());
    }

    #[test]
    fn star_takes_all_and_connections_take_theirs() {
        let now = start();
        let mut r = Registrar::new(ExpiryLimits::default());
        r.register(now, "a", &register("c", 1, "Contact: <sip:a@1.2.3.4>, <sip:a@1.2.3.5>\r\n"), hop())
            .unwrap();
        r.register(now, "a", &register("c", 2, "Contact: *\r\nExpires: 0\r\n"), hop()).unwrap();
        assert!(r.is_empty());
        r.register(now, "a", &register("c", 3, "Contact: <sip:a@1.2.3.4>\r\n"), hop()).unwrap();
        assert_eq!(r.remove_hop(&Hop { socket: 9, ..hop() }), Vec::<String>::new());
        assert_eq!(r.remove_hop(&hop()), ["a"]);
    }

    #[test]
    fn bounded() {
        let now = start();
        let mut r = Registrar::new(ExpiryLimits::default());
        for n in 0..CONTACTS_MAX {
            let line = format!("Contact: <sip:a@1.2.3.{n}>\r\n");
            r.register(now, "a", &register("c", n as u32 + 1, &line), hop()).unwrap();
        }
        let one_more = register("c", 99, "Contact: <sip:a@1.2.3.99>\r\n");
        assert_eq!(r.register(now, "a", &one_more, hop()), Err(RegisterRefusal::Full));
        for n in CONTACTS_MAX..BINDINGS_MAX {
            r.register(now, &n.to_string(), &one_more, hop()).unwrap();
        }
        assert_eq!(r.register(now, "z", &one_more, hop()), Err(RegisterRefusal::Full));
        assert_eq!(r.len(), BINDINGS_MAX);
    }
}
