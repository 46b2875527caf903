//! Audio for prompts: fetched, spoken or stored, decoded, and kept.
//!
//! Several calls that want the same prompt share one piece of work and one copy.
//! Fetching runs on the client's threads, decoding on those for blocking work, speaking
//! in a child process or on a server: nothing here blocks the caller's thread.

mod decode;
mod disk;
mod engines;
mod library;
mod lru;
mod music;
mod speech;
mod spoken;
mod ssml;
mod words;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tipring_media::Prompt;
use tipring_media::codec::CodecId;
use tipring_model::fetch::{FetchError, HttpRequest, Method};
use tipring_model::flow::ActionFailure;
use tipring_model::prompt::{PromptSource, Speech};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::fetch::{Fetcher, Keeping};

use decode::{decode, with_header};
use disk::DiskCache;
use engines::Outside;
pub(crate) use engines::{PLACEHOLDERS, SpeechEngine};
use library::{Stamp, Stored};
use lru::Lru;
use speech::Engine;

/// Most prompts that are made ready at a time.
const JOBS_MAX: usize = 64;
/// How long a fetched prompt is played without asking again, where the server does not
/// say.
const FRESH: Duration = Duration::from_secs(60);
/// The longest that a server can make us not ask again.
const FRESH_MAX: Duration = Duration::from_secs(24 * 3600);
/// Redirects followed on the way to a prompt.
const REDIRECTS_MAX: u8 = 5;
/// Memory of a prompt for each millisecond, in bytes: its samples at both rates and
/// its payloads.
const BYTES_PER_MS: u64 = 80;

/// Settings of a [`PromptStore`].
#[derive(Clone, Debug)]
pub(crate) struct PromptSettings {
    /// Folder of the prompts stored on the box; none, if there are none.
    pub prompts_dir: Option<PathBuf>,
    /// Folder for spoken text; made when first needed.
    pub cache_dir: PathBuf,
    /// Most memory for ready prompts, in bytes.
    pub memory_bytes_max: usize,
    /// Most space for spoken text, in bytes.
    pub disk_bytes_max: u64,
    /// Longest wait for each hop of a fetch.
    pub fetch_timeout: Duration,
    /// Longest audio file, in bytes.
    pub file_bytes_max: usize,
    /// espeak-ng or what takes the same arguments.
    pub speech_program: PathBuf,
    /// Who speaks; espeak-ng where it fails.
    pub speech_engine: SpeechEngine,
    /// Longest wait for it, if it is not espeak-ng.
    pub speech_timeout: Duration,
    /// Payloads that are made before a prompt is handed out.
    pub codecs: Vec<CodecId>,
}

impl Default for PromptSettings {
    /// The usual limits, no library, and spoken text where Linux keeps such things.
    fn default() -> Self {
        Self {
            prompts_dir: None,
            cache_dir: "/var/cache/tipring".into(),
            memory_bytes_max: 64 << 20,
            disk_bytes_max: 64 << 20,
            fetch_timeout: Duration::from_secs(15),
            file_bytes_max: 20 << 20,
            speech_program: "espeak-ng".into(),
            speech_engine: SpeechEngine::EspeakNg,
            speech_timeout: speech::RUN_MAX,
            codecs: Vec::new(),
        }
    }
}

/// Makes prompts ready and keeps them. Clones share everything.
#[derive(Clone)]
pub(crate) struct PromptStore {
    inner: Arc<Inner>,
}

struct Inner {
    settings: PromptSettings,
    fetcher: Fetcher,
    engine: Engine,
    /// An engine that the installer chose instead.
    outside: Option<Outside>,
    spoken: Arc<DiskCache>,
    /// Audio files as they came, for the time when their server is away.
    fetched: Arc<DiskCache>,
    state: Mutex<State>,
}

struct State {
    ready: Lru<Key, Ready>,
    jobs: HashMap<Key, watch::Receiver<Option<Done>>>,
}

type Done = Result<Arc<Prompt>, ActionFailure>;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    Url(String),
    Request(Box<HttpRequest>),
    Speech(Speech),
    Library(String),
    Words(&'static str, String),
    Music,
}

/// Language of stored prompts that are missing and are spoken instead.
const USUAL_LANGUAGE: &str = "en-US";

/// A prompt with how long it can be trusted.
#[derive(Clone)]
struct Ready {
    prompt: Arc<Prompt>,
    trust: Trust,
}

