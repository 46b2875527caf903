//! The IVR behind Call Interactive: contexts, their options, and the actions of each.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tipring_model::Digits;
use tipring_model::fetch::Method;

use crate::{Finding, address};

/// Contexts of one IVR.
const CONTEXTS_MAX: usize = 256;
/// Actions of one option.
const ACTIONS_MAX: usize = 64;
/// Numbers of one transfer.
pub(super) const NUMBERS_MAX: usize = 10;

/// A whole IVR.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) contexts: Vec<Context>,
    /// Longest stay in the IVR, in seconds; 0 sets no limit.
    #[serde(default)]
    pub(super) lifetime_s: u64,
    /// What is done then; nothing hangs up.
    #[serde(default)]
    pub(super) lifetime_exp_action: Vec<Action>,
}

/// A menu.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Context {
    pub(super) id: u32,
    #[serde(default)]
    pub(super) name: String,
    /// Wait for the first digit, in milliseconds.
    #[serde(default = "timeout_usual")]
    pub(super) timeout_ms: u64,
    /// Wait between digits, in milliseconds.
    #[serde(default = "interdigit_usual")]
    pub(super) interdigit_ms: u64,
    /// What is done at `start`, at `timeout`, for `invalid` digits and for those of a key.
    pub(super) options: BTreeMap<String, Vec<Action>>,
}

const fn timeout_usual() -> u64 {
    5_000
}

const fn interdigit_usual() -> u64 {
    2_000
}

/// One action of an option.
#[derive(Deserialize, Clone, PartialEq, Debug)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Action {
    Transfer {
        numbers: Vec<String>,
        timeout: Option<u64>,
    },
    SimpleTransfer {
        numbers: Vec<String>,
        timeout: Option<u64>,
        r#final: Option<bool>,
    },
    Hangup {},
    PlaySound {
        sound: String,
    },
    PlaySilence {
        seconds: u64,
    },
    JumpToContext {
        context: u32,
        option: Option<String>,
    },
    PlayDigits {
        digits: String,
    },
    PlayDigitsFromVariable {
        variable: String,
    },
    RecordDigits {
        variable: String,
        length: Option<usize>,
        sound: Option<String>,
    },
    SetVariable {
        name: String,
        value: String,
    },
    TransferFromVariable {
        variable: String,
        timeout: Option<u64>,
    },
    CallInteractive {
        url: String,
        #[serde(default)]
        method: Ask,
        timeout: Option<u64>,
    },
    SetCallerIdNumber {
        value: String,
    },
    SetCallerIdName {
        value: String,
    },
    MatchVariable {
        variable: String,
        value: String,
        context: u32,
        option: Option<String>,
    },
    QualityRate {},
    VoiceHelper {},
}

/// How a server is asked.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Ask {
    #[default]
    #[serde(rename = "GET", alias = "get")]
    Get,
    #[serde(rename = "POST", alias = "post")]
    Post,
}

impl Ask {
    pub(super) const fn method(self) -> Method {
        match self {
            Self::Get => Method::Get,
            Self::Post => Method::Post,
        }
    }
}

impl Document {
    /// The IVR that asks one server and does what it says.
    pub(super) fn of_one(url: String, ask: Ask, timeout: Option<u64>) -> Self {
        let asks = Action::CallInteractive { url, method: ask, timeout };
        let context = Context {
            id: 1,
            name: String::new(),
            timeout_ms: timeout_usual(),
            interdigit_ms: interdigit_usual(),
            options: BTreeMap::from([("start".to_owned(), vec![asks])]),
        };
        Self { contexts: vec![context], lifetime_s: 0, lifetime_exp_action: Vec::new() }
    }

    pub(super) fn context(&self, id: u32) -> Option<&Context> {
        self.contexts.iter().find(|context| context.id == id)
    }
}

impl Context {
    pub(super) fn option(&self, name: &str) -> Option<&[Action]> {
        self.options.get(name).map(Vec::as_slice)
    }

    /// True if keys lead somewhere.
    pub(super) fn has_keys(&self) -> bool {
        self.options.keys().any(|name| is_keys(name))
    }

    /// Most digits that an option has.
    pub(super) fn digits_max(&self) -> usize {
        self.options.keys().filter(|name| is_keys(name)).map(String::len).max().unwrap_or(1)
    }

    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) const fn interdigit(&self) -> Duration {
        Duration::from_millis(self.interdigit_ms)
    }
}

fn is_keys(name: &str) -> bool {
    // The letters of the fourth column are on no telephone that callers have.
    !name.is_empty() && name.bytes().all(|key| key.is_ascii_digit() || matches!(key, b'*' | b'#'))
}

/// A name of a variable: a letter or `_`, then letters, digits and `_`, at most 64.
pub(super) fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= 64
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
}

