//! The one configuration file: read, checked and composed here and nowhere else.
//!
//! Every fault is reported at once, with line, column and remedy ([`report`]).

mod directory;
mod fields;
mod lines;
mod mail;
mod read;
mod report;
mod rules;
mod speech;
mod text_file;
mod web;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tipring_flows::Program;
use tipring_lines::LineSettings;
use tipring_lines::port::DeviceSettings;
use tipring_model::directory::Directory;

use crate::fetch::copies::Keep;
use crate::prompts::SpeechEngine;
pub(crate) use mail::{Mail, MailTls};
pub(crate) use report::{Fault, render};
pub(crate) use rules::RuleEntry;
pub(crate) use text_file::{read_bytes, read_text};
pub(crate) use web::Web;

/// A checked configuration.
pub(crate) struct Config {
    /// The box itself.
    pub general: General,
    /// SIP sockets.
    pub sip: Sip,
    /// What flows may fetch.
    pub fetch: Fetch,
    /// How webhooks are sent.
    pub webhooks: Webhooks,
    /// Who sends e-mail; none is sent without it.
    pub mail: Option<Mail>,
    /// Who listens for HTTP, and who may give commands there.
    pub web: Web,
    /// Who speaks texts.
    pub speech: SpeechEngine,
    /// Calls at one time.
    pub calls_max: usize,
    /// Devices that analog lines are plugged into, by name, in file order.
    pub devices: Vec<(String, DeviceSettings)>,
    /// Lines, in file order.
    pub lines: Vec<Line>,
    /// Who and what flows can name.
    pub directory: Rc<Directory>,
    /// Flows, in file order.
    pub flows: Vec<FlowEntry>,
    /// What keeps nothing from running and is worth a look.
    pub warnings: Warnings,
}

/// What a configuration is warned of.
#[derive(Default, Debug)]
pub(crate) struct Warnings {
    /// Of the file itself.
    pub file: Vec<Fault>,
    /// Of documents that flows name, each with its file.
    pub documents: Vec<(PathBuf, tipring_flows::Finding)>,
}

/// `[box]`
#[derive(Clone, Debug)]
pub(crate) struct General {
    /// Name on the network.
    pub name: String,
    /// Country, for tones and emergency numbers.
    pub country: &'static crate::countries::Country,
    /// Time zone by IANA name.
    pub timezone: String,
    /// Where records, recordings and caches live.
    pub data_dir: PathBuf,
    /// Where the command line reaches the daemon.
    pub control_socket: PathBuf,
    /// Numbers that always leave.
    pub emergency_numbers: Vec<String>,
    /// How long call records are kept.
    pub cdr_days: u16,
    /// Folder of stored prompts.
    pub prompts_dir: Option<PathBuf>,
}

/// `[sip]`
#[derive(Clone, Debug)]
pub(crate) struct Sip {
    /// UDP address to listen on.
    pub udp: Option<SocketAddr>,
    /// TCP address to listen on.
    pub tcp: Option<SocketAddr>,
    /// First and last UDP port for audio; `None` lets the system choose.
    pub rtp_udp_ports: Option<(u16, u16)>,
    /// Address that peers must use, behind a router.
    pub public_address: Option<std::net::IpAddr>,
    /// Networks from which telephones may register; `None` for private ones.
    pub phones_from: Option<tipring_lines::sip::Networks>,
}

/// `[fetch]`
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    /// Private addresses that flows may reach.
    pub allow: Vec<String>,
    /// Longest wait for a first document while there is something as good to be had.
    pub patience: Duration,
    /// Whether documents are fetched ahead of time.
    pub prewarm: bool,
}

/// `[webhooks]`
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    /// What they are signed with, the newest first.
    pub secrets: Vec<tipring_spool::Secret>,
    /// Where the box reports its own events.
    pub url: Option<String>,
    /// How fast a server is told what it missed.
    pub pace: tipring_spool::Pace,
    /// Where recordings go, and how fast.
    pub uploads: Uploads,
}

/// Where recordings go, and how fast.
#[derive(Clone, Debug)]
pub(crate) struct Uploads {
    /// Where uploads are created; none are without it.
    pub url: Option<String>,
    /// The share of the line, in kilobits a second.
    pub kbit_s: u32,
}

