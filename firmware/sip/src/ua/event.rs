//! What crosses the border of the user agent: inputs, outputs, events, commands' parameters.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Credentials, Secret};
use crate::hop::Hop;
use crate::message::Message;
use crate::name_addr::NameAddr;
use crate::transaction::Timing;
use crate::uri::Uri;

/// One call at this user agent. Never given to a second call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// One registration of ours at a registrar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationKey(pub(crate) u32);

/// One OPTIONS sent to learn whether a peer is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeKey(pub(crate) u32);

/// What the shell knows about the sender of a message. The shell decides; nothing in the message
/// changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A configured peer, such as a trunk, by the shell's own number. Its requests inside a
    /// dialog are matched to the calls of the same number only.
    Trusted(u32),
    /// A source that may be a phone: every request that opens something is challenged. Without
    /// [`Settings::phones`] it is treated as unknown.
    Phone,
    /// Anybody else: gets no answer at all.
    Unknown,
}

/// What the shell tells the user agent.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// One datagram, or one [`Frame::Message`](crate::message::Frame) of a connection.
    Received {
        /// Who sent it, by the shell's screening.
        peer: Peer,
        /// Where it came in.
        hop: Hop,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A connection closed, or a socket reported the peer unreachable: what waits on this hop
    /// fails at once.
    TransportFailed {
        /// The way that is gone.
        hop: Hop,
    },
    /// The time of [`UserAgent::poll_timeout`](super::UserAgent::poll_timeout) has come.
    Timeout,
}

/// What the user agent wants.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send bytes: a datagram on UDP, as they are on a connection.
    Send {
        /// The way.
        hop: Hop,
        /// The message.
        bytes: Arc<[u8]>,
    },
    /// Something the application must know.
    Event(Event),
}

/// An incoming call. Answer with `ring`, `accept`, `reject` or `hang_up`.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The call.
    pub call: CallKey,
    /// Who sent it.
    pub peer: Peer,
    /// The account that proved itself, for a phone.
    pub account: Option<String>,
    /// Where it came in.
    pub hop: Hop,
    /// The INVITE: all its headers and its body.
    pub request: Arc<Message>,
    /// Its request-URI.
    pub target: Uri,
    /// The call whose place it is to take (RFC 3891): one that is answered, or that is placed
    /// from here and rings.
    pub replaces: Option<CallKey>,
}

/// Whom a peer asks us to call in its place. See [`Event::Refer`].
#[derive(Clone, Debug)]
pub struct Referral {
    /// The address: `sip`, `sips` or `tel`.
    pub target: Uri,
    /// The call that is to be replaced with it.
    pub replaces: Replaced,
    /// Who says that he refers (RFC 3892), as it stands in the request.
    pub referred_by: Option<String>,
}

