//! The SIP lines without their sockets: what arrives, what is asked, what is due.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tipring_media::Command;
use tipring_model::line::{DownReason, LineCommand, LineEvent, Offer, PlaceExtras, ReferReply, Supervision};
use tipring_model::signal::RemarkKind;
use tipring_model::{CallerId, Cause, LegId, LineId, Number};
use tipring_sip::auth::{Credentials, Secret};
use tipring_sip::lamps::DialogState;
use tipring_sip::ua::{
    self, CallKey, EndReason, Event, Incoming, Input, Invite, Output, Peer, PhoneAccount, RegistrationKey,
    UserAgent,
};
use tipring_sip::{Hop, NameAddr, Transport, Uri};

use super::facts::{caller_of, cause_of, credentials, headers_of, origin_of, phone_caller, registering};
use super::lamps::Lamps;
use super::legs::{Audio, Legs, SipLeg};
use super::options::{SipCounters, SipOptions};
use super::random::Random;
use super::screening::{Networks, Screening};
use super::settings::SipSettings;
use super::settings::{PhoneSettings, TrunkSettings};
use super::sockets::{LocalAddresses, RtpSockets};
use super::transfers::Transfers;
use crate::{LineStatus, MediaPort};

/// A trunk while the daemon runs.
pub(super) struct Trunk {
    pub(super) settings: TrunkSettings,
    hop: Option<Hop>,
    registration: Option<RegistrationKey>,
}

pub(super) enum Kind {
    Trunk(Box<Trunk>),
    Phone(Box<PhoneSettings>),
}

pub(super) struct SipLine {
    pub(super) id: LineId,
    pub(super) kind: Kind,
    pub(super) state: Result<(), DownReason>,
    pub(super) legs_offered: u32,
}

/// The SIP lines, without sockets and without waiting.
pub(super) struct Stack {
    pub(super) ua: UserAgent,
    screening: Screening,
    pub(super) lines: Vec<SipLine>,
    pub(super) legs: Legs,
    pub(super) transfers: Transfers,
    pub(super) lamps: Lamps,
    rtp: RtpSockets,
    addresses: LocalAddresses,
    pub(super) media: MediaPort,
    pub(super) options: SipOptions,
    pub(super) sends: VecDeque<(Hop, Arc<[u8]>)>,
    pub(super) events: VecDeque<(LineId, LineEvent)>,
    auth_failures: u64,
    pub(super) random: Random,
}