/// `[[line]]`
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Name in logs and pages.
    pub name: String,
    /// The number that reaches it from inside: a phone's own.
    pub number: Option<String>,
    /// Kind of line, for status.
    pub kind: &'static str,
    /// Position in [`Config::flows`] of the flow for calls that arrive.
    pub flow: Option<usize>,
    /// Position in [`Config::flows`] of the flow that takes over when the first document of
    /// another cannot be had.
    pub local_flow: Option<usize>,
    /// Positions in [`Config::lines`] of the trunks over which it may call out: the first that is
    /// free carries the call.
    pub dial_out: Vec<usize>,
    /// What the driver needs.
    pub settings: LineSettings,
}

/// `[[flow]]`
pub(crate) struct FlowEntry {
    /// Its name.
    pub name: String,
    /// Its dialect.
    pub dialect: &'static str,
    /// Its documents on the box.
    pub files: Vec<PathBuf>,
    /// Numbers that reach it.
    pub numbers: Vec<String>,
    /// Asked when the server of the flow does not answer well.
    pub fallback_url: Option<String>,
    /// Whether copies of its documents are kept.
    pub keep: Keep,
    /// The number by which clients of the control API name it.
    pub application_id: u64,
    /// Its rules, if it is an application.
    pub rules: Vec<RuleEntry>,
    /// The program.
    pub program: Rc<dyn Program>,
}

