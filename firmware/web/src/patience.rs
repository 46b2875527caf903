//! A connection whose client must take what it is sent: one that stops reading is closed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a client may be behind.
const BEHIND_MAX: Duration = Duration::from_secs(20);
/// What a client that is behind must take within that time, in bytes.
const TAKEN_MIN: usize = 65_536;

/// A stream that fails once its far end is too slow.
pub(crate) struct Patience<S> {
    stream: S,
    behind: Option<Behind>,
}

/// A far end that has not taken everything.
struct Behind {
    until: Pin<Box<Sleep>>,
    taken: usize,
}

impl<S> Patience<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, behind: None }
    }

    /// The outcome of a write, or the end of patience.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(bytes)) => {
                if let Some(behind) = &mut self.behind {
                    behind.taken += bytes;
                    if behind.taken >= TAKEN_MIN || behind.until.deadline() <= Instant::now() {
                        self.behind = None;
                    }
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let behind = self
                    .behind
                    .get_or_insert_with(|| Behind { until: Box::pin(sleep(BEHIND_MAX)), taken: 0 });
                ready!(behind.until.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_reading_is_let_go() {
        let (near, mut far) = duplex(1_000);
        let mut near = Patience::new(near);
        let sent = tokio::spawn(async move { near.write_all(&[0; 100_000]).await });
        let mut some = [0; 3_000];
        far.read_exact(&mut some).await.unwrap();
        let error = sent.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn drops_now_and_then_are_not_enough() {
        let (near, mut far) = duplex(1_000);
        let mut near = Patience::new(near);
        let began = Instant::now();
        let sent = tokio::spawn(async move { near.write_all(&[0; 1_000_000]).await });
        tokio::spawn(async move {
            let mut some = [0; 100];
            while far.read_exact(&mut some).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        assert!(sent.await.unwrap().is_err());
        assert!(began.elapsed() <= 2 * BEHIND_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_reads_on_gets_everything_and_may_rest_between_answers() {
        let (near, mut far) = duplex(1_000);
        let mut near = Patience::new(near);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        for _ in 0..3 {
            near.write_all(&[0; 50_000]).await.unwrap();
            sleep(10 * BEHIND_MAX).await;
        }
        drop(near);
        assert_eq!(reader.await.unwrap(), 150_000);
    }
}
