//! What others see of a telephone: its calls, as its legs go, and what flows light.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tipring_model::lamp::{Lamp as Shows, MessagesWaiting};
use tipring_model::{CallerId, LegId, LineId, Number};
use tipring_sip::lamps::{DialogDirection, DialogIds, DialogState, Lamp, LampDialog, MessageWaiting};

use super::settings::{LampShows, PhoneSettings};
use super::stack::{Kind, Stack};
use super::transport::TooManyLamps;

/// Most lamps that flows have lit at one time.
pub(super) const LIT_MAX: usize = 1_024;

/// A leg of a telephone, as its lamp shows it.
pub(super) struct Shown {
    number: String,
    direction: DialogDirection,
    state: DialogState,
    remote: Option<(String, String)>,
}

/// The lamps of telephones, and those that flows have lit.
#[derive(Default)]
pub(super) struct Lamps {
    legs: HashMap<LegId, Shown>,
    lit: BTreeMap<String, Shows>,
}

impl Lamps {
    /// A telephone calls.
    pub(super) fn calls(&mut self, phone: &PhoneSettings, leg: LegId, to: &Number) {
        let remote = (String::new(), to.as_str().to_owned());
        self.began(phone, leg, DialogDirection::Initiator, Some(remote));
    }

    /// A telephone is called.
    pub(super) fn is_called(&mut self, phone: &PhoneSettings, leg: LegId, from: &CallerId) {
        // Whoever hides his number hides his name as well.
        let number = from.number.as_ref();
        let remote = number.map(|n| (from.name.clone().unwrap_or_default(), n.as_str().to_owned()));
        self.began(phone, leg, DialogDirection::Recipient, remote);
    }

    fn began(
        &mut self,
        phone: &PhoneSettings,
        leg: LegId,
        direction: DialogDirection,
        remote: Option<(String, String)>,
    ) {
        let remote = match phone.lamp {
            LampShows::Caller => remote,
            LampShows::State => None,
            LampShows::Nothing => return,
        };
        let shown = Shown { number: phone.number.clone(), direction, state: DialogState::Trying, remote };
        self.legs.insert(leg, shown);
    }

    /// It rings, or is answered. Gives the name of the lamp that this concerns.
    pub(super) fn goes_on(&mut self, leg: LegId, state: DialogState) -> Option<String> {
        let shown = self.legs.get_mut(&leg)?;
        shown.state = shown.state.max(state);
        Some(shown.number.clone())
    }

    /// Another telephone has taken the leg, and talks.
    pub(super) fn moves(&mut self, phone: &PhoneSettings, leg: LegId) {
        let remote = self.legs.remove(&leg).and_then(|shown| shown.remote);
        self.began(phone, leg, DialogDirection::Initiator, remote);
        self.goes_on(leg, DialogState::Confirmed);
    }

    /// It is over.
    pub(super) fn ends(&mut self, leg: LegId) -> Option<String> {
        self.legs.remove(&leg).map(|shown| shown.number)
    }

    /// The lamp of a leg.
    pub(super) fn of(&self, leg: LegId) -> Option<String> {
        self.legs.get(&leg).map(|shown| shown.number.clone())
    }

    /// A flow lights a lamp, or darkens it. False when there are too many.
    pub(super) fn light(&mut self, name: &str, shows: Shows) -> bool {
        if shows == Shows::Idle {
            self.lit.remove(name);
            return true;
        }
        let has_room = self.lit.len() < LIT_MAX || self.lit.contains_key(name);
        if has_room {
            self.lit.insert(name.to_owned(), shows);
        }
        has_room
    }

    /// The legs behind a lamp.
    pub(super) fn legs(&self, name: &str) -> Vec<LegId> {
        let mut legs: Vec<LegId> =
            self.legs.iter().filter(|(_, shown)| shown.number == name).map(|(leg, _)| *leg).collect();
        legs.sort_unstable();
        legs
    }

    /// What is told of a leg.
    pub(super) fn dialog(&self, leg: LegId, ids: Option<DialogIds>) -> Option<LampDialog> {
        let shown = self.legs.get(&leg)?;
        Some(LampDialog {
            id: leg.to_string(),
            ids,
            direction: Some(shown.direction),
            state: shown.state,
            remote: shown.remote.clone(),
        })
    }

