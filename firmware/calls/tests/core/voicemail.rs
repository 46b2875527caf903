//! Leaving messages, and listening to them.

use std::time::Duration;

use tipring_calls::features::mailbox::{MailboxContents, MailboxReply, Message};
use tipring_model::Cause;
use tipring_model::flow::{Action, Mailbox, MailboxEnd, MailboxPurpose, Outcome};
use tipring_model::prompt::PromptSource;

use crate::stage::Stage;

const S: Duration = Duration::from_secs(1);

fn opened(purpose: MailboxPurpose, is_owner: bool, contents: MailboxContents) -> Stage {
    let mut stage = Stage::answered(Action::Mailbox(Mailbox {
        mailbox: Some("ann".to_owned()),
        purpose,
        length_max: 60 * S,
        between_digits: 2 * S,
        is_owner,
        language: "en-US".to_owned(),
    }));
    assert_eq!(stage.said(), ["open"]);
    stage.mailbox(MailboxReply::Opened(Box::new(contents)));
    stage
}

fn contents() -> MailboxContents {
    let message = |file: &str, is_new| Message {
        file: file.to_owned(),
        from: "15550100".to_owned(),
        at_unix_ms: 0,
        is_new,
    };
    MailboxContents {
        name: "ann".to_owned(),
        pin: Some("4711".to_owned()),
        has_operator: true,
        messages: vec![message("1.wav", true), message("2.wav", true), message("0.wav", false)],
        ..MailboxContents::default()
    }
}

fn leave() -> Stage {
    opened(MailboxPurpose::Leave, false, contents())
}

fn listen() -> Stage {
    opened(MailboxPurpose::Listen, true, contents())
}

fn end(stage: &Stage) -> Option<MailboxEnd> {
    let outcome = stage.outcome()?;
    let Outcome::Mailbox(end) = outcome else { panic!("{outcome:?}") };
    Some(end)
}

/// What is said, without tones and numbers.
fn words(stage: &mut Stage) -> Vec<String> {
    stage.said().into_iter().filter(|line| !line.starts_with("play o") && !line.starts_with("stop")).collect()
}

#[test]
fn who_hangs_up_has_left_his_message() {
    let mut stage = leave();
    assert_eq!(words(&mut stage), ["say voicemail-nobody", "say voicemail-record"]);
    stage.played();
    // The greeting is over, no key came: the tone, then the recording.
    stage.wait(S);
    stage.played();
    assert_eq!(words(&mut stage), ["record o0.1 1"]);
    stage.released(stage.first(), Cause::NormalClearing);
    stage.recorded(1, Some("a.wav"));
    assert!(stage.said().contains(&"keep".to_owned()));
    stage.mailbox(MailboxReply::Done);
    assert_eq!(stage.outcome(), Some(Outcome::LegGone));
}

#[test]
fn a_message_is_kept_also_when_the_flow_has_ended_the_call() {
    let mut stage = leave();
    stage.played();
    stage.wait(S);
    stage.played();
    stage.said();
    stage.end();
    stage.released(stage.first(), Cause::NormalClearing);
    assert!(!stage.said().iter().any(|line| line.starts_with("over")), "the recording is waited for");
    stage.recorded(1, Some("a.wav"));
    assert_eq!(stage.said(), ["keep", "over normal-clearing by flow"]);
}

#[test]
fn a_message_can_be_heard_again_and_spoken_again() {
    let mut stage = leave();
    stage.keys("1");
    stage.played();
    assert!(words(&mut stage).contains(&"record o0.1 1".to_owned()), "a key skips the greeting");
    stage.keys("5");
    stage.recorded(1, Some("a.wav"));
    assert_eq!(
        words(&mut stage),
        ["stop-record o0.1 1", "say voicemail-review"]
            .into_iter()
            .filter(|line| !line.starts_with("stop"))
            .collect::<Vec<_>>()
    );
    stage.keys("2");
    assert!(stage.said().iter().any(|line| line.contains("Recording")));
    stage.keys("3");
    stage.played();
    assert!(words(&mut stage).contains(&"record o0.1 2".to_owned()));
    stage.keys("#");
    stage.recorded(2, Some("b.wav"));
    stage.keys("1");
    assert!(words(&mut stage).contains(&"keep".to_owned()));
    stage.mailbox(MailboxReply::Done);
    assert_eq!(words(&mut stage), ["say voicemail-saved"]);
    stage.played();
    assert_eq!(end(&stage), Some(MailboxEnd::Left));
}

#[test]
fn nothing_said_is_no_message_and_0_asks_for_somebody() {
    let mut stage = leave();
    stage.keys("7");
    stage.played();
    stage.recorded(1, None);
    assert_eq!(end(&stage), Some(MailboxEnd::NotLeft));
    let mut stage = leave();
    stage.keys("0");
    assert_eq!(end(&stage), Some(MailboxEnd::Operator));
}

