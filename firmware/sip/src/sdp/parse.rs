//! Reading a session description: what matters for audio, nothing kept of the rest.

use std::net::IpAddr;

use super::{Direction, FORMATS_MAX, MEDIA_MAX, SDP_BYTES_MAX, SDP_LINES_MAX, SdpError};

/// One `a=rtpmap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpMap {
    /// Payload type.
    pub payload_type: u8,
    /// Encoding name.
    pub name: String,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Channels, 1 when not said.
    pub channels: u8,
}

/// One `m=` line with its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, ...
    pub kind: String,
    /// Port; 0 means refused or switched off.
    pub port: u16,
    /// `RTP/AVP` and so on.
    pub profile: String,
    /// The formats as written.
    pub formats: Vec<String>,
    /// Address of this stream, or of the session.
    pub address: Option<IpAddr>,
    /// Direction of this stream, or of the session; an address of `0.0.0.0` is
    /// [`Direction::SendOnly`] or less (RFC 2543 hold).
    pub direction: Direction,
    /// Packet time in milliseconds.
    pub ptime_ms: Option<u16>,
    maps: Vec<RtpMap>,
    fmtps: Vec<(u8, String)>,
    /// An unspecified address was given.
    pub on_hold_address: bool,
}

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `o=` session id and version, when they are numbers.
    pub origin: Option<(u64, u64)>,
    /// The media lines in order.
    pub media: Vec<Media>,
}

/// What `c=` says.
#[derive(Clone, Copy)]
enum Connection {
    At(IpAddr),
    Hold(IpAddr),
    /// A host name, or an address of a network this side does not know.
    Unusable,
}

impl Session {
    /// Reads a description. Lines may end with LF alone, unknown ones are skipped.
    ///
    /// # Errors
    /// [`SdpError::Malformed`] for anything that is no description or passes a limit.
    pub fn parse(bytes: &[u8]) -> Result<Session, SdpError> {
        if bytes.len() > SDP_BYTES_MAX {
            return Err(SdpError::Malformed);
        }
        let mut session = Session { origin: None, media: Vec::new() };
        let mut common = Common::default();
        let mut lines = 0;
        for line in bytes.split(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            lines += 1;
            let (&[kind, b'='], Some(value)) = (line.get(..2).unwrap_or(&[]), line.get(2..)) else {
                return Err(SdpError::Malformed);
            };
            if lines > SDP_LINES_MAX || (lines == 1 && line != b"v=0") {
                return Err(SdpError::Malformed);
            }
            // What matters is ASCII; names in other lines may be anything.
            let text = String::from_utf8_lossy(value);
            match kind {
                b'o' => session.origin = origin(&text),
                b'c' => {
                    let connection = connection(&text)?;
                    match session.media.last_mut() {
                        Some(media) => media.connect(connection),
                        None => common.connection = Some(connection),
                    }
                }
                b'm' => {
                    if session.media.len() == MEDIA_MAX {
                        return Err(SdpError::Malformed);
                    }
                    session.media.push(media(&text, &common)?);
                }
                b'a' => match session.media.last_mut() {
                    Some(media) => media.attribute(&text)?,
                    None => {
                        if let Some(direction) = direction(&text) {
                            common.direction = direction;
                        }
                    }
                },
                _ => {}
            }
        }
        if lines == 0 {
            return Err(SdpError::Malformed);
        }
        for media in &mut session.media {
            if media.on_hold_address {
                media.direction = Direction::new(media.direction.sends(), false);
            }
        }
        Ok(session)
    }
}

#[derive(Default)]
struct Common {
    connection: Option<Connection>,
    direction: Direction,
}

