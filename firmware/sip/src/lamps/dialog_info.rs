//! `application/dialog-info+xml`, RFC 4235 §4.

use std::fmt::Write as _;

use super::{
    DIALOGS_TOLD_MAX, DialogDirection, DialogState, Entity, Lamp, LampDialog, push_attribute, push_xml,
};

/// The document about a lamp: always all there is (`state="full"`), with the dialogs that were
/// told before and are `over` now. Many telephones darken a lamp only for a dialog that they are
/// told is terminated; therefore a lamp where nothing goes on still has one.
pub(crate) fn dialog_info(entity: Entity<'_>, version: u32, lamp: &Lamp, over: &[String]) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\"");
    // Writing into a String cannot fail.
    let _ = write!(out, " version=\"{version}\" state=\"full\"");
    push_attribute(&mut out, "entity", &entity.address(entity.user));
    out.push_str(">\r\n");
    for dialog in told(lamp) {
        push_dialog(&mut out, entity, dialog);
    }
    for id in over.iter().take(DIALOGS_TOLD_MAX) {
        push_over(&mut out, id);
    }
    if lamp.dialogs.is_empty() && over.is_empty() {
        push_over(&mut out, entity.user);
    }
    out.push_str("</dialog-info>\r\n");
    out
}

/// The dialogs that are told, those that have got furthest first: some telephones look at the
/// first alone.
pub(crate) fn told(lamp: &Lamp) -> impl Iterator<Item = &LampDialog> {
    let of = |state| lamp.dialogs.iter().filter(move |dialog| dialog.state == state);
    of(DialogState::Confirmed)
        .chain(of(DialogState::Early))
        .chain(of(DialogState::Trying))
        .take(DIALOGS_TOLD_MAX)
}

fn push_dialog(out: &mut String, entity: Entity<'_>, dialog: &LampDialog) {
    out.push_str("<dialog");
    push_attribute(out, "id", &dialog.id);
    if let Some(ids) = &dialog.ids {
        push_attribute(out, "call-id", &ids.call_id);
        // The document speaks for the telephone: its own tag is the local one.
        if !ids.theirs.is_empty() {
            push_attribute(out, "local-tag", &ids.theirs);
        }
        push_attribute(out, "remote-tag", &ids.ours);
    }
    match dialog.direction {
        Some(DialogDirection::Initiator) => push_attribute(out, "direction", "initiator"),
        Some(DialogDirection::Recipient) => push_attribute(out, "direction", "recipient"),
        None => {}
    }
    out.push_str(">\r\n<state>");
    out.push_str(match dialog.state {
        DialogState::Trying => "trying",
        DialogState::Early => "early",
        DialogState::Confirmed => "confirmed",
    });
    out.push_str("</state>\r\n");
    push_party(out, "local", "", &entity.address(entity.user));
    if let Some((display, user)) = &dialog.remote {
        push_party(out, "remote", display, &entity.address(user));
    }
    out.push_str("</dialog>\r\n");
}

fn push_party(out: &mut String, element: &str, display: &str, address: &str) {
    let _ = write!(out, "<{element}><identity");
    if !display.is_empty() {
        push_attribute(out, "display", display);
    }
    out.push('>');
    push_xml(out, address);
    out.push_str("</identity><target");
    push_attribute(out, "uri", address);
    let _ = write!(out, "/></{element}>\r\n");
}

fn push_over(out: &mut String, id: &str) {
    out.push_str("<dialog");
    push_attribute(out, "id", id);
    out.push_str(">\r\n<state>terminated</state>\r\n</dialog>\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::DialogIds;
    use super::*;

    const ENTITY: Entity<'_> = Entity { user: "201", host: "192.0.2.2:5060" };

    fn dialog(id: &str, state: DialogState) -> LampDialog {
        LampDialog { id: id.into(), ids: None, direction: None, state, remote: None }
    }

    #[test]
    fn a_ringing_telephone_tells_what_a_pick_up_needs() {
        let ringing = LampDialog {
            ids: Some(DialogIds { call_id: "c\"1".into(), ours: "box".into(), theirs: "desk".into() }),
            direction: Some(DialogDirection::Recipient),
            remote: Some(("Tom & Co".into(), "15550100".into())),
            ..dialog("7", DialogState::Early)
        };
        let lamp = Lamp { reachable: true, dialogs: vec![ringing] };
        assert_eq!(
            dialog_info(ENTITY, 3, &lamp, &[]),
            "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" \
             version=\"3\" state=\"full\" entity=\"sip:201@192.0.2.2:5060\">\r\n\
             <dialog id=\"7\" call-id=\"c&quot;1\" local-tag=\"desk\" remote-tag=\"box\" direction=\"recipient\">\r\n\
             <state>early</state>\r\n\
             <local><identity>sip:201@192.0.2.2:5060</identity><target uri=\"sip:201@192.0.2.2:5060\"/></local>\r\n\
             <remote><identity display=\"Tom &amp; Co\">sip:15550100@192.0.2.2:5060</identity>\
             <target uri=\"sip:15550100@192.0.2.2:5060\"/></remote>\r\n\
             </dialog>\r\n</dialog-info>\r\n"
        );
    }

    #[test]
    fn what_is_over_is_said_and_silence_has_a_dialog_too() {
        let idle = dialog_info(ENTITY, 0, &Lamp::default(), &[]);
        assert!(idle.contains("<dialog id=\"201\">\r\n<state>terminated</state>"), "{idle}");
        let ended = dialog_info(ENTITY, 1, &Lamp::default(), &["7".into()]);
        assert!(ended.contains("<dialog id=\"7\">") && !ended.contains("<dialog id=\"201\">"), "{ended}");
    }

    #[test]
    fn a_busy_telephone_tells_of_a_few_calls_the_furthest_first() {
        let mut dialogs: Vec<LampDialog> =
            (0..9).map(|n| dialog(&n.to_string(), DialogState::Trying)).collect();
        dialogs.push(dialog("late", DialogState::Confirmed));
        let text = dialog_info(ENTITY, 1, &Lamp { reachable: true, dialogs }, &[]);
        assert_eq!(text.matches("<dialog ").count(), DIALOGS_TOLD_MAX);
        assert!(text.find("confirmed").unwrap() < text.find("trying").unwrap());
    }
}