#[derive(Clone)]
enum Trust {
    /// The same words always sound the same.
    Always,
    Until {
        instant: Instant,
        etag: Option<String>,
    },
    WhileFile(Stamp),
}

impl PromptStore {
    /// Reads and starts nothing yet.
    #[must_use]
    pub(crate) fn new(settings: PromptSettings, fetcher: Fetcher) -> Self {
        let spoken = DiskCache::new(settings.cache_dir.join("speech"), settings.disk_bytes_max);
        let fetched = DiskCache::new(settings.cache_dir.join("sounds"), settings.disk_bytes_max);
        let state = State { ready: Lru::new(settings.memory_bytes_max), jobs: HashMap::new() };
        let inner = Inner {
            engine: Engine::new(settings.speech_program.clone()),
            outside: Outside::new(&settings, &fetcher),
            settings,
            fetcher,
            spoken: Arc::new(spoken),
            fetched: Arc::new(fetched),
            state: Mutex::new(state),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The audio of a URL, of text or of the library, ready to be played. Recordings,
    /// silence and tones are made elsewhere and are `NoSuchAudio` here. Must be called
    /// within a tokio runtime; the work goes on if the caller stops waiting.
    ///
    /// # Errors
    /// `Fetch` or `Status` if a file was not got, `Decode` if it is no audio,
    /// `NoSuchAudio` for an unknown name, `NoVoice` or `Speech` for text that cannot be
    /// spoken, `Limit` if too much is asked for at a time.
    pub(crate) async fn get(&self, source: &PromptSource) -> Result<Arc<Prompt>, ActionFailure> {
        let key = match source {
            PromptSource::Url(url) => Key::Url(url.clone()),
            PromptSource::Request(request) => Key::Request(request.clone()),
            PromptSource::Speech(speech) => Key::Speech(speech.clone()),
            PromptSource::Library(name) => Key::Library(name.clone()),
            PromptSource::Music => Key::Music,
            PromptSource::Words(name, language) => Key::Words(name, language.clone()),
            PromptSource::Recording(_)
            | PromptSource::Silence(_)
            | PromptSource::Tone(_)
            | PromptSource::ToneOf(..)
            | PromptSource::Mailbox { .. }
            | PromptSource::Tones(_) => return Err(ActionFailure::NoSuchAudio),
        };
        let mut done = match self.look(key)? {
            Look::Ready(prompt) => return Ok(prompt),
            Look::Wait(done) => done,
        };
        match done.wait_for(Option::is_some).await {
            Ok(done) => done.clone().unwrap_or(Err(ActionFailure::Limit)),
            // The work ended by a fault, which only a file can have caused.
            Err(_) => Err(ActionFailure::Decode),
        }
    }

    /// Memory of the prompts that are kept, in bytes.
    #[must_use]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.inner.state().ready.weight()
    }

    fn look(&self, key: Key) -> Result<Look, ActionFailure> {
        let mut state = self.inner.state();
        let old = state.ready.get(&key).cloned();
        if let Some(ready) = old.as_ref().filter(|ready| ready.is_fresh()) {
            return Ok(Look::Ready(Arc::clone(&ready.prompt)));
        }
        if let Some(running) = state.jobs.get(&key) {
            return Ok(Look::Wait(running.clone()));
        }
        if state.jobs.len() >= JOBS_MAX {
            return Err(ActionFailure::Limit);
        }
        let (tell, done) = watch::channel(None);
        state.jobs.insert(key.clone(), done.clone());
        drop(state);
        let job = Job { inner: Arc::clone(&self.inner), key };
        tokio::spawn(async move {
            let result = job.inner.make(&job.key, old).await;
            let result = result.map(|ready| job.inner.keep(&job.key, ready));
            // Who asks from now on finds it in the cache.
            drop(job);
            tell.send_replace(Some(result));
        });
        Ok(Look::Wait(done))
    }
}

enum Look {
    Ready(Arc<Prompt>),
    Wait(watch::Receiver<Option<Done>>),
}

/// An entry among the jobs, for as long as the work takes, however it ends.
struct Job {
    inner: Arc<Inner>,
    key: Key,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.inner.state().jobs.remove(&self.key);
    }
}

