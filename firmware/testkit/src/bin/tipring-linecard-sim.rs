//! A line card in software. Orders come as JSON lines on the standard input, what happens goes
//! as JSON lines to the standard output; `firmware/testkit/src/linecard/README.md` lists both.

use std::io::{BufRead, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tipring_testkit::linecard::{Orders, Simulator, StageSettings, Told};

/// An order at most, in bytes.
const ORDER_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
/// The end of the orders is noticed so soon.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    match run(StageSettings { directory, kinds, audio }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tipring-linecard-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: StageSettings) -> std::io::Result<()> {
    let simulator = Simulator::start(settings)?;
    let orders = simulator.orders()?;
    let ended = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&ended);
    // Not waited for: it may sit in a read for ever after the output is gone.
    std::thread::Builder::new().name(String::from("orders")).spawn(move || {
        // The end of the input, or of the simulator: both end this program.
        let _ = read_orders(&orders);
        over.store(true, Ordering::Release);
    })?;
    let mut output = std::io::stdout().lock();
    loop {
        if let Some(told) = simulator.told(LOOK_EVERY) {
            tell(&mut output, &told)?;
        } else if ended.load(Ordering::Acquire) {
            return Ok(());
        }
    }
}

fn read_orders(orders: &Orders) -> std::io::Result<()> {
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        if (&mut input).take(ORDER_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match serde_json::from_slice(&line) {
            Ok(order) => orders.give(order)?,
            Err(error) => orders.refuse(error.to_string())?,
        }
    }
}

fn tell(output: &mut impl Write, told: &Told) -> std::io::Result<()> {
    serde_json::to_writer(&mut *output, told)?;
    output.write_all(b"\n")?;
    output.flush()
}