impl Stack {
    pub(super) fn new(
        now: Instant,
        options: SipOptions,
        lines: Vec<(LineId, SipSettings)>,
        media: MediaPort,
        seed: [u8; 32],
    ) -> Self {
        let accounts: Vec<PhoneAccount> = lines
            .iter()
            .filter_map(|(_, settings)| match settings {
                SipSettings::Phone(phone) => Some(PhoneAccount {
                    username: phone.username.clone(),
                    secret: Secret::Password(phone.password.reveal().to_owned()),
                    md5: phone.md5,
                }),
                SipSettings::Trunk(_) => None,
            })
            .collect();
        let phones_from = (!accounts.is_empty()).then(|| options.phones_from.clone());
        let mut screening = Screening::new(now, phones_from);
        let lines = lines
            .into_iter()
            .map(|(id, settings)| {
                let kind = match settings {
                    SipSettings::Trunk(settings) => {
                        screening.add_trunk(u32::from(id.0), settings.peers.clone());
                        Kind::Trunk(Box::new(Trunk { settings, hop: None, registration: None }))
                    }
                    SipSettings::Phone(settings) => Kind::Phone(Box::new(settings)),
                };
                SipLine { id, kind, state: Err(DownReason::NotRegistered), legs_offered: 0 }
            })
            .collect();
        let phones = (!accounts.is_empty()).then(|| ua::PhoneSettings {
            realm: options.realm.clone(),
            accounts,
            expiry: tipring_sip::registrar::ExpiryLimits::default(),
        });
        /// Messages of one call that are under way at a time, at most.
        const TRANSACTIONS_A_CALL: usize = 8;
        let calls_max = options.calls_max.saturating_mul(2);
        let settings = ua::Settings {
            product: concat!("Tipring/", env!("CARGO_PKG_VERSION")).to_owned(),
            calls_max,
            transactions_max: calls_max.saturating_mul(TRANSACTIONS_A_CALL).max(65_536),
            phones,
            ..ua::Settings::default()
        };
        Self {
            ua: UserAgent::new(now, settings, seed),
            screening,
            lines,
            legs: Legs::default(),
            transfers: Transfers::default(),
            lamps: Lamps::default(),
            rtp: RtpSockets::new(options.rtp_udp_ports),
            addresses: LocalAddresses::default(),
            media,
            options,
            sends: VecDeque::new(),
            events: VecDeque::new(),
            auth_failures: 0,
            random: Random::new(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ua.poll_timeout()
    }

    pub(super) fn status(&self, now: Instant) -> Vec<LineStatus> {
        let contacts = |line: &SipLine| match &line.kind {
            Kind::Phone(phone) => self.ua.phone_contacts(now, &phone.username).count(),
            Kind::Trunk(_) => 0,
        };
        self.lines
            .iter()
            .map(|line| LineStatus { line: line.id, state: line.state, contacts: contacts(line) })
            .collect()
    }

    /// The other end, if this leg is one of a patch.
    pub(super) fn patched(&self, leg: LegId) -> Option<LegId> {
        self.transfers.other_end(leg)
    }

    pub(super) fn counters(&self) -> SipCounters {
        let ua = self.ua.counters();
        SipCounters {
            legs: self.legs.len() + self.transfers.len(),
            dialogs: self.ua.calls(),
            transactions: self.ua.transactions(),
            timers: self.ua.timers(),
            subscriptions: self.ua.subscriptions(),
            silent_drops: ua.unknown_dropped,
            malformed: ua.malformed,
            auth_failures: self.auth_failures,
            overloaded: ua.overloaded,
        }
    }

    /// Trunks with the name and port of their next hop, and whether it is over TCP.
    pub(super) fn trunks(&self) -> Vec<(LineId, String, u16, bool)> {
        self.lines
            .iter()
            .filter_map(|line| match &line.kind {
                Kind::Trunk(trunk) => {
                    let settings = &trunk.settings;
                    Some((line.id, settings.host.clone(), settings.port, settings.tcp))
                }
                Kind::Phone(_) => None,
            })
            .collect()
    }

    // --- From the sockets.

    /// The address that a peer at `remote` must use for a socket bound to `bound`.
    pub(super) fn local_towards(&mut self, bound: SocketAddr, remote: IpAddr) -> SocketAddr {
        let local = self.addresses.towards(bound.ip(), remote);
        let is_outside = Networks::local().matching_bits(remote).is_none();
        let public = self.options.public_address.filter(|_| is_outside);
        SocketAddr::new(public.unwrap_or(local), bound.port())
    }

    /// Whether anybody at this address may have something to say.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.screening.knows(address)
    }

    pub(super) fn received(&mut self, now: Instant, hop: Hop, bytes: &[u8]) {
        let peer = self.screening.peer(now, hop.remote, bytes);
        self.ua.handle(now, Input::Received { peer, hop, bytes });
        self.settle(now);
    }

    pub(super) fn timeout(&mut self, now: Instant) {
        self.ua.handle(now, Input::Timeout);
        self.settle(now);
    }

    pub(super) fn transport_failed(&mut self, now: Instant, hop: Hop) {
        self.ua.handle(now, Input::TransportFailed { hop });
        self.settle(now);
    }

    /// The way to a trunk is known, or lost.
    pub(super) fn trunk_reachable(&mut self, now: Instant, id: LineId, hop: Option<Hop>, all: Vec<IpAddr>) {
        self.addresses.forget();
        if !all.is_empty() {
            self.screening.resolved(u32::from(id.0), all);
        }
        let Some(line) = self.lines.iter_mut().find(|line| line.id == id) else { return };
        let Kind::Trunk(trunk) = &mut line.kind else { return };
        let changed = trunk.hop != hop;
        trunk.hop = hop;
        let registers = trunk.settings.register;
        let (settings, registration) = (trunk.settings.clone(), trunk.registration);
        match (hop, registration) {
            (Some(hop), None) if registers => {
                if let Some(wanted) = registering(&settings, hop)
                    && let Ok(key) = self.ua.register(now, wanted)
                    && let Some(SipLine { kind: Kind::Trunk(trunk), .. }) =
                        self.lines.iter_mut().find(|line| line.id == id)
                {
                    trunk.registration = Some(key);
                }
            }
            (Some(hop), Some(key)) if changed => {
                // It fails only for a registration that is gone.
                let _ = self.ua.set_registration_hop(now, key, hop);
            }
            (Some(_), _) if !registers => self.line_state(id, Ok(())),
            (Some(_), _) => {}
            (None, _) => self.line_state(id, Err(DownReason::Unreachable)),
        }
        self.settle(now);
    }

    /// Takes the registrations back; returns how many there were.
    pub(super) fn unregister(&mut self, now: Instant) -> usize {
        let keys: Vec<RegistrationKey> = self
            .lines
            .iter_mut()
            .filter_map(|line| match &mut line.kind {
                Kind::Trunk(trunk) => trunk.registration.take(),
                Kind::Phone(_) => None,
            })
            .collect();
        for key in &keys {
            let _ = self.ua.unregister(now, *key);
        }
        self.settle(now);
        keys.len()
    }

    fn line_state(&mut self, id: LineId, state: Result<(), DownReason>) {
        let Some(line) = self.lines.iter_mut().find(|line| line.id == id) else { return };
        if line.state != state {
            line.state = state;
            let event = match state {
                Ok(()) => LineEvent::Up,
                Err(reason) => LineEvent::Down(reason),
            };
            self.events.push_back((id, event));
        }
    }

    // --- From the calls.

    pub(super) fn command(&mut self, now: Instant, line: LineId, command: LineCommand) {
        match command {
            LineCommand::Place { leg, to, from, extras } => self.place(now, line, leg, &to, (&from, &extras)),
            LineCommand::Alert { leg, early_media } => self.alert(now, leg, early_media),
            LineCommand::Answer { leg } => self.answer(now, leg),
            // Digits travel in the audio path of a SIP leg, and it has no hook.
            LineCommand::SendDigits { .. } | LineCommand::Flash { .. } => {}
            LineCommand::Refer { leg, to } => self.refer(now, leg, &to),
            LineCommand::Transfer { leg, from, referral } => self.transfer(now, leg, from, &referral),
            LineCommand::Signal { leg, signal } => self.signal(now, leg, *signal),
            LineCommand::EndTransfer { leg, status } => self.end_transfer(now, leg, status),
            LineCommand::Release { leg, cause } => self.release(now, leg, cause),
        }
        self.settle(now);
    }

    pub(super) fn alert(&mut self, now: Instant, id: LegId, early_media: bool) {
        if self.transfers.is_target(id) {
            return self.transfer_rings(now, id);
        }
        let random = self.random.next();
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(key) = leg.keys.first().copied() else { return };
        let early =
            early_media && leg.audio.answer.is_some() && leg.audio.connect(id, &self.media, now, random);
        let description = if early { leg.audio.answer.as_deref() } else { None };
        // It fails only for a call that has just ended; its end is on the way.
        let _ = self.ua.ring(now, key, description);
        self.lamp_goes_on(now, id, DialogState::Early);
    }

    fn answer(&mut self, now: Instant, id: LegId) {
        if self.transfers.is_target(id) {
            return self.transfer_answered(now, id);
        }
        let random = self.random.next();
        let Some(leg) = self.legs.get_mut(id) else { return };
        let Some(key) = leg.keys.first().copied() else { return };
        let line = leg.line;
        let offer;
        let description = match &leg.audio.answer {
            Some(answer) => answer.as_slice(),
            None => {
                offer = leg.audio.local.offer();
                &offer
            }
        };
        if self.ua.accept(now, key, description).is_err() {
            return;
        }
        leg.answered = true;
        self.lamps.goes_on(id, DialogState::Confirmed);
        if leg.audio.is_attached() || leg.audio.connect(id, &self.media, now, random) {
            if leg.audio.is_agreed() {
                self.report_answered(line, id);
            }
        } else {
            self.release(now, id, Cause::TemporaryFailure);
        }
        self.lamp_changed(now, id);
    }

    pub(super) fn report_answered(&mut self, line: LineId, leg: LegId) {
        let codec = self.legs.get_mut(leg).map_or("", |leg| leg.audio.codec_name());
        let supervision = Supervision::Signalled;
        self.events.push_back((line, LineEvent::Answered { leg, supervision, codec }));
    }

    fn release(&mut self, now: Instant, id: LegId, cause: Cause) {
        if self.release_transferred(now, id, cause) {
            return;
        }
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.released.get_or_insert(cause);
        let (keys, refuses) = (leg.keys.clone(), !leg.placed && !leg.answered);
        let status = leg.refuses_with.unwrap_or_else(|| cause.sip_status());
        for key in keys {
            // Both fail only for a call that has just ended.
            let _ = if refuses {
                // RFC 3261 §21.5.4: without it the caller takes us for broken.
                let later: &[(&str, &str)] = if status == 503 { &[("Retry-After", "5")] } else { &[] };
                self.ua.reject(now, key, status, "", later)
            } else {
                self.ua.hang_up(now, key, Some(cause.q850()))
            };
        }
    }

    /// Places a leg, to every contact of a telephone or to a trunk's next hop.
    fn place(
        &mut self,
        now: Instant,
        line_id: LineId,
        id: LegId,
        to: &Number,
        from: (&CallerId, &PlaceExtras),
    ) {
        /// Contacts of one telephone that are rung.
        const BRANCHES_MAX: usize = 4;
        let refuse = |events: &mut VecDeque<_>, cause| {
            events.push_back((line_id, LineEvent::Released { leg: id, cause, status: None }));
        };
        let Some(line) = self.lines.iter().find(|line| line.id == line_id) else {
            return refuse(&mut self.events, Cause::Unallocated);
        };
        let (targets, codecs) = match &line.kind {
            Kind::Trunk(trunk) => {
                let target = trunk.hop.and_then(|hop| {
                    let port = trunk.settings.port;
                    let host = match trunk.settings.host.parse::<IpAddr>() {
                        Ok(address) => SocketAddr::new(address, port).to_string(),
                        Err(_) if port == 5060 => trunk.settings.host.clone(),
                        Err(_) => format!("{}:{port}", trunk.settings.host),
                    };
                    let host = from.1.host.clone().unwrap_or(host);
                    Some((hop, Uri::sip(to.as_str(), &host).ok()?))
                });
                (target.into_iter().collect::<Vec<_>>(), trunk.settings.codecs.clone())
            }
            Kind::Phone(phone) => {
                let contacts = self.ua.phone_contacts(now, &phone.username);
                let targets = contacts.map(|binding| (binding.way(), binding.contact.clone())).collect();
                (targets, phone.codecs.clone())
            }
        };
        let Some((first, _)) = targets.first() else {
            return refuse(&mut self.events, Cause::DestinationOutOfOrder);
        };
        let bound = first.local;
        let Ok(socket) = self.rtp.bind(self.bind_address(bound.ip())) else {
            return refuse(&mut self.events, Cause::NoCircuit);
        };
        let session = self.random.session_id();
        let audio = Audio::new(socket, bound.ip(), &codecs, session, first.remote.ip());
        let offer = audio.local.offer();
        let mut keys = Vec::new();
        for (hop, target) in targets.into_iter().rev().take(BRANCHES_MAX) {
            let Some(invite) = self.invite(line_id, hop, target, from, offer.clone()) else { continue };
            keys.extend(self.ua.invite(now, invite).ok());
        }
        if keys.is_empty() {
            return refuse(&mut self.events, Cause::NoCircuit);
        }
        let leg = SipLeg {
            line: line_id,
            keys,
            placed: true,
            answered: false,
            released: None,
            refusal: None,
            status: None,
            refuses_with: None,
            said: Vec::new(),
            audio,
        };
        self.legs.insert(id, leg);
        self.lamp_called(now, line_id, id, from.0);
    }

    /// The address to bind audio to: the one that SIP is bound to, or any.
    fn bind_address(&self, towards: IpAddr) -> IpAddr {
        let listening = self.options.udp.or(self.options.tcp).map(|address| address.ip());
        match listening {
            Some(address) if !address.is_unspecified() => address,
            Some(_) | None => match towards {
                IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
                IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            },
        }
    }

    fn invite(
        &self,
        line: LineId,
        hop: Hop,
        target: Uri,
        (from, extras): (&CallerId, &PlaceExtras),
        sdp: Vec<u8>,
    ) -> Option<Invite> {
        let line = self.lines.iter().find(|known| known.id == line)?;
        let here = hop.local.to_string();
        let display = from.name.as_deref().unwrap_or("");
        let caller = from.number.as_ref().map_or("anonymous", Number::as_str);
        let (peer, user, credentials) = match &line.kind {
            Kind::Trunk(trunk) => {
                let settings = &trunk.settings;
                let own = settings.username.as_deref().filter(|_| !settings.pass_caller_id);
                (Peer::Trusted(u32::from(line.id.0)), own.unwrap_or(caller).to_owned(), credentials(settings))
            }
            Kind::Phone(_) => (Peer::Phone, caller.to_owned(), None),
        };
        let credentials = match &extras.credentials {
            Some((username, password)) => Some(Credentials {
                username: username.clone(),
                password: password.clone(),
                md5_only: credentials.is_some_and(|own| own.md5_only),
            }),
            None => credentials,
        };
        let from_host = match &line.kind {
            Kind::Trunk(trunk) if trunk.settings.register => trunk.settings.host.clone(),
            Kind::Trunk(_) | Kind::Phone(_) => here,
        };
        let contact_user = match &line.kind {
            Kind::Trunk(trunk) => trunk.settings.username.clone().unwrap_or_else(|| "tipring".to_owned()),
            Kind::Phone(_) => "tipring".to_owned(),
        };
        Some(Invite {
            peer,
            hop,
            from: NameAddr::new(display, Uri::sip(&user, &from_host).ok()?),
            to: NameAddr::new("", target.clone()),
            target,
            contact_user,
            routes: Vec::new(),
            headers: headers_of(extras),
            sdp,
            credentials,
        })
    }

    // --- From the user agent.

    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(output) = self.ua.poll() {
            match output {
                Output::Send { hop, bytes } => self.sends.push_back((hop, bytes)),
                Output::Event(event) => self.event(now, event),
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Incoming(incoming) => self.incoming(now, &incoming),
            Event::Progress { call, status, sdp, fork, response } => {
                self.far_end_said(call, &response);
                if status == 181 {
                    self.forwarding(call);
                }
                self.progress(now, call, sdp.as_deref(), fork);
            }
            Event::Answered { call, sdp, response } => {
                self.far_end_said(call, &response);
                self.answered(now, call, sdp.as_deref());
            }
            Event::Confirmed { call, sdp } => self.confirmed(now, call, sdp.as_deref()),
            Event::Offer { call, sdp } => self.offered(now, call, sdp.as_deref()),
            Event::Info { call, content_type, request } => self.info(call, &content_type, &request),
            Event::Message { call, request } => self.remark(call, RemarkKind::Message, &request),
            Event::Ended { call, reason, message } => {
                if let Some(message) = message {
                    self.far_end_said(call, &message);
                }
                if matches!(reason, EndReason::Refused { status: 300..=399, .. }) {
                    self.forwarding(call);
                }
                self.ended(now, call, &reason);
            }
            Event::TextRefused { call, status } => self.text_refused(call, status),
            Event::Refer { call, referral, request } => {
                self.far_end_said(call, &request);
                self.refer_received(now, call, &referral);
            }
            Event::TransferLate { call } => self.transfer_late(now, call),
            Event::ReferAnswered { call, status } => self.referred(call, ReferReply::Answered(status)),
            Event::ReferNotified { call, status } => self.referred(call, ReferReply::Ended(status)),
            Event::Registered { registration, .. } => {
                if let Some(id) = self.registering_line(registration) {
                    self.line_state(id, Ok(()));
                }
            }
            Event::RegistrationFailed { registration, status, .. } => {
                if let Some(id) = self.registering_line(registration) {
                    let reason = match status {
                        None => DownReason::Unreachable,
                        Some(401 | 407) => DownReason::CredentialsRefused,
                        Some(status) => DownReason::Status(status),
                    };
                    self.line_state(id, Err(reason));
                }
            }
            Event::PhoneRegistered { account, .. } => self.phone_state(now, &account, Ok(())),
            Event::PhoneGone { account } => self.phone_state(now, &account, Err(DownReason::NotRegistered)),
            Event::AuthFailed { hop } => {
                self.auth_failures += 1;
                // Few lines: a source that goes on is soon no longer answered.
                tracing::warn!(code = "TR-SIP-401", source = %hop.remote, "a telephone gave a wrong number or password");
                if self.screening.failed(now, hop.remote.ip()) {
                    tracing::warn!(code = "TR-SIP-FLOOD", source = %hop.remote.ip(), "source no longer answered");
                }
            }
            Event::OfferAnswered { .. }
            | Event::OfferRefused { .. }
            | Event::Unregistered { .. }
            | Event::Probed { .. } => {}
        }
    }

    fn registering_line(&self, registration: RegistrationKey) -> Option<LineId> {
        let owns = |line: &&SipLine| match &line.kind {
            Kind::Trunk(trunk) => trunk.registration == Some(registration),
            Kind::Phone(_) => false,
        };
        self.lines.iter().find(owns).map(|line| line.id)
    }

    fn phone_line(&self, account: &str) -> Option<LineId> {
        let owns = |line: &&SipLine| match &line.kind {
            Kind::Phone(phone) => phone.username == account,
            Kind::Trunk(_) => false,
        };
        self.lines.iter().find(owns).map(|line| line.id)
    }

    fn phone_state(&mut self, now: Instant, account: &str, state: Result<(), DownReason>) {
        let places: HashSet<SocketAddr> = self
            .lines
            .iter()
            .filter_map(|line| match &line.kind {
                Kind::Phone(phone) => Some(phone.username.as_str()),
                Kind::Trunk(_) => None,
            })
            .flat_map(|username| self.ua.phone_contacts(now, username))
            .flat_map(|binding| [binding.hop.remote, binding.way().remote])
            .collect();
        self.screening.set_registered(places);
        if let Some(id) = self.phone_line(account) {
            self.line_state(id, state);
            self.lamp_of_line(now, id);
        }
    }

    fn incoming(&mut self, now: Instant, incoming: &Incoming) {
        let line_id = match incoming.peer {
            Peer::Trusted(line) => u16::try_from(line).ok().map(LineId),
            Peer::Phone => incoming.account.as_deref().and_then(|account| self.phone_line(account)),
            Peer::Unknown => None,
        };
        let Some(at) = self.lines.iter().position(|line| Some(line.id) == line_id) else {
            return self.refuse(now, incoming.call, 404);
        };
        let Some(line) = self.lines.get_mut(at) else { return };
        if let Some(replaced) = incoming.replaces {
            let line = line.id;
            return self.take_place(now, incoming, line, replaced);
        }
        let codecs = match &line.kind {
            Kind::Trunk(trunk) => trunk.settings.codecs.clone(),
            Kind::Phone(phone) => phone.codecs.clone(),
        };
        let from = match &line.kind {
            Kind::Trunk(_) => caller_of(incoming),
            // What a telephone says of itself is not believed.
            Kind::Phone(phone) => phone_caller(phone),
        };
        line.legs_offered = line.legs_offered.wrapping_add(1);
        let (line_id, seq) = (line.id, line.legs_offered);
        let leg = LegId::offered(line_id, seq);
        let local = incoming.hop.local;
        let Ok(socket) = self.rtp.bind(self.bind_address(local.ip())) else {
            tracing::warn!(code = "TR-RTP-PORTS", "no free port for audio");
            return self.refuse(now, incoming.call, 503);
        };
        let mut audio =
            Audio::new(socket, local.ip(), &codecs, self.random.session_id(), incoming.hop.remote.ip());
        if let Some(offer) = incoming.request.sdp()
            && let Err(error) = audio.take_offer(offer)
        {
            return self.refuse(now, incoming.call, error.status());
        }
        let to = incoming.target.number().map(std::borrow::Cow::into_owned).unwrap_or_default();
        let to = Number::new(&to);
        self.lamp_calls(line_id, leg, &to);
        let offer = Offer { leg, from, to, origin: Box::new(origin_of(incoming)), codec: audio.codec_name() };
        let kept = SipLeg {
            line: line_id,
            keys: vec![incoming.call],
            placed: false,
            answered: false,
            released: None,
            refusal: None,
            status: None,
            refuses_with: None,
            said: Vec::new(),
            audio,
        };
        self.legs.insert(leg, kept);
        self.lamp_changed(now, leg);
        self.events.push_back((line_id, LineEvent::Offered(offer)));
    }

    pub(super) fn refuse(&mut self, now: Instant, call: CallKey, status: u16) {
        // It fails only for a call that has just ended.
        let _ = self.ua.reject(now, call, status, "", &[]);
    }

    fn progress(&mut self, now: Instant, call: CallKey, sdp: Option<&[u8]>, fork: u8) {
        let random = self.random.next();
        let Some((id, leg)) = self.legs.of(call) else { return };
        let line = leg.line;
        // With several telephones ringing there is no telling whose sound to play.
        let alone = leg.keys.len() == 1 && fork == 0;
        let early = sdp.filter(|_| alone && !leg.audio.is_attached()).is_some_and(|answer| {
            leg.audio.take_answer(answer).is_ok() && leg.audio.connect(id, &self.media, now, random)
        });
        self.events.push_back((line, LineEvent::Alerting { leg: id, early_media: early }));
        self.lamp_goes_on(now, id, DialogState::Early);
    }

    fn answered(&mut self, now: Instant, call: CallKey, sdp: Option<&[u8]>) {
        let random = self.random.next();
        let Some((id, leg)) = self.legs.of(call) else { return };
        let line = leg.line;
        let others: Vec<CallKey> = leg.keys.iter().copied().filter(|key| *key != call).collect();
        let agreed = match sdp {
            Some(answer) => leg.audio.take_answer(answer).is_ok(),
            None => leg.audio.is_agreed(),
        };
        let ready = agreed && leg.audio.connect(id, &self.media, now, random);
        leg.answered = true;
        for other in others {
            let _ = self.ua.hang_up(now, other, Some(Cause::AnsweredElsewhere.q850()));
        }
        self.lamps.goes_on(id, DialogState::Confirmed);
        if ready {
            self.report_answered(line, id);
        } else {
            self.release(now, id, Cause::Incompatible);
        }
        self.lamp_changed(now, id);
    }

    /// The caller confirmed our answer; where our answer was an offer, its answer
    /// comes now.
    fn confirmed(&mut self, now: Instant, call: CallKey, sdp: Option<&[u8]>) {
        let random = self.random.next();
        let Some((id, leg)) = self.legs.of(call) else { return };
        let Some(answer) = sdp else { return };
        let (line, first) = (leg.line, !leg.audio.is_agreed());
        if leg.audio.take_answer(answer).is_ok() && leg.audio.connect(id, &self.media, now, random) {
            if first {
                self.report_answered(line, id);
            }
        } else {
            self.release(now, id, Cause::Incompatible);
        }
    }

    /// The peer offers other media: hold, resume, another address or codec.
    fn offered(&mut self, now: Instant, call: CallKey, sdp: Option<&[u8]>) {
        let random = self.random.next();
        let Some((id, leg)) = self.legs.of(call) else { return };
        let (line, was_held) = (leg.line, leg.audio.held);
        leg.audio.local.version += 1;
        let Some(offer) = sdp else {
            let offer = leg.audio.local.offer();
            let _ = self.ua.answer_offer(now, call, &offer);
            return;
        };
        match leg.audio.take_offer(offer) {
            Ok(()) => {
                let answer = leg.audio.answer.clone().unwrap_or_default();
                leg.audio.connect(id, &self.media, now, random);
                let held = leg.audio.held;
                let _ = self.ua.answer_offer(now, call, &answer);
                if held != was_held {
                    self.events.push_back((line, LineEvent::Held { leg: id, held }));
                }
            }
            Err(error) => {
                let _ = self.ua.refuse_offer(now, call, error.status());
            }
        }
    }

    fn ended(&mut self, now: Instant, call: CallKey, reason: &EndReason) {
        let Some((id, leg)) = self.legs.drop_key(call) else { return };
        let cause = cause_of(reason);
        if let EndReason::Refused { status, .. } = reason {
            leg.status = leg.status.filter(|_| leg.refusal == Some(Cause::Busy)).or(Some(*status));
        }
        let answered_one_left = leg.answered && !leg.keys.is_empty();
        leg.refusal = Some(leg.refusal.filter(|known| *known == Cause::Busy).unwrap_or(cause));
        if !leg.keys.is_empty() || answered_one_left {
            // Other contacts still ring, or one of them has answered.
            return self.lamp_changed(now, id);
        }
        let cause = leg.released.or(leg.refusal).unwrap_or(cause);
        let status = leg.status.filter(|_| leg.released.is_none());
        self.lamp_ends(now, id);
        if !self.stays_vacant(now, id, cause) {
            self.leg_over(now, id, cause, status);
        }
    }

    pub(super) fn leg_over(&mut self, now: Instant, id: LegId, cause: Cause, status: Option<u16>) {
        let Some(leg) = self.legs.remove(id) else { return };
        if leg.audio.is_attached() {
            self.media.send(Command::Detach { leg: id });
        }
        self.events.push_back((leg.line, LineEvent::Released { leg: id, cause, status }));
        self.lamp_ends(now, id);
    }
}

/// How long a stopping daemon waits for its registrations to be taken back.
pub(super) const UNREGISTER_WAIT: Duration = Duration::from_millis(500);

/// True for a transport without connections.
pub(super) const fn is_datagram(hop: &Hop) -> bool {
    matches!(hop.transport, Transport::Udp)
}