#[test]
fn a_mailbox_may_be_full_unknown_or_only_announce() {
    for (contents, said, how) in [
        (MailboxContents { is_full: true, ..contents() }, "say voicemail-full", MailboxEnd::Full),
        (
            MailboxContents { announces_only: true, ..contents() },
            "say voicemail-nobody",
            MailboxEnd::AnnouncementOnly,
        ),
    ] {
        let mut stage = opened(MailboxPurpose::Leave, false, contents);
        assert_eq!(words(&mut stage).last().map(String::as_str), Some(said));
        stage.played();
        stage.wait(S);
        assert_eq!(end(&stage), Some(how));
    }
    let mut stage = Stage::answered(Action::Mailbox(Mailbox {
        mailbox: Some("nobody".to_owned()),
        purpose: MailboxPurpose::Leave,
        length_max: S,
        between_digits: S,
        is_owner: false,
        language: "en-US".to_owned(),
    }));
    stage.mailbox(MailboxReply::Unknown);
    stage.played();
    assert_eq!(end(&stage), Some(MailboxEnd::Unknown));
}

#[test]
fn a_caller_who_knows_the_pin_gets_in_and_another_does_not() {
    let mut stage = leave();
    stage.keys("*");
    assert!(words(&mut stage).contains(&"say voicemail-pin".to_owned()));
    stage.keys("4711#");
    assert!(words(&mut stage).contains(&"say voicemail-menu".to_owned()));

    let mut stage = leave();
    stage.keys("*");
    for _ in 0..3 {
        stage.keys("0815#");
    }
    assert_eq!(words(&mut stage).last().map(String::as_str), Some("say voicemail-refused"));
    stage.played();
    assert_eq!(end(&stage), Some(MailboxEnd::Refused));
}

#[test]
fn the_owner_hears_keeps_and_deletes() {
    let mut stage = listen();
    assert!(words(&mut stage).contains(&"say voicemail-menu".to_owned()), "no PIN on his own telephone");
    stage.keys("1");
    assert_eq!(words(&mut stage), ["play ann/1.wav", "say voicemail-message-menu"]);
    stage.keys("1");
    assert_eq!(words(&mut stage), ["saved", "play ann/2.wav", "say voicemail-message-menu"]);
    stage.keys("7");
    assert_eq!(words(&mut stage), ["deleted", "say voicemail-no-more", "say voicemail-menu"]);
    stage.keys("2");
    assert_eq!(words(&mut stage)[0], "play ann/1.wav");
    stage.keys("6");
    assert_eq!(words(&mut stage)[0], "play ann/0.wav");
    stage.keys("4");
    assert_eq!(words(&mut stage)[0], "play ann/1.wav");
    stage.keys("#");
    stage.keys("#");
    stage.played();
    assert_eq!(end(&stage), Some(MailboxEnd::Listened));
}

#[test]
fn the_owner_speaks_a_greeting_and_sets_a_pin() {
    let mut stage = listen();
    stage.keys("5");
    stage.keys("1");
    stage.played();
    stage.keys("#");
    stage.recorded(1, Some("g.wav"));
    stage.keys("1");
    assert!(words(&mut stage).contains(&"greeting".to_owned()));
    stage.mailbox(MailboxReply::Done);
    stage.keys("3");
    stage.keys("123#");
    assert!(!words(&mut stage).contains(&"pin".to_owned()), "three digits are too few");
    stage.keys("3");
    stage.keys("98765#");
    assert!(words(&mut stage).contains(&"pin".to_owned()));
}

#[test]
fn the_greeting_is_what_the_mailbox_says_or_left_out() {
    let prompt = Some(PromptSource::Url("https://app.test/a.wav".to_owned()));
    for (contents, heard) in [
        (
            MailboxContents { prompt: prompt.clone(), ..contents() },
            vec!["play o0.1 Url", "say voicemail-record"],
        ),
        (MailboxContents { skips_greeting: true, ..contents() }, vec!["say voicemail-record"]),
        (
            MailboxContents { skips_greeting: true, announces_only: true, prompt, ..contents() },
            vec!["play o0.1 Url"],
        ),
    ] {
        let mut stage = opened(MailboxPurpose::Leave, false, contents);
        let said = stage.said();
        let plays: Vec<&String> =
            said.iter().filter(|line| line.starts_with("play") || line.starts_with("say")).collect();
        assert_eq!(plays.len(), heard.len(), "{said:?}");
        assert!(plays.iter().zip(&heard).all(|(line, heard)| line.starts_with(heard)), "{said:?}");
    }
}
