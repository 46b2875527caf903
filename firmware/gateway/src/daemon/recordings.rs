//! Writes recordings to disk, on a thread of its own: a slow card must not hold up
//! a call.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::Consumer;
use tipring_media::{Frame, Rate, wav};
use tipring_model::flow::Recorded;
use tipring_model::{LegId, RecordId};

/// A recording that begins.
pub(crate) struct Begin {
    /// Whose.
    pub leg: LegId,
    /// Which.
    pub record: RecordId,
    /// Name of the file.
    pub name: String,
    /// Its frames; the recording ends when the other end is dropped.
    pub frames: Consumer<Frame>,
}

/// A recording that is over.
pub(crate) struct Finished {
    /// Whose.
    pub leg: LegId,
    /// Which.
    pub record: RecordId,
    /// What it holds; `None` when it could not be stored.
    pub result: Option<Recorded>,
}

/// The writing thread.
pub(crate) struct Recorder {
    begin: Option<SyncSender<Begin>>,
    thread: Option<JoinHandle<()>>,
}

/// Recordings that may begin within one turn of the thread.
const BEGIN_MAX: usize = 256;
/// How often the rings are emptied; each holds [`RING_FRAMES`].
const TURN: Duration = Duration::from_millis(200);
/// Frames that a ring holds: 4 seconds, for a card that stalls.
pub(crate) const RING_FRAMES: usize = 200;

