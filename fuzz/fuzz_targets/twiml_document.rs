//! Any document in the dialect `twiml`, and any answer of its server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tipring_fuzz::document::run("twiml", ("url", "https://app.example/voice"), bytes);
});
