//! What calls fetch, what stands in when a server is away, and the watch over servers.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use tipring_calls::CallInput;
use tipring_flows::ring_all::RingAll;
use tipring_flows::stand_in::WithStandIn;
use tipring_model::fetch::{DocumentKey, FetchError, HttpRequest, HttpResponse, Method};
use tipring_model::flow::Flow;
use tipring_model::{FetchId, LineId};
use tipring_spool::Class;
use tokio::task::spawn_local;

use super::records::RequestRecord;
use super::switchboard::{Switchboard, shown_url};
use crate::config::FlowEntry;
use crate::fetch::copies::Keep;
use crate::fetch::documents::{Attempt, Got, Wanted};
use crate::fetch::ladder::Rung;
use crate::fetch::{Change, origin};

/// How long the telephones ring when there is nothing else.
const RING_ALL: Duration = Duration::from_secs(25);
/// Requests kept for the record of one call.
const REQUESTS_MAX: usize = 200;
/// How often every flow's first document is fetched for nobody.
const PREWARM_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Longest wait for an answer that nobody waits for.
const PROBE_MAX: Duration = Duration::from_secs(10);

impl Switchboard {
    /// A run of a flow for a call that arrived on `line`, with what takes over if its first
    /// document cannot be had: the line's own flow, or else every telephone rings.
    pub(super) fn guarded_flow(&self, line: LineId, entry: &FlowEntry) -> (Box<dyn Flow>, Option<Rung>) {
        let program = &entry.program;
        if program.is_on_box() {
            return (program.start(), None);
        }
        if program.has_fallback() {
            return (program.start(), Some(Rung::Local));
        }
        if let Some(local) = self.0.plan.local_flow(line).and_then(|at| self.0.flows.get(at)) {
            let local = Rc::clone(&local.program);
            let flow = WithStandIn::new(Rc::clone(program), Box::new(move || local.start()));
            return (Box::new(flow), Some(Rung::Local));
        }
        let phones = self.0.plan.other_phones(line);
        if phones.is_empty() {
            return (program.start(), None);
        }
        let flow =
            WithStandIn::new(Rc::clone(program), Box::new(|| Box::new(RingAll::new(phones, RING_ALL))));
        (Box::new(flow), Some(Rung::Builtin))
    }

    /// Fetches something for a call.
    pub(super) fn fetch(
        &self,
        number: u32,
        id: FetchId,
        mut request: HttpRequest,
        document: Option<DocumentKey>,
    ) {
        let Some(wanted) = ({
            let state = self.0.state.borrow();
            state.calls.get(&number).map(|entry| {
                let facts = entry.call.facts();
                // Sent again, it is known to be the same.
                request.headers.push(("Idempotency-Key".to_owned(), format!("{}-{}", facts.id, id.0)));
                if let Some((rung, age_s)) = entry.trail.edge {
                    request.headers.push(("X-Edge-Fetch".to_owned(), rung.as_str().to_owned()));
                    let age = age_s.map(|age_s| ("X-Edge-Fetch-Age".to_owned(), age_s.to_string()));
                    request.headers.extend(age);
                }
                let flow = entry.flow.and_then(|at| self.0.flows.get(at));
                let mut caller = DefaultHasher::new();
                facts.from.number_or_anonymous().hash(&mut caller);
                document.zip(flow).map(|(document, flow)| Wanted {
                    stand_in: entry.stand_in.filter(|_| document.is_first),
                    fallback_url: flow.fallback_url.clone(),
                    keep: flow.keep,
                    program: Rc::clone(&flow.program),
                    caller: caller.finish(),
                    document,
                    request: request.clone(),
                })
            })
        }) else {
            return;
        };
        let board = self.clone();
        match wanted {
            Some(wanted) => {
                let climbing = spawn_local(async move {
                    let (stand_in, program) = (wanted.stand_in, Rc::clone(&wanted.program));
                    let (url, method) = (wanted.request.url.clone(), wanted.request.method);
                    let got = board.0.documents.get(wanted).await;
                    board.note(number, method, &url, &got, stand_in);
                    if got.new_copy
                        && let Ok(answer) = &got.answer
                    {
                        board.fetch_sounds(program.sounds(answer));
                    }
                    board.tell_degraded(&url, &got);
                    let answer = got.answer.as_ref().map_err(|error| *error);
                    board.handle(number, CallInput::Fetched(id, answer));
                });
                // A caller who is gone needs no document.
                let mut state = self.0.state.borrow_mut();
                if let Some(entry) = state.calls.get_mut(&number) {
                    entry.climbing.retain(|one| !one.is_finished());
                    entry.climbing.push(climbing.abort_handle());
                }
            }
            None => {
                spawn_local(async move {
                    let (url, method, at) = (request.url.clone(), request.method, Instant::now());
                    // A caller is no probe.
                    let answer = if board.0.fetcher.is_away(&url) {
                        Err(FetchError::Unreachable)
                    } else {
                        board.0.fetcher.fetch(request).await.unwrap_or(Err(FetchError::Overload))
                    };
                    board.note_plain(number, method, url, at, &answer);
                    let answer = answer.as_ref().map_err(|error| *error);
                    board.handle(number, CallInput::Fetched(id, answer));
                });
            }
        }
    }

