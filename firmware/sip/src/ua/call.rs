//! The state of one call and the table of all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::{CallKey, Invite, Peer};
use crate::auth::DigestClient;
use crate::dialog::Dialog;
use crate::hop::Hop;
use crate::message::Message;
use crate::transaction::TransactionId;

/// Most forks of one outgoing call.
pub(super) const FORKS_MAX: usize = 8;

/// Timers of a call; each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CallTimer {
    /// Send our 2xx again until the ACK comes (RFC 3261 §13.3.1.4).
    Repeat2xx,
    /// 64*T1 after our 2xx: give up on the ACK.
    AckMissing,
    /// Send our re-INVITE again after a 491 (RFC 3261 §14.1).
    Glare,
    /// An outgoing call has rung long enough.
    RangOut,
    /// An incoming call has had no answer of any kind for 200 ms: it gets a 100.
    Trying,
}

pub(super) const CALL_TIMERS: [CallTimer; 5] =
    [CallTimer::Repeat2xx, CallTimer::AckMissing, CallTimer::Glare, CallTimer::RangOut, CallTimer::Trying];

/// How long the application has for an answer that makes a 100 needless (RFC 3261 §17.2.1).
pub(super) const TRYING_AFTER: Duration = Duration::from_millis(200);

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Incoming, without a final answer.
    Offered,
    /// Outgoing, without a final answer.
    Placed,
    /// Outgoing, hung up here before the final answer: waiting for it.
    Cancelling,
    /// Answered.
    Up,
    /// Incoming, answered and hung up before the ACK: BYE follows the ACK.
    ByeAfterAck,
    /// BYE sent.
    Ending,
    /// Over; what became of the transfer that the peer asked for is still to be reported.
    Reporting,
}

/// Our 2xx to an INVITE until its ACK comes.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    pub(super) seq: u32,
    pub(super) bytes: Arc<[u8]>,
    pub(super) interval: Duration,
    /// The 2xx carried our offer, so the ACK must carry the answer.
    pub(super) offered: bool,
    /// It answers the INVITE that opened the call, not a later one.
    pub(super) first: bool,
}

/// A re-INVITE or UPDATE of the peer that the application has not answered.
#[derive(Debug)]
pub(super) struct PeerOffer {
    pub(super) transaction: TransactionId,
    pub(super) request: Arc<Message>,
}

/// A re-INVITE of ours.
#[derive(Debug)]
pub(super) struct OwnOffer {
    pub(super) sdp: Box<[u8]>,
    /// Under way; otherwise waiting for [`CallTimer::Glare`].
    pub(super) sent: bool,
    pub(super) glares: u8,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) peer: Peer,
    pub(super) hop: Hop,
    pub(super) stage: Stage,
    /// True when we sent the first INVITE: decides the pause after glare.
    pub(super) outgoing: bool,
    pub(super) local_tag: u64,
    pub(super) contact: Box<str>,
    pub(super) dialog: Option<Dialog>,
    /// Early dialogs of an outgoing call, and after the answer the tags of extra 2xx.
    pub(super) forks: Vec<Dialog>,
    pub(super) transaction: Option<TransactionId>,
    /// The INVITE of an incoming call until its final answer.
    pub(super) request: Option<Arc<Message>>,
    /// The INVITE of an outgoing call until its final answer.
    pub(super) invite: Option<Box<Placed>>,
    pub(super) unconfirmed: Option<Box<Unconfirmed>>,
    pub(super) peer_offer: Option<Box<PeerOffer>>,
    pub(super) own_offer: Option<Box<OwnOffer>>,
    /// Our last ACK and its CSeq, for repeated 2xx.
    pub(super) ack: Option<(u32, Arc<[u8]>)>,
    pub(super) digest: Option<Box<DigestClient>>,
    /// Header fields for the next answer, refusal or BYE.
    pub(super) extras: Vec<(String, String)>,
    /// The application wants INFO and MESSAGE of the peer.
    pub(super) takes_texts: bool,
    /// A REFER of ours is under way, to this address.
    pub(super) refers: bool,
    pub(super) refer_target: Box<str>,
    pub(super) refer_headers: Vec<(String, String)>,
    pub(super) timers: [Option<Instant>; CALL_TIMERS.len()],
}

/// What an outgoing call needs to send its INVITE again.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) invite: Invite,
    pub(super) call_id: String,
    pub(super) seq: u32,
    pub(super) cancel_sent: bool,
}

impl Call {
    pub(super) fn new(peer: Peer, hop: Hop, stage: Stage, local_tag: u64, contact: String) -> Call {
        Call {
            peer,
            hop,
            stage,
            outgoing: stage == Stage::Placed,
            local_tag,
            contact: contact.into(),
            dialog: None,
            forks: Vec::new(),
            transaction: None,
            request: None,
            invite: None,
            unconfirmed: None,
            peer_offer: None,
            own_offer: None,
            ack: None,
            digest: None,
            extras: Vec::new(),
            takes_texts: false,
            refers: false,
            refer_target: Box::default(),
            refer_headers: Vec::new(),
            timers: [None; CALL_TIMERS.len()],
        }
    }

    /// The header fields for the next message, once.
    pub(super) fn take_extras(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.extras)
    }

    /// The dialog a message with this Call-ID and peer's tag belongs to, early or confirmed.
    pub(super) fn dialog_with(&mut self, call_id: &[u8], tag: &[u8]) -> Option<&mut Dialog> {
        self.dialog.iter_mut().chain(self.forks.iter_mut()).find(|d| d.is_with(call_id, tag))
    }
}

/// Header fields as an [`Answer`](super::Answer) wants them.
pub(super) fn pairs(headers: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// All calls, by generation-checked key.
#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<(u32, Option<Box<Call>>)>,
    free: Vec<u32>,
}

impl Calls {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, call: Call) -> CallKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.0 = slot.0.wrapping_add(1);
            generation = slot.0;
            slot.1 = Some(Box::new(call));
        }
        CallKey { index, generation }
    }

    pub(super) fn get(&mut self, key: CallKey) -> Option<&mut Call> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.0 == key.generation { slot.1.as_deref_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: CallKey) -> Option<Box<Call>> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.0 != key.generation {
            return None;
        }
        let call = slot.1.take()?;
        self.free.push(key.index);
        Some(call)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = CallKey> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, s)| s.1.is_some())
            .map(|(index, s)| CallKey { index: index as u32, generation: s.0 })
    }
}