/// The call that a [`Referral`] names by its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// None.
    Nothing,
    /// One of this user agent.
    Call(CallKey),
    /// One that is not here.
    Unknown,
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum EndReason {
    /// `hang_up` or `reject` was called here.
    Local,
    /// BYE. With the Q.850 cause of its Reason header (RFC 3326), if any.
    RemoteHangUp {
        /// Q.850 cause.
        cause: Option<u8>,
    },
    /// The caller gave up before the answer (CANCEL, or BYE on the early dialog).
    Cancelled,
    /// The callee refused: 300 to 699.
    Refused {
        /// The status.
        status: u16,
        /// Its reason phrase.
        reason: String,
        /// Q.850 cause of a Reason header, if any.
        cause: Option<u8>,
        /// The contacts of a 3xx. Following them is the application's decision.
        contacts: Vec<Uri>,
        /// Retry-After of a 503 and its like.
        retry_after: Option<Duration>,
    },
    /// The password was refused, or no password was given for a challenge.
    AuthFailed,
    /// No answer from the peer within 64*T1, or its transport failed.
    Unreachable,
    /// It rang longer than [`Settings::ring_max`].
    RangOut,
    /// The caller never confirmed our answer; BYE was sent.
    NotConfirmed,
    /// The peer no longer knows the call (481 or 408 inside it).
    Lost,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new call.
    Incoming(Box<Incoming>),
    /// A provisional answer to our INVITE, 101 to 199; a 100 is not reported.
    Progress {
        /// The call.
        call: CallKey,
        /// 180 ringing, 183 progress and so on.
        status: u16,
        /// A session description: early media.
        sdp: Option<Box<[u8]>>,
        /// Number of the fork, 0 for the first branch that answered. Another number is another
        /// phone with its own session description.
        fork: u8,
        /// The whole response, for its headers.
        response: Arc<Message>,
    },
    /// Our INVITE was answered and confirmed.
    Answered {
        /// The call.
        call: CallKey,
        /// The answer; `None` when an earlier provisional answer carried it.
        sdp: Option<Box<[u8]>>,
        /// The whole response, for its headers.
        response: Arc<Message>,
    },
    /// The caller confirmed our answer (ACK).
    Confirmed {
        /// The call.
        call: CallKey,
        /// The answer to our offer, when the INVITE had none.
        sdp: Option<Box<[u8]>>,
    },
    /// The peer wants other media (re-INVITE, or UPDATE). Answer with `answer_offer` or
    /// `refuse_offer`.
    Offer {
        /// The call.
        call: CallKey,
        /// The offer; `None` asks for one of ours, whose answer comes with
        /// [`Event::Confirmed`].
        sdp: Option<Box<[u8]>>,
    },
    /// Our own offer was taken.
    OfferAnswered {
        /// The call.
        call: CallKey,
        /// The answer.
        sdp: Option<Box<[u8]>>,
    },
    /// Our own offer was refused; the call goes on as before.
    OfferRefused {
        /// The call.
        call: CallKey,
        /// The status.
        status: u16,
    },
    /// An INFO inside a call with a body of [`INFO_TYPES`](super::INFO_TYPES), or of any type in a
    /// call that takes texts.
    Info {
        /// The call.
        call: CallKey,
        /// Its type, in small letters and without parameters.
        content_type: String,
        /// The whole request, for its body and headers.
        request: Arc<Message>,
    },
    /// A MESSAGE inside a call that takes texts.
    Message {
        /// The call.
        call: CallKey,
        /// The whole request, for its body and headers.
        request: Arc<Message>,
    },
    /// The peer refuses a text of ours ([`UserAgent::text`](super::UserAgent::text)).
    TextRefused {
        /// The call.
        call: CallKey,
        /// The status, 300 or above.
        status: u16,
    },
    /// The peer asks us to call somebody else in its place (RFC 3515). Answer with
    /// `report_transfer`.
    Refer {
        /// The call.
        call: CallKey,
        /// Whom.
        referral: Box<Referral>,
        /// The whole request, for its headers.
        request: Arc<Message>,
    },
    /// A transfer that the peer asked for has taken [`TRANSFER_MAX`](super::TRANSFER_MAX), and
    /// the peer has been told that it failed.
    TransferLate {
        /// The call, which may have ended.
        call: CallKey,
    },
    /// The peer took or refused our REFER.
    ReferAnswered {
        /// The call.
        call: CallKey,
        /// The status; 408 for silence.
        status: u16,
    },
    /// What came of our REFER that the peer took.
    ReferNotified {
        /// The call.
        call: CallKey,
        /// The status of the call that the peer made; `None` if it does not say.
        status: Option<u16>,
    },
    /// A call is over; exactly once for each. Its key is dead, except for the reports of a
    /// transfer.
    Ended {
        /// The call.
        call: CallKey,
        /// Why.
        reason: EndReason,
        /// The BYE or the refusal that ended it, for its headers.
        message: Option<Arc<Message>>,
    },
    /// A registration stands.
    Registered {
        /// The registration.
        registration: RegistrationKey,
        /// What the registrar granted.
        expires: Duration,
        /// Our address as the registrar sees it (`received` and `rport` of our Via). When it
        /// differs from [`Hop::local`], the shell may register again with a hop that names it.
        public: Option<SocketAddr>,
    },
    /// A registration does not stand; it is tried again by itself.
    RegistrationFailed {
        /// The registration.
        registration: RegistrationKey,
        /// The refusal; `None` when no answer came.
        status: Option<u16>,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A registration was taken back, or the attempt to do so ended. Its key is dead.
    Unregistered {
        /// The registration.
        registration: RegistrationKey,
    },
    /// An OPTIONS was answered or was not.
    Probed {
        /// The probe.
        probe: ProbeKey,
        /// Any final status means alive; `None` means silence.
        status: Option<u16>,
    },
    /// A phone registered or refreshed.
    PhoneRegistered {
        /// The account.
        account: String,
        /// Where it is.
        hop: Hop,
    },
    /// A phone's last contact is gone: removed or expired.
    PhoneGone {
        /// The account.
        account: String,
    },
    /// A phone failed to authenticate. The shell counts these by source.
    AuthFailed {
        /// Where from.
        hop: Hop,
    },
}

/// An outgoing call.
#[derive(Clone, Debug)]
pub struct Invite {
    /// Whom the callee belongs to, compared with [`Input::Received`]'s peer inside the call.
    pub peer: Peer,
    /// The way to the next hop, resolved by the shell.
    pub hop: Hop,
    /// The request-URI.
    pub target: Uri,
    /// The From address with its display name.
    pub from: NameAddr,
    /// The To address; usually the target.
    pub to: NameAddr,
    /// The user part of our Contact.
    pub contact_user: String,
    /// Routes to an outbound proxy, usually none.
    pub routes: Vec<Uri>,
    /// Further headers, such as P-Asserted-Identity.
    pub headers: Vec<(String, String)>,
    /// The offer.
    pub sdp: Vec<u8>,
    /// For a 401 or 407.
    pub credentials: Option<Credentials>,
}

/// One account of a phone on the local network.
#[derive(Clone, Debug)]
pub struct PhoneAccount {
    /// Authentication user name, which is also the user of its address.
    pub username: String,
    /// What its answers are checked against.
    pub secret: Secret,
    /// Whether it is asked for MD5, for phones without SHA-256.
    pub md5: bool,
}

/// Phones that may register here.
#[derive(Clone, Debug)]
pub struct PhoneSettings {
    /// The realm of the challenges.
    pub realm: String,
    /// The accounts.
    pub accounts: Vec<PhoneAccount>,
    /// Lifetimes of registrations.
    pub expiry: crate::registrar::ExpiryLimits,
}

/// Settings of a [`UserAgent`](super::UserAgent).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Server and User-Agent; empty for none.
    pub product: String,
    /// T1, T2, T4.
    pub timing: Timing,
    /// Most calls at a time; above it 503.
    pub calls_max: usize,
    /// Most transactions at a time; above it 503.
    pub transactions_max: usize,
    /// Retry-After of a 503 for too many calls.
    pub busy_retry_after: Option<Duration>,
    /// Longest an outgoing call may ring before CANCEL.
    pub ring_max: Duration,
    /// Send requests inside a call to an address in the peer's Contact or first route instead of
    /// where its messages come from. Off, because behind NAT only the latter works.
    pub follow_contact: bool,
    /// Phones, or none.
    pub phones: Option<PhoneSettings>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            product: String::new(),
            timing: Timing::default(),
            calls_max: 256,
            transactions_max: 4096,
            busy_retry_after: None,
            ring_max: Duration::from_secs(300),
            follow_contact: false,
            phones: None,
        }
    }
}

/// Requests that carry a text inside a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMethod {
    /// INFO, RFC 6086.
    Info,
    /// MESSAGE, RFC 3428.
    Message,
}

/// Why a command did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No such call, or it has ended.
    NoCall,
    /// The call is not in a state for this command.
    WrongState,
    /// A limit of [`Settings`] is reached.
    Full,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommandError::NoCall => "no such call",
            CommandError::WrongState => "wrong state for this command",
            CommandError::Full => "limit reached",
        })
    }
}

impl std::error::Error for CommandError {}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of unknown sources, dropped unread.
    pub unknown_dropped: u64,
    /// Bytes that were no message.
    pub malformed: u64,
    /// Responses and ACKs that matched nothing.
    pub unmatched: u64,
    /// Requests for a dialog that is not there, or from the wrong source.
    pub strangers: u64,
    /// Answers not sent because they would amplify (more than 1.5 times the request).
    pub amplifying_dropped: u64,
    /// Requests answered 503.
    pub overloaded: u64,
}
