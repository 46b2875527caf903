//! What is said on a leg beyond ringing, answering and hanging up.

use std::time::Instant;

use tipring_model::LegId;
use tipring_model::line::LineEvent;
use tipring_model::signal::{
    FarSignal, LegSignal, REMARK_BYTES_MAX, Remark, RemarkKind, SignalExtras, fitting, is_extra_header,
    is_media_type,
};
use tipring_sip::NameAddr;
use tipring_sip::message::Message;
use tipring_sip::ua::{CallKey, INFO_TYPES, TextMethod};

use super::facts::own_headers;
use super::legs::info_digit;
use super::stack::Stack;

impl Stack {
    // --- From the calls.

    /// Says something. A leg without a dialog of its own, after a transfer, has nobody to say it to.
    pub(super) fn signal(&mut self, now: Instant, id: LegId, signal: LegSignal) {
        match signal {
            LegSignal::Extras(extras) => self.extras(id, extras),
            LegSignal::Ringing => self.alert(now, id, false),
            LegSignal::Remark(remark) => self.say(now, id, &remark),
            LegSignal::Takes(takes) => {
                let keys = self.legs.get_mut(id).map_or_else(Vec::new, |leg| leg.keys.clone());
                for key in keys {
                    let _ = self.ua.take_texts(key, takes.remarks);
                }
            }
            LegSignal::Refer(other) => self.refer_to_leg(now, id, other),
            // The call says that in another way.
            LegSignal::AnswerReferral(_) => {}
        }
    }

    fn extras(&mut self, id: LegId, extras: SignalExtras) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.refuses_with = extras.status.filter(|status| (300..700).contains(status));
        let keys = leg.keys.clone();
        let own = extras.headers.into_iter().filter(|(name, value)| is_extra_header(name, value));
        let headers: Vec<(String, String)> = fitting(own).collect();
        for key in keys {
            let mut headers = headers.clone();
            if let Some(name) = &extras.display_name
                && let Some(uri) = self.ua.contact_of(key)
            {
                // RFC 3325 §9.1: who answers, in a response.
                headers.push(("P-Asserted-Identity".to_owned(), NameAddr::new(name, uri).to_string()));
            }
            // It fails only for a call that has just ended.
            let _ = self.ua.add_headers(key, headers);
        }
    }

    /// Sends a text. There must be somebody who hears of it if it cannot be.
    fn say(&mut self, now: Instant, id: LegId, remark: &Remark) {
        let found = self.legs.get_mut(id).map(|leg| (leg.line, leg.keys.first().copied()));
        let (line, key) = match (found, self.transfers.line_of(id)) {
            (Some(found), _) => found,
            (None, Some(line)) => (line, None),
            (None, None) => return,
        };
        let is_sound = is_media_type(&remark.media_type) && remark.body.len() <= REMARK_BYTES_MAX;
        let sent = key.filter(|_| is_sound).is_some_and(|key| {
            let headers = remark.headers.iter().filter(|(name, value)| is_extra_header(name, value)).cloned();
            let _ = self.ua.add_headers(key, fitting(headers).collect());
            let method = match remark.kind {
                RemarkKind::Info => TextMethod::Info,
                RemarkKind::Message => TextMethod::Message,
            };
            self.ua.text(now, key, method, &remark.media_type, &remark.body).is_ok()
        });
        if !sent {
            let signal = Box::new(FarSignal::Unsaid);
            self.events.push_back((line, LineEvent::Signalled { leg: id, signal }));
        }
    }

    // --- From the user agent.

    /// An INFO: a key, or a text.
    pub(super) fn info(&mut self, call: CallKey, content_type: &str, request: &Message) {
        let Some((leg, found)) = self.legs.of(call) else { return };
        let line = found.line;
        if INFO_TYPES.contains(&content_type) {
            if let Some(digit) = info_digit(content_type, request.body()) {
                self.events.push_back((line, LineEvent::Digit { leg, digit }));
            }
        } else {
            self.remark(call, RemarkKind::Info, request);
        }
    }

    pub(super) fn remark(&mut self, call: CallKey, kind: RemarkKind, request: &Message) {
        let Some((leg, found)) = self.legs.of(call) else { return };
        let line = found.line;
        let remark = Remark {
            kind,
            media_type: request.content_type(),
            body: request.body().to_vec(),
            headers: own_headers(request),
        };
        let signal = Box::new(FarSignal::Remark(remark));
        self.events.push_back((line, LineEvent::Signalled { leg, signal }));
    }

    /// The far end does not take a text of ours.
    pub(super) fn text_refused(&mut self, call: CallKey, status: u16) {
        let Some((leg, found)) = self.legs.of(call) else { return };
        let signal = Box::new(FarSignal::Refused(status));
        self.events.push_back((found.line, LineEvent::Signalled { leg, signal }));
    }

    /// Tells the header fields of a message, where they are others than those of the one before.
    pub(super) fn far_end_said(&mut self, call: CallKey, message: &Message) {
        let Some((id, leg)) = self.legs.of(call) else { return };
        let headers = own_headers(message);
        if headers != leg.said {
            leg.said.clone_from(&headers);
            let line = leg.line;
            let signal = Box::new(FarSignal::Headers(headers));
            self.events.push_back((line, LineEvent::Signalled { leg: id, signal }));
        }
    }

    /// The far end's network sends the call on.
    pub(super) fn forwarding(&mut self, call: CallKey) {
        if let Some((leg, found)) = self.legs.of(call) {
            let line = found.line;
            let signal = Box::new(FarSignal::Forwarding);
            self.events.push_back((line, LineEvent::Signalled { leg, signal }));
        }
    }
}