impl Ready {
    fn is_fresh(&self) -> bool {
        match &self.trust {
            Trust::Always => true,
            Trust::Until { instant, .. } => Instant::now() < *instant,
            // The file is looked at each time.
            Trust::WhileFile(_) => false,
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, key: &Key, ready: Ready) -> Arc<Prompt> {
        let prompt = Arc::clone(&ready.prompt);
        let weight = usize::try_from(prompt.duration_ms().saturating_mul(BYTES_PER_MS)).unwrap_or(usize::MAX);
        let of_body = match key {
            Key::Request(request) => request.body.as_ref().map_or(0, |body| body.bytes.len()),
            Key::Url(_) | Key::Speech(_) | Key::Library(_) | Key::Words(..) | Key::Music => 0,
        };
        self.state().ready.insert(key.clone(), ready, weight.saturating_add(of_body));
        prompt
    }

    async fn make(&self, key: &Key, old: Option<Ready>) -> Result<Ready, ActionFailure> {
        match key {
            Key::Url(url) => {
                let request = HttpRequest {
                    method: Method::Get,
                    url: url.to_owned(),
                    headers: Vec::new(),
                    body: None,
                    timeout: self.settings.fetch_timeout,
                    redirects_max: REDIRECTS_MAX,
                    body_max_bytes: self.settings.file_bytes_max,
                    cuts_body: false,
                    connect: None,
                    moves_fields: false,
                    total: None,
                };
                self.fetch(request, fetched_name(url), old).await
            }
            Key::Request(request) => self.fetch((**request).clone(), requested_name(request), old).await,
            Key::Speech(speech) => self.speak(speech).await,
            Key::Library(name) => self.stored(name, USUAL_LANGUAGE, old).await,
            Key::Words(name, language) => self.stored(name, language, old).await,
            // The office's own music, if there is any.
            Key::Music => match self.stored(music::NAME, USUAL_LANGUAGE, old).await {
                Err(ActionFailure::NoSuchAudio) => self.composed().await,
                stored => stored,
            },
        }
    }

    async fn composed(&self) -> Result<Ready, ActionFailure> {
        let music = spawn_blocking(music::compose).await.map_err(|_| ActionFailure::Decode)?;
        Ok(Ready { prompt: Arc::new(music), trust: Trust::Always })
    }

    /// Fetches a file, whose copy on the disk has this name.
    async fn fetch(
        &self,
        mut request: HttpRequest,
        name: String,
        old: Option<Ready>,
    ) -> Result<Ready, ActionFailure> {
        if self.fetcher.is_away(&request.url)
            && let Some(kept) = self.kept(&name, old.as_ref()).await
        {
            return Ok(kept);
        }
        let has = |name: &str| request.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let (accepts, is_conditional) = (has("Accept"), has("If-None-Match"));
        if !accepts {
            let accepted = "audio/*, application/octet-stream;q=0.5".to_owned();
            request.headers.push(("Accept".to_owned(), accepted));
        }
        let tag = old.as_ref().and_then(|old| match &old.trust {
            Trust::Until { etag, .. } => etag.clone(),
            Trust::Always | Trust::WhileFile(_) => None,
        });
        // RFC 9110 §13.1.2: of another method than GET it would mean something else.
        let tag = tag.filter(|_| request.method == Method::Get && !is_conditional);
        request.headers.extend(tag.clone().map(|tag| ("If-None-Match".to_owned(), tag)));
        let answer = self.fetcher.fetch_kept(request).await.unwrap_or(Err(FetchError::Overload));
        let answer = match (answer, old) {
            (Ok(answer), Some(old)) if answer.response.status == 304 => {
                let etag = answer.keeping.etag.clone().or(tag);
                return Ok(Ready { prompt: old.prompt, trust: trust(&answer.keeping, etag) });
            }
            (Ok(answer), old) if answer.response.status >= 500 => {
                let kept = self.kept(&name, old.as_ref()).await;
                return kept.ok_or(ActionFailure::Status(answer.response.status));
            }
            (Ok(answer), _) => answer,
            // What was good a while ago is better than nothing while the server is not
            // there (RFC 5861 §4).
            (
                Err(
                    error @ (FetchError::NameNotFound
                    | FetchError::Unreachable
                    | FetchError::Cut
                    | FetchError::Tls
                    | FetchError::Timeout
                    | FetchError::Overload),
                ),
                old,
            ) => return self.kept(&name, old.as_ref()).await.ok_or(ActionFailure::Fetch(error)),
            (Err(error), _) => return Err(ActionFailure::Fetch(error)),
        };
        if !answer.response.is_success() {
            return Err(ActionFailure::Status(answer.response.status));
        }
        let etag = answer.keeping.etag.clone();
        let trust = trust(&answer.keeping, etag);
        let bytes = with_header(answer.response.media_type.as_deref(), answer.response.body);
        let copy = (Arc::clone(&self.fetched), name, bytes.clone());
        let prompt = self.decoded(bytes).await?;
        spawn_blocking(move || {
            let (disk, name, bytes) = copy;
            // What is there already is not written again; without a copy it is fetched.
            if disk.read(&name).as_deref() != Some(bytes.as_slice()) {
                let _ = disk.write(&name, &bytes);
            }
        });
        Ok(Ready { prompt, trust })
    }

    /// What the box has of a sound: in memory, or else on the disk by this name.
    async fn kept(&self, name: &str, old: Option<&Ready>) -> Option<Ready> {
        let tag = old.and_then(|old| match &old.trust {
            Trust::Until { etag, .. } => etag.clone(),
            Trust::Always | Trust::WhileFile(_) => None,
        });
        let prompt = match old {
            Some(old) => Arc::clone(&old.prompt),
            None => {
                let (disk, name) = (Arc::clone(&self.fetched), name.to_owned());
                let bytes = spawn_blocking(move || disk.read(&name)).await.ok()??;
                self.decoded(bytes).await.ok()?
            }
        };
        Some(Ready { prompt, trust: trust(&Keeping::default(), tag) })
    }

    async fn stored(&self, name: &str, language: &str, old: Option<Ready>) -> Result<Ready, ActionFailure> {
        if let Some(folder) = self.settings.prompts_dir.clone() {
            let known = old.as_ref().and_then(|old| match old.trust {
                Trust::WhileFile(stamp) => Some(stamp),
                Trust::Always | Trust::Until { .. } => None,
            });
            let file = name.to_owned();
            let bytes_max = u64::try_from(self.settings.file_bytes_max).unwrap_or(u64::MAX);
            let found = spawn_blocking(move || -> io::Result<_> {
                let stored = Stored::open(&folder, &file, bytes_max)?;
                let stamp = stored.stamp;
                let bytes = if known == Some(stamp) { None } else { Some(stored.read()?) };
                Ok((stamp, bytes))
            })
            .await;
            match (found, old) {
                (Ok(Ok((_, None))), Some(old)) => return Ok(old),
                (Ok(Ok((stamp, Some(bytes)))), _) => {
                    let prompt = self.decoded(bytes).await?;
                    return Ok(Ready { prompt, trust: Trust::WhileFile(stamp) });
                }
                (Ok(Ok((_, None))), None) | (Ok(Err(_)) | Err(_), _) => {}
            }
        }
        let words = words::find(name, language).ok_or(ActionFailure::NoSuchAudio)?;
        self.speak(&words).await
    }

    async fn decoded(&self, bytes: Vec<u8>) -> Result<Arc<Prompt>, ActionFailure> {
        let codecs = self.settings.codecs.clone();
        spawn_blocking(move || Ok(prepared(decode(&bytes)?, &codecs)))
            .await
            .unwrap_or(Err(ActionFailure::Decode))
    }
}

/// Makes the payloads. A codec that cannot be built will fail where it is used.
fn prepared(prompt: Prompt, codecs: &[CodecId]) -> Arc<Prompt> {
    for codec in codecs {
        let _ = prompt.prepare(*codec);
    }
    Arc::new(prompt)
}

/// How long an answer is played without asking again.
fn trust(keeping: &Keeping, etag: Option<String>) -> Trust {
    let fresh =
        if keeping.ask_always { Duration::ZERO } else { keeping.max_age.unwrap_or(FRESH).min(FRESH_MAX) };
    Trust::Until { instant: Instant::now() + fresh, etag }
}

/// The name under which an audio file is kept on disk.
fn fetched_name(url: &str) -> String {
    hexadecimal(&Sha256::digest(url.as_bytes()))
}

/// The same for a request: another one for all that makes a difference, whoever may ask.
fn requested_name(request: &HttpRequest) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With its length, so that no two parts can be taken for others.
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(request.method.as_str().as_bytes());
    part(request.url.as_bytes());
    for (name, value) in &request.headers {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    if let Some(body) = &request.body {
        part(body.media_type.as_bytes());
        part(&body.bytes);
    }
    hexadecimal(&hash.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod tests;
