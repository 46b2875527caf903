//! Documents for callers who wait: climbs the ladder, and keeps the copies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tipring_flows::Program;
use tipring_model::fetch::{DocumentKey, FetchError, HttpRequest, HttpResponse, Method, OwnFallback};
use tokio::task::spawn_blocking;
use url::Url;

use super::copies::{Change, Copies, CopyFolder, Keep};
use super::http::Answer;
use super::ladder::{Choice, Failure, Ladder, Next, Rung};
use super::{Fetcher, origin};

/// Attempts that are reported of one climb: every rung once.
const ATTEMPTS_MAX: usize = 4;

/// A document that a call wants.
pub(crate) struct Wanted {
    /// The request to the server itself.
    pub request: HttpRequest,
    /// What the dialect calls the document.
    pub document: DocumentKey,
    /// Asked when the server itself does not answer well.
    pub fallback_url: Option<String>,
    /// What the owner says about copies.
    pub keep: Keep,
    /// Knows a document from something else.
    pub program: Rc<dyn Program>,
    /// Any number that tells one caller from another.
    pub caller: u64,
    /// A flow of the owner's, or of the box's, can take over the call.
    pub stand_in: Option<Rung>,
}

/// What has become of it.
pub(crate) struct Got {
    /// The document, or what the server itself said or failed with.
    pub answer: Result<HttpResponse, FetchError>,
    /// Where it came from; `None` if no rung had it.
    pub rung: Option<Rung>,
    /// How old the copy is, in seconds.
    pub age_s: Option<u64>,
    /// Every request that was made.
    pub attempts: Vec<Attempt>,
    /// A copy of it is now to be had that was not before.
    pub new_copy: bool,
}

/// One request and how it went.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// The address.
    pub url: String,
    /// The rung.
    pub rung: Rung,
    /// When it was sent.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// The status of the answer.
    pub status: Option<u16>,
    /// The catalogue code of what was wrong.
    pub code: Option<&'static str>,
}

/// What callers got while a server was away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Degraded {
    /// Since when, milliseconds since 1970 UTC.
    pub since_unix_ms: i64,
    /// How many calls got what.
    pub by_rung: BTreeMap<Rung, u64>,
}

/// Gets documents. Clones share everything.
#[derive(Clone)]
pub(crate) struct Documents(Rc<Inner>);

struct Inner {
    fetcher: Fetcher,
    copies: RefCell<Copies>,
    folder: CopyFolder,
    patience: Duration,
    degraded: RefCell<BTreeMap<String, Degraded>>,
    /// Where documents came from since the start.
    by_rung: RefCell<BTreeMap<Rung, u64>>,
}

/// Servers whose outages are counted.
const DEGRADED_MAX: usize = 64;

impl Documents {
    /// With the copies that `folder` holds. Blocks while they are read. `patience` is the
    /// longest wait for a first document while there is something as good to be had.
    #[must_use]
    pub(crate) fn open(fetcher: Fetcher, folder: PathBuf, patience: Duration) -> Self {
        let folder = CopyFolder(folder);
        let mut copies = Copies::default();
        copies.restore(folder.read());
        Self(Rc::new(Inner {
            fetcher,
            copies: RefCell::new(copies),
            folder,
            patience,
            degraded: RefCell::default(),
            by_rung: RefCell::default(),
        }))
    }

    /// Copies that can be used.
    #[must_use]
    pub(crate) fn copies(&self) -> usize {
        self.0.copies.borrow().count()
    }