impl Recorder {
    /// Starts the thread. `finished` is called on it.
    ///
    /// # Errors
    /// When the folder cannot be made or the thread not be started.
    pub(crate) fn start(
        folder: PathBuf,
        finished: impl Fn(Finished) + Send + 'static,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let (begin, beginnings) = sync_channel(BEGIN_MAX);
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || run(&folder, &beginnings, &finished))?;
        Ok(Self { begin: Some(begin), thread: Some(thread) })
    }

    /// Begins a recording; gives it back when the thread is behind.
    ///
    /// # Errors
    /// The recording that cannot be begun.
    pub(crate) fn begin(&self, recording: Begin) -> Result<(), Box<Begin>> {
        match &self.begin {
            None => Err(Box::new(recording)),
            Some(begin) => begin.try_send(recording).map_err(|error| match error {
                TrySendError::Full(recording) | TrySendError::Disconnected(recording) => Box::new(recording),
            }),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.begin = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

fn run(folder: &Path, beginnings: &Receiver<Begin>, finished: &dyn Fn(Finished)) {
    let mut open: Vec<Open> = Vec::new();
    let mut ending = false;
    while !(ending && open.is_empty()) {
        let wait = if open.is_empty() { Duration::from_secs(3_600) } else { TURN };
        match beginnings.recv_timeout(wait) {
            Ok(begin) => {
                open.push(Open::new(folder, begin));
                open.extend(beginnings.try_iter().map(|begin| Open::new(folder, begin)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                if ending {
                    // The engine lets go of the rings; until then there is nothing to wait for.
                    std::thread::park_timeout(TURN);
                }
                ending = true;
            }
        }
        open.retain_mut(|recording| match recording.turn() {
            Some(result) => {
                finished(Finished { leg: recording.leg, record: recording.record, result });
                false
            }
            None => true,
        });
    }
}

/// One recording being written.
struct Open {
    leg: LegId,
    record: RecordId,
    name: String,
    frames: Consumer<Frame>,
    /// `None` once writing failed.
    file: Option<BufWriter<File>>,
    rate: Option<Rate>,
    samples: u64,
}

impl Open {
    fn new(folder: &Path, begin: Begin) -> Self {
        let file = File::create_new(folder.join(&begin.name)).and_then(|mut file| {
            // Readable even if the end never comes; the real length is written then.
            file.write_all(&wav::header(Rate::Narrow.hz(), None))?;
            Ok(BufWriter::with_capacity(32 * 1024, file))
        });
        if let Err(error) = &file {
            tracing::error!(code = "TR-DAEMON-STORAGE", file = begin.name, %error, "a recording cannot be written");
        }
        Self {
            leg: begin.leg,
            record: begin.record,
            name: begin.name,
            frames: begin.frames,
            file: file.ok(),
            rate: None,
            samples: 0,
        }
    }

    /// Writes what waits; the result once the recording is over.
    fn turn(&mut self) -> Option<Option<Recorded>> {
        // Looked at first: what is pushed before the end is read below.
        let over = self.frames.is_abandoned();
        while let Ok(frame) = self.frames.pop() {
            self.write(&frame);
        }
        over.then(|| self.finish())
    }

    fn write(&mut self, frame: &Frame) {
        let Some(file) = &mut self.file else { return };
        self.rate.get_or_insert(frame.rate());
        self.samples += frame.samples().len() as u64;
        let bytes: Vec<u8> = frame.samples().iter().flat_map(|sample| sample.to_le_bytes()).collect();
        if let Err(error) = file.write_all(&bytes) {
            tracing::error!(code = "TR-DAEMON-STORAGE", file = self.name, %error, "a recording breaks off");
            self.file = None;
        }
    }

    fn finish(&mut self) -> Option<Recorded> {
        let mut file = self.file.take()?;
        let rate = self.rate.unwrap_or(Rate::Narrow);
        let header = wav::header(rate.hz(), Some(self.samples));
        let written =
            file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header)).and_then(|()| file.flush());
        if let Err(error) = written {
            tracing::error!(code = "TR-DAEMON-STORAGE", file = self.name, %error, "a recording cannot be closed");
            return None;
        }
        let length = Duration::from_millis(self.samples * 1_000 / u64::from(rate.hz()));
        Some(Recorded { length, file: Some(self.name.clone()), finish: None })
    }
}

/// A file name of the call and the author's name for the recording: letters,
/// digits, dash and underscore, and no more than 64 of the latter.
#[must_use]
pub(crate) fn file_name(call: &str, tag: &str, record: RecordId) -> String {
    let tag: String = tag
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .collect();
    // The first recording of a tag has the plain name; later ones are told apart.
    if record.0 <= 1 { format!("{call}-{tag}.wav") } else { format!("{call}-{tag}-{record}.wav") }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tipring_model::LineId;

    use super::*;

    #[test]
    fn a_tag_cannot_leave_the_folder() {
        assert_eq!(file_name("c", "../../etc/passwd", RecordId(1)), "c-______etc_passwd.wav");
        assert_eq!(file_name("c", "memo", RecordId(3)), "c-memo-3.wav");
    }

    #[test]
    fn what_was_pushed_is_in_the_file() {
        let folder = std::env::temp_dir().join(format!("tipring-recordings-{}", std::process::id()));
        let (send, receive) = mpsc::sync_channel(1);
        let recorder = Recorder::start(folder.clone(), move |finished| send.send(finished).unwrap()).unwrap();
        let (mut ring, frames) = rtrb::RingBuffer::new(RING_FRAMES);
        let leg = LegId::offered(LineId(0), 1);
        let begin = Begin { leg, record: RecordId(1), name: "a.wav".to_owned(), frames };
        assert!(recorder.begin(begin).is_ok());
        for n in 0..50 {
            let mut frame = Frame::silence(Rate::Narrow);
            frame.samples_mut().fill(n);
            ring.push(frame).unwrap();
        }
        drop(ring);
        let recorded = receive.recv().unwrap().result.unwrap();
        assert_eq!(recorded.length, Duration::from_secs(1));
        let bytes = std::fs::read(folder.join("a.wav")).unwrap();
        assert_eq!(bytes.len(), 44 + 16_000);
        assert_eq!(&bytes[..4], b"RIFF");
        assert_eq!(bytes[40..44], 16_000u32.to_le_bytes());
        assert_eq!(bytes[44 + 320 * 7..44 + 320 * 7 + 2], 7i16.to_le_bytes());
        drop(recorder);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
