//! Keys and tokens of the tests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

pub(super) const PRIVATE_PEM: &str = include_str!("fixtures/private.pem");
pub(super) const PUBLIC_PEM: &str = include_str!("fixtures/public.pem");
pub(super) const RSA_PUBLIC_PEM: &str = include_str!("fixtures/rsa_public.pem");
/// 1,024 bits.
pub(super) const SHORT_PEM: &str = include_str!("fixtures/short.pem");
/// P-256.
pub(super) const CURVE_PEM: &str = include_str!("fixtures/curve.pem");

/// A token, signed with the private key whatever its header says.
pub(super) fn token(header: &str, claims: &str) -> String {
    let text: String = PRIVATE_PEM.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
