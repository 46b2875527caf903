//! Dialogs: RFC 3261 §12. State only; the user agent decides when to send.

use std::fmt;

use crate::header::HeaderName;
use crate::hop::Hop;
use crate::lex;
use crate::message::{Message, Writer};
use crate::method::Method;
use crate::name_addr::{NameAddrError, RawAddr};
use crate::transaction::BRANCH_COOKIE;
use crate::uri::Uri;

/// Most entries of a route set.
pub const ROUTES_MAX: usize = 16;

/// Why a message cannot form a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogError {
    /// No Contact, or one that is not a `sip` or `sips` URI.
    Contact,
    /// A Record-Route that is not an address, or more than [`ROUTES_MAX`] of them.
    RecordRoute,
}

impl fmt::Display for DialogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DialogError::Contact => "no usable contact",
            DialogError::RecordRoute => "bad record-route",
        })
    }
}

impl std::error::Error for DialogError {}

/// What a request inside a dialog is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// In order.
    InOrder,
    /// Another Call-ID or tag: 481.
    Stranger,
    /// A CSeq that is not above the last one: 500 (RFC 3261 §12.2.2).
    OutOfOrder,
}

/// One dialog, early or confirmed.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: Box<[u8]>,
    remote_tag: Box<[u8]>,
    /// This side's address with its tag, as our From carries it.
    local: Box<[u8]>,
    /// The peer's address with its tag, as our To carries it.
    remote: Box<[u8]>,
    /// CSeq of the last request sent.
    local_seq: u32,
    remote_seq: Option<u32>,
    target: Uri,
    routes: Box<[Box<[u8]>]>,
}

impl Dialog {
    /// The dialog a request opens at its callee (RFC 3261 §12.1.1). `local_tag` is what the
    /// responses carry; our own CSeq begins above `local_seq`.
    ///
    /// # Errors
    /// [`DialogError`].
    pub fn callee(request: &Message, local_tag: &[u8], local_seq: u32) -> Result<Dialog, DialogError> {
        let mut local = request.raw_to().to_vec();
        local.extend_from_slice(b";tag=");
        local.extend_from_slice(local_tag);
        Ok(Dialog {
            call_id: request.call_id().into(),
            remote_tag: request.from_tag().into(),
            local: local.into(),
            remote: request.raw_from().into(),
            local_seq,
            remote_seq: Some(request.cseq()),
            target: request.contact().ok_or(DialogError::Contact)?,
            routes: routes(request, false)?,
        })
    }

    /// The dialog a response opens at its caller (RFC 3261 §12.1.2).
    ///
    /// # Errors
    /// [`DialogError`].
    pub fn caller(response: &Message) -> Result<Dialog, DialogError> {
        Ok(Dialog {
            call_id: response.call_id().into(),
            remote_tag: response.to_tag().into(),
            local: response.raw_from().into(),
            remote: response.raw_to().into(),
            local_seq: response.cseq(),
            remote_seq: None,
            target: response.contact().ok_or(DialogError::Contact)?,
            routes: routes(response, true)?,
        })
    }

    /// The peer's tag.
    #[must_use]
    pub fn remote_tag(&self) -> &[u8] {
        &self.remote_tag
    }

