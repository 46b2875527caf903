//! `[web]`, `[account]` and `[[api_key]]`: who listens for HTTP, and who may give commands there.

use std::collections::HashSet;
use std::net::SocketAddr;

use tipring_web::platform_api::login::{Account, ApiKey, KEYS_MAX, Login, Proof};
use tipring_web::platform_api::public_key::PublicKey;
use toml_edit::Table;

use super::fields::{ACCOUNT_FIELDS, API_KEY_FIELDS, WEB_FIELDS};
use super::mail::is_mail_address;
use super::read::{Group, Reader};

/// `[web]`, with whom it lets in.
#[derive(Clone, Debug)]
pub(crate) struct Web {
    /// Address for HTTP.
    pub http: Option<SocketAddr>,
    /// Address for HTTPS.
    pub https: Option<SocketAddr>,
    /// Name by which clients reach the box, where they have not said it themselves.
    pub host: Option<String>,
    /// Whether recordings are served.
    pub serves_recordings: bool,
    /// The account and its keys.
    pub login: Login,
}

impl Reader<'_> {
    pub(super) fn web(&mut self, root: &Table, box_name: &str) -> Option<Web> {
        let group = self.group(root, "web", WEB_FIELDS);
        let http = self.listen_address(&group, "http", "off");
        let https = self.listen_address(&group, "https", "off");
        if let (Some(Some(http)), Some(Some(https))) = (http, https)
            && http == https
            && http.port() != 0
        {
            let what = "`http` and `https` need a port each".to_owned();
            self.value_fault(&group, "https", "TR-CFG-CONFLICT", what, None);
        }
        let host = group.raw.text("host").map(str::to_owned);
        if host.as_deref().is_some_and(|host| !is_host(host)) {
            let help =
                Some("write a name or an address without port, such as \"box.office.example\"".to_owned());
            self.value_fault(
                &group,
                "host",
                "TR-CFG-MALFORMED",
                "this is no name of a host".to_owned(),
                help,
            );
        }
        let login = Login { account: self.account(root, box_name), keys: self.api_keys(root) };
        let (http, https) = (http?, https?);
        let own = root.get("box").and_then(|item| item.as_table());
        let is_elsewhere = own.is_some_and(|own| own.contains_key("recordings_url"));
        let listens = http.is_some() || https.is_some();
        let wanted = group.raw.toggle("recordings").unwrap_or(true);
        Some(Web { http, https, host, serves_recordings: wanted && listens && !is_elsewhere, login })
    }

    fn account(&mut self, root: &Table, box_name: &str) -> Account {
        let group = self.group(root, "account", ACCOUNT_FIELDS);
        let email = group.raw.text("email").unwrap_or("").to_owned();
        if !email.is_empty() && !is_mail_address(&email) {
            self.value_fault(&group, "email", "TR-CFG-MALFORMED", format!("`{email}` is no address"), None);
        }
        Account {
            id: group.raw.number("id").and_then(|id| u64::try_from(id).ok()).unwrap_or(1),
            name: group.raw.text("name").unwrap_or(box_name).to_owned(),
            email,
        }
    }

    fn api_keys(&mut self, root: &Table) -> Vec<ApiKey> {
        let mut keys: Vec<ApiKey> = Vec::new();
        let mut key_ids = HashSet::new();
        for table in self.tables(root, "api_key", KEYS_MAX) {
            let group = self.read(table);
            self.check(&group, API_KEY_FIELDS);
            let name = group.raw.text("name").unwrap_or("").to_owned();
            if keys.iter().any(|key| key.name == name) {
                let what = format!("two keys are named `{name}`");
                self.value_fault(&group, "name", "TR-CFG-DUPLICATE", what, None);
            }
            if let Some(key_id) = group.raw.text("key_id")
                && !key_ids.insert(key_id.to_owned())
            {
                let what = format!("two keys have the key_id `{key_id}`");
                self.value_fault(&group, "key_id", "TR-CFG-DUPLICATE", what, None);
            }
            let proof = self.proof(&group);
            keys.extend(proof.map(|proof| ApiKey { name, proof }));
        }
        keys
    }

    fn proof(&mut self, group: &Group) -> Option<Proof> {
        let text = |key: &str| group.raw.text(key);
        match (text("sha256"), text("key_id"), text("public_key")) {
            (Some(digits), None, None) => {
                let sha256 = hash(digits);
                if sha256.is_none() {
                    let help = Some(
                        "`tipring api-key create` prints it; the key itself is not written here".to_owned(),
                    );
                    let what = "64 hexadecimal digits are needed".to_owned();
                    self.value_fault(group, "sha256", "TR-CFG-MALFORMED", what, help);
                }
                sha256.map(|sha256| Proof::Text { sha256 })
            }
            (None, Some(key_id), Some(pem)) => match PublicKey::parse(pem) {
                Ok(public_key) => Some(Proof::Signature { key_id: key_id.to_owned(), public_key }),
                Err(fault) => {
                    let help = Some("`tipring api-key create` prints it".to_owned());
                    self.value_fault(group, "public_key", "TR-CFG-MALFORMED", fault.to_string(), help);
                    None
                }
            },
            _ => {
                let what = "a key has either `sha256`, or `key_id` and `public_key`".to_owned();
                self.value_fault(group, "name", "TR-CFG-CONFLICT", what, None);
                None
            }
        }
    }
}

