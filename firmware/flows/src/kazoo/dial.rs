//! Modules that ring somebody: device, user, group, ring_group, resources, offnet, and what
//! becomes of the call when nobody answers.

use std::time::Duration;

use tipring_model::flow::{
    Action, ActionFailure, Collect, Dial, DialOrder, DialTarget, Dialed, LegEvent, Moment, Outcome, Ringback,
    Target,
};
use tipring_model::prompt::Prompt;
use tipring_model::{ActionId, CallerId, Cause, Digit, DigitSet, LegId};

use super::endpoints::{Endpoint, Item, TARGETS_MAX, Wish};
use super::flow::{KazooFlow, Next, Then, WILDCARD, seconds, timeout};
use super::keys::Data;
use crate::json::Json;

/// Ringing time where nothing says how long.
const RING: Duration = Duration::from_secs(20);
/// How long somebody who must press a key is waited for.
const KEYPRESS: Duration = Duration::from_secs(10);
/// Rounds of a ring group.
const ROUNDS_MAX: u64 = 100;
/// Seconds from the year 0 to 1970, as the platform counts time.
pub(crate) const GREGORIAN_OFFSET: i64 = 62_167_219_200;
/// Header fields that a module may add to a call.
const HEADERS_MAX: usize = 32;

/// A dial under way.
pub(super) struct Bridge {
    kind: Kind,
    /// The telephones that ring, by their numbers.
    numbers: Vec<Option<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Endpoints,
    /// A ring group; it ends the whole run after a conversation, or only the flow.
    RingGroup {
        ends_run: bool,
    },
    Trunk,
}

/// Legs that must press a key before they are connected.
#[derive(Default)]
pub(super) struct Questions {
    /// Targets of the present dial that are asked.
    targets: Vec<usize>,
    legs: Vec<(LegId, Option<ActionId>)>,
}

/// A dial before it begins.
struct Ring<'a> {
    endpoints: Vec<Endpoint>,
    order: DialOrder,
    ring_max: Duration,
    kind: Kind,
    data: Data<'a>,
}

impl KazooFlow {
    pub(super) fn device(&mut self, data: Data<'_>) -> Next {
        let wish = Wish {
            delay: seconds(data.count("delay").unwrap_or(0)),
            can_call_self: data.is("can_call_self"),
            is_direct: true,
            ..Wish::default()
        };
        let endpoints = self.device_endpoints(data.filled("id").unwrap_or(""), wish);
        let order = order(data.text("dial_strategy"));
        self.ring(
            Ring { endpoints, order, ring_max: timeout(data, RING), kind: Kind::Endpoints, data },
            |dial| dial.early_media = true,
        )
    }

    pub(super) fn user(&mut self, data: Data<'_>) -> Next {
        let wish = Wish {
            delay: seconds(data.count("delay").unwrap_or(0)),
            can_call_self: data.is("can_call_self"),
            is_direct: true,
            ..Wish::default()
        };
        let endpoints = self.user_endpoints(data.filled("id").unwrap_or(""), wish);
        let order = order(data.text("strategy"));
        self.ring(
            Ring { endpoints, order, ring_max: timeout(data, RING), kind: Kind::Endpoints, data },
            |dial| dial.early_media = order == DialOrder::InOrder,
        )
    }

    pub(super) fn group(&mut self, data: Data<'_>) -> Next {
        let id = data.filled("id").or_else(|| data.filled("group_id")).unwrap_or("");
        let own = data.value("endpoints").map_or(&[][..], Json::items);
        let items = if own.is_empty() {
            self.group_items(id).unwrap_or_default()
        } else {
            own.iter().filter_map(|item| self.listed_item(item)).collect()
        };
        self.ring_items(data, None, items, Kind::Endpoints)
    }

