//! Who may give commands: the account of the box, by an API key or by a token.

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::jwt::{Jwt, JwtFault};
use super::params::Params;
use super::public_key::PublicKey;

/// Keys of one box.
pub const KEYS_MAX: usize = 32;

/// The account that every command names.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Account {
    /// `account_id`
    pub id: u64,
    /// `account_name`
    pub name: String,
    /// `account_email`; may be empty.
    pub email: String,
}

/// What a client proves itself with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// It knows a text, `api_key`, of which the box knows the SHA-256.
    Text {
        /// Of the text.
        sha256: [u8; 32],
    },
    /// It signs tokens with the private half of a key.
    Signature {
        /// `kid` of its tokens.
        key_id: String,
        /// The public half.
        public_key: PublicKey,
    },
}

/// A key of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Name in logs.
    pub name: String,
    /// What it is.
    pub proof: Proof,
}

/// Why nobody is admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoginFault {
    /// Neither a token nor account and key.
    #[error(
        "authentication is needed: a Bearer token, or account_id, account_name or account_email with api_key"
    )]
    Missing,
    /// A password, which the box has none of.
    #[error("authentication by account_password is not available on this appliance; use api_key or a token")]
    Password,
    /// The header is there and says something else.
    #[error("authentication failed: Authorization must be `Bearer` and a token")]
    Scheme,
    /// The account or the key is wrong. Which of them is not said.
    #[error("authentication failed: unknown account or api_key")]
    Wrong,
    /// The token is refused.
    #[error("authentication failed: {0}")]
    Token(JwtFault),
}

/// The account and its keys.
#[derive(Clone, Default, Debug)]
pub struct Login {
    /// The account.
    pub account: Account,
    /// Its keys.
    pub keys: Vec<ApiKey>,
}

impl Login {
    /// The name of the key with which a request is made. A token counts before fields.
    ///
    /// # Errors
    /// See [`LoginFault`].
    pub fn admit(
        &self,
        authorization: Option<&[u8]>,
        params: &Params,
        now_s: i64,
    ) -> Result<&str, LoginFault> {
        if let Some(header) = authorization {
            let text = std::str::from_utf8(header).map_err(|_| LoginFault::Scheme)?;
            let (scheme, token) = text.trim().split_once(' ').ok_or(LoginFault::Scheme)?;
            if !scheme.eq_ignore_ascii_case("Bearer") {
                return Err(LoginFault::Scheme);
            }
            return self.by_token(token.trim(), now_s).map_err(LoginFault::Token);
        }
        self.by_key(params)
    }

    fn by_token(&self, token: &str, now_s: i64) -> Result<&str, JwtFault> {
        let jwt = Jwt::read(token)?;
        let key = self.keys.iter().find_map(|key| match &key.proof {
            Proof::Signature { key_id, public_key } if *key_id == jwt.kid => Some((&key.name, public_key)),
            Proof::Signature { .. } | Proof::Text { .. } => None,
        });
        let (name, public_key) = key.ok_or(JwtFault::UnknownKey)?;
        jwt.verify(public_key, self.account.id, now_s)?;
        Ok(name)
    }

