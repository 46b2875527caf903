//! What a command wants, and every way in which it can be wrong.

use serde_json::{Value, json};

use super::login::LoginFault;
use super::params::{ParamFault, Params};
use super::rules::{Application, Rule};
use crate::asks::{Reached, Refusal, StartRequest};
use crate::history::{HistoryQuery, PAGE_MAX, date_of, seconds};

/// Names of the commands that there are.
pub const COMMANDS: [&str; 3] = ["StartScenarios", "GetRules", "GetCallHistory"];
/// How many results are given to whoever does not say.
const COUNT_USUAL: usize = 20;
/// Numbers that may be named at once.
const IDS_MAX: usize = 100;

/// A refusal as clients read it: with status 200, an object `error` and no `result`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiFault {
    /// What kind of refusal.
    pub code: u16,
    /// What is wrong, with the name of the field.
    pub msg: String,
}

impl ApiFault {
    fn new(code: u16, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into() }
    }

    /// The answer.
    #[must_use]
    pub fn told(&self) -> Value {
        json!({ "error": { "code": self.code, "msg": self.msg } })
    }

    /// The body is no form.
    #[must_use]
    pub fn no_form() -> Self {
        Self::new(102, "the body must be application/x-www-form-urlencoded")
    }

    /// The daemon does not answer.
    #[must_use]
    pub fn no_answer() -> Self {
        Self::new(199, "the box is busy: try again")
    }
}

impl From<LoginFault> for ApiFault {
    fn from(fault: LoginFault) -> Self {
        Self::new(100, fault.to_string())
    }
}

impl From<ParamFault> for ApiFault {
    fn from(fault: ParamFault) -> Self {
        Self::new(102, fault.to_string())
    }
}

impl From<Refusal> for ApiFault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::new(108, "the limit of sessions and calls at one time is reached"),
            Refusal::Stopping => Self::new(108, "the limit of sessions is 0: the box is stopping"),
            Refusal::Script { scenario, line, what } => {
                Self::new(107, format!("scenario {scenario}, line {line}: {what}"))
            }
        }
    }
}

/// What a command comes to.
#[derive(Clone, PartialEq, Debug)]
pub enum Wanted {
    /// This is the answer.
    Answer(Value),
    /// Start a session.
    Start(StartRequest),
    /// Look into the history.
    History(HistoryQuery),
}

/// What a command wants.
///
/// # Errors
/// The answer that says what is wrong.
pub fn wanted(command: &str, params: &Params, applications: &[Application]) -> Result<Wanted, ApiFault> {
    match command {
        "StartScenarios" => start(params, applications).map(Wanted::Start),
        "GetRules" => rules(params, applications).map(Wanted::Answer),
        "GetCallHistory" => history(params, applications).map(Wanted::History),
        other => {
            let name: String = other.chars().filter(|c| !c.is_control()).take(64).collect();
            Err(ApiFault::new(
                101,
                format!("cmd {name} is not available on this appliance; available: {}", COMMANDS.join(", ")),
            ))
        }
    }
}

fn start(params: &Params, applications: &[Application]) -> Result<StartRequest, ApiFault> {
    only_one_of(params, "rule_id", "rule_name")?;
    let rule_id = number(params, "rule_id")?;
    // Newer clients may give the name instead.
    let rule_name = params.get("rule_name");
    if rule_id.is_none() && rule_name.is_none() {
        return Err(ApiFault::new(103, "rule_id is needed"));
    }
    only_one_of(params, "user_id", "user_name")?;
    let user_id = number(params, "user_id")?;
    let named = application(params, applications)?;
    let is_it = |rule: &&Rule| rule_id.map_or(Some(rule.name.as_str()) == rule_name, |id| rule.id == id);
    let found = |of: &'_ Application| of.rules.iter().find(is_it).cloned();
    let rule = match named {
        Some(named) => found(named),
        None => applications.iter().find_map(found),
    };
    let rule = rule.ok_or_else(|| {
        let what = if rule_id.is_some() { "rule_id" } else { "rule_name" };
        if named.is_none() {
            ApiFault::new(104, format!("{what} names no rule"))
        } else {
            ApiFault::new(104, format!("{what} names no rule of that application"))
        }
    })?;
    if rule.scenarios.is_empty() {
        return Err(ApiFault::new(105, format!("the rule {} has no scenario", rule.name)));
    }
    Ok(StartRequest {
        rule_id: rule.id,
        custom_data: params.get("script_custom_data").unwrap_or("").to_owned(),
        user_id,
        user_name: params.get("user_name").map(str::to_owned),
        initiator: None,
        reached: Reached::default(),
    })
}

