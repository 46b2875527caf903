//! The command line. Exit codes: 0 ok; 1 what was checked is bad; 2 usage; 64 bad
//! input file; 66 not found; 69 no daemon; 70 internal; 73 cannot write; 75 busy.

mod api_key;
mod cdr;
mod check;
mod dialect;
mod explain;
mod flow_run;
mod lines;
mod logging;
mod metrics;
mod remote;
mod scenario;
mod serve;
mod spool;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use jiff::{SignedDuration, Timestamp};

/// Where the daemon listens for the command line, unless told otherwise.
pub(crate) const CONTROL_SOCKET: &str = "/run/tipring/control.sock";

const OK: u8 = 0;
const BAD: u8 = 1;
/// As clap ends for a mistake in the arguments.
const USAGE: u8 = 2;
const BAD_FILE: u8 = 64;
const NOT_FOUND: u8 = 66;
const NO_DAEMON: u8 = 69;
const INTERNAL: u8 = 70;
const CANNOT_WRITE: u8 = 73;
const BUSY: u8 = 75;

/// Tipring: the office's calls, on the box.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    /// Where the daemon listens for commands.
    #[arg(long, global = true, default_value = CONTROL_SOCKET)]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon.
    Serve {
        /// The configuration file.
        #[arg(long, default_value = "/data/tipring/config.toml")]
        config: PathBuf,
        /// How log lines look.
        #[arg(long, value_enum, default_value_t = LogFormat::Human)]
        log_format: LogFormat,
        /// Log every step of every flow.
        #[arg(long, short)]
        verbose: bool,
    },
    /// Check configuration files (.toml) and flow documents without running them.
    Check {
        /// The files; `flow` may stand before them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Dialect of the documents; unless told, that of the flow that has the document in a
        /// configuration named with it, or opentact for .xml and kazoo for .json.
        #[arg(long)]
        dialect: Option<String>,
    },
    /// Work with flows.
    Flow {
        #[command(subcommand)]
        command: FlowCommand,
    },
    /// Work with calls of the running daemon.
    Call {
        #[command(subcommand)]
        command: CallCommand,
    },
    /// Work with sessions of VoxEngine scenarios in the running daemon.
    Scenario {
        #[command(subcommand)]
        command: scenario::ScenarioCommand,
    },
    /// Look at the records of calls that are over.
    Cdr {
        /// The folder of the records; without it, the running daemon is asked for it.
        #[arg(long, global = true)]
        folder: Option<PathBuf>,
        #[command(subcommand)]
        command: cdr::CdrCommand,
    },
    /// Look at lines, and try out the ports of analog ones.
    Lines {
        #[command(subcommand)]
        command: lines::LinesCommand,
    },
    /// Show how the running daemon stands, as Prometheus reads it.
    Metrics,
    /// Pretend that the internet is down, to see what callers would get: HTTP of flows and
    /// webhooks fails, lines go on.
    Outage {
        /// How long, such as 10m or 90s, at most 24h; `off` ends it.
        #[arg(value_parser = outage_seconds)]
        length: u64,
    },
    /// Make keys for clients of the HTTP control API.
    ApiKey {
        #[command(subcommand)]
        command: api_key::ApiKeyCommand,
    },
    /// Look after webhooks: what waits, is set apart or was sent.
    Spool {
        #[command(subcommand)]
        command: spool::SpoolCommand,
    },
    /// Say what a message code means and what to do.
    Explain {
        /// The code, such as TR-SIP-401; without one, every code is listed.
        code: Option<String>,
    },
    /// The process of one script; the daemon starts it.
    #[command(hide = true)]
    Script,
    /// Show how the running daemon stands.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

#[derive(Subcommand)]
enum FlowCommand {
    /// Run a flow with scripted keys and HTTP answers, without lines and daemon.
    Run(flow_run::Options),
}

#[derive(Subcommand)]
enum CallCommand {
    /// Ring a number and run a flow when it answers.
    Start {
        /// Whom to ring: a number or a sip: address.
        #[arg(long)]
        to: String,
        /// The number to show.
        #[arg(long)]
        from: Option<String>,
        /// The flow; the first of the configuration without it.
        #[arg(long)]
        flow: Option<String>,
        /// Return when the call is over.
        #[arg(long)]
        wait: bool,
    },
    /// List the calls.
    Ls {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one call.
    Show {
        /// Its name, or the first letters of it.
        id: String,
    },
    /// End a call.
    Hangup {
        /// Its UUID.
        id: String,
    },
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows which stream each goes to.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Command::Script = arguments.command {
        return crate::script::run();
    }
    let socket = arguments.socket;
    ExitCode::from(match arguments.command {
        Command::Serve { config, log_format, verbose } => serve::run(&config, log_format, verbose),
        Command::Check { files, dialect } => check::run(&files, dialect.as_deref()),
        Command::Flow { command: FlowCommand::Run(options) } => flow_run::run(&options),
        Command::Call { command } => remote::call(&socket, &command),
        Command::Scenario { command } => scenario::run(&socket, &command),
        Command::Cdr { folder, command } => cdr::run(&socket, folder, &command),
        Command::Lines { command } => lines::run(&socket, &command),
        Command::Metrics => metrics::run(&socket),
        Command::Outage { length } => remote::outage(&socket, length),
        Command::Spool { command } => spool::run(&socket, &command),
        Command::ApiKey { command } => api_key::run(&command),
        Command::Explain { code } => explain::run(code.as_deref()),
        Command::Status { json } => remote::status(&socket, json),
        // It has gone above, before anything that a script's process has no use for.
        Command::Script => OK,
    })
}

/// The length of an outage in seconds; 0 for `off`.
fn outage_seconds(text: &str) -> Result<u64, String> {
    const HINT: &str = "write a length such as 10m or 90s, at most 24h, or off";
    if text == "off" {
        return Ok(0);
    }
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(HINT.to_owned()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    seconds.filter(|seconds| (1..=86_400).contains(seconds)).ok_or_else(|| HINT.to_owned())
}

/// A text on one line, without what could steer a terminal or turn the direction of writing:
/// callers, servers and other boxes write it.
fn shown(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '?' } else { c }).collect()
}

/// The time that was so long ago, such as 90s, 30m, 2h, 7d.
fn ago(text: &str) -> Option<Timestamp> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let count = i64::from(count.parse::<u32>().ok()?);
    Timestamp::now().checked_sub(SignedDuration::from_secs(count * seconds)).ok()
}

/// Writes to standard output. A reader that went away is no fault of ours.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Writes to standard error.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes what is wrong with a document, and what the catalogue says of it.
fn complain_of(kind: &str, code: &str, text: &str) {
    complain(&format!("{kind}[{code}]: {text}"));
    if let Some(message) = crate::catalogue::find(code) {
        complain(&format!("  {} {}", message.what, message.action));
    }
}

/// Writes an error with what the catalogue says about its code.
fn complain_with(code: &str, text: &str) {
    complain(&format!("error[{code}]: {text}"));
    if let Some(message) = crate::catalogue::find(code) {
        complain(&format!("  {} {}", message.cause, message.action));
    }
    complain(&format!("  more: tipring explain {code}"));
}
