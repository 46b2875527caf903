//! Settings of trunks and telephones.

use tipring_media::codec::CODECS;
use tipring_model::settings::{Field, FieldError, FieldKind, Problem, RawSettings, Settings};
use tipring_sip::lamps::TellWaiting;

use super::screening::Networks;
use crate::{Driver, LineSettings};

/// The trunk's row in the table of drivers.
pub const TRUNK: Driver = Driver {
    kind: "sip-trunk",
    fields: TrunkSettings::FIELDS,
    parse: |raw| TrunkSettings::parse(raw).map(|trunk| LineSettings::Sip(SipSettings::Trunk(trunk))),
};

/// The telephone's row in the table of drivers.
pub const PHONE: Driver = Driver {
    kind: "sip-phone",
    fields: PhoneSettings::FIELDS,
    parse: |raw| PhoneSettings::parse(raw).map(|phone| LineSettings::Sip(SipSettings::Phone(phone))),
};

/// The settings of one line over SIP.
#[derive(Clone, Debug)]
pub enum SipSettings {
    /// A line to a SIP provider or another exchange.
    Trunk(TrunkSettings),
    /// A SIP telephone that registers at the box.
    Phone(PhoneSettings),
}

/// A line to a SIP provider or another exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrunkSettings {
    /// Name or address of the next hop.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TCP instead of UDP.
    pub tcp: bool,
    /// Register there.
    pub register: bool,
    /// Account at the provider.
    pub username: Option<String>,
    /// Password of the account.
    pub password: Option<Password>,
    /// Name for authentication, where it differs from the account.
    pub auth_name: Option<String>,
    /// Answer MD5 challenges even where SHA-256 is offered.
    pub md5: bool,
    /// Who may send calls on this line; empty: the host alone.
    pub peers: Networks,
    /// Codecs by preference, by their SDP names.
    pub codecs: Vec<String>,
    /// Show the caller of a forwarded call instead of the account.
    pub pass_caller_id: bool,
    /// Do as the far end says when it asks that a call go elsewhere.
    pub transfer: bool,
}

/// A SIP telephone that registers at the box.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PhoneSettings {
    /// Its number inside the office.
    pub number: String,
    /// Name for registering and authentication.
    pub username: String,
    /// Password.
    pub password: Password,
    /// Allow MD5 digests, for telephones without SHA-256.
    pub md5: bool,
    /// Codecs by preference, by their SDP names.
    pub codecs: Vec<String>,
    /// Name shown to those it calls.
    pub display_name: Option<String>,
    /// When it is told that messages wait.
    pub message_waiting: TellWaiting,
    /// What lamps on other telephones show of it.
    pub lamp: LampShows,
}

/// What lamps on other telephones show of a telephone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LampShows {
    /// What it does, and with whom.
    #[default]
    Caller,
    /// What it does.
    State,
    /// Nothing: the lamp stays dark.
    Nothing,
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(String);

impl Password {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("(secret)")
    }
}

const fn text(key: &'static str, label: &'static str, help: &'static str, required: bool) -> Field {
    Field { key, label, help, kind: FieldKind::Text { bytes_max: 128 }, default: None, required }
}

const fn secret(required: bool) -> Field {
    Field {
        key: "password",
        label: "Password",
        help: "As the provider or the telephone has it.",
        kind: FieldKind::Secret,
        default: None,
        required,
    }
}

const fn toggle(key: &'static str, label: &'static str, help: &'static str) -> Field {
    Field { key, label, help, kind: FieldKind::Toggle, default: Some("false"), required: false }
}

const fn list(key: &'static str, label: &'static str, help: &'static str) -> Field {
    Field { key, label, help, kind: FieldKind::List { entries_max: 16 }, default: None, required: false }
}

const CODECS_FIELD: Field =
    list("codecs", "Codecs", "In order of preference: PCMA, PCMU, G722, opus. Without it PCMA, PCMU.");

