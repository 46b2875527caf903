//! The keys of the configuration file, table by table, but for those that lines and dialects
//! bring along.

use tipring_model::settings::{Field, FieldKind};

const fn text_field(key: &'static str, help: &'static str, bytes_max: usize) -> Field {
    Field { key, label: key, help, kind: FieldKind::Text { bytes_max }, default: None, required: false }
}

const fn needed(mut field: Field) -> Field {
    field.required = true;
    field
}

const fn list_field(key: &'static str, help: &'static str, entries_max: usize) -> Field {
    Field { key, label: key, help, kind: FieldKind::List { entries_max }, default: None, required: false }
}

/// A field that has a value where the file gives none.
const fn usual_field(
    key: &'static str,
    label: &'static str,
    help: &'static str,
    kind: FieldKind,
    default: &'static str,
) -> Field {
    Field { key, label, help, kind, default: Some(default), required: false }
}

pub(super) const BOX_FIELDS: &[Field] = &[
    text_field("name", "Name on the network.", 63),
    text_field("country", "Two letters; sets tones and emergency numbers.", 2),
    text_field("timezone", "IANA name, for example Europe/Berlin.", 64),
    text_field("data_dir", "Where records and recordings live.", 512),
    text_field("control_socket", "Where the command line reaches the daemon.", 100),
    list_field("emergency_numbers", "Numbers that always leave.", 32),
    text_field("prompts_dir", "Folder of stored prompts.", 512),
    text_field("account", "32 hexadecimal digits by which servers know the box.", 32),
    text_field("recordings_url", "Address under which recordings are reached.", 2_048),
    usual_field(
        "cdr_days",
        "Call records",
        "How many days they are kept.",
        FieldKind::Number { min: 1, max: 3_650, unit: "days" },
        "180",
    ),
];

pub(super) const SIP_FIELDS: &[Field] = &[
    text_field("udp", "Address and port for SIP over UDP.", 64),
    text_field("tcp", "Address and port for SIP over TCP.", 64),
    text_field("rtp_udp_ports", "First and last port for audio.", 16),
    text_field("public_address", "Address that peers must use, behind a router.", 64),
    list_field("phones_from", "Networks from which telephones may register.", 32),
];

pub(super) const FETCH_FIELDS: &[Field] = &[
    list_field("allow", "Private addresses that flows may reach.", 64),
    usual_field(
        "patience",
        "Patience",
        "Longest wait for a first document while there is a copy, a fallback or a local flow.",
        FieldKind::Time { min_ms: 500, max_ms: 60_000 },
        "3s",
    ),
    usual_field(
        "prewarm",
        "Ahead of time",
        "Fetch every flow and its sounds at start and every six hours, marked as such.",
        FieldKind::Toggle,
        "true",
    ),
];

pub(super) const WEBHOOK_FIELDS: &[Field] = &[
    list_field(
        "secrets",
        "What webhooks are signed with, each `whsec_` and base64; several while the receiver changes.",
        4,
    ),
    text_field("url", "Where the box reports its own events.", 2_048),
    usual_field(
        "drain_per_s",
        "Pace after an outage",
        "Requests a second to a server that is told what it missed.",
        FieldKind::Number { min: 1, max: 100, unit: "requests" },
        "5",
    ),
    usual_field(
        "drain_spread_s",
        "Start after an outage",
        "The first request comes at a random moment in this time.",
        FieldKind::Number { min: 0, max: 3_600, unit: "s" },
        "120",
    ),
    text_field("upload_url", "Where recordings are uploaded (tus 1.0.0).", 2_048),
    usual_field(
        "upload_kbit_s",
        "Pace of uploads",
        "The share of the line that uploads may take.",
        FieldKind::Number { min: 16, max: 1_000_000, unit: "kbit/s" },
        "1024",
    ),
];

pub(super) const MAIL_FIELDS: &[Field] = &[
    needed(text_field("host", "The mail server that takes the box's e-mail.", 253)),
    Field {
        key: "port",
        label: "port",
        help: "Its port; 587, 465 with \"tls\", 25 with \"none\".",
        kind: FieldKind::Number { min: 1, max: 65_535, unit: "" },
        default: None,
        required: false,
    },
    usual_field(
        "tls",
        "TLS",
        "\"starttls\", \"tls\" from the first byte, or \"none\" for a server in the house.",
        FieldKind::Choice(&["starttls", "tls", "none"]),
        "starttls",
    ),
    text_field("user", "The account there.", 254),
    Field { kind: FieldKind::Secret, ..text_field("password", "Its password.", 254) },
    needed(text_field("from", "The sender's address.", 254)),
];

pub(super) const SPEECH_FIELDS: &[Field] = &[
    usual_field(
        "engine",
        "Engine",
        "Who speaks texts: espeak-ng, another program, or a server.",
        FieldKind::Choice(&["espeak-ng", "command", "http"]),
        "espeak-ng",
    ),
    list_field("command", "The program and its arguments; {language}, {voice} and {gender} are put in.", 64),
    usual_field("ssml", "SSML", "The program knows SSML.", FieldKind::Toggle, "false"),
    text_field("url", "Where texts are posted to.", 2_048),
];

pub(super) const WEB_FIELDS: &[Field] = &[
    text_field("http", "Address and port for HTTP, or \"off\".", 64),
    text_field("https", "Address and port for HTTPS, or \"off\".", 64),
    text_field("host", "Name by which clients reach the box, where they have not said it themselves.", 253),
    usual_field(
        "recordings",
        "Recordings",
        "Serve recordings to whoever has been told their addresses, unless `recordings_url` names who does.",
        FieldKind::Toggle,
        "true",
    ),
];

