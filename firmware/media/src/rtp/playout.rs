//! From the jitter buffer to frames: decoding, concealment, and the small changes of
//! speed that follow a far clock that runs fast or slow.
//!
//! Speed changes by 1.25 % at most while anything is heard, by interpolation, so that
//! digits and tones in the audio stay within their tolerances; in quiet passages by
//! 5 %, and a delay that is merely longer than needed shrinks in these alone.

use super::jitter::{JitterBuffer, JitterLimits, Pace, SLOT_BYTES, Taken};
use crate::{
    codec::{CodecError, CodecId, Decode, PACKET_MS_MAX},
    dsp::plc::Concealment,
    endpoint::{Decoded, Received},
    frame::{FRAME_SAMPLES_MAX, Frame, Rate},
};

/// Samples left out or made up in a frame whose speed is changed, at 8 kHz.
const PACE_SAMPLES: usize = 2;
/// The same in quiet passages.
const PACE_SAMPLES_QUIET: usize = 8;
/// Greatest sample of a quiet passage, about −40 dBm0.
const QUIET_PEAK: u16 = 230;

/// Longest gap that is made up where packets are decoded as they come; a longer one is
/// left as a pause.
const MADE_UP_MAX_MS: u32 = 60;
/// A step back by more is a new timeline, not a packet that comes late.
const LATE_MAX_MS: u32 = 1_000;

/// The receiving half of an RTP leg, behind the socket.
pub struct Playout {
    codec: CodecId,
    jitter: JitterBuffer,
    decoder: Box<dyn Decode>,
    concealment: Concealment,
    /// Decoded samples not yet played.
    samples: Box<[i16]>,
    filled: usize,
    /// The frame before was quiet.
    quiet: bool,
    /// Frames in which anything was made up.
    concealed: u64,
    /// Timestamp that follows what was decoded last, where packets are decoded as they
    /// come.
    following: Option<u32>,
}

impl Playout {
    /// Allocates everything that the codec needs.
    ///
    /// # Errors
    /// [`CodecError`] if the decoder cannot be built.
    pub fn new(id: CodecId, limits: JitterLimits) -> Result<Self, CodecError> {
        let codec = id.codec();
        // G.711 and G.722 come out of the buffer by frames, Opus by packets.
        let longest_ms = if codec.byte_a_tick { 20 } else { PACKET_MS_MAX };
        let room = (longest_ms + 40) * codec.rate.samples_per_ms();
        Ok(Self {
            codec: id,
            jitter: JitterBuffer::new(codec, limits),
            decoder: (codec.decoder)()?,
            concealment: Concealment::new(codec.rate),
            samples: vec![0; room].into(),
            filled: 0,
            quiet: true,
            concealed: 0,
            following: None,
        })
    }

    /// The codec it was built for.
    #[must_use]
    pub const fn codec(&self) -> CodecId {
        self.codec
    }

    /// The jitter buffer, to be filled.
    pub fn jitter(&mut self) -> &mut JitterBuffer {
        &mut self.jitter
    }

    /// Frames in which anything was made up.
    #[must_use]
    pub const fn concealed(&self) -> u64 {
        self.concealed
    }

    /// The delay aimed at, in milliseconds.
    #[must_use]
    pub fn delay_ms(&self) -> u32 {
        self.jitter.target_ms()
    }

    /// Forgets all audio.
    pub fn restart(&mut self) {
        self.jitter.restart();
        self.filled = 0;
        self.following = None;
    }

    /// Decodes a packet of `ticks` as it comes, without the jitter buffer, and writes it
    /// behind what was lost before it and could be made up. `None` if its turn is past.
    pub fn decode_now(
        &mut self,
        timestamp: u32,
        ticks: u32,
        payload: &[u8],
        samples: &mut [i16],
    ) -> Option<Decoded> {
        let codec = self.codec.codec();
        let (per_ms, ticks_per_ms) = (codec.rate.samples_per_ms(), codec.ticks_per_ms());
        let missing = self.following.map_or(0, |following| timestamp.wrapping_sub(following) as i32);
        if missing < 0 && missing.unsigned_abs() <= LATE_MAX_MS * ticks_per_ms {
            return None;
        }
        let begins = self.following.replace(timestamp.wrapping_add(ticks)).is_none();
        let mut filled = 0;
        let lost_ms = missing.max(0) as u32 / ticks_per_ms;
        if (1..=MADE_UP_MAX_MS).contains(&lost_ms) {
            let mut left = lost_ms as usize * per_ms;
            let frame = codec.rate.frame_samples();
            while left > 0 {
                let count = left.min(frame);
                let space = &mut samples[filled..filled + count];
                // The codec may know something of what came just before this packet.
                let next = (left == count).then_some(payload);
                if self.decoder.conceal(next, space) != count {
                    self.concealment.conceal(space);
                }
                filled += count;
                left -= count;
                self.concealed += 1;
            }
        }
        let space = samples.get_mut(filled..)?;
        let decoded = self.decoder.decode(payload, space);
        self.concealment.heard(&mut space[..decoded]);
        let follows = !begins && missing >= 0 && lost_ms <= MADE_UP_MAX_MS;
        Some(Decoded { samples: filled + decoded, follows })
    }

