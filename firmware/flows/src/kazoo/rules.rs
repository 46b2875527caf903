//! What the table of keys cannot say about a module: values that exclude each other,
//! addresses, header fields, regular expressions.

use super::keys::{self, Fault, Module, shortened};
use super::pattern::Pattern;
use super::{parse, twiml};
use crate::address;
use crate::json::{Json, Value};

/// Checks the data of a module beyond its keys.
pub(super) fn check(module: Module, data: &Json, path: &str, faults: &mut Vec<Fault>) {
    let mut rules = Rules { data, path, faults };
    if module == Module::Pivot {
        rules.pivot();
    } else if module == Module::Webhook {
        rules.needed("uri");
        rules.url("uri");
        rules.headers();
    } else if matches!(module, Module::RecordCall | Module::RecordCaller) {
        rules.url("url");
        if data.get("format").and_then(Json::text) == Some("mp3") {
            rules.unused("format");
        }
    } else if matches!(module, Module::CheckCid | Module::BranchBnumber | Module::DynamicCid) {
        for key in ["regex", "hunt_allow", "hunt_deny", "whitelist_regex"] {
            rules.expression(key);
        }
    } else if matches!(module, Module::AudioMacro | Module::Tones) {
        rules.sounds(module);
    } else if module == Module::RingGroup {
        rules.ring_group();
    } else if module == Module::Language {
        rules.language();
    } else if matches!(module, Module::Device | Module::User) {
        rules.unused("static_invite");
    } else if matches!(module, Module::Offnet | Module::Resources) {
        rules.unused("hunt_account_id");
        rules.unused("addresses");
    }
}

/// Checks a stored document beyond its keys.
pub(super) fn check_stored(kind: &str, item: &Json, path: &str, faults: &mut Vec<Fault>) {
    if kind == "menus" {
        let mut rules = Rules { data: item, path, faults };
        rules.expression("hunt_allow");
        rules.expression("hunt_deny");
    }
}