const DEFAULT_PORT: u16 = 5060;

impl Settings for TrunkSettings {
    const FIELDS: &'static [Field] = &[
        text(
            "host",
            "Host",
            "Name or address of the provider's server, with a port if it is not 5060.",
            true,
        ),
        Field {
            key: "transport",
            label: "Transport",
            help: "How SIP travels.",
            kind: FieldKind::Choice(&["udp", "tcp"]),
            default: Some("udp"),
            required: false,
        },
        toggle("register", "Register", "Register at the provider, which then sends calls here."),
        text("username", "User name", "The account, often the number.", false),
        secret(false),
        text("auth_name", "Authentication name", "Where it differs from the user name.", false),
        toggle("md5", "MD5 only", "For a provider that offers SHA-256 and cannot check it."),
        list("peers", "Peers", "Networks that may send calls on this line; without it the host alone."),
        CODECS_FIELD,
        Field {
            key: "caller_id",
            label: "Caller shown",
            help: "`own`: the account; `passed`: whoever calls.",
            kind: FieldKind::Choice(&["own", "passed"]),
            default: None,
            required: false,
        },
        toggle("transfer", "Transfers", "Let the far end transfer calls to where its own may go."),
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        let mut errors = raw.check(Self::FIELDS).err().unwrap_or_default();
        let (host, port) = match raw.text("host").map(host_and_port) {
            Some(Some(found)) => found,
            Some(None) => {
                fault(&mut errors, "host", "a name or address, such as sip.example.net or 192.0.2.1:5080");
                (String::new(), DEFAULT_PORT)
            }
            None => (String::new(), DEFAULT_PORT),
        };
        let peers = match Networks::parse(raw.list("peers")) {
            Ok(peers) => peers,
            Err(_) => {
                fault(&mut errors, "peers", "a list of networks such as 203.0.113.0/24");
                Networks::default()
            }
        };
        let codecs = codecs(raw, &mut errors);
        let register = raw.toggle("register").unwrap_or(false);
        if register {
            for key in ["username", "password"] {
                if raw.text(key).is_none() {
                    errors.push(FieldError { key: key.to_owned(), problem: Problem::Missing });
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            host,
            port,
            tcp: raw.text("transport") == Some("tcp"),
            register,
            username: raw.text("username").map(str::to_owned),
            password: raw.text("password").map(|text| Password(text.to_owned())),
            auth_name: raw.text("auth_name").map(str::to_owned),
            md5: raw.toggle("md5").unwrap_or(false),
            peers,
            codecs,
            transfer: raw.toggle("transfer").unwrap_or(false),
            pass_caller_id: raw.text("caller_id").map_or(!register, |shown| shown == "passed"),
        })
    }
}

