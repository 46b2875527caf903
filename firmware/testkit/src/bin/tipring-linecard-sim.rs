//! A line card in software. Orders come as JSON lines on the standard input, what happens goes
//! as JSON lines to the standard output; `firmware/testkit/src/linecard/README.md` lists both.

use std::io::Write;
use std::process::ExitCode;

use tipring_testkit::linecard::{Simulator, StageSettings};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (directory, kinds, audio) = match words.as_slice() {
        [directory, kinds] => (directory.into(), kinds.clone(), None),
        [directory, kinds, audio] => (directory.into(), kinds.clone(), Some(audio.clone())),
        _ => {
            let _ = writeln!(
                std::io::stderr(),
                "usage: tipring-linecard-sim DIRECTORY PORTS [NAME]\n\
                 PORTS is a letter a port: L a line, P a telephone. NAME is the ALSA device's: tipring."
            );
            return ExitCode::from(2);
        }
    };
    match Simulator::start(StageSettings { directory, kinds, audio }).and_then(|simulator| simulator.serve())
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tipring-linecard-sim: {error}");
            ExitCode::FAILURE
        }
    }
}
