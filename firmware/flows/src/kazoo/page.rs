//! `page_group`: telephones that answer by themselves and hear the caller.

use std::time::Duration;

use tipring_model::flow::{Action, DialTarget, Outcome, Page};

use super::endpoints::{Item, Wish};
use super::flow::{KazooFlow, Next, Then, timeout};
use super::keys::Data;
use crate::json::Json;

/// Telephones of one page: the box has no more legs for a call.
const TELEPHONES_MAX: usize = 15;
/// How long telephones are waited for where nothing says so.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest page: whoever does not hang up would keep the office from telephoning.
const LENGTH_MAX: Duration = Duration::from_secs(600);

impl KazooFlow {
    pub(super) fn page_group(&mut self, data: Data<'_>) -> Next {
        let written = data.value("endpoints").map_or(&[][..], Json::items);
        let items: Vec<Item> = written.iter().filter_map(|json| self.listed_item(json)).collect();
        let wish = Wish { ignores_forward: true, ..Wish::default() };
        let mut targets = Vec::new();
        for endpoint in self.endpoints_of(items, wish) {
            // Everybody at once, and each once.
            let target = DialTarget::new(endpoint.target.target);
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        if targets.is_empty() {
            return self.fail("TR-DIAL-NO-TARGET");
        }
        if let Some(next) = self.answer_first() {
            return next;
        }
        if targets.len() > TELEPHONES_MAX {
            targets.truncate(TELEPHONES_MAX);
            if let Some(node) = self.node() {
                self.warn_key(&node, "TR-FLOW-LIMIT", "endpoints");
            }
        }
        let headers = self.headers(data);
        for target in &mut targets {
            target.headers = headers.clone();
            target.auto_answer = true;
        }
        let page = Page {
            targets,
            two_way: data.text("audio") == Some("two-way"),
            ring_max: timeout(data, ANSWER),
            length_max: LENGTH_MAX,
            caller_id: self.shown(),
        };
        self.act(Action::Page(page), Then::Paged)
    }

    pub(super) fn paged(&mut self, outcome: &Outcome) -> Next {
        if matches!(outcome, Outcome::Dialed(dialed) if dialed.answered.is_some()) {
            self.served = true;
            return Next::Stop;
        }
        self.fail("TR-DIAL-NO-ANSWER")
    }
}
