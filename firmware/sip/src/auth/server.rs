//! Challenging and checking (RFC 7616 §3.3 and §3.4).
//!
//! A nonce is `serial time mac`: the mac binds both to the source address under a secret, so
//! that nothing is stored for a challenge. It is kept to 22 characters, because a challenge must
//! not be much longer than the request that caused it. A record is kept only for a nonce that was used well,
//! with its highest `nc`: a replayed answer never passes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Algorithm, Exchange, digest_param, digest_params, ha1, hmac, same_secret};
use crate::lex;

/// How long a nonce is good.
const NONCE_LIFE: Duration = Duration::from_secs(60);
/// Most used nonces remembered; above it the oldest becomes stale.
const NONCES_MAX: usize = 4096;

/// What an account is checked against.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Password(String),
    /// `H(username:realm:password)` for each hash, see [`ha1`].
    Ha1 {
        /// For SHA-256.
        sha256: String,
        /// For MD5, when the account may use it.
        md5: Option<String>,
    },
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A request with an Authorization header, as far as it is hashed.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Where it came from.
    pub source: IpAddr,
    /// Its method as written.
    pub method: &'a [u8],
    /// Its request-URI as written.
    pub request_uri: &'a [u8],
    /// The value of the Authorization header.
    pub authorization: &'a [u8],
}

/// What an Authorization header is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The account's holder sent this request.
    Accepted,
    /// Right in form, but the nonce is too old or lost: challenge again with `stale=true`.
    Stale,
    /// Wrong password, unknown account, wrong realm, wrong request, a hash the account must not
    /// use, or a replay.
    Denied,
}

/// An Authorization header taken apart.
#[derive(Clone, Debug)]
struct Answer {
    username: String,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    qop: Option<(String, String)>,
}

/// Challenges requests and checks the answers.
#[derive(Debug)]
pub struct DigestServer {
    realm: String,
    secret: [u8; 32],
    origin: Instant,
    serial: u32,
    /// Highest nc by nonce serial.
    used: BTreeMap<u64, u32>,
    /// Serials below are stale.
    floor: u64,
}

impl DigestServer {
    /// A server for one realm. `secret` is random and lives as long as the process; `now` is the
    /// origin of nonce times.
    #[must_use]
    pub fn new(realm: &str, secret: [u8; 32], now: Instant) -> DigestServer {
        DigestServer {
            realm: realm.to_owned(),
            secret,
            origin: now,
            serial: 0,
            used: BTreeMap::new(),
            floor: 0,
        }
    }