    pub(super) fn ring_group(&mut self, now: Moment, data: Data<'_>) -> Next {
        let app = std::rc::Rc::clone(&self.app);
        let group_id = data.filled("group_id");
        let stored = group_id.and_then(|id| {
            let documents = &app.document.stored;
            documents.find("ring_groups", id).or_else(|| documents.find("groups", id))
        });
        let written = data.value("endpoints").map_or(&[][..], Json::items);
        let mut items = Vec::new();
        for (n, json) in written.iter().enumerate() {
            let until =
                json.get("disable_until").and_then(Json::scalar).and_then(|until| until.parse::<i64>().ok());
            let is_out = until.is_some_and(|until| until > now.unix_ms.div_euclid(1_000) + GREGORIAN_OFFSET);
            let Some(item) = self.listed_item(json) else {
                if let Some(node) = self.node() {
                    self.warn_key(&node, "TR-FLOW-REFERENCE", &format!("endpoints[{n}]"));
                }
                continue;
            };
            if !is_out && !self.is_logged_out(&item.id) {
                items.push(item);
            }
        }
        if written.is_empty() {
            items = group_id.and_then(|id| self.group_items(id)).unwrap_or_default();
        }
        let ends_run = data.toggle("hard_stop_after_successful_group").unwrap_or(true);
        self.ring_items(data, stored, items, Kind::RingGroup { ends_run })
    }

    /// Rings the items of a group; what its node does not say, its stored document may.
    fn ring_items(
        &mut self,
        data: Data<'_>,
        stored: Option<&Json>,
        mut items: Vec<Item>,
        kind: Kind,
    ) -> Next {
        let stored = Data::new(&[], stored);
        let source =
            |key: &str| if data.value(key).is_none() && stored.value(key).is_some() { stored } else { data };
        let strategy = source("strategy").text("strategy").unwrap_or("simultaneous").to_owned();
        if strategy == "weighted_random" {
            items = self.shuffled(items);
        } else if strategy != "single" {
            items.sort_by_key(|item| item.delay);
        }
        let ring_max = timeout(source("timeout"), RING);
        for item in &mut items {
            // A member rings its own time, however long the round.
            item.ring_max = item.ring_max.or_else(|| (ring_max > RING).then_some(RING));
        }
        let ignores_forward = source("ignore_forward").toggle("ignore_forward").unwrap_or(true);
        let wish = Wish { ignores_forward, ..Wish::default() };
        let endpoints = self.endpoints_of(items, wish);
        let order = if strategy == "simultaneous" { DialOrder::AllAtOnce } else { DialOrder::InOrder };
        let rounds = source("repeats").count("repeats").unwrap_or(1).clamp(1, ROUNDS_MAX);
        let ignores_early = data.toggle("ignore_early_media").unwrap_or(order == DialOrder::AllAtOnce);
        self.ring(Ring { endpoints, order, ring_max, kind, data }, |dial| {
            dial.rounds = u32::try_from(rounds).unwrap_or(1);
            dial.early_media = !ignores_early;
            if order == DialOrder::InOrder {
                dial.round_max = Some(ring_max);
                dial.ring_max = RING;
            }
        })
    }

    /// Drawn one after the other, the heavier the earlier; the same for the same call.
    fn shuffled(&self, mut items: Vec<Item>) -> Vec<Item> {
        let id = self.facts().map_or(0, |facts| facts.id.0);
        let mut state =
            u64::try_from(id >> 64).unwrap_or(0) ^ u64::try_from(id & u128::from(u64::MAX)).unwrap_or(0);
        let mut drawn = Vec::new();
        while !items.is_empty() {
            // One step of splitmix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let whole: u64 = items.iter().map(|item| item.weight).sum();
            let mut left = (mixed ^ (mixed >> 31)) % whole.max(1);
            let at = items.iter().position(|item| {
                let is_here = left < item.weight;
                left = left.saturating_sub(item.weight);
                is_here
            });
            drawn.push(items.remove(at.unwrap_or(0)));
        }
        drawn
    }

    pub(super) fn resources(&mut self, data: Data<'_>) -> Next {
        let facts = self.facts.clone();
        let dialled = facts.as_ref().map_or("", |facts| facts.to.as_str());
        // What was asked for before the box made a number of it.
        let raw =
            facts.as_ref().and_then(|facts| facts.origin.request_uri.split_once('@')).map(|(user, _)| user);
        let keeps_raw = data.is("do_not_normalize") || data.is("bypass_e164");
        let asked = self.dialled.clone();
        let number =
            data.filled("to_did").or(asked.as_deref()).or(raw.filter(|_| keeps_raw)).unwrap_or(dialled);
        if number.is_empty() {
            return self.fail("TR-FLOW-TARGET");
        }
        let target = Target::Trunk { line: None, number: number.to_owned() };
        let endpoints = vec![Endpoint { target: DialTarget::new(target), asks: false }];
        let configured = self.configured_caller(data.text("caller_id_type").unwrap_or("external"));
        let hears_early = !data.is("ignore_early_media");
        let ring = Ring {
            endpoints,
            order: DialOrder::AllAtOnce,
            ring_max: timeout(data, RING),
            kind: Kind::Trunk,
            data,
        };
        self.ring(ring, |dial| {
            dial.early_media = hears_early;
            if dial.caller_id.is_none() {
                dial.caller_id = configured;
            }
        })
    }

