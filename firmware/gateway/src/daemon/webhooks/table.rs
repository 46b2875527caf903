//! The table of webhooks for whoever asks over the control socket: what there is, one in
//! full, sent again, dropped, out to a file and in again.
//!
//! Every request looks at a bounded number of records and says where to go on.

use std::time::Instant;

use serde_json::{Value, json};
use tipring_model::fetch::HttpRequest;
use tipring_spool::{Entry, Item, PutError, RECORD_BYTES_MAX, Seq, Shelf, State};

use super::{LastReply, Webhooks, event, lane};
use crate::daemon::switchboard::moment;
use crate::masking;

/// Records read for one answer.
const SCAN_MAX: usize = 2_000;
/// Records read at a time.
const PAGE_MAX: usize = 100;
/// Rows in one answer.
const ROWS_MAX: usize = 500;
/// Webhooks of an export in one answer.
const LINES_MAX: usize = 100;

/// Why a request gives no answer.
enum Refusal {
    /// It makes no sense.
    Request,
    /// The store cannot be read or written now.
    Store(PutError),
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Self {
        Self::Store(error)
    }
}

impl Refusal {
    const fn code(&self) -> &'static str {
        match self {
            Self::Request => "TR-CONTROL-REQUEST",
            Self::Store(PutError::Full) => "TR-SPOOL-FULL",
            Self::Store(PutError::Entry(_) | PutError::Busy | PutError::Held(_) | PutError::Broken) => {
                "TR-SPOOL-WRITE"
            }
        }
    }
}

/// What is looked for.
struct Filter {
    shelf: Option<Shelf>,
    is_trying: Option<bool>,
    server: Option<String>,
    call: Option<String>,
}

impl Filter {
    fn read(request: &Value) -> Result<Self, Refusal> {
        let text = |key: &str| request.get(key).and_then(Value::as_str).map(str::to_owned);
        let (shelf, is_trying) = match request.get("state").and_then(Value::as_str) {
            None => (None, None),
            Some("queued") => (Some(Shelf::Queued), Some(false)),
            Some("trying") => (Some(Shelf::Queued), Some(true)),
            Some("parked") => (Some(Shelf::Parked), None),
            Some("sent") => (Some(Shelf::Sent), None),
            Some(_) => return Err(Refusal::Request),
        };
        Ok(Self { shelf, is_trying, server: text("server"), call: text("call") })
    }

    fn wants(&self, entry: &Entry, is_trying: bool) -> bool {
        self.is_trying.is_none_or(|wanted| wanted == is_trying)
            && self.server.as_ref().is_none_or(|server| entry.server().contains(server.as_str()))
            && self.call.as_ref().is_none_or(|call| entry.subject.starts_with(call.as_str()))
    }
}

fn number(request: &Value, key: &str) -> Option<u64> {
    request.get(key).and_then(Value::as_u64)
}

fn millis(request: &Value, key: &str) -> Option<i64> {
    request.get(key).and_then(Value::as_i64)
}

impl Webhooks {
    /// Answers a request whose `do` begins with `spool-`.
    pub(in crate::daemon) async fn answer(&self, request: &Value) -> Value {
        let answer = match request.get("do").and_then(Value::as_str) {
            Some("spool-ls") => self.list(request).await,
            Some("spool-show") => self.show(request).await,
            Some("spool-replay") => self.replay(request).await,
            Some("spool-drop") => self.drop_named(request).await,
            Some("spool-stats") => self.stats().await,
            Some("spool-export") => self.export(request).await,
            Some("spool-import") => self.import(request).await,
            Some(_) | None => Err(Refusal::Request),
        };
        answer.unwrap_or_else(|refusal| json!({ "error": refusal.code() }))
    }

    async fn page(&self, after: Seq, shelf: Option<Shelf>) -> Result<Vec<(Seq, Entry)>, Refusal> {
        Ok(self.0.spool.page(after, shelf, PAGE_MAX).await.unwrap_or(Err(PutError::Broken))?)
    }

