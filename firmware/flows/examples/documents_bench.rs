//! What it costs to read and check a document of 64 KiB in each dialect, beside what its bare
//! reader needs to go through the same bytes once.

#![expect(clippy::print_stdout, reason = "what this measures is for a terminal")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tipring_flows::DIALECTS;

/// Longest document that is measured, in bytes: what the dialects take.
const BYTES: usize = 65_000;
/// Runs of each; the fastest counts, since everything else is somebody else's work.
const RUNS: u32 = 200;

fn main() {
    println!("document of 64 KiB | check, ms | bare reader, ms | ratio");
    println!("-------------------|-----------|-----------------|------");
    for dialect in DIALECTS {
        let document = document(dialect.name);
        let fatal = (dialect.check)(document.as_bytes()).iter().any(|finding| finding.fatal);
        assert!(!fatal, "{}: the document is meant to be good", dialect.name);
        let checked = fastest(|| drop((dialect.check)(document.as_bytes())));
        let bare = fastest(|| bare(document.as_bytes()));
        println!(
            "{:18} | {:9.3} | {:15.3} | {:5.1}",
            dialect.name,
            checked.as_secs_f64() * 1_000.0,
            bare.as_secs_f64() * 1_000.0,
            checked.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..RUNS {
        let began = Instant::now();
        work();
        fastest = fastest.min(began.elapsed());
    }
    fastest
}

/// The reader alone: every token of XML, or the whole value of JSON.
fn bare(bytes: &[u8]) {
    if bytes.first() == Some(&b'{') {
        let value: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
        assert!(value.is_ok());
        return;
    }
    let mut reader = quick_xml::Reader::from_reader(bytes);
    while !matches!(reader.read_event(), Ok(quick_xml::events::Event::Eof) | Err(_)) {}
}

/// A good document, as long as it may be.
fn document(dialect: &str) -> String {
    let mut text = String::new();
    let (begin, end) = match dialect {
        "kazoo" | "call_interactive" => ("", ""),
        _ => ("<Response>\n", "</Response>\n"),
    };
    text.push_str(begin);
    // Writing to a String cannot fail.
    let _ = match dialect {
        "opentact" | "twiml" => {
            // Few elements and long words: both limits are near.
            let words = "Thank you for calling. ".repeat(12);
            let mut number = 0;
            while text.len() + words.len() + 60 < BYTES {
                number += 1;
                let _ = writeln!(text, "<Say loop=\"1\">{number} {words}</Say><Pause length=\"1\"/>");
            }
            Ok(())
        }
        "kazoo" => {
            let words = "Thank you for calling. ".repeat(42);
            let mut nodes = 0;
            text.push_str("{\"flow\":");
            while text.len() + words.len() + 200 < BYTES && nodes < 58 {
                nodes += 1;
                let _ = write!(
                    text,
                    "{{\"module\":\"tts\",\"data\":{{\"text\":\"{nodes} {words}\"}},\"children\":{{\"_\":"
                );
            }
            text.push_str("{\"module\":\"hangup\",\"data\":{}}");
            (0..nodes).for_each(|_| text.push_str("}}"));
            text.push('}');
            Ok(())
        }
        _ => {
            text.push_str("{\"contexts\":[");
            let mut id = 0;
            while text.len() + 400 < BYTES && id < 250 {
                id += 1;
                let _ = write!(
                    text,
                    "{}{{\"id\":{id},\"options\":{{\"start\":[{{\"action\":\"play_sound\",\"sound\":\"welcome.wav\"}},\
                     {{\"action\":\"set_variable\",\"name\":\"v{id}\",\"value\":\"some words of a value\"}}],\
                     \"1\":[{{\"action\":\"transfer\",\"numbers\":[\"201\",\"202\"],\"timeout\":20}}]}}}}",
                    if id > 1 { "," } else { "" }
                );
            }
            text.push_str("]}");
            Ok::<(), std::fmt::Error>(())
        }
    };
    text.push_str(end);
    text
}