struct Rules<'a> {
    data: &'a Json,
    path: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Rules<'_> {
    fn fault(&mut self, code: &'static str, fatal: bool, at: &Json, subject: String) {
        self.faults.push(Fault { code, fatal, at: at.at, subject });
    }

    fn value(&self, key: &str) -> Option<&Json> {
        self.data.get(key).filter(|value| value.value != Value::Null)
    }

    fn needed(&mut self, key: &str) {
        if self.value(key).is_none() {
            let (data, subject) = (self.data, format!("{}.{key}", self.path));
            self.fault("TR-FLOW-KEY-MISSING", true, data, subject);
        }
    }

    /// A key that is read and has no effect.
    fn unused(&mut self, key: &str) {
        if let Some(value) = self.value(key).cloned() {
            let subject = format!("{}.{key}", self.path);
            self.fault("TR-FLOW-KEY-UNUSED", false, &value, subject);
        }
    }

    fn url(&mut self, key: &str) {
        let Some(value) = self.value(key).cloned() else { return };
        let Some(text) = value.text() else { return };
        // Without what stands before the host: it may be a password.
        let shown = text.rsplit('@').next().unwrap_or(text);
        let subject = format!("{}.{key}: {}", self.path, shortened(shown));
        match address::absolute(text) {
            None => self.fault("TR-HOOK-URL", true, &value, subject),
            // The box's own guard has the last word, since it knows what its owner allows.
            Some(url) => {
                if let Some(entry) = address::guarded(&url) {
                    let subject = format!("{}.{key}: {}", self.path, address::allowing(&entry));
                    self.fault("TR-HOOK-GUARDED", false, &value, subject);
                }
            }
        }
    }

    fn expression(&mut self, key: &str) {
        let Some(value) = self.value(key).cloned() else { return };
        let Some(text) = value.text() else { return };
        if let Err(code) = Pattern::new(text) {
            let subject = format!("{}.{key}: {}", self.path, shortened(text));
            self.fault(code, true, &value, subject);
        }
    }

    fn headers(&mut self) {
        let Some(headers) = self.value("custom_request_headers").cloned() else { return };
        for (name, value) in headers.members() {
            let subject = format!("{}.custom_request_headers.{}", self.path, shortened(name));
            if !name.starts_with("x-") && !name.starts_with("X-") {
                self.fault("TR-FLOW-HEADER-X", true, value, subject);
            } else if value.text().is_none() {
                self.fault("TR-FLOW-KEY-TYPE", true, value, format!("{subject}: a text"));
            } else if !is_header(name, value.text().unwrap_or("")) {
                self.fault("TR-FLOW-HEADER", true, value, subject);
            }
        }
    }

    fn pivot(&mut self) {
        let at = self.data;
        match (self.value("voice_url").is_some(), self.value("serverless").cloned()) {
            (true, Some(serverless)) => {
                let subject = format!("{}.serverless: not with voice_url", self.path);
                self.fault("TR-FLOW-KEY-CONFLICT", true, &serverless, subject);
            }
            (false, None) => {
                let subject = format!("{}.voice_url", self.path);
                self.fault("TR-FLOW-KEY-MISSING", true, at, subject);
            }
            (true, None) | (false, Some(_)) => {}
        }
        self.serverless();
        self.url("voice_url");
        self.url("cdr_url");
        self.headers();
        let is_twiml = self.value("req_format").and_then(Json::text) == Some("twiml");
        if !is_twiml {
            self.unused("cdr_url");
        }
    }

    /// A flow that stands in the node as a text: what would not run is refused now.
    fn serverless(&mut self) {
        let Some(serverless) = self.value("serverless").cloned() else { return };
        let Some(doc) = serverless.get("flow_doc").filter(|doc| doc.text().is_some()) else { return };
        let text = doc.text().unwrap_or("");
        let path = format!("{}.serverless.flow_doc", self.path);
        let is_json = serverless.get("flow_type").and_then(Json::text) == Some("application/json");
        if !is_json {
            if let Some(code) = twiml::fault(text.as_bytes()) {
                self.fault(code, true, doc, path);
            }
        } else if let Err(report) = parse::answer(text.as_bytes()) {
            for finding in report.findings.iter().filter(|finding| finding.fatal) {
                self.fault(finding.code, true, doc, format!("{path}: {}", finding.subject));
            }
        }
    }

    /// Each sound by the table of its kind.
    fn sounds(&mut self, module: Module) {
        let key = if module == Module::Tones { "tones" } else { "macros" };
        for (n, item) in self.data.get(key).map_or(&[][..], Json::items).iter().enumerate() {
            let name = item.get("macro").and_then(Json::text);
            let table = if module == Module::Tones { keys::TONE } else { keys::of_macro(name.unwrap_or("")) };
            let path = format!("{}.{key}[{n}]", self.path);
            let before = self.faults.len();
            keys::check(table, item, &path, self.faults);
            let own = self.faults.split_off(before);
            self.faults.extend(own.into_iter().filter(|fault| fault.subject != format!("{path}.macro")));
        }
    }

    fn ring_group(&mut self) {
        if self.value("endpoints").is_none() && self.value("group_id").is_none() {
            let (data, subject) = (self.data, format!("{}.endpoints", self.path));
            self.fault("TR-FLOW-KEY-MISSING", true, data, subject);
        }
    }

    /// Two letters, and two more for the country.
    fn language(&mut self) {
        let Some(value) = self.value("language").cloned() else { return };
        let Some(text) = value.text() else { return };
        if !is_language(text) {
            let subject = format!("{}.language: {}", self.path, shortened(text));
            self.fault("TR-FLOW-KEY-RANGE", true, &value, subject);
        }
    }
}

fn is_language(text: &str) -> bool {
    let letters = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    match text.split_once('-') {
        Some((language, country)) => letters(language) && letters(country),
        None => letters(text),
    }
}

/// True for a name and a value that can go into a request.
fn is_header(name: &str, value: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    name.bytes().all(good) && !value.chars().any(|c| c.is_control() && c != '\t')
}
