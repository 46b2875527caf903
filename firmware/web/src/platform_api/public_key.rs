//! The public half of an RSA key, as a configuration holds it: PEM, either `PUBLIC KEY`
//! (RFC 5280 SubjectPublicKeyInfo) or `RSA PUBLIC KEY` (RFC 8017 RSAPublicKey).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

/// Longest PEM text, in bytes.
pub const PEM_BYTES_MAX: usize = 4_096;
/// Shortest and longest modulus, in bits.
pub const BITS: (usize, usize) = (2_048, 8_192);

/// `rsaEncryption` with its absent parameters, RFC 3279 §2.3.1.
const RSA_ENCRYPTION: [u8; 13] =
    [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Why a text is no public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFault {
    /// It has no `BEGIN PUBLIC KEY`, or no end, or what is between is no base64.
    #[error("this is no public key in PEM")]
    NotPem,
    /// It holds something else, such as a private key or a key on a curve.
    #[error("this is no RSA public key")]
    NotRsa,
    /// Its modulus is shorter or longer than [`BITS`].
    #[error("an RSA key of {bits} bits; from 2048 to 8192 are needed")]
    Size {
        /// What it has.
        bits: usize,
    },
}

/// An RSA public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// RSAPublicKey in DER.
    der: Vec<u8>,
}

impl PublicKey {
    /// Reads a PEM text.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn parse(pem: &str) -> Result<Self, KeyFault> {
        if pem.len() > PEM_BYTES_MAX {
            return Err(KeyFault::NotPem);
        }
        if let Some(der) = between(pem, "PUBLIC KEY")? {
            return Self::from_info(&der);
        }
        let der = between(pem, "RSA PUBLIC KEY")?.ok_or(KeyFault::NotPem)?;
        Self::from_key(&der)
    }

    fn from_info(der: &[u8]) -> Result<Self, KeyFault> {
        let info = only(der, SEQUENCE).ok_or(KeyFault::NotRsa)?;
        let (algorithm, rest) = element(info, SEQUENCE).ok_or(KeyFault::NotRsa)?;
        let bits = only(rest, BIT_STRING).ok_or(KeyFault::NotRsa)?;
        match bits.split_first() {
            Some((0, key)) if algorithm == RSA_ENCRYPTION => Self::from_key(key),
            Some(_) | None => Err(KeyFault::NotRsa),
        }
    }

    fn from_key(der: &[u8]) -> Result<Self, KeyFault> {
        let key = only(der, SEQUENCE).ok_or(KeyFault::NotRsa)?;
        let (modulus, rest) = element(key, INTEGER).ok_or(KeyFault::NotRsa)?;
        let exponent = only(rest, INTEGER).ok_or(KeyFault::NotRsa)?;
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        if exponent.is_empty() || modulus.is_empty() {
            return Err(KeyFault::NotRsa);
        }
        let zeros = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let bits = modulus.len() * 8 - zeros;
        if bits < BITS.0 || bits > BITS.1 {
            return Err(KeyFault::Size { bits });
        }
        Ok(Self { der: der.to_vec() })
    }

    /// Whether `signature` is that of this key's owner over `signed` (RSASSA-PKCS1-v1_5 with
    /// SHA-256, RFC 8017 §8.2).
    #[must_use]
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.der).verify(signed, signature).is_ok()
    }
}

/// What stands between the lines of that name; nothing if there is no such beginning.
fn between(pem: &str, label: &str) -> Result<Option<Vec<u8>>, KeyFault> {
    let Some((_, rest)) = pem.split_once(&format!("-----BEGIN {label}-----")) else { return Ok(None) };
    let (text, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(KeyFault::NotPem)?;
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(text).map(Some).map_err(|_| KeyFault::NotPem)
}

/// The contents of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    if *found != tag {
        return None;
    }
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// As [`element`], with nothing behind it.
fn only(der: &[u8], tag: u8) -> Option<&[u8]> {
    element(der, tag).filter(|(_, rest)| rest.is_empty()).map(|(contents, _)| contents)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;

    #[test]
    fn both_kinds_of_pem_are_read_as_the_same_key() {
        let key = PublicKey::parse(fixtures::PUBLIC_PEM).unwrap();
        assert_eq!(PublicKey::parse(fixtures::RSA_PUBLIC_PEM).unwrap(), key);
        let spaced = format!("a note\n{}\r\n", fixtures::PUBLIC_PEM.replace('\n', "\r\n"));
        assert_eq!(PublicKey::parse(&spaced).unwrap(), key);
    }

    #[test]
    fn what_is_no_rsa_public_key_is_refused() {
        for (pem, fault) in [
            ("", KeyFault::NotPem),
            (fixtures::PRIVATE_PEM, KeyFault::NotPem),
            ("-----BEGIN PUBLIC KEY-----\nAAAA", KeyFault::NotPem),
            ("-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----", KeyFault::NotPem),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", KeyFault::NotRsa),
            (fixtures::CURVE_PEM, KeyFault::NotRsa),
            (fixtures::SHORT_PEM, KeyFault::Size { bits: 1_024 }),
        ] {
            assert_eq!(PublicKey::parse(pem), Err(fault), "{pem}");
        }
        // Cut anywhere, it is refused.
        let der = between(fixtures::PUBLIC_PEM, "PUBLIC KEY").unwrap().unwrap();
        for length in 0..der.len() {
            assert!(PublicKey::from_info(&der[..length]).is_err(), "{length} bytes");
        }
    }
}
