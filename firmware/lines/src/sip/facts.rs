//! What SIP says, in the words of the lines, and the other way round.

use tipring_model::call::Origin;
use tipring_model::line::PlaceExtras;
use tipring_model::signal::{HEADER_BYTES_MAX, fitting};
use tipring_model::{CallerId, Cause, Number};
use tipring_sip::auth::Credentials;
use tipring_sip::ua::{EndReason, Incoming};
use tipring_sip::{HeaderName, Hop, NameAddr, RegisterSettings, Uri};

use super::settings::{PhoneSettings, TrunkSettings};

pub(super) fn registering(settings: &TrunkSettings, hop: Hop) -> Option<RegisterSettings> {
    /// Wanted lifetime: short enough to notice a lost provider within minutes.
    const EXPIRES_S: u32 = 600;
    let username = settings.username.as_deref()?;
    let host = &settings.host;
    Some(RegisterSettings {
        hop,
        registrar: Uri::sip("", host).ok()?,
        record: NameAddr::new("", Uri::sip(username, host).ok()?),
        contact_user: username.to_owned(),
        expires_s: EXPIRES_S,
        credentials: credentials(settings),
        routes: Vec::new(),
    })
}

pub(super) fn credentials(settings: &TrunkSettings) -> Option<Credentials> {
    let username = settings.auth_name.as_ref().or(settings.username.as_ref())?;
    Some(Credentials {
        username: username.clone(),
        password: settings.password.as_ref()?.reveal().to_owned(),
        md5_only: settings.md5,
    })
}

/// Who calls over a trunk: the asserted identity (RFC 3325) before the From
/// address, and nobody where the caller wants it so.
pub(super) fn caller_of(incoming: &Incoming) -> CallerId {
    let asserted = incoming.request.addresses(HeaderName::PAssertedIdentity).next();
    let hidden = incoming.request.header_text("Privacy").is_some_and(|value| {
        value.split(|b| *b == b';').any(|part| part.trim_ascii().eq_ignore_ascii_case(b"id"))
    });
    let Some(address) = asserted.or_else(|| incoming.request.from_address().ok()) else {
        return CallerId::default();
    };
    let number = address.uri.number().map(std::borrow::Cow::into_owned).unwrap_or_default();
    if hidden || number.eq_ignore_ascii_case("anonymous") || number.is_empty() {
        return CallerId::default();
    }
    let name = address.display.trim();
    CallerId {
        number: Some(Number::new(&number)),
        name: (!name.is_empty()).then(|| Number::new(name).to_string()),
    }
}

/// Who a telephone is.
pub(super) fn phone_caller(phone: &PhoneSettings) -> CallerId {
    CallerId { number: Some(Number::new(&phone.number)), name: phone.display_name.clone() }
}

pub(super) fn cause_of(reason: &EndReason) -> Cause {
    match reason {
        EndReason::Local | EndReason::RemoteHangUp { .. } => Cause::NormalClearing,
        EndReason::Cancelled => Cause::Cancelled,
        EndReason::Refused { status, .. } => Cause::from_sip_status(*status),
        EndReason::AuthFailed => Cause::Rejected,
        EndReason::Unreachable => Cause::DestinationOutOfOrder,
        EndReason::RangOut => Cause::NoAnswer,
        EndReason::NotConfirmed | EndReason::Lost => Cause::RecoveryOnTimer,
    }
}

/// Where a call came from, beyond caller and number.
pub(super) fn origin_of(incoming: &Incoming) -> Origin {
    let request = &incoming.request;
    let address = |uri: &Uri| match uri.user() {
        Some(user) if !user.is_empty() => format!("{user}@{}", uri.host()),
        Some(_) | None => uri.host().to_owned(),
    };
    let text = |address: String| Number::new(&address).to_string();
    // RFC 7044 has replaced RFC 5806, but few networks know.
    let diverted = request.addresses(HeaderName::Diversion).next();
    Origin {
        network_id: String::from_utf8_lossy(request.call_id()).into_owned(),
        from_uri: request.from_address().map(|from| text(address(&from.uri))).unwrap_or_default(),
        to_uri: request.to_address().map(|to| text(address(&to.uri))).unwrap_or_default(),
        request_uri: text(address(&incoming.target)),
        source_ip: incoming.hop.remote.ip().to_string(),
        diverted_from: diverted.and_then(|from| from.uri.number().map(|number| text(number.into_owned()))),
        headers: own_headers(request),
        ..Origin::default()
    }
}

/// The far end's header fields that begin with `X-`, as many as one message may carry.
pub(super) fn own_headers(message: &tipring_sip::message::Message) -> Vec<(String, String)> {
    let own = message.headers().filter(|(name, value)| {
        name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"X-"))
            && name.len() + value.len() <= HEADER_BYTES_MAX
    });
    let text = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect()
    };
    fitting(own.map(|(name, value)| (text(name), text(value)))).collect()
}

/// The header fields of an INVITE that a flow asked for.
pub(super) fn headers_of(extras: &PlaceExtras) -> Vec<(String, String)> {
    let mut headers = extras.headers.clone();
    if extras.auto_answer {
        // RFC 5373, and what telephones of before understand.
        headers.push(("Answer-Mode".to_owned(), "Auto".to_owned()));
        headers
            .push(("Alert-Info".to_owned(), "<http://127.0.0.1>;info=alert-autoanswer;delay=0".to_owned()));
    }
    // A value with a line end would be another header field.
    headers.retain(|(name, value)| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !value.contains(|c: char| c.is_control())
    });
    headers
}
