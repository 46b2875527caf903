//! What a flow can ask to be done on a leg, free of any dialect's spelling.

use core::time::Duration;

use crate::fetch::Method;
use crate::line::PlaceExtras;
use crate::prompt::{Prompt, PromptSource};
use crate::signal::LegSignal;
use crate::{CallerId, Cause, DigitSet, Digits, LegId};

/// One thing done on a leg.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Answer an offered leg. An answered leg is left as it is.
    Answer,
    /// Refuse an offered leg; an answered one is released.
    Reject(Cause),
    /// Play something.
    Prompt(Prompt),
    /// Play prompts and gather digits.
    Collect(Collect),
    /// Record until told otherwise; runs beside other actions.
    Record(Record),
    /// Ring others and connect the first that answers.
    Dial(Dial),
    /// On a leg that waits for it: let it be connected. That is one that a
    /// [`Dial`] holds ([`DialTarget::held`]), or one that is called out of a queue
    /// ([`QueueEvent::Called`](super::QueueEvent::Called)).
    Accept,
    /// Place a leg of its own, bridged to nothing.
    Place(Place),
    /// Connect with another leg of the call, both ways, until one of them goes.
    Bridge(LegId),
    /// Hear another leg of the call, one way, until one of them goes or the leg is told to hear
    /// another. Each leg hears one other at most.
    Hear(Hear),
    /// Open a [booth](Booth): a leg of its own. Lasts until it is cancelled or the call ends.
    Booth(Booth),
    /// In a booth: hear all of these legs, mixed, instead of those that an earlier one named. Who is
    /// named again is heard without a gap.
    Mix(Vec<LegId>),
    /// Let an offered leg hear what is played to it before it is answered. A placed leg, which
    /// sends before it answers, is heard without that.
    EarlyMedia,
    /// Talk with all others in a room, until the leg leaves it.
    Conference(Conference),
    /// Wait in a queue until somebody takes the leg out ([`Target::Queue`]), and
    /// talk with him. Other actions may run on the leg while it waits.
    Enqueue(Enqueue),
    /// Take a call that rings at another telephone: its caller talks with this leg. Ends
    /// like a [`Dial`], at once with [`Cause::Unallocated`] if nothing rings there.
    PickUp(PickUp),
    /// Speak to several telephones at once.
    Page(Page),
    /// Leave a message in a mailbox, or listen to those in it.
    Mailbox(Mailbox),
    /// Exchange the leg's audio with a server over a WebSocket; runs beside other
    /// actions.
    Stream(Stream),
    /// Let the party hear itself, at most this long.
    Echo(Duration),
    /// Listen for what kind of party it is; runs beside other actions.
    Detect(Detect),
    /// Watch whether the far end sends sound: [`LegEvent::Silent`](super::LegEvent::Silent) tells of
    /// silence this long, where nothing allows it. Runs beside other actions, until the leg is gone.
    Watch(Duration),
    /// Ask the far end of the leg to call somebody else instead (RFC 3515). If it did, the
    /// leg is released five seconds later.
    Refer(Target),
    /// Say something by the leg's signalling; lines without words for it leave it out.
    Signal(Box<LegSignal>),
    /// Send digits to the far end.
    SendDigits(Digits),
    /// Do nothing for a while.
    Pause(Pause),
    /// Hang up.
    Release(Cause),
}

/// See [`Action::Collect`].
#[derive(Clone, PartialEq, Debug)]
pub struct Collect {
    /// Played in order; the first digit stops them all.
    pub prompts: Vec<Prompt>,
    /// Ends by itself with this many digits.
    pub digits_max: usize,
    /// Keys that end it and are not part of the result.
    pub finish: DigitSet,
    /// Longest wait for the first digit, from the end of the prompts.
    pub first_digit: Option<Duration>,
    /// Longest wait between digits.
    pub between_digits: Option<Duration>,
    /// Longest wait in all, from the end of the prompts.
    pub total: Option<Duration>,
    /// Digits pressed before the action began count.
    pub typed_ahead: bool,
}

