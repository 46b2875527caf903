//! Writes recordings to disk, on a thread of its own: a slow card must not hold up
//! a call. A second thread syncs them, since that can take longer than the rings of the
//! others hold: every two seconds while they grow, and before they count as over. What a
//! power cut has left without an end is given one at the next start.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rtrb::Consumer;
use tipring_media::{Frame, Rate, wav};
use tipring_model::flow::Recorded;
use tipring_model::{LegId, RecordId};
use tipring_web::asks::{Recording, RecordingFile};

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
    /// What the party hears, where that is kept apart: the right one of two channels.
    pub other: Option<Consumer<Frame>>,
    /// What becomes of it.
    pub rules: Rules,
}

/// What becomes of a recording by what is in it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    /// It ends when nobody has spoken for so long; what follows the last word is cut off,
    /// and one without a word is not kept.
    pub silence_max: Option<Duration>,
    /// Shorter ones are not kept.
    pub length_min: Duration,
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

/// The writing thread and the syncing one.
pub(crate) struct Recorder {
    begin: Option<SyncSender<Begin>>,
    threads: Vec<JoinHandle<()>>,
}

/// Recordings that may begin within one turn of the thread.
const BEGIN_MAX: usize = 256;
/// How often the rings are emptied; each holds [`RING_FRAMES`].
const TURN: Duration = Duration::from_millis(200);
/// How often a recording that grows is synced.
const SYNC_EVERY: Duration = Duration::from_secs(2);
/// Files that wait to be synced.
const SYNCS_MAX: usize = 256;
/// Frames that a ring holds: 4 seconds, for a card that stalls.
pub(crate) const RING_FRAMES: usize = 200;

impl Recorder {
    /// Starts the threads. `finished` is called on the second.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(
        folder: PathBuf,
        finished: impl Fn(Finished) + Send + 'static,
    ) -> std::io::Result<Self> {
        if let Err(error) = std::fs::create_dir_all(&folder) {
            // Each recording will say so, too; calls need none.
            tracing::error!(code = "TR-DAEMON-STORAGE", folder = %folder.display(), %error, "nothing can be recorded");
        }
        let (begin, beginnings) = sync_channel(BEGIN_MAX);
        let (syncs, to_sync) = sync_channel(SYNCS_MAX);
        let of_syncs = folder.clone();
        let syncing = std::thread::Builder::new().name("recorder-sync".to_owned()).spawn(move || {
            repair(&of_syncs);
            keep(&of_syncs, &to_sync, &finished);
        })?;
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || run(&folder, &beginnings, &syncs))?;
        Ok(Self { begin: Some(begin), threads: vec![thread, syncing] })
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
        for thread in self.threads.drain(..) {
            // A panic there was reported there.
            let _ = thread.join();
        }
    }
}

/// What is to be synced.
enum Sync {
    /// A recording that grows.
    Growing(File),
    /// One that is over, and its file if it could be written.
    Over(Option<File>, Finished),
}

/// Syncs, and says what is over.
fn keep(folder: &Path, to_sync: &Receiver<Sync>, finished: &dyn Fn(Finished)) {
    for sync in to_sync {
        match sync {
            // If it fails, the end of the recording says so.
            Sync::Growing(file) => drop(file.sync_data()),
            Sync::Over(file, mut over) => {
                let synced = file.map_or(Ok(()), |file| {
                    file.sync_all()?;
                    File::open(folder)?.sync_all()
                });
                if let Err(error) = synced {
                    tracing::error!(code = "TR-DAEMON-STORAGE", %error, "a recording may not survive a power cut");
                    over.result = None;
                }
                finished(over);
            }
        }
    }
}

/// Gives an end to what a power cut has left without one.
fn repair(folder: &Path) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "wav")
            && let Ok(true) = end(&path)
        {
            tracing::info!(file = %path.display(), "a recording without an end was given one");
        }
    }
}

/// Writes the real length into the header of a file that says none. Gives whether it did.
fn end(path: &Path) -> io::Result<bool> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut header = [0; wav::HEADER_BYTES];
    file.read_exact(&mut header)?;
    let kinds = [Rate::Narrow, Rate::Wide].into_iter().flat_map(|rate| [(rate, 1), (rate, 2)]);
    let known = kinds.into_iter().find(|(rate, sides)| header == wav::header_of(rate.hz(), *sides, None));
    let Some((rate, channels)) = known else { return Ok(false) };
    let bytes = file.metadata()?.len().saturating_sub(wav::HEADER_BYTES as u64);
    let samples = bytes / 2 / u64::from(channels);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&wav::header_of(rate.hz(), channels, Some(samples)))?;
    file.sync_all()?;
    Ok(true)
}

/// How the recording of this name, which has no ending, stands. Blocks.
pub(crate) fn find(folder: &Path, name: &str) -> Recording {
    match open_whole(&folder.join(name).with_extension("wav")) {
        Ok(Some(found)) => Recording::Ready(found),
        Ok(None) => Recording::Unfinished,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Recording::Nothing,
        Err(error) => {
            tracing::error!(code = "TR-DAEMON-STORAGE", name, %error, "a recording cannot be read");
            Recording::Nothing
        }
    }
}

