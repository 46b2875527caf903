//! The modem's devices: a pseudo-terminal, and a clock of its own.

use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::chip::{Modem, ModemSettings};
use crate::console::{Command, Console, StageEnd};
use crate::linecard::Told;
use crate::linecard::board::Outside;
use crate::terminal::{self, Terminal};

/// The modem moves so much at a time, as USB does.
const PERIOD: Duration = Duration::from_millis(10);
const PERIOD_MS: u64 = 10;
/// Bytes that nobody has read yet at most: half a second. What comes beyond is lost.
const UNSENT_BYTES_MAX: usize = 8_000;

/// Where a simulator is, and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageSettings {
    /// A folder of its own: `serial` will be the serial port in it.
    pub directory: PathBuf,
    /// What it is.
    pub modem: ModemSettings,
}

/// A modem that runs. Dropping it pulls it out.
pub struct Simulator {
    serial: PathBuf,
    console: Console,
}

impl Simulator {
    /// Plugs the modem in. [`Told::Ready`] is the first thing told.
    ///
    /// # Errors
    /// The folder cannot be written, or no pseudo-terminal or thread is to be had.
    pub fn start(settings: StageSettings) -> io::Result<Self> {
        std::fs::create_dir_all(&settings.directory)?;
        let serial = settings.directory.join("serial");
        let (mut console, end) = Console::new(&settings.directory)?;
        let stage = Stage {
            plugged: Some(Plugged::new(&serial)?),
            modem: Modem::new(settings.modem),
            end,
            serial: serial.clone(),
        };
        stage.end.tell(Told::Ready {
            serial: serial.display().to_string(),
            alsa_config: String::new(),
            audio: String::new(),
        });
        console.run("modem", move || stage.run())?;
        Ok(Self { serial, console })
    }

    /// The serial port.
    #[must_use]
    pub fn serial_path(&self) -> PathBuf {
        self.serial.clone()
    }
}

impl Deref for Simulator {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.console
    }
}

struct Plugged {
    terminal: OwnedFd,
    /// Held so that the terminal stays while nobody else has it open.
    _other_end: OwnedFd,
    unsent: VecDeque<u8>,
}

impl Plugged {
    fn new(serial: &PathBuf) -> io::Result<Self> {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(serial);
        let Terminal { own, other, path } = Terminal::open()?;
        symlink(&path, serial)?;
        Ok(Self { terminal: own, _other_end: other, unsent: VecDeque::new() })
    }
}

struct Stage {
    modem: Modem,
    plugged: Option<Plugged>,
    end: StageEnd,
    serial: PathBuf,
}

impl Stage {
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
                (0..PERIOD_MS).for_each(|_| self.modem.millisecond());
            }
            self.send();
        }
        self.unplug();
    }

    fn wait(&self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now());
        let mut fds = vec![PollFd::new(self.end.woken(), PollFlags::IN)];
        fds.extend(
            self.plugged.as_ref().map(|p| PollFd::from_borrowed_fd(p.terminal.as_fd(), PollFlags::IN)),
        );
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        // Interrupted: the next round looks again.
        let _ = poll(&mut fds, Some(&left));
    }

    /// # Errors
    /// The simulator is no longer wanted.
    fn take_orders(&mut self) -> Result<(), ()> {
        loop {
            match self.end.next()? {
                Some(Command::Order(order)) => match self.modem.order(order) {
                    Ok(outside) => self.outside(outside),
                    Err(why) => self.end.tell(Told::Refused { why }),
                },
                Some(Command::Refuse(why)) => self.end.tell(Told::Refused { why }),
                Some(Command::Stop) => return Err(()),
                None => return Ok(()),
            }
            self.tell();
        }
    }

    fn outside(&mut self, outside: Outside) {
        match outside {
            Outside::Nothing | Outside::LoseFrames(_) | Outside::Reboot => {}
            Outside::Unplug => self.unplug(),
            Outside::Plug => {
                if self.plugged.is_none() {
                    match Plugged::new(&self.serial) {
                        Ok(plugged) => self.plugged = Some(plugged),
                        Err(error) => self.end.tell(Told::Refused { why: error.to_string() }),
                    }
                }
            }
        }
    }

    fn unplug(&mut self) {
        let _ = std::fs::remove_file(&self.serial);
        self.plugged = None;
        self.modem.reboot();
        self.modem.take_bytes();
    }

    fn read(&mut self) {
        let Some(plugged) = &mut self.plugged else { return };
        let mut buffer = [0; 1_024];
        while let Ok(length) = rustix::io::read(&plugged.terminal, &mut buffer) {
            if length == 0 {
                return;
            }
            self.modem.bytes(buffer.get(..length).unwrap_or_default());
        }
    }

    fn send(&mut self) {
        let bytes = self.modem.take_bytes();
        if let Some(plugged) = &mut self.plugged {
            if plugged.unsent.len() + bytes.len() <= UNSENT_BYTES_MAX {
                plugged.unsent.extend(bytes);
            }
            terminal::send(&plugged.terminal, &mut plugged.unsent);
        }
        self.tell();
    }

    fn tell(&mut self) {
        for told in self.modem.take_told() {
            self.end.tell(told);
        }
    }
}
