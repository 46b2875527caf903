//! A patch: two ends, and what one leg is sent the other says.
//!
//! It joins legs of two calls that know nothing of each other, as a cord joins two jacks. Sound
//! arrives up to 20 ms later, and keys as named events, like those of a telephone.
//!
//! **Limits.** Sound that nobody takes waits for 40 ms and is then thrown away, the oldest
//! first; of keys 16 wait.

use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::{
    endpoint::{Endpoint, EventStep, Received},
    frame::{Frame, Rate},
    rtp::telephone_event::Press,
};

/// Frames that wait; the ring holds a few more, so that the oldest can be thrown away.
const FRAMES_WAITING: usize = 2;
const FRAMES_MAX: usize = 8;
const PRESSES_MAX: usize = 16;

/// One end.
struct End {
    rate: Rate,
    sends: Producer<Frame>,
    hears: Consumer<Frame>,
    presses: Producer<Press>,
    pressed: Consumer<Press>,
    /// The key that is being sent has been told as let go: its last packet comes three times.
    let_go: bool,
    heard: Option<Instant>,
}

/// Two ends of a patch at one rate.
#[must_use]
pub fn patch(rate: Rate) -> (Box<dyn Endpoint>, Box<dyn Endpoint>) {
    let (there, here) = (RingBuffer::new(FRAMES_MAX), RingBuffer::new(FRAMES_MAX));
    let (keys_there, keys_here) = (RingBuffer::new(PRESSES_MAX), RingBuffer::new(PRESSES_MAX));
    let end = |sends, hears, presses, pressed| {
        Box::new(End { rate, sends, hears, presses, pressed, let_go: false, heard: None })
    };
    (end(there.0, here.1, keys_there.0, keys_here.1), end(here.0, there.1, keys_here.0, keys_there.1))
}

impl Endpoint for End {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn receive(&mut self, now: Instant, frame: &mut Frame) -> Received {
        frame.reset(self.rate);
        while self.hears.slots() > FRAMES_WAITING && self.hears.pop().is_ok() {}
        match self.hears.pop() {
            Ok(heard) => {
                *frame = heard;
                self.heard = Some(now);
                Received::Audio
            }
            Err(rtrb::PopError::Empty) => Received::Silence,
        }
    }

    fn send(&mut self, _: Instant, frame: &Frame) {
        // Without a listener the ring is full, and what is said is lost, as it should be.
        let _ = self.sends.push(*frame);
    }

    fn poll_press(&mut self, _: Instant) -> Option<Press> {
        self.pressed.pop().ok()
    }

    fn sends_events(&self) -> bool {
        true
    }

    fn send_event(&mut self, _: Instant, step: EventStep) {
        if step.begins {
            self.let_go = false;
            let _ = self.presses.push(Press::Began(step.digit));
        }
        if step.ends && !std::mem::replace(&mut self.let_go, true) {
            let ended = Press::Ended { digit: step.digit, duration_ms: step.duration_ms };
            let _ = self.presses.push(ended);
        }
    }

    fn last_heard(&self) -> Option<Instant> {
        self.heard
    }
}
