//! Transfer: the far end of a leg asks that somebody else take its place, or is asked to call
//! somebody else in ours.
//!
//! The first is the line's work: the leg stays, and another party speaks on it, so that neither
//! the flow nor the action that joined the two notices. Only a dial that wants to be told
//! ([`Dial::takes_refer`](tipring_model::flow::Dial)) ends with it instead.

use std::time::{Duration, Instant};

use tipring_model::call::Direction;
use tipring_model::flow::{ActionFailure, Moment, Outcome, Referred, Step, Target};
use tipring_model::line::{LineCommand, ReferReply, Referral, TransferStage};
use tipring_model::prompt::{CallTone, PromptSource};
use tipring_model::{ActionId, CallerId, Cause, LegId, PlayId};

use crate::actions::{Running, Work};
use crate::call::Call;
use crate::contract::MediaCommand;
use crate::leg::LegState;

/// How long the far end may take to say what became of our REFER.
const REFER_MAX: Duration = Duration::from_secs(60);
/// How long a leg whose far end has been handed over is kept for the flow to hear of it.
const PARTING: Duration = Duration::from_secs(5);

/// A transfer that a far end asked for.
pub(crate) struct Transfer {
    /// Its leg.
    leg: LegId,
    /// For the record: who to whom.
    path: String,
    /// What the other party hears meanwhile.
    ringback: Option<(LegId, PlayId)>,
}

impl Call {
    // --- The far end asks.

    /// The far end of `leg` asks that somebody else take its place.
    pub(crate) fn refer_asked(&mut self, now: Moment, leg: LegId, referral: Box<Referral>) {
        /// RFC 3261 §21.6.2: declined, without a reason.
        const DECLINED: u16 = 603;
        let is_answered = self.leg(leg).is_some_and(|leg| leg.state == LegState::Answered);
        let is_known = self.transfers.iter().any(|transfer| transfer.leg == leg);
        if !is_answered || is_known || self.is_ending() {
            return self.line_command(LineCommand::EndTransfer { leg, status: DECLINED });
        }
        if referral.replaces.is_none() && self.flow_takes_referral(leg, &referral) {
            return;
        }
        if let Some(dial) = self.dial_that_takes_refer(leg) {
            self.line_command(LineCommand::EndTransfer { leg, status: 200 });
            return self.dial_referred(now, dial, referral.address);
        }
        let path = format!("{} to {}", self.name_of(leg), referral.to);
        self.transfers.push(Transfer { leg, path, ringback: None });
        let from = self.party_of(leg);
        self.line_command(LineCommand::Transfer { leg, from, referral });
    }

    /// How a transfer goes.
    pub(crate) fn transferring(&mut self, now: Moment, leg: LegId, stage: TransferStage) {
        let Some(at) = self.transfers.iter().position(|transfer| transfer.leg == leg) else {
            // The flow was asked, and has said how it ended; or it has taken too long.
            return self.referral_over(leg);
        };
        match stage {
            TransferStage::Ringing => {
                let party = self.leg(leg).and_then(|leg| leg.peer);
                let hears = self.transfers.get(at).is_some_and(|transfer| transfer.ringback.is_some());
                if let Some(party) = party.filter(|_| !hears) {
                    let play = self.play(party);
                    let source = PromptSource::Tone(CallTone::Ringback);
                    self.media(party, MediaCommand::Play { play, source, loops: u32::MAX });
                    if let Some(transfer) = self.transfers.get_mut(at) {
                        transfer.ringback = Some((party, play));
                    }
                }
            }
            TransferStage::Done => self.transfer_over(now, at, true, String::new()),
            TransferStage::Failed(status) => self.transfer_over(now, at, false, status.to_string()),
        }
    }

    fn transfer_over(&mut self, now: Moment, at: usize, success: bool, reason: String) {
        let transfer = self.transfers.remove(at);
        if let Some((party, play)) = transfer.ringback {
            self.media(party, MediaCommand::StopPlay(play));
        }
        let command = "Transfer".to_owned();
        self.step(now, Step { command, path: transfer.path, success, reason, tag: None });
    }

    /// Another telephone speaks on the leg from now on.
    pub(crate) fn replaced(&mut self, now: Moment, leg: LegId, by: &CallerId) {
        let path = format!("{} by {}", self.name_of(leg), by.number_or_anonymous());
        let command = "Replace".to_owned();
        self.step(now, Step { command, path, success: true, reason: String::new(), tag: None });
    }

