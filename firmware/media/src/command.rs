//! What is asked of the engine and what it answers: plain values that cross the two
//! rings.

use std::{sync::Arc, time::Duration};

use rtrb::{Consumer, Producer};
use tipring_model::{Digit, DigitPath, Digits, LegId, PlayId, RecordId};

use crate::{
    dsp::tone::ToneSpec,
    endpoint::{Endpoint, LegStats},
    frame::Frame,
    leg::Leg,
    prompt::Prompt,
    rtp::RtpUpdate,
};

/// A request to the engine. A request for a leg that is not there is answered with
/// [`Event::Refused`], and with [`Event::Played`] or [`Event::RecordEnded`] if it
/// asked for such a thing.
pub enum Command {
    /// Takes a leg in; made by [`Command::attach`].
    Attach(AttachedLeg),
    /// Lets a leg go; answered by [`Event::Detached`], after the ends of its plays and
    /// recordings.
    Detach {
        /// The leg.
        leg: LegId,
    },
    /// Takes over a new negotiation.
    Update {
        /// The leg.
        leg: LegId,
        /// What is new.
        update: Box<RtpUpdate>,
    },
    /// Gives the leg another endpoint. Who hears it, what it plays and what is recorded stay as
    /// they are, and so do the counters of the endpoint that goes.
    Replace {
        /// The leg.
        leg: LegId,
        /// Its new audio.
        endpoint: Box<dyn Endpoint>,
    },
    /// Lets `to` hear what `from` says, digits pressed as named events included. One
    /// way: a bridge is two of these. Payload is relayed untouched where both sides
    /// agree and nobody else needs the sound.
    Connect {
        /// The speaker.
        from: LegId,
        /// The hearer.
        to: LegId,
    },
    /// Ends that.
    Disconnect {
        /// The speaker.
        from: LegId,
        /// The hearer.
        to: LegId,
    },
    /// Plays something to a leg, after whatever it plays already.
    Play {
        /// The leg.
        leg: LegId,
        /// Names this playing in [`Event::Played`].
        play: PlayId,
        /// What to play.
        source: PlaySource,
        /// How often; 0 means until stopped. Only prompts and silence are played again.
        loops: u32,
    },
    /// Ends one playing, whether it has begun or waits.
    StopPlay {
        /// The leg.
        leg: LegId,
        /// Which.
        play: PlayId,
    },
    /// Lets one playing stand still, silent, or go on from where it stood.
    SuspendPlay {
        /// The leg.
        leg: LegId,
        /// Which.
        play: PlayId,
        /// Whether to stand still.
        still: bool,
    },
    /// Sends digits to the leg's far end, after whatever it plays already: as named
    /// events if negotiated, as sound otherwise. Ends with [`Event::Played`].
    SendDigits {
        /// The leg.
        leg: LegId,
        /// Names this in [`Event::Played`].
        play: PlayId,
        /// The digits.
        digits: Digits,
        /// How long each sounds; brought into 40 to 8,000 ms, in steps of 20.
        on_ms: u16,
        /// Pause after each; brought into 40 to 8,000 ms, in steps of 20.
        gap_ms: u16,
    },
    /// Records a leg into a ring at the leg's rate, a frame every 20 ms, silence
    /// included.
    Record {
        /// The leg.
        leg: LegId,
        /// Names this recording.
        record: RecordId,
        /// Which side.
        what: RecordWhat,
        /// Where frames go. Frames that do not fit are counted and dropped; the
        /// recording ends when the reader is gone.
        sink: Producer<Frame>,
    },
    /// Ends a recording.
    StopRecord {
        /// The leg.
        leg: LegId,
        /// Which.
        record: RecordId,
    },
    /// Listens for digits in the sound. Named events are always reported.
    Listen {
        /// The leg.
        leg: LegId,
        /// Whether to.
        inband: bool,
    },
    /// Watches over a leg's silence: [`Event::NoMedia`] comes when no packet has arrived for
    /// this long, [`Event::MediaBack`] when one has after that. Time in which the leg
    /// [may be silent](crate::Endpoint::may_be_silent) does not count, nor what was before the watch.
    Watch {
        /// The leg.
        leg: LegId,
        /// How long; none switches the watch off, as it is to begin with.
        silent: Option<Duration>,
    },
}

/// A leg with everything it needs allocated.
pub struct AttachedLeg(pub(crate) Box<Leg>);

impl Command {
    /// Takes `leg` in, with `endpoint` for its audio. Allocates the leg's state.
    #[must_use]
    pub fn attach(leg: LegId, endpoint: Box<dyn Endpoint>) -> Self {
        Self::Attach(AttachedLeg(Box::new(Leg::new(leg, endpoint))))
    }
}