/// A number that can be dialled: digits, `+ * #`, and letters for SIP users.
pub(super) fn is_number(number: &str) -> bool {
    !number.is_empty()
        && number.len() <= 64
        && number.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '*' | '#'))
}

/// Reads an IVR.
///
/// # Errors
/// What is wrong, the first fault of its form or every fault of what it says.
pub(super) fn parse(bytes: &[u8]) -> Result<Document, Vec<Finding>> {
    let read: Result<Document, _> = serde_json::from_slice(bytes);
    let document = read.map_err(|error| {
        let code = if error.is_data() { "TR-FLOW-VALUE" } else { "TR-FLOW-JSON" };
        let (line, column) = (error.line(), error.column());
        let place = |at: usize| u32::try_from(at.max(1)).unwrap_or(u32::MAX);
        let text = error.to_string();
        // The place is said beside it.
        let subject = text.split(" at line ").next().unwrap_or("").to_owned();
        vec![Finding { code, fatal: true, line: place(line), column: place(column), subject }]
    })?;
    let faults = faults(&document);
    if faults.is_empty() { Ok(document) } else { Err(faults) }
}

pub(super) fn check(bytes: &[u8]) -> Vec<Finding> {
    parse(bytes).err().unwrap_or_default()
}

fn faults(document: &Document) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut fault = |code, subject: String| {
        found.push(Finding { code, fatal: true, line: 1, column: 1, subject });
    };
    if document.contexts.is_empty() || document.contexts.len() > CONTEXTS_MAX {
        fault("TR-FLOW-VALUE", format!("contexts: 1 to {CONTEXTS_MAX} are needed"));
    }
    for (at, context) in document.contexts.iter().enumerate() {
        if document.contexts.iter().take(at).any(|other| other.id == context.id) {
            fault("TR-FLOW-VALUE", format!("contexts[{at}].id: {} is there twice", context.id));
        }
        for (waits, name) in [(context.timeout_ms, "timeout_ms"), (context.interdigit_ms, "interdigit_ms")] {
            if !(100..=600_000).contains(&waits) {
                fault("TR-FLOW-VALUE", format!("contexts[{at}].{name}: 100 to 600000"));
            }
        }
        for (name, actions) in &context.options {
            let place = format!("contexts[{at}].options.{name}");
            if !matches!(name.as_str(), "start" | "timeout" | "invalid") && !is_keys(name) {
                fault("TR-FLOW-VALUE", format!("{place}: no option of that name"));
            }
            if actions.len() > ACTIONS_MAX {
                fault("TR-FLOW-VALUE", format!("{place}: more than {ACTIONS_MAX} actions"));
            }
            for (n, action) in actions.iter().enumerate() {
                if let Some(what) = fault_of(action, document) {
                    fault("TR-FLOW-VALUE", format!("{place}[{n}]: {what}"));
                }
            }
        }
    }
    found
}

fn fault_of(action: &Action, document: &Document) -> Option<String> {
    let numbers_fault = |numbers: &[String]| {
        let fits =
            (1..=NUMBERS_MAX).contains(&numbers.len()) && numbers.iter().all(|number| is_number(number));
        (!fits).then(|| format!("numbers: 1 to {NUMBERS_MAX} numbers are needed"))
    };
    let variable_fault =
        |name: &str| (!is_variable(name)).then(|| format!("`{name}` cannot be the name of a variable"));
    let context_fault = |context: u32| {
        document.context(context).is_none().then(|| format!("context: there is no context {context}"))
    };
    match action {
        Action::Transfer { numbers, .. } | Action::SimpleTransfer { numbers, .. } => numbers_fault(numbers),
        Action::JumpToContext { context, .. } => context_fault(*context),
        Action::MatchVariable { variable, context, .. } => {
            variable_fault(variable).or_else(|| context_fault(*context))
        }
        Action::PlayDigitsFromVariable { variable }
        | Action::RecordDigits { variable, .. }
        | Action::TransferFromVariable { variable, .. } => variable_fault(variable),
        Action::SetVariable { name, .. } => variable_fault(name),
        Action::CallInteractive { url, timeout, .. } => {
            let bad_time = timeout.is_some_and(|seconds| !(1..=60).contains(&seconds));
            if address::absolute(url).is_none() {
                Some("url: an http or https address is needed".to_owned())
            } else if bad_time {
                Some("timeout: 1 to 60 seconds".to_owned())
            } else {
                None
            }
        }
        Action::PlayDigits { digits } => {
            Digits::parse(digits).is_none().then(|| "digits: keys alone".to_owned())
        }
        Action::PlaySilence { seconds } => (*seconds > 3_600).then(|| "seconds: at most 3600".to_owned()),
        Action::Hangup {}
        | Action::PlaySound { .. }
        | Action::SetCallerIdNumber { .. }
        | Action::SetCallerIdName { .. }
        | Action::QualityRate {}
        | Action::VoiceHelper {} => None,
    }
}
