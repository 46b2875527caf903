//! Any sound on a line, and any bytes and digits in it: nothing panics, and a message that was
//! read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_fuzz::input::Bytes;
use tipring_media::dsp::caller_id::{
    AlertToneDetector, CallerIdReceiver, LineMessage, NAME_MAX,
    data_message::{self, Dialect},
    digits::{self, Form},
    number_display,
};
use tipring_media::dsp::fsk::{BELL_202, FskTransmitter, V23};
use tipring_model::Digit;

/// Samples as they are.
fn sound(bytes: &[u8]) {
    let samples: Vec<i16> =
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let mut receiver = CallerIdReceiver::default();
    let mut alert = AlertToneDetector::default();
    for part in samples.chunks(160) {
        receiver.push(part, |_| ());
        alert.push(part);
    }
}

/// Bytes behind a mark, as a modem sends them.
fn modem(bytes: &[u8]) {
    let bits = bytes.iter().flat_map(|byte| {
        core::iter::once(false).chain((0..8).map(move |bit| byte >> bit & 1 == 1)).chain([true])
    });
    let spec = if bytes.len().is_multiple_of(2) { BELL_202 } else { V23 };
    let mut bits = core::iter::repeat_n(true, 40).chain(bits).chain([true; 8]);
    let mut sender = FskTransmitter::new(spec, -13.5);
    let mut receiver = CallerIdReceiver::default();
    loop {
        let mut part = [0; 160];
        let written = sender.fill(&mut part, || bits.next());
        receiver.push(&part[..written], |_| ());
        if written < part.len() {
            break;
        }
    }
}

fn messages(bytes: &[u8]) {
    for dialect in [Dialect::Bellcore, Dialect::Etsi] {
        if let Ok(message) = data_message::parse(bytes, dialect) {
            let again = data_message::encode(&message, dialect, NAME_MAX);
            assert!(data_message::is_complete(bytes) && !again.overflowed());
            assert_eq!(data_message::parse(again.as_slice(), dialect), Ok(message));
        }
    }
    if let Ok(LineMessage::Call(caller)) = number_display::parse(bytes) {
        assert!(number_display::is_complete(bytes));
        let again = number_display::encode(&caller);
        let read = number_display::parse(again.as_slice()).expect("our own frame");
        let LineMessage::Call(read) = read else { panic!("another message") };
        assert_eq!(read.number.is_ok(), caller.number.is_ok());
    }
    let row: Vec<Digit> = bytes.iter().filter_map(|byte| Digit::from_event(byte & 15)).collect();
    if let Ok(caller) = digits::parse(&row) {
        for form in [Form::Etsi, Form::Denmark, Form::StartsWithD] {
            let again = digits::encode(&caller, form);
            if caller.number.is_err() || caller.number.is_ok_and(|number| number.as_str().len() > 1) {
                assert_eq!(digits::parse(again.as_slice()), Ok(caller), "{form:?}");
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Bytes::new(bytes);
    let mode = input.below(3);
    let rest = bytes.get(1..).unwrap_or_default();
    match mode {
        0 => sound(&rest[..rest.len().min(16_000)]),
        1 => modem(&rest[..rest.len().min(300)]),
        _ => messages(rest),
    }
});