/// Something to play.
pub enum PlaySource {
    /// A shared recording.
    Prompt(Arc<Prompt>),
    /// Frames from a ring, until the writer is gone; silence while the ring is empty.
    Stream(Consumer<Frame>),
    /// A tone.
    Tone(ToneSpec),
    /// Silence, sent as such.
    Silence {
        /// How long; rounded up to frames.
        ms: u32,
    },
}

/// Which side of a leg is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordWhat {
    /// What the leg's party says.
    In,
    /// What it hears.
    Out,
    /// Both, summed.
    Both,
}

impl RecordWhat {
    pub(crate) const fn hears_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    pub(crate) const fn hears_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }
}

/// What the engine has to say.
pub enum Event {
    /// A key went down. Comes before its [`Event::Digit`], for those who cannot wait.
    DigitBegan {
        /// The leg.
        leg: LegId,
        /// The key.
        digit: Digit,
        /// How it was heard: as an event or as sound.
        how: DigitPath,
    },
    /// A key was pressed: exactly one for each press, when it is let go.
    Digit {
        /// The leg.
        leg: LegId,
        /// The key.
        digit: Digit,
        /// How it was heard: as an event or as sound.
        how: DigitPath,
        /// How long it was held.
        duration_ms: u32,
    },
    /// A playing is over: exactly one for each `Play` and `SendDigits`.
    Played {
        /// The leg.
        leg: LegId,
        /// Which.
        play: PlayId,
        /// True if it was played to its end; false if stopped, refused or cut off.
        completed: bool,
        /// How much of it was played.
        played_ms: u64,
        /// Its source, to be dropped.
        returned: Returned,
    },
    /// A recording is over: exactly one for each `Record`.
    RecordEnded {
        /// The leg.
        leg: LegId,
        /// Which.
        record: RecordId,
        /// Frames written.
        frames: u64,
        /// Frames for which there was no room.
        dropped: u64,
        /// Why it never began, if it did not.
        refused: Option<Refusal>,
        /// Its ring, to be dropped.
        returned: Returned,
    },
    /// No packet has come from the peer for longer than the watch allows.
    NoMedia {
        /// The leg.
        leg: LegId,
        /// For how long.
        silent_ms: u32,
    },
    /// After [`Event::NoMedia`] a packet has come.
    MediaBack {
        /// The leg.
        leg: LegId,
    },
    /// A leg is gone.
    Detached {
        /// The leg.
        leg: LegId,
        /// Its counters.
        stats: LegStats,
        /// Its state, to be dropped.
        returned: Returned,
    },
    /// A command could not be carried out.
    Refused {
        /// The leg it named.
        leg: LegId,
        /// Why.
        why: Refusal,
        /// What came with it, to be dropped.
        returned: Returned,
    },
    /// Something that is no longer needed, to be dropped.
    Returned(Returned),
}

/// Why a command could not be carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such leg.
    #[error("no such leg")]
    NoLeg,
    /// There is one already.
    #[error("the leg is attached already")]
    LegTaken,
    /// The engine is full.
    #[error("no room for another leg")]
    LegsFull,
    /// The hearer has [`SOURCES_MAX`](crate::SOURCES_MAX) speakers, or the speaker as
    /// many hearers.
    #[error("no room for another connection")]
    SourcesFull,
    /// The leg is recorded [`RECORDS_MAX`](crate::RECORDS_MAX) times.
    #[error("no room for another recording")]
    RecordsFull,
    /// The leg has [`PLAYS_MAX`](crate::PLAYS_MAX) plays waiting.
    #[error("no room for another playing")]
    PlaysFull,
}

/// What the tick no longer needs. It frees nothing itself: dropping this elsewhere
/// does.
#[derive(Default)]
pub struct Returned(#[expect(dead_code, reason = "it is only kept to be dropped")] pub(crate) Spent);

#[derive(Default)]
#[expect(dead_code, reason = "the contents are only kept to be dropped")]
pub(crate) enum Spent {
    #[default]
    Nothing,
    Prompt(Arc<Prompt>),
    Stream(Consumer<Frame>),
    Digits(Digits),
    Sink(Producer<Frame>),
    Update(Box<RtpUpdate>),
    Leg(Box<Leg>),
    Endpoint(Box<dyn Endpoint>),
}

impl From<Spent> for Returned {
    fn from(spent: Spent) -> Self {
        Self(spent)
    }
}
