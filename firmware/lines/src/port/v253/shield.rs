//! DLE shielding (ITU-T V.253 §8): sound and events share one stream of bytes.
//!
//! A byte 0x10 (DLE) of the sound is sent twice; `DLE SUB` stands for two of them; `DLE ETX` ends
//! the stream; anything else after DLE is an event. Pure, and a byte at a time: a stream may be
//! cut anywhere.

/// Data link escape.
pub(super) const DLE: u8 = 0x10;
/// Ends a stream.
pub(super) const ETX: u8 = 0x03;
/// Two bytes of sound that are DLE.
pub(super) const SUB: u8 = 0x1a;

/// What became of a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unshielded {
    /// The next one says.
    Nothing,
    /// A byte of sound.
    Sound(u8),
    /// Two bytes of sound, both DLE.
    TwoDle,
    /// An event.
    Event(u8),
    /// The stream is over; what follows is text.
    End,
}

/// Takes a stream apart.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Unshielder {
    after_dle: bool,
}

impl Unshielder {
    /// Takes the next byte.
    pub const fn take(&mut self, byte: u8) -> Unshielded {
        if !self.after_dle {
            self.after_dle = byte == DLE;
            return if self.after_dle { Unshielded::Nothing } else { Unshielded::Sound(byte) };
        }
        self.after_dle = false;
        match byte {
            DLE => Unshielded::Sound(DLE),
            SUB => Unshielded::TwoDle,
            ETX => Unshielded::End,
            event => Unshielded::Event(event),
        }
    }
}

/// A byte of sound as it is sent: itself, and once more if it is DLE.
pub fn shield(byte: u8, mut send: impl FnMut(u8)) {
    send(byte);
    if byte == DLE {
        send(DLE);
    }
}

#[cfg(test)]
mod tests {
    use tipring_testkit::random::Random;

    use super::*;

    /// Sound and events of a stream, up to its end.
    fn read(parts: &[&[u8]]) -> (Vec<u8>, Vec<u8>, bool) {
        let (mut sound, mut events, mut ended) = (Vec::new(), Vec::new(), false);
        let mut unshielder = Unshielder::default();
        for byte in parts.iter().flat_map(|part| part.iter()) {
            match unshielder.take(*byte) {
                Unshielded::Nothing => {}
                Unshielded::Sound(byte) => sound.push(byte),
                Unshielded::TwoDle => sound.extend([DLE, DLE]),
                Unshielded::Event(event) => events.push(event),
                Unshielded::End => ended = true,
            }
        }
        (sound, events, ended)
    }

    #[test]
    fn sound_events_and_the_end_are_told_apart() {
        let stream = [1, DLE, DLE, 2, DLE, b'b', DLE, SUB, 3, DLE, b'R', DLE, ETX];
        assert_eq!(read(&[&stream]), (vec![1, DLE, 2, DLE, DLE, 3], vec![b'b', b'R'], true));
        // A DLE of the sound before an ETX of the sound is no end.
        assert_eq!(read(&[&[DLE, DLE, ETX]]), (vec![DLE, ETX], vec![], false));
    }

    #[test]
    fn what_is_shielded_is_read_wherever_it_is_cut() {
        let mut random = Random::new(253);
        for _ in 0..200 {
            let sound: Vec<u8> = (0..40)
                .map(|_| if random.below(3) == 0 { DLE } else { (random.next() & 0xff) as u8 })
                .collect();
            let mut stream = Vec::new();
            for (at, byte) in sound.iter().enumerate() {
                if at % 7 == 3 {
                    stream.extend([DLE, b'u']);
                }
                shield(*byte, |byte| stream.push(byte));
            }
            for cut in 0..=stream.len() {
                let (first, second) = stream.split_at(cut);
                let (read_sound, events, ended) = read(&[first, second]);
                assert_eq!(read_sound, sound, "cut at {cut}");
                assert!(events.len() == 6 && !ended);
            }
        }
    }
}
