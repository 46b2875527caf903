//! `tipring`: the daemon and its command line.

mod catalogue;
mod cdr;
mod cli;
mod config;
mod countries;
mod daemon;
mod fetch;
mod masking;
mod prompts;
mod script;

use std::process::ExitCode;

fn main() -> ExitCode {
    // One provider for the whole process; a second call would be a fault of ours.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::run()
}