fn origin(text: &str) -> Option<(u64, u64)> {
    let mut words = text.split(' ').skip(1);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn connection(text: &str) -> Result<Connection, SdpError> {
    let mut words = text.split_ascii_whitespace();
    let (Some(net), Some(family), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpError::Malformed);
    };
    // A multicast TTL or count follows a slash.
    let address = address.split('/').next().unwrap_or("");
    let Ok(ip) = address.parse::<IpAddr>() else {
        return Ok(Connection::Unusable);
    };
    if net != "IN" || (family == "IP4") != ip.is_ipv4() || ip.is_multicast() {
        return Ok(Connection::Unusable);
    }
    Ok(if ip.is_unspecified() { Connection::Hold(ip) } else { Connection::At(ip) })
}

fn media(text: &str, common: &Common) -> Result<Media, SdpError> {
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(profile)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpError::Malformed);
    };
    // "port/count" is for layered coding; the first port is the one that counts.
    let port = port.split('/').next().unwrap_or("").parse().map_err(|_| SdpError::Malformed)?;
    let formats: Vec<String> = words.map(str::to_owned).collect();
    if formats.len() > FORMATS_MAX {
        return Err(SdpError::Malformed);
    }
    let mut media = Media {
        kind: kind.to_owned(),
        port,
        profile: profile.to_owned(),
        formats,
        address: None,
        direction: common.direction,
        ptime_ms: None,
        maps: Vec::new(),
        fmtps: Vec::new(),
        on_hold_address: false,
    };
    if let Some(connection) = common.connection {
        media.connect(connection);
    }
    Ok(media)
}

