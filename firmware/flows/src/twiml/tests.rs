//! What only another dialect can set: the terms of a run.

use std::rc::Rc;

use tipring_model::call::{CallFacts, Direction, Origin};
use tipring_model::directory::Directory;
use tipring_model::fetch::{FetchError, HttpRequest, HttpResponse, Method};
use tipring_model::flow::{Action, Flow as _, FlowInput, FlowOutput, LegEvent, Outcome};
use tipring_model::id::LineId;
use tipring_model::{ActionId, CallId, CallerId, Cause, FetchId, LegId, Number};
use tipring_testkit::Clock;

use super::parse::BYTES_MAX;
use super::request::judge;
use super::*;

const LEG: LegId = LegId::offered(LineId(0), 1);

fn facts() -> CallFacts {
    CallFacts {
        id: CallId(1),
        leg: Some(LEG),
        direction: Direction::Outbound,
        from: CallerId::of("15550100"),
        to: Number::new("15550199"),
        answered: true,
        codec: "PCMU",
        started_unix_ms: 0,
        origin: Origin::default(),
        kept: Rc::default(),
        session: None,
    }
}

fn answer(body: &str) -> HttpResponse {
    HttpResponse {
        status: 200,
        url: "http://app.test/voice".to_owned(),
        media_type: Some("text/xml".to_owned()),
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    }
}

fn pivot() -> Terms {
    let directory = Directory { account: "0".repeat(32), ..Directory::default() };
    Terms::of(Profile::Pivot, &directory)
}

fn run(terms: Terms, first: First) -> TwimlFlow {
    TwimlFlow::new(Rc::new(terms), Rc::default(), first).numbered_after(ActionId(7), FetchId(3))
}

fn begin(flow: &mut TwimlFlow, clock: &Clock) -> Vec<FlowOutput> {
    flow.handle(clock.now(), FlowInput::Started(&facts()));
    drain(flow)
}

fn drain(flow: &mut TwimlFlow) -> Vec<FlowOutput> {
    std::iter::from_fn(|| flow.poll()).collect()
}

fn fetch(outputs: &[FlowOutput]) -> (FetchId, &HttpRequest) {
    let found = outputs.iter().find_map(|output| {
        if let FlowOutput::Fetch { id, request, .. } = output { Some((*id, request)) } else { None }
    });
    found.expect("something is fetched")
}

#[test]
fn another_dialect_adds_fields_header_fields_and_other_names() {
    let mut terms = pivot();
    terms.method = Method::Post;
    terms.sends_json = true;
    terms.headers = vec![("X-Key".to_owned(), "k".to_owned())];
    terms.fields = vec![("Extra".to_owned(), "1".to_owned())];
    terms.renames = vec![("CallSid".to_owned(), "Call-ID".to_owned())];
    let asked = first_request(&terms, "http://app.test/voice#rt=200", &facts());
    assert_eq!(asked.timeout.as_millis(), 200);
    let body = asked.body.clone().expect("a POST has a body");
    assert_eq!(body.media_type, "application/json");
    let object: serde_json::Value = serde_json::from_slice(&body.bytes).unwrap();
    assert_eq!(object["Extra"], "1");
    assert_eq!(object["Call-ID"], "CA00000000000000000000000000000001");
    assert_eq!(object["Direction"], "inbound", "whatever the call is");
    assert!(object.get("CallSid").is_none());
    assert!(asked.url.contains("?bodySHA256="), "{}", asked.url);
    assert!(asked.headers.contains(&("X-Key".to_owned(), "k".to_owned())));
    let clock = Clock::new();
    let mut flow = run(terms, First::Url("http://app.test/voice#rt=200".to_owned()));
    let outputs = begin(&mut flow, &clock);
    assert_eq!(fetch(&outputs), (FetchId(4), &asked), "a run asks the same");
}

#[test]
fn a_document_that_others_have_fetched_runs_at_once_under_later_numbers() {
    let clock = Clock::new();
    let first = First::Answer(Box::new(answer("<Response><Play>a.wav</Play></Response>")));
    let mut flow = run(pivot(), first);
    let outputs = begin(&mut flow, &clock);
    let [FlowOutput::Start { id: ActionId(8), on: Some(LEG), action: Action::Prompt(prompt) }] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    assert_eq!(prompt.source, PromptSource::Url("http://app.test/a.wav".to_owned()));
    assert_eq!(flow.last_numbers(), (ActionId(8), FetchId(3)));
}

