//! Documents: what is refused whole, the names of commands, and the check
//! without a call.

use std::rc::Rc;

use crate::Finding;
use crate::xml::{self, Element, Limits, Position};

/// `spec/opentact.md` §2.
pub(super) const LIMITS: Limits = Limits {
    bytes_max: 65_536,
    elements_max: 1_000,
    depth_max: 32,
    attributes_max: 64,
    text_bytes_max: 8_192,
    // The label iso-8859-1 stands for windows-1252 (WHATWG Encoding §4.2).
    encodings: &[encoding_rs::WINDOWS_1252, encoding_rs::WINDOWS_1251],
};

/// Why a document was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DocumentError {
    pub(super) code: &'static str,
    pub(super) at: Position,
}

/// Reads a document whose root must be `Response`.
pub(super) fn document(
    bytes: &[u8],
    charset: Option<&str>,
    strict: bool,
) -> Result<Rc<Element>, DocumentError> {
    let root = xml::parse(bytes, charset, &LIMITS)
        .map_err(|error| DocumentError { code: error.fault.code(), at: error.at })?;
    if !root.name.eq_ignore_ascii_case("Response") {
        return Err(DocumentError { code: "TR-FLOW-ROOT", at: root.at });
    }
    if strict && let Some(unknown) = first_unknown(&root) {
        return Err(DocumentError { code: "TR-FLOW-UNKNOWN-COMMAND", at: unknown.at });
    }
    Ok(root)
}

fn first_unknown(element: &Rc<Element>) -> Option<&Rc<Element>> {
    element.children.iter().find_map(|child| match Name::of(&child.name) {
        None => Some(child),
        Some(_) => first_unknown(child),
    })
}

/// Judges an answer by its media type (`spec/opentact.md` §4.4): XML under any
/// textual name is read if it looks like XML. Returns the charset parameter.
pub(super) fn media_type(media_type: Option<&str>, body: &[u8]) -> Result<Option<String>, &'static str> {
    let full = media_type.unwrap_or("application/xml");
    let mut parts = full.split(';');
    let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    let readable = matches!(
        essence.as_str(),
        "" | "application/xml" | "text/xml" | "text/plain" | "text/html" | "application/octet-stream"
    ) || essence.ends_with("+xml");
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if !readable {
        return Err("TR-FLOW-MEDIA-TYPE");
    }
    if first != Some(&b'<') {
        return Err("TR-FLOW-XML");
    }
    Ok(parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    }))
}

macro_rules! names {
    ($($name:ident = $spelling:literal),* $(,)?) => {
        /// Elements of the language, both generations.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Name { $($name),* }

        impl Name {
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// Canonical spelling.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $spelling),* }
            }
        }
    };
}

names!(
    Answer = "Answer",
    Body = "Body",
    Call = "Call",
    Callback = "Callback",
    Case = "Case",
    Curl = "Curl",
    Default = "Default",
    Dial = "Dial",
    Dtmf = "DTMF",
    Error = "Error",
    Gather = "Gather",
    Hangup = "Hangup",
    Header = "Header",
    Number = "Number",
    Pause = "Pause",
    Play = "Play",
    Record = "Record",
    RecordStart = "RecordStart",
    RecordStop = "RecordStop",
    RecordWait = "RecordWait",
    Redirect = "Redirect",
    Reject = "Reject",
    Say = "Say",
    Schedule = "Schedule",
    Sip = "Sip",
    Switch = "Switch",
    To = "To",
);

impl Name {
    /// The element that `written` names, in any case; a prefixed name is none.
    pub(super) fn of(written: &str) -> Option<Self> {
        if written.eq_ignore_ascii_case("Scheduler") {
            return Some(Self::Schedule);
        }
        Self::ALL.iter().copied().find(|name| name.as_str().eq_ignore_ascii_case(written))
    }

    /// True for elements that mean something only inside their owner.
    pub(super) const fn is_part(self) -> bool {
        match self {
            Self::Body
            | Self::Case
            | Self::Default
            | Self::Dtmf
            | Self::Header
            | Self::Number
            | Self::Sip
            | Self::Switch
            | Self::To
            | Self::Error => true,
            Self::Answer
            | Self::Call
            | Self::Callback
            | Self::Curl
            | Self::Dial
            | Self::Gather
            | Self::Hangup
            | Self::Pause
            | Self::Play
            | Self::Record
            | Self::RecordStart
            | Self::RecordStop
            | Self::RecordWait
            | Self::Redirect
            | Self::Reject
            | Self::Say
            | Self::Schedule => false,
        }
    }

    /// Say, Play and Pause: what may fill the time before digits.
    pub(super) const fn is_filler(self) -> bool {
        matches!(self, Self::Say | Self::Play | Self::Pause)
    }

