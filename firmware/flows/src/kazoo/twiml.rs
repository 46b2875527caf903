//! Pivot servers that answer in TwiML: the call is handed over to that dialect.

use std::rc::Rc;

use tipring_model::call::CallFacts;
use tipring_model::fetch::{HttpRequest, HttpResponse, Method};
use tipring_model::flow::{Flow as _, FlowInput, FlowOutput, Moment};
use tipring_model::{ActionId, Cause, FetchId};

use super::flow::{KazooFlow, Next};
use super::keys::Data;
use super::webhook::own_headers;
use crate::address;
use crate::twiml::{self, First, Profile, Terms, TwimlFlow};

/// The code of what keeps a document from running; none if it will run.
pub(super) fn fault(document: &[u8]) -> Option<&'static str> {
    let findings = (twiml::DIALECT.check)(document);
    findings.into_iter().find(|finding| finding.fatal).map(|finding| finding.code)
}

impl KazooFlow {
    /// What a run for this node keeps to.
    fn terms(&self, data: Data<'_>, method: Method) -> Terms {
        Terms {
            account_sid: self.app.account.clone(),
            skips_unknown: true,
            // 503, as the platform refuses.
            rejects_with: Cause::NoCircuit,
            language: self.language.as_str().to_owned(),
            method,
            sends_json: data.text("req_body_format") == Some("json"),
            headers: own_headers(data),
            cdr_url: data.filled("cdr_url").and_then(address::absolute),
            returns_first_failure: true,
            ..Terms::of(Profile::Pivot, &self.app.people)
        }
    }

    /// The call as TwiML is told of it: by numbers, from wherever it comes.
    fn twiml_facts(&self) -> Option<CallFacts> {
        let mut facts = self.facts()?.clone();
        facts.answered = self.answered;
        facts.origin.extension = None;
        Some(facts)
    }

    /// The digits that were collected, by the names of their collections.
    fn digit_fields(&self) -> Vec<(String, String)> {
        let collected = self.collections.named.iter().filter(|(_, digits)| !digits.is_empty());
        collected.map(|(name, digits)| (format!("Digits[{name}]"), digits.clone())).collect()
    }

    /// The first request with the names of TwiML; `plain` says where and how it goes.
    pub(super) fn twiml_request(&self, data: Data<'_>, plain: &HttpRequest) -> HttpRequest {
        let Some(facts) = self.twiml_facts() else { return plain.clone() };
        let terms =
            Terms { timeout: plain.timeout, fields: self.digit_fields(), ..self.terms(data, plain.method) };
        let request = twiml::first_request(&terms, &plain.url, &facts);
        HttpRequest { total: plain.total, body_max_bytes: plain.body_max_bytes, ..request }
    }

    /// The rest of the call is the document's. `asked` is the address by which it was asked
    /// for, without the fields of the box: it is what later requests are resolved against,
    /// unless a redirect has led elsewhere.
    pub(super) fn hand_over(&mut self, now: Moment, asked: &str, answer: &HttpResponse) -> Next {
        let (Some(node), Some(facts)) = (self.node(), self.twiml_facts()) else { return Next::Stop };
        let terms = self.terms(node.data(), self.app.twiml_default_method);
        let terms = Terms { fields: self.digit_fields(), ..terms };
        // It was found to be TwiML, whatever it is called.
        let is_same = answer.url.split('?').next() == asked.split('?').next();
        let url = if is_same { asked.to_owned() } else { answer.url.clone() };
        let answer = HttpResponse { media_type: Some("text/xml".to_owned()), url, ..answer.clone() };
        let (people, first) = (Rc::clone(&self.app.people), First::Answer(Box::new(answer)));
        let (action, fetch): (ActionId, FetchId) = self.last_numbers();
        let mut run = TwimlFlow::new(Rc::new(terms), people, first).numbered_after(action, fetch);
        run.handle(now, FlowInput::Started(&facts));
        if let Some(code) = run.failed_first() {
            return self.fail(code);
        }
        self.forget_parents();
        Next::HandOver(Box::new(run))
    }

    /// Passes on what a run of TwiML wants; its end is the call's.
    pub(super) fn drain_twiml(&mut self, run: &mut TwimlFlow) {
        while let Some(output) = run.poll() {
            if let FlowOutput::End { cause, label } = &output {
                return self.end(*cause, label);
            }
            self.push(output);
        }
    }
}
