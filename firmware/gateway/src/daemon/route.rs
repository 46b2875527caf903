//! The dial plan: where an arriving call goes, and over which line a placed leg
//! leaves. Pure.

use tipring_flows::Claim;
use tipring_model::call::Origin;
use tipring_model::flow::Target;
use tipring_model::line::ByTrunk;
use tipring_model::{Cause, LineId, Number};

/// What the dial plan knows of a line.
#[derive(Clone, Debug)]
pub(crate) struct PlannedLine {
    /// Name in the configuration.
    pub name: String,
    /// The number that reaches it from inside.
    pub number: Option<String>,
    /// What it leads to.
    pub leads: Leads,
    /// Flow for calls that arrive.
    pub flow: Option<usize>,
    /// Flow that takes over when the first document of another cannot be had.
    pub local_flow: Option<usize>,
    /// Trunks over which it may call out.
    pub dial_out: Vec<usize>,
}

/// What a line leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Leads {
    /// A telephone of the office.
    ToPhone,
    /// Out of the office, over SIP: the host and port of the next hop. It carries many calls.
    OutOverSip(String, u16),
    /// Out of the office, over two wires. It carries one call.
    OutOverWires,
}

impl PlannedLine {
    const fn is_trunk(&self) -> bool {
        match self.leads {
            Leads::ToPhone => false,
            Leads::OutOverSip(..) | Leads::OutOverWires => true,
        }
    }

    fn hop(&self) -> Option<(&str, u16)> {
        match &self.leads {
            Leads::OutOverSip(host, port) => Some((host, *port)),
            Leads::ToPhone | Leads::OutOverWires => None,
        }
    }
}

/// The dial plan of one configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Lines by their ids.
    pub lines: Vec<PlannedLine>,
    /// Numbers that reach a flow, with its position.
    pub flow_numbers: Vec<(String, usize)>,
    /// Numbers that always leave.
    pub emergency: Vec<String>,
}

/// Where an arriving call goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// To this flow.
    Flow(usize),
    /// To whom the built-in flow connects it.
    Connect(Target),
    /// Out, before and above everything else.
    Emergency(String),
    /// Nowhere.
    Refuse(Cause),
}

/// How a placed leg leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Departure {
    /// Over this line, to this number.
    Line(LineId, Number),
    /// Over the first of these lines that can carry it; over the next ones if it fails there.
    AnyOf(Vec<LineId>, Number),
    /// Not at all.
    Refuse(Cause),
}

impl Plan {
    /// True for a number that always leaves.
    #[must_use]
    pub(crate) fn is_emergency(&self, number: &str) -> bool {
        self.emergency.iter().any(|known| known == number)
    }

    /// Where a call that arrived on `line` and dialled `to` goes. `claims` are the flows
    /// whose own documents claim the number, in file order.
    ///
    /// What answers a number is asked in this order: the emergency numbers, the numbers of
    /// `[[flow]]`, the documents of flows, the telephones, the trunk that a telephone dials
    /// out over, the flow of the line, the flow that takes what is left.
    #[must_use]
    pub(crate) fn arrival(&self, line: LineId, to: &Number, claims: &[(usize, Claim)]) -> Arrival {
        let Some(planned) = self.line(line) else { return Arrival::Refuse(Cause::Unallocated) };
        let is_phone = !planned.is_trunk();
        if is_phone && self.is_emergency(to.as_str()) {
            return Arrival::Emergency(to.to_string());
        }
        if let Some((_, flow)) = self.flow_numbers.iter().find(|(number, _)| number == to.as_str()) {
            return Arrival::Flow(*flow);
        }
        if let Some(flow) = claimed(planned, claims) {
            return Arrival::Flow(flow);
        }
        if self.phone(to.as_str()).is_some() {
            return Arrival::Connect(Target::Number(to.to_string()));
        }
        match (is_phone, planned.flow, !planned.dial_out.is_empty()) {
            (false, Some(flow), _) => Arrival::Flow(flow),
            (true, _, true) if !to.is_empty() => Arrival::Connect(Target::Number(to.to_string())),
            (true, Some(flow), _) => Arrival::Flow(flow),
            (true, None, _) => {
                let left = claims.iter().find(|(_, claim)| *claim == Claim::Remainder);
                left.map_or(Arrival::Refuse(Cause::Unallocated), |(flow, _)| Arrival::Flow(*flow))
            }
            (false, None, _) => Arrival::Refuse(Cause::Unallocated),
        }
    }

