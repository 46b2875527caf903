//! A voice modem in software. Orders come as JSON lines on the standard input, what happens goes
//! as JSON lines to the standard output; `firmware/testkit/src/modem/README.md` lists both.

use std::io::Write;
use std::process::ExitCode;

use tipring_testkit::modem::{Chip, Law, ModemSettings, Simulator, StageSettings};

const USAGE: &str = "usage: tipring-modem-sim DIRECTORY CHIP [OPTION...]
CHIP is conexant, usr or generic.
  --law mulaw|alaw|u8|s16|none   the samples that it has
  --firmware VERSION             as it says
  --streaming                    left off hook in the middle of a stream
  --half-duplex                  it cannot hear and play at the same time";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(settings) = settings(&words) else {
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    match Simulator::start(settings).and_then(|simulator| simulator.serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tipring-modem-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn settings(words: &[String]) -> Option<StageSettings> {
    let [directory, chip, options @ ..] = words else { return None };
    let mut modem = ModemSettings::new(Chip::from_word(chip)?);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.as_str() {
            "--law" => modem.law = Law::from_word(options.next()?)?,
            "--firmware" => modem.firmware = Some(options.next()?.clone()),
            "--streaming" => modem.is_left_streaming = true,
            "--half-duplex" => modem.is_half_duplex = true,
            _ => return None,
        }
    }
    Some(StageSettings { directory: directory.into(), modem })
}
