//! What is said on a leg beyond ringing, answering and hanging up.

use std::time::Instant;

use tipring_model::LegId;
use tipring_model::line::LineEvent;
use tipring_model::signal::{FarSignal, LegSignal, SignalExtras, fitting, is_extra_header};
use tipring_sip::NameAddr;
use tipring_sip::message::Message;
use tipring_sip::ua::CallKey;

use super::facts::own_headers;
use super::stack::Stack;

impl Stack {
    // --- From the calls.

    /// Says something. A leg without a dialog of its own, after a transfer, has nobody to say it to.
    pub(super) fn signal(&mut self, now: Instant, id: LegId, signal: LegSignal) {
        match signal {
            LegSignal::Extras(extras) => self.extras(id, extras),
            LegSignal::Ringing => self.alert(now, id, false),
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

    // --- From the user agent.

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
