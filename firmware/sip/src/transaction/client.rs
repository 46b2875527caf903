//! Client transactions: RFC 3261 §17.1, RFC 6026 §8.4 and §8.5.

use std::sync::Arc;
use std::time::Instant;

use super::{
    BRANCH_COOKIE, Key, Kind, State, Timer, Transaction, TransactionId, TransactionLayer, TransactionsFull,
};
use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lex;
use crate::message::{Message, Writer};
use crate::method::Method;

impl<O: Copy> TransactionLayer<O> {
    /// Sends a request whose first Via carries the branch `z9hG4bK` and `branch` in sixteen
    /// hexadecimal digits. `method` is never ACK.
    ///
    /// # Errors
    /// [`TransactionsFull`]; nothing was sent.
    pub fn request(
        &mut self,
        now: Instant,
        branch: u64,
        method: Method,
        hop: Hop,
        bytes: Arc<[u8]>,
        owner: O,
    ) -> Result<TransactionId, TransactionsFull> {
        let kind = if method == Method::Invite { Kind::InviteClient } else { Kind::Client };
        let id = self.insert(Transaction {
            kind,
            state: State::Trying,
            hop,
            owner,
            key: Key::Client(branch, method),
            bytes: Some(bytes.clone()),
            interval: self.timing.t1,
            retransmit_at: None,
            expire_at: None,
        })?;
        if !hop.transport.is_reliable() {
            self.set_timer(id, Timer::Retransmit, Some(now + self.timing.t1));
        }
        self.set_timer(id, Timer::Expire, Some(now + self.timing.give_up()));
        self.send(hop, bytes);
        Ok(id)
    }

    /// Takes a response. Returns its transaction's owner when the user agent must see it;
    /// `None` for a retransmission or a response to nothing.
    pub fn response(&mut self, now: Instant, response: &Message) -> Option<(TransactionId, O)> {
        let status = response.status()?;
        let via = response.top_via()?;
        let branch = lex::unhex16(via.branch().strip_prefix(BRANCH_COOKIE)?)?;
        let id = *self.clients.get(&(branch, response.cseq_method()))?;
        let timing = self.timing;
        let t = self.get(id)?;
        let owner = t.owner;
        let hop = t.hop;
        let reliable = hop.transport.is_reliable();
        match (t.kind, t.state) {
            (Kind::InviteClient, State::Trying | State::Proceeding) => {
                self.set_timer(id, Timer::Retransmit, None);
                if status < 200 {
                    // Timer B stops with the first answer; how long it may ring is the user
                    // agent's affair.
                    self.set_timer(id, Timer::Expire, None);
                    self.get(id)?.state = State::Proceeding;
                } else if status < 300 {
                    let t = self.get(id)?;
                    t.state = State::Accepted;
                    t.bytes = None;
                    self.set_timer(id, Timer::Expire, Some(now + timing.give_up()));
                } else {
                    let request = self.get(id)?.bytes.take()?;
                    let ack = build_ack(&mut self.writer, &request, response)?;
                    self.send(hop, ack.clone());
                    if reliable {
                        self.remove(id);
                    } else {
                        let t = self.get(id)?;
                        t.state = State::Completed;
                        t.bytes = Some(ack);
                        self.set_timer(id, Timer::Expire, Some(now + timing.give_up()));
                    }
                }
                Some((id, owner))
            }
            (Kind::InviteClient, State::Completed) => {
                if status >= 300
                    && let Some(ack) = t.bytes.clone()
                {
                    self.send(hop, ack);
                }
                None
            }
            (Kind::InviteClient, State::Accepted) => (200..300).contains(&status).then_some((id, owner)),
            (Kind::Client, State::Trying | State::Proceeding) => {
                if status < 200 {
                    t.state = State::Proceeding;
                } else if reliable {
                    self.remove(id);
                } else {
                    t.state = State::Completed;
                    t.bytes = None;
                    self.set_timer(id, Timer::Retransmit, None);
                    self.set_timer(id, Timer::Expire, Some(now + timing.t4));
                }
                Some((id, owner))
            }
            (Kind::InviteClient | Kind::Client | Kind::InviteServer | Kind::Server, _) => None,
        }
    }

    /// Lets an INVITE that has a provisional answer time out at `at`, which nothing in the RFC
    /// does for it.
    pub fn limit(&mut self, id: TransactionId, at: Instant) {
        let open = self.get(id).is_some_and(|t| t.kind == Kind::InviteClient && t.state == State::Proceeding);
        if open {
            self.set_timer(id, Timer::Expire, Some(at));
        }
    }

    /// Sends the CANCEL of an INVITE that has had a provisional answer (RFC 3261 §9.1). False
    /// when the INVITE has none yet or has its final answer: then there is nothing to cancel.
    pub fn cancel(&mut self, now: Instant, invite: TransactionId, owner: O) -> bool {
        let give_up = self.timing.give_up();
        let Some(t) = self.get(invite) else { return false };
        if t.kind != Kind::InviteClient || t.state != State::Proceeding {
            return false;
        }
        let hop = t.hop;
        let (Some(request), &Key::Client(branch, _)) = (t.bytes.clone(), &t.key) else {
            return false;
        };
        let Some(bytes) = build_cancel(&mut self.writer, &request) else { return false };
        // A peer that answers neither is forgotten after 64*T1.
        self.set_timer(invite, Timer::Expire, Some(now + give_up));
        self.request(now, branch, Method::Cancel, hop, bytes, owner).is_ok()
    }
}

/// The ACK of a final answer other than 2xx: RFC 3261 §17.1.1.3.
fn build_ack(writer: &mut Writer, request: &[u8], response: &Message) -> Option<Arc<[u8]>> {
    let request = Message::from_frame(request).ok()?;
    let w = hop_by_hop(writer, &request, Method::Ack);
    w.raw("To", response.raw_to());
    Some(w.end().into())
}

/// RFC 3261 §9.1: everything as in the INVITE, with one Via.
fn build_cancel(writer: &mut Writer, request: &[u8]) -> Option<Arc<[u8]>> {
    let request = Message::from_frame(request).ok()?;
    let w = hop_by_hop(writer, &request, Method::Cancel);
    w.raw("To", request.raw_to());
    Some(w.end().into())
}

fn hop_by_hop<'w>(writer: &'w mut Writer, request: &Message, method: Method) -> &'w mut Writer {
    let uri = String::from_utf8_lossy(request.request_uri_text());
    let w = writer.request(method, &uri);
    if let Some(via) = request.header(HeaderName::Via) {
        w.raw("Via", via);
    }
    w.number("Max-Forwards", 70);
    for route in request.header_lines(HeaderName::Route) {
        w.raw("Route", route);
    }
    w.raw("From", request.raw_from());
    w.raw("Call-ID", request.call_id());
    w.with("CSeq", |out| {
        lex::write_number(out, u64::from(request.cseq()));
        out.push(b' ');
        out.extend_from_slice(method.as_str().as_bytes());
    })
}