#[test]
fn a_first_document_that_cannot_be_had_gives_the_call_back_untouched() {
    let clock = Clock::new();
    let terms = Terms { returns_first_failure: true, ..pivot() };
    let bad = First::Answer(Box::new(answer("<Response>")));
    let mut flow = run(terms.clone(), bad);
    let outputs = begin(&mut flow, &clock);
    assert!(matches!(&outputs[..], [FlowOutput::Warn(_)]), "{outputs:?}");
    assert_eq!(flow.failed_first(), Some("TR-FLOW-XML"));

    let mut flow = run(terms.clone(), First::Url("http://app.test/voice".to_owned()));
    let outputs = begin(&mut flow, &clock);
    let (id, _) = fetch(&outputs);
    flow.handle(clock.now(), FlowInput::Fetched(id, Err(FetchError::Timeout)));
    assert_eq!(flow.failed_first(), Some("TR-HOOK-TIMEOUT"));
    assert!(drain(&mut flow).iter().all(|output| matches!(output, FlowOutput::Warn(_))));

    // A later one does not: the caller hears that something is wrong.
    let later = First::Answer(Box::new(answer("<Response><Redirect>b</Redirect></Response>")));
    let mut flow = run(terms, later);
    begin(&mut flow, &clock);
    let mut clock = clock;
    clock.advance(std::time::Duration::from_secs(1));
    flow.handle(clock.now(), FlowInput::Timeout);
    let outputs = drain(&mut flow);
    let (id, _) = fetch(&outputs);
    flow.handle(clock.now(), FlowInput::Fetched(id, Err(FetchError::Tls)));
    assert_eq!(flow.failed_first(), None);
    let sorry = drain(&mut flow).into_iter().any(|output| {
        matches!(output, FlowOutput::Start { action: Action::Prompt(prompt), .. }
            if prompt.source == PromptSource::Library("system-error".to_owned()))
    });
    assert!(sorry);
}

#[test]
fn the_record_of_a_call_goes_where_the_terms_say() {
    let clock = Clock::new();
    let terms = Terms { cdr_url: Some("http://app.test/cdr".to_owned()), ..pivot() };
    let mut flow = run(terms, First::Answer(Box::new(answer("<Response><Say>a</Say></Response>"))));
    begin(&mut flow, &clock);
    flow.handle(clock.now(), FlowInput::Leg(LEG, LegEvent::Released(Cause::NormalClearing)));
    let outputs = drain(&mut flow);
    let told = outputs
        .iter()
        .find_map(|output| if let FlowOutput::Notify(notice) = output { Some(notice) } else { None });
    let told = told.expect("the record is sent");
    assert_eq!((told.request.method, told.request.url.as_str()), (Method::Post, "http://app.test/cdr"));
    let body = String::from_utf8(told.request.body.clone().unwrap().bytes).unwrap();
    assert!(body.contains("Call-ID=") && body.contains("Hangup-Cause=NORMAL_CLEARING"), "{body}");
    assert!(matches!(outputs.last(), Some(FlowOutput::End { .. })));
    flow.handle(clock.now(), FlowInput::Ended(ActionId(8), Outcome::LegGone));
    assert!(drain(&mut flow).is_empty(), "after the end nothing more is asked for");
}

#[test]
fn a_sound_may_be_longer_than_a_document() {
    let long = "x".repeat(BYTES_MAX + 1);
    let of_type =
        |media_type: &str| HttpResponse { media_type: Some(media_type.to_owned()), ..answer(&long) };
    assert!(judge(Ok(&of_type("audio/mpeg")), false).is_ok());
    assert_eq!(judge(Ok(&of_type("text/xml")), false).err(), Some("TR-HOOK-SIZE"));
    assert_eq!(judge(Ok(&of_type("text/plain")), false).err(), Some("TR-HOOK-SIZE"));
    let full = HttpResponse { media_type: Some("text/plain".to_owned()), ..answer(&long[1..]) };
    assert!(judge(Ok(&full), false).is_ok());
}

#[test]
fn a_prewarmed_first_document_is_asked_for_by_get_alone() {
    let directory = Rc::new(Directory::default());
    let program = |terms: Terms| Twiml {
        terms: Rc::new(terms),
        first: First::Url("http://app.test/v".to_owned()),
        directory: Rc::clone(&directory),
    };
    let (request, key) = program(pivot()).entry("1", "2").expect("a GET tells of no call");
    assert_eq!(
        (request.method, key.key.as_str(), key.is_first),
        (Method::Get, "GET http://app.test/v", true)
    );
    let twilio = Terms::of(Profile::Twilio, &directory);
    assert!(program(twilio.clone()).entry("1", "2").is_none());
    assert!(!program(twilio).has_fallback());
}

#[test]
fn the_signature_is_of_the_address_that_is_asked_for() {
    for (written, sent) in [
        ("http://app.test/voice?name=J\u{fc}rgen", "http://app.test/voice?name=J%C3%BCrgen"),
        ("http://app.test/voice?a=b c", "http://app.test/voice?a=b%20c"),
        ("http://app.test/voice?a=\"q\"", "http://app.test/voice?a=%22q%22"),
        ("http://app.test/voice?a='q'", "http://app.test/voice?a=%27q%27"),
        ("HTTP://App.Test/a/../voice#rt=200", "http://app.test/voice"),
        ("http://app.test", "http://app.test/"),
        ("http://u:p@app.test:80/", "http://u:p@app.test/"),
    ] {
        let mut terms = Terms::of(Profile::Twilio, &Directory::default());
        terms.auth_token = Some("t".to_owned());
        let asked = first_request(&terms, written, &facts());
        assert_eq!(asked.url, sent);
        let body = asked.body.as_ref().expect("a POST has a body");
        let form: Vec<(String, String)> =
            url::form_urlencoded::parse(&body.bytes).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let signature = super::sign::signature("t", sent, &form);
        assert!(
            asked.headers.iter().any(|(name, value)| name == "X-Twilio-Signature" && *value == signature)
        );
    }
}
