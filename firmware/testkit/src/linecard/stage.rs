//! The card's devices: a pseudo-terminal, two pipes that ALSA reads and writes, and a clock.
//!
//! ALSA's `file` plug-in over the `null` device has no clock of its own. The pipe of captured
//! sound gives it one: it is filled at 8 kHz, a period every 10 ms by the deadlines of this
//! thread, and whoever reads it waits for it. The pipe is as long as a device's ring: who reads
//! too late loses frames here, as there.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::board::{Board, Outside};
use super::order::{Order, Told};
use crate::console::{Console, StageEnd};
use crate::stage::Stage;
use crate::terminal::Terminal;

/// Frames of a period.
const PERIOD_FRAMES: usize = 80;
/// Periods that a device holds.
const RING_PERIODS: usize = 16;
/// Periods that wait to be played before the first is.
const PLAY_FROM_PERIODS: usize = 2;
/// And at most.
const PLAY_PERIODS_MAX: usize = 24;
/// The name of the ALSA device, if no other is asked for.
const AUDIO: &str = "tipring";

/// Where a simulator is, and what it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageSettings {
    /// A folder of its own: `serial` will be the serial port in it, `alsa.conf` the file for
    /// `ALSA_CONFIG_PATH`.
    pub directory: PathBuf,
    /// A letter a port: `L` a line, `P` a telephone.
    pub kinds: String,
    /// The name of the ALSA device; `None` for `tipring`.
    pub audio: Option<String>,
}

/// A card that runs. Dropping it pulls it out.
pub struct Simulator {
    settings: StageSettings,
    console: Console,
}

impl Simulator {
    /// Writes `alsa.conf` and plugs the card in. [`Told::Ready`] is the first thing told.
    ///
    /// # Errors
    /// The folder cannot be written, or no pseudo-terminal or thread is to be had.
    pub fn start(settings: StageSettings) -> io::Result<Self> {
        let letters = |kinds: &str| !kinds.is_empty() && kinds.chars().all(|kind| matches!(kind, 'L' | 'P'));
        if !letters(&settings.kinds) || settings.kinds.len() > 24 {
            return Err(io::Error::other("the ports are 1 to 24 letters, L or P"));
        }
        std::fs::create_dir_all(&settings.directory)?;
        let (mut console, stage_end) = Console::new(&settings.directory)?;
        let names = Names::new(&settings);
        std::fs::write(&names.alsa_config, names.alsa_text())?;
        let mut stage = CardStage {
            board: Board::new(&settings.kinds),
            plugged: Some(Plugged::new(&names, settings.kinds.len())?),
            end: stage_end,
            lose_periods: 0,
            lost_frames: 0,
            names,
        };
        stage.board.reboot("power");
        stage.end.tell(stage.names.ready());
        console.run("line card", move || stage.run())?;
        Ok(Self { settings, console })
    }

    /// The serial port.
    #[must_use]
    pub fn serial_path(&self) -> PathBuf {
        Names::new(&self.settings).serial
    }

    /// The file for `ALSA_CONFIG_PATH`.
    #[must_use]
    pub fn alsa_config(&self) -> PathBuf {
        Names::new(&self.settings).alsa_config
    }
}

impl Deref for Simulator {
    type Target = Console;

    fn deref(&self) -> &Console {
        &self.console
    }
}

/// The files of a card.
struct Names {
    serial: PathBuf,
    heard: PathBuf,
    played: PathBuf,
    alsa_config: PathBuf,
    audio: String,
}

impl Names {
    fn new(settings: &StageSettings) -> Self {
        let file = |name: &str| settings.directory.join(name);
        Self {
            serial: file("serial"),
            heard: file("heard.pipe"),
            played: file("played.pipe"),
            alsa_config: file("alsa.conf"),
            audio: settings.audio.clone().unwrap_or_else(|| String::from(AUDIO)),
        }
    }

    /// A device that captures from one pipe and plays to the other. What is captured would also
    /// be written to a file, which is `/dev/null`.
    fn alsa_text(&self) -> String {
        format!(
            "</usr/share/alsa/alsa.conf>\n\
             pcm.{audio} {{\n  type asym\n  \
             capture.pcm {{ type file slave.pcm \"null\" file \"/dev/null\" infile \"{heard}\" format raw }}\n  \
             playback.pcm {{ type file slave.pcm \"null\" file \"{played}\" format raw }}\n}}\n",
            audio = self.audio,
            heard = self.heard.display(),
            played = self.played.display(),
        )
    }

    fn ready(&self) -> Told {
        Told::Ready {
            serial: self.serial.display().to_string(),
            alsa_config: self.alsa_config.display().to_string(),
            audio: self.audio.clone(),
        }
    }