fn direction(attribute: &str) -> Option<Direction> {
    match attribute {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

impl Media {
    fn connect(&mut self, connection: Connection) {
        match connection {
            Connection::At(ip) => {
                self.address = Some(ip);
                self.on_hold_address = false;
            }
            Connection::Hold(ip) => {
                self.address = Some(ip);
                self.on_hold_address = true;
            }
            Connection::Unusable => {
                self.address = None;
                self.on_hold_address = false;
            }
        }
    }

    fn attribute(&mut self, text: &str) -> Result<(), SdpError> {
        if let Some(direction) = direction(text) {
            self.direction = direction;
            return Ok(());
        }
        let Some((name, value)) = text.split_once(':') else { return Ok(()) };
        match name {
            "rtpmap" if self.maps.len() < FORMATS_MAX => {
                self.maps.push(rtpmap(value).ok_or(SdpError::Malformed)?);
            }
            "fmtp" if self.fmtps.len() < FORMATS_MAX => {
                if let Some((pt, value)) = value.split_once(' ')
                    && let Ok(pt) = pt.parse()
                {
                    self.fmtps.push((pt, value.trim().to_owned()));
                }
            }
            "rtpmap" | "fmtp" => return Err(SdpError::Malformed),
            // Some write "20.0"; the whole milliseconds are what counts.
            "ptime" => {
                let whole = value.trim().split('.').next().unwrap_or("");
                self.ptime_ms = whole.parse().ok().filter(|&ms| (1..=200).contains(&ms));
            }
            _ => {}
        }
        Ok(())
    }

    /// The encoding of a payload type: its `a=rtpmap`, or the static table of RFC 3551.
    #[must_use]
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap> {
        if let Some(map) = self.maps.iter().find(|m| m.payload_type == payload_type) {
            return Some(map.clone());
        }
        let name = match payload_type {
            0 => "PCMU",
            3 => "GSM",
            4 => "G723",
            8 => "PCMA",
            9 => "G722",
            15 => "G728",
            18 => "G729",
            _ => return None,
        };
        Some(RtpMap { payload_type, name: name.to_owned(), clock_rate: 8000, channels: 1 })
    }

    /// The `a=fmtp` of a payload type.
    #[must_use]
    pub fn fmtp(&self, payload_type: u8) -> Option<&str> {
        self.fmtps.iter().find(|f| f.0 == payload_type).map(|f| f.1.as_str())
    }

    /// The encodings offered, in the offerer's order; what cannot be read is left out.
    pub fn encodings(&self) -> impl Iterator<Item = RtpMap> {
        self.formats
            .iter()
            .filter_map(|f| f.parse::<u8>().ok().filter(|&pt| pt < 128))
            .filter_map(|pt| self.rtpmap(pt))
    }
}

/// `8 PCMA/8000`, `111 opus/48000/2`.
fn rtpmap(value: &str) -> Option<RtpMap> {
    let (pt, rest) = value.trim().split_once(' ')?;
    let mut parts = rest.trim().split('/');
    let name = parts.next().filter(|n| !n.is_empty())?;
    let clock_rate = parts.next()?.parse().ok()?;
    let channels = match parts.next() {
        Some(text) => text.parse().ok()?,
        None => 1,
    };
    let payload_type = pt.parse().ok().filter(|&pt: &u8| pt < 128)?;
    Some(RtpMap { payload_type, name: name.to_owned(), clock_rate, channels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_and_media_levels() {
        let s = Session::parse(
            b"v=0\no=x 5 6 IN IP4 h\ns= \nc=IN IP4 192.0.2.1\nt=0 0\na=sendonly\n\
              m=audio 4000 RTP/AVP 0 96 200 x\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\na=ptime:20.0\n\
              m=video 0 RTP/AVP 31\nc=IN IP6 2001:db8::1\na=recvonly\n",
        )
        .unwrap();
        assert_eq!(s.origin, Some((5, 6)));
        let audio = &s.media[0];
        assert_eq!((audio.port, audio.direction, audio.ptime_ms), (4000, Direction::SendOnly, Some(20)));
        assert_eq!(audio.address, Some("192.0.2.1".parse().unwrap()));
        let names: Vec<_> =
            audio.encodings().map(|e| (e.payload_type, e.name, e.clock_rate, e.channels)).collect();
        assert_eq!(names, [(0, "PCMU".to_owned(), 8000, 1), (96, "opus".to_owned(), 48000, 2)]);
        assert_eq!(audio.fmtp(96), Some("useinbandfec=1"));
        assert_eq!(s.media[1].address, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(s.media[1].direction, Direction::RecvOnly);
    }

    #[test]
    fn hold_by_address() {
        for (attribute, want) in [
            ("", Direction::SendOnly),
            ("a=sendrecv\r\n", Direction::SendOnly),
            ("a=recvonly\r\n", Direction::Inactive),
            ("a=inactive\r\n", Direction::Inactive),
        ] {
            let text = format!("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n{attribute}");
            let s = Session::parse(text.as_bytes()).unwrap();
            assert_eq!(s.media[0].direction, want, "{attribute}");
        }
    }

    #[test]
    fn malformed_and_bounded() {
        let long = format!("v=0\n{}", "a=x\n".repeat(SDP_LINES_MAX));
        let media = format!("v=0\n{}", "m=audio 1 RTP/AVP 0\n".repeat(MEDIA_MAX + 1));
        let formats = format!("v=0\nm=audio 1 RTP/AVP{}\n", " 0".repeat(FORMATS_MAX + 1));
        let maps = format!("v=0\nm=audio 1 RTP/AVP 0\n{}", "a=rtpmap:0 PCMU/8000\n".repeat(FORMATS_MAX + 1));
        let huge = format!("v=0\ns={}\n", "x".repeat(SDP_BYTES_MAX));
        for text in [
            "",
            "\r\n",
            "hello",
            "v=1\r\n",
            "o=x\r\nv=0\r\n",
            "v=0\r\nm=audio\r\n",
            "v=0\r\nm=audio x RTP/AVP 0\r\n",
            "v=0\r\nm=audio 70000 RTP/AVP 0\r\n",
            "v=0\r\nc=IN\r\n",
            "v=0\r\nm=audio 1 RTP/AVP 96\r\na=rtpmap:96\r\n",
            "v=0\r\nm=audio 1 RTP/AVP 96\r\na=rtpmap:96 x/y\r\n",
            &long,
            &media,
            &formats,
            &maps,
            &huge,
        ] {
            assert_eq!(
                Session::parse(text.as_bytes()),
                Err(SdpError::Malformed),
                "{}",
                &text[..text.len().min(60)]
            );
        }
    }
}
