//! Signatures of the Standard Webhooks specification: HMAC-SHA256 over id, time and body,
//! one for each secret, so that a receiver can be moved from one secret to the next.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, decoded.
const BYTES: core::ops::RangeInclusive<usize> = 24..=64;

/// A secret that box and receiver share. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a text is no secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a secret is whsec_ and 24 to 64 bytes in base64")]
pub struct SecretError;

impl Secret {
    /// Reads a secret as it is written in settings.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let coded = text.strip_prefix(PREFIX).ok_or(SecretError)?;
        let bytes = BASE64.decode(coded).map_err(|_| SecretError)?;
        if BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError) }
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// The value of `webhook-signature` for a webhook sent at `unix_s`: a signature by each
/// secret, in their order. Empty without secrets.
#[must_use]
pub fn signature(secrets: &[Secret], id: &str, unix_s: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|Secret(key)| Hmac::<Sha256>::new_from_slice(key).ok())
        .map(|mut mac| {
            mac.update(format!("{id}.{unix_s}.").as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
        })
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the specification's reference libraries.
    #[test]
    fn the_published_example_comes_out() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let sign =
            |secrets: &[Secret]| signature(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&secret)), expected);
        let other = Secret::parse(&format!("whsec_{}", BASE64.encode([7; 24]))).unwrap();
        let both = sign(&[other, secret]);
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(&format!(" {expected}")));
        assert_eq!(sign(&[]), "");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_shows_itself() {
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(vec![7; bytes]));
        for text in ["", "whsec_", "secret", "whsec_not base64", &of(23), &of(65), &of(24)[6..]] {
            assert_eq!(Secret::parse(text), Err(SecretError), "{text}");
        }
        assert_eq!(format!("{:?}", Secret::parse(&of(64)).unwrap()), "Secret(...)");
    }
}