    /// Rings the number that was dialled behind a feature code; the telephone answers itself.
    pub(super) fn intercom(&mut self) -> Next {
        let number = self.captures.longest.clone();
        let app = std::rc::Rc::clone(&self.app);
        let wish = Wish { is_direct: true, ignores_forward: true, ..Wish::default() };
        let mut endpoints = self.device_endpoints(&number, wish);
        if endpoints.is_empty() {
            let id = app
                .document
                .stored
                .all("devices")
                .find(|(_, device)| self.device_number(device).as_deref() == Some(number.as_str()));
            endpoints = match id {
                Some((id, _)) => self.device_endpoints(id, wish),
                None => self.user_endpoints(&number, wish),
            };
        }
        self.ring_self_answering(endpoints, RING)
    }

    fn ring_self_answering(&mut self, mut endpoints: Vec<Endpoint>, ring_max: Duration) -> Next {
        for endpoint in &mut endpoints {
            endpoint.target.auto_answer = true;
        }
        let data = Data::new(&[], None);
        let ring = Ring { endpoints, order: DialOrder::AllAtOnce, ring_max, kind: Kind::Endpoints, data };
        self.ring(ring, |_| {})
    }

    fn ring(&mut self, ring: Ring<'_>, shape: impl FnOnce(&mut Dial)) -> Next {
        let Ring { endpoints, order, ring_max, kind, data } = ring;
        let mut rung: Vec<Endpoint> = Vec::new();
        for endpoint in endpoints {
            let is_known = rung.iter().any(|known| {
                let (known, new) = (&known.target, &endpoint.target);
                known.target == new.target && known.delay == new.delay && known.ring_max == new.ring_max
            });
            if !is_known {
                rung.push(endpoint);
            }
        }
        if rung.len() > TARGETS_MAX {
            rung.truncate(TARGETS_MAX);
            if let Some(node) = self.node() {
                self.warn_key(&node, "TR-FLOW-LIMIT", "endpoints");
            }
        }
        if rung.is_empty() {
            self.fault = Some("TR-DIAL-NO-TARGET");
            let key = if matches!(kind, Kind::RingGroup { .. }) { "NO_ENDPOINTS" } else { WILDCARD };
            return Next::Go(key.to_owned());
        }
        let headers = self.headers(data);
        for endpoint in &mut rung {
            endpoint.target.headers = headers.clone();
        }
        let asked: Vec<usize> =
            rung.iter().enumerate().filter(|(_, endpoint)| endpoint.asks).map(|(n, _)| n).collect();
        let mut dial = Dial {
            targets: rung.into_iter().map(|endpoint| endpoint.target).collect(),
            caller_id: if data.is("suppress_clid") { Some(CallerId::default()) } else { self.shown() },
            stops_at_refusal: data.is("fail_on_single_reject"),
            reports: !asked.is_empty(),
            ringback: self.ringback(data),
            ..Dial::new(Vec::new(), order, ring_max)
        };
        shape(&mut dial);
        dial.record = self.recordings.take_for_bridge();
        self.questions = Questions { targets: asked, legs: Vec::new() };
        let number = |target: &DialTarget| match &target.target {
            Target::Number(number) => Some(number.clone()),
            Target::Trunk { .. } | Target::Sip(_) | Target::Session(_) | Target::Queue { .. } => None,
        };
        let numbers = dial.targets.iter().map(number).collect();
        self.act(Action::Dial(dial), Then::Bridged(Box::new(Bridge { kind, numbers })))
    }

    fn ringback(&self, data: Data<'_>) -> Ringback {
        let written = data.filled("ringback").or(self.ringback.as_deref());
        match written.and_then(|id| self.media(id)) {
            Some(source) => Ringback::Prompt(source),
            None => Ringback::Tone,
        }
    }

