//! Any query, form, header and time at the control API: no panic, and nobody is let in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_fuzz::input::Bytes;
use tipring_web::platform_api::commands::wanted;
use tipring_web::platform_api::login::{Account, ApiKey, Login, Proof};
use tipring_web::platform_api::params::Params;
use tipring_web::platform_api::public_key::PublicKey;
use tipring_web::platform_api::rules::{Application, Pattern, Rule};

const KEY: &str = include_str!("../../firmware/web/src/platform_api/fixtures/public.pem");

fuzz_target!(|bytes: &[u8]| {
    let mut input = Bytes::new(bytes);
    let (command, query, form, header) = (input.text(), input.text(), input.text(), input.text());
    let Ok(params) = Params::parse(query.as_bytes(), form.as_bytes()) else { return };
    let public_key = PublicKey::parse(KEY).expect("the key is good");
    let login = Login {
        account: Account { id: 7, name: "office".to_owned(), email: String::new() },
        keys: vec![
            ApiKey { name: "a".to_owned(), proof: Proof::Text { sha256: [0x5a; 32] } },
            ApiKey { name: "b".to_owned(), proof: Proof::Signature { key_id: "k".to_owned(), public_key } },
        ],
    };
    assert!(login.admit(Some(header.as_bytes()), &params, 1_800_000_000).is_err(), "let in by {header:?}");
    assert!(login.admit(None, &params, 1_800_000_000).is_err(), "let in by fields");
    let pattern = Pattern::parse(&form).ok();
    if let Some(pattern) = &pattern {
        let _ = pattern.matches(&query);
    }
    let rule = Rule { id: 10, name: "callback".to_owned(), pattern, scenarios: Vec::new(), modified_s: 0 };
    let application = Application { id: 1, name: "office".to_owned(), rules: vec![rule] };
    if let Err(fault) = wanted(&command, &params, &[application]) {
        assert!((100..200).contains(&fault.code) && !fault.msg.is_empty(), "{fault:?}");
    }
});
