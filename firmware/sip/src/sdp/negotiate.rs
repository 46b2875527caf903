//! Offer and answer: RFC 3264 §6 and §7 for one audio stream.

use std::net::{IpAddr, SocketAddr};

use super::{Codec, Direction, Local, Media, SdpError, Session};

/// Payload types for telephone-event, RFC 4733.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// What this side puts into its packets.
    pub send: u8,
    /// What the peer puts into its packets.
    pub receive: u8,
    /// Clock rate of both in Hz.
    pub clock_rate: u32,
}

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Where this side sends audio. Unspecified (`0.0.0.0`) while the peer holds the old way;
    /// then nothing may be sent, and `direction` says so.
    pub remote: SocketAddr,
    /// The codec; its payload type is what this side sends, its `fmtp` what the peer asks for.
    pub codec: Codec,
    /// Payload type of the codec in the peer's packets.
    pub receive_payload_type: u8,
    /// Digits as telephone events; `None` means in the audio or by INFO.
    pub telephone_event: Option<TelephoneEvent>,
    /// Packet time for what this side sends, in milliseconds.
    pub ptime_ms: u16,
    /// Which way audio flows, seen from this side.
    pub direction: Direction,
    /// The peer's `o=` session id and version: the same again means the same description.
    pub origin: Option<(u64, u64)>,
}

fn is_telephone_event(name: &str) -> bool {
    name.eq_ignore_ascii_case("telephone-event")
}

fn usable_profile(profile: &str) -> bool {
    // AVPF differs in feedback only, which nobody has to give (RFC 4585 §3.1).
    profile == "RTP/AVP" || profile == "RTP/AVPF"
}

/// Answers an offer. Returns the description to send and what was agreed.
///
/// The codec is the first of `local`'s preferences that the offer has; its payload types are
/// the offerer's. Every other stream is refused with port 0.
///
/// # Errors
/// [`SdpError`]; [`SdpError::status`] is the refusal.
pub fn answer(offer: &[u8], local: &Local) -> Result<(Vec<u8>, Negotiated), SdpError> {
    let offer = Session::parse(offer)?;
    let mut best: Option<(usize, usize, Negotiated)> = None;
    let mut worst = SdpError::NoAudio;
    for (index, media) in offer.media.iter().enumerate() {
        match accept(media, local, offer.origin) {
            // Of several audio lines, the one with the codec this side likes best.
            Ok((rank, negotiated)) => {
                if best.as_ref().is_none_or(|b| rank < b.0) {
                    best = Some((rank, index, negotiated));
                }
            }
            Err(SdpError::NoAudio) => {}
            Err(error) => worst = error,
        }
    }
    let (_, chosen, negotiated) = best.ok_or(worst)?;
    let mut out = String::with_capacity(512);
    local.write_session(&mut out);
    for (index, media) in offer.media.iter().enumerate() {
        if index == chosen {
            let codec = Codec {
                fmtp: local
                    .codecs
                    .iter()
                    .find(|c| {
                        let n = &negotiated.codec;
                        c.same_encoding(&n.name, n.clock_rate, n.channels)
                    })
                    .and_then(|c| c.fmtp.clone()),
                ..negotiated.codec.clone()
            };
            let events = negotiated.telephone_event.map(|e| (e.send, e.clock_rate));
            let says = negotiated.direction;
            let mut lines = String::new();
            local.write_audio(&mut lines, &[&codec], events, says);
            // RFC 3264 §6.1: the answer repeats the offer's profile.
            out.push_str(&lines.replacen("RTP/AVP", &media.profile, 1));
        } else {
            refuse(&mut out, media);
        }
    }
    Ok((out.into_bytes(), negotiated))
}

/// A stream refused: its line with port 0 (RFC 3264 §6).
fn refuse(out: &mut String, media: &Media) {
    out.push_str("m=");
    out.push_str(&media.kind);
    out.push_str(" 0 ");
    out.push_str(&media.profile);
    match media.formats.first() {
        Some(format) => {
            out.push(' ');
            out.push_str(format);
        }
        None => out.push_str(" 0"),
    }
    out.push_str("\r\n");
}