    /// How a leg to `target` leaves, for a call that arrived on `from`.
    #[must_use]
    pub(crate) fn departure(&self, from: Option<LineId>, target: &Target) -> Departure {
        match target {
            Target::Number(number) => self.number_departure(from, number),
            Target::Trunk { line, number } => self.trunk_departure(line.as_deref(), number),
            // The call core takes people out of queues without a line.
            // Nor does a session have a line to the outside.
            Target::Queue { .. } | Target::Session(_) => Departure::Refuse(Cause::Unallocated),
            Target::Sip(address) => {
                let Some((user, host)) = address.split_once('@') else {
                    return Departure::Refuse(Cause::InvalidNumber);
                };
                let trunk = self
                    .lines
                    .iter()
                    .position(|line| line.hop().is_some_and(|(name, port)| is_host(host, name, port)));
                match trunk.and_then(line_id) {
                    Some(line) => Departure::Line(line, Number::new(user)),
                    // Strange hosts are not called: a flow may only use configured lines.
                    None => Departure::Refuse(Cause::NotAllowed),
                }
            }
        }
    }

    /// How a leg to this SIP address leaves over the trunk that is asked for; and the host in the
    /// address, which is not the trunk's own.
    #[must_use]
    pub(crate) fn departure_by(&self, by: &ByTrunk, address: &str) -> (Departure, Option<String>) {
        let Some((user, rest)) = address.split_once('@') else {
            return (Departure::Refuse(Cause::InvalidNumber), None);
        };
        let host = rest.split([';', '?']).next().unwrap_or("");
        let mut hops = self.lines.iter().enumerate().filter_map(|(at, line)| Some((at, line, line.hop()?)));
        let found = match by {
            ByTrunk::Proxy(proxy) => hops.find(|(_, _, (name, port))| is_host(proxy, name, *port)),
            ByTrunk::Name(wanted) => match wanted.parse::<usize>() {
                Ok(number) => number.checked_sub(1).and_then(|at| hops.nth(at)),
                Err(_) => hops.find(|(_, line, _)| line.name == *wanted),
            },
        };
        match found.and_then(|(at, _, _)| line_id(at)) {
            Some(line) => (Departure::Line(line, Number::new(user)), Some(host.to_owned())),
            None => (Departure::Refuse(Cause::NotAllowed), None),
        }
    }

    /// Out, over a trunk of this name or the first that can carry it.
    fn trunk_departure(&self, name: Option<&str>, number: &str) -> Departure {
        let to = Number::new(number);
        let Some(name) = name.filter(|_| !self.is_emergency(number)) else {
            return Departure::AnyOf(self.trunks(), to);
        };
        let named = self.lines.iter().position(|line| line.is_trunk() && line.name == name);
        match named.and_then(line_id) {
            Some(line) => Departure::Line(line, to),
            None => Departure::Refuse(Cause::Unallocated),
        }
    }

    /// True for a telephone of the office.
    #[must_use]
    pub(crate) fn is_phone(&self, line: LineId) -> bool {
        self.line(line).is_some_and(|planned| !planned.is_trunk())
    }

    /// The number from inside of the telephone that calls on `line`. Whom it has transferred has
    /// none: he is not that telephone, and its mailbox, say, is not his.
    #[must_use]
    pub(crate) fn extension(&self, line: LineId, origin: &Origin) -> Option<String> {
        let phone = self.line(line).filter(|planned| !planned.is_trunk())?;
        phone.number.clone().filter(|_| origin.transferred_by.is_none())
    }

    fn number_departure(&self, from: Option<LineId>, number: &str) -> Departure {
        let to = Number::new(number);
        if self.is_emergency(number) {
            return Departure::AnyOf(self.trunks(), to);
        }
        if let Some(phone) = self.phone(number).and_then(line_id) {
            return Departure::Line(phone, to);
        }
        let arrived = from.and_then(|line| self.line(line).map(|planned| (line, planned)));
        let trunks = match arrived {
            Some((_, planned)) if !planned.dial_out.is_empty() => {
                planned.dial_out.iter().copied().filter_map(line_id).collect()
            }
            Some((line, planned)) => match planned.leads {
                Leads::OutOverSip(..) => vec![line],
                // Whoever called in has this one.
                Leads::OutOverWires => self.trunks().into_iter().filter(|trunk| *trunk != line).collect(),
                Leads::ToPhone => self.only_trunk(),
            },
            None => self.only_trunk(),
        };
        match trunks.as_slice() {
            [] => Departure::Refuse(Cause::Unallocated),
            [trunk] => Departure::Line(*trunk, to),
            [_, _, ..] => Departure::AnyOf(trunks, to),
        }
    }

