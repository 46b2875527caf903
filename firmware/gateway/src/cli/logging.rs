//! Log lines on standard output, written by a thread of their own: a reader that
//! stops reading must not stop a call. Lines are gathered for a moment, so that a
//! busy box does not wake that thread for each.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;

/// What waits for a slow reader, in bytes; lines beyond are dropped and counted.
const WAITING_BYTES_MAX: usize = 1_048_576;
/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(50);

/// Starts logging. What waits is written when the guard is dropped.
pub(super) fn start(format: LogFormat, verbose: bool) -> Guard {
    let log = Log(Arc::new(Shared::default()));
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(log.clone());
    // Both fail only if a second subscriber were set.
    match format {
        LogFormat::Human => drop(tracing::subscriber::set_global_default(builder.finish())),
        LogFormat::Json => {
            drop(tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish()));
        }
    }
    let shared = Arc::clone(&log.0);
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_out());
    Guard { log, thread: thread.ok() }
}

#[derive(Clone)]
struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_out(&self) {
        let mut out = io::stdout();
        let mut is_over = false;
        while !is_over {
            let mut waiting = self.lock();
            while waiting.lines.is_empty() && !waiting.is_over {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.is_over {
                let gathered = self.changed.wait_timeout(waiting, GATHER);
                (waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut waiting.lines);
            let dropped = std::mem::take(&mut waiting.dropped);
            is_over = waiting.is_over;
            drop(waiting);
            // A reader that went away is no fault of ours.
            let _ = out.write_all(&lines).and_then(|()| out.flush());
            if dropped > 0 {
                let _ = writeln!(out, "{dropped} log lines were dropped: the reader is too slow");
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.lines.len() + line.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            return Ok(line.len());
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.0.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what waits when it is dropped.
pub(super) struct Guard {
    log: Log,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.log.0.lock().is_over = true;
        self.log.0.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}