    /// Header fields for the telephones: what they show or how they ring.
    pub(super) fn headers(&self, data: Data<'_>) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        let kind = if self.caller_extension().is_some() { "internal" } else { "external" };
        let ringtone = data.inside("ringtones", "ringtones.").filled(kind).map(str::to_owned);
        if let Some(ring) = self.alert_info.clone().or(ringtone) {
            headers.push(("Alert-Info".to_owned(), ring));
        }
        let written = data.value("custom_sip_headers");
        // The platform keeps them by direction, too.
        let outgoing = written.and_then(|written| written.get("out"));
        for (name, value) in written.into_iter().chain(outgoing).flat_map(Json::members) {
            headers.extend(value.scalar().map(|value| (name.clone(), value)));
        }
        headers.retain(|(name, value)| is_own_header(name) && !value.contains(char::is_control));
        headers.truncate(HEADERS_MAX);
        headers
    }

    // --- What becomes of it.

    /// Rings one number of the office.
    pub(super) fn ring_number(&mut self, number: &str) -> Next {
        let target = DialTarget::new(Target::Number(number.to_owned()));
        let endpoints = vec![Endpoint { target, asks: false }];
        let data = Data::new(&[], None);
        let ring =
            Ring { endpoints, order: DialOrder::AllAtOnce, ring_max: RING, kind: Kind::Endpoints, data };
        self.ring(ring, |dial| dial.early_media = true)
    }

    /// Rings the telephones of somebody.
    pub(super) fn ring_user(&mut self, id: &str) -> Next {
        let endpoints = self.user_endpoints(id, Wish { is_direct: true, ..Wish::default() });
        let data = Data::new(&[], None);
        let ring =
            Ring { endpoints, order: DialOrder::AllAtOnce, ring_max: RING, kind: Kind::Endpoints, data };
        self.ring(ring, |_| {})
    }

    pub(super) fn bridged(&mut self, now: Moment, bridge: &Bridge, outcome: &Outcome) -> Next {
        self.questions = Questions::default();
        let failed = if let Outcome::Dialed(dialed) = outcome {
            if let Some(answered) = dialed.answered {
                self.talked_with = bridge.numbers.get(answered).cloned().flatten();
                return self.talked(now, bridge);
            }
            dialed.clone()
        } else if let Outcome::Failed(ActionFailure::NoTarget(cause)) = outcome {
            Dialed::nobody(*cause)
        } else {
            return Next::on();
        };
        let known = [(Cause::Busy, "TR-DIAL-BUSY"), (Cause::NoAnswer, "TR-DIAL-NO-ANSWER")];
        let code = known.iter().find(|(cause, _)| *cause == failed.cause).map(|(_, code)| *code);
        self.fault = Some(code.unwrap_or("TR-DIAL-FAILED"));
        let (name, status) = cause_keys(&failed);
        let named = self.attempt(name).or_else(|| self.attempt(&format!("sip:{status}")));
        if let Some(next) = named {
            return next;
        }
        let goes_on = self.attempt(WILDCARD).is_some() && !self.app.strict_offnet_failure;
        if bridge.kind == Kind::Trunk && !goes_on {
            return Next::Over(failed.cause, "not_connected");
        }
        Next::on()
    }

    fn talked(&mut self, now: Moment, bridge: &Bridge) -> Next {
        self.served = true;
        self.now_answered();
        if let Some(next) = self.bridge_after(now) {
            return next;
        }
        match bridge.kind {
            Kind::RingGroup { ends_run: true } => Next::Over(Cause::NormalClearing, "talked"),
            Kind::RingGroup { ends_run: false } | Kind::Endpoints | Kind::Trunk => Next::Stop,
        }
    }

    // --- Whoever must press a key.