/// Checks one offered stream; the rank says how well this side likes its codec, 0 best.
fn accept(media: &Media, local: &Local, origin: Option<(u64, u64)>) -> Result<(usize, Negotiated), SdpError> {
    if media.kind != "audio" || media.port == 0 {
        return Err(SdpError::NoAudio);
    }
    if !usable_profile(&media.profile) {
        return Err(SdpError::Profile);
    }
    let remote = remote(media, local)?;
    let encodings: Vec<_> = media.encodings().collect();
    let found = local.codecs.iter().enumerate().find_map(|(rank, codec)| {
        encodings
            .iter()
            .find(|e| codec.same_encoding(&e.name, e.clock_rate, e.channels))
            .map(|e| (rank, codec, e))
    });
    let (rank, codec, encoding) = found.ok_or(SdpError::NoCodec)?;
    let telephone_event = local.telephone_event.and_then(|_| {
        event_type(media, codec.clock_rate).map(|pt| TelephoneEvent {
            send: pt,
            receive: pt,
            clock_rate: codec.clock_rate,
        })
    });
    Ok((
        rank,
        Negotiated {
            remote,
            codec: Codec {
                name: codec.name.clone(),
                payload_type: encoding.payload_type,
                clock_rate: codec.clock_rate,
                channels: codec.channels,
                fmtp: media.fmtp(encoding.payload_type).map(str::to_owned),
            },
            receive_payload_type: encoding.payload_type,
            telephone_event,
            ptime_ms: media.ptime_ms.unwrap_or(local.ptime_ms),
            direction: local.direction.meet(media.direction),
            origin,
        },
    ))
}

/// The telephone-event payload type with the codec's clock rate.
fn event_type(media: &Media, clock_rate: u32) -> Option<u8> {
    media
        .encodings()
        .find(|e| is_telephone_event(&e.name) && e.clock_rate == clock_rate)
        .map(|e| e.payload_type)
}

fn remote(media: &Media, local: &Local) -> Result<SocketAddr, SdpError> {
    let address = media.address.ok_or(SdpError::Address)?;
    let same_family =
        matches!((address, local.address), (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)));
    if !same_family {
        return Err(SdpError::Address);
    }
    Ok(SocketAddr::new(address, media.port))
}

