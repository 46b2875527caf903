//! A running call is told from outside to run another document.

use tipring_model::Cause;
use tipring_model::MessageId;
use tipring_model::fetch::Method;
use tipring_model::flow::{Action, FlowOutput, Message, Moment, Reply};

use super::flow::TwimlFlow;
use super::params::Fields;
use super::parse;
use super::request::{Pending, Purpose};
use super::script::{Role, Script, Waiting};
use crate::address;

fn reply(status: u16, text: &str) -> Reply {
    Reply { status, media_type: "text/plain".to_owned(), body: text.as_bytes().to_vec() }
}

/// The call is over.
pub(super) fn gone() -> Reply {
    reply(404, "TR-CONTROL-NO-CALL")
}

/// What a message wants.
enum Wish {
    Run(std::rc::Rc<crate::xml::Element>),
    Fetch(String, Method),
    End,
}

impl TwimlFlow {
    /// A POST with a form: `Twiml` is a document, `Url` and `Method` say where one is,
    /// `Status=completed` ends the call.
    pub(super) fn update(&mut self, now: Moment, id: MessageId, message: &Message) {
        if self.closing.is_some() {
            return self.push(FlowOutput::Reply(id, gone()));
        }
        let wish = if message.method.eq_ignore_ascii_case("POST") {
            self.wish(&message.body)
        } else {
            Err((405, "TR-FLOW-METHOD"))
        };
        let wish = match wish {
            Err((status, code)) => return self.push(FlowOutput::Reply(id, reply(status, code))),
            Ok(wish) => wish,
        };
        self.push(FlowOutput::Reply(id, reply(200, "")));
        for script in std::mem::take(&mut self.scripts) {
            if let Some(action) = script.waiting.action() {
                self.cancel(action);
            }
            if let Waiting::Queue { stay, began, .. } = &script.waiting {
                self.queue_redirected(now, stay, *began);
            }
        }
        self.end_callees(now, Cause::NormalClearing);
        self.callees.clear();
        let mut script = Script::new(Role::Main, self.leg);
        match wish {
            Wish::Run(root) => self.run_document(&mut script, root, None),
            Wish::Fetch(url, method) => {
                let pending = Pending::new(url, method, Fields::new(), Purpose::Beside);
                self.send(now, &mut script, Box::new(pending));
            }
            Wish::End if self.answered => return self.release(now, "update"),
            Wish::End => {
                self.act(self.leg, Action::Reject(Cause::Rejected));
                return self.close(now, Cause::Rejected, "update");
            }
        }
        self.put(now, script);
    }

    fn wish(&self, body: &[u8]) -> Result<Wish, (u16, &'static str)> {
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
        let value =
            |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim());
        if let Some(document) = value("Twiml") {
            let read = parse::document(document.as_bytes(), None, self.terms.lenient_prolog);
            return read.map(Wish::Run).map_err(|error| (400, error.code));
        }
        if let Some(url) = value("Url") {
            let url = address::resolve_with_fragment(None, url).ok_or((400, "TR-HOOK-URL"))?;
            let method = match value("Method").and_then(Method::parse) {
                Some(Method::Get) => Method::Get,
                Some(_) | None => Method::Post,
            };
            return Ok(Wish::Fetch(url, method));
        }
        if matches!(value("Status"), Some("completed" | "canceled")) {
            return Ok(Wish::End);
        }
        Err((400, "TR-FLOW-ATTRIBUTE-MISSING"))
    }
}
