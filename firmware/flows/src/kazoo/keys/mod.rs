//! The modules and their keys: one table that the check, the defaults and the coverage of
//! this dialect are read from.

mod must;
mod should;
mod stored;

use tipring_model::DigitSet;

use crate::json::{Json, Value};
use crate::xml::Position;

pub(super) use stored::{CONFERENCE, MAILBOX, MENU, TEMPORAL_RULE, TEMPORAL_SET};

/// Longest text of a key without a limit of its own, in characters.
const TEXT_MAX: usize = 4_096;
/// Most items of a list.
const ITEMS_MAX: usize = 512;

/// What a value may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Integer,
    Toggle,
    List,
    Object,
    TextOrList,
    ToggleOrText,
    IntegerOrText,
    TextOrObject,
}

/// One key of a module or of a stored document. `a.b` is inside `a`, `a[]` an item of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    path: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    needed: bool,
    range: Option<(i64, i64)>,
    /// Above the range is cut to it instead of refused.
    cuts: bool,
    /// Characters of a text, items of a list.
    length: (usize, usize),
    choices: &'static [&'static str],
    unique: bool,
}

impl Key {
    const fn of(path: &'static str, kind: Kind) -> Self {
        let length = match kind {
            Kind::List | Kind::TextOrList => (0, ITEMS_MAX),
            Kind::Text
            | Kind::Integer
            | Kind::Toggle
            | Kind::Object
            | Kind::ToggleOrText
            | Kind::IntegerOrText
            | Kind::TextOrObject => (0, TEXT_MAX),
        };
        Self {
            path,
            kind,
            default: None,
            needed: false,
            range: None,
            cuts: false,
            length,
            choices: &[],
            unique: false,
        }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    const fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    const fn from(self, min: i64) -> Self {
        self.between(min, i64::MAX)
    }

    const fn between(self, min: i64, max: i64) -> Self {
        Self { range: Some((min, max)), ..self }
    }

    const fn cut_to(self, max: i64) -> Self {
        let min = match self.range {
            Some((min, _)) => min,
            None => i64::MIN,
        };
        Self { range: Some((min, max)), cuts: true, ..self }
    }

    const fn length(self, min: usize, max: usize) -> Self {
        Self { length: (min, max), ..self }
    }

    const fn one_of(self, choices: &'static [&'static str]) -> Self {
        Self { choices, ..self }
    }

    const fn unique(self) -> Self {
        Self { unique: true, ..self }
    }
}

macro_rules! modules {
    ($($name:ident = $spelling:literal, $keys:expr;)*) => {
        /// The modules that run.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Module { $($name),* }

        impl Module {
            /// Every module, in the order of the alphabet.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            /// As documents spell it.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$name => $spelling),* }
            }

            /// What its `data` may hold.
            pub(super) const fn keys(self) -> &'static [Key] {
                match self { $(Self::$name => $keys),* }
            }

            pub(super) fn of(name: &str) -> Option<Self> {
                match name { $($spelling => Some(Self::$name),)* _ => None }
            }
        }
    };
}

