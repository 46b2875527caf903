//! What a bundle names and does not hold: ids, and time zones. None of it keeps the bundle
//! from running, since the configuration of the box may have the rest.

use std::rc::Rc;

use jiff::tz::TimeZone;

use super::keys::{Fault, Module, shortened};
use super::parse::{Document, Node};
use crate::json::{Json, Value};

/// Modules whose `id` names a stored document.
const NAMED: [(Module, &str); 9] = [
    (Module::Callflow, "callflows"),
    (Module::Menu, "menus"),
    (Module::Device, "devices"),
    (Module::User, "users"),
    (Module::Group, "groups"),
    (Module::Voicemail, "vmboxes"),
    (Module::Conference, "conferences"),
    (Module::Cidlistmatch, "lists"),
    (Module::Directory, "directories"),
];

/// Everything that a document names and does not hold.
pub(super) fn missing(document: &Document) -> Vec<Fault> {
    let mut search = Search { document, found: Vec::new() };
    for callflow in &document.callflows {
        search.tree(callflow.flow.as_ref());
    }
    search.stored();
    search.found
}

struct Search<'a> {
    document: &'a Document,
    found: Vec<Fault>,
}

impl Search<'_> {
    fn id(&mut self, kind: &str, id: &Json, path: &str) {
        let Some(name) = id.text().map(str::trim).filter(|name| !name.is_empty()) else { return };
        let is_known = match kind {
            "callflows" => self.document.callflow(name).is_some(),
            // A rule may stand in a set, and a set in place of a rule.
            "temporal_rules" => {
                let stored = &self.document.stored;
                stored.find(kind, name).is_some() || stored.find("temporal_rules_sets", name).is_some()
            }
            _ => self.document.stored.find(kind, name).is_some(),
        };
        if !is_known {
            let subject = format!("{path}: {}", shortened(name));
            self.found.push(Fault { code: "TR-FLOW-REFERENCE", fatal: false, at: id.at, subject });
        }
    }

    fn zone(&mut self, json: &Json, path: &str) {
        let Some(zone) = json.get("timezone") else { return };
        let Some(name) = zone.text().map(str::trim).filter(|name| !name.is_empty()) else { return };
        if TimeZone::get(name).is_err() {
            let subject = format!("{path}.timezone: {}, no time zone of that name", shortened(name));
            self.found.push(Fault { code: "TR-FLOW-KEY-CHOICE", fatal: false, at: zone.at, subject });
        }
    }

    /// Items of a list that are ids, or objects with an id and what it is.
    fn endpoints(&mut self, list: &Json, path: &str) {
        for (n, item) in list.items().iter().enumerate() {
            let kind = item.get("endpoint_type").and_then(Json::text).and_then(kind_of);
            if let (Some(kind), Some(id)) = (kind, item.get("id")) {
                self.id(kind, id, &format!("{path}[{n}].id"));
            } else if let Value::Text(id) = &item.value
                && self.document.stored.any(id).is_none()
            {
                let subject = format!("{path}[{n}]: {}", shortened(id));
                self.found.push(Fault { code: "TR-FLOW-REFERENCE", fatal: false, at: item.at, subject });
            }
        }
    }

    fn tree(&mut self, tree: Option<&Rc<Node>>) {
        let Some(node) = tree else { return };
        let data = format!("{}.data", node.path);
        if let (Some((_, kind)), Some(id)) =
            (NAMED.iter().find(|(module, _)| *module == node.module), node.data.get("id"))
        {
            self.id(kind, id, &format!("{data}.id"));
        }
        if node.module == Module::TemporalRoute {
            self.zone(&node.data, &data);
            for (n, id) in node.data.get("rules").map_or(&[][..], Json::items).iter().enumerate() {
                self.id("temporal_rules", id, &format!("{data}.rules[{n}]"));
            }
            if let Some(id) = node.data.get("rule_set") {
                self.id("temporal_rules_sets", id, &format!("{data}.rule_set"));
            }
        }
        if matches!(node.module, Module::RingGroup | Module::PageGroup) {
            if let Some(list) = node.data.get("endpoints") {
                self.endpoints(list, &format!("{data}.endpoints"));
            }
            if let Some(id) = node.data.get("group_id") {
                self.id("ring_groups", id, &format!("{data}.group_id"));
            }
        }
        self.tree(node.inline.as_ref());
        for (_, child) in &node.children {
            self.tree(child.as_ref());
        }
    }

    /// What stored documents name.
    fn stored(&mut self) {
        let stored = &self.document.stored;
        for kind in ["devices", "vmboxes"] {
            for (id, item) in stored.all(kind) {
                if let Some(owner) = item.get("owner_id") {
                    self.id("users", owner, &format!("{kind} {}: owner_id", shortened(id)));
                }
            }
        }
        for kind in ["users", "vmboxes", "devices"] {
            for (id, item) in stored.all(kind) {
                self.zone(item, &format!("{kind} {}", shortened(id)));
            }
        }
        for (id, set) in stored.all("temporal_rules_sets") {
            for (n, rule) in set.get("temporal_rules").map_or(&[][..], Json::items).iter().enumerate() {
                let path = format!("temporal_rules_sets {}: temporal_rules[{n}]", shortened(id));
                self.id("temporal_rules", rule, &path);
            }
        }
        for kind in ["groups", "ring_groups"] {
            for (id, group) in stored.all(kind) {
                let path = format!("{kind} {}: endpoints", shortened(id));
                let Some(endpoints) = group.get("endpoints") else { continue };
                self.endpoints(endpoints, &path);
                for (name, member) in endpoints.members() {
                    let kind = member.get("type").and_then(Json::text).and_then(kind_of);
                    let named = Json { at: member.at, value: Value::Text(name.clone()) };
                    if let Some(kind) = kind {
                        self.id(kind, &named, &path);
                    }
                }
            }
        }
    }
}

/// The list of a bundle that holds endpoints of a type.
fn kind_of(endpoint_type: &str) -> Option<&'static str> {
    [("device", "devices"), ("user", "users"), ("group", "groups")]
        .into_iter()
        .find(|(word, _)| *word == endpoint_type)
        .map(|(_, kind)| kind)
}
