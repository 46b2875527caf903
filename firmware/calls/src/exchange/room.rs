//! A room in which everybody hears everybody.

use std::collections::VecDeque;

use tipring_model::LegId;
use tipring_model::flow::{Conference, RoomEvent};

use super::{ExchangeEvent, ExchangeOutput, Seat};

/// One room; it exists while somebody is in it.
#[derive(Default)]
pub(super) struct Room {
    members: Vec<Member>,
    began: bool,
    /// The member on whose leg it is recorded.
    recorder: Option<Seat>,
}

struct Member {
    seat: Seat,
    name: String,
    held: bool,
    records: bool,
    muted: bool,
    deaf: bool,
    ends: bool,
    tone_out: bool,
    coaches: Option<String>,
}

impl Member {
    /// Whether `other` hears this one.
    fn is_heard_by(&self, other: &Self) -> bool {
        let meant = self.coaches.as_ref().is_none_or(|name| *name == other.name);
        !self.muted && !self.held && !other.deaf && meant && self.seat != other.seat
    }
}

impl Room {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> {
        self.members.iter().map(|member| member.seat)
    }

    pub(super) fn enter(&mut self, seat: Seat, spec: Conference, outputs: &mut VecDeque<ExchangeOutput>) {
        if self.members.len() >= spec.members_max {
            return outputs.push_back(ExchangeOutput::Tell(seat, ExchangeEvent::Full));
        }
        let member = Member {
            seat,
            name: spec.name,
            held: false,
            records: spec.records,
            muted: spec.muted,
            deaf: spec.deaf,
            ends: spec.ends,
            tone_out: spec.tone_out,
            coaches: spec.coaches,
        };
        let members = self.members.len() + 1;
        let coaches = member.coaches.as_ref();
        let coached = coaches.is_none_or(|name| self.members.iter().any(|other| other.name == *name));
        let begins_now = spec.begins && !self.began;
        for other in &self.members {
            let event = ExchangeEvent::Room(RoomEvent::Joined { members });
            outputs.push_back(ExchangeOutput::Tell(other.seat, event));
            if spec.tone_in && self.began {
                outputs.push_back(ExchangeOutput::Tell(other.seat, ExchangeEvent::ToneIn));
            }
        }
        self.members.push(member);
        let began = self.began || begins_now;
        let entered = ExchangeEvent::Room(RoomEvent::Entered { members, began, coached });
        outputs.push_back(ExchangeOutput::Tell(seat, entered));
        self.choose_recorder(outputs);
        if begins_now {
            self.began = true;
            for other in self.members.iter().filter(|other| other.seat != seat) {
                let event = ExchangeEvent::Room(RoomEvent::Began);
                outputs.push_back(ExchangeOutput::Tell(other.seat, event));
            }
            for (at, member) in self.members.iter().enumerate() {
                for earlier in self.members.iter().take(at) {
                    wire(earlier, member, outputs, true);
                }
            }
        } else if self.began
            && let Some((new, others)) = self.members.split_last()
        {
            for other in others {
                wire(other, new, outputs, true);
            }
        }
    }

    /// Whoever is on hold sends music or nothing.
    pub(super) fn hold(&mut self, seat: Seat, held: bool, outputs: &mut VecDeque<ExchangeOutput>) {
        let Some(at) = self.members.iter().position(|member| member.seat == seat) else { return };
        let hears = |members: &[Member]| -> Vec<LegId> {
            let Some(member) = members.get(at) else { return Vec::new() };
            members.iter().filter(|other| member.is_heard_by(other)).map(|other| other.seat.leg).collect()
        };
        let before = hears(&self.members);
        if let Some(member) = self.members.get_mut(at) {
            member.held = held;
        }
        let after = hears(&self.members);
        for to in before.iter().filter(|to| self.began && !after.contains(to)) {
            outputs.push_back(ExchangeOutput::Disconnect { from: seat.leg, to: *to });
        }
        for to in after.iter().filter(|to| self.began && !before.contains(to)) {
            outputs.push_back(ExchangeOutput::Connect { from: seat.leg, to: *to });
        }
    }

    /// The room is recorded on one leg at a time, while anybody wants that who is in it.
    fn choose_recorder(&mut self, outputs: &mut VecDeque<ExchangeOutput>) {
        if self.recorder.is_none()
            && let Some(member) = self.members.iter().find(|member| member.records)
        {
            self.recorder = Some(member.seat);
            outputs.push_back(ExchangeOutput::Tell(member.seat, ExchangeEvent::Room(RoomEvent::Records)));
        }
    }

    pub(super) fn leave(&mut self, seat: Seat, outputs: &mut VecDeque<ExchangeOutput>) {
        let Some(at) = self.members.iter().position(|member| member.seat == seat) else { return };
        let gone = self.members.remove(at);
        let members = self.members.len();
        for other in &self.members {
            if self.began {
                wire(&gone, other, outputs, false);
            }
            let event = if gone.ends {
                ExchangeEvent::Ended
            } else {
                ExchangeEvent::Room(RoomEvent::Parted { members })
            };
            outputs.push_back(ExchangeOutput::Tell(other.seat, event));
            if gone.tone_out && !gone.ends && self.began {
                outputs.push_back(ExchangeOutput::Tell(other.seat, ExchangeEvent::ToneOut));
            }
        }
        self.recorder = self.recorder.filter(|recorder| *recorder != seat);
        if !gone.ends {
            self.choose_recorder(outputs);
        } else {
            let left = std::mem::take(&mut self.members);
            for (at, member) in left.iter().enumerate() {
                for earlier in left.iter().take(at).filter(|_| self.began) {
                    wire(earlier, member, outputs, false);
                }
            }
        }
    }
}

/// Connects or disconnects two members, each way in which one hears the other.
fn wire(a: &Member, b: &Member, outputs: &mut VecDeque<ExchangeOutput>, connects: bool) {
    for (from, to) in [(a, b), (b, a)] {
        if from.is_heard_by(to) {
            let (from, to) = (from.seat.leg, to.seat.leg);
            outputs.push_back(if connects {
                ExchangeOutput::Connect { from, to }
            } else {
                ExchangeOutput::Disconnect { from, to }
            });
        }
    }
}