modules! {
    AfterBridge = "after_bridge", should::AFTER_BRIDGE;
    Answer = "answer", &[];
    AudioMacro = "audio_macro", should::AUDIO_MACRO;
    BranchBnumber = "branch_bnumber", should::BRANCH_BNUMBER;
    BranchVariable = "branch_variable", must::BRANCH_VARIABLE;
    CallForward = "call_forward", should::CALL_FORWARD;
    CallWaiting = "call_waiting", should::CALL_WAITING;
    Callflow = "callflow", must::CALLFLOW;
    CheckCid = "check_cid", must::CHECK_CID;
    Cidlistmatch = "cidlistmatch", should::CIDLISTMATCH;
    CollectDtmf = "collect_dtmf", must::COLLECT_DTMF;
    Conference = "conference", must::CONFERENCE;
    DeadAir = "dead_air", &[];
    Device = "device", must::DEVICE;
    Directory = "directory", should::DIRECTORY;
    Disa = "disa", should::DISA;
    DoNotDisturb = "do_not_disturb", should::DO_NOT_DISTURB;
    DynamicCid = "dynamic_cid", should::DYNAMIC_CID;
    FaxDetect = "fax_detect", must::FAX_DETECT;
    FlushDtmf = "flush_dtmf", must::FLUSH_DTMF;
    Group = "group", must::GROUP;
    GroupPickup = "group_pickup", should::GROUP_PICKUP;
    GroupPickupFeature = "group_pickup_feature", should::GROUP_PICKUP_FEATURE;
    Hangup = "hangup", &[];
    Intercept = "intercept", should::INTERCEPT;
    Intercom = "intercom", should::INTERCOM;
    Language = "language", must::LANGUAGE;
    Lookupcidname = "lookupcidname", should::LOOKUPCIDNAME;
    ManualPresence = "manual_presence", should::MANUAL_PRESENCE;
    Menu = "menu", must::MENU;
    MissedCallAlert = "missed_call_alert", should::MISSED_CALL_ALERT;
    Noop = "noop", &[];
    Offnet = "offnet", must::OFFNET;
    PageGroup = "page_group", should::PAGE_GROUP;
    Park = "park", should::PARK;
    Pivot = "pivot", must::PIVOT;
    Play = "play", must::PLAY;
    PrependCid = "prepend_cid", must::PREPEND_CID;
    Privacy = "privacy", should::PRIVACY;
    RecordCall = "record_call", must::RECORD_CALL;
    RecordCaller = "record_caller", must::RECORD_CALLER;
    Resources = "resources", must::RESOURCES;
    Response = "response", must::RESPONSE;
    RingGroup = "ring_group", must::RING_GROUP;
    RingGroupToggle = "ring_group_toggle", should::RING_GROUP_TOGGLE;
    SendDtmf = "send_dtmf", must::SEND_DTMF;
    SetAlertInfo = "set_alert_info", should::SET_ALERT_INFO;
    SetCid = "set_cid", must::SET_CID;
    SetVariable = "set_variable", must::SET_VARIABLE;
    SetVariables = "set_variables", must::SET_VARIABLES;
    Sleep = "sleep", must::SLEEP;
    TemporalRoute = "temporal_route", must::TEMPORAL_ROUTE;
    Tones = "tones", should::TONES;
    Transfer = "transfer", should::TRANSFER;
    Tts = "tts", must::TTS;
    User = "user", must::USER;
    Voicemail = "voicemail", must::VOICEMAIL;
    WaitForHangup = "wait_for_hangup", &[];
    Webhook = "webhook", must::WEBHOOK;
}

/// What an item of an `audio_macro` may hold, by its `macro`.
const MACROS: [(&str, &[Key]); 5] = [
    ("play", must::PLAY),
    ("prompt", should::AUDIO_MACRO_PROMPT),
    ("say", should::AUDIO_MACRO_SAY),
    ("tone", TONE),
    ("tts", must::TTS),
];

/// One tone.
pub(super) const TONE: &[Key] = should::AUDIO_MACRO_TONE;

/// The keys of an item of an `audio_macro`.
pub(super) fn of_macro(name: &str) -> &'static [Key] {
    MACROS.iter().find(|(known, _)| *known == name).map_or(&[], |(_, keys)| *keys)
}

/// Modules of the platform that this box does not have.
const ABSENT: [&str; 24] = [
    "acdc_agent",
    "acdc_member",
    "acdc_queue",
    "acdc_wait_time",
    "call_pickup",
    "camping_feature",
    "conference_feature",
    "detect_speech",
    "doorman",
    "eavesdrop",
    "eavesdrop_feature",
    "edr",
    "faxbox",
    "function",
    "hotdesk",
    "intercept_feature",
    "metaflow",
    "move",
    "nomorobo",
    "notification",
    "receive_fax",
    "route_to_cid",
    "set",
    "skel",
];

/// True for a module that exists elsewhere and not here.
pub(super) fn is_absent(name: &str) -> bool {
    ABSENT.contains(&name)
}

/// What is wrong with a value.
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) fatal: bool,
    pub(super) at: Position,
    /// Path and rule.
    pub(super) subject: String,
}

/// Checks `json`, an object, against `keys`; `path` is how it is called.
pub(super) fn check(keys: &[Key], json: &Json, path: &str, faults: &mut Vec<Fault>) {
    check_members(keys, json, "", path, faults);
}

