//! Answering a server's digest challenge (RFC 3261 §22.2, RFC 8760 §2.4).

use std::fmt;

use super::{Algorithm, Exchange, digest_param, digest_params, ha1};
use crate::header::HeaderName;
use crate::lex;
use crate::message::Message;

/// User name and password of an account at a peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The authentication user name.
    pub username: String,
    /// The password.
    pub password: String,
    /// Accept only MD5 challenges, for a trunk that offers SHA-256 and cannot check it.
    pub md5_only: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No Digest challenge with a hash and `qop` this crate knows.
    NoUsableChallenge,
    /// The answer to this realm's challenge was refused: the password is wrong.
    Refused,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthError::NoUsableChallenge => "no usable challenge",
            AuthError::Refused => "credentials refused",
        })
    }
}

impl std::error::Error for AuthError {}

/// Most times one request is sent again for authentication: proxy, server, and a stale nonce at
/// each.
const ATTEMPTS_MAX: u8 = 4;

#[derive(Clone, Debug)]
struct Context {
    header: &'static str,
    algorithm: Algorithm,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    qop: bool,
    /// Times this nonce has been used.
    count: u32,
}

/// Remembers the challenges of one peer and answers them, in advance where possible.
#[derive(Clone, Debug)]
pub struct DigestClient {
    credentials: Credentials,
    server: Option<Context>,
    proxy: Option<Context>,
    attempts: u8,
}

impl DigestClient {
    /// A client that has not been challenged yet.
    #[must_use]
    pub fn new(credentials: Credentials) -> DigestClient {
        DigestClient { credentials, server: None, proxy: None, attempts: 0 }
    }

    /// Call when a request got an answer other than 401 and 407.
    pub fn settled(&mut self) {
        self.attempts = 0;
    }

    /// Takes the challenge of a 401 or 407. On `Ok` send the request again with
    /// [`DigestClient::authorize`].
    ///
    /// # Errors
    /// [`AuthError`]; sending again would only fail again.
    pub fn challenged(&mut self, response: &Message) -> Result<(), AuthError> {
        let proxy = response.status() == Some(407);
        let (asks, header) = if proxy {
            (HeaderName::ProxyAuthenticate, "Proxy-Authorization")
        } else {
            (HeaderName::WwwAuthenticate, "Authorization")
        };
        let mut best: Option<(Context, bool)> = None;
        for value in response.header_lines(asks) {
            let Some((context, stale)) = self.read(value, header) else { continue };
            if best.as_ref().is_none_or(|(b, _)| context.algorithm > b.algorithm) {
                best = Some((context, stale));
            }
        }
        let (context, stale) = best.ok_or(AuthError::NoUsableChallenge)?;
        let slot = if proxy { &mut self.proxy } else { &mut self.server };
        // A fresh nonce for the same realm without `stale` means that the password is wrong,
        // unless the old answer was made in advance and never judged for this request.
        let answered = slot.as_ref().is_some_and(|old| old.realm == context.realm && old.count > 0);
        let first_try = self.attempts == 0;
        if (answered && !stale && !first_try) || self.attempts >= ATTEMPTS_MAX {
            return Err(AuthError::Refused);
        }
        self.attempts += 1;
        *slot = Some(context);
        Ok(())
    }

    fn read(&self, value: &[u8], header: &'static str) -> Option<(Context, bool)> {
        let params = digest_params(value)?;
        let algorithm = match digest_param(params, "algorithm") {
            Some(name) => Algorithm::from_bytes(name.as_bytes())?,
            None => Algorithm::Md5,
        };
        if self.credentials.md5_only && algorithm != Algorithm::Md5 {
            return None;
        }
        let qop = match digest_param(params, "qop") {
            // `qop` present without `auth` asks for auth-int only.
            Some(list) if list.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
            None => false,
        };
        let stale = digest_param(params, "stale").is_some_and(|s| s.eq_ignore_ascii_case("true"));
        let context = Context {
            header,
            algorithm,
            realm: digest_param(params, "realm")?,
            nonce: digest_param(params, "nonce")?,
            opaque: digest_param(params, "opaque"),
            qop,
            count: 0,
        };
        Some((context, stale))
    }

    /// The Authorization and Proxy-Authorization headers of the next request; empty before the
    /// first challenge. `cnonce` is fresh randomness.
    pub fn authorize(&mut self, method: &str, uri: &str, cnonce: u64) -> Vec<(&'static str, String)> {
        let credentials = &self.credentials;
        [&mut self.proxy, &mut self.server]
            .into_iter()
            .flatten()
            .map(|context| (context.header, context.answer(credentials, method, uri, cnonce)))
            .collect()
    }
}

