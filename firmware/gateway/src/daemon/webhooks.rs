//! Webhooks: into the spool first, then to their server until it takes them.
//!
//! They have threads of their own, so that a server that is slow to be told something
//! holds up no document that a caller waits for.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tipring_model::CallId;
use tipring_model::flow::Notice;
use tipring_spool::{
    Class, Delivery, Entry, Lane, Next, Outcome, PutError, Seq, Spool, SpoolCounters, Verdict, open,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use super::switchboard::moment;
use crate::fetch::{AllowList, FetchSettings, Fetcher};

/// Threads that send.
const THREADS_MAX: usize = 8;
/// Webhooks that wait for the disk.
const WRITING_MAX: usize = 4_096;
/// A wait no longer than this follows upon a first failure.
const FIRST_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a webhook that could not be looked at waits.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where webhooks go.
#[derive(Clone)]
pub(super) struct Webhooks(Rc<Inner>);

struct Inner {
    /// None where the folder cannot be used: webhooks are then sent once, at once.
    spool: Option<Spool>,
    delivery: RefCell<Delivery>,
    fetcher: Fetcher,
    /// Something was added or came back.
    changed: Notify,
    writing: mpsc::Sender<Writing>,
    sent: Cell<u64>,
    parked: Cell<u64>,
    unsaved: Cell<u64>,
}

/// A webhook on its way to the disk.
struct Writing {
    entry: Entry,
    answer: oneshot::Receiver<Result<Seq, PutError>>,
}

impl Webhooks {
    /// Opens the spool in `folder` and begins to deliver what it holds. Blocks while
    /// the spool is read.
    pub(super) fn open(folder: &Path, allow: AllowList, own: Vec<SocketAddr>) -> Self {
        let settings = FetchSettings { allow, threads_max: THREADS_MAX, ..FetchSettings::default() };
        let fetcher = Fetcher::new(settings);
        fetcher.set_own(own);
        let mut delivery = Delivery::default();
        let spool = spool(folder, &mut delivery);
        let (writing, written) = mpsc::channel(WRITING_MAX);
        let webhooks = Self(Rc::new(Inner {
            spool,
            delivery: RefCell::new(delivery),
            fetcher,
            changed: Notify::new(),
            writing,
            sent: Cell::default(),
            parked: Cell::default(),
            unsaved: Cell::default(),
        }));
        spawn_local(webhooks.clone().enroll(written));
        spawn_local(webhooks.clone().deliver());
        webhooks
    }

    /// Takes a notice of a call.
    pub(super) fn notify(&self, call: CallId, notice: Notice) {
        let class = if notice.is_last { Class::Final } else { Class::Progress };
        let entry = Entry {
            id: new_id(),
            topic: notice.topic.to_owned(),
            subject: call.to_string(),
            class,
            put_unix_ms: moment().unix_ms,
            request: notice.request,
        };
        let Some(spool) = &self.0.spool else {
            return self.send_unsaved(entry);
        };
        let answer = spool.put(&entry);
        if let Err(refused) = self.0.writing.try_send(Writing { entry, answer }) {
            self.send_unsaved(refused.into_inner().entry);
        }
    }

    /// Sends what the disk would not take, once.
    fn send_unsaved(&self, entry: Entry) {
        self.0.unsaved.set(self.0.unsaved.get() + 1);
        drop(self.0.fetcher.fetch(signed(&entry)));
    }

    /// Puts into its lane what is on the disk, in the order in which it was said.
    async fn enroll(self, mut written: mpsc::Receiver<Writing>) {
        while let Some(Writing { entry, answer }) = written.recv().await {
            match answer.await.unwrap_or(Err(PutError::Broken)) {
                Ok(seq) => {
                    let lane = Lane { server: entry.server().into(), subject: entry.subject.as_str().into() };
                    self.0.delivery.borrow_mut().add(lane, seq);
                    self.0.changed.notify_one();
                }
                Err(why) => {
                    let code = match why {
                        PutError::Full => "TR-SPOOL-FULL",
                        PutError::Entry(_) | PutError::Busy | PutError::Broken => "TR-SPOOL-WRITE",
                    };
                    let detail = self.0.spool.as_ref().and_then(Spool::last_failure);
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

    /// Sends whatever is due, for ever.
    async fn deliver(self) {
        loop {
            let next = self.0.delivery.borrow_mut().next(Instant::now());
            match next {
                Next::Send(seq) => {
                    spawn_local(self.clone().attempt(seq));
                }
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
        let Some(spool) = &self.0.spool else { return };
        let entry = match spool.get(seq).await {
            Ok(Ok(Some(entry))) => entry,
            // It has made room for something dearer.
            Ok(Ok(None)) => return self.ended(seq, Outcome::Status(200), None),
            Ok(Err(_)) | Err(_) => {
                tokio::time::sleep(LOOK_AGAIN).await;
                return self.ended(seq, Outcome::Failed, None);
            }
        };
        let answer = self.0.fetcher.fetch(signed(&entry)).await;
        let outcome = match &answer {
            Ok(Ok(response)) => Outcome::Status(response.status),
            Ok(Err(_)) | Err(_) => Outcome::Failed,
        };
        self.ended(seq, outcome, Some(&entry));
    }

    fn ended(&self, seq: Seq, outcome: Outcome, entry: Option<&Entry>) {
        let mut random = [0; 4];
        // Without randomness the boxes of a fleet only come back together.
        let _ = getrandom::fill(&mut random);
        let verdict =
            self.0.delivery.borrow_mut().ended(Instant::now(), seq, outcome, u32::from_ne_bytes(random));
        let call = entry.map(|entry| entry.subject.as_str());
        let status = match outcome {
            Outcome::Status(status) => Some(status),
            Outcome::Failed => None,
        };
        match verdict {
            Verdict::Taken => {
                if let Some(spool) = &self.0.spool {
                    spool.remove(seq);
                }
                self.0.sent.set(self.0.sent.get() + u64::from(entry.is_some()));
            }
            Verdict::Again(wait) => {
                let again_s = wait.as_secs();
                // A server that is away is told of once a call, not at each attempt.
                if wait <= FIRST_WAIT_MAX {
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
            }
            Verdict::Parked => {
                self.0.parked.set(self.0.parked.get() + 1);
                tracing::error!(
                    code = "TR-SPOOL-PARKED",
                    call,
                    status,
                    "a webhook was refused three times: it is kept until the next start"
                );
            }
        }
        self.0.changed.notify_one();
    }

    /// What the spool holds and has been through.
    pub(super) fn status(&self) -> Value {
        let counters = self.0.spool.as_ref().map(Spool::counters).unwrap_or_default();
        json!({
            "kept": self.0.spool.is_some(),
            "waiting": counters.waiting,
            "bytes": counters.bytes,
            "put": counters.put,
            "sent": self.0.sent.get(),
            "parked": self.0.parked.get(),
            "unsaved": self.0.unsaved.get(),
            "dropped_progress": counters.dropped[0],
            "dropped_final": counters.dropped[1],
            "damaged": counters.damaged,
            "failures": counters.failures,
            "forgotten": counters.forgotten,
        })
    }
}

/// Opens the spool, and enrolls what it holds.
fn spool(folder: &Path, delivery: &mut Delivery) -> Option<Spool> {
    let opened = match open(folder) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(code = "TR-SPOOL-WRITE", folder = %folder.display(), %error, "there is no spool: webhooks are sent once");
            return None;
        }
    };
    if let Some(aside) = opened.set_aside {
        tracing::error!(code = "TR-SPOOL-ASIDE", aside = %aside.display(), "the spool cannot be read and was set aside");
    }
    let again = folder.to_owned();
    let reopen = move || open(&again).ok().map(|opened| (Box::new(opened.store) as _, Some(opened.mark)));
    match Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(reopen)) {
        Ok((spool, found)) => {
            let SpoolCounters { damaged, forgotten, .. } = spool.counters();
            if damaged + forgotten > 0 {
                tracing::error!(code = "TR-SPOOL-GAP", damaged, forgotten, "the spool has lost something");
            }
            for found in found {
                delivery.add(Lane { server: found.server.into(), subject: found.subject.into() }, found.seq);
            }
            Some(spool)
        }
        Err(error) => {
            tracing::error!(code = "TR-SPOOL-WRITE", folder = %folder.display(), %error, "there is no spool: webhooks are sent once");
            None
        }
    }
}

/// The request, with what tells the receiver which webhook it is and when it was sent.
fn signed(entry: &Entry) -> tipring_model::fetch::HttpRequest {
    let mut request = entry.request.clone();
    let seconds = moment().unix_ms / 1_000;
    request.headers.push(("webhook-id".to_owned(), entry.id.clone()));
    request.headers.push(("webhook-timestamp".to_owned(), seconds.to_string()));
    request
}

/// A new name for a webhook.
fn new_id() -> String {
    let mut bytes = [0; 16];
    // The lines have read from the same source at their start.
    let _ = getrandom::fill(&mut bytes);
    format!("evt_{:032x}", u128::from_ne_bytes(bytes))
}