/// A hash from its digits.
fn hash(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A name or an address, without a port.
fn is_host(text: &str) -> bool {
    !text.contains(['/', '@', '?', '#']) && url::Host::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    const KEY: &str = include_str!("../../../web/src/platform_api/fixtures/public.pem");

    fn read(text: &str) -> Result<Config, Vec<String>> {
        Config::parse(&format!("schema = 1\n{text}"), Path::new(".")).map_err(|faults| {
            faults.into_iter().map(|fault| format!("{} {} {}", fault.code, fault.line, fault.what)).collect()
        })
    }

    #[test]
    fn nobody_listens_unless_told() {
        let web = read("").ok().unwrap().web;
        assert_eq!((web.http, web.https, web.login.account.id), (None, None, 1));
        assert!(web.login.keys.is_empty() && !web.serves_recordings);
    }

    #[test]
    fn recordings_are_served_unless_told_otherwise() {
        for (more, served) in [
            ("", true),
            ("recordings = true\n", true),
            ("recordings = false\n", false),
            ("[box]\nrecordings_url = \"https://files.example/kept\"\n", false),
        ] {
            let web = read(&format!("[web]\nhttp = \"127.0.0.1:8080\"\n{more}")).ok().unwrap().web;
            assert_eq!(web.serves_recordings, served, "{more}");
        }
    }

    #[test]
    fn an_account_and_keys_of_both_kinds_are_read() {
        let text = format!(
            "[box]\nname = \"box-1\"\n[web]\nhttp = \"127.0.0.1:8080\"\nhttps = \"[::]:443\"\n\
             [account]\nid = 7\nemail = \"a@b.example\"\n[[api_key]]\nname = \"crm\"\nsha256 = \"{}\"\n\
             [[api_key]]\nname = \"client\"\nkey_id = \"k\"\npublic_key = \"\"\"\n{KEY}\"\"\"\n",
            "aB".repeat(32)
        );
        let web = read(&text).ok().unwrap().web;
        assert_eq!((web.login.account.id, web.login.account.name.as_str()), (7, "box-1"));
        assert_eq!(web.login.keys[0].proof, Proof::Text { sha256: [0xab; 32] });
        assert!(matches!(&web.login.keys[1].proof, Proof::Signature { key_id, .. } if key_id == "k"));
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        let key = |rest: &str| format!("[[api_key]]\nname = \"a\"\n{rest}\n");
        let good = format!("sha256 = \"{}\"", "0".repeat(64));
        for (text, expected) in [
            ("[web]\nhttp = \"8080\"\n".to_owned(), "TR-CFG-MALFORMED 3"),
            ("[web]\nhttp = \"0.0.0.0:80\"\nhttps = \"0.0.0.0:80\"\n".to_owned(), "TR-CFG-CONFLICT 4"),
            ("[web]\nhost = \"http://box\"\n".to_owned(), "TR-CFG-MALFORMED 3"),
            ("[account]\nid = 0\n".to_owned(), "TR-CFG-RANGE 3"),
            ("[account]\nemail = \"box\"\n".to_owned(), "TR-CFG-MALFORMED 3"),
            (key("sha256 = \"00\""), "TR-CFG-MALFORMED 4"),
            (key(&format!("sha256 = \"{}\"", "\u{e4}".repeat(32))), "TR-CFG-MALFORMED 4"),
            (key(""), "TR-CFG-CONFLICT 3"),
            (key("key_id = \"k\""), "TR-CFG-CONFLICT 3"),
            (key("key_id = \"k\"\npublic_key = \"x\""), "TR-CFG-MALFORMED 5"),
            (key(&good) + &key(&good), "TR-CFG-DUPLICATE 6"),
        ] {
            let faults = read(&text).err().unwrap_or_default();
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {text} {faults:#?}");
        }
    }
}
