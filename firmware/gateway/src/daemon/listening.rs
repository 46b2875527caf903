//! Listening for what kind of party a leg is.

use std::time::Duration;

use rtrb::RingBuffer;
use tipring_calls::CallInput;
use tipring_media::dsp::fax_tone::{FaxToneDetector, HeardParty};
use tipring_media::{Command, RecordWhat};
use tipring_model::flow::{Detect, Detected};
use tipring_model::{ActionId, LegId, RecordId};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval};

use super::switchboard::Switchboard;

/// How often is looked at what the engine has written.
const TURN: Duration = Duration::from_millis(100);
/// Frames that the engine may be ahead.
const RING_FRAMES: usize = 50;
/// The recordings of listeners are named from here on.
const OF_LISTENER: u32 = 0x6000_0000;

impl Switchboard {
    /// Listens for an action of a call. The answer is dropped if nobody waits for it.
    pub(super) fn listen(&self, call: u32, action: ActionId, leg: LegId, detect: Detect) {
        let (sink, mut frames) = RingBuffer::new(RING_FRAMES);
        let record = RecordId(OF_LISTENER + action.0 % 0x1000_0000);
        self.0.media.send(Command::Record { leg, record, what: RecordWhat::In, sink });
        let board = self.clone();
        spawn_local(async move {
            let mut detector = FaxToneDetector::default();
            let ends = Instant::now() + detect.length_max;
            let mut turn = interval(TURN);
            let mut heard = HeardParty::Nothing;
            while Instant::now() < ends && !frames.is_abandoned() {
                turn.tick().await;
                while let Ok(frame) = frames.pop() {
                    heard = detector.process(&frame);
                    if heard == HeardParty::Fax {
                        break;
                    }
                }
                // A fax machine may begin with the noise of its line; a voice is waited out
                // only where a fax is asked for.
                if heard == HeardParty::Fax || (heard == HeardParty::Voice && !detect.fax) {
                    break;
                }
            }
            board.0.media.send(Command::StopRecord { leg, record });
            let detected = match heard {
                HeardParty::Fax if detect.fax => Detected::Fax,
                HeardParty::Voice if detect.voice => Detected::Voice,
                HeardParty::Fax | HeardParty::Voice | HeardParty::Nothing => Detected::Nothing,
            };
            board.handle(call, CallInput::Detected(action, detected));
        });
    }
}