    /// What is told of a lamp that a flow has lit.
    pub(super) fn lit(&self, name: &str) -> Option<LampDialog> {
        let state = match self.lit.get(name)? {
            Shows::Idle => return None,
            Shows::Ringing => DialogState::Early,
            Shows::Busy => DialogState::Confirmed,
        };
        Some(LampDialog { id: "lit".to_owned(), ids: None, direction: None, state, remote: None })
    }
}

/// The mailboxes of a telephone as it may ask for them: all of them together under its own
/// name, and each under the mailbox's.
pub(super) fn told_of(phone: &PhoneSettings, mailboxes: &[MessagesWaiting]) -> Vec<MessageWaiting> {
    if mailboxes.is_empty() {
        return Vec::new();
    }
    let mut own = vec![phone.username.clone()];
    if phone.number != phone.username {
        own.push(phone.number.clone());
    }
    let sum = |count: fn(&MessagesWaiting) -> u32| mailboxes.iter().map(count).fold(0, u32::saturating_add);
    let all = MessageWaiting { names: own, new: sum(|m| m.new), saved: sum(|m| m.saved) };
    let each = mailboxes.iter().map(|mailbox| MessageWaiting {
        names: mailbox.names.clone(),
        new: mailbox.new,
        saved: mailbox.saved,
    });
    std::iter::once(all).chain(each).collect()
}

impl Stack {
    fn phone(&self, line: LineId) -> Option<&PhoneSettings> {
        match &self.lines.iter().find(|known| known.id == line)?.kind {
            Kind::Phone(phone) => Some(phone),
            Kind::Trunk(_) => None,
        }
    }

    /// See [`SipLines::set_message_waiting`](super::SipLines::set_message_waiting).
    pub(super) fn set_message_waiting(&mut self, now: Instant, line: LineId, mailboxes: &[MessagesWaiting]) {
        let Some(phone) = self.phone(line) else { return };
        let (account, tell, told) =
            (phone.username.clone(), phone.message_waiting, told_of(phone, mailboxes));
        self.ua.set_message_waiting(now, &account, tell, told);
        self.settle(now);
    }

    /// See [`SipLines::set_lamp`](super::SipLines::set_lamp).
    pub(super) fn light(&mut self, now: Instant, name: &str, shows: Shows) -> Result<(), TooManyLamps> {
        if !self.lamps.light(name, shows) {
            return Err(TooManyLamps);
        }
        self.show(now, name);
        self.settle(now);
        Ok(())
    }

    pub(super) fn lamp_called(&mut self, now: Instant, line: LineId, leg: LegId, from: &CallerId) {
        if let Some(phone) = self.phone(line).cloned() {
            self.lamps.is_called(&phone, leg, from);
            self.lamp_changed(now, leg);
        }
    }

    pub(super) fn lamp_calls(&mut self, line: LineId, leg: LegId, to: &Number) {
        if let Some(phone) = self.phone(line).cloned() {
            self.lamps.calls(&phone, leg, to);
        }
    }

    pub(super) fn lamp_goes_on(&mut self, now: Instant, leg: LegId, state: DialogState) {
        if let Some(name) = self.lamps.goes_on(leg, state) {
            self.show(now, &name);
        }
    }

    pub(super) fn lamp_changed(&mut self, now: Instant, leg: LegId) {
        if let Some(name) = self.lamps.of(leg) {
            self.show(now, &name);
        }
    }

    pub(super) fn lamp_ends(&mut self, now: Instant, leg: LegId) {
        if let Some(name) = self.lamps.ends(leg) {
            self.show(now, &name);
        }
    }

    /// The leg is another telephone's from now on.
    pub(super) fn lamp_moves(&mut self, now: Instant, line: LineId, leg: LegId) {
        let Some(phone) = self.phone(line).cloned() else { return };
        let before = self.lamps.of(leg);
        self.lamps.moves(&phone, leg);
        if let Some(name) = before {
            self.show(now, &name);
        }
        self.lamp_changed(now, leg);
    }

