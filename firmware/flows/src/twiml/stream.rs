//! `Start`, `Stop` and `Connect`: streams, and what else runs beside a call.

use std::rc::Rc;

use tipring_model::ActionId;
use tipring_model::fetch::Method;
use tipring_model::flow::{Action, ActionFailure, Moment, Outcome, Stream, StreamEnd};

use super::attributes::{Attributes, PARAMETERS_MAX, children_named, parameters};
use super::flow::TwimlFlow;
use super::names::Name;
use super::params::{Fields, field, iso_time};
use super::parse::{child_path, number_of};
use super::script::{Script, Verb, Waiting};
use super::settings::Address;
use crate::address;
use crate::xml::Element;

/// Streams that run at a time in one call.
const STREAMS_MAX: usize = 4;
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A stream.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub(super) action: ActionId,
    name: String,
    sid: String,
    callback: Option<Address>,
    path: String,
    /// Its server was reached.
    began: bool,
}

/// A stream that the script waits for.
#[derive(Debug)]
pub(super) struct Duplex {
    verb: Verb,
    to: Option<(String, Method)>,
    pub(super) beside: Beside,
}

impl TwimlFlow {
    pub(super) fn start_start(&mut self, now: Moment, script: &mut Script, verb: &Verb) {
        let element = Rc::clone(&verb.element);
        self.warn_all(Attributes::of(&element, Name::Start), &verb.path);
        let mut failure = None;
        let mut count = 0;
        for (at, child) in element.children.iter().enumerate() {
            let path = child_path(&verb.path, child, at);
            let kind = Name::of(&child.name).filter(|name| Name::Start.children().contains(name));
            count += usize::from(kind.is_some());
            let result = match kind {
                Some(Name::Stream) => match self.open_stream(script, child, &path, false) {
                    Ok(stream) => {
                        self.streams.push(stream);
                        Ok(())
                    }
                    Err(code) => Err(code),
                },
                Some(Name::Recording) => {
                    self.start_recording(now, script, child, &path);
                    Ok(())
                }
                Some(Name::Siprec | Name::Transcription) => self.start_unheard(now, script, child, &path),
                Some(_) | None => Ok(()),
            };
            if let Err(code) = result {
                self.warn(code, &path);
                failure = failure.or(Some(code));
            }
        }
        match failure {
            None if count == 0 => self.fail(script, verb, "TR-FLOW-ATTRIBUTE-MISSING"),
            None => self.succeed(script, verb, ""),
            Some(code) => self.fail(script, verb, code),
        }
    }

