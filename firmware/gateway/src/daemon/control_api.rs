//! The daemon's side of the HTTP control API: scenario sessions, who may speak to them, and their
//! history.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};
use tipring_flows::voxengine;
use tipring_model::CallId;
use tipring_model::call::SessionFacts;
use tipring_model::flow::Message;
use tipring_web::access::Access;
use tipring_web::asks::{Ask, ControlReply, ControlRequest, Reached, Refusal, StartRequest, Started};
use tipring_web::history::{CUSTOM_DATA_BYTES_MAX, HistoryPage, HistoryQuery, MATCHES_MAX, SessionRecord};
use tipring_web::listen::Listeners;
use tipring_web::platform_api::Platform;
use tipring_web::platform_api::rules::{Application, Rule};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_blocking, spawn_local};

use super::placing::NotPlaced;
use super::reach::Reach;
use super::recordings::find;
use super::session_logs::SessionLogs;
use super::switchboard::Switchboard;
use crate::cdr::{self, RecordWriter};
use crate::config::{Config, FlowEntry, RuleEntry};

/// Scenario sessions at one time; where so many run, none is begun without a call.
const SESSIONS_MAX: usize = 32;

/// What belongs to the control API beside calls.
pub(crate) struct ControlApi {
    listening: (Option<SocketAddr>, Option<SocketAddr>),
    reach: Rc<Reach>,
    account_id: u64,
    access: RefCell<Access>,
    running: RefCell<HashMap<CallId, Running>>,
    last_id: Cell<u64>,
    history: RecordWriter,
    folder: PathBuf,
    pub(super) logs: SessionLogs,
}

/// A session that runs.
struct Running {
    id: u64,
    began: Instant,
    record: SessionRecord,
}

/// Who began a session, and with what.
#[derive(Default)]
struct Beginning {
    custom_data: String,
    user_id: Option<u64>,
    user_name: Option<String>,
    initiator: Option<String>,
}

impl ControlApi {
    /// Opens the history.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub(super) fn open(
        config: &Config,
        web: &Listeners,
        reach: Rc<Reach>,
        data_dir: &Path,
    ) -> io::Result<Self> {
        let folder = data_dir.join("sessions");
        let newest = cdr::read(&folder, 1, |_| true).ok().and_then(|found| found.records.into_iter().next());
        let last_id = newest.and_then(|record| record["id"].as_str().and_then(|id| id.parse().ok()));
        Ok(Self {
            listening: (web.http(), web.https()),
            reach,
            account_id: config.web.login.account.id,
            access: RefCell::default(),
            running: RefCell::default(),
            last_id: Cell::new(last_id.unwrap_or(0)),
            history: RecordWriter::start(folder.clone(), config.general.cdr_days)?,
            logs: SessionLogs::start(folder.join("logs"))?,
            folder,
        })
    }

    /// Where HTTP and HTTPS are listened for.
    #[must_use]
    pub(super) const fn listening(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.listening
    }

    /// A number that no session had before: milliseconds since 1970, or one more than the last.
    fn next_id(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(since.as_millis()).unwrap_or(0);
        let id = now_ms.max(self.last_id.get() + 1);
        self.last_id.set(id);
        id
    }

    /// What a new session is told of itself, what is kept of it, and its path. Without an address
    /// where there are too many.
    fn new_session(
        &self,
        flow: &FlowEntry,
        rule: Option<&Rule>,
        reached: &Reached,
        beginning: Beginning,
    ) -> (SessionFacts, Running, String) {
        let id = self.next_id();
        let path = self.access.borrow_mut().open(id).unwrap_or_default();
        let at = |base: Option<&String>| match base {
            Some(base) if !path.is_empty() => format!("{base}{path}"),
            Some(_) | None => String::new(),
        };
        let custom_data = beginning.custom_data;
        let record = SessionRecord {
            id: id.to_string(),
            started: Timestamp::now().to_string(),
            duration_s: 0,
            application_id: flow.application_id,
            application_name: flow.name.clone(),
            rule_id: rule.map_or(0, |rule| rule.id),
            rule_name: rule.map_or_else(String::new, |rule| rule.name.clone()),
            user_id: beginning.user_id,
            user_name: beginning.user_name,
            custom_data: beginning_of(&custom_data, CUSTOM_DATA_BYTES_MAX).to_owned(),
            initiator_address: beginning.initiator,
            finish_reason: String::new(),
        };
        let facts = SessionFacts {
            id,
            access_url: at(reached.http.as_ref().or(reached.https.as_ref())),
            secure_access_url: at(reached.https.as_ref()),
            account_id: self.account_id,
            application_id: flow.application_id,
            custom_data,
            ..SessionFacts::default()
        };
        (facts, Running { id, began: Instant::now(), record }, path)
    }
}

