//! Every command that developers use: `cargo xtask --help`.

#![expect(clippy::print_stdout, reason = "what these commands say is for a terminal")]

mod bench;
mod check;
mod demo;
mod fuzz;
mod layers;
mod packages;
mod powercut;
mod run;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands for developers of Tipring.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format, lints, who may see whom, conventions, licences, linkage.
    Check,
    /// Runs the tests: every layer, or those that are named.
    Test {
        /// check, unit, sip, power, fuzz
        layers: Vec<String>,
    },
    /// Runs one fuzz target.
    Fuzz {
        /// Its name, as in fuzz/fuzz_targets/.
        target: String,
        /// How long.
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u64,
    },
    /// A call on this machine, from beginning to end, with its sound checked.
    Demo {
        /// End when the call is over, with exit code 0 only if all was as expected.
        #[arg(long)]
        once: bool,
        /// After the call, keep running this long instead of until Ctrl-C.
        #[arg(long = "for", value_name = "SECONDS", conflicts_with = "once")]
        seconds: Option<u64>,
    },
    /// The spool on a disk whose power is cut, in an emulated ARM64 machine. Takes root.
    Powercut {
        /// How often.
        #[arg(long, value_name = "N", default_value_t = 30)]
        cuts: usize,
        /// Repeats the plan of a run.
        #[arg(long)]
        seed: Option<u64>,
        /// Leaves the fdatasync out: succeeds if that is noticed.
        #[arg(long)]
        twin: bool,
    },
    /// Measurements.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// How many calls the daemon carries.
    Calls {
        /// Shorter and less exact.
        #[arg(long)]
        quick: bool,
    },
    /// What it costs to read and check a long document in each dialect.
    Documents,
    /// What each piece of signal processing costs.
    Dsp,
    /// What the process of a script costs: memory, start, messages.
    Scripts,
    /// What it costs to keep webhooks on the disk.
    Spool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Check => check::run(),
        Command::Test { layers } => layers::run(&layers),
        Command::Fuzz { target, seconds } => fuzz::run(&target, seconds),
        Command::Demo { once, seconds } => demo::run(once, seconds),
        Command::Powercut { cuts, seed, twin } => powercut::run(cuts, seed, twin),
        Command::Bench { what: Bench::Calls { quick } } => bench::calls(quick),
        Command::Bench { what: Bench::Documents } => bench::documents(),
        Command::Bench { what: Bench::Dsp } => bench::dsp(),
        Command::Bench { what: Bench::Scripts } => bench::scripts(),
        Command::Bench { what: Bench::Spool } => bench::spool(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
