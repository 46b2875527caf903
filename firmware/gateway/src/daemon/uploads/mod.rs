//! Recordings that are ready: uploaded where the owner wants that, and reported.
//!
//! What is still to be uploaded is seen from the folder of recordings itself: a recording
//! `a.wav` is through once `a.uploaded` stands beside it. `a.upload` says where the server
//! keeps what it has, so that a restart goes on where it was. One file goes at a time, in
//! pieces and no faster than the owner says, so that voice keeps its share of the line.

mod tus;
mod whole;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tipring_model::recordings::RecordingAddresses;
use tipring_spool::Class;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{spawn_blocking, spawn_local};

use super::webhooks::Webhooks;
use crate::config;
use crate::fetch::Fetcher;
use tus::{Said, Step, Trouble, Upload};
use whole::Wish;

/// Recordings that wait to be looked at.
const WAITING_MAX: usize = 4_096;
/// What is sent in one request: a second's share of the line, within these bounds in bytes.
const PIECE_BYTES_MIN: usize = 4 * 1024;
const PIECE_BYTES_MAX: usize = 128 * 1024;
/// Pauses after each failure in a row; the last goes on.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3_600),
];
/// Refusals after which a recording lets the others go first.
const REFUSALS_MAX: u32 = 3;
/// In the folder of recordings: nothing older than it is uploaded by itself.
const SINCE: &str = "uploads-since";

/// Takes recordings that are ready. Clones share everything.
#[derive(Clone)]
pub(super) struct Uploads(Rc<Inner>);

struct Inner {
    folder: PathBuf,
    settings: config::Uploads,
    addresses: RecordingAddresses,
    fetcher: Fetcher,
    webhooks: Webhooks,
    ready: mpsc::Sender<Ready>,
    /// One recording at a time is sent whole.
    sending: Semaphore,
    /// Recordings that wait or are on their way.
    waiting: Cell<u64>,
    uploaded: Cell<u64>,
    refused: Cell<u64>,
}

/// A recording of a call that is over.
struct Ready {
    name: String,
    call: Option<String>,
}

impl Uploads {
    /// Begins with what an earlier run has left.
    pub(super) fn open(
        folder: PathBuf,
        settings: config::Uploads,
        addresses: RecordingAddresses,
        fetcher: Fetcher,
        webhooks: Webhooks,
    ) -> Self {
        let (ready, coming) = mpsc::channel(WAITING_MAX);
        let left = if settings.url.is_some() { left_over(&folder) } else { VecDeque::new() };
        let uploads = Self(Rc::new(Inner {
            folder,
            settings,
            addresses,
            fetcher,
            webhooks,
            ready,
            sending: Semaphore::new(1),
            waiting: Cell::new(left.len() as u64),
            uploaded: Cell::default(),
            refused: Cell::default(),
        }));
        for path in wished_for(&uploads.0.folder) {
            spawn_local(uploads.clone().send_whole(path));
        }
        spawn_local(uploads.clone().work(left, coming));
        uploads
    }

    /// The recording of this name goes to an address of its own when it is ready.
    pub(super) fn expect(&self, name: &str, upload: tipring_model::flow::Upload) {
        let wish = Wish::new(name, upload);
        let place = beside(&self.0.folder.join(name), whole::EXTENSION);
        spawn_local(async move {
            if let Ok(Err(error)) = spawn_blocking(move || wish.write(&place)).await {
                tracing::error!(code = "TR-DAEMON-STORAGE", %error, "a recording will not be sent where its flow wants it");
            }
        });
    }