    fn note_plain(
        &self,
        number: u32,
        method: Method,
        url: String,
        at: Instant,
        answer: &Result<HttpResponse, FetchError>,
    ) {
        let (status, code) = match answer {
            Ok(answer) => (Some(answer.status), (answer.status >= 400).then_some("TR-HOOK-STATUS")),
            Err(error) => (None, Some(error.code())),
        };
        let attempt = Attempt { url, rung: Rung::Live, at, took: at.elapsed(), status, code };
        self.note_attempt(number, method, &attempt);
    }

    /// Writes down how a document was got, for the record of its call.
    fn note(&self, number: u32, method: Method, url: &str, got: &Got, stand_in: Option<Rung>) {
        for attempt in &got.attempts {
            self.note_attempt(number, method, attempt);
        }
        let Some(rung) = got.rung.or(stand_in) else { return };
        if rung >= Rung::Stale {
            tracing::warn!(
                call = %self.call_name(number),
                code = "TR-HOOK-DEGRADED",
                url = shown_url(url),
                rung = rung.as_str(),
                age_s = got.age_s,
                "the server is away: the call goes on with what the box has"
            );
            let attempt = Attempt {
                url: url.to_owned(),
                rung,
                at: Instant::now(),
                took: Duration::ZERO,
                status: None,
                code: None,
            };
            self.note_attempt(number, method, &attempt);
        }
        let mut state = self.0.state.borrow_mut();
        let Some(entry) = state.calls.get_mut(&number) else { return };
        if rung > entry.trail.edge.map_or(Rung::Live, |(worst, _)| worst) {
            entry.trail.edge = Some((rung, got.age_s));
        }
    }

    fn note_attempt(&self, number: u32, method: Method, attempt: &Attempt) {
        let url = shown_url(&attempt.url);
        if let Some(code) = attempt.code {
            let status = attempt.status;
            tracing::warn!(call = %self.call_name(number), code, url, status, "a web server did not answer well");
        }
        let mut state = self.0.state.borrow_mut();
        let Some(entry) = state.calls.get_mut(&number) else { return };
        if entry.trail.requests.len() < REQUESTS_MAX {
            let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            entry.trail.requests.push(RequestRecord {
                at_ms: milliseconds(attempt.at.saturating_duration_since(entry.began)),
                method: method.as_str(),
                url: url.to_owned(),
                rung: attempt.rung.as_str(),
                status: attempt.status,
                code: attempt.code,
                ms: milliseconds(attempt.took),
            });
        }
    }

    /// Once a server answers again: what callers were given meanwhile.
    fn tell_degraded(&self, url: &str, got: &Got) {
        if !matches!(got.rung, Some(Rung::Live | Rung::Retry)) {
            return;
        }
        self.report_degraded(url);
    }

    fn report_degraded(&self, url: &str) {
        let Some(degraded) = self.0.documents.take_degraded(url) else { return };
        let calls: u64 = degraded.by_rung.values().sum();
        tracing::info!(server = shown_url(origin(url)), calls, "callers did without a server meanwhile");
        let by_rung: serde_json::Map<String, serde_json::Value> = degraded
            .by_rung
            .iter()
            .map(|(rung, count)| (rung.as_str().to_owned(), (*count).into()))
            .collect();
        let since = jiff::Timestamp::from_millisecond(degraded.since_unix_ms).unwrap_or_default();
        let told = json!({
            "server": shown_url(origin(url)),
            "since": since.to_string(),
            "fetches": calls,
            "by_rung": by_rung,
        });
        self.0.webhooks.event("edge.fetch.degraded", "box", Class::Alarm, told);
    }