    /// A leg is gone, and with it what was to become of it.
    pub(crate) fn transfers_leg_gone(&mut self, leg: LegId) {
        for transfer in &mut self.transfers {
            transfer.ringback = transfer.ringback.filter(|(party, _)| *party != leg);
        }
        let gone = self.transfers.iter().position(|transfer| transfer.leg == leg);
        if let Some(transfer) = gone.map(|at| self.transfers.remove(at))
            && let Some((party, play)) = transfer.ringback
        {
            self.media(party, MediaCommand::StopPlay(play));
        }
    }

    /// The number at the other end of a leg.
    fn name_of(&self, leg: LegId) -> String {
        self.number_of(leg).number_or_anonymous().to_owned()
    }

    fn number_of(&self, id: LegId) -> CallerId {
        let is_first = self.facts.leg == Some(id);
        match self.leg(id) {
            Some(leg) if !is_first => CallerId::of(&leg.to),
            Some(_) | None => match self.facts.direction {
                Direction::Inbound => self.facts.from.clone(),
                Direction::Outbound => CallerId::of(self.facts.to.as_str()),
            },
        }
    }

    /// Who is to be shown to the new party: the one that stays.
    fn party_of(&self, leg: LegId) -> CallerId {
        match self.leg(leg).and_then(|leg| leg.peer) {
            Some(peer) => self.number_of(peer),
            None => self.facts.from.clone(),
        }
    }

    // --- The far end is asked.

    pub(crate) fn begin_refer(&mut self, now: Moment, id: ActionId, on: LegId, to: Target) {
        if matches!(to, Target::Queue { .. } | Target::Session(_)) {
            return self.ended(id, Outcome::Failed(ActionFailure::NotOffered));
        }
        self.refer_by(now, id, on, LineCommand::Refer { leg: on, to });
    }

    /// Asks the far end by this command, which the line answers with [`LineEvent::Referred`](tipring_model::line::LineEvent).
    pub(crate) fn refer_by(&mut self, now: Moment, id: ActionId, on: LegId, command: LineCommand) {
        let asks = |running: &Running| running.leg == Some(on) && matches!(running.work, Work::Refer { .. });
        if self.running.iter().any(asks) {
            return self.ended(id, Outcome::Failed(ActionFailure::LegState));
        }
        self.run(id, on, Some(now.instant + REFER_MAX), Work::Refer { response: None });
        self.line_command(command);
    }

    /// What the far end says to our REFER.
    pub(crate) fn refer_replied(&mut self, now: Moment, leg: LegId, reply: ReferReply) {
        let asked = self.running.iter_mut().find_map(|running| {
            let Work::Refer { response } = &mut running.work else { return None };
            (running.leg == Some(leg)).then_some((running.id, response))
        });
        let Some((id, response)) = asked else { return };
        match reply {
            ReferReply::Answered(status) if status < 300 => *response = Some(status),
            ReferReply::Answered(status) => {
                self.end_action(id, Outcome::Referred(Referred { response: status, call: None }));
            }
            ReferReply::Ended(call) => {
                // RFC 3515 §2.4.4: who reports has taken the request, even if that got lost.
                let response = response.unwrap_or(202);
                self.end_action(id, Outcome::Referred(Referred { response, call }));
                if call.is_some_and(|status| (200..300).contains(&status)) {
                    // RFC 5589 §6.1: it is up to us to hang up.
                    self.parting.push((now.instant + PARTING, leg));
                }
            }
        }
    }

    /// Lets go of legs whose far ends have been handed over.
    pub(crate) fn part(&mut self, now: Moment) {
        let due = |(at, _): &mut (Instant, LegId)| *at <= now.instant;
        let due: Vec<(Instant, LegId)> = self.parting.extract_if(.., due).collect();
        for (_, leg) in due {
            self.release(leg, Cause::NormalClearing);
        }
    }

    /// The far end has said nothing, or not how it went.
    pub(crate) fn refer_late(&mut self, id: ActionId) {
        if let Some(Work::Refer { response }) = self.work_of(id) {
            let response = response.unwrap_or(408);
            self.end_action(id, Outcome::Referred(Referred { response, call: None }));
        }
    }
}
