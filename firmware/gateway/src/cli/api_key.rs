//! `tipring api-key`: keys with which clients of the control API prove who they are.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Subcommand, ValueEnum};
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tipring_model::CallId;
use tipring_web::platform_api::login::Account;

use super::{BAD_FILE, CANNOT_WRITE, INTERNAL, OK, complain, complain_with, say};
use crate::config::{Config, FILE_BYTES_MAX, read_text, render};

/// Length of a key that signs, in bits.
const KEY_BITS: usize = 2_048;
/// Random bytes of a key that is a text.
const TEXT_BYTES: usize = 32;

/// What a client proves itself with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Kind {
    /// It signs tokens (JWT, RS256): what the vendor's own clients do with a key file.
    Token,
    /// It sends the key itself, as `api_key`.
    Text,
}

#[derive(Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Make a key: the client's half is written to a file, the box's half is printed for the
    /// configuration.
    Create {
        /// The configuration file, for the account.
        #[arg(long, default_value = "/data/tipring/config.toml")]
        config: PathBuf,
        /// Its name in the configuration and in logs.
        #[arg(long)]
        name: String,
        /// Whether the client signs tokens or sends the key.
        #[arg(long, value_enum, default_value_t = Kind::Token)]
        kind: Kind,
        /// The file for the client, which must not exist. It is the only copy of the secret.
        #[arg(long)]
        out: PathBuf,
    },
}

pub(super) fn run(command: &ApiKeyCommand) -> u8 {
    let ApiKeyCommand::Create { config: path, name, kind, out } = command;
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(faults) => {
            let text = read_text(path, FILE_BYTES_MAX).unwrap_or_default();
            complain(render("error", &path.display().to_string(), &text, &faults).trim_end());
            return BAD_FILE;
        }
    };
    let made = match kind {
        Kind::Token => token_key(&config.web.login.account, name),
        Kind::Text => text_key(&config.web.login.account, name),
    };
    let Some(Made { file, table }) = made else {
        complain("error: the system gives no randomness");
        return INTERNAL;
    };
    if let Err(error) = write(out, &file) {
        complain_with("TR-API-KEY-FILE", &format!("{}: {error}", out.display()));
        return CANNOT_WRITE;
    }
    complain(&format!("{} is for the client alone. Put this into {}:\n", out.display(), path.display()));
    say(table.trim_end());
    OK
}

/// Both halves of a key.
struct Made {
    /// The client's file.
    file: Value,
    /// The box's table.
    table: String,
}

fn token_key(account: &Account, name: &str) -> Option<Made> {
    let private = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS).ok()?;
    let private_pem = private.to_pkcs8_pem(LineEnding::LF).ok()?;
    let public_pem = private.to_public_key().to_public_key_pem(LineEnding::LF).ok()?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    let key_id = CallId::from_random(u128::from_ne_bytes(random)).to_string();
    let table = format!(
        "[[api_key]]\nname = {}\nkey_id = \"{key_id}\"\npublic_key = \"\"\"\n{public_pem}\"\"\"\n",
        quoted(name)
    );
    let file = json!({
        "account_id": account.id,
        "account_email": account.email,
        "key_id": key_id,
        "private_key": private_pem.as_str(),
    });
    Some(Made { file, table })
}

fn text_key(account: &Account, name: &str) -> Option<Made> {
    let mut random = [0; TEXT_BYTES];
    getrandom::fill(&mut random).ok()?;
    let key = URL_SAFE_NO_PAD.encode(random);
    let digits: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let table = format!("[[api_key]]\nname = {}\nsha256 = \"{digits}\"\n", quoted(name));
    let file = json!({ "account_id": account.id, "account_email": account.email, "api_key": key });
    Some(Made { file, table })
}

/// A text as TOML writes it: as JSON does, but for one character that no name needs.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('\u{7f}', "")).to_string()
}

/// Writes a file that is new and nobody else's.
fn write(path: &Path, file: &Value) -> io::Result<()> {
    let text = serde_json::to_string_pretty(file).map_err(io::Error::other)?;
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = new.write_all(format!("{text}\n").as_bytes()).and_then(|()| new.sync_all());
    if written.is_err() {
        // Half a key opens nothing.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tipring_web::platform_api::login::Proof;
    use tipring_web::platform_api::params::Params;
    use tipring_web::platform_api::public_key::PublicKey;

    use super::*;

    fn account() -> Account {
        Account { id: 7, name: "office".to_owned(), email: "box@office.example".to_owned() }
    }

    fn login(table: &str) -> tipring_web::platform_api::login::Login {
        let text = format!("schema = 1\n[account]\nid = 7\n{table}");
        Config::parse(&text, Path::new(".")).ok().unwrap().web.login
    }

    #[test]
    fn what_is_printed_admits_what_is_written() {
        let made = text_key(&account(), "the \"crm\"").unwrap();
        let login = login(&made.table);
        assert_eq!(login.keys[0].name, "the \"crm\"");
        let fields = format!("account_id=7&api_key={}", made.file["api_key"].as_str().unwrap());
        assert!(login.admit(None, &Params::parse(fields.as_bytes(), b"").unwrap(), 0).is_ok());
        assert!(!made.table.contains(made.file["api_key"].as_str().unwrap()));
    }

    #[test]
    fn a_key_that_signs_is_split_between_client_and_box() {
        use rsa::pkcs8::DecodePrivateKey as _;
        let made = token_key(&account(), "client").unwrap();
        let (id, email) = (&made.file["account_id"], &made.file["account_email"]);
        assert_eq!((id, email), (&json!(7), &json!("box@office.example")));
        let private = rsa::RsaPrivateKey::from_pkcs8_pem(made.file["private_key"].as_str().unwrap()).unwrap();
        let pem = private.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        let public_key = PublicKey::parse(&pem).unwrap();
        let key_id = made.file["key_id"].as_str().unwrap().to_owned();
        assert_eq!(login(&made.table).keys[0].proof, Proof::Signature { key_id, public_key });
        assert!(!made.table.contains("PRIVATE"));
    }

    #[test]
    fn no_file_is_written_over_and_it_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        write(&path, &json!({})).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write(&path, &json!({})).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
