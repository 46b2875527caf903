//! The messages of a stream: JSON in text frames, audio as mu-law in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use tipring_model::Digit;
use tipring_model::flow::Stream;

/// Longest message that is taken, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 65_536;

/// Which side of a leg is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Track {
    /// What the party says.
    Inbound,
    /// What the party hears.
    Outbound,
}

impl Track {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Writes messages, numbered as they go out.
pub(super) struct Writer {
    stream: Stream,
    sequence: u64,
    chunks: [u64; 2],
}

/// What a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// Audio for the party, mu-law at 8 kHz.
    Media(Vec<u8>),
    /// To be told when all before has been heard.
    Mark(String),
    /// What has not been heard is thrown away.
    Clear,
    /// Something else, of no use here.
    Other,
}

impl Writer {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, sequence: 0, chunks: [0; 2] }
    }

    fn next(&mut self) -> String {
        self.sequence += 1;
        self.sequence.to_string()
    }

    pub(super) fn connected() -> Value {
        json!({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    }

    pub(super) fn start(&mut self) -> Value {
        let (inbound, outbound) = self.stream.hears;
        let tracks: Vec<&str> = [(inbound, Track::Inbound), (outbound, Track::Outbound)]
            .into_iter()
            .filter(|(is_heard, _)| *is_heard)
            .map(|(_, track)| track.as_str())
            .collect();
        let parameters: Map<String, Value> =
            self.stream.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "event": "start",
            "sequenceNumber": self.next(),
            "streamSid": self.stream.id,
            "start": {
                "streamSid": self.stream.id,
                "accountSid": self.stream.names.0,
                "callSid": self.stream.names.1,
                "tracks": tracks,
                "customParameters": parameters,
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        })
    }

    /// 20 ms of a track, so long after the beginning.
    pub(super) fn media(&mut self, track: Track, timestamp_ms: u64, payload: &[u8]) -> Value {
        let chunk = &mut self.chunks[usize::from(track == Track::Outbound)];
        *chunk += 1;
        let chunk = chunk.to_string();
        json!({
            "event": "media",
            "sequenceNumber": self.next(),
            "streamSid": self.stream.id,
            "media": {
                "track": track.as_str(),
                "chunk": chunk,
                "timestamp": timestamp_ms.to_string(),
                "payload": BASE64.encode(payload),
            },
        })
    }

    pub(super) fn digit(&mut self, digit: Digit) -> Value {
        json!({
            "event": "dtmf",
            "sequenceNumber": self.next(),
            "streamSid": self.stream.id,
            "dtmf": {"track": "inbound_track", "digit": digit.as_char().to_string()},
        })
    }

    pub(super) fn mark(&mut self, name: &str) -> Value {
        json!({
            "event": "mark",
            "sequenceNumber": self.next(),
            "streamSid": self.stream.id,
            "mark": {"name": name},
        })
    }

    pub(super) fn stop(&mut self) -> Value {
        let (account, call) = self.stream.names.clone();
        json!({
            "event": "stop",
            "sequenceNumber": self.next(),
            "streamSid": self.stream.id,
            "stop": {"accountSid": account, "callSid": call},
        })
    }

    /// Reads what a server says; none if it is no message.
    pub(super) fn read(&self, text: &str) -> Option<Said> {
        let message: Value = serde_json::from_str(text).ok().filter(Value::is_object)?;
        let event = message["event"].as_str()?;
        if !self.stream.speaks || message["streamSid"].as_str().is_some_and(|sid| sid != self.stream.id) {
            return Some(Said::Other);
        }
        Some(match event {
            "media" => Said::Media(BASE64.decode(message["media"]["payload"].as_str()?).ok()?),
            "mark" => Said::Mark(message["mark"]["name"].as_str()?.to_owned()),
            "clear" => Said::Clear,
            _ => Said::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(speaks: bool) -> Writer {
        Writer::new(Stream {
            url: "wss://ai.test/".to_owned(),
            name: "n".to_owned(),
            id: "MZ1".to_owned(),
            names: ("AC1".to_owned(), "CA1".to_owned()),
            hears: (true, true),
            speaks,
            parameters: vec![("k".to_owned(), "v".to_owned())],
        })
    }

    #[test]
    fn messages_are_numbered_and_numbers_are_texts() {
        let mut writer = writer(true);
        let start = writer.start();
        assert_eq!(start["sequenceNumber"], "1");
        assert_eq!(start["start"]["tracks"], json!(["inbound", "outbound"]));
        assert_eq!(start["start"]["customParameters"]["k"], "v");
        let first = writer.media(Track::Inbound, 0, &[0xff, 0x7f]);
        let other = writer.media(Track::Outbound, 20, &[0]);
        let second = writer.media(Track::Inbound, 20, &[0]);
        assert_eq!((&first["media"]["chunk"], &first["media"]["payload"]), (&json!("1"), &json!("/38=")));
        assert_eq!((&other["media"]["chunk"], &second["media"]["chunk"]), (&json!("1"), &json!("2")));
        assert_eq!((&second["sequenceNumber"], &second["media"]["timestamp"]), (&json!("4"), &json!("20")));
        assert_eq!(writer.stop()["stop"]["callSid"], "CA1");
    }

    #[test]
    fn what_a_server_says_is_read_and_what_makes_no_sense_is_none() {
        let writer = writer(true);
        let media = r#"{"event":"media","streamSid":"MZ1","media":{"payload":"/38="}}"#;
        assert_eq!(writer.read(media), Some(Said::Media(vec![0xff, 0x7f])));
        assert_eq!(writer.read(&media.replace("MZ1", "MZ2")), Some(Said::Other), "of another stream");
        let mark = r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"m"}}"#;
        assert_eq!(writer.read(mark), Some(Said::Mark("m".to_owned())));
        assert_eq!(writer.read(r#"{"event":"clear","streamSid":"MZ1"}"#), Some(Said::Clear));
        assert_eq!(writer.read(r#"{"event":"pong"}"#), Some(Said::Other));
        for bad in ["", "[]", "{}", "1", r#"{"event":"media","media":{"payload":"%%"}}"#] {
            assert_eq!(writer.read(bad), None, "{bad}");
        }
        let deaf = self::writer(false);
        assert_eq!(deaf.read(media), Some(Said::Other), "one that may only listen");
    }
}
