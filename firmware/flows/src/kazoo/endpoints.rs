//! Devices, users and groups as telephones that can be rung.

use std::time::Duration;

use tipring_model::flow::{DialTarget, Target};

use super::flow::{KazooFlow, seconds};
use super::keys::Data;
use super::stored::Stored;
use crate::json::Json;

/// Most targets of one dial: the box has no more legs for them.
pub(super) const TARGETS_MAX: usize = 20;
/// Items that are looked at for one dial, groups and their members counted.
pub(super) const MEMBERS_MAX: usize = 500;
/// Groups inside groups.
pub(super) const GROUPS_MAX: usize = 5;

/// One telephone or number to ring.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) target: DialTarget,
    /// Whoever answers has to press a key before the two are connected.
    pub(super) asks: bool,
}

/// How endpoints are rung.
#[derive(Clone, Copy, Default)]
pub(super) struct Wish {
    pub(super) delay: Duration,
    pub(super) ring_max: Option<Duration>,
    /// Calls to a group do not follow the forwarding of its members.
    pub(super) ignores_forward: bool,
    /// The endpoint itself was called, not a group that it is in.
    pub(super) is_direct: bool,
    pub(super) can_call_self: bool,
}

/// Forwarding of a device or user.
struct Forward {
    number: String,
    is_on: bool,
    substitutes: bool,
    asks: bool,
    direct_only: bool,
    failover: bool,
}

/// An item of a group: what it is, which one, and how it is rung.
pub(super) struct Item {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) delay: Duration,
    pub(super) ring_max: Option<Duration>,
    pub(super) weight: u64,
}

impl KazooFlow {
    /// The number that reaches a device of the account.
    pub(super) fn device_number(&self, device: &Json) -> Option<String> {
        Stored::number_of(device, &self.app.directory)
    }

    fn forward(&self, id: &str, json: Option<&Json>) -> Option<Forward> {
        let written = json.and_then(|json| json.get("call_forward"));
        let data = Data::new(&[], written);
        let kept_number = self.kept(&format!("forward_number.{id}"));
        let number = kept_number.or_else(|| data.value("number").and_then(Json::scalar))?;
        let is_on = match self.kept(&format!("forward.{id}")) {
            Some(kept) => kept == "on",
            None => data.is("enabled"),
        };
        (!number.is_empty()).then(|| Forward {
            number,
            is_on,
            substitutes: data.toggle("substitute").unwrap_or(true),
            asks: data.toggle("require_keypress").unwrap_or(true),
            direct_only: data.is("direct_calls_only"),
            failover: data.is("failover"),
        })
    }

    fn may_disturb(&self, id: &str, json: Option<&Json>) -> bool {
        match self.kept(&format!("dnd.{id}")) {
            Some(kept) => kept != "on",
            None => !json
                .and_then(|json| json.get("do_not_disturb"))
                .is_some_and(|dnd| Data::new(&[], Some(dnd)).is("enabled")),
        }
    }

    fn endpoint(target: Target, asks: bool, wish: Wish) -> Endpoint {
        let target =
            DialTarget { delay: wish.delay, ring_max: wish.ring_max, held: asks, ..DialTarget::new(target) };
        Endpoint { target, asks }
    }

    /// The telephone `number` of a device or user, or where its calls are forwarded.
    fn reach(&self, id: &str, json: Option<&Json>, numbers: &[String], wish: Wish) -> Vec<Endpoint> {
        if !self.may_disturb(id, json) {
            return Vec::new();
        }
        let own = self.caller_extension();
        let free = numbers.iter().filter(|number| wish.can_call_self || Some(number.as_str()) != own);
        let mut endpoints: Vec<Endpoint> =
            free.map(|number| Self::endpoint(Target::Number(number.clone()), false, wish)).collect();
        let forward = self.forward(id, json).filter(|forward| {
            let applies = !wish.ignores_forward && (wish.is_direct || !forward.direct_only);
            applies && (forward.is_on || (forward.failover && numbers.is_empty()))
        });
        if let Some(forward) = forward {
            if forward.substitutes {
                endpoints.clear();
            }
            endpoints.push(Self::endpoint(Target::Number(forward.number), forward.asks, wish));
        }
        endpoints
    }

    pub(super) fn device_endpoints(&self, id: &str, wish: Wish) -> Vec<Endpoint> {
        if let Some(device) = self.app.document.stored.find("devices", id) {
            if Data::new(&[], Some(device)).toggle("enabled") == Some(false) {
                return Vec::new();
            }
            let numbers: Vec<String> = self.device_number(device).into_iter().collect();
            if numbers.is_empty() {
                // A device that is nothing but a forwarding has its number there.
                let only = device.at_path(["call_forward", "number"]).and_then(Json::scalar);
                if let Some(number) = only.filter(|number| !number.is_empty() && !wish.ignores_forward) {
                    let asks = self.forward(id, Some(device)).is_some_and(|forward| forward.asks);
                    return vec![Self::endpoint(Target::Number(number), asks, wish)];
                }
            }
            return self.reach(id, Some(device), &numbers, wish);
        }
        let Some(phone) = self.app.directory.phone(id) else { return Vec::new() };
        self.reach(&phone.number, None, std::slice::from_ref(&phone.number), wish)
    }

