//! The modem's devices: a pseudo-terminal, and a clock of its own.

use std::io;
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::chip::{Modem, ModemSettings};
use crate::console::{Console, StageEnd};
use crate::linecard::board::Outside;
use crate::linecard::{Order, Told};
use crate::stage::{PERIOD, Stage};
use crate::terminal::Terminal;

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
        let stage = ModemStage {
            terminal: Some(plug_in(&serial)?),
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

fn plug_in(serial: &Path) -> io::Result<Terminal> {
    // What is not there need not be removed.
    let _ = std::fs::remove_file(serial);
    let terminal = Terminal::open()?;
    symlink(&terminal.path, serial)?;
    Ok(terminal)
}

struct ModemStage {
    modem: Modem,
    terminal: Option<Terminal>,
    end: StageEnd,
    serial: PathBuf,
}

impl Stage for ModemStage {
    fn end(&self) -> &StageEnd {
        &self.end
    }

    fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    fn order(&mut self, order: Order) -> Result<Outside, String> {
        self.modem.order(order)
    }

    fn outside(&mut self, outside: Outside) {
        match outside {
            Outside::Nothing | Outside::LoseFrames(_) | Outside::Reboot => {}
            Outside::Unplug => self.unplug(),
            Outside::Plug => {
                if self.terminal.is_none() {
                    match plug_in(&self.serial) {
                        Ok(terminal) => self.terminal = Some(terminal),
                        Err(error) => self.end.tell(Told::Refused { why: error.to_string() }),
                    }
                }
            }
        }
    }

    fn take_told(&mut self) -> Vec<Told> {
        self.modem.take_told()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.modem.bytes(bytes);
    }

    /// The modem moves so much at a time, as USB does.
    fn period(&mut self) {
        (0..PERIOD.as_millis()).for_each(|_| self.modem.millisecond());
    }

    fn send(&mut self) {
        let bytes = self.modem.take_bytes();
        if let Some(terminal) = &mut self.terminal {
            if terminal.unsent.len() + bytes.len() <= UNSENT_BYTES_MAX {
                terminal.unsent.extend(bytes);
            }
            terminal.send();
        }
    }

    fn unplug(&mut self) {
        let _ = std::fs::remove_file(&self.serial);
        self.terminal = None;
        self.modem.reboot();
        self.modem.take_bytes();
    }
}
