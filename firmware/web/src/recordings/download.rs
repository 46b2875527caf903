//! Recordings on their way to clients: how many at one time, how fast, how long.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::asks::RecordingFile;
use crate::guests::{Full, Guests, Place};

/// Downloads at one time, and those of one address.
pub(super) const DOWNLOADS_MAX: usize = 8;
pub(super) const DOWNLOADS_OF_ONE_MAX: usize = 6;
/// Reads from the disk at one time: prompts and mailboxes want their share of its threads.
const READS_MAX: usize = 2;
/// What is read at once, in bytes.
const PIECE_BYTES: usize = 65_536;
/// The fastest that one download goes: the line is there for voice.
const BYTES_PER_S_MAX: u64 = 4 * 1024 * 1024;
/// The slowest that one may be on the whole, beyond a first minute.
const BYTES_PER_S_MIN: u64 = 16 * 1024;
const FIRST: Duration = Duration::from_secs(60);

/// What downloads share.
#[derive(Debug)]
pub(super) struct Downloads {
    guests: Guests,
    reads: Arc<Semaphore>,
}

impl Default for Downloads {
    fn default() -> Self {
        Self {
            guests: Guests::new(DOWNLOADS_MAX, DOWNLOADS_OF_ONE_MAX),
            reads: Arc::new(Semaphore::new(READS_MAX)),
        }
    }
}

impl Downloads {
    /// A place for a download to `peer`.
    pub(super) fn place(&self, peer: IpAddr) -> Result<Place, Full> {
        self.guests.take_in(peer)
    }

    /// Sends `recording.bytes` from byte `first` on.
    pub(super) fn begin(&self, recording: RecordingFile, first: u64, place: Place) -> Download {
        let (sender, pieces) = mpsc::channel(1);
        let left = recording.bytes;
        let reads = Arc::clone(&self.reads);
        tokio::spawn(async move {
            send(recording, first, reads, sender).await;
            drop(place);
        });
        Download { pieces, left }
    }
}

/// Reads and hands over, until everything is sent or the client is gone or too slow.
async fn send(
    recording: RecordingFile,
    first: u64,
    reads: Arc<Semaphore>,
    sender: mpsc::Sender<io::Result<Bytes>>,
) {
    let RecordingFile { mut file, bytes, .. } = recording;
    let began = Instant::now();
    let until = began + FIRST + Duration::from_secs(bytes / BYTES_PER_S_MIN);
    let mut sent = 0;
    while sent < bytes {
        let wanted = usize::try_from(bytes - sent).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let place = first + sent;
        let piece = {
            // The semaphore is closed at no time.
            let _turn = reads.acquire().await;
            spawn_blocking(move || {
                let piece = read(&mut file, place, wanted);
                (file, piece)
            })
            .await
        };
        let piece = match piece {
            Ok((again, piece)) => {
                file = again;
                piece
            }
            Err(_) => return,
        };
        let is_good = piece.is_ok();
        sent += wanted as u64;
        if !matches!(timeout_at(until, sender.send(piece)).await, Ok(Ok(()))) || !is_good {
            return;
        }
        if sent >= bytes {
            // The next may begin at once.
            return;
        }
        sleep_until(began + Duration::from_millis(sent * 1_000 / BYTES_PER_S_MAX)).await;
    }
}

/// Reads exactly so many bytes. Blocks.
fn read(file: &mut File, place: u64, bytes: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; bytes];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut piece)?;
    Ok(piece.into())
}

/// The body of an answer.
pub(super) struct Download {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Body for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => Some(Err(error)),
            // Cut off: the client must not take it for the whole.
            None => Some(Err(io::ErrorKind::TimedOut.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
