//! A pseudo-terminal, as a serial port that a simulator has the other end of.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Both ends, raw, and never waited for at the own one.
pub(crate) struct Terminal {
    /// The simulator's end.
    pub(crate) own: OwnedFd,
    /// To be held, so that the terminal stays while nobody else has it open.
    pub(crate) other: OwnedFd,
    /// Where the box finds it.
    pub(crate) path: PathBuf,
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
        Ok(Self { own, other, path })
    }
}

/// Sends what the terminal takes; whether it took all of it.
pub(crate) fn send(terminal: &OwnedFd, unsent: &mut VecDeque<u8>) -> bool {
    while !unsent.is_empty() {
        let (front, _) = unsent.as_slices();
        match rustix::io::write(terminal, front) {
            Ok(sent) => drop(unsent.drain(..sent)),
            Err(_) => return false,
        }
    }
    true
}
