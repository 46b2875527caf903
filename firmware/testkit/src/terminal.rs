//! A pseudo-terminal, as a serial port that a simulator has the other end of.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Both ends, raw, and never waited for at the own one.
pub(crate) struct Terminal {
    own: OwnedFd,
    /// Held so that the terminal stays while nobody else has it open.
    _other: OwnedFd,
    /// Where the box finds it.
    pub(crate) path: PathBuf,
    /// What is to be sent.
    pub(crate) unsent: VecDeque<u8>,
}

impl Terminal {
    /// # Errors
    /// No pseudo-terminal is to be had.
    pub(crate) fn open() -> io::Result<Self> {
        let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&own)?;
        unlockpt(&own)?;
        rustix::io::ioctl_fionbio(&own, true)?;
        let path = ptsname(&own, Vec::new())?;
        let path = PathBuf::from(OsStr::from_bytes(path.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let other = rustix::fs::open(&path, flags, Mode::empty())?;
        // Bytes as they are, and none of them sent back.
        let mut modes = tcgetattr(&other)?;
        modes.make_raw();
        tcsetattr(&other, OptionalActions::Now, &modes)?;
        Ok(Self { own, _other: other, path, unsent: VecDeque::new() })
    }

    /// The simulator's end, to wait on.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.own.as_fd()
    }

    /// Reads what there is; 0 if there is nothing, or nobody has the other end.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> usize {
        rustix::io::read(&self.own, buffer).unwrap_or(0)
    }

    /// Sends what the terminal takes; whether it took all of it.
    pub(crate) fn send(&mut self) -> bool {
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            match rustix::io::write(&self.own, front) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(_) => return false,
            }
        }
        true
    }
}