    /// Attributes that the element knows, besides `tag`.
    pub(super) const fn attributes(self) -> &'static [&'static str] {
        match self {
            Self::Answer => &["delay"],
            Self::Callback | Self::Redirect => &["url", "body", "timeout", "method"],
            Self::Curl => &["url", "method", "timeout", "headers", "body", "content_type", "response"],
            Self::Say => &["text", "type", "gender", "code", "lang", "loop"],
            Self::Play => &["url", "record", "leg", "loop"],
            Self::Gather => &[
                "numDigits",
                "dtmf_length",
                "length",
                "finishOnKey",
                "dtmf_stop",
                "timeout",
                "attempts",
                "callback",
                "method",
                "url",
            ],
            Self::Dial => &["timeout", "record", "callerid"],
            Self::Record | Self::RecordStart => &["asr", "timeout"],
            Self::RecordWait => &["timeout"],
            Self::Reject => &["reason"],
            Self::Pause => &["length", "dtmf_stop"],
            Self::Schedule => &["dow", "time", "timezone"],
            Self::Call => &["field", "name", "value"],
            Self::Dtmf => &["value"],
            Self::Case => &["dtmf"],
            Self::Header => &["name", "value"],
            Self::Body
            | Self::Default
            | Self::Error
            | Self::Hangup
            | Self::Number
            | Self::RecordStop
            | Self::Sip
            | Self::Switch
            | Self::To => &[],
        }
    }

    /// True if `child` may stand directly inside.
    pub(super) const fn takes(self, child: Self) -> bool {
        match self {
            // Blocks run any command; parts among them are judged when met.
            Self::Call
            | Self::Case
            | Self::Default
            | Self::Dtmf
            | Self::Error
            | Self::Record
            | Self::Schedule => true,
            Self::Gather => {
                child.is_filler() || matches!(child, Self::Dtmf | Self::Switch | Self::Default | Self::Error)
            }
            Self::Switch => matches!(child, Self::Case | Self::Default | Self::Error),
            Self::Dial => matches!(child, Self::To | Self::Number | Self::Sip | Self::Error),
            Self::Curl => matches!(child, Self::Header | Self::Body | Self::Error),
            Self::Answer
            | Self::Callback
            | Self::Hangup
            | Self::Pause
            | Self::Play
            | Self::RecordStart
            | Self::RecordStop
            | Self::RecordWait
            | Self::Redirect
            | Self::Reject
            | Self::Say => {
                matches!(child, Self::Error)
            }
            Self::Body | Self::Header | Self::Number | Self::Sip | Self::To => false,
        }
    }
}

/// Checks a document without running it.
pub(super) fn check(bytes: &[u8]) -> Vec<Finding> {
    match document(bytes, None, false) {
        Err(error) => vec![Finding {
            code: error.code,
            fatal: true,
            line: error.at.line,
            column: error.at.column,
            subject: "document".to_owned(),
        }],
        Ok(root) => {
            let mut findings = Vec::new();
            check_children(&root, None, &mut findings);
            findings
        }
    }
}

fn check_children(owner: &Element, name: Option<Name>, findings: &mut Vec<Finding>) {
    for child in &owner.children {
        let mut found = |code, subject: &str| {
            findings.push(Finding {
                code,
                fatal: false,
                line: child.at.line,
                column: child.at.column,
                subject: subject.to_owned(),
            });
        };
        let Some(kind) = Name::of(&child.name) else {
            found("TR-FLOW-UNKNOWN-COMMAND", &child.name);
            continue;
        };
        let is_block = name.is_none_or(|owner| owner.takes(Name::Say) && owner != Name::Gather);
        if is_block && kind.is_part() && kind != Name::Error {
            found("TR-FLOW-OUTSIDE", &child.name);
        }
        if name.is_some_and(|owner| !owner.takes(kind)) {
            found("TR-FLOW-CHILD-IGNORED", &child.name);
        }
        for (attribute, value) in &child.attributes {
            if attribute != "tag" && !kind.attributes().contains(&attribute.as_str()) {
                found("TR-FLOW-ATTRIBUTE-UNKNOWN", attribute);
            }
            let is_url = matches!(attribute.as_str(), "url" | "callback");
            if is_url && crate::address::absolute(value).is_none() && value.contains("://") {
                found("TR-HOOK-URL", value);
            }
        }
        let needs_url = matches!(kind, Name::Callback | Name::Redirect | Name::Curl);
        if needs_url && child.attribute("url").is_none() && child.text.trim().is_empty() {
            found("TR-FLOW-ATTRIBUTE-MISSING", "url");
        }
        check_children(child, Some(kind), findings);
    }
}
