//! Any document in the dialect `opentact`, and any answer of its server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tipring_fuzz::document::run("opentact", ("url", "https://app.example/flow"), bytes);
});
