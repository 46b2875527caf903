//! A connection's bytes, in pieces of any size: the cuts do not matter, and nothing grows
//! without a limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_fuzz::input::Bytes;
use tipring_sip::message::{Frame, Message, StreamFramer};

fuzz_target!(|bytes: &[u8]| {
    let Some((seed, stream)) = bytes.split_first() else { return };
    let whole = frames(stream, &mut |_| stream.len().max(1));
    let mut cuts = Bytes::new(bytes);
    let pieces = frames(stream, &mut |left| 1 + cuts.below(usize::from(*seed) + 1).min(left));
    assert_eq!(whole, pieces, "the cuts changed what was read");
});

/// What is read of the stream, up to the first error: messages, pings as empty ones, and whether
/// the connection is to be closed.
fn frames(stream: &[u8], length: &mut dyn FnMut(usize) -> usize) -> (Vec<Vec<u8>>, bool) {
    let mut framer = StreamFramer::new();
    let mut read = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(length(rest.len()).min(rest.len()));
        framer.push(piece);
        rest = after;
        while let Some(frame) = framer.take() {
            match frame {
                Ok(Frame::Message(message)) => {
                    let _ = Message::from_frame(message);
                    read.push(message.to_vec());
                }
                Ok(Frame::Ping) => read.push(Vec::new()),
                Err(_) => return (read, true),
            }
        }
    }
    (read, false)
}