/// Reads the answer to [`Local::offer`] of the same `local`.
///
/// # Errors
/// [`SdpError`]; the call cannot go on with this answer.
pub fn read_answer(answer: &[u8], local: &Local) -> Result<Negotiated, SdpError> {
    let answer = Session::parse(answer)?;
    // One line was offered, so the first line is its answer.
    let media = answer.media.first().ok_or(SdpError::NoAudio)?;
    if media.kind != "audio" {
        return Err(SdpError::Mismatch);
    }
    if media.port == 0 {
        return Err(SdpError::NoAudio);
    }
    if !usable_profile(&media.profile) {
        return Err(SdpError::Profile);
    }
    let remote = remote(media, local)?;
    // The answerer's order counts (RFC 3264 §6.1), whatever ours was.
    let chosen = media.encodings().find_map(|e| {
        local
            .codecs
            .iter()
            .find(|c| c.same_encoding(&e.name, e.clock_rate, e.channels))
            .map(|c| (c, e.payload_type))
    });
    let (codec, payload_type) = chosen.ok_or(SdpError::NoCodec)?;
    let telephone_event = local.telephone_event.and_then(|receive| {
        event_type(media, codec.clock_rate).map(|send| TelephoneEvent {
            send,
            receive,
            clock_rate: codec.clock_rate,
        })
    });
    Ok(Negotiated {
        remote,
        codec: Codec { payload_type, fmtp: media.fmtp(payload_type).map(str::to_owned), ..codec.clone() },
        receive_payload_type: codec.payload_type,
        telephone_event,
        ptime_ms: media.ptime_ms.unwrap_or(local.ptime_ms),
        direction: local.direction.meet(media.direction),
        origin: answer.origin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Local {
        Local {
            address: "192.0.2.1".parse().unwrap(),
            port: 16384,
            session_id: 1,
            version: 1,
            codecs: vec![
                Codec {
                    name: "opus".into(),
                    payload_type: 111,
                    clock_rate: 48000,
                    channels: 2,
                    fmtp: Some("useinbandfec=1".into()),
                },
                Codec::new("G722", 9, 8000),
                Codec::new("PCMA", 8, 8000),
                Codec::new("PCMU", 0, 8000),
            ],
            telephone_event: Some(101),
            ptime_ms: 20,
            direction: Direction::SendRecv,
        }
    }

    fn offer(lines: &str) -> Vec<u8> {
        format!("v=0\r\no=- 3 4 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n{lines}")
            .into_bytes()
    }

    #[test]
    fn own_preference_offerers_payload_types() {
        for (lines, codec, pt, events) in [
            ("m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n", "PCMA", 8, Some(101)),
            ("m=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n", "PCMU", 0, Some(96)),
            ("m=audio 4000 RTP/AVP 96 0\r\na=rtpmap:96 OPUS/48000/2\r\n", "opus", 96, None),
            (
                "m=audio 4000 RTP/AVP 96 97 98\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/8000\r\na=rtpmap:98 telephone-event/48000\r\n",
                "opus",
                96,
                Some(98),
            ),
            ("m=audio 4000 RTP/AVP 18 9\r\n", "G722", 9, None),
            ("m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 PCMA/8000/1\r\n", "PCMA", 97, None),
        ] {
            let (text, n) = answer(&offer(lines), &local()).unwrap();
            assert_eq!(
                (n.codec.name.as_str(), n.codec.payload_type, n.receive_payload_type),
                (codec, pt, pt),
                "{lines}"
            );
            assert_eq!(n.telephone_event.map(|e| (e.send, e.receive)), events.map(|e| (e, e)));
            assert_eq!(n.remote, "198.51.100.7:4000".parse().unwrap());
            assert_eq!(n.origin, Some((3, 4)));
            let back = Session::parse(&text).unwrap();
            assert_eq!(back.media[0].encodings().next().unwrap().payload_type, pt);
        }
    }

    #[test]
    fn refusals_are_typed() {
        for (lines, want) in [
            ("", SdpError::NoAudio),
            ("m=video 4000 RTP/AVP 31\r\n", SdpError::NoAudio),
            ("m=audio 0 RTP/AVP 0\r\n", SdpError::NoAudio),
            ("m=audio 4000 RTP/SAVP 0\r\n", SdpError::Profile),
            ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", SdpError::Profile),
            ("m=audio 4000 RTP/AVP 18 3\r\n", SdpError::NoCodec),
            ("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 PCMA/16000\r\n", SdpError::NoCodec),
            ("m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n", SdpError::NoCodec),
            ("m=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n", SdpError::Address),
            ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n", SdpError::Address),
            ("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 host.example\r\n", SdpError::Address),
            ("m=audio x RTP/AVP 0\r\n", SdpError::Malformed),
        ] {
            assert_eq!(answer(&offer(lines), &local()).unwrap_err(), want, "{lines}");
        }
        assert_eq!((SdpError::Malformed.status(), SdpError::NoCodec.status()), (400, 488));
    }

    #[test]
    fn other_streams_are_refused_and_keep_their_place() {
        let lines = "m=video 5000 RTP/AVP 31 34\r\nm=audio 4000 RTP/SAVP 8\r\nm=audio 4002 RTP/AVP 0\r\nm=audio 4004 RTP/AVP 8\r\nm=image 6000 udptl t38\r\n";
        let (text, n) = answer(&offer(lines), &local()).unwrap();
        let back = Session::parse(&text).unwrap();
        let ports: Vec<_> = back.media.iter().map(|m| (m.kind.as_str(), m.port)).collect();
        assert_eq!(ports, [("video", 0), ("audio", 0), ("audio", 0), ("audio", 16384), ("image", 0)]);
        assert_eq!(n.remote.port(), 4004, "the line with the better codec");
    }

    /// RFC 3264 §6.1 and §8.4: what each says, and what flows.
    #[test]
    fn directions() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        for (ours, theirs, says) in [
            (SendRecv, SendRecv, SendRecv),
            (SendRecv, SendOnly, RecvOnly),
            (SendRecv, RecvOnly, SendOnly),
            (SendRecv, Inactive, Inactive),
            (SendOnly, SendRecv, SendOnly),
            (SendOnly, SendOnly, Inactive),
            (RecvOnly, SendRecv, RecvOnly),
            (Inactive, SendRecv, Inactive),
        ] {
            let lines = format!("m=audio 4000 RTP/AVP 8\r\na={}\r\n", theirs.as_str());
            let (text, n) = answer(&offer(&lines), &Local { direction: ours, ..local() }).unwrap();
            assert_eq!(n.direction, says, "{ours:?} {theirs:?}");
            assert_eq!(Session::parse(&text).unwrap().media[0].direction, says);
        }
        let hold = offer("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\n");
        let (_, n) = answer(&hold, &local()).unwrap();
        assert_eq!(n.direction, RecvOnly);
        assert!(n.remote.ip().is_unspecified() && !n.direction.sends());
    }

    /// Every pair of codec lists that share something, and every packet time.
    #[test]
    fn both_sides_agree() {
        let all = local().codecs;
        for mask_a in 1..16u32 {
            for mask_b in 1..16u32 {
                for ptime in [10, 20, 30, 40, 60] {
                    let pick = |mask: u32| -> Vec<Codec> {
                        all.iter()
                            .enumerate()
                            .filter(|(i, _)| mask & (1 << i) != 0)
                            .map(|(_, c)| c.clone())
                            .collect()
                    };
                    let a =
                        Local { codecs: pick(mask_a), telephone_event: Some(96), ptime_ms: ptime, ..local() };
                    let b = Local { codecs: pick(mask_b), port: 20000, ..local() };
                    match answer(&a.offer(), &b) {
                        Err(error) => {
                            assert_eq!(error, SdpError::NoCodec);
                            assert_eq!(mask_a & mask_b, 0);
                        }
                        Ok((text, at_b)) => {
                            let at_a = read_answer(&text, &a).unwrap();
                            assert_eq!(at_a.codec.name, at_b.codec.name);
                            assert_eq!(at_a.receive_payload_type, at_b.codec.payload_type);
                            assert_eq!(at_b.receive_payload_type, at_a.codec.payload_type);
                            assert_eq!(at_b.ptime_ms, ptime);
                            let first_rate = a.codecs[0].clock_rate;
                            if at_b.codec.clock_rate == first_rate {
                                assert_eq!(at_a.telephone_event.unwrap().receive, 96);
                                assert_eq!(at_b.telephone_event.unwrap().send, 96);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn answers_that_do_not_fit() {
        for (lines, want) in [
            ("", SdpError::NoAudio),
            ("m=audio 0 RTP/AVP 8\r\n", SdpError::NoAudio),
            ("m=video 4000 RTP/AVP 8\r\n", SdpError::Mismatch),
            ("m=audio 4000 RTP/SAVP 8\r\n", SdpError::Profile),
            ("m=audio 4000 RTP/AVP 18\r\n", SdpError::NoCodec),
        ] {
            assert_eq!(read_answer(&offer(lines), &local()).unwrap_err(), want, "{lines}");
        }
        // The answerer may use another payload type for what it receives.
        let n = read_answer(&offer("m=audio 4000 RTP/AVP 120 99\r\na=rtpmap:120 opus/48000/2\r\na=rtpmap:99 telephone-event/48000\r\n"), &local()).unwrap();
        assert_eq!((n.codec.payload_type, n.receive_payload_type), (120, 111));
        assert_eq!(n.telephone_event.map(|e| (e.send, e.receive)), Some((99, 101)));
    }
}