    pub(super) fn lamp_of_line(&mut self, now: Instant, line: LineId) {
        if let Some(name) = self.phone(line).map(|phone| phone.number.clone()) {
            self.show(now, &name);
        }
    }

    /// Puts together what is behind a lamp, and shows it.
    fn show(&mut self, now: Instant, name: &str) {
        let reachable = self.lines.iter().any(|line| match &line.kind {
            Kind::Phone(phone) => {
                phone.number == name && line.state.is_ok() && phone.lamp != LampShows::Nothing
            }
            Kind::Trunk(_) => false,
        });
        let mut dialogs = Vec::new();
        for leg in self.lamps.legs(name) {
            // Of several contacts that are called, one that has said its tag can be picked up.
            let keys = self.legs.get_mut(leg).map(|leg| leg.keys.clone()).unwrap_or_default();
            let all = keys.into_iter().filter_map(|key| self.ua.ids_of(key));
            let ids = all.max_by_key(|ids| !ids.theirs.is_empty());
            dialogs.extend(self.lamps.dialog(leg, ids));
        }
        dialogs.extend(self.lamps.lit(name));
        // There are fewer telephones and lit lamps than lamps that can be told of.
        let _ = self.ua.set_lamp(now, name, Lamp { reachable, dialogs });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(lamp: LampShows) -> PhoneSettings {
        PhoneSettings { number: "201".into(), username: "desk".into(), lamp, ..PhoneSettings::default() }
    }

    #[test]
    fn a_lamp_follows_its_legs_and_shows_what_it_may() {
        let leg = LegId::offered(LineId(0), 1);
        let from = CallerId { number: Some(Number::new("15550100")), name: Some("Tom".into()) };
        for (shows, remote) in [
            (LampShows::Caller, Some(Some(("Tom".to_owned(), "15550100".to_owned())))),
            (LampShows::State, Some(None)),
            (LampShows::Nothing, None),
        ] {
            let mut lamps = Lamps::default();
            lamps.is_called(&phone(shows), leg, &from);
            lamps.goes_on(leg, DialogState::Confirmed);
            lamps.goes_on(leg, DialogState::Early);
            let told = lamps.dialog(leg, None);
            assert_eq!(told.as_ref().map(|dialog| dialog.remote.clone()), remote);
            assert!(told.is_none_or(|dialog| dialog.state == DialogState::Confirmed), "never back");
            lamps.ends(leg);
            assert!(lamps.legs("201").is_empty());
        }
        let mut lamps = Lamps::default();
        lamps.is_called(&phone(LampShows::Caller), leg, &CallerId::default());
        assert_eq!(lamps.dialog(leg, None).and_then(|dialog| dialog.remote), None, "hidden");
    }

    #[test]
    fn flows_light_a_bounded_number_of_lamps() {
        let mut lamps = Lamps::default();
        for n in 0..LIT_MAX {
            assert!(lamps.light(&n.to_string(), Shows::Busy));
        }
        assert!(!lamps.light("more", Shows::Busy) && lamps.light("7", Shows::Ringing));
        assert_eq!(lamps.lit("7").map(|dialog| dialog.state), Some(DialogState::Early));
        assert!(lamps.light("7", Shows::Idle) && lamps.light("more", Shows::Busy));
        assert_eq!(lamps.lit("7"), None);
    }

    #[test]
    fn a_telephone_sees_its_mailboxes_together_and_each() {
        let waiting = |name: &str, new, saved| MessagesWaiting { names: vec![name.into()], new, saved };
        let told = told_of(&phone(LampShows::Caller), &[waiting("ann", 1, 2), waiting("sales", 3, 0)]);
        let told: Vec<_> = told.iter().map(|m| (m.names.join(" "), m.new, m.saved)).collect();
        let expected = [("desk 201", 4, 2), ("ann", 1, 2), ("sales", 3, 0)];
        assert_eq!(told, expected.map(|(names, new, saved)| (names.to_owned(), new, saved)));
        assert!(told_of(&phone(LampShows::Caller), &[]).is_empty());
    }
}