    async fn list(&self, request: &Value) -> Result<Value, Refusal> {
        let filter = Filter::read(request)?;
        let most = number(request, "limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(ROWS_MAX);
        let most = most.min(ROWS_MAX);
        let mut after = Seq(number(request, "after").unwrap_or(0));
        let (mut rows, mut scanned) = (Vec::new(), 0);
        loop {
            let page = self.page(after, filter.shelf).await?;
            let is_last = page.len() < PAGE_MAX;
            for (seq, entry) in page {
                if rows.len() >= most {
                    return Ok(json!({ "rows": rows, "next": after.0 }));
                }
                after = seq;
                scanned += 1;
                let row = self.row(seq, &entry);
                if filter.wants(&entry, row["state"] == "trying") {
                    rows.push(row);
                }
            }
            if is_last {
                return Ok(json!({ "rows": rows, "next": null }));
            }
            if scanned >= SCAN_MAX {
                return Ok(json!({ "rows": rows, "next": after.0 }));
            }
        }
    }

    fn row(&self, seq: Seq, entry: &Entry) -> Value {
        let now = Instant::now();
        let standing = self.0.delivery.borrow().standing(now, &lane(entry), seq);
        let (state, attempts, status) = match &entry.state {
            State::Queued if standing.attempts > 0 => ("trying", standing.attempts, standing.status),
            State::Queued => ("queued", 0, None),
            State::Parked(end) | State::Sent(end) => (entry.state.as_str(), end.attempts, end.status),
        };
        let next_s = standing.next.map(|at| at.saturating_duration_since(now).as_secs());
        let why = match &entry.state {
            State::Parked(end) => Some(end.why.as_str()),
            State::Queued | State::Sent(_) => None,
        };
        json!({
            "seq": seq.0,
            "id": entry.id,
            "put_unix_ms": entry.put_unix_ms,
            "age_s": moment().unix_ms.saturating_sub(entry.put_unix_ms) / 1_000,
            "topic": entry.topic,
            "call": entry.subject,
            "server": entry.server(),
            "class": entry.class.as_str(),
            "state": state,
            "why": why,
            "on_its_way": standing.on_its_way,
            "attempts": attempts,
            "status": status,
            "next_s": next_s,
            "bytes": entry.request.body.as_ref().map_or(0, |body| body.bytes.len()),
        })
    }

    /// The webhook that somebody names by its id or number.
    async fn named(&self, name: &str) -> Result<Option<(Seq, Entry)>, Refusal> {
        let spool = &self.0.spool;
        if let Ok(seq) = name.parse() {
            let entry = spool.get(Seq(seq)).await.unwrap_or(Err(PutError::Broken))?;
            return Ok(entry.map(|entry| (Seq(seq), entry)));
        }
        Ok(spool.find(name).await.unwrap_or(Err(PutError::Broken))?)
    }

    async fn show(&self, request: &Value) -> Result<Value, Refusal> {
        let name = request.get("id").and_then(Value::as_str).ok_or(Refusal::Request)?;
        let Some((seq, entry)) = self.named(name).await? else {
            return Ok(json!({ "error": "TR-SPOOL-NO-WEBHOOK" }));
        };
        let reply = match &entry.state {
            State::Parked(end) | State::Sent(end) => {
                LastReply { status: end.status, text: end.reply.clone() }
            }
            State::Queued => self.0.replies.borrow().get(&seq).cloned().unwrap_or_default(),
        };
        let sent = self.signed(&entry, Some(seq), 0);
        let headers: Vec<Value> =
            sent.headers.iter().map(|(name, value)| json!([name, masking::header(name, value)])).collect();
        Ok(json!({
            "row": self.row(seq, &entry),
            "request": {
                "method": sent.method.as_str(),
                "url": masking::url(&sent.url),
                "headers": headers,
                "media_type": sent.body.as_ref().map(|body| body.media_type.as_str()),
                "body": sent.body.as_ref().map(|body| masking::text(&String::from_utf8_lossy(&body.bytes))),
            },
            "reply": { "status": reply.status, "text": masking::text(&reply.text) },
            "curl": curl(&sent),
        }))
    }

    /// Sends one again: under the same id, after what waits in its lane.
    fn send_again(&self, seq: Seq, mut entry: Entry) {
        if entry.state == State::Queued {
            self.0.delivery.borrow_mut().hurry(&lane(&entry));
        } else {
            entry.state = State::Queued;
            self.0.spool.settle(seq, &entry);
            let item = Item { seq, class: entry.class, found: None };
            self.0.delivery.borrow_mut().add(Instant::now(), lane(&entry), item);
        }
        self.0.changed.notify_one();
    }

    async fn replay(&self, request: &Value) -> Result<Value, Refusal> {
        self.0.spool.retry();
        let mut replayed = 0_u64;
        if let Some(names) = request.get("ids").and_then(Value::as_array) {
            let mut missing = Vec::new();
            for name in names.iter().filter_map(Value::as_str) {
                match self.named(name).await? {
                    Some((seq, entry)) => {
                        self.send_again(seq, entry);
                        replayed += 1;
                    }
                    None => missing.push(name),
                }
            }
            return Ok(json!({ "replayed": replayed, "missing": missing }));
        }
        let shelf = match request.get("state").and_then(Value::as_str) {
            Some("parked") => Shelf::Parked,
            Some("sent") => Shelf::Sent,
            Some(_) | None => return Err(Refusal::Request),
        };
        let since = millis(request, "since_unix_ms").unwrap_or(i64::MIN);
        let until = millis(request, "until_unix_ms").unwrap_or(i64::MAX);
        let mut after = Seq(0);
        loop {
            let page = self.page(after, Some(shelf)).await?;
            let is_last = page.len() < PAGE_MAX;
            for (seq, entry) in page {
                after = seq;
                if let State::Parked(end) | State::Sent(end) = &entry.state
                    && (since..=until).contains(&end.at_unix_ms)
                {
                    self.send_again(seq, entry);
                    replayed += 1;
                }
            }
            if is_last {
                // Many at once are a backlog, which nobody else has to wait for.
                self.0.delivery.borrow_mut().begin(Instant::now(), 0);
                return Ok(json!({ "replayed": replayed, "missing": [] }));
            }
        }
    }

    async fn drop_named(&self, request: &Value) -> Result<Value, Refusal> {
        let names = request.get("ids").and_then(Value::as_array).ok_or(Refusal::Request)?;
        let (mut dropped, mut missing) = (0_u64, Vec::new());
        for name in names.iter().filter_map(Value::as_str) {
            match self.named(name).await? {
                Some((seq, entry)) => {
                    if entry.state == State::Queued {
                        self.0.delivery.borrow_mut().forget(&lane(&entry), seq);
                    }
                    self.0.spool.remove(seq);
                    tracing::warn!(id = entry.id, call = entry.subject, "a webhook was dropped by hand");
                    dropped += 1;
                }
                None => missing.push(name),
            }
        }
        self.0.changed.notify_one();
        Ok(json!({ "dropped": dropped, "missing": missing }))
    }

    async fn stats(&self) -> Result<Value, Refusal> {
        let oldest =
            self.0.spool.page(Seq(0), Some(Shelf::Queued), 1).await.unwrap_or(Err(PutError::Broken))?;
        let age_s = oldest.first().map(|(_, entry)| (moment().unix_ms - entry.put_unix_ms) / 1_000);
        let servers: Vec<Value> = {
            let delivery = self.0.delivery.borrow();
            delivery
                .servers()
                .take(ROWS_MAX)
                .map(|(server, waiting, mood)| {
                    json!({ "server": server, "waiting": waiting, "state": mood.as_str() })
                })
                .collect()
        };
        let mut stats = self.status();
        stats["oldest_s"] = json!(age_s);
        stats["servers"] = json!(servers);
        stats["dropped"] = event::dropped(&self.0.spool.counters().dropped);
        Ok(stats)
    }

    async fn export(&self, request: &Value) -> Result<Value, Refusal> {
        let mut after = Seq(number(request, "after").unwrap_or(0));
        let page = self.page(after, None).await?;
        let is_last = page.len() < PAGE_MAX;
        let mut lines = Vec::new();
        for (seq, entry) in page.into_iter().take(LINES_MAX) {
            after = seq;
            if !matches!(entry.state, State::Sent(_)) {
                lines.push(entry.to_line(seq).map_err(PutError::from)?);
            }
        }
        Ok(json!({ "lines": lines, "next": if is_last { Value::Null } else { after.0.into() } }))
    }

    async fn import(&self, request: &Value) -> Result<Value, Refusal> {
        let lines = request.get("lines").and_then(Value::as_array).ok_or(Refusal::Request)?;
        let entries: Result<Vec<Entry>, _> =
            lines.iter().map(|line| Entry::from_line(&line.to_string())).collect();
        let entries = entries.map_err(|_| Refusal::Request)?;
        let seqs = self.0.spool.import(entries.clone()).await.unwrap_or(Err(PutError::Broken))?;
        self.enroll_imported(&entries, &seqs);
        let taken = seqs.iter().flatten().count();
        Ok(json!({ "taken": taken, "known": seqs.len() - taken }))
    }
}

/// The request as a command for a shell, without its secrets.
fn curl(request: &HttpRequest) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let mut words =
        vec!["curl -X".to_owned(), request.method.as_str().to_owned(), quoted(&masking::url(&request.url))];
    let mut header = |name: &str, value: &str| {
        words.push(format!("-H {}", quoted(&format!("{name}: {}", masking::header(name, value)))));
    };
    for (name, value) in &request.headers {
        header(name, value);
    }
    if let Some(body) = &request.body {
        header("Content-Type", &body.media_type);
        let cut = &body.bytes[..body.bytes.len().min(RECORD_BYTES_MAX)];
        words.push(format!("--data-binary {}", quoted(&masking::text(&String::from_utf8_lossy(cut)))));
    }
    words.join(" ")
}
