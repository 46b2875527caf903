//! Passing packets on as they come, without waiting for a slot: untouched where both
//! legs speak the same, and through decoder and encoder where only the codecs differ.
//! The far end has a jitter buffer of its own; a second one here would only add delay.

use std::time::Instant;

use super::Engine;
use crate::{
    endpoint::{RelayPacket, RelayRead},
    leg::Leg,
};

/// Samples of the longest packet at 16 kHz, and of what may be made up before it.
pub(super) const SAMPLES_MAX: usize = 4_096;

/// How the payload of a leg reaches the one that hears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Relay {
    /// Place of the leg it comes from.
    pub(super) from: usize,
    /// Whether it is decoded and encoded on the way.
    pub(super) converts: bool,
}

impl Engine {
    /// The socket at `place`, whose leg relays, is readable: passes one packet on.
    /// False if nothing was there.
    pub(crate) fn relay(&mut self, now: Instant, place: usize) -> bool {
        // What was ready may have stopped relaying since it was found to be.
        let relays = |leg: &Option<Box<Leg>>| leg.as_ref().is_some_and(|leg| leg.relays_to.is_some());
        if !self.legs.get(place).is_some_and(relays) {
            return false;
        }
        let Some(Some(mut from)) = self.legs.get_mut(place).map(Option::take) else {
            return false;
        };
        let read = from.endpoint.relay_read(now, &mut self.datagram);
        let more = match read {
            RelayRead::Packet(packet) => {
                if let Some(to) = from.relays_to
                    && let Some(Some(to)) = self.legs.get_mut(to)
                {
                    if !from.converts {
                        to.endpoint.relay_send(now, &packet);
                        self.relayed += 1;
                    } else if !packet.event {
                        // An event is passed on as a digit, since its clock may differ.
                        convert(now, &mut from, to, &packet, &mut self.samples);
                        self.converted += 1;
                    }
                }
                true
            }
            RelayRead::Kept => true,
            RelayRead::Empty => false,
        };
        self.legs[place] = Some(from);
        more
    }
}

/// Decodes a packet and sends each 20 ms that are complete; the rest waits in the frame
/// that holds what was heard.
fn convert(now: Instant, from: &mut Leg, to: &mut Leg, packet: &RelayPacket<'_>, samples: &mut [i16]) {
    let decoded = from.endpoint.relay_decode(packet, samples);
    if !decoded.follows {
        from.gathered = 0;
        to.endpoint.fall_behind();
    }
    for sample in &samples[..decoded.samples.min(samples.len())] {
        let frame = from.heard.samples_mut();
        let length = frame.len();
        frame[from.gathered] = *sample;
        from.gathered += 1;
        if from.gathered < length {
            continue;
        }
        from.gathered = 0;
        if from.heard.rate() == to.endpoint.rate() {
            to.endpoint.send(now, &from.heard);
        } else {
            from.heard_converter.convert(&from.heard, &mut from.heard_other);
            to.endpoint.send(now, &from.heard_other);
        }
    }
}
