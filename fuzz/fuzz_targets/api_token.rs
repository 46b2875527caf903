//! Any bytes as a token: no panic; and what is let in is signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_web::platform_api::jwt::Jwt;
use tipring_web::platform_api::public_key::PublicKey;

const KEY: &str = include_str!("../../firmware/web/src/platform_api/fixtures/public.pem");

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let _ = PublicKey::parse(&text);
    if let Ok(jwt) = Jwt::read(&text) {
        let key = PublicKey::parse(KEY).expect("the key is good");
        assert!(jwt.verify(&key, 7, 1_800_000_000).is_err(), "let in by {text}");
    }
});
