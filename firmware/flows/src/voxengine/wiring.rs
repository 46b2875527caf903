//! Who hears what. The script says what it wants; what is done follows as far as the calls are.
//!
//! A call hears one source at a time: a new one takes the place of the old. Into which conference it
//! speaks is another matter, as long as it does not hear another one. A recorder hears all that is sent
//! to it.

use std::collections::BTreeMap;
use std::time::Duration;

use tipring_model::flow::{Action, Conference, Hear, Moment};
use tipring_model::{ActionId, DigitSet, LegId};

use super::message::{Command, Told, Unit};
use super::session::{Session, Work};

/// Conferences of one session.
const CONFERENCES_MAX: usize = 10;

/// What a call hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Call(u32),
    Player(u32),
    Conference(u32),
}

/// A booth of a player or a recorder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stand {
    pub(super) action: ActionId,
    /// Once it is open.
    pub(super) leg: Option<LegId>,
}

/// Longest that a call hears itself: all of a session.
const ECHO_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What is done for the ears of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    Echoes,
    Hears {
        leg: LegId,
        from: LegId,
        keys: bool,
    },
    Plays(u32),
    /// It hears a conference.
    Meets {
        conference: u32,
        speaks: bool,
    },
}

/// Wishes and what is done about them, by call.
#[derive(Default, Debug)]
pub(super) struct Wiring {
    wanted: BTreeMap<u32, Heard>,
    /// Into which conference a call speaks.
    speaks: BTreeMap<u32, u32>,
    done: BTreeMap<u32, (Done, ActionId)>,
    /// The conference into which a call speaks without hearing it.
    mouths: BTreeMap<u32, (u32, ActionId)>,
    conferences: Vec<u32>,
    /// Into which conference a player plays.
    plays_into: BTreeMap<u32, u32>,
    /// In which it is.
    inside: BTreeMap<u32, (u32, ActionId)>,
    /// Calls that the script knows to be in a conference.
    endpoints: BTreeMap<u32, Endpoint>,
}

/// A call in a conference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Endpoint {
    conference: u32,
    speaks: bool,
    hears: bool,
}

impl Wiring {
    /// Whether a call is in the conference.
    fn has_members(&self, conference: u32) -> bool {
        let hears = |(done, _): &(Done, ActionId)| matches!(done, Done::Meets { conference: of, .. } if *of == conference);
        self.done.values().any(hears) || self.mouths.values().any(|(of, _)| *of == conference)
    }

    /// Calls in a conference that the others hear.
    pub(super) fn speakers_of(&self, conference: u32) -> impl Iterator<Item = u32> {
        let both = self.done.iter().filter_map(move |(call, (done, _))| match done {
            Done::Meets { conference: of, speaks: true } if *of == conference => Some(*call),
            Done::Meets { .. } | Done::Hears { .. } | Done::Plays(_) | Done::Echoes => None,
        });
        let alone = self.mouths.iter().filter(move |(_, (of, _))| *of == conference).map(|(call, _)| *call);
        both.chain(alone)
    }

    /// Of which conference a call hears nothing, since it hears another one.
    fn at_odds(&self, call: u32) -> bool {
        match (self.wanted.get(&call), self.speaks.get(&call)) {
            (Some(Heard::Conference(hears)), Some(speaks)) => hears != speaks,
            (Some(Heard::Conference(_) | Heard::Call(_) | Heard::Player(_)) | None, _) => false,
        }
    }

    /// Players in a conference.
    pub(super) fn players_in(&self, conference: u32) -> impl Iterator<Item = u32> {
        self.inside.iter().filter(move |(_, (of, _))| *of == conference).map(|(player, _)| *player)
    }

    /// The next stretch of a player is begun anew.
    pub(super) fn play_over(&mut self, call: u32, action: ActionId) {
        if self.done.get(&call).is_some_and(|(_, own)| *own == action) {
            self.done.remove(&call);
        }
    }
}

