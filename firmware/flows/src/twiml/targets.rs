//! Whom a Dial rings: the nouns inside it, as targets.

use std::time::Duration;

use tipring_model::fetch::Method;
use tipring_model::flow::{Action, Detect, DialTarget, Target};

use super::attributes::{Attributes, BAD_VALUE, children_named, parameters};
use super::audio::{tone_actions, tones};
use super::flow::TwimlFlow;
use super::names::Name;
use super::parse::child_path;
use super::script::{Script, Verb};
use super::settings::{Address, Callback, Profile};
use crate::xml::Element;

/// Targets of one Dial.
const TARGETS_MAX: usize = 10;
/// Longest SIP address.
const ADDRESS_BYTES_MAX: usize = 256;
/// Header fields of one target, in characters.
const HEADERS_CHARS_MAX: usize = 1_024;

/// What is to be done with a target besides ringing it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// As the application knows it.
    pub(super) to: String,
    pub(super) callback: Option<Callback>,
    /// The document that runs on it before it is connected.
    pub(super) screen: Option<Address>,
    /// Sent to it before that.
    pub(super) digits: Vec<Action>,
    pub(super) detect: Option<(Detect, Option<Address>)>,
    pub(super) path: String,
}

/// The targets of a Dial and their plans, in the same order.
#[derive(Default, Debug)]
pub(super) struct Targets {
    pub(super) targets: Vec<DialTarget>,
    pub(super) plans: Vec<Plan>,
    /// They are rung one after the other, whatever the Dial says.
    pub(super) in_order: bool,
}

/// The digits of a number, freed of what people write between them.
pub(super) fn number(text: &str) -> Option<String> {
    let text = text.trim();
    let kept: String = text.chars().filter(|c| !matches!(c, ' ' | '(' | ')' | '-' | '.')).collect();
    let digits = kept.strip_prefix('+').unwrap_or(&kept);
    let is_number = !digits.is_empty()
        && digits.len() <= 32
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#');
    is_number.then_some(kept)
}

/// A SIP address with what stands behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SipAddress {
    /// `user@host[:port]`.
    pub(super) address: String,
    pub(super) headers: Vec<(String, String)>,
    /// It has parameters, such as a transport, that the box chooses by itself.
    pub(super) has_parameters: bool,
}

/// `sip:user@host[:port][;parameters][?x-name=value&…]`; header fields other than those that begin
/// with X-, and User-to-User, are left out.
pub(super) fn sip_address(text: &str) -> Option<SipAddress> {
    let text = text.trim();
    if text.contains(char::is_control) {
        return None;
    }
    let scheme = text
        .split_once(':')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips"));
    let rest = scheme.map(|(_, rest)| rest)?;
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
    let (address, has_parameters) =
        rest.split_once(';').map_or((rest, false), |(address, _)| (address, true));
    let (user, host) = address.split_once('@')?;
    let user_ok = !user.is_empty()
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/%#".contains(&b));
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => (name, Some(port)),
        Some(_) | None => (host, None),
    };
    let host_ok = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
    };
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if !(user_ok && host_ok && port_ok) || address.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    let mut headers = Vec::new();
    let mut chars = 0;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(String::from);
        let (name, value) = (decode(name)?, decode(value)?);
        headers.extend(header(&name, &value, &mut chars)?);
    }
    Some(SipAddress { address: address.to_owned(), headers, has_parameters })
}

/// A header field that may go along: none if it is left out, an error if it must not be sent.
#[expect(clippy::option_option, reason = "refused, left out, and taken are three things")]
fn header(name: &str, value: &str, chars: &mut usize) -> Option<Option<(String, String)>> {
    let is_token =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !is_token || value.chars().any(char::is_control) {
        return None;
    }
    *chars += name.chars().count() + value.chars().count();
    if *chars > HEADERS_CHARS_MAX {
        return None;
    }
    let passes = name.len() > 2
        && (name.get(..2).is_some_and(|head| head.eq_ignore_ascii_case("x-"))
            || name.eq_ignore_ascii_case("User-to-User"));
    Some(passes.then(|| (name.to_owned(), value.to_owned())))
}