    fn by_key(&self, params: &Params) -> Result<&str, LoginFault> {
        let id = params.get("account_id").map(|id| id.parse() == Ok(self.account.id));
        let name = params.get("account_name").map(|name| name == self.account.name);
        let email = params.get("account_email").map(|email| email.eq_ignore_ascii_case(&self.account.email));
        let named: Vec<bool> = [id, name, email].into_iter().flatten().collect();
        let Some(key) = params.get("api_key").filter(|_| !named.is_empty()) else {
            let has_password = params.get("account_password").is_some();
            return Err(if has_password { LoginFault::Password } else { LoginFault::Missing });
        };
        // Every key is looked at, and what is compared are hashes: how long it takes tells nothing.
        let given: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut found = None;
        for known in &self.keys {
            let Proof::Text { sha256 } = &known.proof else { continue };
            let is_it: Choice = sha256.ct_eq(&given);
            if bool::from(is_it) {
                found = Some(known.name.as_str());
            }
        }
        found.filter(|_| named.iter().all(|fits| *fits)).ok_or(LoginFault::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, token};
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn login() -> Login {
        let proof = Proof::Text { sha256: Sha256::digest(b"open sesame").into() };
        let public_key = PublicKey::parse(fixtures::PUBLIC_PEM).unwrap();
        let signature = Proof::Signature { key_id: "k1".to_owned(), public_key };
        let account = Account { id: 7, name: "office".to_owned(), email: "Box@office.example".to_owned() };
        let key = |name: &str, proof| ApiKey { name: name.to_owned(), proof };
        Login { account, keys: vec![key("crm", proof), key("client", signature)] }
    }

    fn by(authorization: Option<&str>, query: &str) -> Result<String, LoginFault> {
        let params = Params::parse(query.as_bytes(), b"").unwrap();
        login().admit(authorization.map(str::as_bytes), &params, NOW).map(str::to_owned)
    }

    #[test]
    fn an_account_is_named_in_any_way_and_proved_by_its_key() {
        for (query, verdict) in [
            ("account_id=7&api_key=open+sesame", Ok("crm")),
            ("account_name=office&api_key=open+sesame", Ok("crm")),
            ("account_email=box@OFFICE.example&api_key=open+sesame", Ok("crm")),
            ("account_id=7&account_name=other&api_key=open+sesame", Err(LoginFault::Wrong)),
            ("account_id=8&api_key=open+sesame", Err(LoginFault::Wrong)),
            ("account_id=7&api_key=open", Err(LoginFault::Wrong)),
            ("api_key=open+sesame", Err(LoginFault::Missing)),
            ("account_id=7", Err(LoginFault::Missing)),
            ("account_id=7&account_password=x", Err(LoginFault::Password)),
            ("", Err(LoginFault::Missing)),
        ] {
            assert_eq!(by(None, query).as_deref(), verdict.as_ref().copied(), "{query}");
        }
    }

    #[test]
    fn a_token_counts_before_fields() {
        let good = token(r#"{"alg":"RS256","kid":"k1"}"#, r#"{"iss":7,"iat":1800000000,"exp":1800000010}"#);
        assert_eq!(by(Some(&format!("Bearer {good}")), "").as_deref(), Ok("client"));
        assert_eq!(by(Some(&format!("bearer  {good} ")), "").as_deref(), Ok("client"));
        let stranger =
            token(r#"{"alg":"RS256","kid":"k2"}"#, r#"{"iss":7,"iat":1800000000,"exp":1800000010}"#);
        let fields = "account_id=7&api_key=open+sesame";
        for (header, fault) in [
            (format!("Bearer {stranger}"), LoginFault::Token(JwtFault::UnknownKey)),
            ("Bearer x".to_owned(), LoginFault::Token(JwtFault::Malformed)),
            (format!("Basic {good}"), LoginFault::Scheme),
            ("Bearer".to_owned(), LoginFault::Scheme),
            (String::new(), LoginFault::Scheme),
        ] {
            assert_eq!(by(Some(&header), fields), Err(fault), "{header}");
        }
    }

    #[test]
    fn every_refusal_names_authentication() {
        for fault in [LoginFault::Missing, LoginFault::Password, LoginFault::Scheme, LoginFault::Wrong] {
            assert!(fault.to_string().starts_with("authentication"), "{fault}");
        }
        assert!(LoginFault::Token(JwtFault::Expired).to_string().starts_with("authentication"));
    }

    /// The public half does not sign: a key of another kind cannot be passed off as a shared secret.
    #[test]
    fn a_public_key_is_no_secret() {
        let (header, claims) =
            (r#"{"alg":"HS256","kid":"k1"}"#, r#"{"iss":7,"iat":1800000000,"exp":1800000010}"#);
        let forged = token(header, claims);
        assert_eq!(by(Some(&format!("Bearer {forged}")), ""), Err(LoginFault::Token(JwtFault::Algorithm)));
    }
}