    fn remove(&self) {
        for file in [&self.serial, &self.heard, &self.played] {
            // What is not there need not be removed.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// The devices while the card is plugged in.
struct Plugged {
    terminal: Terminal,
    heard: File,
    played: File,
    to_play: VecDeque<u8>,
    plays: bool,
    streaming: bool,
}

impl Plugged {
    fn new(names: &Names, ports: usize) -> io::Result<Self> {
        names.remove();
        let terminal = Terminal::open()?;
        let pipe = |path: &Path, writes: bool| {
            rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
            let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
            OpenOptions::new().read(true).write(writes).custom_flags(nonblocking).open(path)
        };
        // Open for both, so that whoever captures never waits for somebody to open it.
        let heard = pipe(&names.heard, true)?;
        let played = pipe(&names.played, false)?;
        let ring_bytes = RING_PERIODS * period_bytes(ports);
        rustix::pipe::fcntl_setpipe_size(&heard, ring_bytes.next_power_of_two())?;
        symlink(&terminal.path, &names.serial)?;
        Ok(Self { terminal, heard, played, to_play: VecDeque::new(), plays: false, streaming: false })
    }

    /// Takes what the box plays, and sees whether it has the sound open.
    fn take_played(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        loop {
            match self.played.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.to_play.extend(buffer.iter().take(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }

    /// The next period to be played, silence while there is none; and whether it was missing.
    fn next_period(&mut self, ports: usize) -> (Vec<i16>, bool) {
        let whole = period_bytes(ports);
        let held = self.to_play.len() / whole;
        let missing = self.plays && held == 0;
        self.plays = (self.plays && held > 0) || held >= PLAY_FROM_PERIODS;
        while self.to_play.len() > PLAY_PERIODS_MAX * whole {
            self.to_play.drain(..whole);
        }
        if !self.plays {
            return (vec![0; ports * PERIOD_FRAMES], missing);
        }
        let bytes: Vec<u8> = self.to_play.drain(..whole).collect();
        (bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect(), missing)
    }

    fn send(&mut self) {
        if !self.terminal.send() {
            // Nobody reads: as on a true serial port, it is lost.
            self.terminal.unsent.clear();
        }
    }
}

fn period_bytes(ports: usize) -> usize {
    ports * PERIOD_FRAMES * 2
}

struct CardStage {
    board: Board,
    plugged: Option<Plugged>,
    end: StageEnd,
    /// Periods that are yet to be lost on the way to the box.
    lose_periods: u32,
    /// Frames that were, since the last one that was not.
    lost_frames: u32,
    names: Names,
}

impl Stage for CardStage {
    fn end(&self) -> &StageEnd {
        &self.end
    }

    fn terminal(&self) -> Option<&Terminal> {
        self.plugged.as_ref().map(|plugged| &plugged.terminal)
    }

    fn order(&mut self, order: Order) -> Result<Outside, String> {
        self.board.order(order)
    }

    fn take_told(&mut self) -> Vec<Told> {
        self.board.take_told()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.board.bytes(bytes);
    }

    fn outside(&mut self, outside: Outside) {
        match outside {
            Outside::Nothing => {}
            Outside::LoseFrames(frames) => self.lose_periods += frames.div_ceil(PERIOD_FRAMES as u32),
            Outside::Reboot => {
                self.board.reboot("order");
                if let Some(plugged) = &mut self.plugged {
                    plugged.streaming = false;
                }
            }
            Outside::Unplug => self.unplug(),
            Outside::Plug => {
                if self.plugged.is_none() {
                    match Plugged::new(&self.names, self.board.ports()) {
                        Ok(plugged) => self.plugged = Some(plugged),
                        Err(error) => self.end.tell(Told::Refused { why: error.to_string() }),
                    }
                    self.board.reboot("power");
                }
            }
        }
    }

    fn unplug(&mut self) {
        // The names go first: nobody may open a pipe that is about to lose its other end.
        self.names.remove();
        self.plugged = None;
        self.board.reboot("power");
        self.board.take_bytes();
    }

    fn send(&mut self) {
        let bytes = self.board.take_bytes();
        if let Some(plugged) = &mut self.plugged {
            plugged.terminal.unsent.extend(bytes);
            plugged.send();
        }
    }

    /// Ten milliseconds of the card.
    fn period(&mut self) {
        let ports = self.board.ports();
        let mut played = vec![0; ports * PERIOD_FRAMES];
        if let Some(plugged) = &mut self.plugged {
            let open = plugged.take_played();
            if open != plugged.streaming {
                plugged.streaming = open;
                plugged.plays = false;
                self.lost_frames = 0;
                drain(&mut plugged.heard);
                if !open {
                    plugged.to_play.clear();
                }
                self.board.audio(open);
            }
            if open {
                let (period, missing) = plugged.next_period(ports);
                played = period;
                if missing {
                    let at = self.board.at();
                    self.end.tell(Told::Underrun { at });
                }
            }
        }
        let mut captured = Vec::with_capacity(period_bytes(ports));
        let mut eight = vec![0; ports * 8];
        let began = self.board.at();
        let streaming = self.plugged.as_ref().is_some_and(|plugged| plugged.streaming);
        for played in played.chunks(ports * 8) {
            self.board.millisecond(played, &mut eight);
            captured.extend(eight.iter().flat_map(|sample| sample.to_le_bytes()));
        }
        // What happened is told before it is heard.
        self.send();
        self.tell();
        if streaming {
            self.capture(began, &captured);
        }
    }
}

impl CardStage {
    /// Gives a period to whoever captures, or loses it.
    fn capture(&mut self, began: u64, captured: &[u8]) {
        let Some(plugged) = &self.plugged else { return };
        let held = rustix::io::ioctl_fionread(&plugged.heard).unwrap_or(0);
        let room = held + captured.len() as u64 <= (RING_PERIODS * captured.len()) as u64;
        if self.lose_periods > 0 || !room {
            self.lose_periods = self.lose_periods.saturating_sub(1);
            self.lost_frames += PERIOD_FRAMES as u32;
            return;
        }
        let frames = std::mem::take(&mut self.lost_frames);
        if frames > 0 {
            // Told first: the frame that comes then must not be taken for an earlier one.
            self.board.lost_before(began, frames);
            self.end.tell(Told::Overrun { at: began, frames });
            self.send();
            self.tell();
        }
        if let Some(plugged) = &mut self.plugged {
            // At most a page, for which there is room: it is written whole.
            let _ = plugged.heard.write(captured);
        }
    }
}

fn drain(pipe: &mut File) {
    let mut buffer = [0; 4_096];
    while pipe.read(&mut buffer).is_ok_and(|length| length > 0) {}
}