impl TwimlFlow {
    /// The targets inside a Dial. What cannot be rung is warned of and left out.
    pub(super) fn targets(&mut self, script: &Script, verb: &Verb) -> Targets {
        let mut all = Targets::default();
        let nouns: Vec<(usize, &std::rc::Rc<Element>)> = verb.element.children.iter().enumerate().collect();
        let is_single = nouns.len() == 1;
        let mut found = 0;
        for (at, child) in nouns {
            let path = child_path(&verb.path, child, at);
            let Some(name) = Name::of(&child.name).filter(|name| Name::Dial.children().contains(name)) else {
                continue;
            };
            found += 1;
            if found > TARGETS_MAX {
                self.warn("TR-FLOW-TARGETS", &verb.path);
                break;
            }
            let before = all.targets.len();
            let refused = self.noun(script, child, name, &path, &mut all);
            if let Err(code) = refused {
                self.warn(code, &path);
            }
            all.in_order |= name == Name::Sip && is_single && all.targets.len() > before + 1;
        }
        if found == 0 && !verb.element.text.trim().is_empty() {
            match self.dialled(&verb.element.text) {
                Some(number) => {
                    let plan = Plan::plain(number.clone(), verb.path.clone());
                    all.push(DialTarget::new(Target::Number(number)), plan);
                }
                None => self.warn("TR-FLOW-TARGET", &verb.path),
            }
        }
        all.targets.truncate(TARGETS_MAX);
        all.plans.truncate(TARGETS_MAX);
        let headers: Vec<(String, String)> =
            self.variables.iter().map(|(name, value)| (format!("X-{name}"), value.clone())).collect();
        for target in &mut all.targets {
            target.headers.extend(headers.iter().cloned());
        }
        all
    }

    /// The number that a text is. Pivot keeps digits and `+`, and drops the rest.
    fn dialled(&self, text: &str) -> Option<String> {
        if self.terms.profile != Profile::Pivot {
            return number(text);
        }
        let kept: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect();
        number(&kept)
    }

    fn noun(
        &mut self,
        script: &Script,
        element: &Element,
        name: Name,
        path: &str,
        all: &mut Targets,
    ) -> Result<(), &'static str> {
        const NO_TARGET: &str = "TR-FLOW-TARGET";
        let mut plan = self.plan(script, element, name, path);
        let text = element.text.trim();
        let phones = |name: &str| -> Vec<String> {
            let name = name.strip_prefix("client:").unwrap_or(name);
            let user = self.directory.user(name).map(|user| user.phones.clone());
            let phone = self.directory.phone(name).map(|phone| vec![phone.number.clone()]);
            phone.or(user).unwrap_or_default()
        };
        if matches!(name, Name::Sip | Name::Uri) {
            return self.sip(element, name, plan, all);
        }
        let numbers = match name.as_str() {
            "Number" => vec![self.dialled(text).ok_or(NO_TARGET)?],
            "Client" => {
                let identity = children_named(element, Name::Identity).next();
                phones(identity.map_or(text, |(_, identity)| identity.text.trim()))
            }
            "User" => self.directory.user(text).map(|user| user.phones.clone()).unwrap_or_default(),
            "Device" | "Verto" => {
                self.directory.phone(text).map(|phone| vec![phone.number.clone()]).unwrap_or_default()
            }
            _ => return Err("TR-FLOW-NOT-OFFERED"),
        };
        if numbers.is_empty() {
            return Err(NO_TARGET);
        }
        let mut chars = 0;
        let mut headers = Vec::new();
        if name == Name::Client {
            for (name, value) in parameters(element, Name::Parameter) {
                headers.extend(header(&format!("X-{name}"), &value, &mut chars).ok_or("TR-FLOW-HEADER")?);
            }
            plan.to = format!("client:{}", plan.to.strip_prefix("client:").unwrap_or(&plan.to));
        }
        for number in numbers {
            let mut plan = plan.clone();
            if name == Name::Number {
                plan.to.clone_from(&number);
            }
            let target = DialTarget { headers: headers.clone(), ..DialTarget::new(Target::Number(number)) };
            all.push(target, plan);
        }
        Ok(())
    }

    fn sip(
        &mut self,
        element: &Element,
        name: Name,
        plan: Plan,
        all: &mut Targets,
    ) -> Result<(), &'static str> {
        let mut uris: Vec<(u64, u64, &Element)> = children_named(element, Name::Uri)
            .map(|(_, uri)| {
                let number = |key: &str| uri.attribute(key).and_then(|text| text.trim().parse::<u64>().ok());
                (number("priority").unwrap_or(0), number("weight").unwrap_or(0), uri)
            })
            .collect();
        // The lowest priority first, and among equals the heaviest.
        uris.sort_by_key(|(priority, weight, _)| (*priority, u64::MAX - weight));
        let uris: Vec<&Element> = match uris.is_empty() || name == Name::Uri {
            true => vec![element],
            false => uris.into_iter().map(|(_, _, uri)| uri).collect(),
        };
        let mut chars = 0;
        let mut more = Vec::new();
        for (_, headers) in children_named(element, Name::Headers) {
            for (name, value) in parameters(headers, Name::Header) {
                more.extend(header(&name, &value, &mut chars).ok_or("TR-FLOW-HEADER")?);
            }
        }
        let mut found = false;
        let is_single = uris.len() == 1;
        for uri in uris {
            let Some(address) = sip_address(&uri.text) else {
                if !is_single {
                    self.warn("TR-FLOW-TARGET", &plan.path);
                }
                continue;
            };
            found = true;
            if address.has_parameters {
                self.warn("TR-FLOW-NO-EFFECT", &plan.path);
            }
            let credential = |key: &str| uri.attribute(key).or_else(|| element.attribute(key));
            let user = credential("username").filter(|user| !user.is_empty());
            let password = credential("password").unwrap_or("");
            let headers = address.headers.into_iter().chain(more.iter().cloned()).collect();
            let to = format!("sip:{}", address.address);
            let target = DialTarget {
                headers,
                credentials: user.map(|user| (user.to_owned(), password.to_owned())),
                ..DialTarget::new(Target::Sip(address.address))
            };
            all.push(target, Plan { to, ..plan.clone() });
        }
        if found { Ok(()) } else { Err("TR-FLOW-TARGET") }
    }

    /// The attributes that Number, Sip and Client share.
    fn plan(&mut self, script: &Script, element: &Element, name: Name, path: &str) -> Plan {
        let mut attributes = Attributes::of(element, name);
        let base = script.base.as_deref();
        let method = attributes.method("method", Method::Post);
        let screen = attributes.url("url", base).map(|url| Address { url, method });
        let method = attributes.method("statusCallbackMethod", Method::Post);
        let known = ["initiated", "ringing", "answered", "completed"];
        let events = attributes.words("statusCallbackEvent", &known, &["completed"]);
        let callback = attributes.url("statusCallback", base);
        let callback = callback.map(|url| Callback { to: Address { url, method }, events });
        let written = attributes.word("sendDigits");
        let digits = written.and_then(tones);
        if written.is_some() && digits.is_none() {
            attributes.note("sendDigits", BAD_VALUE);
        }
        let detect = attributes.choice("machineDetection", &["Enable", "DetectMessageEnd"]).map(|_| {
            let length = attributes.number("machineDetectionTimeout", 30, (3, 60));
            let method = attributes.method("amdStatusCallbackMethod", Method::Post);
            let url = attributes.url("amdStatusCallback", base);
            let detect = Detect { length_max: Duration::from_secs(length), fax: true, voice: true };
            (detect, url.map(|url| Address { url, method }))
        });
        for (key, range) in [
            ("machineDetectionSpeechThreshold", (1_000, 6_000)),
            ("machineDetectionSpeechEndThreshold", (500, 5_000)),
            ("machineDetectionSilenceTimeout", (2_000, 10_000)),
        ] {
            attributes.number(key, range.0, range);
        }
        self.warn_all(attributes, path);
        let identity = children_named(element, Name::Identity).next();
        let to = identity.map_or(&element.text, |(_, identity)| &identity.text).trim().to_owned();
        let digits = digits.map(|tones| tone_actions(&tones)).unwrap_or_default();
        Plan { to, callback, screen, digits, detect, path: path.to_owned() }
    }
}