impl Context {
    fn answer(&mut self, who: &Credentials, method: &str, uri: &str, cnonce: u64) -> String {
        self.count += 1;
        let nc = format!("{:08x}", self.count);
        let cnonce = lex::hex(&cnonce.to_be_bytes());
        let ha1 = ha1(self.algorithm, &who.username, &self.realm, &who.password);
        let response = Exchange {
            algorithm: self.algorithm,
            ha1: &ha1,
            method: method.as_bytes(),
            uri: uri.as_bytes(),
            nonce: self.nonce.as_bytes(),
            qop: self.qop.then_some((nc.as_bytes(), cnonce.as_bytes())),
        }
        .response();
        let mut out = b"Digest username=".to_vec();
        let quoted = |out: &mut Vec<u8>, name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            lex::write_quoted(out, value);
        };
        quoted(&mut out, "", &who.username);
        quoted(&mut out, ",realm=", &self.realm);
        quoted(&mut out, ",nonce=", &self.nonce);
        quoted(&mut out, ",uri=", uri);
        quoted(&mut out, ",response=", &response);
        out.extend_from_slice(b",algorithm=");
        out.extend_from_slice(self.algorithm.as_str().as_bytes());
        if self.qop {
            quoted(&mut out, ",cnonce=", &cnonce);
            out.extend_from_slice(b",qop=auth,nc=");
            out.extend_from_slice(nc.as_bytes());
        }
        if let Some(opaque) = &self.opaque {
            quoted(&mut out, ",opaque=", opaque);
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(status: u16, headers: &str) -> Message {
        Message::from_datagram(
            format!(
                "SIP/2.0 {status} No\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=f\r\n\
                 To: <sip:b@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n"
            )
            .as_bytes(),
        )
        .unwrap()
    }

    fn client(md5_only: bool) -> DigestClient {
        DigestClient::new(Credentials { username: "u".into(), password: "p".into(), md5_only })
    }

    const BOTH: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", algorithm=MD5, qop=\"auth,auth-int\"\r\n\
        WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\", opaque=\"o\"\r\n";

    #[test]
    fn the_stronger_hash_is_chosen_unless_told_otherwise() {
        let mut c = client(false);
        c.challenged(&challenge(401, BOTH)).unwrap();
        let (name, value) = c.authorize("INVITE", "sip:b@h", 1).remove(0);
        assert_eq!(name, "Authorization");
        for part in ["algorithm=SHA-256", "nonce=\"n2\"", "opaque=\"o\"", "qop=auth", "nc=00000001"] {
            assert!(value.contains(part), "{part} in {value}");
        }
        assert!(c.authorize("BYE", "sip:b@h", 1).remove(0).1.contains("nc=00000002"));
        let mut c = client(true);
        c.challenged(&challenge(401, BOTH)).unwrap();
        assert!(c.authorize("INVITE", "sip:b@h", 1).remove(0).1.contains("algorithm=MD5"));
    }

    #[test]
    fn wrong_password_ends_stale_goes_on() {
        let again = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n3\"\r\n";
        let stale = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n4\", stale=TRUE\r\n";
        let mut c = client(false);
        c.challenged(&challenge(401, BOTH)).unwrap();
        c.authorize("INVITE", "sip:b@h", 1);
        assert_eq!(c.challenged(&challenge(401, again)), Err(AuthError::Refused));
        let mut c = client(false);
        c.challenged(&challenge(401, BOTH)).unwrap();
        c.authorize("INVITE", "sip:b@h", 1);
        c.challenged(&challenge(401, stale)).unwrap();
        let value = c.authorize("INVITE", "sip:b@h", 1).remove(0).1;
        assert!(value.contains("n4") && !value.contains("qop"));
        for _ in 0..8 {
            c.authorize("INVITE", "sip:b@h", 1);
            let _ = c.challenged(&challenge(401, stale));
        }
        assert_eq!(c.challenged(&challenge(401, stale)), Err(AuthError::Refused), "no endless loop");
        c.settled();
        assert_eq!(c.challenged(&challenge(401, again)), Ok(()), "a later request's old nonce");
    }

    #[test]
    fn proxy_and_server_are_answered_together() {
        let mut c = client(false);
        c.challenged(&challenge(407, "Proxy-Authenticate: Digest realm=\"p\", nonce=\"x\"\r\n")).unwrap();
        c.authorize("INVITE", "sip:b@h", 1);
        c.challenged(&challenge(401, BOTH)).unwrap();
        let names: Vec<_> = c.authorize("INVITE", "sip:b@h", 1).into_iter().map(|h| h.0).collect();
        assert_eq!(names, ["Proxy-Authorization", "Authorization"]);
    }

    #[test]
    fn unusable_challenges() {
        for headers in [
            "",
            "WWW-Authenticate: Basic realm=\"r\"\r\n",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD4\r\n",
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"\r\n",
            "WWW-Authenticate: Digest nonce=\"n\"\r\n",
            "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n",
        ] {
            assert_eq!(
                client(false).challenged(&challenge(401, headers)),
                Err(AuthError::NoUsableChallenge),
                "{headers}"
            );
        }
    }
}