impl Session {
    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not about routes is about sound")]
    pub(super) fn sound_command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Route { from, to } => self.route(from, to),
            Command::Unroute { from, to } => self.unroute(from, to),
            Command::Conference { conference } => self.conference(now, conference),
            Command::StopConference { conference } => self.stop_conference(now, conference),
            other => self.player_command(now, other),
        }
    }

    fn route(&mut self, from: Unit, to: Unit) {
        match (from, to) {
            (_, Unit::Recorder(recorder)) => self.route_to_recorder(from, recorder, true),
            (Unit::Call(from), Unit::Call(to)) => self.wants(to, Heard::Call(from)),
            (Unit::Player(player), Unit::Call(to)) if self.players.has(player) => {
                self.wants(to, Heard::Player(player));
            }
            (Unit::Conference(conference), Unit::Call(to))
                if self.wiring.conferences.contains(&conference) =>
            {
                self.wants(to, Heard::Conference(conference));
                self.log_at_odds(to);
            }
            (Unit::Call(from), Unit::Conference(conference))
                if self.wiring.conferences.contains(&conference) && self.parties.get(from).is_some() =>
            {
                let before = self.wiring.speaks.insert(from, conference);
                if before.is_some_and(|before| before != conference) {
                    self.log("a call speaks in one conference at a time: it leaves the other");
                }
                self.log_at_odds(from);
            }
            (Unit::Player(player), Unit::Conference(conference))
                if self.wiring.conferences.contains(&conference) && self.players.has(player) =>
            {
                let before = self.wiring.plays_into.insert(player, conference);
                if before.is_some_and(|before| before != conference) {
                    self.log("a player is heard in one conference at a time: it leaves the other");
                }
            }
            // Whatever is wrong with it, the script has heard.
            (Unit::Player(_), Unit::Call(_)) => {}
            (Unit::Call(_) | Unit::Player(_) | Unit::Conference(_) | Unit::Recorder(_), _) => {
                self.log(&format!(
                    "{from} is not sent to {to}: one of them is over, or does not hear the other"
                ));
            }
        }
    }

    fn log_at_odds(&mut self, call: u32) {
        if self.wiring.at_odds(call) {
            self.log("a call that hears one conference does not speak in another: it is not heard there");
        }
    }

    fn unroute(&mut self, from: Unit, to: Unit) {
        let heard = match from {
            Unit::Call(call) => Heard::Call(call),
            Unit::Player(player) => Heard::Player(player),
            Unit::Conference(conference) => Heard::Conference(conference),
            Unit::Recorder(_) => return,
        };
        match to {
            Unit::Call(call) => {
                if self.wiring.wanted.get(&call) == Some(&heard) {
                    self.wiring.wanted.remove(&call);
                }
            }
            Unit::Conference(conference) => {
                if let Unit::Call(call) = from
                    && self.wiring.speaks.get(&call) == Some(&conference)
                {
                    self.wiring.speaks.remove(&call);
                }
                if let Unit::Player(player) = from
                    && self.wiring.plays_into.get(&player) == Some(&conference)
                {
                    self.wiring.plays_into.remove(&player);
                }
            }
            Unit::Recorder(recorder) => self.route_to_recorder(from, recorder, false),
            Unit::Player(_) => {}
        }
    }

    fn wants(&mut self, call: u32, heard: Heard) {
        if self.parties.get(call).is_some() {
            self.wiring.wanted.insert(call, heard);
        }
    }

    fn conference(&mut self, now: Moment, conference: u32) {
        let list = &mut self.wiring.conferences;
        if list.contains(&conference) {
            return;
        }
        let (event, error, code) = if list.len() >= CONFERENCES_MAX {
            ("error", Some("too many conferences in one session"), 503)
        } else {
            list.push(conference);
            ("started", None, 0)
        };
        self.conference_event(now, conference, event, (error, code));
    }

    fn stop_conference(&mut self, now: Moment, conference: u32) {
        if !self.wiring.conferences.contains(&conference) {
            return;
        }
        self.wiring.conferences.retain(|one| *one != conference);
        self.wiring.wanted.retain(|_, heard| *heard != Heard::Conference(conference));
        self.wiring.speaks.retain(|_, into| *into != conference);
        self.wiring.plays_into.retain(|_, into| *into != conference);
        self.tapes_lose(Unit::Conference(conference));
        let inside: Vec<u32> = self
            .wiring
            .endpoints
            .iter()
            .filter(|(_, endpoint)| endpoint.conference == conference)
            .map(|(call, _)| *call)
            .collect();
        for call in inside {
            self.endpoint(now, call, None);
        }
        self.conference_event(now, conference, "stopped", (None, 0));
    }

    fn conference_event(
        &mut self,
        now: Moment,
        conference: u32,
        event: &'static str,
        (error, code): (Option<&'static str>, u16),
    ) {
        self.tell(now, Told::Conference { conference, event, error, code, call: None, direction: None });
    }

    /// Tells of calls that have come into conferences, do something else there, or have left.
    fn settle_endpoints(&mut self, now: Moment) {
        let mut calls: Vec<u32> =
            self.wiring.endpoints.keys().chain(self.wiring.done.keys()).copied().collect();
        calls.extend(self.wiring.mouths.keys());
        calls.sort_unstable();
        calls.dedup();
        for call in calls {
            let done = self.wiring.done.get(&call).map(|(done, _)| *done);
            let mouth = self.wiring.mouths.get(&call);
            let endpoint = match done {
                Some(Done::Meets { conference, speaks }) => {
                    Some(Endpoint { conference, speaks, hears: true })
                }
                Some(Done::Echoes | Done::Hears { .. } | Done::Plays(_)) | None => mouth
                    .map(|(conference, _)| Endpoint { conference: *conference, speaks: true, hears: false }),
            };
            self.endpoint(now, call, endpoint);
        }
    }

    fn endpoint(&mut self, now: Moment, call: u32, is: Option<Endpoint>) {
        let was = self.wiring.endpoints.get(&call).copied();
        if was == is {
            return;
        }
        let moves = was.map(|was| was.conference) != is.map(|is| is.conference);
        if let Some(was) = was.filter(|_| moves) {
            self.wiring.endpoints.remove(&call);
            self.tell_endpoint(now, call, "removed", was);
        }
        if let Some(is) = is {
            self.wiring.endpoints.insert(call, is);
            self.tell_endpoint(now, call, if moves { "added" } else { "updated" }, is);
        }
    }

    fn tell_endpoint(&mut self, now: Moment, call: u32, event: &'static str, endpoint: Endpoint) {
        let direction = Some(match (endpoint.speaks, endpoint.hears) {
            (true, true) => "BOTH",
            (true, false) => "SEND",
            (false, _) => "RECEIVE",
        });
        let (conference, call) = (endpoint.conference, Some(call));
        self.tell(now, Told::Conference { conference, event, error: None, code: 0, call, direction });
    }

    /// A call is over.
    pub(super) fn call_lost(&mut self, call: u32) {
        self.wiring.wanted.remove(&call);
        self.wiring.wanted.retain(|_, heard| *heard != Heard::Call(call));
        self.wiring.speaks.remove(&call);
        self.wiring.done.remove(&call);
        self.wiring.mouths.remove(&call);
        self.tapes_lose(Unit::Call(call));
    }

    /// The player has nothing more to say.
    pub(super) fn player_over(&mut self, player: u32) {
        self.wiring.wanted.retain(|_, heard| *heard != Heard::Player(player));
        self.wiring.done.retain(|_, (done, _)| *done != Done::Plays(player));
        self.wiring.plays_into.remove(&player);
        if let Some((_, action)) = self.wiring.inside.remove(&player) {
            self.cancel(action);
        }
        self.tapes_lose(Unit::Player(player));
    }

    /// Somebody can hear the player.
    pub(super) fn is_heard(&self, player: u32) -> bool {
        let by_call = |(call, heard): (&u32, &Heard)| {
            *heard == Heard::Player(player) && self.parties.audible(*call).is_some()
        };
        let into = self.wiring.plays_into.get(&player);
        self.wiring.wanted.iter().any(by_call)
            || into.is_some_and(|conference| self.wiring.has_members(*conference))
            || self.recorders.take(Unit::Player(player))
    }

    /// An action is over that nobody has ended. What it was for is not tried again.
    pub(super) fn sound_ended(&mut self, id: ActionId) {
        let call = self.wiring.done.iter().find(|(_, (_, own))| *own == id).map(|(call, _)| *call);
        if let Some(call) = call {
            self.wiring.done.remove(&call);
            self.wiring.wanted.remove(&call);
        }
        let mouth = self.wiring.mouths.iter().find(|(_, (_, own))| *own == id).map(|(call, _)| *call);
        if let Some(call) = mouth {
            self.wiring.mouths.remove(&call);
            self.wiring.speaks.remove(&call);
        }
        let player = self.wiring.inside.iter().find(|(_, (_, own))| *own == id).map(|(player, _)| *player);
        if let Some(player) = player {
            self.wiring.inside.remove(&player);
            self.wiring.plays_into.remove(&player);
        }
    }

    /// Brings what is done into line with what is wanted.
    pub(super) fn settle_sound(&mut self, now: Moment) {
        let mut calls: Vec<u32> =
            self.wiring.wanted.keys().chain(self.wiring.speaks.keys()).copied().collect();
        calls.extend(self.wiring.done.keys());
        calls.extend(self.wiring.mouths.keys());
        calls.sort_unstable();
        calls.dedup();
        // First what ends, so that nobody is in two places.
        let mut speaks = Vec::new();
        for call in &calls {
            let wanted = self.mouth_of(*call);
            let mouth = self.wiring.mouths.get(call).copied();
            if mouth.map(|(conference, _)| conference) == wanted {
                continue;
            }
            if let Some((_, action)) = mouth {
                self.wiring.mouths.remove(call);
                self.cancel(action);
            }
            speaks.extend(wanted.map(|conference| (*call, conference)));
        }
        let mut begins = Vec::new();
        for call in calls {
            let wanted = self.wanted_of(call);
            let done = self.wiring.done.get(&call).copied();
            if done.map(|(done, _)| done) == wanted {
                continue;
            }
            if let Some((_, action)) = done {
                self.wiring.done.remove(&call);
                self.cancel(action);
            }
            begins.extend(wanted.map(|wanted| (call, wanted)));
        }
        for (call, conference) in speaks {
            if let Some(leg) = self.parties.leg(call) {
                let spec = self.conference_spec(conference, true, false);
                let action = self.act(Some(leg), Action::Conference(spec), Work::Silent);
                self.wiring.mouths.insert(call, (conference, action));
            }
        }
        for (call, wanted) in begins {
            self.begin_sound(call, wanted);
        }
        self.settle_endpoints(now);
        self.settle_conferences();
        self.settle_recorders(now);
        // Whoever hears a player hears it from its beginning.
        self.settle_players();
    }

    /// Players enter the conferences into which they play, and leave them.
    fn settle_conferences(&mut self) {
        let mut players: Vec<u32> = self.wiring.plays_into.keys().copied().collect();
        players.extend(self.wiring.inside.keys());
        players.sort_unstable();
        players.dedup();
        for player in players {
            let wanted = self.wiring.plays_into.get(&player).copied();
            let inside = self.wiring.inside.get(&player).copied();
            if let Some((_, action)) = inside.filter(|(conference, _)| wanted != Some(*conference)) {
                self.wiring.inside.remove(&player);
                self.cancel(action);
            } else if inside.is_some() {
                continue;
            }
            if let Some((conference, booth)) = wanted.zip(self.players.booth(player)) {
                let spec = self.conference_spec(conference, true, false);
                let action = self.act(Some(booth), Action::Conference(spec), Work::Silent);
                self.wiring.inside.insert(player, (conference, action));
            }
        }
    }

    /// Into which conference a call should speak, other than by hearing it.
    fn mouth_of(&self, call: u32) -> Option<u32> {
        let is_free = match self.wiring.wanted.get(&call) {
            Some(Heard::Conference(_)) => false,
            // Nobody else hears a call that hears itself.
            Some(Heard::Call(from)) => *from != call,
            Some(Heard::Player(_)) | None => true,
        };
        let speaks = self.wiring.speaks.get(&call).copied();
        speaks.filter(|_| is_free && self.parties.is_connected(call))
    }

    /// What a call should hear as things are.
    fn wanted_of(&self, call: u32) -> Option<Done> {
        match self.wiring.wanted.get(&call).copied()? {
            Heard::Call(from) if from == call => self.parties.is_connected(call).then_some(Done::Echoes),
            Heard::Call(from) => {
                let (leg, source) = (self.parties.leg(call)?, self.parties.leg(from)?);
                let keys = self.parties.get(from)?.keys.are_sounds();
                Some(Done::Hears { leg, from: source, keys })
            }
            Heard::Player(player) => {
                let leg = self.parties.audible(call)?;
                if self.players.is_own(player) {
                    return Some(Done::Plays(player));
                }
                let from = self.players.booth(player)?;
                Some(Done::Hears { leg, from, keys: false })
            }
            Heard::Conference(conference) => {
                let speaks = self.wiring.speaks.get(&call) == Some(&conference);
                self.parties.is_connected(call).then_some(Done::Meets { conference, speaks })
            }
        }
    }

    fn begin_sound(&mut self, call: u32, wanted: Done) {
        let Some(leg) = self.parties.leg(call) else { return };
        let action = match wanted {
            Done::Echoes => self.act(Some(leg), Action::Echo(ECHO_MAX), Work::Silent),
            Done::Hears { from, keys, .. } => {
                self.act(Some(leg), Action::Hear(Hear { from, keys }), Work::Silent)
            }
            Done::Plays(player) => match self.begin_play(player, Some(call), leg) {
                Some(action) => action,
                None => return,
            },
            Done::Meets { conference, speaks } => {
                let spec = self.conference_spec(conference, speaks, true);
                self.act(Some(leg), Action::Conference(spec), Work::Silent)
            }
        };
        self.wiring.done.insert(call, (wanted, action));
    }

    fn conference_spec(&self, conference: u32, speaks: bool, hears: bool) -> Conference {
        let room = self.facts.as_ref().map_or_else(String::new, |facts| facts.id.simple());
        Conference {
            room: format!("vox-{room}-{conference}"),
            name: String::new(),
            muted: !speaks,
            deaf: !hears,
            begins: true,
            ends: false,
            tone_in: false,
            tone_out: false,
            wait: None,
            members_max: tipring_model::flow::ROOM_MEMBERS_MAX,
            leave: DigitSet::NONE,
            coaches: None,
            records: false,
        }
    }
}