impl Plan {
    const fn plain(to: String, path: String) -> Self {
        Self { to, callback: None, screen: None, digits: Vec::new(), detect: None, path }
    }
}

impl Targets {
    fn push(&mut self, mut target: DialTarget, plan: Plan) {
        target.held = plan.screen.is_some() || !plan.digits.is_empty();
        self.targets.push(target);
        self.plans.push(plan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_freed_of_their_punctuation() {
        for (text, expected) in [
            (" +1 (555) 010-0199 ", Some("+15550100199")),
            ("1.2*#", Some("12*#")),
            ("", None),
            ("+", None),
            ("1+2", None),
            ("ann", None),
            ("1\n2", None),
            ("123456789012345678901234567890123", None),
        ] {
            assert_eq!(number(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_sip_address_takes_along_what_may_pass() {
        let whole = sip_address("sip:desk@pbx.test:5070;transport=tcp?x-job=1&x-name=A%20B&Via=z").unwrap();
        assert_eq!(whole.address, "desk@pbx.test:5070");
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(whole.headers, [own("x-job", "1"), own("x-name", "A B")]);
        assert!(whole.has_parameters);
        for bad in [
            "desk@pbx.test",
            "sip:desk",
            "sip:@pbx.test",
            "sip:a@",
            "sip:a@b:0",
            "sip:a b@c",
            "tel:+1",
            "sip:a@b?x-a=1%0d%0aVia: x",
            "sip:a@b?x%0a=1",
            "sip:a@b\r\nX: y",
            "sip:a@b.test;x=\nEvil",
            &format!("sip:a@b?x-a={}", "x".repeat(HEADERS_CHARS_MAX)),
            &format!("sip:{}@b", "x".repeat(ADDRESS_BYTES_MAX)),
        ] {
            assert_eq!(sip_address(bad), None, "{bad}");
        }
    }
}
