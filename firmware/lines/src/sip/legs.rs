//! Legs of SIP lines: their calls in the user agent, their session descriptions,
//! their sockets.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::time::Instant;

use tipring_media::codec::{CODECS, CodecId};
use tipring_media::rtp::endpoint::Events;
use tipring_media::rtp::{Direction, RtpEndpoint, RtpMedia, RtpUpdate};
use tipring_media::{Command, Rate};
use tipring_model::{Digit, LegId, LineId};
use tipring_sip::sdp::{self, Local, Negotiated, SdpError};
use tipring_sip::ua::CallKey;

use crate::MediaPort;

/// Payload types that we offer for codecs without one of their own.
const DYNAMIC_OPUS: u8 = 111;
const TELEPHONE_EVENT: u8 = 101;
const PTIME_MS: u16 = 20;

/// One leg.
pub(super) struct SipLeg {
    pub(super) line: LineId,
    /// Calls of the user agent: one, or one for each contact while a telephone with
    /// several rings.
    pub(super) keys: Vec<CallKey>,
    pub(super) placed: bool,
    pub(super) answered: bool,
    /// The release was asked for here.
    pub(super) released: Option<tipring_model::Cause>,
    pub(super) refusal: Option<tipring_model::Cause>,
    /// The SIP status that said so.
    pub(super) status: Option<u16>,
    /// SIP status of its refusal, where the flow has one of its own.
    pub(super) refuses_with: Option<u16>,
    /// The header fields of the last message of the far end.
    pub(super) said: Vec<(String, String)>,
    pub(super) audio: Audio,
}

/// The audio of a leg: what we say about it, and what was agreed.
pub(super) struct Audio {
    pub(super) local: Local,
    /// Bound and waiting for the engine; `None` once the engine has it.
    socket: Option<UdpSocket>,
    negotiated: Option<Negotiated>,
    /// Our answer to the peer's offer, to be sent when the leg is answered.
    pub(super) answer: Option<Vec<u8>>,
    signalling: IpAddr,
    pub(super) held: bool,
}

impl Audio {
    pub(super) fn new(
        socket: UdpSocket,
        address: IpAddr,
        codecs: &[String],
        id: u64,
        signalling: IpAddr,
    ) -> Self {
        let port = socket.local_addr().map_or(0, |address| address.port());
        let local = Local {
            address,
            port,
            session_id: id,
            version: 1,
            codecs: codecs.iter().filter_map(|name| sdp_codec(name)).collect(),
            telephone_event: Some(TELEPHONE_EVENT),
            ptime_ms: PTIME_MS,
            direction: sdp::Direction::SendRecv,
        };
        Self { local, socket: Some(socket), negotiated: None, answer: None, signalling, held: false }
    }

    /// Takes the peer's offer; what we answer is kept in [`Self::answer`].
    pub(super) fn take_offer(&mut self, offer: &[u8]) -> Result<(), SdpError> {
        let (answer, negotiated) = sdp::answer(offer, &self.local)?;
        codec_of(&negotiated).ok_or(SdpError::NoCodec)?;
        self.answer = Some(answer);
        self.agree(negotiated);
        Ok(())
    }

    /// Takes the peer's answer to our offer.
    pub(super) fn take_answer(&mut self, answer: &[u8]) -> Result<(), SdpError> {
        let negotiated = sdp::read_answer(answer, &self.local)?;
        codec_of(&negotiated).ok_or(SdpError::NoCodec)?;
        self.agree(negotiated);
        Ok(())
    }

    fn agree(&mut self, negotiated: Negotiated) {
        self.held = !negotiated.direction.sends();
        self.negotiated = Some(negotiated);
    }

    pub(super) const fn is_agreed(&self) -> bool {
        self.negotiated.is_some()
    }

    /// Name of the agreed codec.
    pub(super) fn codec_name(&self) -> &'static str {
        self.negotiated.as_ref().and_then(codec_of).map_or("", |codec| codec.codec().name)
    }

    /// Rate of the agreed codec.
    pub(super) fn rate(&self) -> Rate {
        self.negotiated.as_ref().and_then(codec_of).map_or(Rate::Narrow, |codec| codec.codec().rate)
    }

    /// The far end is another one, whose signalling comes from here.
    pub(super) const fn moves_to(&mut self, signalling: IpAddr) {
        self.signalling = signalling;
    }

    /// Gives the audio to the engine, or tells it what is new. False when the
    /// codec cannot be had.
    pub(super) fn connect(&mut self, leg: LegId, media: &MediaPort, now: Instant, random: u128) -> bool {
        let Some(agreed) = self.negotiated.as_ref().and_then(|negotiated| rtp(negotiated, self.signalling))
        else {
            return true; // Nothing is agreed yet.
        };
        match self.socket.take() {
            Some(socket) => match RtpEndpoint::new(socket, agreed, random, now) {
                Ok(endpoint) => {
                    media.send(Command::attach(leg, endpoint));
                    media.send(Command::Listen { leg, inband: true });
                    true
                }
                Err(_) => false,
            },
            None => match RtpUpdate::new(agreed) {
                Ok(update) => {
                    media.send(Command::Update { leg, update });
                    true
                }
                Err(_) => false,
            },
        }
    }

    pub(super) const fn is_attached(&self) -> bool {
        self.socket.is_none()
    }
}

