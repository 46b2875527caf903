//! Modules that choose a way, and those that remember something for later: callflow,
//! branch_variable, branch_bnumber, set_variable and the like.

use std::rc::Rc;

use super::flow::{KazooFlow, Next, VALUES_MAX};
use super::keys::Data;
use super::media::Language;
use super::parse::Node;
use super::pattern::Pattern;
use crate::json::{Json, Value};

/// Names of `set_variable`.
const CHANNEL_VARS: [&str; 2] = ["call_priority", "group_id"];
/// Longest value that a call carries, in bytes.
const VALUE_BYTES_MAX: usize = 4_096;

impl KazooFlow {
    pub(super) fn callflow(&mut self, node: &Rc<Node>) -> Next {
        let data = node.data();
        if node.inline.is_some() {
            return Next::Branch(node.inline.clone());
        }
        let written = data.filled("id").map(str::to_owned).or_else(|| self.callflow_at(data));
        let app = Rc::clone(&self.app);
        match written.as_deref().and_then(|id| app.document.callflow(id)) {
            Some(callflow) => Next::Branch(callflow.flow.clone()),
            None => {
                self.warn_key(node, "TR-FLOW-REFERENCE", "id");
                self.fail("TR-FLOW-REFERENCE")
            }
        }
    }

    /// The id of a callflow that a stored document holds at a path.
    fn callflow_at(&self, data: Data<'_>) -> Option<String> {
        let document = self.app.document.stored.any(data.filled("doc_id")?)?;
        let path = path_of(data.value("path")?);
        document.at_path(path.iter().map(String::as_str))?.text().map(str::to_owned)
    }

    pub(super) fn branch_variable(&mut self, data: Data<'_>) -> Next {
        let path = data.value("variable").map(path_of).unwrap_or_default();
        let is_private = path.iter().any(|name| name.starts_with('_') || name.starts_with("pvt_"));
        if path.is_empty() || is_private {
            return self.fail("TR-FLOW-KEY-RANGE");
        }
        let value = self.variable(data, &path);
        match value.filter(|value| !value.is_empty()).and_then(|value| self.attempt(&value)) {
            Some(next) => next,
            None => Next::on(),
        }
    }

    fn variable(&self, data: Data<'_>, path: &[String]) -> Option<String> {
        let names = || path.iter().map(String::as_str);
        let stored = &self.app.document.stored;
        let of = |json: Option<&Json>| json?.at_path(names())?.scalar();
        let device = || of(self.caller_device().map(|(_, device)| device));
        let user = || of(self.caller_user().as_deref().and_then(|id| stored.find("users", id)));
        let channel = || {
            let [name] = path else { return None };
            self.channel_vars.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        match data.text("scope") {
            Some("device") => device(),
            Some("user") => user(),
            Some("merged") => device().or_else(user).or_else(channel),
            Some("doc") => of(stored.any(data.filled("id")?)),
            Some("account") => match names().next()? {
                "id" => Some(self.app.account.clone()),
                "name" => Some(self.app.directory.name.clone()),
                "timezone" => Some(self.app.directory.time_zone.clone()),
                _ => None,
            },
            Some(_) | None => channel(),
        }
    }

    pub(super) fn branch_bnumber(&mut self, data: Data<'_>) -> Next {
        let number = self.captures.longest.clone();
        if number.is_empty() {
            return Next::on();
        }
        if !data.is("hunt") {
            return self.attempt(&number).unwrap_or_else(Next::on);
        }
        let matches = |key: &str, otherwise: bool| match data.filled(key) {
            Some(text) => Pattern::new(text).is_ok_and(|pattern| pattern.is_match(&number)),
            None => otherwise,
        };
        let allowed = matches("hunt_allow", true) && !matches("hunt_deny", false);
        match allowed.then(|| self.stored_flow(&number)).flatten() {
            Some(flow) => Next::Branch(flow),
            None => Next::on(),
        }
    }

    pub(super) fn set_variable(&mut self, data: Data<'_>) -> Next {
        let name = data.filled("variable").unwrap_or("").to_owned();
        if !CHANNEL_VARS.contains(&name.as_str()) {
            if let Some(node) = self.node() {
                self.warn_key(&node, "TR-FLOW-KEY-UNUSED", "variable");
            }
            return Next::on();
        }
        self.channel_vars.retain(|(known, _)| *known != name);
        if let Some(value) = data.filled("value") {
            self.channel_vars.push((name, value.to_owned()));
        }
        Next::on()
    }

    pub(super) fn set_variables(&mut self, data: Data<'_>) -> Next {
        let pairs = data.value("custom_application_vars").map_or(&[][..], Json::members);
        for (name, value) in pairs {
            let plain = value.to_plain();
            let is_full = self.application_vars.len() >= VALUES_MAX;
            match self.application_vars.iter_mut().find(|(known, _)| known == name) {
                _ if plain.to_string().len() > VALUE_BYTES_MAX => self.warn("TR-FLOW-LIMIT", name.clone()),
                Some((_, known)) => *known = plain,
                None if is_full => self.warn("TR-FLOW-LIMIT", name.clone()),
                None => self.application_vars.push((name.clone(), plain)),
            }
        }
        Next::on()
    }

    pub(super) fn set_language(&mut self, data: Data<'_>) -> Next {
        self.language = Language::new(data.text("language").unwrap_or("en-US"));
        Next::on()
    }

    pub(super) fn set_alert_info(&mut self, data: Data<'_>) -> Next {
        self.alert_info = data.filled("alert_info").map(str::to_owned);
        Next::on()
    }
}

/// A path that is written as a text with dots, or as a list.
fn path_of(json: &Json) -> Vec<String> {
    match &json.value {
        Value::List(items) => items.iter().filter_map(Json::scalar).collect(),
        Value::Text(text) => text.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        Value::Null | Value::Toggle(_) | Value::Integer(_) | Value::Real(_) | Value::Object(_) => Vec::new(),
    }
}