/// See [`Action::Record`].
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Name under which the recording is kept, unique within the call.
    pub tag: String,
    /// Which sides are recorded.
    pub sides: Sides,
    /// Longest recording.
    pub length_max: Duration,
    /// Keys that end it.
    pub finish: DigitSet,
    /// It ends when the party has been silent for so long, and what follows its last
    /// word is cut off. [`Recorded::is_silent`](super::Recorded::is_silent) is told
    /// only if this is set.
    pub silence_max: Option<Duration>,
    /// Shorter ones are not kept.
    pub length_min: Duration,
    /// Where the file goes when it is ready, besides the box's own store.
    pub upload: Option<Upload>,
}

impl Record {
    /// Records until a limit, kept on the box alone.
    #[must_use]
    pub const fn new(tag: String, sides: Sides, length_max: Duration) -> Self {
        Self {
            tag,
            sides,
            length_max,
            finish: DigitSet::NONE,
            silence_max: None,
            length_min: Duration::ZERO,
            upload: None,
        }
    }
}

/// Which sides of a leg are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sides {
    /// What the party says.
    Heard,
    /// What the party hears.
    Played,
    /// What the party says and hears, mixed.
    Both,
    /// What the party says on the left, what it hears on the right.
    Apart,
}

/// Where a file goes, by one request whose body is the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upload {
    /// PUT or POST.
    pub method: Method,
    /// Absolute address, `{file}` standing for the name of the file.
    pub url: String,
    /// Header fields beyond those that the box always sends.
    pub headers: Vec<(String, String)>,
}

/// See [`Action::Dial`].
#[derive(Clone, PartialEq, Debug)]
pub struct Dial {
    /// Whom to ring.
    pub targets: Vec<DialTarget>,
    /// In which order.
    pub order: DialOrder,
    /// Longest time without an answer: of a round, or of each target when they
    /// ring in turn.
    pub ring_max: Duration,
    /// Longest time of a round, whatever else.
    pub round_max: Option<Duration>,
    /// How often the targets are gone through, at least once.
    pub rounds: u32,
    /// Who is shown as the caller; `None` passes the caller on.
    pub caller_id: Option<CallerId>,
    /// Let the caller hear what a target sends before it answers.
    pub early_media: bool,
    /// What an answered caller hears while nobody has answered.
    pub ringback: Ringback,
    /// Longest conversation.
    pub talk_max: Option<Duration>,
    /// Keys with which the caller ends the conversation; the caller stays.
    pub hang_up: DigitSet,
    /// The first target that refuses ends it.
    pub stops_at_refusal: bool,
    /// Record from the answer on.
    pub record: Option<Record>,
    /// The flow is told about the leg of each target: that it was placed, and all
    /// that follows.
    pub reports: bool,
    /// If the one that answered asks to be transferred, that ends the dial, and the flow
    /// decides; otherwise the box does it, and the dial goes on.
    pub takes_refer: bool,
}

impl Dial {
    /// Rings `targets`, and nothing special.
    #[must_use]
    pub fn new(targets: Vec<Target>, order: DialOrder, ring_max: Duration) -> Self {
        Self {
            targets: targets.into_iter().map(DialTarget::new).collect(),
            order,
            ring_max,
            round_max: None,
            rounds: 1,
            caller_id: None,
            early_media: false,
            ringback: Ringback::Tone,
            talk_max: None,
            hang_up: DigitSet::NONE,
            stops_at_refusal: false,
            record: None,
            reports: false,
            takes_refer: false,
        }
    }
}

/// Order of ringing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialOrder {
    /// All at once, each after its own delay; the first to answer wins.
    AllAtOnce,
    /// One after the other.
    InOrder,
}

/// What a caller hears while others ring.
#[derive(Clone, PartialEq, Debug)]
pub enum Ringback {
    /// The ringing tone of the box's country.
    Tone,
    /// That of another country, by its two letters.
    ToneOf(String),
    /// This, over and over.
    Prompt(PromptSource),
    /// Nothing.
    Silence,
}

