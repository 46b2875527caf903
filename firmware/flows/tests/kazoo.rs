//! What transcripts of Kazoo callflows cannot show: the guards against flows without end and
//! against large documents, and what a check says about a document.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::rc::Rc;
use std::time::Duration;

use tipring_flows::{Claim, dialect};
use tipring_model::call::{CallFacts, Direction, Origin};
use tipring_model::fetch::HttpResponse;
use tipring_model::flow::{Flow, FlowInput, FlowOutput};
use tipring_model::prompt::PromptSource;
use tipring_model::settings::{RawSettings, RawValue};
use tipring_model::{CallId, CallerId, LegId, LineId, Number};
use tipring_testkit::Clock;

fn start(document: &str) -> Result<Box<dyn Flow>, Vec<String>> {
    let mut settings = RawSettings::new();
    settings.set("document", RawValue::Text(document.to_owned()));
    let program = (dialect("kazoo").unwrap().open)(&settings, &Rc::default());
    let program =
        program.map_err(|errors| errors.iter().map(|error| error.problem.to_string()).collect::<Vec<_>>())?;
    let mut flow = program.start();
    let facts = CallFacts {
        id: CallId::from_random(1),
        leg: Some(LegId::offered(LineId(0), 1)),
        direction: Direction::Inbound,
        from: CallerId::of("15550100"),
        to: Number::new("15550199"),
        answered: true,
        codec: "PCMU",
        started_unix_ms: 0,
        origin: Origin::default(),
        kept: Rc::default(),
        session: None,
    };
    flow.handle(Clock::new().now(), FlowInput::Started(&facts));
    Ok(flow)
}

const PIVOT: &str = r#"{"module":"pivot","data":{"voice_url":"http://app.test/x"}}"#;

#[test]
fn a_pivot_that_answers_itself_ends_with_the_thousandth_node() {
    let mut flow = start(PIVOT).unwrap();
    let mut clock = Clock::new();
    let mut asked = 0;
    let end = loop {
        let Some(output) = flow.poll() else {
            // A circle is slowed.
            clock.advance(flow.poll_timeout().unwrap() - clock.now().instant);
            flow.handle(clock.now(), FlowInput::Timeout);
            continue;
        };
        match output {
            FlowOutput::Fetch { id, request, .. } => {
                asked += 1;
                clock.advance(Duration::from_millis(1));
                let answer = HttpResponse {
                    status: 200,
                    url: request.url,
                    media_type: Some("application/json".to_owned()),
                    headers: Vec::new(),
                    body: PIVOT.as_bytes().to_vec(),
                };
                flow.handle(clock.now(), FlowInput::Fetched(id, Ok(&answer)));
            }
            FlowOutput::End { label, .. } => break label,
            FlowOutput::Start { .. }
            | FlowOutput::Cancel(_)
            | FlowOutput::Reply(..)
            | FlowOutput::Mail(..)
            | FlowOutput::Script(_)
            | FlowOutput::Log(_)
            | FlowOutput::Notify(_)
            | FlowOutput::Keep { .. }
            | FlowOutput::Suspend(..)
            | FlowOutput::Lamp { .. }
            | FlowOutput::Step(_)
            | FlowOutput::Warn(_) => {}
        }
    };
    assert_eq!((asked, end.as_str()), (1_000, "nodes"));
}

#[test]
fn a_document_has_at_most_4096_nodes_and_128_below_each_other() {
    let wide = |nodes: usize| {
        let children: Vec<String> = (1..nodes).map(|n| format!("\"{n}\":{{\"module\":\"noop\"}}")).collect();
        format!("{{\"flow\":{{\"module\":\"noop\",\"children\":{{{}}}}}}}", children.join(","))
    };
    assert!(start(&wide(4_096)).is_ok());
    let errors = start(&wide(4_097)).err().unwrap();
    assert!(errors.len() == 1 && errors[0].contains(": TR-FLOW-TREE"), "{errors:?}");

    let deep = |nodes: usize| {
        let open = "{\"module\":\"noop\",\"children\":{\"_\":".repeat(nodes - 1);
        format!("{open}{{\"module\":\"hangup\"}}{}", "}}".repeat(nodes - 1))
    };
    assert!(start(&deep(128)).is_ok());
    assert!(start(&deep(129)).err().unwrap()[0].contains(": TR-FLOW-TREE"));
    assert!(start(&deep(5_000)).err().unwrap()[0].contains(": TR-FLOW-TREE"));
    assert!(start(&"[".repeat(500_000)).err().unwrap()[0].contains(": TR-FLOW-TREE"));
}

#[test]
fn the_findings_of_a_check_are_counted_off() {
    let bad = "{\"module\":\"nothing\"},".repeat(500);
    let children: Vec<String> = bad
        .split_inclusive("},")
        .enumerate()
        .map(|(n, node)| format!("\"{n}\":{}", &node[..node.len() - 1]))
        .collect();
    let document = format!("{{\"flow\":{{\"module\":\"noop\",\"children\":{{{}}}}}}}", children.join(","));
    assert_eq!((dialect("kazoo").unwrap().check)(document.as_bytes()).len(), 100);
}

