//! `group_pickup`, `group_pickup_feature`, `intercept`: taking a call from where it rings.

use tipring_model::flow::{Action, Outcome, PickUp};

use super::endpoints::{GROUPS_MAX, MEMBERS_MAX};
use super::flow::{KazooFlow, Next, Then};
use super::keys::{Data, Module};
use crate::json::Json;

impl KazooFlow {
    pub(super) fn pick_up(&mut self, data: Data<'_>, module: Module) -> Next {
        if !self.may_pick_up(data) {
            return self.not_possible("TR-FLOW-NOT-ALLOWED");
        }
        let at = if module == Module::GroupPickupFeature { self.dialled(data) } else { self.named(data) };
        if at.is_empty() {
            return self.nothing_rings("TR-FLOW-REFERENCE");
        }
        if let Some(next) = self.answer_first() {
            return next;
        }
        self.act(Action::PickUp(PickUp { at, answered: module == Module::Intercept }), Then::PickedUp)
    }

    pub(super) fn picked_up(&mut self, outcome: &Outcome) -> Next {
        if matches!(outcome, Outcome::Dialed(dialed) if dialed.answered.is_some()) {
            self.served = true;
            return Next::Stop;
        }
        self.nothing_rings("TR-DIAL-NO-TARGET")
    }

    fn nothing_rings(&mut self, code: &'static str) -> Next {
        if let Some(next) = self.answer_first() {
            return next;
        }
        self.fault = Some(code);
        let words = self.prompt("pickup-no_channels");
        self.say(words, Next::Stop)
    }

    /// Telephones of the office may, and of them those alone that the node approves.
    fn may_pick_up(&self, data: Data<'_>) -> bool {
        let Some(own) = self.caller_extension() else { return false };
        let approved: Vec<String> = ["device", "user", "group"]
            .into_iter()
            .filter_map(|kind| Some(self.numbers_of(kind, data.filled(&format!("approved_{kind}_id"))?)))
            .flatten()
            .collect();
        let is_bound = ["approved_device_id", "approved_user_id", "approved_group_id"]
            .into_iter()
            .any(|key| data.filled(key).is_some());
        !is_bound || approved.iter().any(|number| number == own)
    }

    /// The telephones that the node names.
    fn named(&self, data: Data<'_>) -> Vec<String> {
        ["device", "user", "group"]
            .into_iter()
            .filter_map(|kind| Some(self.numbers_of(kind, data.filled(&format!("{kind}_id"))?)))
            .flatten()
            .collect()
    }

    /// The telephones that were dialled behind the feature code, where the node names none.
    fn dialled(&self, data: Data<'_>) -> Vec<String> {
        let named = self.named(data);
        let number = &self.captures.longest;
        if !named.is_empty() || number.is_empty() {
            return named;
        }
        match data.text("type") {
            Some(kind @ ("user" | "device" | "group")) => self.numbers_of(kind, number),
            Some(_) | None => self.numbers_of_extension(number),
        }
    }

    /// The telephones that ring when this number is dialled inside.
    fn numbers_of_extension(&self, number: &str) -> Vec<String> {
        let app = std::rc::Rc::clone(&self.app);
        let root = app.document.pick_stored(number).and_then(|picked| picked.callflow.flow.clone());
        let Some(node) = root else { return self.numbers_of("device", number) };
        let data = node.data();
        let id = data.filled("id").or_else(|| data.filled("group_id"));
        match (node.module, id) {
            (Module::Device, Some(id)) => self.numbers_of("device", id),
            (Module::User, Some(id)) => self.numbers_of("user", id),
            (Module::Group | Module::RingGroup, id) => {
                let items = data.value("endpoints").map_or(&[][..], Json::items);
                let listed = items.iter().filter_map(|item| self.listed_item(item));
                let listed = listed.flat_map(|item| self.numbers_of(&item.kind, &item.id));
                listed.chain(id.into_iter().flat_map(|id| self.numbers_of("group", id))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The numbers of all telephones of a device, user or group, whether they ring now or not.
    fn numbers_of(&self, kind: &str, id: &str) -> Vec<String> {
        let stored = &self.app.document.stored;
        let mut numbers = Vec::new();
        let mut waiting = vec![(kind.to_owned(), id.to_owned(), 0)];
        for _ in 0..MEMBERS_MAX {
            let Some((kind, id, depth)) = waiting.pop() else { break };
            match kind.as_str() {
                "device" => {
                    let device = stored.find("devices", &id);
                    numbers.extend(match device {
                        Some(device) => self.device_number(device),
                        None => self.app.directory.phone(&id).map(|phone| phone.number.clone()),
                    });
                }
                "user" => {
                    let owned = stored.all("devices").filter(|(_, device)| {
                        device.get("owner_id").and_then(Json::text) == Some(id.as_str())
                    });
                    let owned: Vec<String> =
                        owned.filter_map(|(_, device)| self.device_number(device)).collect();
                    let phones = self.app.directory.user(&id).map(|user| user.phones.clone());
                    numbers.extend(if owned.is_empty() { phones.unwrap_or_default() } else { owned });
                }
                "group" if depth < GROUPS_MAX => {
                    let members = self.group_items(&id).unwrap_or_default();
                    waiting.extend(members.into_iter().map(|item| (item.kind, item.id, depth + 1)));
                }
                _ => {}
            }
        }
        numbers
    }
}
