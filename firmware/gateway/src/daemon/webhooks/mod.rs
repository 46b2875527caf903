//! Webhooks: into the spool first, then to their server until it takes them. `opening.rs`
//! opens the spool, `event.rs` makes webhooks of the box itself, `reply.rs` reads what servers
//! answer, `table.rs` shows everything to whoever asks.
//!
//! They have threads of their own, so that a server that is slow to be told something
//! holds up no document that a caller waits for.

mod event;
mod opening;
mod reply;
mod table;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tipring_model::CallId;
use tipring_model::fetch::{FetchError, HttpRequest};
use tipring_model::flow::Notice;
use tipring_model::line::DownReason;
use tipring_spool::{
    Alarm, Class, Delivery, End, Entry, Item, Lane, MemoryStore, Next, ON_THEIR_WAY_MAX, Outcome, PutError,
    REPLY_BYTES_MAX, Secret, Seq, Spool, State, StoreError, Verdict, Why, signature, tend_reserve,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use super::control::down_detail;
use super::switchboard::moment;
use crate::config;
use crate::fetch::{AllowList, Answer, FetchSettings, Fetcher, Outage, random};
use event::{Burst, Flaps};
pub(crate) use opening::opens as spool_opens;

/// Webhooks that wait for the disk.
const WRITING_MAX: usize = 4_096;
/// How often it is looked whether something is to be told.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long webhooks that were sent are kept.
const SENT_KEPT_MS: i64 = 24 * 3_600 * 1_000;
/// Rounds of looking after which what is too old goes: an hour.
const TIDY_AFTER: u32 = 720;
/// How far the times of webhooks may be ahead of the clock; further only where it was set.
const PUT_AHEAD_MAX_MS: i64 = 1_000;
/// Answers that are remembered of webhooks that are tried again.
const REPLIES_MAX: usize = 256;
/// Servers whose clock is known to differ from ours.
const CLOCKS_MAX: usize = 64;

/// Where webhooks go.
#[derive(Clone)]
pub(super) struct Webhooks(Rc<Inner>);

struct Inner {
    spool: Spool,
    folder: PathBuf,
    /// The spool is on the disk; where its folder cannot be used, it is in memory.
    kept: bool,
    delivery: RefCell<Delivery>,
    fetcher: Fetcher,
    secrets: Vec<Secret>,
    /// Where the box reports its own events.
    events_url: Option<String>,
    flaps: RefCell<Flaps>,
    /// How far the clock of a server is from ours, in seconds, where it is far.
    clocks: RefCell<BTreeMap<Rc<str>, i64>>,
    /// Something was added or came back.
    changed: Notify,
    writing: mpsc::Sender<Writing>,
    /// What was answered last to those that are tried again.
    replies: RefCell<BTreeMap<Seq, LastReply>>,
    /// The disk fails: said once.
    holds: Cell<bool>,
    last_put_unix_ms: Cell<i64>,
    sent: Cell<u64>,
    unsaved: Cell<u64>,
}

/// What came back from an attempt.
#[derive(Clone, Default)]
struct LastReply {
    status: Option<u16>,
    /// How it began.
    text: String,
}

/// A webhook on its way to the disk.
struct Writing {
    entry: Entry,
    answer: oneshot::Receiver<Result<Seq, PutError>>,
}

impl Webhooks {
    /// Opens the spool in `folder` and begins to deliver what it holds. Blocks while
    /// the spool is read.
    ///
    /// # Errors
    /// [`StoreError`] if not even a spool in memory can be had.
    pub(super) fn open(
        folder: &Path,
        settings: config::Webhooks,
        allow: AllowList,
        own: Vec<SocketAddr>,
        outage: Outage,
    ) -> Result<Self, StoreError> {
        let fetcher = Fetcher::new(FetchSettings {
            allow,
            own,
            outage,
            threads_max: ON_THEIR_WAY_MAX,
            ..FetchSettings::default()
        });
        let mut delivery = Delivery::new(Instant::now(), settings.pace);
        let (spool, kept, lost) = match opening::spool(folder, &mut delivery) {
            Some((spool, lost)) => (spool, true, lost),
            None => (Spool::start(Box::new(MemoryStore::default()), None, Box::new(|| None))?.0, false, None),
        };
        let (writing, written) = mpsc::channel(WRITING_MAX);
        let webhooks = Self(Rc::new(Inner {
            spool,
            folder: folder.to_owned(),
            kept,
            delivery: RefCell::new(delivery),
            fetcher,
            secrets: settings.secrets,
            events_url: settings.url,
            flaps: RefCell::default(),
            clocks: RefCell::default(),
            changed: Notify::new(),
            writing,
            replies: RefCell::default(),
            holds: Cell::default(),
            last_put_unix_ms: Cell::default(),
            sent: Cell::default(),
            unsaved: Cell::default(),
        }));
        spawn_local(webhooks.clone().enroll(written));
        spawn_local(webhooks.clone().deliver());
        spawn_local(webhooks.clone().look());
        if let Some(lost) = lost {
            spawn_local(webhooks.clone().salvage(lost));
        }
        Ok(webhooks)
    }

    /// Takes a notice of a call.
    pub(super) fn notify(&self, call: CallId, notice: Notice) {
        let class = if notice.is_last { Class::Final } else { Class::Progress };
        self.put(notice.topic, &call.to_string(), class, notice.request);
    }

    /// Tells the operator's receiver of something about the box; nothing without one. Those
    /// of one `subject` arrive in order.
    pub(super) fn event(&self, topic: &'static str, subject: &str, class: Class, data: Value) {
        let Some(url) = &self.0.events_url else { return };
        let unix_ms = moment().unix_ms;
        let bytes = event::body(topic, unix_ms, &data).or_else(|| {
            tracing::error!(code = "TR-SPOOL-TOO-LONG", topic, subject, "an event is sent without its facts");
            event::body(topic, unix_ms, &json!({ "too_long": true }))
        });
        if let Some(bytes) = bytes {
            self.put(topic, subject, class, event::request(url, bytes));
        }
    }

    /// A line went down, or up again: told to the operator's receiver once it lasts.
    pub(super) fn line_changed(&self, line: &str, down: Option<DownReason>) {
        self.0.flaps.borrow_mut().changed(moment(), line, down.map(down_detail));
    }

    fn put(&self, topic: &str, subject: &str, class: Class, request: HttpRequest) {
        let entry = Entry {
            id: new_id(),
            topic: topic.to_owned(),
            subject: subject.to_owned(),
            class,
            put_unix_ms: self.put_time(),
            state: State::Queued,
            told_seq: None,
            request,
        };
        let answer = self.0.spool.put(&entry);
        if let Err(refused) = self.0.writing.try_send(Writing { entry, answer }) {
            self.send_unsaved(refused.into_inner().entry);
        }
    }

    /// The time of a new webhook: no two have the same, so that their order is known even
    /// where nothing but the records is left.
    fn put_time(&self) -> i64 {
        let (now, last) = (moment().unix_ms, self.0.last_put_unix_ms.get());
        let time = if (now..now + PUT_AHEAD_MAX_MS).contains(&last) { last + 1 } else { now };
        self.0.last_put_unix_ms.set(time);
        time
    }

    /// Sends what the disk would not take, once.
    fn send_unsaved(&self, entry: Entry) {
        self.0.unsaved.set(self.0.unsaved.get() + 1);
        drop(self.0.fetcher.fetch(self.signed(&entry, None, 0)));
    }

    /// Puts into its lane what is on the disk, in the order in which it was said.
    async fn enroll(self, mut written: mpsc::Receiver<Writing>) {
        while let Some(Writing { entry, answer }) = written.recv().await {
            let put = answer.await.unwrap_or(Err(PutError::Broken));
            if matches!(put, Err(PutError::Held(_))) && !self.0.holds.replace(true) {
                let detail = self.0.spool.last_failure();
                tracing::error!(
                    code = "TR-SPOOL-WRITE",
                    detail,
                    "the spool cannot be written: webhooks are held in memory"
                );
            }
            match put {
                Ok(seq) | Err(PutError::Held(seq)) => {
                    let item = Item { seq, class: entry.class, found: None };
                    self.0.delivery.borrow_mut().add(Instant::now(), lane(&entry), item);
                    self.0.changed.notify_one();
                }
                Err(why) => {
                    let code = match why {
                        PutError::Full => "TR-SPOOL-FULL",
                        PutError::Entry(_) => "TR-SPOOL-TOO-LONG",
                        PutError::Busy | PutError::Held(_) | PutError::Broken => "TR-SPOOL-WRITE",
                    };
                    let detail = self.0.spool.last_failure();
                    tracing::error!(
                        code,
                        call = entry.subject,
                        detail,
                        "a webhook is not in the spool: it is sent once"
                    );
                    self.send_unsaved(entry);
                }
            }
        }
    }

    /// Puts into their lanes webhooks that came from elsewhere and got these numbers.
    fn enroll_imported(&self, entries: &[Entry], seqs: &[Option<Seq>]) {
        let (now, now_unix_ms) = (Instant::now(), moment().unix_ms);
        for (entry, seq) in entries.iter().zip(seqs) {
            if let (State::Queued, Some(seq)) = (&entry.state, seq) {
                let found = Some(age(entry.put_unix_ms, now_unix_ms));
                let item = Item { seq: *seq, class: entry.class, found };
                self.0.delivery.borrow_mut().add(now, lane(entry), item);
            }
        }
        self.0.delivery.borrow_mut().begin(now, random());
        self.0.changed.notify_one();
    }

    /// Sends whatever is due, for ever.
    async fn deliver(self) {
        loop {
            let next = self.0.delivery.borrow_mut().next(Instant::now());
            match next {
                Next::Send(seq) => {
                    spawn_local(self.clone().attempt(seq));
                }
                Next::Drop(seq, class) => self.0.spool.expire(seq, class),
                Next::At(at) => {
                    // Woken early, there may be something new.
                    let _ = tokio::time::timeout_at(at.into(), self.0.changed.notified()).await;
                }
                Next::Idle => self.0.changed.notified().await,
            }
        }
    }

    /// Sends one webhook once.
    async fn attempt(self, seq: Seq) {
        let entry = match self.0.spool.get(seq).await {
            Ok(Ok(Some(entry))) => entry,
            // It has made room for something dearer.
            Ok(Ok(None)) => return self.ended(seq, Outcome::Gone, None),
            Ok(Err(PutError::Entry(_))) => {
                tracing::error!(code = "TR-SPOOL-GAP", seq = seq.0, "a webhook cannot be read any more");
                return self.ended(seq, Outcome::Gone, None);
            }
            Ok(Err(PutError::Full | PutError::Busy | PutError::Held(_) | PutError::Broken)) | Err(_) => {
                return self.ended(seq, Outcome::NotSent, None);
            }
        };
        let answer = self.send(seq, &entry).await;
        let outcome = match &answer {
            Ok(Ok(answer)) => {
                let now_unix_s = moment().unix_ms / 1_000;
                Outcome::Answered(reply::read(answer.response.status, &answer.delivery, now_unix_s))
            }
            Ok(Err(FetchError::Overload)) | Err(_) => Outcome::NotSent,
            Ok(Err(FetchError::TooManyRedirects)) => {
                Outcome::Answered(tipring_spool::Reply { status: 302, ..tipring_spool::Reply::default() })
            }
            Ok(Err(FetchError::BadUrl | FetchError::AddressRefused)) => Outcome::Unsendable,
            Ok(Err(_)) => Outcome::Silence,
        };
        let reply = match answer {
            Ok(Ok(Answer { response, .. })) => LastReply {
                status: Some(response.status),
                text: String::from_utf8_lossy(&response.body).into_owned(),
            },
            Ok(Err(error)) => LastReply { status: None, text: error.to_string() },
            Err(_) => LastReply::default(),
        };
        self.ended(seq, outcome, Some((entry, reply)));
    }

    /// Sends it; once more where the server did not take it and its clock is far from the
    /// one that it was signed by.
    async fn send(
        &self,
        seq: Seq,
        entry: &Entry,
    ) -> Result<Result<Answer, FetchError>, oneshot::error::RecvError> {
        let server: Rc<str> = entry.server().into();
        let off_s = self.0.clocks.borrow().get(&server).copied().unwrap_or(0);
        let answer = self.0.fetcher.fetch_kept(self.signed(entry, Some(seq), off_s)).await;
        let Ok(Ok(reply)) = &answer else { return answer };
        let used_s = moment().unix_ms / 1_000 + off_s;
        let Some(more_s) = reply::correction_s(used_s, &reply.delivery) else { return answer };
        let off_s = off_s.saturating_add(more_s);
        {
            let mut clocks = self.0.clocks.borrow_mut();
            if clocks.len() < CLOCKS_MAX || clocks.contains_key(&server) {
                clocks.insert(Rc::clone(&server), off_s);
            }
        }
        tracing::warn!(
            code = "TR-SPOOL-CLOCK",
            server = &*server,
            off_s,
            "the clock is wrong, or the server's is"
        );
        if reply.response.is_success() {
            return answer;
        }
        self.0.fetcher.fetch_kept(self.signed(entry, Some(seq), off_s)).await
    }

    fn ended(&self, seq: Seq, outcome: Outcome, sent: Option<(Entry, LastReply)>) {
        let now = Instant::now();
        let attempts = sent
            .as_ref()
            .map_or(0, |(entry, _)| self.0.delivery.borrow().standing(now, &lane(entry), seq).attempts);
        let (verdict, alarm) = self.0.delivery.borrow_mut().ended(now, seq, outcome, random());
        self.0.changed.notify_one();
        let Some((mut entry, reply)) = sent else { return };
        if let Some(alarm) = alarm {
            self.alarm(alarm, &entry.server());
        }
        let status = reply.status;
        let end = |why, reply: LastReply| End {
            at_unix_ms: moment().unix_ms,
            why,
            status: reply.status,
            attempts,
            reply: reply.text,
        };
        match verdict {
            Verdict::Taken => {
                self.0.sent.set(self.0.sent.get() + 1);
                entry.state = State::Sent(end(Why::Taken, reply));
            }
            Verdict::Again { after, first } => {
                self.remember(seq, reply);
                let (call, again_s) = (entry.subject.as_str(), after.as_secs());
                if first {
                    tracing::warn!(
                        code = "TR-SPOOL-LATER",
                        call,
                        status,
                        again_s,
                        "a webhook was not taken: it is sent again"
                    );
                } else {
                    tracing::debug!(call, status, again_s, "a webhook was not taken again");
                }
                return;
            }
            Verdict::Parked(why) => {
                tracing::error!(
                    code = "TR-SPOOL-PARKED",
                    call = entry.subject,
                    id = entry.id,
                    status,
                    why = why.as_str(),
                    "a webhook is set apart: its server does not want it"
                );
                entry.state = State::Parked(end(why, reply));
            }
        }
        self.0.replies.borrow_mut().remove(&seq);
        self.0.spool.settle(seq, &entry);
    }

    fn remember(&self, seq: Seq, reply: LastReply) {
        let mut replies = self.0.replies.borrow_mut();
        replies.insert(seq, reply);
        if replies.len() > REPLIES_MAX {
            replies.pop_first();
        }
    }

    /// Says that a server is in trouble, or is well again.
    fn alarm(&self, alarm: Alarm, server: &str) {
        let (topic, what) = match alarm {
            Alarm::Paused => {
                tracing::error!(
                    code = "TR-SPOOL-PAUSED",
                    server,
                    "a server wants no more webhooks: it is asked once an hour"
                );
                ("webhook.alarm", "paused")
            }
            Alarm::Failing => {
                tracing::error!(
                    code = "TR-SPOOL-FAILING",
                    server,
                    "a server has taken no webhook for five days: it is asked once an hour"
                );
                ("webhook.alarm", "failing")
            }
            Alarm::Recovered => {
                tracing::info!(server, "a server takes webhooks again");
                ("webhook.clear", "recovered")
            }
        };
        self.event(topic, "box", Class::Alarm, json!({ "server": server, "what": what }));
    }

    /// Looks every few seconds whether lines or the spool have something to tell, for ever.
    async fn look(self) {
        let mut burst = Burst::default();
        for round in 0_u32.. {
            if round.is_multiple_of(TIDY_AFTER) {
                self.0.spool.trim_sent(moment().unix_ms - SENT_KEPT_MS);
                if self.0.kept
                    && let Err(error) = tend_reserve(&self.0.folder)
                {
                    tracing::debug!(%error, "no room is kept for a full disk");
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
            if self.0.spool.counters().held == 0 && self.0.holds.replace(false) {
                tracing::info!("the spool is written again: what was held in memory is on the disk");
            }
            let due = self.0.flaps.borrow_mut().due(Instant::now());
            for (is_down, line, facts) in due {
                let topic = if is_down { "line.alarm" } else { "line.clear" };
                self.event(topic, &format!("line {line}"), Class::Alarm, facts);
            }
            let dropped = self.0.spool.counters().dropped;
            if let Some(counts) = burst.due(Instant::now(), dropped) {
                let facts = event::dropped(&counts);
                tracing::error!(code = "TR-SPOOL-DROPPED", %facts, "webhooks were dropped: too old, or no room");
                self.event("queue.dropped", "box", Class::Alarm, facts);
            }
        }
    }

    /// The request, with what tells the receiver which webhook it is, when it was sent, and
    /// that it comes from this box (Standard Webhooks). The server's clock is `off_s` ahead
    /// of ours.
    fn signed(&self, entry: &Entry, seq: Option<Seq>, off_s: i64) -> HttpRequest {
        let mut request = entry.request.clone();
        // Where a redirect leads, nobody has taken anything.
        request.redirects_max = 0;
        (request.body_max_bytes, request.cuts_body) = (REPLY_BYTES_MAX, true);
        let unix_s = moment().unix_ms / 1_000 + off_s;
        let body = request.body.as_ref().map_or(&[][..], |body| &body.bytes);
        let signature = signature(&self.0.secrets, &entry.id, unix_s, body);
        request.headers.push(("webhook-id".to_owned(), entry.id.clone()));
        request.headers.push(("webhook-timestamp".to_owned(), unix_s.to_string()));
        if !signature.is_empty() {
            request.headers.push(("webhook-signature".to_owned(), signature));
        }
        if let Some(told) = entry.told_seq.or(seq.map(|seq| seq.0)) {
            request.headers.push(("webhook-seq".to_owned(), told.to_string()));
        }
        let backlog = self.0.delivery.borrow().backlog(&entry.server());
        request.headers.push(("webhook-backlog".to_owned(), backlog.saturating_sub(1).to_string()));
        request
    }

    /// What the spool holds and has been through.
    pub(super) fn status(&self) -> Value {
        let counters = self.0.spool.counters();
        json!({
            "kept": self.0.kept,
            "waiting": counters.waiting,
            "bytes": counters.bytes,
            "put": counters.put,
            "sent": self.0.sent.get(),
            "parked": counters.parked,
            "held": counters.held,
            "history": counters.sent,
            "history_bytes": counters.history_bytes,
            "unsaved": self.0.unsaved.get(),
            "dropped": event::dropped(&counters.dropped),
            "offline": self.0.delivery.borrow().is_offline(),
            "damaged": counters.damaged,
            "failures": counters.failures,
            "forgotten": counters.forgotten,
        })
    }
}

/// The lane of a webhook.
fn lane(entry: &Entry) -> Lane {
    Lane { server: entry.server().into(), subject: entry.ordered_by().into() }
}

/// How long a webhook has waited, as far as the clock can be believed.
fn age(put_unix_ms: i64, now_unix_ms: i64) -> Duration {
    if !event::is_certain(put_unix_ms) || !event::is_certain(now_unix_ms) {
        return Duration::ZERO;
    }
    u64::try_from(now_unix_ms.saturating_sub(put_unix_ms)).map_or(Duration::ZERO, Duration::from_millis)
}

/// A new name for a webhook.
fn new_id() -> String {
    let mut bytes = [0; 16];
    // The lines have read from the same source at their start.
    let _ = getrandom::fill(&mut bytes);
    format!("evt_{:032x}", u128::from_ne_bytes(bytes))
}
