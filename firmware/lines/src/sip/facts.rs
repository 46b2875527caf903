//! What SIP says, in the words of the lines, and the other way round.

use std::net::SocketAddr;

use tipring_model::{CallerId, Cause, Number};
use tipring_sip::auth::Credentials;
use tipring_sip::registrar::Binding;
use tipring_sip::ua::{EndReason, Incoming};
use tipring_sip::{HeaderName, Hop, NameAddr, RegisterSettings, Uri};

use super::settings::TrunkSettings;
use super::stack::is_datagram;

/// The way to a registered telephone: back where its registration came from, which
/// works through a router. One that names its own address is behind none, and waits
/// at the port it names.
pub(super) fn reached_at(binding: &Binding) -> Hop {
    const SIP_PORT: u16 = 5060;
    let hop = binding.hop;
    let names_itself = is_datagram(&hop) && binding.contact.ip() == Some(hop.remote.ip());
    let port = if names_itself { binding.contact.port().unwrap_or(SIP_PORT) } else { hop.remote.port() };
    Hop { remote: SocketAddr::new(hop.remote.ip(), port), ..hop }
}

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