fn check_members(keys: &[Key], json: &Json, within: &str, path: &str, faults: &mut Vec<Fault>) {
    let direct = |key: &&Key| {
        key.path.strip_prefix(within).is_some_and(|name| !name.is_empty() && !name.contains(['.', '[']))
    };
    for key in keys.iter().filter(direct) {
        let name = key.path.strip_prefix(within).unwrap_or(key.path);
        let shown = format!("{path}.{name}");
        match json.get(name).filter(|value| value.value != Value::Null) {
            Some(value) => check_value(keys, key, value, &shown, faults),
            None if key.needed && key.default.is_none() => {
                faults.push(Fault { code: "TR-FLOW-KEY-MISSING", fatal: true, at: json.at, subject: shown })
            }
            None => {}
        }
    }
    for (name, value) in json.members() {
        let known = keys.iter().filter(direct).any(|key| key.path.strip_prefix(within) == Some(name));
        if !known && name != "skip_module" {
            let subject = format!("{path}.{name}");
            faults.push(Fault { code: "TR-FLOW-KEY-UNKNOWN", fatal: false, at: value.at, subject });
        }
    }
}

fn check_value(keys: &[Key], key: &Key, value: &Json, shown: &str, faults: &mut Vec<Fault>) {
    let mut fault = |code, fatal, rule: String| {
        faults.push(Fault { code, fatal, at: value.at, subject: format!("{shown}: {rule}") });
    };
    if !is_kind(key.kind, value) {
        return fault("TR-FLOW-KEY-TYPE", true, kind_name(key.kind).to_owned());
    }
    if let (Some((min, max)), Some(number)) = (key.range, integer(value)) {
        if key.cuts && number > max {
            fault("TR-FLOW-KEY-CUT", false, format!("{number}, at most {max}"));
        } else if !(min..=max).contains(&number) {
            let rule = if max == i64::MAX {
                format!("{number}, at least {min}")
            } else {
                format!("{number}, from {min} to {max}")
            };
            fault("TR-FLOW-KEY-RANGE", true, rule);
        }
    }
    if let Some(text) = value.text() {
        let count = text.chars().count();
        let (min, max) = key.length;
        if !matches!(key.kind, Kind::Integer | Kind::Toggle | Kind::TextOrList)
            && !(min..=max).contains(&count)
        {
            fault("TR-FLOW-KEY-RANGE", true, format!("{count} characters, from {min} to {max}"));
        }
        if !key.choices.is_empty() && !key.choices.contains(&text) {
            fault(
                "TR-FLOW-KEY-CHOICE",
                true,
                format!("{}, one of {}", shortened(text), key.choices.join(" ")),
            );
        }
    }
    if let Value::List(items) = &value.value {
        let (min, max) = key.length;
        if !(min..=max).contains(&items.len()) {
            return fault("TR-FLOW-KEY-RANGE", true, format!("{} items, from {min} to {max}", items.len()));
        }
        if key.unique
            && items.iter().enumerate().any(|(n, item)| items.iter().take(n).any(|other| same(other, item)))
        {
            fault("TR-FLOW-KEY-TWICE", true, "each item once".to_owned());
        }
        let item_path = format!("{}[]", key.path);
        if let Some(item_key) = keys.iter().find(|key| key.path == item_path) {
            for (n, item) in items.iter().enumerate() {
                check_value(keys, item_key, item, &format!("{shown}[{n}]"), faults);
            }
        }
        return;
    }
    let inside = format!("{}.", key.path);
    if value.is_object() && keys.iter().any(|key| key.path.starts_with(&inside)) {
        check_members(keys, value, &inside, shown, faults);
    }
}

/// Longest piece of a value that a finding shows, in characters.
const SHOWN_MAX: usize = 60;

/// The beginning of a value, for a finding.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

fn same(a: &Json, b: &Json) -> bool {
    a.scalar().is_some_and(|scalar| b.scalar() == Some(scalar))
}

fn is_kind(kind: Kind, value: &Json) -> bool {
    let is_text = matches!(value.value, Value::Text(_));
    let is_list = matches!(value.value, Value::List(_));
    match kind {
        Kind::Text => is_text,
        Kind::Integer => integer(value).is_some(),
        Kind::Toggle => toggle(value).is_some(),
        Kind::List => is_list,
        Kind::Object => value.is_object(),
        Kind::TextOrList => is_text || is_list,
        Kind::ToggleOrText => is_text || toggle(value).is_some(),
        Kind::IntegerOrText => is_text || integer(value).is_some(),
        Kind::TextOrObject => is_text || value.is_object(),
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Integer => "a whole number",
        Kind::Toggle => "true or false",
        Kind::List => "a list",
        Kind::Object => "an object",
        Kind::TextOrList => "a text or a list",
        Kind::ToggleOrText => "true, false or a text",
        Kind::IntegerOrText => "a whole number or a text",
        Kind::TextOrObject => "a text or an object",
    }
}

