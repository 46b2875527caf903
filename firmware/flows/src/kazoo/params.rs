//! What the box tells servers: the fields of Pivot requests and of webhooks.

use serde_json::{Map, Value};
use tipring_model::fetch::{Body, HttpRequest, Method};

use super::flow::KazooFlow;
use crate::address;

/// How far objects inside objects are written.
const NESTED_MAX: usize = 8;

/// Names and values of a request, in order.
pub(super) type Fields = Vec<(String, Value)>;

/// How fields are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Query,
    Form,
    Json,
}

/// `Key[Sub]=value` for objects, `Key[]=value` for lists.
pub(super) fn flat(fields: &[(String, Value)]) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        push_flat(&mut pairs, name.clone(), value, 0);
    }
    pairs
}

fn push_flat(pairs: &mut Vec<(String, String)>, name: String, value: &Value, depth: usize) {
    match value {
        Value::Null => {}
        Value::Bool(on) => pairs.push((name, on.to_string())),
        Value::Number(number) => pairs.push((name, number.to_string())),
        Value::String(text) => pairs.push((name, text.clone())),
        Value::Array(items) if depth < NESTED_MAX => {
            for item in items {
                push_flat(pairs, format!("{name}[]"), item, depth + 1);
            }
        }
        Value::Object(members) if depth < NESTED_MAX => {
            for (key, member) in members {
                push_flat(pairs, format!("{name}[{key}]"), member, depth + 1);
            }
        }
        Value::Array(_) | Value::Object(_) => {}
    }
}

/// Puts fields into a request.
pub(super) fn send(request: &mut HttpRequest, fields: Fields, encoding: Encoding) {
    match encoding {
        Encoding::Query => request.url = address::with_query(&request.url, &flat(&fields)),
        Encoding::Form => request.body = Some(address::form(&flat(&fields))),
        Encoding::Json => {
            let object: Map<String, Value> = fields.into_iter().collect();
            let bytes = Value::Object(object).to_string().into_bytes();
            request.body = Some(Body { media_type: "application/json".to_owned(), bytes });
        }
    }
}

/// The encoding of a method; a body only where the method carries one.
pub(super) fn encoding(method: Method, is_json: bool) -> Encoding {
    match (method == Method::Post, is_json) {
        (false, _) => Encoding::Query,
        (true, false) => Encoding::Form,
        (true, true) => Encoding::Json,
    }
}

fn halves(uri: &str) -> (&str, &str) {
    uri.split_once('@').unwrap_or((uri, ""))
}

struct Adding(Fields);

impl Adding {
    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.0.push((name.to_owned(), value.into()));
        }
    }

    fn object(&mut self, name: &str, pairs: impl Iterator<Item = (String, Value)>) {
        let object: Map<String, Value> = pairs.collect();
        if !object.is_empty() {
            self.0.push((name.to_owned(), Value::Object(object)));
        }
    }
}

impl KazooFlow {
    /// User and realm of an address; on a line without addresses, the number and the box.
    fn party<'a>(&'a self, uri: &'a str, number: &'a str) -> (&'a str, &'a str) {
        if uri.is_empty() { (number, self.app.directory.name.as_str()) } else { halves(uri) }
    }

    fn headers_of_caller(&self) -> impl Iterator<Item = (String, Value)> {
        let headers = self.facts().map_or(&[][..], |facts| &facts.origin.headers);
        headers.iter().map(|(name, value)| (name.clone(), value.as_str().into()))
    }

    /// The fields of a Pivot request in the format of the platform.
    pub(super) fn pivot_fields(&self) -> Fields {
        let Some(facts) = self.facts() else { return Vec::new() };
        let mut fields = Adding(Vec::new());
        let origin = &facts.origin;
        let from = self.party(&origin.from_uri, facts.from.number_or_anonymous());
        let to = self.party(&origin.to_uri, facts.to.as_str());
        let request = self.party(&origin.request_uri, facts.to.as_str());
        let number = self.caller_number();
        let name = self.caller.name.as_deref().or(facts.from.name.as_deref());
        for (key, value) in [
            ("Call-ID", facts.id.to_string().as_str()),
            ("Account-ID", self.app.account.as_str()),
            ("Api-Version", "4.x"),
            ("Direction", facts.direction.as_str()),
            ("From", from.0),
            ("From-Realm", from.1),
            ("To", to.0),
            ("To-Realm", to.1),
            ("Request", request.0),
            ("Request-Realm", request.1),
            ("Caller-ID-Name", name.unwrap_or("")),
            ("Caller-ID-Number", number.as_str()),
            ("Language", self.language.set().unwrap_or("")),
            ("User-ID", self.caller_user().unwrap_or_default().as_str()),
        ] {
            fields.text(key, Some(value));
        }
        let collected = self.collections.named.iter().filter(|(_, digits)| !digits.is_empty());
        fields.object("Digits", collected.map(|(name, digits)| (name.clone(), digits.as_str().into())));
        fields.object("Custom-Application-Vars", self.application_vars.iter().cloned());
        fields.object("Custom-SIP-Headers", self.headers_of_caller());
        fields.0
    }

    /// The fields of a webhook.
    pub(super) fn webhook_fields(&self, custom: &[(String, Value)]) -> Fields {
        let Some(facts) = self.facts() else { return Vec::new() };
        let mut fields = Adding(Vec::new());
        let origin = &facts.origin;
        let (from, to) = (facts.from.number_or_anonymous(), facts.to.as_str());
        let joined = |uri: &str, number: &str| {
            let (user, realm) = self.party(uri, number);
            format!("{user}@{realm}")
        };
        let number = self.caller_number();
        let name = self.caller.name.as_deref().or(facts.from.name.as_deref());
        let inception =
            facts.direction == tipring_model::call::Direction::Inbound && origin.extension.is_none();
        for (key, value) in [
            ("call_id", facts.id.to_string().as_str()),
            ("account_id", self.app.account.as_str()),
            ("from", joined(&origin.from_uri, from).as_str()),
            ("from_user", self.party(&origin.from_uri, from).0),
            ("to", joined(&origin.to_uri, to).as_str()),
            ("to_user", self.party(&origin.to_uri, to).0),
            ("request", joined(&origin.request_uri, to).as_str()),
            ("caller_id_name", name.unwrap_or("")),
            ("caller_id_number", number.as_str()),
            ("callee_id_number", to),
            // Where the call came in from outside; calls of the office have none.
            ("inception", if inception { to } else { "" }),
            ("language", self.language.as_str()),
        ] {
            fields.text(key, Some(value));
        }
        fields.object("custom_application_vars", self.application_vars.iter().cloned());
        fields.object("custom_sip_headers", self.headers_of_caller());
        for (name, value) in custom {
            let is_taken = fields.0.iter().any(|(known, _)| known == name);
            if !is_taken && !["type", "action"].contains(&name.as_str()) {
                fields.0.push((name.clone(), value.clone()));
            }
        }
        fields.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_lists_are_written_with_brackets() {
        let fields = vec![
            ("Digits".to_owned(), serde_json::json!({"order": "12"})),
            ("User-ID".to_owned(), serde_json::json!(["a", "b"])),
            ("n".to_owned(), serde_json::json!({"x": {"y": 1.5, "z": null, "on": true}})),
        ];
        let pairs: Vec<String> =
            flat(&fields).iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["Digits[order]=12", "User-ID[]=a", "User-ID[]=b", "n[x][on]=true", "n[x][y]=1.5"]);
    }
}
