//! Any number, address, header and body in a flow's requests: what goes out is a whole http
//! address without line ends, and no header breaks out of its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tipring_flows::dialect;
use tipring_fuzz::flow_run;
use tipring_fuzz::input::Bytes;
use tipring_model::settings::{RawSettings, RawValue};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Bytes::new(bytes);
    let (from, to) = (input.text(), input.text());
    let (url, headers, body, tag) = (input.text(), input.text(), input.text(), input.text());
    let document = format!(
        "<Response><Curl url=\"{url}\" method=\"POST\" headers=\"{headers}\" body=\"{body}\" response=\"ack\"/>\
         <Gather url=\"{url}\" dtmf_length=\"2\" tag=\"{tag}\"/>\
         <Callback url=\"{url}\" method=\"POST\" body=\"true\" tag=\"{tag}\"/></Response>",
        url = escaped(&url),
        headers = escaped(&headers),
        body = escaped(&body),
        tag = escaped(&tag),
    );
    let dialect = dialect("opentact").expect("the dialect is there");
    let mut settings = RawSettings::new();
    settings.set("url", RawValue::Text("https://app.example/flow?a=b".to_owned()));
    let Ok(program) = (dialect.open)(&settings, &Default::default()) else {
        panic!("good settings were refused")
    };
    let facts = flow_run::facts(&from, &to);
    flow_run::run(program.start().as_mut(), &facts, &mut input, document.as_bytes(), |request| {
        let parsed = url::Url::parse(&request.url);
        let fetchable = parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        assert!(fetchable, "{:?} is no address to fetch", request.url);
        assert!(!request.url.contains('#'), "{:?} has a fragment", request.url);
        for (name, value) in &request.headers {
            let breaks = |text: &str| text.contains(['\r', '\n', '\0']);
            assert!(!breaks(name) && !breaks(value), "{name:?}: {value:?} breaks out of its line");
            assert!(!name.is_empty() && !name.contains([':', ' ']), "{name:?} is no header name");
        }
    });
});

fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("&#{};", u32::from(c)) })
        .collect()
}
