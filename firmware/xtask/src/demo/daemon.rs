//! The box: one daemon in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::timeline::Timeline;

/// Longest wait until it takes calls.
const READY_MAX: Duration = Duration::from_secs(15);
/// Longest wait for its end; it lets calls run for ten seconds.
const STOP_MAX: Duration = Duration::from_secs(15);
/// How long an end at once may take.
const AT_ONCE_MAX: Duration = Duration::from_millis(700);
/// Time between two looks at something.
const LOOK: Duration = Duration::from_millis(50);

/// A running daemon. Dropping it ends it and removes its folder.
pub(super) struct Daemon {
    program: PathBuf,
    pub(super) folder: PathBuf,
    child: Child,
    /// Where it takes SIP.
    pub(super) udp: SocketAddr,
    pub(super) tcp: SocketAddr,
}

impl Daemon {
    /// Starts it in a new folder; `config` writes the configuration for that folder, `started` is
    /// told the process and the folder.
    pub(super) fn start(
        program: &Path,
        alsa_config: &Path,
        config: impl FnOnce(&Path) -> String,
        started: impl FnOnce(u32, &Path),
        timeline: &Timeline,
    ) -> Result<Self> {
        let folder = new_folder()?;
        let file = folder.join("tipring.toml");
        std::fs::write(&file, config(&folder)).with_context(|| file.display().to_string())?;
        timeline.say("box", &format!("tipring serve --config {}", file.display()));
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(&file)
            .env("ALSA_CONFIG_PATH", alsa_config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us; we end it in our own way.
            .process_group(0)
            .spawn()
            .with_context(|| program.display().to_string())?;
        started(child.id(), &folder);
        follow(child.stdout.take(), timeline);
        follow(child.stderr.take(), timeline);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Self { program: program.to_owned(), folder, child, udp: nowhere, tcp: nowhere };
        let until = Instant::now() + READY_MAX;
        let status = loop {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("tipring ended before it was ready: {status}");
            }
            match daemon.status() {
                Ok(status) if status["ready"] == true => break status,
                Ok(_) | Err(_) if Instant::now() < until => pause(LOOK),
                Ok(status) => bail!("tipring is not ready after {READY_MAX:?}; its status: {status}"),
                Err(error) => return Err(error.context(format!("tipring is not ready after {READY_MAX:?}"))),
            }
        };
        let address = |kind: &str| -> Result<SocketAddr> {
            let text =
                status["sip"][kind].as_str().with_context(|| format!("no sip.{kind} in its status"))?;
            Ok(text.parse()?)
        };
        daemon.udp = address("udp")?;
        daemon.tcp = address("tcp")?;
        Ok(daemon)
    }

    /// `tipring status --json`.
    pub(super) fn status(&self) -> Result<Value> {
        let output = Command::new(&self.program)
            .args(["status", "--json", "--socket"])
            .arg(self.folder.join("control.sock"))
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("tipring status: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("tipring status --json")
    }

    /// Where it keeps records and recordings.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The record of the call with this place in the order in which they ended, from 0, waited for.
    pub(super) fn record(&self, place: usize, limit: Duration) -> Result<Value> {
        let path = self.data().join("cdr/000001.jsonl");
        let until = Instant::now() + limit;
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // One that has no line's end is still being written.
            if let Some(line) = text.split_inclusive('\n').nth(place).filter(|line| line.ends_with('\n')) {
                return serde_json::from_str(line).with_context(|| path.display().to_string());
            }
            if Instant::now() >= until {
                bail!("no call record in {} within {limit:?}", path.display());
            }
            pause(LOOK);
        }
    }

    /// Asks it to end and waits; gives whether it ended well.
    pub(super) fn stop(&mut self) -> Result<bool> {
        signal(self.child.id(), Signal::TERM);
        let until = Instant::now() + STOP_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            if Instant::now() >= until {
                self.child.kill()?;
                self.child.wait()?;
                bail!("tipring still ran {STOP_MAX:?} after SIGTERM");
            }
            pause(LOOK);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nobody is left to be told that the end did not go well.
        if matches!(self.child.try_wait(), Ok(None)) {
            end_now(self.child.id());
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Asks for the end once, then again for the end of running calls, too, and then does not ask.
pub(super) fn end_now(pid: u32) {
    signal(pid, Signal::TERM);
    pause(LOOK);
    signal(pid, Signal::TERM);
    pause(AT_ONCE_MAX);
    signal(pid, Signal::KILL);
    pause(LOOK);
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that is gone needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// Waits `time` for nothing in particular: between two looks at a file or a program.
pub(super) fn pause(time: Duration) {
    let (_never, wait) = mpsc::sync_channel::<()>(1);
    // The sender lives, so this ends by the time.
    let _ = wait.recv_timeout(time);
}

/// Prints what the daemon writes.
fn follow(output: Option<impl Read + Send + 'static>, timeline: &Timeline) {
    let (Some(output), timeline) = (output, timeline.clone()) else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            timeline.say("box", without_time(&line));
        }
    });
}

/// A line of the log without its own time; the timeline has one.
fn without_time(line: &str) -> &str {
    let time =
        |word: &str| word.len() > 19 && word.ends_with('Z') && word.contains('T') && word.starts_with("20");
    line.split_once(' ').filter(|(word, _)| time(word)).map_or(line, |(_, rest)| rest.trim_start())
}

fn new_folder() -> Result<PathBuf> {
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    let folder = std::env::temp_dir().join(format!("tipring-demo-{}-{clock:x}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_is_left_out() {
        assert_eq!(without_time("2026-11-20T10:32:57.138316Z  INFO ready"), "INFO ready");
        assert_eq!(without_time("thread 'main' panicked"), "thread 'main' panicked");
    }
}
