//! The signature that a server can check a request by.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The address as it is signed: without user, password and fragment, which its receiver
/// cannot see.
fn visible(url: &str) -> String {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{tail}")
}

/// The signature of a request to `url`; `form` are the fields of its body, empty for a GET and
/// for a body that is no form.
pub(super) fn signature(token: &str, url: &str, form: &[(String, String)]) -> String {
    let mut data = visible(url);
    let mut fields: Vec<&(String, String)> = form.iter().collect();
    fields.sort();
    fields.dedup();
    for (name, value) in fields {
        data.push_str(name);
        data.push_str(value);
    }
    // A key of any length will do for an HMAC.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else { return String::new() };
    mac.update(data.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// What the query of a request says about a body that is no form.
pub(super) fn body_digest(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 hexadecimal digits that are the same for the same words: the names of things that the box
/// has no other name for.
pub(super) fn name_of(words: &[&str]) -> String {
    let mut hash = Sha1::new();
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "lab-token-0001";

    #[test]
    fn the_vectors_of_the_rules() {
        let form: Vec<(String, String)> = [
            ("CallSid", "CA00000000000000000000000000000001"),
            ("From", "+15550100"),
            ("To", "+15550199"),
            ("Digits", "12#"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let post = "https://app.test:8443/voice?x=1";
        assert_eq!(signature(TOKEN, post, &form), "STfAqU0KYYJuYC3ucMO6NsMJRPY=");
        let get = "https://app.test/voice?Digits=1&From=%2B15550100";
        assert_eq!(signature(TOKEN, get, &[]), "zoUtBn4pgaBTv1rN4RlxiKflPJU=");
        let digest = body_digest(b"{\"a\":1}");
        assert_eq!(digest, "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862");
        let json = format!("https://app.test/voice?bodySHA256={digest}");
        assert_eq!(signature(TOKEN, &json, &[]), "skciOOGUY5oDsSI13jZa6S6SzoE=");
    }

    #[test]
    fn what_the_receiver_cannot_see_is_not_signed() {
        let seen = signature(TOKEN, "https://app.test/a?b=1", &[]);
        assert_eq!(signature(TOKEN, "https://u:p@app.test/a?b=1#ct=1", &[]), seen);
        assert_eq!(visible("https://app.test?x=a@b"), "https://app.test?x=a@b");
    }

    #[test]
    fn a_repeated_name_counts_once_a_value() {
        let twice = [("a".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())];
        let thrice = [twice[1].clone(), twice[0].clone(), twice[1].clone()];
        assert_eq!(signature(TOKEN, "http://a/", &twice), signature(TOKEN, "http://a/", &thrice));
    }
}
