//! Anything that a script's process says to its session, one message after the other.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tipring_fuzz::script::run(bytes));
