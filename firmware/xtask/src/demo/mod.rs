//! `cargo xtask demo`: two calls on this machine, with their sound checked.
//!
//! A caller comes in over a SIP trunk, hears an announcement and a menu, presses a key and is
//! connected with a second phone. Another one comes in over a line of the exchange, on two wires,
//! presses another key, as tones in the sound, and is connected with an analog telephone. The web
//! server that says so, callers and phones are threads of this program, and so is the line card
//! that the two wires end at; the box is the daemon as it is shipped. Nothing leaves the loopback
//! interface.

mod daemon;
mod story;
mod timeline;
mod verdict;
mod wav;
mod web;
mod wires;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use tipring_testkit::phone::{Phone, PhoneEvent, voice};

use crate::packages;
use crate::run;
use daemon::Daemon;
use timeline::Timeline;
use web::Page;

/// The caller's address: a trunk's peer is known by it, so that it is not that of the phones.
const CALLER_IP: [u8; 4] = [127, 0, 0, 2];
/// The number of the flow.
const FLOW_NUMBER: &str = "100";
/// The number of the second phone.
const OFFICE_NUMBER: &str = "201";
/// The number of the line of the exchange.
const WALL_NUMBER: &str = "5550123";
/// The number of the analog telephone.
const RECEPTION_NUMBER: &str = "203";
/// The number that is free for the reader's own softphone.
const READER_NUMBER: &str = "202";

/// What is to be heard.
struct Sounds {
    welcome: Vec<i16>,
    caller_voice: Vec<i16>,
    office_voice: Vec<i16>,
}

/// What a Ctrl-C before the end must clear away.
type Cleared = Arc<Mutex<Option<(u32, PathBuf)>>>;

/// Runs the demonstration; gives whether everything was as expected.
pub(crate) fn run(once: bool, seconds: Option<u64>) -> Result<bool> {
    packages::install()?;
    let program = run::release_daemon()?;
    let cleared = Cleared::default();
    let interrupted = on_interrupt(&cleared)?;
    let timeline = Timeline::new();
    let sounds = Sounds {
        welcome: voice::announcement(1, 3_000),
        caller_voice: voice::speech_like(2, 4_000),
        office_voice: voice::speech_like(3, 4_000),
    };
    let (listener, web_address) = web::open()?;
    web::serve(listener, pages(web_address, &sounds), timeline.clone())?;
    let passwords = [password(), password()];
    let started = |pid: u32, folder: &Path| {
        *cleared.lock().unwrap_or_else(PoisonError::into_inner) = Some((pid, folder.to_path_buf()));
    };
    let card = wires::card()?;
    let written = |folder: &Path| config(folder, web_address, &passwords, &card.serial_path());
    let mut daemon = Daemon::start(&program, &card.alsa_config(), written, started, &timeline)?;
    timeline.say("box", &format!("takes calls at {}", daemon.udp));
    let [office_password, reader_password] = &passwords;
    let office = story::office(&daemon, office_password, &timeline)?;
    let sip = story::tell(&daemon, &office, &sounds, &timeline).map(|evidence| verdict::judge(&evidence));
    let wires = wires::tell(&daemon, &card, &sounds, &timeline);
    let good = [report("SIP", sip), report("Two wires", wires)] == [true; 2];
    if !once {
        // From here on Ctrl-C is the usual end.
        *cleared.lock().unwrap_or_else(PoisonError::into_inner) = None;
        println!("{}", invitation(&daemon, reader_password));
        stay(&interrupted, seconds, &office, &sounds);
    }
    drop(office);
    let ended = daemon.stop()?;
    timeline.say("box", if ended { "ended" } else { "ended badly" });
    Ok(good && ended)
}

/// Prints what was found; gives whether all of it is good.
fn report(call: &str, told: Result<Vec<verdict::Finding>>) -> bool {
    println!("\n{call}");
    let findings = match told {
        Ok(findings) => findings,
        Err(error) => {
            vec![verdict::Finding { good: false, what: format!("the call did not come about: {error:#}") }]
        }
    };
    for finding in &findings {
        println!("{}  {}", if finding.good { "ok    " } else { "WRONG " }, finding.what);
    }
    let good = findings.iter().all(|finding| finding.good);
    println!("{}", if good { "Everything was as expected." } else { "Not everything was as expected." });
    good
}

