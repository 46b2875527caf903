//! A booth: a leg without a party. What it is sent, it says: 20 ms later, to all who hear it.

use std::time::Instant;

use crate::{
    endpoint::{Endpoint, Received},
    frame::{Frame, Rate},
};

struct Booth {
    /// What it was sent last, until that is said.
    sent: Frame,
    is_new: bool,
}

/// The endpoint of a booth.
#[must_use]
pub fn booth(rate: Rate) -> Box<dyn Endpoint> {
    Box::new(Booth { sent: Frame::silence(rate), is_new: false })
}

impl Endpoint for Booth {
    fn rate(&self) -> Rate {
        self.sent.rate()
    }

    fn receive(&mut self, _: Instant, frame: &mut Frame) -> Received {
        if core::mem::take(&mut self.is_new) {
            *frame = self.sent;
            Received::Audio
        } else {
            frame.reset(self.sent.rate());
            Received::Silence
        }
    }

    fn send(&mut self, _: Instant, frame: &Frame) {
        self.sent = *frame;
        self.is_new = true;
    }

    fn pass(&mut self, _: Instant) {
        self.is_new = false;
    }
}
