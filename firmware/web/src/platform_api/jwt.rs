//! JSON Web Tokens (RFC 7519) as the API takes them: RS256 and nothing else, signed by a key of
//! the configuration, for an hour at most.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::public_key::PublicKey;

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8_192;
/// Longest life of a token, in seconds.
pub const LIFE_S_MAX: i64 = 3_600;
/// How far the clock of a client may be off, in seconds.
pub const SKEW_S: i64 = 60;

/// Why a token is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwtFault {
    /// It is not three parts of base64url, or they are not the JSON that they should be.
    #[error("the token is not a JWT with alg, kid, iss, iat and exp")]
    Malformed,
    /// It is signed in another way, or not at all.
    #[error("the token must be signed with RS256")]
    Algorithm,
    /// It wants something understood that is not (`crit`, RFC 7515 §4.1.11).
    #[error("the token has a critical extension")]
    Critical,
    /// No key has that `kid`.
    #[error("no key has the kid of the token")]
    UnknownKey,
    /// The signature is not that key's.
    #[error("the signature of the token is wrong")]
    Signature,
    /// `iss` is not the account.
    #[error("iss of the token is not the account id")]
    Account,
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It begins in the future: one of the two clocks is wrong.
    #[error("the token begins in the future: compare the clocks")]
    Early,
    /// It lives longer than [`LIFE_S_MAX`].
    #[error("the token lives longer than 3600 seconds")]
    TooLong,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// The account: a number, also as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Issuer {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct Claims {
    iss: Issuer,
    iat: f64,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
}

/// A token that was read; whether its signature is good was not looked at.
#[derive(Debug)]
pub struct Jwt<'a> {
    /// Which key must have signed it.
    pub kid: String,
    signed: &'a str,
    signature: Vec<u8>,
    iss: Option<u64>,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
}

impl<'a> Jwt<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// `Malformed`, `Algorithm` and `Critical` of [`JwtFault`].
    pub fn read(token: &'a str) -> Result<Self, JwtFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtFault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtFault::Malformed)?;
        // The alphabet has no dot: a fourth part does not decode.
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtFault::Malformed);
        let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| JwtFault::Malformed)?;
        if header.alg != "RS256" {
            return Err(JwtFault::Algorithm);
        }
        if header.crit.is_some() {
            return Err(JwtFault::Critical);
        }
        let claims: Claims = serde_json::from_slice(&part(claims)?).map_err(|_| JwtFault::Malformed)?;
        let iss = match claims.iss {
            Issuer::Number(id) => Some(id),
            Issuer::Text(text) => text.parse().ok(),
        };
        Ok(Self {
            kid: header.kid,
            signed,
            signature: part(signature)?,
            iss,
            iat: seconds(claims.iat)?,
            exp: seconds(claims.exp)?,
            nbf: claims.nbf.map(seconds).transpose()?,
        })
    }

    /// Whether the token is good: signed with `key`, for this account, at this time in seconds
    /// since 1970.
    ///
    /// # Errors
    /// What is wrong with it, the signature first.
    pub fn verify(&self, key: &PublicKey, account: u64, now_s: i64) -> Result<(), JwtFault> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(JwtFault::Signature);
        }
        if self.iss != Some(account) {
            return Err(JwtFault::Account);
        }
        if self.exp > self.iat + LIFE_S_MAX {
            return Err(JwtFault::TooLong);
        }
        if self.exp + SKEW_S <= now_s {
            return Err(JwtFault::Expired);
        }
        if self.iat.max(self.nbf.unwrap_or(self.iat)) > now_s + SKEW_S {
            return Err(JwtFault::Early);
        }
        Ok(())
    }
}

/// A NumericDate, RFC 7519 §2, which may have a fraction.
fn seconds(date: f64) -> Result<i64, JwtFault> {
    if (0.0..=1e12).contains(&date) {
        // Within what was just looked at, nothing is lost but the fraction.
        Ok(date as i64)
    } else {
        Err(JwtFault::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, token};
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn judge(header: &str, claims: &str) -> Result<(), JwtFault> {
        let text = token(header, claims);
        let key = PublicKey::parse(fixtures::PUBLIC_PEM).unwrap();
        Jwt::read(&text)?.verify(&key, 7, NOW)
    }

    fn times(iat: i64, exp: i64) -> Result<(), JwtFault> {
        judge(r#"{"alg":"RS256","kid":"k"}"#, &format!(r#"{{"iss":7,"iat":{iat},"exp":{exp}}}"#))
    }

    #[test]
    fn a_token_is_good_within_its_hour_and_a_minute_of_skew() {
        for (iat, exp, verdict) in [
            (NOW - 5, NOW + 24, Ok(())),
            (NOW, NOW + 3_600, Ok(())),
            (NOW, NOW + 3_601, Err(JwtFault::TooLong)),
            (NOW + 60, NOW + 120, Ok(())),
            (NOW + 61, NOW + 120, Err(JwtFault::Early)),
            (NOW - 100, NOW - 59, Ok(())),
            (NOW - 100, NOW - 60, Err(JwtFault::Expired)),
        ] {
            assert_eq!(times(iat, exp), verdict, "{iat} {exp}");
        }
    }

    #[test]
    fn only_rs256_of_the_account_counts() {
        let claims = format!(r#"{{"iss":"7","iat":{NOW},"exp":{}.5}}"#, NOW + 10);
        let rs256 = r#"{"alg":"RS256","kid":"k"}"#;
        assert_eq!(judge(rs256, &claims), Ok(()));
        for (header, claims, fault) in [
            (r#"{"alg":"none","kid":"k"}"#, claims.as_str(), JwtFault::Algorithm),
            (r#"{"alg":"HS256","kid":"k"}"#, &claims, JwtFault::Algorithm),
            (r#"{"alg":"RS256"}"#, &claims, JwtFault::Malformed),
            (r#"{"alg":"RS256","alg":"none","kid":"k"}"#, &claims, JwtFault::Malformed),
            (r#"{"alg":"RS256","kid":"k","crit":["b64"]}"#, &claims, JwtFault::Critical),
            ("[]", &claims, JwtFault::Malformed),
            (rs256, "{}", JwtFault::Malformed),
            (rs256, r#"{"iss":8,"iat":1800000000,"exp":1800000010}"#, JwtFault::Account),
            (rs256, r#"{"iss":"x","iat":1800000000,"exp":1800000010}"#, JwtFault::Account),
            (rs256, r#"{"iss":7,"iat":-1,"exp":1800000010}"#, JwtFault::Malformed),
            (rs256, r#"{"iss":7,"iat":1800000000,"exp":1e300}"#, JwtFault::Malformed),
            (rs256, r#"{"iss":7,"iat":1800000000,"exp":1800000010,"nbf":1800000100}"#, JwtFault::Early),
        ] {
            assert_eq!(judge(header, claims), Err(fault), "{header} {claims}");
        }
    }

    #[test]
    fn a_token_with_any_other_byte_is_refused() {
        let text = token(r#"{"alg":"RS256","kid":"k"}"#, r#"{"iss":7,"iat":1800000000,"exp":1800000010}"#);
        let key = PublicKey::parse(fixtures::PUBLIC_PEM).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let verdict = Jwt::read(&changed).and_then(|jwt| jwt.verify(&key, 7, NOW));
            assert!(verdict.is_err(), "byte {at}");
        }
        for bad in ["", ".", "..", "a.b.c", &format!("{text}.x"), &text.replace('.', ""), &"x".repeat(9_000)]
        {
            assert!(Jwt::read(bad).is_err(), "{bad}");
        }
    }
}
