//! The client side of REGISTER: RFC 3261 §10.2 as a machine without transactions.
//!
//! ```text
//!            +------------- refresh due ------------+
//!            v                                      |
//! Waiting -> Asking -- 200 --> Registered ----------+
//!    ^         |  401/407/423: asked again at once
//!    +---------+  anything else: after a pause that doubles, with jitter
//! ```
//! The user agent sends what [`Registration::wants_to_send`] allows and reports the answers.

use std::time::{Duration, Instant};

use crate::auth::{Credentials, DigestClient};
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::message::Message;
use crate::name_addr::NameAddr;
use crate::uri::Uri;

/// Longest first pause after a failure: what lost the registrar together comes back spread over
/// a minute.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// Shortest pause.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// Most times a 423 may raise the interval in a row.
const TOO_BRIEF_MAX: u8 = 2;

/// What to register and where.
#[derive(Clone, Debug)]
pub struct RegisterSettings {
    /// The way to the registrar, resolved by the shell.
    pub hop: Hop,
    /// The request-URI: the registrar's domain, without a user.
    pub registrar: Uri,
    /// The address of record, as From and To carry it.
    pub record: NameAddr,
    /// The user part of the Contact, by which incoming calls are told apart.
    pub contact_user: String,
    /// Wanted lifetime in seconds.
    pub expires_s: u32,
    /// User name and password.
    pub credentials: Option<Credentials>,
    /// Routes to an outbound proxy, usually none.
    pub routes: Vec<Uri>,
}

/// What an answer to a REGISTER meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send again now.
    Again,
    Registered {
        expires: Duration,
    },
    Removed,
    Failed {
        retry: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Until the timer.
    Waiting,
    Asking,
    Registered,
    /// The last REGISTER with Expires 0 is under way.
    Removing,
}

#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) settings: RegisterSettings,
    pub(crate) call_id: String,
    pub(crate) from_tag: u64,
    pub(crate) digest: Option<DigestClient>,
    pub(crate) timer_at: Option<Instant>,
    pub(crate) seq: u32,
    state: State,
    expires_s: u32,
    failures: u32,
    raised: u8,
    registered: bool,
}

impl Registration {
    pub(crate) fn new(settings: RegisterSettings, call_id: String, from_tag: u64) -> Registration {
        let digest = settings.credentials.clone().map(DigestClient::new);
        Registration {
            expires_s: settings.expires_s.max(1),
            settings,
            call_id,
            from_tag,
            digest,
            timer_at: None,
            seq: 0,
            state: State::Waiting,
            failures: 0,
            raised: 0,
            registered: false,
        }
    }

    /// Notes that a REGISTER goes out; returns its CSeq and Expires. `None` while one is out.
    pub(crate) fn ask(&mut self) -> Option<(u32, u32)> {
        match self.state {
            State::Asking => return None,
            State::Waiting | State::Registered => self.state = State::Asking,
            State::Removing => {}
        }
        Some(self.next())
    }

    /// The CSeq and Expires of a REGISTER sent again after [`Verdict::Again`].
    pub(crate) fn next(&mut self) -> (u32, u32) {
        self.seq += 1;
        (self.seq, if self.state == State::Removing { 0 } else { self.expires_s })
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.registered
    }

    pub(crate) fn remove(&mut self) {
        self.state = State::Removing;
    }

    pub(crate) fn is_removing(&self) -> bool {
        self.state == State::Removing
    }

    /// Takes a final answer.
    pub(crate) fn answered(&mut self, response: &Message, contact: &Uri, jitter: u64) -> Verdict {
        let status = response.status().unwrap_or(500);
        match status {
            200..=299 => {
                if let Some(digest) = &mut self.digest {
                    digest.settled();
                }
                self.failures = 0;
                self.raised = 0;
                if self.state == State::Removing {
                    return Verdict::Removed;
                }
                let granted = granted(response, contact).unwrap_or(self.expires_s);
                if granted == 0 {
                    return self.failed(None, jitter);
                }
                self.state = State::Registered;
                self.registered = true;
                Verdict::Registered { expires: Duration::from_secs(u64::from(granted)) }
            }
            401 | 407 => {
                if let Some(digest) = &mut self.digest
                    && digest.challenged(response).is_ok()
                {
                    return Verdict::Again;
                }
                // A wrong password does not become right: the longest pause at once, so that
                // the registrar does not lock the account.
                self.failures = u32::MAX;
                self.failed(None, jitter)
            }
            423 if self.state != State::Removing && self.raised < TOO_BRIEF_MAX => {
                match response.number(HeaderName::MinExpires) {
                    Some(min) if min > self.expires_s => {
                        self.expires_s = min;
                        self.raised += 1;
                        Verdict::Again
                    }
                    Some(_) | None => self.failed(None, jitter),
                }
            }
            403 | 404 => {
                self.failures = u32::MAX;
                self.failed(retry_after(response), jitter)
            }
            _ => self.failed(retry_after(response), jitter),
        }
    }

    /// No answer came, or the answer was a refusal: when to ask again.
    pub(crate) fn failed(&mut self, wanted: Option<Duration>, jitter: u64) -> Verdict {
        if self.state == State::Removing {
            return Verdict::Removed;
        }
        if let Some(digest) = &mut self.digest {
            digest.settled();
        }
        self.state = State::Waiting;
        self.registered = false;
        let hopeless = self.failures == u32::MAX;
        let doubling = self.failures.min(10);
        self.failures = self.failures.saturating_add(1);
        let longest = (RETRY_FIRST * (1 << doubling)).min(RETRY_MAX);
        // Full jitter; a refusal that will not change keeps at least half the pause.
        let shortest = if hopeless { longest / 2 } else { RETRY_MIN };
        let pause = shortest + (longest - shortest).mul_f64((jitter % 1024) as f64 / 1023.0);
        Verdict::Failed { retry: wanted.map_or(pause, |w| w.min(Duration::from_secs(3600))) }
    }
}

