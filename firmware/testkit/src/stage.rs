//! The stage of a simulator: what its thread does in turn, whichever device stands on it. The device
//! itself knows no clock and no terminal.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::console::{Command, StageEnd};
use crate::linecard::board::Outside;
use crate::linecard::{Order, Told};
use crate::terminal::Terminal;

/// A device moves so much at a time.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);

/// A device with a terminal and a clock.
pub(crate) trait Stage: Sized {
    /// Where orders come from, and where it is told what happens.
    fn end(&self) -> &StageEnd;

    /// The terminal, while the device is plugged in.
    fn terminal(&self) -> Option<&Terminal>;

    /// The device does this. What concerns its terminal and clock is given back.
    ///
    /// # Errors
    /// It cannot be done, and why.
    fn order(&mut self, order: Order) -> Result<Outside, String>;

    /// What was given back is done.
    fn outside(&mut self, outside: Outside);

    /// What the device has told since the last time.
    fn take_told(&mut self) -> Vec<Told>;

    /// The box has written this.
    fn bytes(&mut self, bytes: &[u8]);

    /// A period passes.
    fn period(&mut self);

    /// What the device has to say to the box goes to the terminal.
    fn send(&mut self);

    /// It is pulled out.
    fn unplug(&mut self);

    /// Goes on until nobody wants it any more.
    fn run(mut self) {
        let mut due = Instant::now() + PERIOD;
        loop {
            self.wait(due);
            if self.take_orders().is_err() {
                break;
            }
            self.read();
            while Instant::now() >= due {
                due += PERIOD;
                self.period();
            }
            self.send();
            self.tell();
        }
        self.unplug();
    }

    /// Waits for orders, bytes or the end of the period.
    fn wait(&self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now());
        let mut fds = vec![PollFd::new(self.end().woken(), PollFlags::IN)];
        fds.extend(self.terminal().map(|terminal| PollFd::from_borrowed_fd(terminal.fd(), PollFlags::IN)));
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        // Interrupted: the next round looks again.
        let _ = poll(&mut fds, Some(&left));
    }

    /// # Errors
    /// The simulator is no longer wanted.
    fn take_orders(&mut self) -> Result<(), ()> {
        loop {
            match self.end().next()? {
                Some(Command::Order(order)) => match self.order(order) {
                    Ok(outside) => self.outside(outside),
                    Err(why) => self.end().tell(Told::Refused { why }),
                },
                Some(Command::Refuse(why)) => self.end().tell(Told::Refused { why }),
                Some(Command::Stop) => return Err(()),
                None => return Ok(()),
            }
            // In their order: what an order told comes before what the next one tells.
            self.tell();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 1_024];
        loop {
            let length = self.terminal().map_or(0, |terminal| terminal.read(&mut buffer));
            match buffer.get(..length) {
                Some([]) | None => return,
                Some(bytes) => self.bytes(bytes),
            }
        }
    }

    fn tell(&mut self) {
        for told in self.take_told() {
            self.end().tell(told);
        }
    }
}