fn rules(params: &Params, applications: &[Application]) -> Result<Value, ApiFault> {
    let of = application(params, applications)?
        .ok_or_else(|| ApiFault::new(103, "application_id or application_name is needed"))?;
    let rule_id = number(params, "rule_id")?;
    let (count, offset) = window(params)?;
    let with_scenarios = toggle(params, "with_scenarios")?.unwrap_or(false);
    // There is no video on the box, and no key belongs to a rule.
    let none =
        toggle(params, "video_conference")?.unwrap_or(false) || params.get("attached_key_id").is_some();
    let fits = |rule: &&Rule| {
        !none
            && rule_id.is_none_or(|id| rule.id == id)
            && params.get("rule_name").is_none_or(|part| rule.name.contains(part))
            && params
                .get("template")
                .is_none_or(|number| rule.pattern.as_ref().is_some_and(|pattern| pattern.matches(number)))
    };
    let fitting: Vec<&Rule> = of.rules.iter().filter(fits).collect();
    let result: Vec<Value> = fitting
        .iter()
        .skip(offset)
        .take(count)
        .map(|rule| {
            let mut told = json!({
                "rule_id": rule.id,
                "application_id": of.id,
                "rule_name": rule.name,
                "rule_pattern": rule.pattern.as_ref().map_or("", |pattern| pattern.as_str()),
                "video_conference": false,
                "modified": date_of(rule.modified_s),
            });
            if with_scenarios {
                let scenarios = rule.scenarios.iter().map(|scenario| {
                    json!({
                        "scenario_id": scenario.id,
                        "scenario_name": scenario.name,
                        "modified": date_of(scenario.modified_s),
                    })
                });
                told["scenarios"] = scenarios.collect();
            }
            told
        })
        .collect();
    Ok(json!({ "count": result.len(), "result": result, "total_count": fitting.len() }))
}

fn history(params: &Params, applications: &[Application]) -> Result<HistoryQuery, ApiFault> {
    let time = |name: &str| match params.get(name) {
        None => Ok(None),
        Some(text) => seconds(text)
            .map(Some)
            .ok_or_else(|| ApiFault::new(104, format!("{name} is not YYYY-MM-DD HH:MM:SS in UTC"))),
    };
    let (from_s, to_s) = (time("from_date")?, time("to_date")?);
    let ids = ids(params, "call_session_history_id")?;
    if ids.is_empty() && (from_s.is_none() || to_s.is_none()) {
        return Err(ApiFault::new(103, "from_date and to_date, or call_session_history_id, are needed"));
    }
    if params.get("timezone").is_some_and(|zone| !matches!(zone, "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT")) {
        return Err(ApiFault::new(104, "timezone must be UTC"));
    }
    let (count, offset) = window(params)?;
    Ok(HistoryQuery {
        from_s,
        to_s,
        ids,
        application_id: application(params, applications)?.map(|of| of.id),
        rule_name: params.get("rule_name").map(str::to_owned),
        custom_data: params.get("call_session_history_custom_data").map(str::to_owned),
        newest_first: toggle(params, "desc_order")?.unwrap_or(false),
        count,
        offset,
    })
}

