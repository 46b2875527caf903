//! Any file that is fetched as a recording: as long as it says at most, and written again it is
//! the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_media::wav;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = wav::parse(bytes) else { return };
    assert!((wav::RATE_MIN_HZ..=wav::RATE_MAX_HZ).contains(&read.rate_hz));
    assert!(!read.samples.is_empty() && read.samples.len() <= bytes.len(), "samples from nowhere");
    let again = wav::parse(&wav::file(read.rate_hz, &read.samples)).expect("our own file");
    assert_eq!(again, read);
});