/// One of those whom a [`Dial`] rings.
#[derive(Clone, PartialEq, Debug)]
pub struct DialTarget {
    /// Who it is.
    pub target: Target,
    /// Rings only after this long. Without effect in turn.
    pub delay: Duration,
    /// Longest ringing of this one.
    pub ring_max: Option<Duration>,
    /// Header fields for SIP targets, beyond those that the box always sends.
    pub headers: Vec<(String, String)>,
    /// User and password, for a SIP target that asks.
    pub credentials: Option<(String, String)>,
    /// When it answers, the others are let go, but it is not connected before
    /// [`Action::Accept`] on its leg. Needs [`Dial::reports`].
    pub held: bool,
    /// The telephone is asked to answer by itself.
    pub auto_answer: bool,
}

impl DialTarget {
    /// Rings `target`, and nothing special.
    #[must_use]
    pub const fn new(target: Target) -> Self {
        Self {
            target,
            delay: Duration::ZERO,
            ring_max: None,
            headers: Vec::new(),
            credentials: None,
            held: false,
            auto_answer: false,
        }
    }
}

/// Whom to ring.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// A number, sent by the box's own routing: a telephone of the office, or
    /// out over a trunk.
    Number(String),
    /// A number, out over this trunk.
    Trunk {
        /// Name of the line in the configuration; none takes the first that is free.
        line: Option<String>,
        /// The number.
        number: String,
    },
    /// A SIP address, `user@host[:port]`.
    Sip(String),
    /// The scenario session of this id, which runs already or is begun by the first rule that takes
    /// the id. It is called like any other party, and does not leave the box.
    Session(String),
    /// Whoever has waited longest in this queue; waits for somebody if it is empty.
    Queue {
        /// Its name.
        name: String,
        /// What the waiting party's flow should run before the two are connected.
        announce: Option<Announcement>,
    },
}

/// A document that somebody should hear before he is connected.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Announcement {
    /// Its absolute address.
    pub url: String,
    /// How it is fetched.
    pub method: Method,
}

impl core::fmt::Display for Target {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Number(number) => f.write_str(number),
            Self::Trunk { line: Some(line), number } => write!(f, "{line}:{number}"),
            Self::Trunk { line: None, number } => write!(f, "trunk:{number}"),
            Self::Sip(address) => write!(f, "sip:{address}"),
            Self::Session(id) => write!(f, "session:{id}"),
            Self::Queue { name, .. } => write!(f, "queue:{name}"),
        }
    }
}

/// See [`Action::Place`].
#[derive(Clone, PartialEq, Debug)]
pub struct Place {
    /// Whom to ring.
    pub target: Target,
    /// Who is shown as the caller.
    pub caller_id: CallerId,
    /// Longest time without an answer.
    pub ring_max: Duration,
    /// What else to say.
    pub extras: PlaceExtras,
}

/// See [`Action::Hear`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hear {
    /// Who is heard; as soon as it sends.
    pub from: LegId,
    /// Keys in its sound are listened for meanwhile, which keeps its packets from being passed
    /// on untouched.
    pub keys: bool,
}

/// A leg without a party. What is played to it is heard by those who hear it, and what it hears
/// can be recorded ([`Sides::Played`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Booth {
    /// It works at 16 kHz, otherwise at 8.
    pub wide: bool,
}

/// Most legs that one [`Action::Mix`] names.
pub const MIX_MAX: usize = 40;

/// Most members of a room: the box mixes no more voices for one ear.
pub const ROOM_MEMBERS_MAX: usize = 40;

/// See [`Action::Conference`].
#[derive(Clone, PartialEq, Debug)]
pub struct Conference {
    /// Name of the room; there is one of each name on the box.
    pub room: String,
    /// The flow's own name for this member, by which others can coach him; may be empty.
    pub name: String,
    /// The others do not hear this one.
    pub muted: bool,
    /// This one does not hear the others.
    pub deaf: bool,
    /// The room begins with this one. Before, those who are in it hear [`Self::wait`].
    pub begins: bool,
    /// The room ends when this one leaves.
    pub ends: bool,
    /// The others hear a tone when this one comes.
    pub tone_in: bool,
    /// The others hear a tone when this one leaves.
    pub tone_out: bool,
    /// What is played, over and over, while the room has not begun; nothing leaves that
    /// to the flow ([`RoomEvent`](super::RoomEvent)).
    pub wait: Option<PromptSource>,
    /// Most members; with more nobody gets in. 2 to [`ROOM_MEMBERS_MAX`].
    pub members_max: usize,
    /// Keys by which this one leaves.
    pub leave: DigitSet,
    /// Only the member of this name hears this one; nobody does while he is not there.
    pub coaches: Option<String>,
    /// The flow would record the room: one such member at a time is told to
    /// ([`RoomEvent::Records`](super::RoomEvent::Records)).
    pub records: bool,
}

