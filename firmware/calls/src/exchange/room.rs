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
}

struct Member {
    seat: Seat,
    muted: bool,
    deaf: bool,
    ends: bool,
    tone_out: bool,
    coaches: Option<LegId>,
}

impl Member {
    /// Whether `other` hears this one.
    fn is_heard_by(&self, other: &Self) -> bool {
        let meant = self.coaches.is_none_or(|leg| leg == other.seat.leg);
        !self.muted && !other.deaf && meant && self.seat != other.seat
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
            muted: spec.muted,
            deaf: spec.deaf,
            ends: spec.ends,
            tone_out: spec.tone_out,
            coaches: spec.coaches,
        };
        let members = self.members.len() + 1;
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
        let entered = ExchangeEvent::Room(RoomEvent::Entered { members, began });
        outputs.push_back(ExchangeOutput::Tell(seat, entered));
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
        if gone.ends {
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