    /// The Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        &self.call_id
    }

    /// Where requests are addressed: the peer's Contact.
    #[must_use]
    pub fn target(&self) -> &Uri {
        &self.target
    }

    /// The URI whose host the next request must reach: the first route, or the target
    /// (RFC 3261 §12.2.1.1).
    #[must_use]
    pub fn next_hop(&self) -> Uri {
        self.routes
            .first()
            .and_then(|r| RawAddr::parse(r).and_then(|a| a.uri()).ok())
            .unwrap_or_else(|| self.target.clone())
    }

    /// True when Call-ID and the peer's tag are this dialog's. Ours was matched by the lookup.
    #[must_use]
    pub fn is_with(&self, call_id: &[u8], remote_tag: &[u8]) -> bool {
        *self.call_id == *call_id && *self.remote_tag == *remote_tag
    }

    /// Checks a request against the dialog and notes its CSeq.
    pub fn receive(&mut self, request: &Message) -> Fit {
        if !self.is_with(request.call_id(), request.from_tag()) {
            return Fit::Stranger;
        }
        if self.remote_seq.is_some_and(|last| request.cseq() <= last) {
            return Fit::OutOfOrder;
        }
        self.remote_seq = Some(request.cseq());
        Fit::InOrder
    }

    /// Takes the Contact of an accepted INVITE or UPDATE, or of the 2xx to one, as the new
    /// target (RFC 3261 §12.2). Without a Contact nothing changes.
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(uri) = message.contact() {
            self.target = uri;
        }
    }

    /// The next CSeq number of our own.
    pub fn next_seq(&mut self) -> u32 {
        self.local_seq = self.local_seq.wrapping_add(1) & 0x7fff_ffff;
        self.local_seq
    }

    /// CSeq of the last request sent.
    #[must_use]
    pub fn local_seq(&self) -> u32 {
        self.local_seq
    }

    /// Writes a request up to and including CSeq; `seq` is the INVITE's own for an ACK and
    /// [`Dialog::next_seq`] for anything else.
    pub fn write<'w>(
        &self,
        writer: &'w mut Writer,
        method: Method,
        seq: u32,
        hop: &Hop,
        branch: u64,
    ) -> &'w mut Writer {
        let strict = self.strict_route();
        let uri = strict.as_ref().unwrap_or(&self.target);
        // A request-URI never carries headers, RFC 3261 §19.1.1 table 1.
        let text = uri.as_str().split('?').next().unwrap_or("");
        let w = writer.request(method, text);
        write_via(w, hop, branch);
        w.number("Max-Forwards", 70);
        let skip = usize::from(strict.is_some());
        for route in self.routes.iter().skip(skip) {
            w.raw("Route", route);
        }
        if strict.is_some() {
            // RFC 3261 §12.2.1.1: a strict router finds the target at the end of the routes.
            w.header("Route", &format!("<{}>", self.target));
        }
        w.raw("From", &self.local);
        w.raw("To", &self.remote);
        w.raw("Call-ID", &self.call_id);
        write_cseq(w, seq, method)
    }

    fn strict_route(&self) -> Option<Uri> {
        let first = RawAddr::parse(self.routes.first()?).ok()?.uri().ok()?;
        first.param("lr").is_none().then_some(first)
    }
}

pub(crate) fn write_via(w: &mut Writer, hop: &Hop, branch: u64) {
    w.with("Via", |out| {
        out.extend_from_slice(b"SIP/2.0/");
        out.extend_from_slice(hop.transport.as_str().as_bytes());
        out.push(b' ');
        crate::message::push_display(out, hop.local);
        out.extend_from_slice(b";branch=");
        out.extend_from_slice(BRANCH_COOKIE);
        out.extend_from_slice(&lex::hex16(branch));
        out.extend_from_slice(b";rport");
    });
}

pub(crate) fn write_cseq(w: &mut Writer, seq: u32, method: Method) -> &mut Writer {
    w.with("CSeq", |out| {
        lex::write_number(out, u64::from(seq));
        out.push(b' ');
        out.extend_from_slice(method.as_str().as_bytes());
    })
}

