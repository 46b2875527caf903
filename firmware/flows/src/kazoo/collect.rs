//! Digits that a flow gathers and remembers by name.

use std::time::Duration;

use tipring_model::DigitSet;
use tipring_model::flow::{Action, Collect, Outcome};

use super::flow::{KazooFlow, Next, Then, VALUES_MAX, milliseconds};
use super::keys::Data;

/// The collection without a name.
pub(super) const DEFAULT: &str = "default";
/// Most digits of one collection.
pub(super) const DIGITS_MAX: u64 = 128;
/// Wait between digits, where nothing says how long.
pub(super) const BETWEEN: Duration = Duration::from_secs(2);

/// What was gathered in a call.
#[derive(Clone, Default, Debug)]
pub(super) struct Collections {
    /// Digits by the names of their collections, in the order of their first use.
    pub(super) named: Vec<(String, String)>,
    /// What is pressed before the next collection is forgotten.
    pub(super) forgets_ahead: bool,
}

impl Collections {
    fn set(&mut self, name: &str, digits: String) {
        if let Some((_, known)) = self.named.iter_mut().find(|(known, _)| known == name) {
            *known = digits;
        } else if self.named.len() < VALUES_MAX {
            self.named.push((name.to_owned(), digits));
        }
    }

    /// Whether the next collection counts digits pressed before it.
    pub(super) fn takes_ahead(&mut self) -> bool {
        !std::mem::take(&mut self.forgets_ahead)
    }
}

impl KazooFlow {
    pub(super) fn collect_dtmf(&mut self, data: Data<'_>) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        let most = data.count("max_digits").unwrap_or(1).clamp(1, DIGITS_MAX);
        let time = |name: &str| data.count(name).map(milliseconds);
        // What is written beats the default of the other key.
        let finish = match (data.value("terminator"), data.value("terminators")) {
            (None, Some(_)) => data.digits("terminators"),
            (Some(_) | None, _) => DigitSet::of(data.text("terminator").unwrap_or("#")),
        };
        let collect = Collect {
            prompts: Vec::new(),
            digits_max: usize::try_from(most).unwrap_or(1),
            finish,
            first_digit: time("timeout"),
            between_digits: Some(time("interdigit_timeout").unwrap_or(BETWEEN)),
            total: None,
            typed_ahead: self.collections.takes_ahead(),
        };
        self.act(Action::Collect(collect), Then::Collected)
    }

    pub(super) fn collected(&mut self, outcome: &Outcome) -> Next {
        if let (Outcome::Collected(collected), Some(node)) = (outcome, self.node()) {
            let name = node.data().filled("collection_name").unwrap_or(DEFAULT);
            self.collections.set(name, collected.digits.to_string());
        }
        Next::on()
    }

    pub(super) fn flush_dtmf(&mut self, data: Data<'_>) -> Next {
        let name = data.filled("collection_name").unwrap_or(DEFAULT);
        self.collections.named.retain(|(known, _)| known != name);
        if name == DEFAULT {
            self.collections.forgets_ahead = true;
        }
        Next::on()
    }
}