/// See [`Action::Enqueue`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enqueue {
    /// Name of the queue; there is one of each name on the box.
    pub queue: String,
    /// Most that wait; with more nobody gets in.
    pub waiting_max: usize,
    /// Set for parking: the leg takes one of these places in the queue, the lowest
    /// that is free, and can be fetched from there by the queue's name and a dot and
    /// the place. `first == last` asks for a certain one.
    pub places: Option<Places>,
}

/// Places of a car park for calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    /// Lowest.
    pub first: u32,
    /// Highest.
    pub last: u32,
}

/// See [`Action::PickUp`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PickUp {
    /// Numbers of the telephones whose calls may be taken. Of several calls, the one that
    /// has rung longest is.
    pub at: Vec<String>,
    /// If none rings, a caller who talks with one of these telephones is taken from it.
    pub answered: bool,
}

/// See [`Action::Page`]. It ends like a [`Dial`]: when the leg or all others have hung up,
/// when its time is over, or when nobody has answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// Whom to reach; they are asked to answer by themselves. Their `delay`, `ring_max` and
    /// `held` have no effect.
    pub targets: Vec<DialTarget>,
    /// Everybody hears everybody; else all hear this leg alone, and it hears nobody.
    pub two_way: bool,
    /// How long the telephones may take to answer. Who answers after others joins them.
    pub ring_max: Duration,
    /// Longest page, from the first answer.
    pub length_max: Duration,
    /// Who is shown as the caller; `None` passes the caller on.
    pub caller_id: Option<CallerId>,
}

/// See [`Action::Mailbox`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mailbox {
    /// Its name in the directory. To listen, the caller is asked if there is none.
    pub mailbox: Option<String>,
    /// What for.
    pub purpose: MailboxPurpose,
    /// Longest message.
    pub length_max: Duration,
    /// Longest wait between digits.
    pub between_digits: Duration,
    /// The caller owns the mailbox, so that no PIN is needed unless the box asks for
    /// one always.
    pub is_owner: bool,
    /// Language of what is said to the caller (BCP 47).
    pub language: String,
}

/// What a mailbox is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MailboxPurpose {
    /// To leave a message.
    Leave,
    /// To listen to messages.
    Listen,
}

/// See [`Action::Stream`].
#[derive(Clone, PartialEq, Debug)]
pub struct Stream {
    /// `wss://` or `ws://` address.
    pub url: String,
    /// The flow's name for it, sent along.
    pub name: String,
    /// What the server calls the stream.
    pub id: String,
    /// What the server calls the account and the call.
    pub names: (String, String),
    /// What the server hears: what the party says, what it hears.
    pub hears: (bool, bool),
    /// What the server sends is played to the party.
    pub speaks: bool,
    /// Sent along.
    pub parameters: Vec<(String, String)>,
}

/// See [`Action::Detect`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detect {
    /// How long to listen.
    pub length_max: Duration,
    /// The tone of a calling fax machine (ITU-T T.30).
    pub fax: bool,
    /// A voice, and whether it is a machine's.
    pub voice: bool,
}

/// See [`Action::Pause`].
#[derive(Clone, PartialEq, Debug)]
pub struct Pause {
    /// How long.
    pub length: Duration,
    /// Keys that end it early.
    pub finish: DigitSet,
    /// The key that ends it counts for the next collection.
    pub keeps_key: bool,
}

/// True if `source` needs a fetch or a speech engine before it can be heard.
#[must_use]
pub const fn needs_preparation(source: &PromptSource) -> bool {
    matches!(source, PromptSource::Url(_) | PromptSource::Request(_) | PromptSource::Speech(_))
}