fn sdp_codec(name: &str) -> Option<sdp::Codec> {
    let codec = CODECS.iter().find(|codec| codec.name.eq_ignore_ascii_case(name))?;
    Some(sdp::Codec {
        name: codec.name.to_owned(),
        payload_type: codec.payload_type.unwrap_or(DYNAMIC_OPUS),
        clock_rate: codec.clock_hz,
        channels: codec.channels,
        fmtp: codec.fmtp.map(str::to_owned),
    })
}

fn codec_of(negotiated: &Negotiated) -> Option<CodecId> {
    CodecId::find(&negotiated.codec.name, negotiated.codec.clock_rate)
}

fn rtp(negotiated: &Negotiated, signalling: IpAddr) -> Option<RtpMedia> {
    let codec = codec_of(negotiated)?;
    let mut media = RtpMedia::new(codec, negotiated.codec.payload_type, negotiated.remote);
    media.remote = (!negotiated.remote.ip().is_unspecified()).then_some(negotiated.remote);
    media.events = negotiated
        .telephone_event
        .map(|event| Events { payload_type: event.send, clock_hz: event.clock_rate });
    media.signalling = Some(signalling);
    media.direction = match (negotiated.direction.sends(), negotiated.direction.receives()) {
        (true, true) => Direction::SendReceive,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::ReceiveOnly,
        (false, false) => Direction::Inactive,
    };
    media.ptime_ms = u8::try_from(negotiated.ptime_ms).unwrap_or(20);
    Some(media)
}

/// Every leg of the SIP lines, found by either of its names.
#[derive(Default)]
pub(super) struct Legs {
    legs: HashMap<LegId, SipLeg>,
    by_key: HashMap<CallKey, LegId>,
}

impl Legs {
    pub(super) fn insert(&mut self, id: LegId, leg: SipLeg) {
        for key in &leg.keys {
            self.by_key.insert(*key, id);
        }
        self.legs.insert(id, leg);
    }

    pub(super) fn get_mut(&mut self, id: LegId) -> Option<&mut SipLeg> {
        self.legs.get_mut(&id)
    }

    pub(super) fn of(&mut self, key: CallKey) -> Option<(LegId, &mut SipLeg)> {
        let id = *self.by_key.get(&key)?;
        Some((id, self.legs.get_mut(&id)?))
    }

    /// The call is over in the user agent. Returns its leg.
    pub(super) fn drop_key(&mut self, key: CallKey) -> Option<(LegId, &mut SipLeg)> {
        let id = self.by_key.remove(&key)?;
        let leg = self.legs.get_mut(&id)?;
        leg.keys.retain(|known| *known != key);
        Some((id, leg))
    }

    pub(super) fn remove(&mut self, id: LegId) -> Option<SipLeg> {
        let leg = self.legs.remove(&id)?;
        for key in &leg.keys {
            self.by_key.remove(key);
        }
        Some(leg)
    }

    pub(super) fn len(&self) -> usize {
        self.legs.len()
    }
}

/// The key that an INFO body carries: `Signal=5` lines of
/// `application/dtmf-relay`, or the bare key of `application/dtmf`.
pub(super) fn info_digit(media_type: &str, body: &[u8]) -> Option<Digit> {
    const BODY_BYTES_MAX: usize = 256;
    let body = str::from_utf8(body.get(..body.len().min(BODY_BYTES_MAX))?).ok()?;
    let signal = if media_type.eq_ignore_ascii_case("application/dtmf-relay") {
        body.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?
    } else {
        body.trim()
    };
    match signal {
        // Some telephones name the two keys by their event codes.
        "10" => Some(Digit::Star),
        "11" => Some(Digit::Hash),
        _ => {
            let mut chars = signal.chars();
            let digit = chars.next().and_then(Digit::from_char);
            digit.filter(|_| chars.next().is_none())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_bodies_name_one_key() {
        for (media_type, body, digit) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", Some(Digit::D5)),
            ("application/dtmf-relay", "Signal= *\nDuration= 250", Some(Digit::Star)),
            ("application/dtmf-relay", "signal=11", Some(Digit::Hash)),
            ("application/dtmf", "#", Some(Digit::Hash)),
            ("application/dtmf", "12", None),
            ("application/dtmf", "", None),
            ("application/dtmf-relay", "Duration=160", None),
        ] {
            assert_eq!(info_digit(media_type, body.as_bytes()), digit, "{body}");
        }
        assert_eq!(info_digit("application/dtmf", &[0xff]), None);
    }
}
