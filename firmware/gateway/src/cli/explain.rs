//! `tipring explain`.

use tipring_flows::twiml;

use super::{NOT_FOUND, OK, complain, say};
use crate::catalogue;

pub(super) fn run(code: Option<&str>) -> u8 {
    let Some(code) = code else {
        for message in catalogue::all() {
            say(&format!("{:28} {}", message.code, message.what));
        }
        return OK;
    };
    if let Some(message) = catalogue::find(code) {
        say(&format!(
            "{}\n  What happened: {}\n  Likely cause:  {}\n  What to do:    {}",
            message.code, message.what, message.cause, message.action
        ));
        return OK;
    }
    if let Ok(number) = code.parse::<u32>() {
        return vendor_number(number);
    }
    complain(&format!("there is no message {code}"));
    let near = catalogue::near(code);
    if !near.is_empty() {
        complain(&format!("  did you mean {}?", near.join(", ")));
    }
    NOT_FOUND
}

/// A number that TwiML's fallback address gets as `ErrorCode`: the messages it stands for.
fn vendor_number(number: u32) -> u8 {
    let of_documents = |code: &str| {
        ["TR-HOOK-", "TR-FLOW-", "TR-AUDIO-", "TR-STREAM-"].iter().any(|family| code.starts_with(family))
    };
    let found: Vec<_> = catalogue::all()
        .iter()
        .filter(|message| of_documents(&message.code) && twiml::vendor_number(&message.code) == number)
        .collect();
    if found.is_empty() {
        complain(&format!("{number} is no number that TwiML's fallback address gets"));
        return NOT_FOUND;
    }
    say(&format!(
        "{number} is what TwiML's fallback address gets as ErrorCode for one of these; the log says which:"
    ));
    for message in found {
        say(&format!("{:28} {}", message.code, message.what));
    }
    OK
}