    /// The realm.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Nonces remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.used.len()
    }

    /// The value of WWW-Authenticate. One challenge, not a choice: many phones give up on a
    /// response that names a hash they do not know, wherever it stands.
    pub fn challenge(&mut self, now: Instant, source: IpAddr, stale: bool, algorithm: Algorithm) -> String {
        let nonce = self.nonce(now, source);
        let mut out = b"Digest realm=".to_vec();
        lex::write_quoted(&mut out, &self.realm);
        out.extend_from_slice(b",nonce=");
        lex::write_quoted(&mut out, &nonce);
        out.extend_from_slice(b",algorithm=");
        out.extend_from_slice(algorithm.as_str().as_bytes());
        out.extend_from_slice(b",qop=\"auth\"");
        if stale {
            out.extend_from_slice(b",stale=true");
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    fn nonce(&mut self, now: Instant, source: IpAddr) -> String {
        self.serial = self.serial.wrapping_add(1);
        self.seal(u64::from(self.serial) << 32 | self.seconds(now), source)
    }

    /// Seconds since the origin, of which 32 bits last for a century.
    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs() & 0xffff_ffff
    }

    fn seal(&self, stamp: u64, source: IpAddr) -> String {
        let address = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mac = hmac(&self.secret, &[&stamp.to_be_bytes(), &address]);
        let mac = mac.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
        [lex::short11(stamp), lex::short11(mac)].iter().flatten().map(|digit| char::from(*digit)).collect()
    }

    /// The user name an Authorization header claims; `None` when it is not a Digest header of
    /// this realm.
    #[must_use]
    pub fn claimed(&self, authorization: &[u8]) -> Option<String> {
        let answer = read(authorization)?;
        (answer.realm == self.realm).then_some(answer.username)
    }

    /// Checks an Authorization header.
    ///
    /// `secret` is that of the account [`DigestServer::claimed`] named, or `None` when there is
    /// no such account: the work and the verdict are those of a wrong password. `md5` allows
    /// this account the weaker hash.
    pub fn verify(&mut self, now: Instant, claim: Claim<'_>, secret: Option<&Secret>, md5: bool) -> Verdict {
        let Claim { source, method, request_uri, authorization } = claim;
        let Some(answer) = read(authorization) else { return Verdict::Denied };
        if answer.realm != self.realm || !same_uri(answer.uri.as_bytes(), request_uri) {
            return Verdict::Denied;
        }
        let dummy = Secret::Password(String::new());
        let known = secret.is_some();
        let ha1 = match secret.unwrap_or(&dummy) {
            Secret::Password(password) => {
                Some(ha1(answer.algorithm, &answer.username, &self.realm, password))
            }
            Secret::Ha1 { sha256, md5 } => match answer.algorithm {
                Algorithm::Sha256 => Some(sha256.clone()),
                Algorithm::Md5 => md5.clone(),
            },
        };
        let expected = Exchange {
            algorithm: answer.algorithm,
            ha1: ha1.as_deref().unwrap_or(""),
            method,
            uri: answer.uri.as_bytes(),
            nonce: answer.nonce.as_bytes(),
            qop: answer.qop.as_ref().map(|(nc, cnonce)| (nc.as_bytes(), cnonce.as_bytes())),
        }
        .response();
        let right = same_secret(expected.as_bytes(), answer.response.to_ascii_lowercase().as_bytes());
        let allowed = md5 || answer.algorithm == Algorithm::Sha256;
        if !(right && known && ha1.is_some() && allowed) {
            return Verdict::Denied;
        }
        self.spend(now, source, &answer)
    }

    /// Checks the nonce of a right answer and marks it used.
    fn spend(&mut self, now: Instant, source: IpAddr, answer: &Answer) -> Verdict {
        let nonce = answer.nonce.as_bytes();
        let Some(stamp) = nonce.get(..11).and_then(lex::unshort11) else {
            return Verdict::Stale;
        };
        // A mac of another source or of an earlier start is a nonce that is no longer good.
        if !same_secret(self.seal(stamp, source).as_bytes(), nonce) {
            return Verdict::Stale;
        }
        let (serial, time) = (stamp >> 32, stamp & 0xffff_ffff);
        if self.seconds(now).saturating_sub(time) > NONCE_LIFE.as_secs() || serial < self.floor {
            return Verdict::Stale;
        }
        let count = match &answer.qop {
            Some((nc, _)) => match u32::from_str_radix(nc, 16) {
                Ok(count) if nc.len() == 8 && count > 0 => count,
                Ok(_) | Err(_) => return Verdict::Denied,
            },
            // Without qop nothing counts, so the nonce serves once.
            None => u32::MAX,
        };
        let last = self.used.get(&serial).copied().unwrap_or(0);
        if count <= last {
            return Verdict::Denied;
        }
        self.used.insert(serial, count);
        if self.used.len() > NONCES_MAX
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.floor = oldest + 1;
        }
        Verdict::Accepted
    }
}

fn read(authorization: &[u8]) -> Option<Answer> {
    let params = digest_params(authorization)?;
    let qop = match digest_param(params, "qop") {
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {
            Some((digest_param(params, "nc")?, digest_param(params, "cnonce")?))
        }
        Some(_) => return None,
        None => None,
    };
    let algorithm = match digest_param(params, "algorithm") {
        Some(name) => Algorithm::from_bytes(name.as_bytes())?,
        None => Algorithm::Md5,
    };
    Some(Answer {
        username: digest_param(params, "username")?,
        realm: digest_param(params, "realm")?,
        nonce: digest_param(params, "nonce")?,
        uri: digest_param(params, "uri")?,
        response: digest_param(params, "response")?,
        algorithm,
        qop,
    })
}

