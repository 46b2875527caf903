//! Digest authentication: RFC 2617, RFC 7616, RFC 8760.
//!
//! MD5 and SHA-256, `qop=auth` and none. Deliberately absent: `auth-int` and the `-sess`
//! variants, which nobody offers, and Basic.

mod client;
mod server;

pub use client::{AuthError, Credentials, DigestClient};
pub use server::{Claim, DigestServer, Secret, Verdict};

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::lex;

/// A hash of RFC 8760.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, for trunks and phones that know nothing better.
    Md5,
    /// `SHA-256`.
    Sha256,
}

impl Algorithm {
    /// As the `algorithm` parameter writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn from_bytes(name: &[u8]) -> Option<Algorithm> {
        if name.eq_ignore_ascii_case(b"MD5") {
            Some(Algorithm::Md5)
        } else if name.eq_ignore_ascii_case(b"SHA-256") {
            Some(Algorithm::Sha256)
        } else {
            None
        }
    }

    /// `H(a:b:c)` in hexadecimal.
    fn hash(self, parts: &[&[u8]]) -> String {
        fn feed<D: Digest>(mut hash: D, parts: &[&[u8]]) -> String {
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    hash.update(b":");
                }
                hash.update(part);
            }
            lex::hex(&hash.finalize())
        }
        match self {
            Algorithm::Md5 => feed(Md5::new(), parts),
            Algorithm::Sha256 => feed(Sha256::new(), parts),
        }
    }
}

/// `H(username:realm:password)` in hexadecimal: what a server can keep instead of the password.
#[must_use]
pub fn ha1(algorithm: Algorithm, username: &str, realm: &str, password: &str) -> String {
    algorithm.hash(&[username.as_bytes(), realm.as_bytes(), password.as_bytes()])
}

/// What both ends hash.
struct Exchange<'a> {
    algorithm: Algorithm,
    ha1: &'a str,
    method: &'a [u8],
    uri: &'a [u8],
    nonce: &'a [u8],
    /// nc and cnonce with `qop=auth`.
    qop: Option<(&'a [u8], &'a [u8])>,
}

impl Exchange<'_> {
    fn response(&self) -> String {
        let ha2 = self.algorithm.hash(&[self.method, self.uri]);
        let (ha1, ha2) = (self.ha1.as_bytes(), ha2.as_bytes());
        match self.qop {
            Some((nc, cnonce)) => self.algorithm.hash(&[ha1, self.nonce, nc, cnonce, b"auth", ha2]),
            None => self.algorithm.hash(&[ha1, self.nonce, ha2]),
        }
    }
}

/// The text after `Digest `, or `None` for another scheme.
fn digest_params(value: &[u8]) -> Option<&[u8]> {
    let value = lex::trim(value);
    let scheme = value.get(..7)?;
    (scheme.eq_ignore_ascii_case(b"Digest ") || scheme.eq_ignore_ascii_case(b"Digest\t")).then(|| &value[7..])
}

/// A parameter of a Digest header without its quotes.
fn digest_param(params: &[u8], name: &str) -> Option<String> {
    lex::split_outside(params, b',').find_map(|p| {
        let equals = p.iter().position(|&b| b == b'=')?;
        let found = lex::trim(&p[..equals]);
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| lex::unquote(lex::trim(&p[equals + 1..])))
    })
}

/// Compares without telling by its time where two texts differ.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    let mut difference = a.len() ^ b.len();
    for (i, &x) in a.iter().enumerate() {
        difference |= usize::from(x ^ b.get(i).copied().unwrap_or(!x));
    }
    std::hint::black_box(difference) == 0
}

/// HMAC-SHA-256, RFC 2104.
fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut inner = [0x36u8; 64];
    let mut outer = [0x5cu8; 64];
    for (i, &k) in key.iter().enumerate() {
        inner[i] ^= k;
        outer[i] ^= k;
    }
    let mut hash = Sha256::new();
    hash.update(inner);
    for part in parts {
        hash.update(part);
    }
    let first = hash.finalize();
    let mut hash = Sha256::new();
    hash.update(outer);
    hash.update(first);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2617 §3.5.
    #[test]
    fn rfc_2617_example() {
        let ha1 = ha1(Algorithm::Md5, "Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(ha1, "939e7578ed9e3c518a452acee763bce9");
        let exchange = Exchange {
            algorithm: Algorithm::Md5,
            ha1: &ha1,
            method: b"GET",
            uri: b"/dir/index.html",
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            qop: Some((b"00000001", b"0a4f113b")),
        };
        assert_eq!(exchange.response(), "6629fae49393a05397450978507c4ef1");
        let old = Exchange { qop: None, ..exchange };
        assert_eq!(old.response(), "670fd8c2df070c60b045671b8b24ff02");
    }

    /// RFC 7616 §3.9.1.
    #[test]
    fn rfc_7616_examples() {
        for (algorithm, want) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let ha1 = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life");
            let exchange = Exchange {
                algorithm,
                ha1: &ha1,
                method: b"GET",
                uri: b"/dir/index.html",
                nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                qop: Some((b"00000001", b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
            };
            assert_eq!(exchange.response(), want);
        }
    }

    /// RFC 4231 test case 2, the key padded as HMAC pads it.
    #[test]
    fn hmac_vector() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            lex::hex(&hmac(&key, &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn secrets_compare() {
        assert!(same_secret(b"abc", b"abc"));
        for (a, b) in [("abc", "abd"), ("abc", "ab"), ("", "a"), ("ab", "abc")] {
            assert!(!same_secret(a.as_bytes(), b.as_bytes()));
        }
    }
}