/// The application that is named, in one of two ways.
fn application<'a>(
    params: &Params,
    applications: &'a [Application],
) -> Result<Option<&'a Application>, ApiFault> {
    only_one_of(params, "application_id", "application_name")?;
    let unknown = |name: &str| ApiFault::new(104, format!("{name} names no application"));
    if let Some(id) = number(params, "application_id")? {
        let found = applications.iter().find(|of| of.id == id);
        return found.map(Some).ok_or_else(|| unknown("application_id"));
    }
    let Some(name) = params.get("application_name") else { return Ok(None) };
    // The vendor's names go on with the account's, as in `office.account.example`.
    let is_it = |of: &&Application| {
        name.strip_prefix(of.name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    applications.iter().find(is_it).map(Some).ok_or_else(|| unknown("application_name"))
}

fn only_one_of(params: &Params, one: &str, other: &str) -> Result<(), ApiFault> {
    match (params.get(one), params.get(other)) {
        (Some(_), Some(_)) => Err(ApiFault::new(106, format!("{one} and {other} exclude each other"))),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

fn number(params: &Params, name: &str) -> Result<Option<u64>, ApiFault> {
    let fault = |_| ApiFault::new(104, format!("{name} is not a number"));
    params.get(name).map(str::parse).transpose().map_err(fault)
}

fn ids(params: &Params, name: &str) -> Result<Vec<u64>, ApiFault> {
    let Some(text) = params.get(name).filter(|text| *text != "all") else { return Ok(Vec::new()) };
    let numbers: Result<Vec<u64>, _> = text.split(';').take(IDS_MAX + 1).map(str::parse).collect();
    match numbers {
        Ok(numbers) if numbers.len() <= IDS_MAX => Ok(numbers),
        Ok(_) => Err(ApiFault::new(104, format!("{name} has more than {IDS_MAX} numbers"))),
        Err(_) => Err(ApiFault::new(104, format!("{name} is not a number, or several with ; between them"))),
    }
}

fn toggle(params: &Params, name: &str) -> Result<Option<bool>, ApiFault> {
    match params.get(name).map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(ApiFault::new(104, format!("{name} is neither true nor false"))),
    }
}

fn window(params: &Params) -> Result<(usize, usize), ApiFault> {
    let size = |name: &str, usual: usize| {
        Ok::<_, ApiFault>(number(params, name)?.map_or(usual, |n| usize::try_from(n).unwrap_or(usize::MAX)))
    };
    Ok((size("count", COUNT_USUAL)?.min(PAGE_MAX), size("offset", 0)?))
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Pattern, ScenarioEntry};
    use super::*;

    fn applications() -> Vec<Application> {
        let rule = |id: u64, name: &str, pattern: Option<&str>, files: &[&str]| Rule {
            id,
            name: name.to_owned(),
            pattern: pattern.map(|pattern| Pattern::parse(pattern).unwrap()),
            scenarios: files
                .iter()
                .zip(1..)
                .map(|(name, id)| ScenarioEntry { id, name: (*name).to_owned(), modified_s: 0 })
                .collect(),
            modified_s: 1_800_000_000,
        };
        let office = [
            rule(10, "callback", None, &["library", "callback"]),
            rule(11, "reception", Some(r"1\d\d"), &["reception"]),
            rule(12, "empty", Some("9"), &[]),
        ];
        vec![
            Application { id: 1, name: "office".to_owned(), rules: office.into() },
            Application { id: 2, name: "shop".to_owned(), rules: vec![rule(20, "order", None, &["order"])] },
        ]
    }

    fn ask(command: &str, query: &str) -> Result<Wanted, ApiFault> {
        wanted(command, &Params::parse(query.as_bytes(), b"").unwrap(), &applications())
    }

    #[test]
    fn every_mistake_has_its_code_and_names_its_field() {
        for (command, query, code, name) in [
            ("StartScenarios", "", 103, "rule_id"),
            ("StartScenarios", "rule_id=", 103, "rule_id"),
            ("StartScenarios", "rule_id=abc", 104, "rule_id"),
            ("StartScenarios", "rule_id=-1", 104, "rule_id"),
            ("StartScenarios", "rule_id=999", 104, "rule_id"),
            ("StartScenarios", "rule_id=99999999999999999999999", 104, "rule_id"),
            ("StartScenarios", "rule_name=none", 104, "rule_name"),
            ("StartScenarios", "rule_name=callback&rule_id=10", 106, "rule_id and rule_name"),
            ("StartScenarios", "rule_id=12", 105, "rule"),
            ("StartScenarios", "rule_id=10&user_id=1&user_name=a", 106, "user_id and user_name"),
            (
                "StartScenarios",
                "rule_id=10&application_id=1&application_name=office",
                106,
                "application_id and application_name",
            ),
            ("StartScenarios", "rule_id=10&application_id=2", 104, "rule_id"),
            ("StartScenarios", "rule_id=10&application_id=3", 104, "application_id"),
            ("StartScenarios", "rule_id=10&user_id=x", 104, "user_id"),
            ("StartConference", "rule_id=10", 101, "StartConference"),
            ("AddScenario", "", 101, "StartScenarios, GetRules, GetCallHistory"),
            ("GetRules", "", 103, "application_id or application_name"),
            ("GetRules", "application_name=none", 104, "application_name"),
            ("GetRules", "application_id=1&count=x", 104, "count"),
            ("GetRules", "application_id=1&with_scenarios=maybe", 104, "with_scenarios"),
            ("GetCallHistory", "", 103, "from_date"),
            ("GetCallHistory", "from_date=2026-11-29&to_date=2026-11-30+00:00:00", 104, "from_date"),
            ("GetCallHistory", "call_session_history_id=1;x", 104, "call_session_history_id"),
        ] {
            let fault = ask(command, query).unwrap_err();
            assert!(fault.code == code && fault.msg.contains(name), "{command} {query}: {fault:?}");
            assert!(fault.told().get("result").is_none());
        }
        let long = format!("cmd\n{}", "x".repeat(1_000));
        let fault = ask(&long, "").unwrap_err();
        assert!(fault.msg.len() < 200 && !fault.msg.contains('\n'), "{fault:?}");
    }

    #[test]
    fn a_session_is_started_with_what_was_given() {
        let query = "rule_id=10&script_custom_data=a%3Ab&user_name=ann&application_name=office.me.example&reference_ip=1.2.3.4&x=y";
        let Ok(Wanted::Start(start)) = ask("StartScenarios", "rule_name=order") else { panic!("refused") };
        assert_eq!(start.rule_id, 20);
        let Ok(Wanted::Start(start)) = ask("StartScenarios", query) else { panic!("refused") };
        assert_eq!((start.rule_id, start.custom_data.as_str()), (10, "a:b"));
        assert_eq!((start.user_id, start.user_name.as_deref()), (None, Some("ann")));
    }

    #[test]
    fn rules_are_listed_as_they_are_asked_for() {
        let names = |query: &str| match ask("GetRules", query) {
            Ok(Wanted::Answer(answer)) => {
                let rules = answer["result"].as_array().unwrap().clone();
                assert_eq!(answer["count"], rules.len());
                let names: Vec<String> =
                    rules.iter().map(|rule| rule["rule_name"].as_str().unwrap().to_owned()).collect();
                (names.join(" "), answer["total_count"].as_u64().unwrap())
            }
            other => panic!("{other:?}"),
        };
        for (query, found, total) in [
            ("application_id=1", "callback reception empty", 3),
            ("application_name=shop", "order", 1),
            ("application_id=1&rule_name=ce", "reception", 1),
            ("application_id=1&template=123", "reception", 1),
            ("application_id=1&rule_id=12", "empty", 1),
            ("application_id=1&count=1&offset=1", "reception", 3),
            ("application_id=1&video_conference=true", "", 0),
            ("application_id=1&offset=99999999999", "", 3),
        ] {
            assert_eq!(names(query), (found.to_owned(), total), "{query}");
        }
        let Ok(Wanted::Answer(answer)) = ask("GetRules", "application_id=1&count=1&with_scenarios=true")
        else {
            panic!("refused")
        };
        assert_eq!(
            answer["result"],
            json!([{
                "rule_id": 10, "application_id": 1, "rule_name": "callback", "rule_pattern": "",
                "video_conference": false, "modified": "2027-01-15 08:00:00",
                "scenarios": [
                    { "scenario_id": 1, "scenario_name": "library", "modified": "1970-01-01 00:00:00" },
                    { "scenario_id": 2, "scenario_name": "callback", "modified": "1970-01-01 00:00:00" },
                ],
            }])
        );
    }

    #[test]
    fn the_history_is_asked_for_by_time_or_number() {
        let query = "from_date=2026-11-29+00:00:00&to_date=2026-11-30+00:00:00&desc_order=true&count=5000";
        let Ok(Wanted::History(history)) = ask("GetCallHistory", query) else { panic!("refused") };
        assert_eq!(history.to_s.unwrap() - history.from_s.unwrap(), 86_400);
        assert_eq!((history.newest_first, history.count), (true, PAGE_MAX));
        let Ok(Wanted::History(history)) = ask("GetCallHistory", "call_session_history_id=3;4") else {
            panic!("refused")
        };
        assert_eq!(history.ids, [3, 4]);
    }

    #[test]
    fn a_box_without_room_and_a_bad_scenario_say_so() {
        for (refusal, code, name) in [
            (Refusal::Full, 108, "limit"),
            (Refusal::Stopping, 108, "limit"),
            (
                Refusal::Script { scenario: "callback".to_owned(), line: 7, what: "x".to_owned() },
                107,
                "callback, line 7",
            ),
        ] {
            let fault = ApiFault::from(refusal);
            assert!(fault.code == code && fault.msg.contains(name), "{fault:?}");
        }
    }
}