fn same_uri(claimed: &[u8], request_uri: &[u8]) -> bool {
    if claimed == request_uri {
        return true;
    }
    match (crate::Uri::from_bytes(claimed), crate::Uri::from_bytes(request_uri)) {
        (Ok(a), Ok(b)) => a.equivalent(&b),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Credentials, DigestClient};
    use super::*;
    use crate::message::Message;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn start() -> (DigestServer, Instant) {
        // Tests need some instant; a pure crate has no other way to one.
        #[allow(clippy::disallowed_methods, reason = "an origin for virtual time")]
        let now = Instant::now();
        (DigestServer::new("tipring", [7; 32], now), now)
    }

    fn answer(server: &mut DigestServer, now: Instant, md5: bool, password: &str, qop: bool) -> DigestClient {
        let algorithm = if md5 { Algorithm::Md5 } else { Algorithm::Sha256 };
        let mut value = server.challenge(now, SOURCE, false, algorithm);
        if !qop {
            value = value.replace(",qop=\"auth\"", "");
        }
        let lines = format!("WWW-Authenticate: {value}\r\n");
        let response = Message::from_datagram(
            format!(
                "SIP/2.0 401 No\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=f\r\n\
                 To: <sip:b@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{lines}\r\n"
            )
            .as_bytes(),
        )
        .unwrap();
        let mut client = DigestClient::new(Credentials {
            username: "alice".into(),
            password: password.into(),
            md5_only: md5,
        });
        client.challenged(&response).unwrap();
        client
    }

    fn claim<'a>(source: IpAddr, method: &'a str, uri: &'a str, value: &'a str) -> Claim<'a> {
        Claim {
            source,
            method: method.as_bytes(),
            request_uri: uri.as_bytes(),
            authorization: value.as_bytes(),
        }
    }

    fn check(server: &mut DigestServer, now: Instant, source: IpAddr, value: &str, md5: bool) -> Verdict {
        let secret = Secret::Password("secret".into());
        server.verify(now, claim(source, "REGISTER", "sip:h", value), Some(&secret), md5)
    }

    #[test]
    fn right_wrong_and_replayed() {
        let (mut server, now) = start();
        let mut client = answer(&mut server, now, false, "secret", true);
        let first = client.authorize("REGISTER", "sip:h", 1).remove(0).1;
        assert_eq!(server.claimed(first.as_bytes()).as_deref(), Some("alice"));
        assert_eq!(check(&mut server, now, SOURCE, &first, false), Verdict::Accepted);
        for _ in 0..1000 {
            assert_eq!(check(&mut server, now, SOURCE, &first, false), Verdict::Denied, "replay");
        }
        let third = {
            client.authorize("REGISTER", "sip:h", 2);
            client.authorize("REGISTER", "sip:h", 3).remove(0).1
        };
        assert!(third.contains("nc=00000003"));
        assert_eq!(check(&mut server, now, SOURCE, &third, false), Verdict::Accepted, "gaps are fine");
        for n in 4..20 {
            let value = client.authorize("REGISTER", "sip:h", n).remove(0).1;
            assert_eq!(check(&mut server, now, SOURCE, &value, false), Verdict::Accepted, "nc 0x{n:x}");
        }
        let wrong =
            answer(&mut server, now, false, "guess", true).authorize("REGISTER", "sip:h", 1).remove(0).1;
        assert_eq!(check(&mut server, now, SOURCE, &wrong, false), Verdict::Denied);
        assert_eq!(server.remembered(), 1);
    }

    #[test]
    fn bound_to_source_method_uri_and_time() {
        let (mut server, now) = start();
        let value =
            answer(&mut server, now, false, "secret", true).authorize("REGISTER", "sip:h", 1).remove(0).1;
        let other = "192.0.2.8".parse().unwrap();
        assert_eq!(check(&mut server, now, other, &value, false), Verdict::Stale);
        let secret = Secret::Password("secret".into());
        assert_eq!(
            server.verify(now, claim(SOURCE, "INVITE", "sip:h", &value), Some(&secret), false),
            Verdict::Denied
        );
        assert_eq!(
            server.verify(now, claim(SOURCE, "REGISTER", "sip:x", &value), Some(&secret), false),
            Verdict::Denied
        );
        assert_eq!(
            server.verify(now, claim(SOURCE, "REGISTER", "sip:h", &value), None, false),
            Verdict::Denied
        );
        assert_eq!(
            check(&mut server, now + NONCE_LIFE + Duration::from_secs(1), SOURCE, &value, false),
            Verdict::Stale
        );
        assert_eq!(check(&mut server, now + NONCE_LIFE, SOURCE, &value, false), Verdict::Accepted);
        let forged = value.replacen("nonce=\"0000", "nonce=\"1000", 1);
        assert_ne!(check(&mut server, now, SOURCE, &forged, false), Verdict::Accepted);
    }

    #[test]
    fn md5_only_where_allowed_and_ha1_instead_of_password() {
        let (mut server, now) = start();
        assert!(server.challenge(now, SOURCE, false, Algorithm::Md5).contains("algorithm=MD5"));
        assert!(server.challenge(now, SOURCE, true, Algorithm::Sha256).contains("stale=true"));
        let value =
            answer(&mut server, now, true, "secret", true).authorize("REGISTER", "sip:h", 1).remove(0).1;
        assert_eq!(check(&mut server, now, SOURCE, &value, false), Verdict::Denied);
        assert_eq!(check(&mut server, now, SOURCE, &value, true), Verdict::Accepted);
        let stored = Secret::Ha1 { sha256: ha1(Algorithm::Sha256, "alice", "tipring", "secret"), md5: None };
        let value =
            answer(&mut server, now, false, "secret", true).authorize("REGISTER", "sip:h", 1).remove(0).1;
        assert_eq!(
            server.verify(now, claim(SOURCE, "REGISTER", "sip:h", &value), Some(&stored), false),
            Verdict::Accepted
        );
        let value =
            answer(&mut server, now, true, "secret", true).authorize("REGISTER", "sip:h", 1).remove(0).1;
        assert_eq!(
            server.verify(now, claim(SOURCE, "REGISTER", "sip:h", &value), Some(&stored), true),
            Verdict::Denied
        );
    }

    #[test]
    fn without_qop_a_nonce_serves_once() {
        let (mut server, now) = start();
        let value =
            answer(&mut server, now, true, "secret", false).authorize("REGISTER", "sip:h", 1).remove(0).1;
        assert!(!value.contains("qop"));
        assert_eq!(check(&mut server, now, SOURCE, &value, true), Verdict::Accepted);
        assert_eq!(check(&mut server, now, SOURCE, &value, true), Verdict::Denied);
    }

    #[test]
    fn memory_is_bounded() {
        let (mut server, now) = start();
        let first = answer(&mut server, now, false, "secret", true);
        let mut early = first;
        let value = early.authorize("REGISTER", "sip:h", 1).remove(0).1;
        assert_eq!(check(&mut server, now, SOURCE, &value, false), Verdict::Accepted);
        for _ in 0..NONCES_MAX {
            let value =
                answer(&mut server, now, false, "secret", true).authorize("REGISTER", "sip:h", 1).remove(0).1;
            assert_eq!(check(&mut server, now, SOURCE, &value, false), Verdict::Accepted);
        }
        assert_eq!(server.remembered(), NONCES_MAX);
        assert_eq!(
            check(&mut server, now, SOURCE, &value, false),
            Verdict::Stale,
            "forgotten is stale, never replayed"
        );
    }

    #[test]
    fn malformed_is_denied() {
        let (mut server, now) = start();
        for value in [
            "",
            "Digest",
            "Digest ",
            "Basic eDp5",
            "Digest username=\"a\"",
            "Digest username=\"alice\",realm=\"tipring\",nonce=\"x\",uri=\"sip:h\",response=\"\",qop=auth-int",
        ] {
            assert_eq!(check(&mut server, now, SOURCE, value, true), Verdict::Denied, "{value}");
        }
    }
}