    /// The trunk, where there is no doubt which one is meant.
    fn only_trunk(&self) -> Vec<LineId> {
        let trunks = self.trunks();
        if trunks.len() == 1 { trunks } else { Vec::new() }
    }

    fn line(&self, line: LineId) -> Option<&PlannedLine> {
        self.lines.get(usize::from(line.0))
    }

    /// Every telephone but the one on `line`.
    #[must_use]
    pub(crate) fn other_phones(&self, line: LineId) -> Vec<Target> {
        let phones = self
            .lines
            .iter()
            .enumerate()
            .filter(|(at, planned)| !planned.is_trunk() && line_id(*at) != Some(line));
        phones.filter_map(|(_, planned)| planned.number.clone()).map(Target::Number).collect()
    }

    /// The flow that takes over on `line`.
    #[must_use]
    pub(crate) fn local_flow(&self, line: LineId) -> Option<usize> {
        self.line(line).and_then(|planned| planned.local_flow)
    }

    /// True for a number that reaches a telephone of the office.
    #[must_use]
    pub(crate) fn reaches_phone(&self, number: &str) -> bool {
        !self.is_emergency(number) && self.phone(number).is_some()
    }

    fn phone(&self, number: &str) -> Option<usize> {
        self.lines.iter().position(|line| !line.is_trunk() && line.number.as_deref() == Some(number))
    }

    fn trunks(&self) -> Vec<LineId> {
        let trunks = self.lines.iter().enumerate().filter(|(_, line)| line.is_trunk());
        trunks.filter_map(|(at, _)| line_id(at)).collect()
    }
}

/// The flow whose document answers: the line's own before others, a number before a pattern.
fn claimed(line: &PlannedLine, claims: &[(usize, Claim)]) -> Option<usize> {
    let of = |wanted| claims.iter().find(move |(_, claim)| *claim == wanted);
    let own = claims.iter().find(|(flow, claim)| line.flow == Some(*flow) && *claim != Claim::Remainder);
    let by_number = || of(Claim::Number);
    // A pattern may lead out again: from outside, the trunk's own flow alone is asked for one.
    let by_pattern = || of(Claim::Pattern).filter(|_| !line.is_trunk());
    own.or_else(by_number).or_else(by_pattern).map(|(flow, _)| *flow)
}

fn line_id(at: usize) -> Option<LineId> {
    u16::try_from(at).ok().map(LineId)
}

