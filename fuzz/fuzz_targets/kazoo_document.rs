//! Any document in the dialect `kazoo`, and any answer of its server.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    tipring_fuzz::document::run(
        "kazoo",
        ("document", r#"{"flow":{"module":"pivot","data":{"voice_url":"http://app.example/p"}}}"#),
        bytes,
    );
});