    /// Sends a recording where its flow wants it, as often as it takes.
    async fn send_whole(self, path: PathBuf) {
        let place = beside(&path, whole::EXTENSION);
        let mut failures = 0;
        loop {
            let (file, wish) = (path.clone(), place.clone());
            let request = spawn_blocking(move || Wish::read(&wish)?.request(&file)).await;
            let Ok(Ok(request)) = request else {
                let gone = place.clone();
                let gone = spawn_blocking(move || gone.exists()).await.unwrap_or(false);
                if gone {
                    tracing::error!(code = "TR-UPLOAD-FILE", file = %path.display(), "a recording cannot be sent");
                }
                return;
            };
            let status = {
                // One at a time; the queue is closed at no time.
                let _turn = self.0.sending.acquire().await;
                match self.0.fetcher.fetch_kept(request).await {
                    Ok(Ok(answer)) => Some(answer.response.status),
                    Ok(Err(_)) | Err(_) => None,
                }
            };
            if status.is_some_and(|status| (200..300).contains(&status)) {
                let done = place.clone();
                // If it stays, the recording is sent once more after a restart.
                let _ = spawn_blocking(move || std::fs::remove_file(done)).await;
                self.0.uploaded.set(self.0.uploaded.get() + 1);
                return;
            }
            let pause = PAUSES.get(failures).or(PAUSES.last()).copied().unwrap_or_default();
            tracing::warn!(code = "TR-UPLOAD-REFUSED", file = %path.display(), status, "a recording was not taken");
            failures += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes the recordings of a call that is over.
    pub(super) fn ready(&self, call: &str, names: &[String]) {
        for name in names {
            spawn_local(self.clone().send_whole(self.0.folder.join(name)));
            let ready = Ready { name: name.clone(), call: Some(call.to_owned()) };
            // One that finds no room is found again at the next start.
            if self.0.ready.try_send(ready).is_ok() {
                self.0.waiting.set(self.0.waiting.get() + 1);
            }
        }
    }

    /// How they stand: waiting, uploaded and refused in this run.
    pub(super) fn counters(&self) -> [u64; 3] {
        [self.0.waiting.get(), self.0.uploaded.get(), self.0.refused.get()]
    }

    async fn work(self, mut left: VecDeque<Ready>, mut coming: mpsc::Receiver<Ready>) {
        loop {
            let next = match left.pop_front() {
                Some(next) => next,
                None => match coming.recv().await {
                    Some(next) => next,
                    None => return,
                },
            };
            self.one(&next).await;
            self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
        }
    }

    /// Everything that is to be done with one recording.
    async fn one(&self, ready: &Ready) {
        let path = self.0.folder.join(&ready.name);
        let measured = spawn_blocking({
            let path = path.clone();
            move || measure(&path)
        });
        let Ok(Ok((bytes, sha256))) = measured.await else {
            tracing::warn!(code = "TR-UPLOAD-FILE", file = ready.name, "a recording cannot be read");
            return;
        };
        let call = ready.call.clone().unwrap_or_else(|| call_of(&ready.name));
        if let Some(server) = self.0.settings.url.clone() {
            let about = [
                ("filename", ready.name.as_str()),
                ("filetype", "audio/wav"),
                ("call", call.as_str()),
                ("sha256", sha256.as_str()),
            ];
            if !self.upload(&server, &path, bytes, &about).await {
                self.0.refused.set(self.0.refused.get() + 1);
                self.again(ready, path);
                return;
            }
            self.0.uploaded.set(self.0.uploaded.get() + 1);
        }
        let mut data = json!({
            "call": call,
            "file": ready.name,
            "bytes": bytes,
            "sha256": sha256,
            "uploaded": self.0.settings.url.is_some(),
        });
        if let Some(address) = self.0.addresses.served(&ready.name) {
            data["url"] = address.into();
        }
        self.0.webhooks.event("recording.ready", &call, Class::Final, data);
        if self.0.settings.url.is_some() {
            let done = spawn_blocking(move || through(&path)).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(code = "TR-DAEMON-STORAGE", %error, "an upload will be made once more");
            }
        }
    }

    /// Takes a recording that was refused once more, a while later.
    fn again(&self, ready: &Ready, path: PathBuf) {
        let (uploads, again) = (self.clone(), Ready { name: ready.name.clone(), call: ready.call.clone() });
        spawn_local(async move {
            tokio::time::sleep(PAUSES[PAUSES.len() - 1]).await;
            let is_there = spawn_blocking(move || path.exists()).await.unwrap_or(false);
            if is_there && uploads.0.ready.try_send(again).is_ok() {
                uploads.0.waiting.set(uploads.0.waiting.get() + 1);
            }
        });
    }

    /// Uploads a file; false if the server does not want it.
    async fn upload(&self, server: &str, path: &Path, bytes: u64, about: &[(&str, &str)]) -> bool {
        let place = beside(path, "upload");
        let kept = spawn_blocking(move || std::fs::read_to_string(place)).await;
        let mut upload = Upload::new(server, bytes, kept.ok().and_then(Result::ok).as_deref());
        let (mut failures, mut refusals) = (0, 0);
        loop {
            let step = upload.next();
            let piece = match step {
                Step::Done => return true,
                Step::Send(offset) => {
                    let (path, bytes_max) = (path.to_owned(), piece_bytes(self.0.settings.kbit_s));
                    match spawn_blocking(move || read_piece(&path, offset, bytes_max)).await {
                        Ok(Ok(piece)) if !piece.is_empty() => piece,
                        // It was removed meanwhile: there is nothing left to upload.
                        Ok(_) | Err(_) => return false,
                    }
                }
                Step::Create | Step::Ask => Vec::new(),
            };
            let share = share_of(piece.len(), self.0.settings.kbit_s);
            let began = Instant::now();
            let Some(request) = upload.request(server, &step, piece, about) else { return true };
            let said = match self.0.fetcher.fetch_kept(request).await {
                Ok(Ok(answer)) => Some(Said {
                    status: answer.response.status,
                    location: answer.upload.location,
                    offset: answer.upload.offset,
                }),
                Ok(Err(_)) | Err(_) => None,
            };
            match upload.answered(server, &step, said.as_ref()) {
                Ok(()) => {
                    failures = 0;
                    if step == Step::Create {
                        let (place, location) =
                            (beside(path, "upload"), upload.location().map(str::to_owned));
                        // If it is lost, a restart begins anew.
                        let _ = spawn_blocking(move || {
                            // The address may hold a password.
                            let mut options = File::options();
                            options.write(true).create(true).truncate(true).mode(0o600);
                            let mut file = options.open(place)?;
                            file.write_all(location.unwrap_or_default().as_bytes())?;
                            file.sync_all()
                        })
                        .await;
                    }
                    tokio::time::sleep(share.saturating_sub(began.elapsed())).await;
                }
                Err(trouble) => {
                    if let Trouble::Refused(status) = trouble {
                        refusals += 1;
                        if refusals >= REFUSALS_MAX {
                            tracing::error!(code = "TR-UPLOAD-REFUSED", file = %path.display(), status, "a recording was refused three times");
                            return false;
                        }
                    }
                    if failures == 0 {
                        tracing::warn!(code = "TR-UPLOAD-LATER", file = %path.display(), ?trouble, "an upload goes on later");
                    }
                    let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                    failures += 1;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// The time that so many bytes may take.
fn share_of(bytes: usize, kbit_s: u32) -> Duration {
    let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
    Duration::from_micros(bits.saturating_mul(1_000) / u64::from(kbit_s.max(1)))
}

/// How much is sent in one request.
fn piece_bytes(kbit_s: u32) -> usize {
    let second = usize::try_from(kbit_s).unwrap_or(usize::MAX).saturating_mul(1_000 / 8);
    second.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX)
}

/// The call that a recording is named after.
fn call_of(name: &str) -> String {
    const UUID_CHARS: usize = 36;
    name.get(..UUID_CHARS).unwrap_or(name).to_owned()
}

/// The file that stands beside a recording.
fn beside(path: &Path, extension: &str) -> PathBuf {
    path.with_extension(extension)
}

/// Recordings that flows want elsewhere and that are not there yet.
fn wished_for(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let wished = entries.filter(|path| path.extension().is_some_and(|found| found == whole::EXTENSION));
    wished.take(WAITING_MAX).map(|path| beside(&path, "wav")).collect()
}

/// Length and SHA-256 of a file. Blocks.
fn measure(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut file, &mut hash)?;
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, sha256))
}

/// The next piece of a file. Blocks.
fn read_piece(path: &Path, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut piece = Vec::with_capacity(bytes_max);
    file.take(bytes_max as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Writes down that a recording is through. Blocks.
fn through(path: &Path) -> io::Result<()> {
    let mut done = File::create(beside(path, "uploaded"))?;
    done.write_all(b"\n")?;
    done.sync_all()?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    match std::fs::remove_file(beside(path, "upload")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Recordings that are not through, oldest first. At the first start with uploads there are
/// none: what was recorded before stays where it is.
fn left_over(folder: &Path) -> VecDeque<Ready> {
    let marker = folder.join(SINCE);
    let since = std::fs::metadata(&marker).and_then(|meta| meta.modified());
    let Ok(since) = since else {
        // Without it, nothing is left over at the next start either.
        let _ = File::create(&marker).and_then(|file| file.sync_all());
        return VecDeque::new();
    };
    let mut found: Vec<(SystemTime, String)> = Vec::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_sound = path.extension().is_some_and(|extension| extension == "wav");
        let modified = std::fs::metadata(&path).and_then(|meta| meta.modified());
        if let (true, false, Ok(modified), Some(name)) = (
            is_sound,
            beside(&path, "uploaded").exists(),
            modified,
            path.file_name().and_then(|name| name.to_str()),
        ) && modified >= since
        {
            found.push((modified, name.to_owned()));
        }
    }
    found.sort();
    found.into_iter().take(WAITING_MAX).map(|(_, name)| Ready { name, call: None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_is_what_is_not_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("before.wav"), "x").unwrap();
        let old = SystemTime::now() - Duration::from_secs(3_600);
        File::options().append(true).open(path("before.wav")).unwrap().set_modified(old).unwrap();
        assert!(left_over(folder.path()).is_empty(), "the first start");
        for (name, age_s) in [("b.wav", 10), ("a.wav", 5), ("c.wav", 1), ("notes.txt", 1)] {
            std::fs::write(path(name), "x").unwrap();
            let at = SystemTime::now() + Duration::from_secs(100 - age_s);
            File::options().append(true).open(path(name)).unwrap().set_modified(at).unwrap();
        }
        std::fs::write(path("a.upload"), "https://files.test/1").unwrap();
        through(&path("c.wav")).unwrap();
        let names: Vec<String> = left_over(folder.path()).into_iter().map(|ready| ready.name).collect();
        assert_eq!(names, ["b.wav", "a.wav"]);
        through(&path("a.wav")).unwrap();
        assert!(!path("a.upload").exists());
    }

    #[test]
    fn a_file_is_measured_and_read_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let (length, sha256) = measure(&path).unwrap();
        assert_eq!(length, 300_000);
        assert_eq!(sha256.len(), 64);
        let mut read = Vec::new();
        while read.len() < bytes.len() {
            read.extend(read_piece(&path, read.len() as u64, 100_000).unwrap());
        }
        assert_eq!(read, bytes);
        assert!(read_piece(&path, 300_000, 10).unwrap().is_empty());
        assert_eq!([1, 64, 1_000_000].map(piece_bytes), [4_096, 8_000, 131_072]);
        assert_eq!(share_of(128 * 1024, 1_024), Duration::from_millis(1_024));
    }
}