/// Keeps the second phone answering until Ctrl-C or the time is over.
fn stay(interrupted: &Receiver<()>, seconds: Option<u64>, office: &Phone, sounds: &Sounds) {
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        match interrupted.recv_timeout(Duration::from_millis(200)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return;
        }
        if office.wait_for(Duration::ZERO, &PhoneEvent::Connected).is_ok() {
            office.say(&sounds.office_voice);
        }
    }
}

/// Ctrl-C while the call runs ends everything at once; after it, it is told to whoever waits.
fn on_interrupt(cleared: &Cleared) -> Result<Receiver<()>> {
    let (tell, told) = mpsc::sync_channel(1);
    let cleared = Arc::clone(cleared);
    ctrlc::set_handler(move || {
        if let Some((pid, folder)) = cleared.lock().unwrap_or_else(PoisonError::into_inner).take() {
            daemon::end_now(pid);
            // What cannot be removed is left to the system's own cleaning.
            let _ = std::fs::remove_dir_all(folder);
            std::process::exit(130);
        }
        // A second Ctrl-C adds nothing to the first.
        let _ = tell.try_send(());
    })?;
    Ok(told)
}

fn invitation(daemon: &Daemon, password: &str) -> String {
    format!(
        "\nA softphone of your own, on this machine:\n\n  \
         server    {} (UDP) or {} (TCP)\n  \
         user      {READER_NUMBER}\n  \
         password  {password}\n\n\
         Then call {FLOW_NUMBER} and press 1, or call {OFFICE_NUMBER}. Records and recordings are in\n  {}\n\n\
         Ctrl-C ends everything.",
        daemon.udp,
        daemon.tcp,
        daemon.data().display()
    )
}

/// A password for this run.
fn password() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    let random = || std::hash::RandomState::new().build_hasher().finish();
    format!("{:016x}", random() ^ random().rotate_left(32))
}

fn pages(web: SocketAddr, sounds: &Sounds) -> Vec<Page> {
    let document = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Response>
  <Play>http://{web}/welcome.wav</Play>
  <Gather dtmf_length="1" timeout="8000">
    <Say>Press one, and you will be connected with the office, or two for the reception.</Say>
    <DTMF value="1"><Dial record="record-from-answer">{OFFICE_NUMBER}</Dial></DTMF>
    <DTMF value="2"><Dial>{RECEPTION_NUMBER}</Dial></DTMF>
    <Default><Say>That is not on the menu.</Say></Default>
    <Error><Say>No key was pressed.</Say></Error>
  </Gather>
</Response>
"#
    );
    let page = |path, name, media_type, body| Page { path, name, media_type, body };
    vec![
        page("/flow", "the document", "application/xml", document.into_bytes()),
        page("/welcome.wav", "the announcement", "audio/wav", wav::write(&sounds.welcome)),
    ]
}

fn config(folder: &Path, web: SocketAddr, passwords: &[String; 2], serial: &Path) -> String {
    let (folder, serial) = (folder.display(), serial.display());
    let [a, b, c, d] = CALLER_IP;
    let mut text = format!(
        r#"schema = 1

[box]
name = "demo"
country = "us"
timezone = "UTC"
data_dir = "{folder}/data"
control_socket = "{folder}/control.sock"

[sip]
udp = "127.0.0.1:0"
tcp = "127.0.0.1:0"
rtp_udp_ports = "0"

[fetch]
allow = ["{web}"]

[[line]]
name = "trunk1"
kind = "sip-trunk"
host = "{a}.{b}.{c}.{d}:5060"
peers = ["{a}.{b}.{c}.{d}/32"]
codecs = ["PCMU", "PCMA"]
flow = "office"

[[device]]
name = "card1"
kind = "linecard"
serial = "{serial}"
audio = "tipring"

[[line]]
name = "wall"
kind = "fxo"
port = "card1/1"
number = "{WALL_NUMBER}"
flow = "office"

[[line]]
name = "reception"
kind = "fxs"
port = "card1/2"
number = "{RECEPTION_NUMBER}"

[[flow]]
name = "office"
dialect = "opentact"
numbers = ["{FLOW_NUMBER}"]
url = "http://{web}/flow"
"#
    );
    for (number, password) in [OFFICE_NUMBER, READER_NUMBER].iter().zip(passwords) {
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\n[[line]]\nname = \"desk{number}\"\nkind = \"sip-phone\"\nnumber = \"{number}\"\npassword = \"{password}\"\nmd5 = true\ncodecs = [\"PCMU\", \"PCMA\"]\n"
        );
    }
    text
}