impl Settings for PhoneSettings {
    const FIELDS: &'static [Field] = &[
        text("number", "Number", "Its number inside the office.", true),
        text("username", "User name", "For registering; the number when absent.", false),
        secret(true),
        toggle("md5", "Allow MD5", "For telephones that know no SHA-256 digest."),
        CODECS_FIELD,
        text("display_name", "Name shown", "To those it calls.", false),
        Field {
            key: "message_waiting",
            label: "Voicemail lamp",
            help: "`auto`: told also if it does not subscribe; `subscribed`: only then; `always`: both ways; `never`.",
            kind: FieldKind::Choice(&["auto", "subscribed", "always", "never"]),
            default: Some("auto"),
            required: false,
        },
        Field {
            key: "lamp",
            label: "Busy lamp",
            help: "What others' lamps show of it: `caller`: what it does and with whom; `state`: what it does; `none`.",
            kind: FieldKind::Choice(&["caller", "state", "none"]),
            default: Some("caller"),
            required: false,
        },
    ];

    fn parse(raw: &RawSettings) -> Result<Self, Vec<FieldError>> {
        const PASSWORD_BYTES_MIN: usize = 8;
        let mut errors = raw.check(Self::FIELDS).err().unwrap_or_default();
        let number = raw.text("number").unwrap_or("").to_owned();
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*#".contains(&b))
        };
        if raw.text("number").is_some() && !plain(&number) {
            fault(&mut errors, "number", "digits or letters without spaces");
        }
        let username = raw.text("username").unwrap_or(&number).to_owned();
        if raw.text("username").is_some() && !plain(&username) {
            fault(&mut errors, "username", "letters and digits without spaces");
        }
        let password = raw.text("password").unwrap_or("");
        if raw.text("password").is_some() && password.len() < PASSWORD_BYTES_MIN {
            fault(&mut errors, "password", "at least 8 characters, better 16 random ones");
        }
        let codecs = codecs(raw, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            number,
            username,
            password: Password(password.to_owned()),
            md5: raw.toggle("md5").unwrap_or(false),
            codecs,
            display_name: raw.text("display_name").map(str::to_owned),
            message_waiting: match raw.text("message_waiting") {
                Some("subscribed") => TellWaiting::Subscribed,
                Some("always") => TellWaiting::Always,
                Some("never") => TellWaiting::Never,
                Some(_) | None => TellWaiting::Auto,
            },
            lamp: match raw.text("lamp") {
                Some("state") => LampShows::State,
                Some("none") => LampShows::Nothing,
                Some(_) | None => LampShows::Caller,
            },
        })
    }
}

fn fault(errors: &mut Vec<FieldError>, key: &str, wanted: &'static str) {
    errors.push(FieldError { key: key.to_owned(), problem: Problem::Malformed { wanted } });
}

fn codecs(raw: &RawSettings, errors: &mut Vec<FieldError>) -> Vec<String> {
    let listed = raw.list("codecs");
    if listed.is_empty() {
        return vec!["PCMA".to_owned(), "PCMU".to_owned()];
    }
    let known = |name: &&String| CODECS.iter().any(|codec| codec.name.eq_ignore_ascii_case(name));
    if !listed.iter().all(|name| known(&name)) {
        fault(errors, "codecs", "a list of PCMA, PCMU, G722, opus");
    }
    listed.to_vec()
}

/// `name`, `name:port`, `1.2.3.4:port`, `[v6]:port`.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        let port = match after.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
            None if after.is_empty() => DEFAULT_PORT,
            None => return None,
        };
        return Some((address.to_owned(), port));
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some((text.to_owned(), DEFAULT_PORT));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, port.parse().ok().filter(|port| *port != 0)?),
        None => (text, DEFAULT_PORT),
    };
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
    is_name.then(|| (name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use tipring_model::settings::RawValue;

    use super::*;

    #[test]
    fn hosts_read_with_and_without_port() {
        for (text, expected) in [
            ("sip.example.net", Some(("sip.example.net", 5060))),
            ("192.0.2.1:5080", Some(("192.0.2.1", 5080))),
            ("[2001:db8::1]:5070", Some(("2001:db8::1", 5070))),
            ("2001:db8::1", Some(("2001:db8::1", 5060))),
            ("a b", None),
            ("x:0", None),
            ("x:99999", None),
            ("", None),
        ] {
            assert_eq!(host_and_port(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn a_registering_trunk_needs_an_account() {
        let mut raw = RawSettings::new();
        raw.set("host", RawValue::Text("sip.example.net".into()));
        assert!(TrunkSettings::parse(&raw).is_ok());
        raw.set("register", RawValue::Toggle(true));
        let missing: Vec<String> =
            TrunkSettings::parse(&raw).unwrap_err().into_iter().map(|e| e.key).collect();
        assert_eq!(missing, ["username", "password"]);
    }

    #[test]
    fn a_password_is_never_printed() {
        assert_eq!(format!("{:?}", Password("hunter22".into())), "(secret)");
    }
}