pub(super) const ACCOUNT_FIELDS: &[Field] = &[
    usual_field(
        "id",
        "Account",
        "The number that clients of the control API name.",
        FieldKind::Number { min: 1, max: 9_007_199_254_740_991, unit: "" },
        "1",
    ),
    text_field("name", "The name that they may give instead.", 64),
    text_field("email", "The address that they may give instead.", 254),
];

pub(super) const API_KEY_FIELDS: &[Field] = &[
    needed(text_field("name", "Name in logs.", 64)),
    text_field("sha256", "SHA-256 of a key that is a text, 64 hexadecimal digits.", 64),
    text_field("key_id", "The name that tokens give to their key.", 128),
    text_field("public_key", "The public half of that key, in PEM.", 4_096),
];

pub(super) const RULE_FIELDS: &[Field] = &[
    Field {
        key: "id",
        label: "id",
        help: "The number by which clients start it.",
        kind: FieldKind::Number { min: 1, max: 9_007_199_254_740_991, unit: "" },
        default: None,
        required: true,
    },
    needed(text_field("name", "Name in logs and pages.", 64)),
    needed(text_field("flow", "The flow, in the dialect voxengine, that it belongs to.", 64)),
    text_field("pattern", "Regular expression that the whole dialled number matches.", 256),
    needed(list_field("scenarios", "Files of scenarios, run in this order.", 16)),
];

pub(super) const LIMIT_FIELDS: &[Field] = &[Field {
    key: "calls_max",
    label: "Calls at one time",
    help: "More are refused with 503.",
    kind: FieldKind::Number { min: 1, max: 10_000, unit: "calls" },
    default: Some("64"),
    required: false,
}];

/// What every line has, whatever its kind.
pub(super) const LINE_FIELDS: &[Field] = &[
    needed(text_field("name", "Name in logs and pages.", 64)),
    needed(text_field("kind", "Kind of line.", 32)),
    text_field("flow", "Flow for calls that arrive.", 64),
    text_field("local_flow", "Flow on the box that takes over when a server is away.", 64),
    list_field("dial_out", "Trunk over which it may call out, or several: the first that is free.", 16),
];

/// What every device has, whatever its kind.
pub(super) const DEVICE_FIELDS: &[Field] = &[
    needed(text_field("name", "Name in logs, and in the port of a line.", 32)),
    needed(text_field("kind", "Kind of device.", 32)),
];

/// What every flow has, whatever its dialect.
pub(super) const FLOW_FIELDS: &[Field] = &[
    needed(text_field("name", "Name in logs and pages.", 64)),
    needed(text_field("dialect", "Language of the flow.", 32)),
    list_field("numbers", "Numbers that reach it.", 64),
    text_field("file", "File that holds the document.", 512),
    text_field("fallback_file", "File that holds the fallback document.", 512),
    text_field("fallback_url", "Asked when the server does not answer well.", 2_048),
    usual_field(
        "last_good",
        "Last good copy",
        "Documents kept for the time when the server is away: learned, always or never.",
        FieldKind::Choice(&["learned", "always", "never"]),
        "learned",
    ),
];

pub(super) const USER_FIELDS: &[Field] = &[
    Field { required: true, ..text_field("name", "Short name by which flows call somebody.", 64) },
    text_field("full_name", "Name for people.", 128),
    list_field("phones", "Numbers of his telephones.", 8),
    text_field("mailbox", "His mailbox.", 64),
    text_field("email", "Gets the messages of his mailbox by e-mail.", 254),
    text_field("caller_id_number", "Shown when he calls out.", 32),
    text_field("caller_id_name", "Shown when he calls out.", 64),
    text_field("language", "Language of what is said to him, such as de-DE.", 16),
    text_field("timezone", "Time zone, if not the box's.", 64),
];

pub(super) const GROUP_FIELDS: &[Field] = &[
    Field { required: true, ..text_field("name", "Short name by which flows call the group.", 64) },
    Field { required: true, ..list_field("members", "Names of users and numbers of telephones.", 64) },
];

pub(super) const MAILBOX_FIELDS: &[Field] = &[
    Field { required: true, ..text_field("name", "Short name by which flows call the mailbox.", 64) },
    text_field("number", "The number by which its owner names it.", 30),
    Field { kind: FieldKind::Secret, ..text_field("pin", "4 to 6 digits.", 6) },
    usual_field(
        "asks_pin",
        "Always ask",
        "Ask for the PIN also on the owner's telephone.",
        FieldKind::Toggle,
        "false",
    ),
    text_field("greeting", "Stored prompt that callers hear.", 128),
    usual_field(
        "skips_instructions",
        "No instructions",
        "Callers are not told what to do.",
        FieldKind::Toggle,
        "false",
    ),
    usual_field(
        "announces_only",
        "Announcement",
        "Callers cannot leave a message.",
        FieldKind::Toggle,
        "false",
    ),
    text_field("operator", "The number that answers when a caller presses 0.", 32),
    list_field("phones", "Telephones that show that messages wait.", 16),
    list_field("email", "Addresses that get each message by e-mail.", 8),
    usual_field(
        "messages_max",
        "Messages",
        "Most messages kept.",
        FieldKind::Number { min: 1, max: 1_000, unit: "messages" },
        "100",
    ),
];