    /// Plays the next 20 ms into `frame`; our clock stands at `now`, in ticks.
    pub fn play(&mut self, now: u32, frame: &mut Frame) -> Received {
        let codec = self.codec.codec();
        frame.reset(codec.rate);
        let length = codec.rate.frame_samples();
        let step =
            if self.quiet { PACE_SAMPLES_QUIET } else { PACE_SAMPLES } * codec.rate.samples_per_ms() / 8;
        let wanted = match self.jitter.pace(now) {
            Pace::Hurry => length + step,
            Pace::Faster if self.quiet => length + step,
            Pace::Faster | Pace::Steady => length,
            Pace::Slower => length - step,
        };
        let mut made_up = false;
        while self.filled < wanted {
            let mut payload = [0; SLOT_BYTES];
            let (filled, room) = (self.filled, self.samples.len() - self.filled);
            match self.jitter.take(now, &mut payload) {
                Taken::Payload(bytes) => {
                    let space = &mut self.samples[filled..];
                    let decoded = self.decoder.decode(&payload[..bytes], space);
                    if decoded == 0 {
                        made_up = true;
                        self.conceal(length.min(room));
                    } else {
                        self.concealment.heard(&mut space[..decoded]);
                        self.filled += decoded;
                    }
                }
                Taken::Missing { ticks } => {
                    made_up = true;
                    let samples =
                        ticks as usize * codec.rate.samples_per_ms() / codec.ticks_per_ms() as usize;
                    self.lost(samples.clamp(1, room));
                }
                Taken::Starved | Taken::Hold => {
                    made_up |= !self.concealment.faded();
                    self.conceal((wanted - filled).min(room));
                }
                Taken::Idle if filled == 0 => {
                    self.concealment.reset();
                    return Received::Silence;
                }
                Taken::Idle => {
                    self.samples[filled..wanted].fill(0);
                    self.filled = wanted;
                }
            }
        }
        if wanted == length {
            frame.samples_mut().copy_from_slice(&self.samples[..length]);
        } else {
            stretch(&self.samples[..wanted], frame.samples_mut());
        }
        self.samples.copy_within(wanted..self.filled, 0);
        self.filled -= wanted;
        self.quiet = frame.samples().iter().all(|sample| sample.unsigned_abs() <= QUIET_PEAK);
        if made_up {
            self.concealed += 1;
            Received::Concealed
        } else {
            Received::Audio
        }
    }

    /// Fills a gap, with the codec's own means if it has any.
    fn lost(&mut self, samples: usize) {
        let space = &mut self.samples[self.filled..self.filled + samples];
        let made = self.decoder.conceal(self.jitter.following(), space);
        if made == samples {
            self.concealment.heard(space);
            self.filled += samples;
        } else {
            self.conceal(samples);
        }
    }

    fn conceal(&mut self, samples: usize) {
        self.concealment.conceal(&mut self.samples[self.filled..self.filled + samples]);
        self.filled += samples;
    }
}

/// Brings `from` to the length of `to` by cubic interpolation.
fn stretch(from: &[i16], to: &mut [i16]) {
    debug_assert!(to.len() <= FRAME_SAMPLES_MAX, "{:?}", Rate::Wide);
    let ratio = (from.len() - 1) as f32 / (to.len() - 1) as f32;
    let at = |i: isize| f32::from(from[i.clamp(0, from.len() as isize - 1) as usize]);
    for (n, sample) in to.iter_mut().enumerate() {
        let position = n as f32 * ratio;
        let (whole, t) = (position as isize, position.fract());
        let (a, b, c, d) = (at(whole - 1), at(whole), at(whole + 1), at(whole + 2));
        // Catmull-Rom.
        let value =
            b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)));
        *sample = value.round() as i16;
    }
}