/// Longest configuration file.
pub(crate) const FILE_BYTES_MAX: u64 = 1_048_576;
/// Longest time that running calls get when the daemon is told to stop.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every fault of the file.
    pub(crate) fn load(path: &Path) -> Result<Self, Vec<Fault>> {
        let text = read_text(path, FILE_BYTES_MAX)
            .map_err(|error| vec![Fault::of_file("TR-CFG-FILE", &format!("this file {error}"))])?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Checks a text; files that it names are relative to `folder`.
    ///
    /// # Errors
    /// Every fault of the text.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Fault>> {
        read::config(text, folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = Config::parse(text, Path::new(".")).err().unwrap_or_default();
        faults
            .iter()
            .map(|fault| format!("{} {}:{} {}", fault.code, fault.line, fault.column, fault.what))
            .collect()
    }

    #[test]
    fn every_fault_is_reported_at_once_with_its_place() {
        let text = "\
schema = 2
[box]
country = \"zz\"
nmae = \"x\"
[[line]]
name = \"desk\"
kind = \"sip-phone\"
number = \"201\"
[[line]]
name = \"desk\"
kind = \"pots\"
[[flow]]
name = \"office\"
dialect = \"opentact\"
url = \"ftp://x\"
timeout = 5
";
        let faults = faults(text);
        for expected in [
            "TR-CFG-SCHEMA 1:10",
            "TR-CFG-CHOICE 3:11",
            "TR-CFG-UNKNOWN 4:1 `nmae` is not known here, did you mean `name`?",
            "TR-CFG-MISSING 5:1",
            "TR-CFG-DUPLICATE 10:8",
            "TR-CFG-CHOICE 11:8",
            "TR-CFG-MALFORMED 15:7",
            "TR-CFG-TYPE 16:11",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected} not in {faults:#?}");
        }
    }

    #[test]
    fn what_is_not_toml_is_one_fault_with_its_place() {
        let faults = faults("schema = 1\n[box\n");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("TR-CFG-SYNTAX 2:"), "{faults:?}");
    }

    #[test]
    fn one_mistake_is_one_fault() {
        let flow = "[[flow]]\nname = \"office\"\ndialect = \"opentact\"\n";
        let no_file = format!("schema = 1\n{flow}file = \"nowhere.xml\"\n");
        let no_zone = format!("schema = 1\n[box]\ntimezone = \"Mars/Base\"\n{flow}url = \"http://x/\"\n");
        for (text, expected) in [(no_file, "TR-CFG-FILE 5:8"), (no_zone, "TR-CFG-MALFORMED 3:12")] {
            let faults = faults(&text);
            let own: Vec<&String> = faults.iter().filter(|fault| !fault.contains("data_dir")).collect();
            assert!(own.len() == 1 && own[0].starts_with(expected), "{expected}: {faults:#?}");
        }
    }

    #[test]
    fn a_key_is_called_as_it_is_written_in_the_file() {
        let flow = "schema = 1\n[[flow]]\nname = \"office\"\ndialect = \"kazoo\"\ncolour = \"red\"\n";
        let faults = faults(flow);
        for expected in
            ["TR-CFG-MISSING 2:1 `file` is needed here", "TR-CFG-UNKNOWN 5:1 `colour` is not known here"]
        {
            assert!(faults.iter().any(|fault| fault == expected), "{expected}: {faults:#?}");
        }
    }

    #[test]
    fn keys_without_effect_and_doubts_about_documents_are_warnings() {
        let folder = std::env::temp_dir().join(format!("tipring-warnings-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let pivot = |url: &str| {
            format!(
                r#"{{"module":"pivot","data":{{"voice_url":"http://{url}/x"}},"children":{{"_":{{"module":"user","data":{{"id":"ann"}},"children":{{"_":{{"module":"user","data":{{"id":"bob"}}}}}}}}}}}}"#
            )
        };
        std::fs::write(folder.join("a.json"), pivot("10.0.0.5")).unwrap();
        std::fs::write(folder.join("b.json"), pivot("10.0.0.6:8080")).unwrap();
        let text = "\
schema = 1
[fetch]
allow = [\"10.0.0.5:80\"]
[[user]]
name = \"ann\"
[[flow]]
name = \"a\"
dialect = \"kazoo\"
file = \"a.json\"
fallback_url = \"https://example.com/\"
fallback_file = \"b.json\"
[[flow]]
name = \"b\"
dialect = \"kazoo\"
file = \"b.json\"
[[flow]]
name = \"c\"
dialect = \"call_interactive\"
url = \"https://example.com/\"
last_good = \"always\"
";
        let config = Config::parse(text, &folder).ok().unwrap();
        let file: Vec<String> = config
            .warnings
            .file
            .iter()
            .map(|w| format!("{} {}:{} {}", w.code, w.line, w.column, w.what))
            .collect();
        assert_eq!(
            file,
            [
                "TR-CFG-NO-EFFECT 11:17 `fallback_file` has no effect in a flow of kazoo",
                "TR-CFG-NO-EFFECT 10:16 `fallback_url` has no effect in this flow: its first document is on the box",
                "TR-CFG-NO-EFFECT 20:13 `last_good` has no effect in a flow of call_interactive",
            ]
        );
        let documents: Vec<String> = config
            .warnings
            .documents
            .iter()
            .map(|(path, finding)| {
                format!("{} {} {}", path.file_name().unwrap().display(), finding.code, finding.subject)
            })
            .collect();
        assert_eq!(
            documents,
            [
                "a.json TR-FLOW-REFERENCE flow.children._.children._.data.id: bob",
                "b.json TR-HOOK-GUARDED flow.data.voice_url: write allow = [\"10.0.0.6:8080\"] under [fetch] if it is meant",
                "b.json TR-FLOW-REFERENCE flow.children._.children._.data.id: bob",
            ]
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_number_leads_to_one_place() {
        let flow = |name: &str, numbers: &str| {
            format!(
                "[[flow]]\nname = \"{name}\"\ndialect = \"opentact\"\nurl = \"http://x/\"\nnumbers = {numbers}\n"
            )
        };
        let phone =
            "[[line]]\nname = \"desk\"\nkind = \"sip-phone\"\nnumber = \"201\"\npassword = \"a-long-one\"\n";
        let text =
            format!("schema = 1\n{}{}{phone}", flow("a", "[\"100\", \"201\"]"), flow("b", "[\"100\"]"));
        let faults = faults(&text);
        for expected in ["TR-CFG-DUPLICATE 11:11 the number 100", "TR-CFG-DUPLICATE 15:10 the number 201"] {
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected}: {faults:#?}");
        }
    }

    #[test]
    fn lines_on_two_wires_have_a_port_of_their_own_that_there_is() {
        let text = "\
schema = 1
[box]
country = \"gb\"
[[device]]
name = \"card1\"
kind = \"linecard\"
serial = \"/dev/a\"
audio = \"hw:0\"
[[device]]
name = \"modem1\"
kind = \"v253\"
serial = \"/dev/a\"
[[line]]
name = \"a\"
kind = \"fxo\"
port = \"card1/25\"
[[line]]
name = \"b\"
kind = \"fxs\"
port = \"modem1/1\"
number = \"201\"
[[line]]
name = \"c\"
kind = \"fxo\"
port = \"modem1/1\"
dial_out = [\"a\", \"x\"]
[[line]]
name = \"d\"
kind = \"fxo\"
port = \"card2/1\"
";
        let faults = faults(text);
        for expected in [
            "TR-CFG-DUPLICATE 12:10 another device",
            "TR-CFG-RANGE 16:8 a linecard has no port 25",
            "TR-CFG-REFERENCE 20:8 a v253 has no port for a telephone",
            "TR-CFG-DUPLICATE 25:8 the port modem1/1 belongs to the line `b`",
            "TR-CFG-REFERENCE 26:12 `x` is not defined",
            "TR-CFG-REFERENCE 30:8 the device `card2` is not defined",
        ] {
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected} not in {faults:#?}");
        }
    }

    #[test]
    fn wires_without_a_country_and_hotlines_without_time_are_odd() {
        let phone = |keys: &str| {
            format!(
                "schema = 1\n[box]\ncountry = \"us\"\n[[device]]\nname = \"c\"\nkind = \"linecard\"\nserial = \"/dev/a\"\naudio = \"hw:0\"\n[[line]]\nname = \"p\"\nkind = \"fxs\"\nport = \"c/1\"\nnumber = \"201\"\n{keys}\n"
            )
        };
        let without_country = phone("").replace("country = \"us\"", "");
        let config = Config::parse(&without_country, Path::new(".")).ok().unwrap();
        let codes: Vec<&str> = config.warnings.file.iter().map(|warning| warning.code).collect();
        assert_eq!(codes, ["TR-CFG-COUNTRY"]);
        for (keys, odd) in [
            ("hotline = \"202\"", 1),
            ("hotline = \"202\"\nhotline_after = \"4s\"", 0),
            ("hotline = \"911\"", 0),
            ("", 0),
        ] {
            let config = Config::parse(&phone(keys), Path::new(".")).ok().unwrap();
            assert_eq!(config.warnings.file.len(), odd, "{keys}");
        }
    }

    #[test]
    fn a_telephone_that_nobody_can_call_is_odd() {
        let phone = |number: &str| {
            format!(
                "schema = 1\n[box]\ncountry = \"gb\"\n[[line]]\nname = \"p\"\nkind = \"sip-phone\"\nnumber = \"{number}\"\npassword = \"a-long-one\"\n"
            )
        };
        let odd =
            |number: &str| Config::parse(&phone(number), Path::new(".")).ok().unwrap().warnings.file.len();
        assert_eq!((odd("999"), odd("201")), (1, 0));
    }

    #[test]
    fn webhooks_have_an_address_and_a_pace_within_limits() {
        let of = |keys: &str| {
            faults(&format!("schema = 1\n[webhooks]\n{keys}\n"))
                .into_iter()
                .filter(|fault| !fault.contains("data_dir"))
                .collect::<Vec<_>>()
        };
        assert!(of("url = \"https://example.com/events\"\ndrain_per_s = 100\ndrain_spread_s = 0").is_empty());
        for (keys, expected) in [
            ("url = \"ftp://example.com/\"", "TR-CFG-MALFORMED 3:7"),
            ("url = \"example.com\"", "TR-CFG-MALFORMED 3:7"),
            ("drain_per_s = 0", "TR-CFG-RANGE 3:15"),
            ("drain_per_s = 101", "TR-CFG-RANGE 3:15"),
            ("drain_spread_s = 3601", "TR-CFG-RANGE 3:18"),
        ] {
            let faults = of(keys);
            assert!(faults.len() == 1 && faults[0].starts_with(expected), "{keys}: {faults:?}");
        }
    }

    #[test]
    fn references_must_lead_somewhere() {
        let faults = faults(
            "schema = 1\n[[line]]\nname = \"t\"\nkind = \"sip-trunk\"\nhost = \"127.0.0.1:5070\"\nflow = \"none\"\n",
        );
        assert!(faults.iter().any(|fault| fault.starts_with("TR-CFG-REFERENCE 6:8")), "{faults:?}");
    }
}
