//! `tipring explain`.

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
    complain(&format!("there is no message {code}"));
    let near = catalogue::near(code);
    if !near.is_empty() {
        complain(&format!("  did you mean {}?", near.join(", ")));
    }
    NOT_FOUND
}
