//! The contract between a line and the calls: commands in, events out.

use crate::call::Origin;
use crate::flow::Target;
use crate::signal::{FarSignal, LegSignal};
use crate::{CallerId, Cause, Digit, Digits, LegId, Number};

/// What a call asks of a line.
#[derive(Clone, PartialEq, Debug)]
pub enum LineCommand {
    /// Place a leg to `to`, presenting `from`.
    Place {
        /// Name of the new leg.
        leg: LegId,
        /// Whom to reach.
        to: Number,
        /// Who calls.
        from: CallerId,
        /// What else to say.
        extras: PlaceExtras,
    },
    /// Tell the offering side that somebody is being alerted.
    Alert {
        /// An offered leg.
        leg: LegId,
        /// Open the audio path before the answer.
        early_media: bool,
    },
    /// Answer an offered leg.
    Answer {
        /// An offered leg.
        leg: LegId,
    },
    /// Send digits by the line's own signalling. Digits in the audio path are
    /// the media engine's.
    SendDigits {
        /// A leg with signalling of its own for digits.
        leg: LegId,
        /// What to send.
        digits: Digits,
    },
    /// A hook flash towards the exchange; lines without a hook leave it out.
    Flash {
        /// An answered leg.
        leg: LegId,
    },
    /// Ask the far end of an answered leg to call somebody else in our place.
    Refer {
        /// The leg.
        leg: LegId,
        /// Whom.
        to: Target,
    },
    /// Do what the far end has asked for with [`LineEvent::Refer`]: a new leg is offered that
    /// takes the place of this one when it is answered, or the leg is joined with another.
    Transfer {
        /// The leg.
        leg: LegId,
        /// Who is shown as the caller of the new leg.
        from: CallerId,
        /// What was asked for.
        referral: Box<Referral>,
    },
    /// Do not, and say with this SIP status how it ended.
    EndTransfer {
        /// The leg.
        leg: LegId,
        /// 200 where something else was done instead; otherwise why not.
        status: u16,
    },
    /// Say something by the leg's signalling.
    Signal {
        /// Any leg of this line.
        leg: LegId,
        /// What.
        signal: Box<LegSignal>,
    },
    /// Refuse, cancel or hang up, as the leg's state demands.
    Release {
        /// Any leg of this line.
        leg: LegId,
        /// Why.
        cause: Cause,
    },
}

/// What a placed leg says beyond who calls whom. Lines without such means leave it out.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PlaceExtras {
    /// Header fields for the INVITE.
    pub headers: Vec<(String, String)>,
    /// User and password, if the far end asks for other ones than the line's own.
    pub credentials: Option<(String, String)>,
    /// The telephone is asked to answer by itself.
    pub auto_answer: bool,
    /// For a SIP address: over which trunk, in place of the one whose host it has.
    pub by_trunk: Option<ByTrunk>,
    /// Host of the address that is called, if it is not that of the trunk. The box fills it in.
    pub host: Option<String>,
}

/// How whoever places a leg names the trunk for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ByTrunk {
    /// By its next hop, `host[:port]`: an outbound proxy.
    Proxy(String),
    /// By its name in the configuration, or its number among the trunks over SIP, from 1.
    Name(String),
}

/// What the far end of a leg asks for: that somebody else take its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Referral {
    /// The number in the address.
    pub to: Number,
    /// The address, as it was given.
    pub address: String,
    /// Another leg of the box that is to be joined with this one's party instead.
    pub replaces: Option<LegId>,
    /// Who asks, as a SIP address with or without brackets.
    pub by: String,
}

/// How a transfer that the far end asked for stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferStage {
    /// The new party is alerted.
    Ringing,
    /// The new party is there, and the far end that asked is gone.
    Done,
    /// It failed, with this SIP status; the far end keeps the call if it is still there.
    Failed(u16),
}

/// What the far end says to our [`LineCommand::Refer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReferReply {
    /// It took or refused the request, with this SIP status.
    Answered(u16),
    /// The call that it made came to this SIP status, if it says.
    Ended(Option<u16>),
}

/// What a line reports.
#[derive(Clone, PartialEq, Debug)]
pub enum LineEvent {
    /// The line can carry calls.
    Up,
    /// The line can carry no calls.
    Down(DownReason),
    /// A leg arrived.
    Offered(Offer),
    /// The far end of a placed leg is alerted.
    Alerting {
        /// A placed leg.
        leg: LegId,
        /// True when audio from the far end already flows.
        early_media: bool,
    },
    /// A placed leg was answered, or the answer to an offered leg is confirmed.
    Answered {
        /// The leg.
        leg: LegId,
        /// How that is known.
        supervision: Supervision,
        /// Name of the audio codec in use, for example `PCMU`.
        codec: &'static str,
    },
    /// A digit that came by signalling: pulses, SIP INFO.
    Digit {
        /// The leg.
        leg: LegId,
        /// The key.
        digit: Digit,
    },
    /// The far end put the leg on hold, or took it back.
    Held {
        /// The leg.
        leg: LegId,
        /// True while it is held.
        held: bool,
    },
    /// The far end asks that somebody else take its place. Answered with
    /// [`LineCommand::Transfer`] or [`LineCommand::EndTransfer`].
    Refer {
        /// An answered leg.
        leg: LegId,
        /// Whom.
        referral: Box<Referral>,
    },
    /// How that goes. Until it is done or failed the leg is there, also if its far end is not.
    Transferring {
        /// The leg.
        leg: LegId,
        /// How it stands.
        stage: TransferStage,
    },
    /// Another telephone has taken the far end's place.
    Replaced {
        /// The leg.
        leg: LegId,
        /// The telephone.
        by: CallerId,
    },
    /// What the far end says to [`LineCommand::Refer`]. The last is a refusal or the end.
    Referred {
        /// The leg.
        leg: LegId,
        /// What it says.
        reply: ReferReply,
    },
    /// The far end says something by the leg's signalling.
    Signalled {
        /// The leg.
        leg: LegId,
        /// What.
        signal: Box<FarSignal>,
    },
    /// The leg is gone. Sent exactly once for each leg, also for one that the
    /// box released itself.
    Released {
        /// The leg.
        leg: LegId,
        /// Why.
        cause: Cause,
        /// The SIP status with which the far end refused.
        status: Option<u16>,
    },
}

/// A leg that arrived.
#[derive(Clone, PartialEq, Debug)]
pub struct Offer {
    /// Its name.
    pub leg: LegId,
    /// Who calls.
    pub from: CallerId,
    /// What was dialled.
    pub to: Number,
    /// Where it came from, as far as the line knows; the names of the line itself are
    /// filled in by the box.
    pub origin: Box<Origin>,
    /// Name of the audio codec in use, for example `PCMU`.
    pub codec: &'static str,
}

/// How an answer is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Supervision {
    /// The network said so: 200 OK, battery reversal, an off-hook telephone.
    Signalled,
    /// Guessed from tone, voice or time.
    Inferred,
}

/// Why a line can carry no calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DownReason {
    /// Nobody is registered (a phone), or not registered yet (a trunk).
    NotRegistered,
    /// The registrar or peer refused the credentials.
    CredentialsRefused,
    /// The registrar or peer does not answer.
    Unreachable,
    /// The peer answered with this SIP status.
    Status(u16),
    /// The wire is not plugged in or carries no battery.
    Unplugged,
    /// Another telephone on the same wire is off hook.
    InUse,
    /// The device with the port is gone, or does not answer.
    NoDevice,
    /// The device has no such port.
    NoPort,
    /// The port is one for the other end of a wire: a phone port for a line, or a line port for a
    /// telephone.
    WrongPort,
}
