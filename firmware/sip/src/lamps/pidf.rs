//! `application/pidf+xml`, RFC 3863, with the activity of RFC 4480.

use super::{DialogState, Entity, Lamp, push_attribute};

/// The document about a lamp: whether somebody is there, and whether he is on the telephone.
pub(crate) fn pidf(entity: Entity<'_>, lamp: &Lamp) -> String {
    let mut out = String::with_capacity(512);
    out.push_str(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\"",
    );
    let address = entity.address(entity.user);
    push_attribute(&mut out, "entity", &address);
    let basic = if lamp.reachable || !lamp.dialogs.is_empty() { "open" } else { "closed" };
    out.push_str(">\r\n<tuple id=\"t1\"><status><basic>");
    out.push_str(basic);
    out.push_str("</basic></status><contact>");
    super::push_xml(&mut out, &address);
    out.push_str("</contact></tuple>\r\n");
    if lamp.dialogs.iter().any(|dialog| dialog.state >= DialogState::Early) {
        out.push_str(
            "<dm:person id=\"p1\"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>\r\n",
        );
    }
    out.push_str("</presence>\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::LampDialog;
    use super::*;

    #[test]
    fn away_here_and_on_the_phone() {
        let entity = Entity { user: "201", host: "192.0.2.2" };
        let dialog = LampDialog {
            id: "1".into(),
            ids: None,
            direction: None,
            state: DialogState::Confirmed,
            remote: None,
        };
        for (reachable, dialogs, basic, busy) in [
            (false, vec![], "closed", false),
            (true, vec![], "open", false),
            (true, vec![dialog], "open", true),
        ] {
            let text = pidf(entity, &Lamp { reachable, dialogs });
            assert!(text.contains(&format!("<basic>{basic}</basic>")), "{text}");
            assert_eq!(text.contains("<rpid:on-the-phone/>"), busy, "{text}");
        }
    }
}
