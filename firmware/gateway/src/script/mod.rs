//! `tipring script`: the process of one script. It is started by the daemon, speaks with it over
//! the socket that is its standard input, and can do nothing else (see [`cell`]).
//!
//! Each message is four bytes of length, least first, and as many of JSON. One comes in, one goes
//! out; at the end of the stream the process ends.

pub(crate) mod cell;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tipring_flows::voxengine::interpreter::{Bounds, Interpreter};
use tipring_flows::voxengine::message::MESSAGE_BYTES_MAX;

/// Serves one script until the daemon is gone or has no more to say.
pub(crate) fn run() -> ExitCode {
    if serve().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve() -> io::Result<()> {
    // The only descriptor of use. A file or a terminal there fails at the first read.
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    // What the engine needs of the system it has now.
    let engine = Interpreter::new(Bounds::default(), u64::from_le_bytes(seed), Box::new(used));
    let mut engine = engine.map_err(|fault| io::Error::other(fault.to_string()))?;
    cell::enter()?;
    while let Some(message) = read_frame(&mut socket)? {
        write_frame(&mut socket, &engine.handle(&message))?;
    }
    Ok(())
}

/// CPU time that the thread has used.
pub(crate) fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The next message; none at the end of the stream.
fn read_frame(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

fn write_frame(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut frame = Vec::with_capacity(bytes.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(bytes);
    stream.write_all(&frame)
}