/// A whole number, or a text that is one: scripts often send numbers as texts.
fn integer(json: &Json) -> Option<i64> {
    match &json.value {
        Value::Integer(number) => Some(*number),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Null | Value::Toggle(_) | Value::Real(_) | Value::List(_) | Value::Object(_) => None,
    }
}

fn toggle(json: &Json) -> Option<bool> {
    match &json.value {
        Value::Toggle(on) => Some(*on),
        Value::Text(text) => text.parse().ok(),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::List(_) | Value::Object(_) => None,
    }
}

/// The values of a module or stored document, with its defaults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data<'a> {
    keys: &'static [Key],
    within: &'static str,
    json: Option<&'a Json>,
}

impl<'a> Data<'a> {
    pub(super) const fn new(keys: &'static [Key], json: Option<&'a Json>) -> Self {
        Self { keys, within: "", json }
    }

    /// What stands in the object of this key; `within` is how the table calls it.
    pub(super) fn inside(self, name: &str, within: &'static str) -> Self {
        Self { within, json: self.json.and_then(|json| json.get(name)), ..self }
    }

    pub(super) const fn json(self) -> Option<&'a Json> {
        self.json
    }

    /// The value as it is written; `null` is none.
    pub(super) fn value(self, name: &str) -> Option<&'a Json> {
        self.json?.get(name).filter(|value| value.value != Value::Null)
    }

    fn key(self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.path.strip_prefix(self.within) == Some(name))
    }

    fn default(self, name: &str) -> Option<&'static str> {
        self.key(name)?.default
    }

    pub(super) fn integer(self, name: &str) -> Option<i64> {
        let written = self.value(name).and_then(integer);
        let number = written.or_else(|| self.default(name)?.parse().ok())?;
        let ceiling = self.key(name).and_then(|key| key.range.filter(|_| key.cuts));
        Some(ceiling.map_or(number, |(_, max)| number.min(max)))
    }

    /// A count or a length of time; below zero is zero.
    pub(super) fn count(self, name: &str) -> Option<u64> {
        self.integer(name).map(|number| u64::try_from(number).unwrap_or(0))
    }

    pub(super) fn toggle(self, name: &str) -> Option<bool> {
        self.value(name).and_then(toggle).or_else(|| self.default(name)?.parse().ok())
    }

    /// True if the key is there and true.
    pub(super) fn is(self, name: &str) -> bool {
        self.toggle(name) == Some(true)
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.value(name).and_then(Json::text).or_else(|| self.default(name))
    }

    /// A text that is not empty.
    pub(super) fn filled(self, name: &str) -> Option<&'a str> {
        self.text(name).map(str::trim).filter(|text| !text.is_empty())
    }

    pub(super) fn texts(self, name: &str) -> Vec<&'a str> {
        let items = self.value(name).map_or(&[][..], Json::items);
        items.iter().filter_map(Json::text).collect()
    }

    /// The keys of a list of them; without the list, those of its default.
    pub(super) fn digits(self, name: &str) -> DigitSet {
        match self.value(name) {
            Some(list) => {
                let written: String = list.items().iter().filter_map(Json::scalar).collect();
                DigitSet::of(&written)
            }
            None => DigitSet::of(self.default(name).unwrap_or("")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_named_once_and_every_default_is_of_its_kind() {
        for pair in Module::ALL.windows(2) {
            assert!(pair[0].name() < pair[1].name());
        }
        for module in Module::ALL {
            assert_eq!(Module::of(module.name()), Some(*module));
            assert!(!is_absent(module.name()));
            for key in module.keys() {
                let Some(default) = key.default else { continue };
                let good = match key.kind {
                    Kind::Integer => default.parse::<i64>().is_ok(),
                    Kind::Toggle => default.parse::<bool>().is_ok(),
                    Kind::Text => key.choices.is_empty() || key.choices.contains(&default),
                    Kind::List
                    | Kind::Object
                    | Kind::TextOrList
                    | Kind::ToggleOrText
                    | Kind::IntegerOrText
                    | Kind::TextOrObject => true,
                };
                assert!(good, "{} {}", module.name(), key.path);
            }
        }
        // 33 that every office uses and 26 more.
        assert_eq!(Module::ALL.len(), 59);
    }
}