/// True if `written` (`host` or `host:port`) names the host and port of a trunk.
fn is_host(written: &str, name: &str, port: u16) -> bool {
    const SIP_PORT: u16 = 5060;
    let bare = written.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, written_port) = match bare {
        Some((host, after)) => (host, after.strip_prefix(':')),
        None => match written.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (written, None),
        },
    };
    let written_port = written_port.map_or(Some(SIP_PORT), |text| text.parse().ok());
    host.eq_ignore_ascii_case(name) && written_port == Some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(number: &str, dial_out: Option<usize>) -> PlannedLine {
        PlannedLine {
            name: number.to_owned(),
            number: Some(number.to_owned()),
            leads: Leads::ToPhone,
            flow: None,
            local_flow: None,
            dial_out: dial_out.into_iter().collect(),
        }
    }

    fn exchange_line(name: &str, flow: Option<usize>) -> PlannedLine {
        PlannedLine { leads: Leads::OutOverWires, number: None, ..phone_of(name, flow) }
    }

    fn phone_of(name: &str, flow: Option<usize>) -> PlannedLine {
        PlannedLine { flow, ..phone(name, None) }
    }

    fn trunk(host: &str, flow: Option<usize>) -> PlannedLine {
        PlannedLine {
            name: host.to_owned(),
            number: None,
            leads: Leads::OutOverSip(host.to_owned(), 5060),
            flow,
            local_flow: None,
            dial_out: Vec::new(),
        }
    }

    fn plan() -> Plan {
        Plan {
            lines: vec![
                trunk("sip.a.test", Some(0)),
                phone("201", Some(0)),
                phone("202", None),
                trunk("sip.b.test", None),
            ],
            flow_numbers: vec![("100".to_owned(), 1)],
            emergency: vec!["112".to_owned()],
        }
    }

    #[test]
    fn arriving_calls_go_where_the_plan_says() {
        let to = |number: &str| Arrival::Connect(Target::Number(number.to_owned()));
        for (line, number, expected) in [
            (0, "15550199", Arrival::Flow(0)),
            (0, "100", Arrival::Flow(1)),
            (0, "201", to("201")),
            // A caller from outside cannot make the box dial out, emergency or not.
            (0, "112", Arrival::Flow(0)),
            (3, "15550199", Arrival::Refuse(Cause::Unallocated)),
            (1, "202", to("202")),
            (1, "100", Arrival::Flow(1)),
            (1, "15550123", to("15550123")),
            (2, "15550123", Arrival::Refuse(Cause::Unallocated)),
            (2, "112", Arrival::Emergency("112".to_owned())),
            (9, "100", Arrival::Refuse(Cause::Unallocated)),
        ] {
            assert_eq!(plan().arrival(LineId(line), &Number::new(number), &[]), expected, "{line} {number}");
        }
    }

    #[test]
    fn a_document_that_claims_a_number_comes_before_telephones_and_trunks() {
        let number = |flow| (flow, Claim::Number);
        let pattern = |flow| (flow, Claim::Pattern);
        let remainder = |flow| (flow, Claim::Remainder);
        let to = |number: &str| Arrival::Connect(Target::Number(number.to_owned()));
        let mut plan = plan();
        plan.lines.push(phone("203", Some(0)));
        for (line, dialled, claims, expected) in [
            // The number of a telephone is claimed by a flow: from a trunk, from a telephone.
            (0, "201", vec![number(2)], Arrival::Flow(2)),
            (4, "201", vec![number(2)], Arrival::Flow(2)),
            (2, "201", vec![pattern(2)], Arrival::Flow(2)),
            // A telephone that may dial out reaches feature codes.
            (4, "*97", vec![pattern(2)], Arrival::Flow(2)),
            // What the configuration says stands above the documents.
            (0, "100", vec![number(2)], Arrival::Flow(1)),
            (4, "112", vec![number(2)], Arrival::Emergency("112".to_owned())),
            // The line's own flow first, then a number, then a pattern.
            (0, "201", vec![pattern(0), number(2)], Arrival::Flow(0)),
            (4, "201", vec![pattern(1), number(2)], Arrival::Flow(2)),
            // From outside, patterns of other flows do not count.
            (0, "15550199", vec![pattern(2)], Arrival::Flow(0)),
            (3, "15550199", vec![pattern(2)], Arrival::Refuse(Cause::Unallocated)),
            // What takes the rest is asked last, and by telephones alone.
            (4, "201", vec![remainder(2)], to("201")),
            (1, "15550123", vec![remainder(2)], to("15550123")),
            (4, "700", vec![remainder(2)], to("700")),
            (2, "700", vec![remainder(2), remainder(1)], Arrival::Flow(2)),
            (2, "112", vec![remainder(2)], Arrival::Emergency("112".to_owned())),
            (3, "700", vec![remainder(2)], Arrival::Refuse(Cause::Unallocated)),
        ] {
            let arrival = plan.arrival(LineId(line), &Number::new(dialled), &claims);
            assert_eq!(arrival, expected, "{line} {dialled} {claims:?}");
        }
    }

    #[test]
    fn who_called_in_over_two_wires_goes_out_over_others() {
        let target = |number: &str| Target::Number(number.to_owned());
        let number = || Number::new("5550123");
        let mut plan = Plan {
            lines: vec![exchange_line("a", Some(0)), exchange_line("b", None), phone("201", Some(1))],
            flow_numbers: Vec::new(),
            emergency: vec!["112".to_owned()],
        };
        let from = |plan: &Plan, line| plan.departure(Some(LineId(line)), &target("5550123"));
        assert_eq!(from(&plan, 0), Departure::Line(LineId(1), number()));
        assert_eq!(from(&plan, 2), Departure::Line(LineId(1), number()));
        plan.lines[2].dial_out = vec![1, 0];
        assert_eq!(from(&plan, 2), Departure::AnyOf(vec![LineId(1), LineId(0)], number()));
        plan.lines.pop();
        plan.lines.pop();
        assert_eq!(from(&plan, 0), Departure::Refuse(Cause::Unallocated));
        // An emergency call goes out in any case: it takes the line from whoever has it.
        let emergency = plan.departure(Some(LineId(0)), &target("112"));
        assert_eq!(emergency, Departure::AnyOf(vec![LineId(0)], Number::new("112")));
        assert_eq!(plan.arrival(LineId(0), &Number::new("5550100"), &[]), Arrival::Flow(0));
        assert_eq!(plan.arrival(LineId(0), &Number::new("112"), &[]), Arrival::Flow(0));
    }

    #[test]
    fn an_address_leaves_over_the_trunk_that_is_asked_for() {
        let over =
            |line, host: &str| (Departure::Line(LineId(line), Number::new("desk")), Some(host.to_owned()));
        let nowhere = || (Departure::Refuse(Cause::NotAllowed), None);
        let (proxy, name) =
            (|text: &str| ByTrunk::Proxy(text.to_owned()), |text: &str| ByTrunk::Name(text.to_owned()));
        for (by, expected) in [
            (proxy("sip.b.test"), over(3, "pbx.test:5080")),
            (proxy("sip.b.test:5070"), nowhere()),
            (proxy("201"), nowhere()),
            (name("sip.a.test"), over(0, "pbx.test:5080")),
            (name("2"), over(3, "pbx.test:5080")),
            (name("0"), nowhere()),
            (name("3"), nowhere()),
            (name("201"), nowhere()),
        ] {
            assert_eq!(plan().departure_by(&by, "desk@pbx.test:5080;x=y"), expected, "{by:?}");
        }
        assert_eq!(plan().departure_by(&name("1"), "desk").0, Departure::Refuse(Cause::InvalidNumber));
    }

    #[test]
    fn who_is_transferred_is_not_the_telephone_that_did_it() {
        let (plain, mut transferred) = (Origin::default(), Origin::default());
        transferred.transferred_by = Some("<sip:201@office>".to_owned());
        assert_eq!(plan().extension(LineId(1), &plain).as_deref(), Some("201"));
        assert_eq!(plan().extension(LineId(1), &transferred), None);
        assert_eq!(plan().extension(LineId(0), &plain), None);
    }

    #[test]
    fn calls_are_taken_from_telephones_alone() {
        let mut plan = plan();
        plan.lines.push(phone("112", None));
        for (number, is_phone) in [("201", true), ("112", false), ("15550123", false), ("100", false)] {
            assert_eq!(plan.reaches_phone(number), is_phone, "{number}");
        }
    }

    #[test]
    fn placed_legs_leave_over_configured_lines_alone() {
        let over = |line, number: &str| Departure::Line(LineId(line), Number::new(number));
        for (from, target, expected) in [
            (Some(0), Target::Number("201".into()), over(1, "201")),
            (Some(0), Target::Number("15550123".into()), over(0, "15550123")),
            (Some(1), Target::Number("15550123".into()), over(0, "15550123")),
            (Some(2), Target::Number("15550123".into()), Departure::Refuse(Cause::Unallocated)),
            (
                None,
                Target::Number("112".into()),
                Departure::AnyOf(vec![LineId(0), LineId(3)], Number::new("112")),
            ),
            (
                Some(2),
                Target::Trunk { line: Some("sip.b.test".into()), number: "15550123".into() },
                over(3, "15550123"),
            ),
            (
                Some(2),
                Target::Trunk { line: Some("202".into()), number: "15550123".into() },
                Departure::Refuse(Cause::Unallocated),
            ),
            (
                None,
                Target::Trunk { line: None, number: "15550123".into() },
                Departure::AnyOf(vec![LineId(0), LineId(3)], Number::new("15550123")),
            ),
            (Some(2), Target::Sip("ann@sip.b.test".into()), over(3, "ann")),
            (Some(2), Target::Sip("ann@SIP.B.TEST:5060".into()), over(3, "ann")),
            (Some(2), Target::Sip("ann@sip.b.test:5070".into()), Departure::Refuse(Cause::NotAllowed)),
            (Some(2), Target::Sip("ann@evil.test".into()), Departure::Refuse(Cause::NotAllowed)),
        ] {
            assert_eq!(plan().departure(from.map(LineId), &target), expected, "{from:?} {target}");
        }
    }
}