    /// Begins a stream.
    fn open_stream(
        &mut self,
        script: &Script,
        element: &Element,
        path: &str,
        speaks: bool,
    ) -> Result<Beside, &'static str> {
        let mut attributes = Attributes::of(element, Name::Stream);
        let tracks = ["inbound_track", "outbound_track", "both_tracks"];
        let track = attributes.choice("track", &tracks).unwrap_or("inbound_track");
        if speaks && track != "inbound_track" {
            attributes.note("track", "TR-FLOW-NO-EFFECT");
        }
        let method = attributes.method("statusCallbackMethod", Method::Post);
        let callback = attributes.url("statusCallback", script.base.as_deref());
        let callback = callback.map(|url| Address { url, method });
        let name = attributes.word("name").unwrap_or("");
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        let url = attributes.word("url").unwrap_or("");
        self.warn_all(attributes, path);
        let Some(url) = address::socket(url) else { return Err("TR-STREAM-URL") };
        if self.streams.len() >= STREAMS_MAX {
            return Err("TR-FLOW-LIMIT");
        }
        if !name.is_empty() && self.streams.iter().any(|stream| stream.name == name) {
            self.warn("TR-FLOW-NAME-TWICE", path);
        }
        if children_named(element, Name::Parameter).count() > PARAMETERS_MAX {
            self.warn("TR-FLOW-LIMIT", path);
        }
        let sid = self.next_sid("MZ");
        let hears = match (speaks, track) {
            (true, _) | (false, "inbound_track") => (true, false),
            (false, "outbound_track") => (false, true),
            (false, _) => (true, true),
        };
        let stream = Stream {
            url,
            name: name.clone(),
            id: sid.clone(),
            names: (self.terms.account_sid.clone(), self.sid_of(script.leg)),
            hears,
            speaks,
            parameters: parameters(element, Name::Parameter),
        };
        let action = self.act(script.leg, Action::Stream(stream));
        Ok(Beside { action, name, sid, callback, path: path.to_owned(), began: false })
    }

    /// The server of a stream is reached.
    pub(super) fn stream_began(&mut self, now: Moment, id: ActionId) {
        let of_scripts = self.scripts.iter_mut().filter_map(|script| {
            if let Waiting::Stream { duplex, .. } = &mut script.waiting {
                Some(&mut duplex.beside)
            } else {
                None
            }
        });
        let found = self.streams.iter_mut().chain(of_scripts).find(|stream| stream.action == id);
        let Some(stream) = found else { return };
        stream.began = true;
        let stream = stream.clone();
        self.tell_stream(now, &stream, "stream-started", None);
    }

    fn tell_stream(&mut self, now: Moment, stream: &Beside, event: &str, error: Option<&str>) {
        let Some(to) = stream.callback.clone() else { return };
        let mut fields = vec![
            field("AccountSid", self.terms.account_sid.clone()),
            field("CallSid", self.sid_of(self.leg)),
            field("StreamSid", stream.sid.clone()),
            field("StreamName", stream.name.clone()),
            field("StreamEvent", event),
        ];
        fields.extend(error.map(|error| field("StreamError", error)));
        fields.push(field("Timestamp", iso_time(now.unix_ms)));
        self.tell("twiml.stream", (&to.url, to.method), fields, event != "stream-started");
    }

    /// A stream is over; `error` says why if it should not be.
    pub(super) fn stream_over(&mut self, now: Moment, stream: &Beside, error: Option<&'static str>) {
        match error {
            // What never began has nothing to stop.
            None if !stream.began => {}
            None => self.tell_stream(now, stream, "stream-stopped", None),
            Some(code) => {
                self.warn(code, &stream.path);
                self.tell_stream(now, stream, "stream-error", Some(code));
            }
        }
    }

    /// A stream that runs beside the script is over; false if `id` is none.
    pub(super) fn stream_ended(&mut self, now: Moment, id: ActionId, outcome: &Outcome) -> bool {
        let Some(at) = self.streams.iter().position(|stream| stream.action == id) else { return false };
        let stream = self.streams.remove(at);
        self.stream_over(now, &stream, stream_error(outcome));
        true
    }

    /// What the box has no means for: its watcher is told once, and the flow goes on.
    fn start_unheard(
        &mut self,
        now: Moment,
        script: &Script,
        element: &Element,
        path: &str,
    ) -> Result<(), &'static str> {
        let is_siprec = Name::of(&element.name) == Some(Name::Siprec);
        let name = if is_siprec { Name::Siprec } else { Name::Transcription };
        let mut attributes = Attributes::of(element, name);
        let key = if is_siprec { "statusCallback" } else { "statusCallbackUrl" };
        let method = attributes.method("statusCallbackMethod", Method::Post);
        let url = attributes.url(key, script.base.as_deref());
        let own_name = attributes.word("name").unwrap_or("").to_owned();
        self.warn_all(attributes, path);
        let (prefix, kind, error) = if is_siprec {
            ("SR", "Siprec", "TR-FLOW-CONNECTOR")
        } else {
            ("GT", "Transcription", "TR-FLOW-NO-RECOGNISER")
        };
        let sid = self.next_sid(prefix);
        if let Some(url) = url {
            let word = kind.to_ascii_lowercase();
            let fields = vec![
                field("AccountSid", self.terms.account_sid.clone()),
                field("CallSid", self.sid_of(script.leg)),
                field(&format!("{kind}Sid"), sid),
                field(&format!("{kind}Name"), own_name),
                field(&format!("{kind}Event"), format!("{word}-error")),
                field(&format!("{kind}Error"), error),
                field("Timestamp", iso_time(now.unix_ms)),
            ];
            self.tell("twiml.stream", (&url, method), fields, true);
        }
        Err(error)
    }

    pub(super) fn start_stop(&mut self, script: &mut Script, verb: &Verb) {
        let element = Rc::clone(&verb.element);
        self.warn_all(Attributes::of(&element, Name::Stop), &verb.path);
        for (at, child) in element.children.iter().enumerate() {
            let Some(kind) = Name::of(&child.name).filter(|name| Name::Stop.children().contains(name)) else {
                continue;
            };
            self.warn_all(Attributes::of(child, kind), &child_path(&verb.path, child, at));
            let name = child.attribute("name").unwrap_or("").trim();
            if kind == Name::Stream {
                let of_name = self.streams.iter().filter(|stream| stream.name == name);
                for action in of_name.map(|stream| stream.action).collect::<Vec<_>>() {
                    self.cancel(action);
                }
            }
        }
        self.succeed(script, verb, "");
    }

    pub(super) fn start_connect(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Connect);
        let to = self.action_of(script, &mut attributes, false);
        self.warn_all(attributes, &verb.path);
        let noun = element.children.iter().enumerate().find_map(|(at, child)| {
            let name = Name::of(&child.name).filter(|name| Name::Connect.children().contains(name))?;
            Some((child_path(&verb.path, child, at), name, Rc::clone(child)))
        });
        let opened = match &noun {
            Some((path, Name::Stream, noun)) => self.open_stream(script, noun, path, true),
            Some(_) => Err(ActionFailure::NotOffered.code()),
            None => Err("TR-FLOW-ATTRIBUTE-MISSING"),
        };
        match opened {
            Ok(beside) => {
                let action = beside.action;
                let duplex = Box::new(Duplex { verb, to, beside });
                script.waiting = Waiting::Stream { action, duplex, began: now.instant };
            }
            Err(code) => {
                let number = if code == ActionFailure::NotOffered.code() { 12_200 } else { number_of(code) };
                let fields = vec![field("ErrorCode", number.to_string())];
                self.dial_over(now, script, verb, to, fields, Err(code));
            }
        }
    }

    pub(super) fn after_connect(
        &mut self,
        now: Moment,
        script: &mut Script,
        duplex: Duplex,
        outcome: &Outcome,
    ) {
        let error = stream_error(outcome);
        self.stream_over(now, &duplex.beside, error);
        let mut fields: Fields = vec![field("StreamSid", duplex.beside.sid.clone())];
        fields.extend(error.map(|error| field("StreamError", error)));
        let result = error.map_or(Ok(""), Err);
        self.dial_over(now, script, duplex.verb, duplex.to, fields, result);
    }
}

/// Why a stream ended, if it should not have.
fn stream_error(outcome: &Outcome) -> Option<&'static str> {
    if let Outcome::Failed(failure) = outcome {
        Some(failure.code())
    } else if let Outcome::Streamed(StreamEnd::Failed(failure)) = outcome {
        Some(failure.code())
    } else {
        None
    }
}