fn routes(message: &Message, reversed: bool) -> Result<Box<[Box<[u8]>]>, DialogError> {
    let mut routes: Vec<Box<[u8]>> = Vec::new();
    for value in message.values(HeaderName::RecordRoute) {
        let check = |value: &[u8]| -> Result<(), NameAddrError> { RawAddr::parse(value)?.uri().map(|_| ()) };
        if check(value).is_err() || routes.len() == ROUTES_MAX {
            return Err(DialogError::RecordRoute);
        }
        routes.push(value.into());
    }
    if reversed {
        routes.reverse();
    }
    Ok(routes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::Transport;

    fn invite(extra: &str, seq: u32, from_tag: &str) -> Message {
        Message::from_datagram(
            format!(
                "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
                 From: \"A\" <sip:a@h>;tag={from_tag}\r\nTo: <sip:b@h>\r\nCall-ID: c\r\n\
                 CSeq: {seq} INVITE\r\n{extra}\r\n"
            )
            .as_bytes(),
        )
        .unwrap()
    }

    fn ok(extra: &str) -> Message {
        Message::from_datagram(
            format!(
                "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
                 From: \"A\" <sip:a@h>;tag=f\r\nTo: <sip:b@h>;tag=t\r\nCall-ID: c\r\n\
                 CSeq: 5 INVITE\r\n{extra}\r\n"
            )
            .as_bytes(),
        )
        .unwrap()
    }

    fn hop() -> Hop {
        Hop {
            transport: Transport::Udp,
            socket: 0,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.2:5060".parse().unwrap(),
        }
    }

    fn written(dialog: &mut Dialog) -> Message {
        let seq = dialog.next_seq();
        let mut w = Writer::new();
        Message::from_datagram(dialog.write(&mut w, Method::Bye, seq, &hop(), 7).end()).unwrap()
    }

    #[test]
    fn route_sets_keep_or_reverse_their_order() {
        let rr = "Contact: <sip:peer@10.0.0.9:5070>\r\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n";
        let routes = |m: &Message| -> Vec<String> {
            m.values(HeaderName::Route).map(|v| String::from_utf8(v.to_vec()).unwrap()).collect()
        };
        let mut callee = Dialog::callee(&invite(rr, 1, "f"), b"mine", 0).unwrap();
        let bye = written(&mut callee);
        assert_eq!(routes(&bye), ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"]);
        assert_eq!(bye.request_uri_text(), b"sip:peer@10.0.0.9:5070");
        assert_eq!((bye.from_tag(), bye.to_tag()), (&b"mine"[..], &b"f"[..]));
        let mut caller = Dialog::caller(&ok(rr)).unwrap();
        let bye = written(&mut caller);
        assert_eq!(routes(&bye), ["<sip:p3;lr>", "<sip:p2;lr>", "<sip:p1;lr>"]);
        assert_eq!(bye.cseq(), 6);
        assert_eq!(caller.next_hop().as_str(), "sip:p3;lr");
    }

    #[test]
    fn strict_routers_get_the_request_uri() {
        let rr = "Contact: <sip:peer@10.0.0.9>\r\nRecord-Route: <sip:p1>, <sip:p2;lr>\r\n";
        let mut dialog = Dialog::callee(&invite(rr, 1, "f"), b"mine", 0).unwrap();
        let bye = written(&mut dialog);
        assert_eq!(bye.request_uri_text(), b"sip:p1");
        let routes: Vec<_> = bye.values(HeaderName::Route).collect();
        assert_eq!(routes, [&b"<sip:p2;lr>"[..], b"<sip:peer@10.0.0.9>"]);
    }

    #[test]
    fn tags_and_sequence_are_checked() {
        let contact = "Contact: <sip:peer@10.0.0.9>\r\n";
        let mut dialog = Dialog::callee(&invite(contact, 5, "f"), b"mine", 0).unwrap();
        assert_eq!(dialog.receive(&invite("", 6, "x")), Fit::Stranger);
        assert_eq!(dialog.receive(&invite("", 5, "f")), Fit::OutOfOrder);
        assert_eq!(dialog.receive(&invite("", 4, "f")), Fit::OutOfOrder);
        assert_eq!(dialog.receive(&invite("", 9, "f")), Fit::InOrder);
        assert_eq!(dialog.receive(&invite("", 8, "f")), Fit::OutOfOrder);
    }

    #[test]
    fn what_cannot_be_a_dialog() {
        assert_eq!(Dialog::callee(&invite("", 1, "f"), b"m", 0).unwrap_err(), DialogError::Contact);
        let bad = "Contact: <sip:a@b>\r\nRecord-Route: <sip:p\r\n";
        assert_eq!(Dialog::callee(&invite(bad, 1, "f"), b"m", 0).unwrap_err(), DialogError::RecordRoute);
        let many = format!("Contact: <sip:a@b>\r\n{}", "Record-Route: <sip:p;lr>\r\n".repeat(ROUTES_MAX + 1));
        assert_eq!(Dialog::caller(&ok(&many)).unwrap_err(), DialogError::RecordRoute);
    }
}
