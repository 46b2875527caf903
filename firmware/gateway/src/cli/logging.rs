//! Log lines on standard output, written by a thread of their own: a reader that
//! stops reading must not stop a call.

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};

use super::LogFormat;

/// Lines that wait for a slow reader; more are dropped.
const LINES_MAX: usize = 16_384;

/// Starts logging. What waits is written when the guard is dropped.
pub(super) fn start(format: LogFormat, verbose: bool) -> WorkerGuard {
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).finish(std::io::stdout());
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(writer);
    // It fails only if a second subscriber were set.
    match format {
        LogFormat::Human => {
            let _ = tracing::subscriber::set_global_default(builder.finish());
        }
        LogFormat::Json => {
            let _ = tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish());
        }
    }
    guard
}
