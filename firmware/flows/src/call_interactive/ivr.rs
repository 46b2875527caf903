//! The IVR behind Call Interactive: contexts, their options, and the actions of each.

use std::collections::BTreeMap;
use std::time::Duration;

use tipring_model::fetch::Method;

/// Contexts of one IVR.
pub(super) const CONTEXTS_MAX: usize = 256;
/// Actions of one option.
pub(super) const ACTIONS_MAX: usize = 64;
/// Numbers of one transfer.
pub(super) const NUMBERS_MAX: usize = 10;
/// Wait for the first digit, where the context gives none, in milliseconds.
pub(super) const TIMEOUT_MS: u64 = 5_000;
/// Wait between digits, where the context gives none, in milliseconds.
pub(super) const INTERDIGIT_MS: u64 = 2_000;

/// A whole IVR.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) contexts: Vec<Context>,
    /// Longest stay in the IVR, in seconds; 0 sets no limit.
    pub(super) lifetime_s: u64,
    /// What is done then; nothing hangs up.
    pub(super) lifetime_exp_action: Vec<Action>,
}

/// A menu.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) id: u32,
    pub(super) name: String,
    /// Wait for the first digit, in milliseconds.
    pub(super) timeout_ms: u64,
    /// Wait between digits, in milliseconds.
    pub(super) interdigit_ms: u64,
    /// What is done at `start`, at `timeout`, for `invalid` digits and for those of a key.
    pub(super) options: BTreeMap<String, Vec<Action>>,
}

/// One action of an option.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Action {
    Transfer { numbers: Vec<String>, timeout: Option<u64> },
    SimpleTransfer { numbers: Vec<String>, timeout: Option<u64>, r#final: Option<bool> },
    Hangup,
    PlaySound { sound: String },
    PlaySilence { seconds: u64 },
    JumpToContext { context: u32, option: Option<String> },
    PlayDigits { digits: String },
    PlayDigitsFromVariable { variable: String },
    RecordDigits { variable: String, length: Option<usize>, sound: Option<String> },
    SetVariable { name: String, value: String },
    TransferFromVariable { variable: String, timeout: Option<u64> },
    CallInteractive { url: String, method: Ask, timeout: Option<u64> },
    SetCallerIdNumber { value: String },
    SetCallerIdName { value: String },
    MatchVariable { variable: String, value: String, context: u32, option: Option<String> },
    QualityRate,
    VoiceHelper,
}

/// How a server is asked.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Ask {
    #[default]
    Get,
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
            timeout_ms: TIMEOUT_MS,
            interdigit_ms: INTERDIGIT_MS,
            options: BTreeMap::from([("start".to_owned(), vec![asks])]),
        };
        Self { contexts: vec![context], lifetime_s: 0, lifetime_exp_action: Vec::new() }
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

pub(super) fn is_keys(name: &str) -> bool {
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
