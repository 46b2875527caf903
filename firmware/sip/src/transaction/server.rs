//! Server transactions: RFC 3261 §17.2, RFC 6026 §8.7 and §8.8.

use std::sync::Arc;
use std::time::Instant;

use super::{
    BRANCH_COOKIE, Key, Kind, State, Timer, Transaction, TransactionId, TransactionLayer, TransactionsFull,
};
use crate::hop::Hop;
use crate::message::Message;
use crate::method::Method;

/// What a request is to the transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<O> {
    /// Matches nothing: the user agent decides. An ACK for a 2xx arrives as this too.
    New,
    /// A retransmission, or the ACK of a refusal: done with.
    Absorbed,
    /// An ACK with the branch of an INVITE that was accepted.
    AckOfAccepted(O),
    /// The same request by another way (RFC 3261 §8.2.2.2): to be answered 482.
    Merged,
}

impl<O: Copy> TransactionLayer<O> {
    /// Matches a request against the server transactions (RFC 3261 §17.2.3) and answers
    /// retransmissions.
    pub fn arrival(&mut self, now: Instant, request: &Message) -> Arrival<O> {
        let is_ack = request.method() == Some(Method::Ack);
        self.server_key(request, if is_ack { b"INVITE" } else { request.method_text() });
        let Some(&id) = self.servers.get(self.scratch.as_slice()) else {
            let merged = !is_ack
                && request.to_tag().is_empty()
                && request.method() != Some(Method::Cancel)
                && self.merged.contains_key(&self.merged_key(request));
            return if merged { Arrival::Merged } else { Arrival::New };
        };
        let t4 = self.timing.t4;
        let Some(t) = self.get(id) else { return Arrival::New };
        if is_ack {
            return match t.state {
                State::Completed => {
                    t.state = State::Confirmed;
                    t.bytes = None;
                    let reliable = t.hop.transport.is_reliable();
                    self.set_timer(id, Timer::Retransmit, None);
                    if reliable {
                        self.remove(id);
                    } else {
                        self.set_timer(id, Timer::Expire, Some(now + t4));
                    }
                    Arrival::Absorbed
                }
                State::Accepted => Arrival::AckOfAccepted(t.owner),
                State::Trying | State::Proceeding | State::Confirmed => Arrival::Absorbed,
            };
        }
        let hop = t.hop;
        match t.state {
            State::Proceeding | State::Completed => {
                if let Some(bytes) = t.bytes.clone() {
                    self.send(hop, bytes);
                }
            }
            State::Trying | State::Accepted | State::Confirmed => {}
        }
        Arrival::Absorbed
    }

    /// Opens the server transaction of a request that [`TransactionLayer::arrival`] called new.
    /// Never for an ACK.
    ///
    /// # Errors
    /// [`TransactionsFull`].
    pub fn serve(
        &mut self,
        request: &Message,
        hop: Hop,
        owner: O,
    ) -> Result<TransactionId, TransactionsFull> {
        self.server_key(request, request.method_text());
        let key = Key::Server { key: self.scratch.as_slice().into(), merged: self.merged_key(request) };
        let invite = request.method() == Some(Method::Invite);
        self.insert(Transaction {
            kind: if invite { Kind::InviteServer } else { Kind::Server },
            state: if invite { State::Proceeding } else { State::Trying },
            hop,
            owner,
            key,
            bytes: None,
            interval: self.timing.t1,
            retransmit_at: None,
            expire_at: None,
        })
    }

    /// Gives a served request its answer. Answers after the final one are ignored, except that
    /// a 2xx to an INVITE may be repeated.
    pub fn respond(&mut self, now: Instant, id: TransactionId, status: u16, bytes: Arc<[u8]>) {
        let timing = self.timing;
        let Some(t) = self.get(id) else { return };
        let hop = t.hop;
        let reliable = hop.transport.is_reliable();
        match (t.kind, t.state) {
            (Kind::InviteServer | Kind::Server, State::Trying | State::Proceeding) => {}
            (Kind::InviteServer, State::Accepted) if (200..300).contains(&status) => {
                self.send(hop, bytes);
                return;
            }
            (Kind::InviteClient | Kind::Client | Kind::InviteServer | Kind::Server, _) => return,
        }
        let kind = t.kind;
        if status < 200 {
            t.state = State::Proceeding;
            t.bytes = Some(bytes.clone());
            self.send(hop, bytes);
            return;
        }
        if kind == Kind::InviteServer && status < 300 {
            t.state = State::Accepted;
            t.bytes = None;
            self.send(hop, bytes);
            self.set_timer(id, Timer::Expire, Some(now + timing.give_up()));
            return;
        }
        t.state = State::Completed;
        t.bytes = Some(bytes.clone());
        self.send(hop, bytes);
        if kind == Kind::InviteServer {
            if !reliable {
                self.set_timer(id, Timer::Retransmit, Some(now + timing.t1));
            }
            self.set_timer(id, Timer::Expire, Some(now + timing.give_up()));
        } else if reliable {
            self.remove(id);
        } else {
            self.set_timer(id, Timer::Expire, Some(now + timing.give_up()));
        }
    }

    /// The INVITE a CANCEL is about (RFC 3261 §9.2), while it has no final answer.
    pub fn cancelled(&mut self, cancel: &Message) -> Option<(TransactionId, O)> {
        self.server_key(cancel, b"INVITE");
        let id = *self.servers.get(self.scratch.as_slice())?;
        let t = self.get(id)?;
        Some((id, t.owner))
    }

    /// Changes whose a transaction is.
    pub fn set_owner(&mut self, id: TransactionId, owner: O) {
        if let Some(t) = self.get(id) {
            t.owner = owner;
        }
    }

    /// Writes the matching key of RFC 3261 §17.2.3 into `scratch`.
    fn server_key(&mut self, request: &Message, method: &[u8]) {
        let out = &mut self.scratch;
        out.clear();
        let Some(via) = request.top_via() else { return };
        let branch = via.branch();
        if branch.len() > BRANCH_COOKIE.len()
            && branch.get(..BRANCH_COOKIE.len()).is_some_and(|c| c.eq_ignore_ascii_case(BRANCH_COOKIE))
        {
            out.extend_from_slice(branch);
            out.push(b'\n');
            let host_at = out.len();
            out.extend_from_slice(via.host);
            if let Some(host) = out.get_mut(host_at..) {
                host.make_ascii_lowercase();
            }
            out.extend_from_slice(&via.port.unwrap_or(0).to_be_bytes());
        } else {
            // RFC 2543 has no unique branch: the request itself is the key. The To tag is left
            // out, because an ACK has one where its INVITE had none.
            out.push(b'\n');
            for part in [request.request_uri_text(), request.from_tag(), request.call_id(), via.head, branch]
            {
                out.extend_from_slice(part);
                out.push(b'\n');
            }
            out.extend_from_slice(&request.cseq().to_be_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(method);
    }
}