/// A file that is as long as its header says: one that is still being written is not.
fn open_whole(path: &Path) -> io::Result<Option<RecordingFile>> {
    // What may stand in the place of a file is not waited for.
    let options = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = File::options().read(true).custom_flags(options.bits().cast_signed()).open(path)?;
    let about = file.metadata()?;
    let mut header = [0; wav::HEADER_BYTES];
    if !about.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if about.len() < wav::HEADER_BYTES as u64 {
        return Ok(None);
    }
    file.read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    let whole_bytes = wav::HEADER_BYTES as u64 + u64::from(u32::from_le_bytes([a, b, c, d]));
    let changed = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let found = RecordingFile { file, bytes: whole_bytes, changed_unix_ns: changed.as_nanos() };
    Ok((whole_bytes == about.len()).then_some(found))
}

fn run(folder: &Path, beginnings: &Receiver<Begin>, syncs: &SyncSender<Sync>) {
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
                let (result, file) = result.unzip();
                let over = Finished { leg: recording.leg, record: recording.record, result };
                // The other thread goes only after this one.
                let _ = syncs.send(Sync::Over(file.flatten(), over));
                false
            }
            None => {
                if let Some(file) = recording.due() {
                    // A card that is behind is not helped by more of it.
                    let _ = syncs.try_send(Sync::Growing(file));
                }
                true
            }
        });
    }
}

/// Where in a recording somebody spoke.
#[derive(Default)]
struct Voice {
    /// Loud frames in a row.
    loud: u32,
    /// Samples up to the end of the last word.
    last_sample: u64,
}