    /// Something happened to a leg that is being reached.
    pub(super) fn target_event(&mut self, leg: LegId, event: &LegEvent) {
        if let LegEvent::Placed { target, .. } = event {
            if self.questions.targets.contains(target) && self.questions.legs.len() < TARGETS_MAX * 4 {
                self.questions.legs.push((leg, None));
            }
        } else if let LegEvent::Answered(_) = event {
            if !self.questions.legs.iter().any(|(known, asked)| *known == leg && asked.is_none()) {
                return;
            }
            let prompt = Prompt { barge_in: DigitSet::ALL, ..Prompt::once(self.prompt("followme-accept")) };
            let collect = Collect {
                prompts: vec![prompt],
                digits_max: 1,
                finish: DigitSet::NONE,
                first_digit: Some(KEYPRESS),
                between_digits: None,
                total: None,
                typed_ahead: true,
            };
            let action = self.begin(leg, Action::Collect(collect));
            if let Some(known) = self.questions.legs.iter_mut().find(|(known, _)| *known == leg) {
                known.1 = Some(action);
            }
        } else if let LegEvent::Released(_) = event {
            self.questions.legs.retain(|(known, _)| *known != leg);
        }
    }

    /// True if the action asked for a key.
    pub(super) fn question_ended(&mut self, id: ActionId, outcome: &Outcome) -> bool {
        let asked = self.questions.legs.iter().find(|(_, action)| *action == Some(id));
        let Some(leg) = asked.map(|(leg, _)| *leg) else { return false };
        self.questions.legs.retain(|(known, _)| *known != leg);
        if let Outcome::Collected(collected) = outcome {
            let accepts = collected.digits.as_slice() == [Digit::D1];
            self.begin(leg, if accepts { Action::Accept } else { Action::Release(Cause::NormalClearing) });
        }
        true
    }
}

fn order(strategy: Option<&str>) -> DialOrder {
    if strategy == Some("single") { DialOrder::InOrder } else { DialOrder::AllAtOnce }
}

/// True for a header field that the box does not set itself.
fn is_own_header(name: &str) -> bool {
    const OWN: [&str; 5] = ["alert-info", "call-info", "diversion", "subject", "priority"];
    let name = name.to_ascii_lowercase();
    let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_token && (name.starts_with("x-") || OWN.contains(&name.as_str()))
}

/// The child keys of a failed call: the cause by name, and the SIP status.
pub(super) fn cause_keys(dialed: &Dialed) -> (&'static str, u16) {
    let by_status = dialed.status.and_then(|status| {
        let name = match status {
            404 => "UNALLOCATED_NUMBER",
            486 | 600 => "USER_BUSY",
            603 | 403 => "CALL_REJECTED",
            408 => "NO_ANSWER",
            480 => "NO_USER_RESPONSE",
            487 => "ORIGINATOR_CANCEL",
            503 => "NORMAL_TEMPORARY_FAILURE",
            488 => "INCOMPATIBLE_DESTINATION",
            502 => "DESTINATION_OUT_OF_ORDER",
            _ => return None,
        };
        Some((name, status))
    });
    by_status.unwrap_or_else(|| {
        let (name, status) = hangup_cause(dialed.cause);
        (name, dialed.status.unwrap_or(status))
    })
}

/// What the platform calls the end of a call, and the SIP status that goes with it.
pub(crate) const fn hangup_cause(cause: Cause) -> (&'static str, u16) {
    match cause {
        Cause::Unallocated => ("UNALLOCATED_NUMBER", 404),
        Cause::NormalClearing => ("NORMAL_CLEARING", 603),
        Cause::Busy => ("USER_BUSY", 486),
        Cause::NoUserResponse => ("NO_USER_RESPONSE", 480),
        Cause::NoAnswer => ("NO_ANSWER", 408),
        Cause::Rejected => ("CALL_REJECTED", 603),
        Cause::NotAllowed => ("CALL_REJECTED", 403),
        Cause::InvalidNumber => ("INVALID_NUMBER_FORMAT", 484),
        Cause::DestinationOutOfOrder => ("DESTINATION_OUT_OF_ORDER", 502),
        Cause::NoCircuit => ("NORMAL_CIRCUIT_CONGESTION", 503),
        Cause::NetworkOutOfOrder => ("NETWORK_OUT_OF_ORDER", 500),
        Cause::TemporaryFailure => ("NORMAL_TEMPORARY_FAILURE", 503),
        Cause::Incompatible => ("INCOMPATIBLE_DESTINATION", 488),
        Cause::RecoveryOnTimer => ("RECOVERY_ON_TIMER_EXPIRE", 504),
        Cause::Cancelled => ("ORIGINATOR_CANCEL", 487),
        Cause::AnsweredElsewhere => ("LOSE_RACE", 487),
        Cause::Unspecified => ("NORMAL_UNSPECIFIED", 500),
    }
}
