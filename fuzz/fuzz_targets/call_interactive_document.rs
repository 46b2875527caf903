//! Any document in the dialect `call_interactive`, and any answer of its server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tipring_fuzz::document::run("call_interactive", ("url", "https://app.example/ci"), bytes);
});