#[test]
fn a_check_names_place_path_and_rule() {
    let document = r#"{
 "menus": [{"id": "m", "name": "M", "colour": "red"}],
 "callflows": [{"id": "a", "owner": "x", "flow": {
  "module": "menu", "data": {"id": "n", "speed": 3}, "ui": {},
  "children": {
   "1": {"module": "pivot", "data": {"voice_url": "http://app.test/x", "cdr_url": "http://app.test/cdr", "req_timeout": "5"}},
   "2": {"module": "record_call", "data": {"time_limit": 99999, "format": "mp3"}},
   "3": {"module": "device", "data": {"id": "d"}},
   "3": {"module": "hangup"}
  }}}],
 "shoes": []
}"#;
    let found: Vec<String> = (dialect("kazoo").unwrap().check)(document.as_bytes())
        .iter()
        .map(|finding| format!("{}:{} {} {}", finding.line, finding.column, finding.code, finding.subject))
        .collect();
    assert_eq!(
        found,
        [
            "9:4 TR-FLOW-JSON-TWICE 3",
            "3:37 TR-FLOW-KEY-UNKNOWN callflows[0].owner",
            "4:60 TR-FLOW-KEY-UNKNOWN callflows[0].flow.ui",
            "4:50 TR-FLOW-KEY-UNKNOWN callflows[0].flow.data.speed",
            "6:121 TR-FLOW-KEY-UNKNOWN callflows[0].flow.children.1.data.req_timeout",
            "6:83 TR-FLOW-KEY-UNUSED callflows[0].flow.children.1.data.cdr_url",
            "7:58 TR-FLOW-KEY-CUT callflows[0].flow.children.2.data.time_limit: 99999, at most 10800",
            "7:75 TR-FLOW-KEY-UNUSED callflows[0].flow.children.2.data.format",
            "11:11 TR-FLOW-KEY-UNKNOWN shoes",
            "4:36 TR-FLOW-REFERENCE callflows[0].flow.data.id: n",
        ]
    );
    let refused = r#"{"flow": {"module": "noop", "children": {"1": {"module": "acdc_member"}, "x": {"module": "no"}}}}"#;
    let found: Vec<String> = (dialect("kazoo").unwrap().check)(refused.as_bytes())
        .iter()
        .map(|finding| format!("{} {} {}", finding.fatal, finding.code, finding.subject))
        .collect();
    assert_eq!(
        found,
        [
            "true TR-FLOW-MODULE-UNSUPPORTED flow.children.1.module: acdc_member",
            "true TR-FLOW-MODULE-UNKNOWN flow.children.x.module: no",
        ]
    );
}

#[test]
fn a_check_names_what_a_bundle_does_not_hold() {
    let document = r#"{
 "users": [{"id": "u", "timezone": "Mars/Base"}],
 "devices": [{"id": "d", "owner_id": "x"}],
 "groups": [{"id": "g", "endpoints": {"u": {"type": "user"}, "y": {"type": "device"}}}],
 "temporal_rules_sets": [{"id": "s", "temporal_rules": ["r"]}],
 "vmboxes": [{"id": "v", "owner_id": "z"}],
 "callflows": [{"id": "a", "flow": {"module": "temporal_route",
  "data": {"timezone": "Europe/Oslo2", "rules": ["s", "r2"], "rule_set": "s2"},
  "children": {"_": {"module": "ring_group", "data": {"group_id": "rg", "endpoints": [
   {"endpoint_type": "user", "id": "u"}, {"endpoint_type": "device", "id": "d2"}, "nobody"]}}}}}]
}"#;
    let found: Vec<String> = (dialect("kazoo").unwrap().check)(document.as_bytes())
        .iter()
        .map(|finding| {
            assert!(!finding.fatal);
            format!("{}:{} {} {}", finding.line, finding.column, finding.code, finding.subject)
        })
        .collect();
    assert_eq!(
        found,
        [
            "8:24 TR-FLOW-KEY-CHOICE callflows[0].flow.data.timezone: Europe/Oslo2, no time zone of that name",
            "8:55 TR-FLOW-REFERENCE callflows[0].flow.data.rules[1]: r2",
            "8:74 TR-FLOW-REFERENCE callflows[0].flow.data.rule_set: s2",
            "10:76 TR-FLOW-REFERENCE callflows[0].flow.children._.data.endpoints[1].id: d2",
            "10:83 TR-FLOW-REFERENCE callflows[0].flow.children._.data.endpoints[2]: nobody",
            "9:67 TR-FLOW-REFERENCE callflows[0].flow.children._.data.group_id: rg",
            "3:38 TR-FLOW-REFERENCE devices d: owner_id: x",
            "6:38 TR-FLOW-REFERENCE vmboxes v: owner_id: z",
            "2:36 TR-FLOW-KEY-CHOICE users u.timezone: Mars/Base, no time zone of that name",
            "5:57 TR-FLOW-REFERENCE temporal_rules_sets s: temporal_rules[0]: r",
            "4:67 TR-FLOW-REFERENCE groups g: endpoints: y",
        ]
    );
}

