//! `application/simple-message-summary`, RFC 3842 §5.

use super::{Entity, MessageWaiting};

/// The body that tells of a mailbox. Urgent messages are not told apart: there are none.
pub(crate) fn message_summary(entity: Entity<'_>, waiting: &MessageWaiting) -> String {
    let account = entity.address(waiting.names.first().map_or(entity.user, String::as_str));
    let any = if waiting.new > 0 { "yes" } else { "no" };
    format!(
        "Messages-Waiting: {any}\r\nMessage-Account: {account}\r\nVoice-Message: {}/{} (0/0)\r\n",
        waiting.new, waiting.saved
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_messages_light_the_lamp_and_saved_ones_do_not() {
        let entity = Entity { user: "201", host: "192.0.2.2:5060" };
        let told =
            |new, saved| message_summary(entity, &MessageWaiting { names: vec!["ann".into()], new, saved });
        assert_eq!(
            told(2, 1),
            "Messages-Waiting: yes\r\nMessage-Account: sip:ann@192.0.2.2:5060\r\nVoice-Message: 2/1 (0/0)\r\n"
        );
        assert!(told(0, 3).starts_with("Messages-Waiting: no\r\n"));
    }
}