    // --- Servers.

    /// Probes servers that are away, and says when they come back, for ever.
    pub(crate) async fn watch_servers(self) {
        let mut changes = self.0.fetcher.changes();
        loop {
            match self.0.fetcher.probe() {
                Ok(server) => {
                    let board = self.clone();
                    spawn_local(async move { board.probe(&server).await });
                }
                Err(next) => {
                    let due = async {
                        match next {
                            Some(at) => tokio::time::sleep_until(at.into()).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = due => {}
                        changed = changes.changed() => {
                            if changed.is_err() {
                                return;
                            }
                            let last = changes.borrow_and_update().1.clone();
                            self.server_changed(last);
                        }
                    }
                }
            }
        }
    }

    fn server_changed(&self, last: Option<(String, Change)>) {
        match last {
            Some((server, Change::Opened)) => {
                tracing::warn!(
                    code = "TR-HOOK-AWAY",
                    server = shown_url(&server),
                    "a web server is away; it is asked in the background until it answers"
                );
            }
            Some((server, Change::Closed(after))) => {
                tracing::info!(
                    server = shown_url(&server),
                    after_s = after.as_secs(),
                    "a web server is back"
                );
                self.report_degraded(&server);
            }
            None => {}
        }
    }

    /// Asks a server that is away. That it answers is noticed where it is asked.
    async fn probe(&self, server: &str) {
        let entries = self.0.flows.iter().filter_map(|flow| self.entry_of(flow));
        let mut of_server: Vec<Wanted> =
            entries.filter(|wanted| origin(&wanted.request.url) == server).collect();
        if !of_server.is_empty() {
            // Each of them in turn: one may be broken for itself.
            let turn = self.0.probes.get();
            self.0.probes.set(turn.wrapping_add(1));
            let wanted = of_server.swap_remove(turn % of_server.len());
            self.warm(wanted).await;
            return;
        }
        let request = HttpRequest {
            method: Method::Head,
            url: format!("{server}/"),
            headers: Vec::new(),
            body: None,
            timeout: PROBE_MAX,
            redirects_max: 0,
            body_max_bytes: 0,
            cuts_body: true,
            connect: None,
            moves_fields: false,
            total: None,
        };
        // Whatever it says was noted.
        let _ = self.0.fetcher.fetch(request).await;
    }

    /// Fetches the first document of every flow, with its sounds, now and then: so that the
    /// box has them when it needs them.
    pub(crate) async fn keep_copies(self) {
        loop {
            for flow in self.0.flows.iter().filter(|flow| flow.keep != Keep::Never) {
                if let Some(wanted) = self.entry_of(flow) {
                    self.warm(wanted).await;
                }
            }
            tokio::time::sleep(PREWARM_EVERY).await;
        }
    }

    async fn warm(&self, wanted: Wanted) {
        let program = Rc::clone(&wanted.program);
        if let Some(answer) = self.0.documents.prewarm(wanted).await {
            self.fetch_sounds(program.sounds(&answer));
        }
    }

    /// The request with which a call of nobody's to the flow would begin.
    fn entry_of(&self, flow: &FlowEntry) -> Option<Wanted> {
        let to = flow.numbers.first().map_or("", String::as_str);
        let (mut request, document) = flow.program.entry("anonymous", to)?;
        request.headers.push(("X-Edge-Prewarm".to_owned(), "1".to_owned()));
        request.timeout = request.timeout.min(PROBE_MAX);
        Some(Wanted {
            request,
            document,
            fallback_url: None,
            keep: flow.keep,
            program: Rc::clone(&flow.program),
            // No caller has it.
            caller: 0,
            stand_in: None,
        })
    }

    /// Makes sounds ready, one after the other, for when their server is away.
    fn fetch_sounds(&self, sounds: Vec<tipring_model::prompt::PromptSource>) {
        let prompts = self.0.prompts.clone();
        spawn_local(async move {
            for sound in sounds {
                // One that cannot be had now is no reason to leave out the others.
                let _ = prompts.get(&sound).await;
            }
        });
    }
}
