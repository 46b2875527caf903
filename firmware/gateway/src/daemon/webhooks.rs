//! Webhooks: into the spool first, then to their server until it takes them.
//!
//! They have threads of their own, so that a server that is slow to be told something
//! holds up no document that a caller waits for.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};
use tipring_model::CallId;
use tipring_model::fetch::{FetchError, HttpRequest};
use tipring_model::flow::Notice;
use tipring_spool::{
    Class, Delivery, Entry, Lane, MemoryStore, Next, ON_THEIR_WAY_MAX, Outcome, PutError, Secret, Seq, Spool,
    SpoolCounters, StoreError, Verdict, open, reopen, signature,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_local;

use super::switchboard::moment;
use crate::fetch::{AllowList, FetchSettings, Fetcher};

/// Webhooks that wait for the disk.
const WRITING_MAX: usize = 4_096;

/// Where webhooks go.
#[derive(Clone)]
pub(super) struct Webhooks(Rc<Inner>);

struct Inner {
    spool: Spool,
    /// The spool is on the disk; where its folder cannot be used, it is in memory.
    kept: bool,
    delivery: RefCell<Delivery>,
    fetcher: Fetcher,
    secrets: Vec<Secret>,
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
    ///
    /// # Errors
    /// [`StoreError`] if not even a spool in memory can be had.
    pub(super) fn open(
        folder: &Path,
        secrets: Vec<Secret>,
        allow: AllowList,
        own: Vec<SocketAddr>,
    ) -> Result<Self, StoreError> {
        let settings = FetchSettings { allow, threads_max: ON_THEIR_WAY_MAX, ..FetchSettings::default() };
        let fetcher = Fetcher::new(settings);
        fetcher.set_own(own);
        let mut delivery = Delivery::default();
        let (spool, kept) = match spool(folder, &mut delivery) {
            Some(spool) => (spool, true),
            None => (Spool::start(Box::new(MemoryStore::default()), None, Box::new(|| None))?.0, false),
        };
        let (writing, written) = mpsc::channel(WRITING_MAX);
        let webhooks = Self(Rc::new(Inner {
            spool,
            kept,
            delivery: RefCell::new(delivery),
            fetcher,
            secrets,
            changed: Notify::new(),
            writing,
            sent: Cell::default(),
            parked: Cell::default(),
            unsaved: Cell::default(),
        }));
        spawn_local(webhooks.clone().enroll(written));
        spawn_local(webhooks.clone().deliver());
        Ok(webhooks)
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
        let answer = self.0.spool.put(&entry);
        if let Err(refused) = self.0.writing.try_send(Writing { entry, answer }) {
            self.send_unsaved(refused.into_inner().entry);
        }
    }

    /// Sends what the disk would not take, once.
    fn send_unsaved(&self, entry: Entry) {
        self.0.unsaved.set(self.0.unsaved.get() + 1);
        drop(self.0.fetcher.fetch(self.signed(&entry)));
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
        let entry = match self.0.spool.get(seq).await {
            Ok(Ok(Some(entry))) => entry,
            // It has made room for something dearer.
            Ok(Ok(None)) => return self.ended(seq, Outcome::Gone, None),
            Ok(Err(_)) | Err(_) => return self.ended(seq, Outcome::NotSent, None),
        };
        let answer = self.0.fetcher.fetch(self.signed(&entry)).await;
        let outcome = match &answer {
            Ok(Ok(response)) => Outcome::Status(response.status),
            Ok(Err(FetchError::Overload)) | Err(_) => Outcome::NotSent,
            Ok(Err(FetchError::TooManyRedirects)) => Outcome::Status(302),
            Ok(Err(FetchError::BadUrl | FetchError::AddressRefused)) => Outcome::Unsendable,
            Ok(Err(_)) => Outcome::Silence,
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
            Outcome::Silence | Outcome::Unsendable | Outcome::NotSent | Outcome::Gone => None,
        };
        match verdict {
            Verdict::Taken => {
                self.0.spool.remove(seq);
                self.0.sent.set(self.0.sent.get() + u64::from(entry.is_some()));
            }
            Verdict::Again { after, first } => {
                let again_s = after.as_secs();
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

    /// The request, with what tells the receiver which webhook it is, when it was sent, and
    /// that it comes from this box (Standard Webhooks).
    fn signed(&self, entry: &Entry) -> HttpRequest {
        let mut request = entry.request.clone();
        // Where a redirect leads, nobody has taken anything.
        request.redirects_max = 0;
        let unix_s = moment().unix_ms / 1_000;
        let body = request.body.as_ref().map_or(&[][..], |body| &body.bytes);
        let signature = signature(&self.0.secrets, &entry.id, unix_s, body);
        request.headers.push(("webhook-id".to_owned(), entry.id.clone()));
        request.headers.push(("webhook-timestamp".to_owned(), unix_s.to_string()));
        if !signature.is_empty() {
            request.headers.push(("webhook-signature".to_owned(), signature));
        }
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
            tracing::error!(code = "TR-SPOOL-WRITE", folder = %folder.display(), %error, "the spool is in memory: a restart loses what waits");
            return None;
        }
    };
    if let Some(aside) = opened.set_aside {
        tracing::error!(code = "TR-SPOOL-ASIDE", aside = %aside.display(), "the spool cannot be read and was set aside");
    }
    let again = folder.to_owned();
    let again = move || reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)));
    match Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again)) {
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
            tracing::error!(code = "TR-SPOOL-WRITE", folder = %folder.display(), %error, "the spool is in memory: a restart loses what waits");
            None
        }
    }
}

/// A new name for a webhook.
fn new_id() -> String {
    let mut bytes = [0; 16];
    // The lines have read from the same source at their start.
    let _ = getrandom::fill(&mut bytes);
    format!("evt_{:032x}", u128::from_ne_bytes(bytes))
}