    /// Where documents came from since the start, by the names of the rungs.
    #[must_use]
    pub(crate) fn by_rung(&self) -> BTreeMap<&'static str, u64> {
        self.0.by_rung.borrow().iter().map(|(rung, count)| (rung.as_str(), *count)).collect()
    }

    /// Gets a document, from wherever it is to be had first.
    pub(crate) async fn get(&self, wanted: Wanted) -> Got {
        let stand_in = wanted.stand_in;
        let got = self.climb(wanted).await;
        if let Some(rung) = got.rung.or(stand_in) {
            *self.0.by_rung.borrow_mut().entry(rung).or_default() += 1;
        }
        got
    }

    async fn climb(&self, wanted: Wanted) -> Got {
        let url = wanted.request.url.clone();
        let copy = {
            let copies = self.0.copies.borrow();
            let usable = wanted.keep != Keep::Never;
            let found = copies.get(&wanted.document, &url, unix_ms()).filter(|_| usable);
            let found = found.map(|(document, age_s)| (document.answer.clone(), age_s));
            // What the dialect would not run any more is none.
            found.filter(|(answer, _)| wanted.program.judge(answer).is_ok())
        };
        let own = wanted.document.fallback == OwnFallback::Follows;
        let copy = copy.filter(|_| !own);
        let stand_in = wanted.stand_in.filter(|_| !own);
        let usable = wanted.document.fallback == OwnFallback::None;
        let fallback_url =
            wanted.fallback_url.as_deref().filter(|url| usable && !self.0.fetcher.is_away(url));
        let patience = if wanted.document.is_first { self.0.patience } else { self.0.patience / 3 * 2 };
        let choice = Choice {
            is_away: self.0.fetcher.is_away(&url),
            fallback: fallback_url.is_some(),
            copy: copy.is_some(),
            local: stand_in == Some(Rung::Local),
            builtin: stand_in == Some(Rung::Builtin),
            own,
            timeout: wanted.request.timeout,
            patience,
        };
        let substitute = choice.fallback || choice.copy || stand_in.is_some() || own;
        let mut ladder = Ladder::new(Instant::now(), choice);
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut first_answer = None;
        loop {
            match ladder.next(Instant::now()) {
                Next::Ask { rung, pause, within } => {
                    tokio::time::sleep(pause).await;
                    let mut request = wanted.request.clone();
                    if let (Rung::Fallback, Some(address)) = (rung, fallback_url) {
                        request.url = fallback(address, &url, attempts.last());
                    }
                    request.timeout = request.timeout.min(within);
                    let (attempt, answer) =
                        self.ask(rung, request, within, substitute, &*wanted.program).await;
                    let is_good = attempt.code.is_none();
                    ladder.failed(self.failure(&url, wanted.request.method, &answer));
                    if attempts.len() < ATTEMPTS_MAX {
                        attempts.push(attempt);
                    }
                    if let (true, Ok(answer)) = (is_good, &answer) {
                        if rung == Rung::Fallback {
                            self.count(&url, rung);
                        }
                        let is_proper =
                            rung != Rung::Fallback && wanted.document.fallback != OwnFallback::This;
                        let new_copy = is_proper && self.keep(&wanted, answer);
                        let answer = Ok(answer.response.clone());
                        return Got { answer, rung: Some(rung), age_s: None, attempts, new_copy };
                    }
                    if first_answer.is_none() {
                        first_answer = Some(answer.map(|answer| answer.response));
                    }
                }
                Next::Copy => {
                    // There is one, or the ladder would not say so.
                    let Some((answer, age_s)) = copy else { continue };
                    self.count(&url, Rung::Stale);
                    let rung = Some(Rung::Stale);
                    return Got { answer: Ok(answer), rung, age_s: Some(age_s), attempts, new_copy: false };
                }
                Next::End => {
                    if let Some(rung) = stand_in {
                        self.count(&url, rung);
                    }
                    let answer = first_answer.unwrap_or(Err(FetchError::Unreachable));
                    return Got { answer, rung: None, age_s: None, attempts, new_copy: false };
                }
            }
        }
    }

    /// Asks once. Whoever has something else to take stops waiting once the server counts
    /// as away.
    async fn ask(
        &self,
        rung: Rung,
        request: HttpRequest,
        within: Duration,
        substitute: bool,
        program: &dyn Program,
    ) -> (Attempt, Result<Answer, FetchError>) {
        let url = request.url.clone();
        let at = Instant::now();
        let mut changes = self.0.fetcher.changes();
        let mut coming = self.0.fetcher.fetch_kept(request);
        let until = tokio::time::Instant::from(at + within);
        let answer = loop {
            tokio::select! {
                answer = &mut coming => break answer.unwrap_or(Err(FetchError::Overload)),
                () = tokio::time::sleep_until(until) => break Err(FetchError::Timeout),
                changed = changes.changed(), if substitute => {
                    if changed.is_err() || self.0.fetcher.is_away(&url) {
                        break Err(FetchError::Unreachable);
                    }
                }
            }
        };
        let (status, code) = match &answer {
            Ok(answer) => (Some(answer.response.status), program.judge(&answer.response).err()),
            Err(error) => (None, Some(error.code())),
        };
        (Attempt { url, rung, at, took: at.elapsed(), status, code }, answer)
    }

    /// One that counts as away by now is not asked again.
    fn failure(&self, url: &str, method: Method, answer: &Result<Answer, FetchError>) -> Failure {
        let is_there = !self.0.fetcher.is_away(url);
        match answer {
            Err(FetchError::Unreachable | FetchError::NameNotFound) if is_there => Failure::NotReached,
            // What was only asked for may be asked for again.
            Err(FetchError::Cut) if is_there && method == Method::Get => Failure::NotReached,
            Ok(_) | Err(_) => Failure::Bad,
        }
    }

    /// Takes a good document of the server itself. Gives whether there is a copy now that
    /// there was not before.
    fn keep(&self, wanted: &Wanted, answer: &Answer) -> bool {
        let (changes, is_new) = self.0.copies.borrow_mut().note(
            &wanted.document,
            &wanted.request.url,
            wanted.caller,
            wanted.keep,
            &answer.keeping.edge,
            (&answer.response, unix_ms()),
        );
        if !changes.is_empty() {
            let folder = self.0.folder.clone();
            spawn_blocking(move || write(&folder, &changes));
        }
        is_new
    }

    /// Fetches a document for no caller, so that there is something to go by. Gives the
    /// document if it is a good one.
    pub(crate) async fn prewarm(&self, wanted: Wanted) -> Option<HttpResponse> {
        let answer = self.0.fetcher.fetch_kept(wanted.request.clone()).await.ok()?.ok()?;
        wanted.program.judge(&answer.response).ok()?;
        self.keep(&wanted, &answer);
        Some(answer.response)
    }

    fn count(&self, url: &str, rung: Rung) {
        let mut degraded = self.0.degraded.borrow_mut();
        if degraded.len() >= DEGRADED_MAX && !degraded.contains_key(origin(url)) {
            return;
        }
        let fresh = || Degraded { since_unix_ms: unix_ms(), by_rung: BTreeMap::new() };
        let counts = degraded.entry(origin(url).to_owned()).or_insert_with(fresh);
        *counts.by_rung.entry(rung).or_default() += 1;
    }

    /// What callers got instead of what the server of `url` would have said, now that it
    /// is back.
    pub(crate) fn take_degraded(&self, url: &str) -> Option<Degraded> {
        self.0.degraded.borrow_mut().remove(origin(url))
    }
}

/// Writes what has changed. A copy that cannot be written is still in memory.
fn write(folder: &CopyFolder, changes: &[Change]) {
    for change in changes {
        if let Err(error) = folder.apply(change) {
            tracing::warn!(code = "TR-DAEMON-STORAGE", %error, "the copy of a flow cannot be written");
        }
    }
}

/// The fallback address, with the fields of the request and what was wrong with it.
fn fallback(address: &str, asked: &str, failed: Option<&Attempt>) -> String {
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    if let Ok(asked) = Url::parse(asked) {
        let fields: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
        let mut query = url.query_pairs_mut();
        query.extend_pairs(fields);
        let mut bare = asked;
        bare.set_query(None);
        // Credentials are nobody's business.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        query.append_pair("ErrorCode", failed.and_then(|failed| failed.code).unwrap_or("TR-HOOK-UNREACH"));
        query.append_pair("ErrorUrl", bare.as_str());
    }
    url.into()
}

fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