/// The longest beginning of a text that has so many bytes at most.
fn beginning_of(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// What the web side serves.
pub(super) fn platform(config: &Config, web: &Listeners, asks: mpsc::Sender<Ask>) -> Platform {
    let applications =
        config.flows.iter().filter(|flow| flow.dialect == voxengine::DIALECT.name).map(|flow| {
            let rules = flow.rules.iter().map(|entry| entry.rule.clone()).collect();
            Application { id: flow.application_id, name: flow.name.clone(), rules }
        });
    Platform::new(config.web.login.clone(), applications.collect(), web.ports(), asks)
}

impl Switchboard {
    /// Answers what the web side asks, for ever.
    pub(super) async fn serve_asks(self, mut asked: mpsc::Receiver<Ask>) {
        while let Some(ask) = asked.recv().await {
            match ask {
                Ask::Start(request, answer) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.start_scenarios(request));
                }
                Ask::Control(request, answer) => self.pass_on(request, answer),
                Ask::Recording(name, answer) => {
                    let folder = self.0.recordings_dir.clone();
                    spawn_local(async move {
                        if let Ok(found) = spawn_blocking(move || find(&folder, &name)).await {
                            let _ = answer.send(found);
                        }
                    });
                }
                Ask::History(query, answer) => {
                    let folder = self.0.control_api.folder.clone();
                    spawn_local(async move {
                        if let Ok(Some(page)) = spawn_blocking(move || look(&folder, &query)).await {
                            let _ = answer.send(page);
                        }
                    });
                }
            }
        }
    }

    fn start_scenarios(&self, request: StartRequest) -> Result<Started, Refusal> {
        let rules = self
            .0
            .flows
            .iter()
            .enumerate()
            .flat_map(|(at, flow)| flow.rules.iter().map(move |entry| (at, flow, entry)));
        // The web side has the same rules.
        let mut found = rules.filter(|(_, _, entry)| entry.rule.id == request.rule_id);
        let (at, flow, entry) = found.next().ok_or(Refusal::Full)?;
        let beginning = Beginning {
            custom_data: request.custom_data,
            user_id: request.user_id,
            user_name: request.user_name,
            initiator: request.initiator.map(|address| address.to_string()),
        };
        match self.start_scenario(at, flow, Some(entry), &request.reached, beginning) {
            Ok((_, facts, path)) => Ok(Started { history_id: facts.id, path }),
            Err(NotPlaced::Stopping) => Err(Refusal::Stopping),
            Err(
                NotPlaced::Full
                | NotPlaced::SessionsFull
                | NotPlaced::NoFlow
                | NotPlaced::Number
                | NotPlaced::NoRule(_),
            ) => Err(Refusal::Full),
        }
    }

    /// Begins a session at the wish of somebody at the box; by its rule's number or name, which may
    /// be missing where there is no choice. Gives its names and addresses.
    ///
    /// # Errors
    /// There is no such flow, no such rule, or no room.
    pub(super) fn start_by_hand(
        &self,
        flow: &str,
        rule: Option<&str>,
        data: &str,
    ) -> Result<Value, NotPlaced> {
        let mut flows = self.0.flows.iter().enumerate();
        let is_meant = |entry: &FlowEntry| entry.name == flow && entry.dialect == voxengine::DIALECT.name;
        let (at, flow) = flows.find(|(_, entry)| is_meant(entry)).ok_or(NotPlaced::NoFlow)?;
        let entry = match (flow.rules.as_slice(), rule) {
            ([], None) => None,
            ([only], None) => Some(only),
            (rules, wanted) => {
                let is_wanted = |entry: &&RuleEntry| {
                    wanted.is_some_and(|wanted| {
                        entry.rule.name == wanted || entry.rule.id.to_string() == wanted
                    })
                };
                let named = || rules.iter().map(|entry| format!("{} {}", entry.rule.id, entry.rule.name));
                Some(rules.iter().find(is_wanted).ok_or_else(|| NotPlaced::NoRule(named().collect()))?)
            }
        };
        let beginning = Beginning { custom_data: data.to_owned(), ..Beginning::default() };
        let usual = self.0.control_api.reach.usual();
        let (call, facts, _) = self.start_scenario(at, flow, entry, &usual, beginning)?;
        let address = |address: &str| (!address.is_empty()).then(|| address.to_owned());
        Ok(json!({
            "id": call.to_string(),
            "history_id": facts.id,
            "access_url": address(&facts.access_url),
            "secure_access_url": address(&facts.secure_access_url),
        }))
    }

    /// Begins a session without a call. Gives its call, what it was told, and the path of its address.
    fn start_scenario(
        &self,
        at: usize,
        flow: &FlowEntry,
        rule: Option<&RuleEntry>,
        reached: &Reached,
        beginning: Beginning,
    ) -> Result<(CallId, SessionFacts, String), NotPlaced> {
        let api = &self.0.control_api;
        if api.running.borrow().len() >= SESSIONS_MAX {
            return Err(NotPlaced::SessionsFull);
        }
        let program = rule.map_or(&flow.program, |rule| &rule.program);
        let (facts, running, path) = api.new_session(flow, rule.map(|rule| &rule.rule), reached, beginning);
        let history_id = running.id;
        match self.begin_session(at, program, facts.clone()) {
            Ok(call) => {
                self.session_began(call, running);
                Ok((call, facts, path))
            }
            Err(why) => {
                api.access.borrow_mut().close(history_id);
                Err(why)
            }
        }
    }

    /// The number of a session that runs, in the history.
    pub(super) fn history_id(&self, call: CallId) -> Option<u64> {
        self.0.control_api.running.borrow().get(&call).map(|running| running.id)
    }

    /// The call of a session that runs, by its number in the history.
    pub(super) fn call_of_history(&self, id: u64) -> Option<CallId> {
        let running = self.0.control_api.running.borrow();
        running.iter().find(|(_, running)| running.id == id).map(|(call, _)| *call)
    }

    /// Makes a scenario session of a call that comes in, if its flow is one.
    pub(super) fn session_for(
        &self,
        call: CallId,
        flow: Option<usize>,
        to: &str,
        is_inside: bool,
    ) -> Option<Rc<SessionFacts>> {
        let flow = self.0.flows.get(flow?).filter(|flow| flow.dialect == voxengine::DIALECT.name)?;
        let api = &self.0.control_api;
        let mut rules = flow.rules.iter().map(|entry| &entry.rule);
        let rule = rules.find(|rule| rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(to)));
        let (facts, running, _) = api.new_session(flow, rule, &api.reach.usual(), Beginning::default());
        api.running.borrow_mut().insert(call, running);
        // A session that others of the box call is named by what they called.
        let conference_name = if is_inside { to.to_owned() } else { String::new() };
        Some(Rc::new(SessionFacts { conference_name, ..facts }))
    }

    /// Notes a session, unless it is over already.
    fn session_began(&self, call: CallId, running: Running) {
        let api = &self.0.control_api;
        api.running.borrow_mut().insert(call, running);
        if self.number_of(call).is_none() {
            self.session_ended(call, "script_end");
        }
    }

    /// A call is over. If it was a session, its address is, too, and it enters the history.
    pub(super) fn session_ended(&self, call: CallId, label: &str) {
        let api = &self.0.control_api;
        let Some(running) = api.running.borrow_mut().remove(&call) else { return };
        api.access.borrow_mut().close(running.id);
        api.history.write(&SessionRecord {
            duration_s: running.began.elapsed().as_secs(),
            finish_reason: label.to_owned(),
            ..running.record
        });
    }

    /// Passes a request on to the session whose address it has.
    fn pass_on(&self, request: ControlRequest, answer: oneshot::Sender<Option<ControlReply>>) {
        let api = &self.0.control_api;
        let id = api.access.borrow().find(&request.session, &request.secret);
        let call = id.and_then(|id| self.call_of_history(id));
        let ControlRequest { method, path, headers, body, .. } = request;
        let message = Message { method, path, headers, body };
        let Some(reply) = call.and_then(|call| self.control(call, &message)) else {
            // Whoever asked may be gone; so below.
            let _ = answer.send(None);
            return;
        };
        spawn_local(async move {
            let reply = reply.await.ok();
            let _ = answer.send(reply.map(|reply| ControlReply {
                status: reply.status,
                media_type: reply.media_type,
                body: reply.body,
            }));
        });
    }
}

/// The sessions that are asked for; nothing if the disk does not give them.
fn look(folder: &Path, query: &HistoryQuery) -> Option<HistoryPage> {
    let read = |record: &serde_json::Value| serde_json::from_value::<SessionRecord>(record.clone()).ok();
    let found =
        cdr::read(folder, MATCHES_MAX, |record| read(record).is_some_and(|session| query.fits(&session)));
    match found {
        Ok(found) => Some(query.page(found.records.iter().filter_map(read).collect())),
        Err(error) => {
            tracing::error!(code = "TR-API-HISTORY", %error, "the history of sessions cannot be read");
            None
        }
    }
}