#[test]
fn a_check_says_what_would_not_be_sent_and_counts_what_comes_again() {
    let document = r#"{"callflows": [
 {"id": "a", "owner": 1, "flow": {"module": "pivot", "data": {"voice_url": "http://10.0.0.5/order"}}},
 {"id": "b", "ringback": {}, "flow": {}}], "plan": 1, "plan": 2, "plan": 3}"#;
    let found: Vec<String> = (dialect("kazoo").unwrap().check)(document.as_bytes())
        .iter()
        .map(|finding| format!("{} {}", finding.code, finding.subject))
        .collect();
    assert_eq!(
        found,
        [
            "TR-FLOW-JSON-TWICE plan (2 times)",
            "TR-FLOW-KEY-UNKNOWN callflows[0].owner",
            "TR-HOOK-GUARDED callflows[0].flow.data.voice_url: write allow = [\"10.0.0.5:80\"] under [fetch] if it is meant",
            "TR-FLOW-KEY-UNKNOWN plan",
        ]
    );
}

#[test]
fn a_number_is_claimed_by_numbers_and_patterns_and_not_by_the_rest() {
    let mut settings = RawSettings::new();
    let document = r#"{"callflows": [
 {"id": "a", "numbers": ["201", "*97", "no_match"], "flow": {}},
 {"id": "b", "patterns": ["^9(\\d+)$"], "flow": {}}]}"#;
    settings.set("document", RawValue::Text(document.to_owned()));
    let program = (dialect("kazoo").unwrap().open)(&settings, &Rc::default()).ok().unwrap();
    for (number, claim) in [
        ("201", Some(Claim::Number)),
        ("*97", Some(Claim::Number)),
        ("9555", Some(Claim::Pattern)),
        ("202", None),
        ("no_match", None),
    ] {
        assert_eq!(program.claims(number), claim, "{number}");
    }
}

#[test]
fn groups_that_hold_each_other_are_followed_to_an_end() {
    let members: Vec<String> =
        (0..300).map(|n| format!("{{\"endpoint_type\":\"group\",\"id\":\"g{}\"}}", n % 2)).collect();
    let group = |id: &str| format!("{{\"id\":\"{id}\",\"endpoints\":[{}]}}", members.join(","));
    let document = format!(
        "{{\"groups\":[{},{}],\"callflows\":[{{\"id\":\"a\",\"flow\":{{\"module\":\"group\",\"data\":{{\"id\":\"g0\"}}}}}}]}}",
        group("g0"),
        group("g1")
    );
    let mut flow = start(&document).unwrap();
    assert!(matches!(flow.poll(), Some(FlowOutput::Step(step)) if step.reason == "TR-DIAL-NO-TARGET"));
}

#[test]
fn a_document_has_at_most_five_hundred_patterns() {
    let document = |patterns: usize| {
        let patterns: Vec<String> = (0..patterns).map(|n| format!("\"^{n}$\"")).collect();
        format!("{{\"flow\":{{}},\"patterns\":[{}]}}", patterns.join(","))
    };
    assert!(start(&document(500)).is_ok());
    let errors = start(&document(501)).err().unwrap();
    assert!(errors.len() == 1 && errors[0].contains(": TR-FLOW-TREE"), "{errors:?}");
}

#[test]
fn a_mailbox_of_the_account_is_greeted_as_it_says() {
    let document = r#"{
        "media": [{"id": "hello", "media_source": "tts", "tts": {"text": "Hello"}}],
        "vmboxes": [
            {"id": "a", "mailbox": "801", "media": {"unavailable": "https://app.test/a.wav"}},
            {"id": "b", "mailbox": "802", "media": {"unavailable": "hello"}, "skip_greeting": true},
            {"id": "c", "mailbox": "803", "media": {"unavailable": "own"}, "oldest_message_first": true},
            {"id": "d", "mailbox": "804", "media": {"unavailable": "/somewhere/else"}}
        ],
        "callflows": []
    }"#;
    let mut settings = RawSettings::new();
    settings.set("document", RawValue::Text(document.to_owned()));
    let program = (dialect("kazoo").unwrap().open)(&settings, &Rc::default()).unwrap();
    let boxes = program.mailboxes();
    let greeting = |at: usize| boxes[at].greeting.clone();
    assert_eq!(greeting(0), Some(PromptSource::Url("https://app.test/a.wav".to_owned())));
    assert!(matches!(greeting(1), Some(PromptSource::Speech(speech)) if speech.text == "Hello"));
    assert_eq!(greeting(2), Some(PromptSource::Library("own".to_owned())));
    assert_eq!(greeting(3), None);
    assert_eq!(boxes.iter().map(|one| one.skips_greeting).collect::<Vec<_>>(), [false, true, false, false]);
    assert_eq!(boxes.iter().map(|one| one.newest_first).collect::<Vec<_>>(), [true, true, false, true]);
}