/// When to refresh: after nine tenths, or five seconds before the end, whichever is earlier;
/// never under one second.
pub(crate) fn refresh_after(expires: Duration) -> Duration {
    expires.mul_f64(0.9).min(expires.saturating_sub(Duration::from_secs(5))).max(Duration::from_secs(1))
}

fn retry_after(response: &Message) -> Option<Duration> {
    response.number(HeaderName::RetryAfter).map(|s| Duration::from_secs(u64::from(s)))
}

/// The lifetime of our own contact in a 200: its `expires`, or the Expires header.
fn granted(response: &Message, contact: &Uri) -> Option<u32> {
    let mut ours = None;
    let mut count = 0;
    let mut only = None;
    for address in response.addresses(HeaderName::Contact) {
        let expires = address.param("expires").and_then(|e| e.parse().ok());
        count += 1;
        only = expires;
        if address.uri.equivalent(contact) {
            ours = expires;
        }
    }
    // Some registrars rewrite the contact; a single one can only be ours.
    ours.or(if count == 1 { only } else { None }).or(response.number(HeaderName::Expires))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::Transport;

    fn registration() -> Registration {
        let settings = RegisterSettings {
            hop: Hop {
                transport: Transport::Udp,
                socket: 0,
                local: "192.0.2.1:5060".parse().unwrap(),
                remote: "192.0.2.2:5060".parse().unwrap(),
            },
            registrar: "sip:h".parse().unwrap(),
            record: NameAddr::new("", "sip:a@h".parse().unwrap()),
            contact_user: "a".into(),
            expires_s: 300,
            credentials: Some(Credentials { username: "a".into(), password: "p".into(), md5_only: false }),
            routes: Vec::new(),
        };
        Registration::new(settings, "c".into(), 1)
    }

    fn answer(status: u16, headers: &str) -> Message {
        Message::from_datagram(
            format!(
                "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=f\r\n\
                 To: <sip:a@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{headers}\r\n"
            )
            .as_bytes(),
        )
        .unwrap()
    }

    fn contact() -> Uri {
        "sip:a@192.0.2.1:5060".parse().unwrap()
    }

    #[test]
    fn refresh_times() {
        for (expires, want) in [(3600, 3240.0), (60, 54.0), (50, 45.0), (30, 25.0), (6, 1.0), (2, 1.0)] {
            assert_eq!(refresh_after(Duration::from_secs(expires)).as_secs_f64(), want);
        }
    }

    #[test]
    fn granted_lifetimes() {
        for (headers, want) in [
            ("Contact: <sip:x@h>;expires=10, <sip:a@192.0.2.1:5060>;expires=120\r\n", 120),
            ("Contact: <sip:rewritten@h>;expires=77\r\nExpires: 20\r\n", 77),
            ("Expires: 20\r\n", 20),
            ("", 300),
        ] {
            let mut r = registration();
            assert_eq!(r.ask(), Some((1, 300)));
            assert_eq!(r.ask(), None, "one at a time");
            let verdict = r.answered(&answer(200, headers), &contact(), 0);
            assert_eq!(verdict, Verdict::Registered { expires: Duration::from_secs(want) });
        }
    }

    #[test]
    fn too_brief_raises_the_interval_but_not_for_ever() {
        let mut r = registration();
        r.ask();
        for (min, want) in [(600, Some(600)), (900, Some(900)), (1200, None)] {
            let verdict = r.answered(&answer(423, &format!("Min-Expires: {min}\r\n")), &contact(), 0);
            match want {
                Some(expires) => {
                    assert_eq!(verdict, Verdict::Again);
                    assert_eq!(r.next().1, expires);
                }
                None => assert!(matches!(verdict, Verdict::Failed { .. })),
            }
        }
    }

    #[test]
    fn pauses_double_with_jitter_and_a_wrong_password_waits_longest() {
        let mut r = registration();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            r.ask();
            let Verdict::Failed { retry } = r.failed(None, 1023) else { panic!("failed") };
            pauses.push(retry.as_secs());
        }
        assert_eq!(pauses, [60, 120, 240, 480, 600, 600, 600, 600, 600]);
        let Verdict::Failed { retry } = r.failed(None, 0) else { panic!("failed") };
        assert_eq!(retry, RETRY_MIN, "full jitter");
        let mut r = registration();
        r.ask();
        let challenge = answer(401, "WWW-Authenticate: Digest realm=\"r\",nonce=\"n\"\r\n");
        assert_eq!(r.answered(&challenge, &contact(), 0), Verdict::Again);
        r.digest.as_mut().unwrap().authorize("REGISTER", "sip:h", 1);
        assert_eq!(r.answered(&challenge, &contact(), 1023), Verdict::Failed { retry: RETRY_MAX });
        let mut r = registration();
        r.ask();
        assert_eq!(
            r.answered(&answer(503, "Retry-After: 17 (maintenance)\r\n"), &contact(), 0),
            Verdict::Failed { retry: Duration::from_secs(17) }
        );
    }
}