    pub(super) fn user_endpoints(&self, id: &str, wish: Wish) -> Vec<Endpoint> {
        let stored = &self.app.document.stored;
        let user = stored.find("users", id);
        let owned: Vec<&str> = stored
            .all("devices")
            .filter(|(_, device)| device.get("owner_id").and_then(Json::text) == Some(id))
            .map(|(device, _)| device)
            .collect();
        if owned.is_empty() {
            let phones = self.app.directory.user(id).map_or(&[][..], |user| &user.phones);
            let free: Vec<String> =
                phones.iter().filter(|phone| self.may_disturb(phone, None)).cloned().collect();
            return self.reach(id, user, &free, wish);
        }
        let own = self.reach(id, user, &[], wish);
        let is_replaced =
            !own.is_empty() && self.forward(id, user).is_some_and(|forward| forward.substitutes);
        if !self.may_disturb(id, user) || is_replaced {
            return own;
        }
        owned.into_iter().flat_map(|device| self.device_endpoints(device, wish)).chain(own).collect()
    }

    /// The telephones behind the items of a group, in their order.
    pub(super) fn endpoints_of(&self, items: Vec<Item>, wish: Wish) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        // A group stands for its members: they come next.
        let mut waiting: Vec<(Item, usize)> = items.into_iter().rev().map(|item| (item, 0)).collect();
        for _ in 0..MEMBERS_MAX {
            let Some((item, depth)) = waiting.pop() else { break };
            let wish = Wish { delay: item.delay, ring_max: item.ring_max, ..wish };
            match item.kind.as_str() {
                "device" => endpoints.extend(self.device_endpoints(&item.id, wish)),
                "user" => endpoints.extend(self.user_endpoints(&item.id, wish)),
                "group" if depth < GROUPS_MAX => {
                    let members = self.group_items(&item.id).unwrap_or_default().into_iter().rev();
                    waiting.extend(members.take(MEMBERS_MAX).map(|member| {
                        let delay = item.delay + member.delay;
                        let ring_max = member.ring_max.or(item.ring_max);
                        (Item { delay, ring_max, ..member }, depth + 1)
                    }));
                }
                _ => {}
            }
        }
        endpoints
    }

    /// The members of a group; none if nobody knows it.
    pub(super) fn group_items(&self, id: &str) -> Option<Vec<Item>> {
        let stored = &self.app.document.stored;
        if let Some(group) = stored.find("ring_groups", id).or_else(|| stored.find("groups", id)) {
            let endpoints = group.get("endpoints").or_else(|| group.get("members"))?;
            let named = endpoints.members().iter().map(|(id, member)| {
                let kind = member.get("type").and_then(Json::text).unwrap_or("device");
                item(Data::new(&[], Some(member)), kind, id)
            });
            let listed = endpoints.items().iter().filter_map(|member| self.listed_item(member));
            return Some(named.chain(listed).collect());
        }
        let group = self.app.directory.group(id)?;
        let members = group.members.iter().map(|member| {
            let kind = if self.app.directory.user(member).is_some() { "user" } else { "device" };
            item(Data::new(&[], None), kind, member)
        });
        Some(members.collect())
    }

    /// An item of a list: an object, or the bare id of something known.
    pub(super) fn listed_item(&self, json: &Json) -> Option<Item> {
        if let Some(id) = json.text() {
            return Some(item(Data::new(&[], None), self.kind_of(id)?, id));
        }
        let data = Data::new(&[], Some(json));
        let kind = data.filled("endpoint_type").or_else(|| data.filled("type"))?;
        Some(item(data, kind, data.filled("id")?))
    }

    fn kind_of(&self, id: &str) -> Option<&'static str> {
        let (stored, directory) = (&self.app.document.stored, &self.app.directory);
        let is = |kind: &str| stored.find(kind, id).is_some();
        if is("devices") {
            Some("device")
        } else if is("users") {
            Some("user")
        } else if is("groups") {
            Some("group")
        } else if directory.phone(id).is_some() {
            Some("device")
        } else if directory.user(id).is_some() {
            Some("user")
        } else if directory.group(id).is_some() {
            Some("group")
        } else {
            None
        }
    }
}

fn item(data: Data<'_>, kind: &str, id: &str) -> Item {
    Item {
        kind: kind.to_owned(),
        id: id.to_owned(),
        delay: data.count("delay").map_or(Duration::ZERO, seconds),
        ring_max: data.count("timeout").filter(|count| *count > 0).map(seconds),
        weight: data.count("weight").unwrap_or(20).clamp(1, 100),
    }
}