impl Voice {
    /// True if these 20 ms belong to a word: loud enough, and for longer than a click.
    fn is_heard(&mut self, samples: &[i16]) -> bool {
        /// Mean of the samples without their sign, -44 dB of full scale.
        const LOUD: u64 = 200;
        const FRAMES_MIN: u32 = 3;
        let sum: u64 = samples.iter().map(|sample| u64::from(sample.unsigned_abs())).sum();
        let is_loud = sum / samples.len().max(1) as u64 >= LOUD;
        self.loud = if is_loud { self.loud.saturating_add(1) } else { 0 };
        self.loud >= FRAMES_MIN
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
    folder: PathBuf,
    rate: Option<Rate>,
    other: Option<Consumer<Frame>>,
    rules: Rules,
    /// Samples written, of each channel.
    samples: u64,
    voice: Voice,
    /// When it was last given to be synced.
    synced: Instant,
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
            folder: folder.to_owned(),
            rate: None,
            other: begin.other,
            rules: begin.rules,
            samples: 0,
            voice: Voice::default(),
            synced: Instant::now(),
        }
    }

    /// The file, when it is time that it be synced.
    fn due(&mut self) -> Option<File> {
        let file = self.file.as_mut().filter(|_| self.synced.elapsed() >= SYNC_EVERY)?;
        self.synced = Instant::now();
        file.flush().and_then(|()| file.get_ref().try_clone()).ok()
    }

    /// Writes what waits; the result once the recording is over.
    fn turn(&mut self) -> Option<Option<(Recorded, Option<File>)>> {
        // Looked at first: what is pushed before the end is read below.
        let over = self.frames.is_abandoned();
        match &mut self.other {
            None => {
                while let Ok(frame) = self.frames.pop() {
                    self.write(&frame, None);
                }
            }
            Some(_) => {
                while let Some((frame, other)) = self.pair(over) {
                    self.write(&frame, Some(&other));
                }
            }
        }
        let is_silent = self.rules.silence_max.is_some_and(|longest| self.silence() >= longest);
        (over || is_silent).then(|| self.finish())
    }

    /// A frame of each side. They come at the same pace; at the end one may be missing.
    fn pair(&mut self, is_over: bool) -> Option<(Frame, Frame)> {
        let other = self.other.as_mut()?;
        if is_over {
            let frame = self.frames.pop().ok()?;
            let silence = Frame::silence(frame.rate());
            return Some((frame, other.pop().unwrap_or(silence)));
        }
        if self.frames.is_empty() || other.is_empty() {
            return None;
        }
        self.frames.pop().ok().zip(other.pop().ok())
    }

    /// How long nobody has spoken.
    fn silence(&self) -> Duration {
        let since = self.samples.saturating_sub(self.voice.last_sample);
        Duration::from_millis(since * 1_000 / u64::from(self.rate.unwrap_or(Rate::Narrow).hz()))
    }

    fn channels(&self) -> u16 {
        if self.other.is_some() { 2 } else { 1 }
    }

    fn write(&mut self, frame: &Frame, other: Option<&Frame>) {
        let channels = self.channels();
        if self.voice.is_heard(frame.samples()) {
            self.voice.last_sample = self.samples + frame.samples().len() as u64;
        }
        let Some(file) = &mut self.file else { return };
        if self.rate.is_none() {
            self.rate = Some(frame.rate());
            // Should it get no other end, it is played at the right speed.
            let header = wav::header_of(frame.rate().hz(), channels, None);
            // What is wrong with the file will show below.
            let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header));
        }
        self.samples += frame.samples().len() as u64;
        let bytes: Vec<u8> = match other {
            None => frame.samples().iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            Some(other) => {
                let sides = frame.samples().iter().zip(other.samples());
                sides
                    .flat_map(|(said, heard)| [said, heard])
                    .flat_map(|sample| sample.to_le_bytes())
                    .collect()
            }
        };
        if let Err(error) = file.write_all(&bytes) {
            tracing::error!(code = "TR-DAEMON-STORAGE", file = self.name, %error, "a recording breaks off");
            self.file = None;
        }
    }

    fn finish(&mut self) -> Option<(Recorded, Option<File>)> {
        let mut file = self.file.take()?;
        let rate = self.rate.unwrap_or(Rate::Narrow);
        let channels = self.channels();
        let cuts = self.rules.silence_max.is_some();
        let is_silent = cuts && self.voice.last_sample == 0;
        if cuts {
            // A fifth of a second stays, so that the last word does not end abruptly.
            self.samples = self.samples.min(self.voice.last_sample + u64::from(rate.hz() / 5));
        }
        let length = Duration::from_millis(self.samples * 1_000 / u64::from(rate.hz()));
        if is_silent || length < self.rules.length_min {
            drop(file);
            let removed = std::fs::remove_file(self.folder.join(&self.name));
            if let Err(error) = removed {
                tracing::warn!(code = "TR-DAEMON-STORAGE", file = self.name, %error, "a recording that is not kept stays");
            }
            return Some((Recorded { length, file: None, finish: None, is_silent }, None));
        }
        let header = wav::header_of(rate.hz(), channels, Some(self.samples));
        let bytes = wav::HEADER_BYTES as u64 + self.samples * 2 * u64::from(channels);
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&header))
            .and_then(|()| file.flush())
            .and_then(|()| file.get_ref().set_len(bytes));
        if let Err(error) = written {
            tracing::error!(code = "TR-DAEMON-STORAGE", file = self.name, %error, "a recording cannot be closed");
            return None;
        }
        let file = file.into_inner().ok()?;
        Some((Recorded { length, file: Some(self.name.clone()), finish: None, is_silent }, Some(file)))
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
    fn what_a_power_cut_left_without_an_end_is_given_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.wav");
        let mut bytes = wav::header(Rate::Wide.hz(), None).to_vec();
        bytes.extend([1, 0].repeat(1_000));
        bytes.push(7);
        std::fs::write(&path, &bytes).unwrap();
        let whole = wav::file(8_000, &[1, 2, 3]);
        std::fs::write(folder.path().join("whole.wav"), &whole).unwrap();
        std::fs::write(folder.path().join("short.wav"), b"RIFF").unwrap();
        repair(folder.path());
        let repaired = wav::parse(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((repaired.rate_hz, repaired.samples.len()), (16_000, 1_000));
        assert_eq!(std::fs::read(&path).unwrap()[..44], wav::header(16_000, Some(1_000)));
        assert_eq!(std::fs::read(folder.path().join("whole.wav")).unwrap(), whole);
        assert!(!end(&path).unwrap(), "once is enough");
    }

    #[test]
    fn a_recording_is_found_once_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-memo.wav");
        let is = |expected: &str| {
            let found = format!("{:?}", find(folder.path(), "a-memo"));
            assert!(found.starts_with(expected), "{found}");
        };
        is("Nothing");
        std::fs::write(&path, b"RIFF").unwrap();
        is("Unfinished");
        let mut bytes = wav::header(Rate::Narrow.hz(), None).to_vec();
        std::fs::write(&path, &bytes).unwrap();
        is("Unfinished");
        bytes.extend([1, 0].repeat(1_000));
        std::fs::write(&path, &bytes).unwrap();
        is("Unfinished");
        let whole = wav::file(8_000, &[1, 2, 3]);
        std::fs::write(&path, &whole).unwrap();
        let Recording::Ready(found) = find(folder.path(), "a-memo") else { panic!() };
        assert_eq!(found.bytes, 44 + 6);
        // Not everything that is called so is a recording.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        is("Nothing");
        std::fs::remove_dir(&path).unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, &whole).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        is("Nothing");
    }

    #[test]
    fn what_was_pushed_is_in_the_file() {
        let folder = std::env::temp_dir().join(format!("tipring-recordings-{}", std::process::id()));
        let (send, receive) = mpsc::sync_channel(1);
        let recorder = Recorder::start(folder.clone(), move |finished| send.send(finished).unwrap()).unwrap();
        let (mut ring, frames) = rtrb::RingBuffer::new(RING_FRAMES);
        let leg = LegId::offered(LineId(0), 1);
        let begin = Begin {
            leg,
            record: RecordId(1),
            name: "a.wav".to_owned(),
            frames,
            other: None,
            rules: Rules::default(),
        };
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
