//! The call: who does what, and when.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tipring_testkit::phone::{Answering, Phone, PhoneEvent, PhoneSettings, SAMPLES_PER_SECOND};

use super::daemon::{Daemon, pause};
use super::timeline::Timeline;
use super::verdict::Evidence;
use super::{CALLER_IP, FLOW_NUMBER, OFFICE_NUMBER, Sounds};

/// Longest wait for anything.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// Time between two looks at what was heard.
const LOOK: Duration = Duration::from_millis(100);
/// Sound above this is no silence.
const LOUD: u16 = 300;
/// How much of the menu is heard before the key, in samples.
const MENU_HEARD: usize = SAMPLES_PER_SECOND;

/// The second phone, registered and ready.
pub(super) fn office(daemon: &Daemon, password: &str, timeline: &Timeline) -> Result<Phone> {
    let settings = PhoneSettings {
        password: Some(password.to_owned()),
        answering: Answering::After(Duration::from_millis(800)),
        ..PhoneSettings::new(OFFICE_NUMBER, daemon.udp)
    };
    let phone = start(settings, "office", timeline)?;
    phone.register();
    let registered = phone.wait(LIMIT, |event| match event {
        PhoneEvent::Registered(_) => Some(true),
        PhoneEvent::NotRegistered(_) => Some(false),
        PhoneEvent::Incoming { .. }
        | PhoneEvent::Progress(_)
        | PhoneEvent::Connected
        | PhoneEvent::AllSaid
        | PhoneEvent::KeySent(_)
        | PhoneEvent::KeyHeard(_)
        | PhoneEvent::Ended(_) => None,
    })?;
    ensure!(registered, "the second phone could not register");
    Ok(phone)
}

/// The whole call.
pub(super) fn tell(
    daemon: &Daemon,
    office: &Phone,
    sounds: &Sounds,
    timeline: &Timeline,
) -> Result<Evidence> {
    let settings =
        PhoneSettings { ip: Ipv4Addr::from(CALLER_IP).into(), ..PhoneSettings::new("15550100", daemon.udp) };
    let caller = start(settings, "caller", timeline)?;
    timeline.say("caller", &format!("calls {FLOW_NUMBER} over the trunk, from {}", caller.address()));
    caller.call(FLOW_NUMBER);
    caller.wait_for(LIMIT, &PhoneEvent::Connected).context("the box did not answer")?;

    let announced = listen(&caller, 0).context("no announcement was heard")?;
    timeline.say("caller", "hears the announcement");
    let after = announced + sounds.welcome.len();
    let menu = listen(&caller, after).context("no menu was heard")?;
    timeline.say("caller", "hears the menu");
    wait_until_heard(&caller, menu + MENU_HEARD);
    timeline.say("caller", "presses 1 (RFC 4733)");
    caller.press("1");

    office.wait_for(LIMIT, &PhoneEvent::Connected).context("the second phone was not connected")?;
    // The 200 and the connection of the two are on their way through the box.
    pause(Duration::from_millis(500));
    office.forget();
    timeline.say("caller", "speaks");
    timeline.say("office", "speaks");
    caller.say(&sounds.caller_voice);
    office.say(&sounds.office_voice);
    caller.wait_for(LIMIT, &PhoneEvent::AllSaid)?;
    office.wait_for(LIMIT, &PhoneEvent::AllSaid)?;
    // What is in jitter buffers is still to be heard.
    pause(Duration::from_millis(600));
    timeline.say("caller", "hangs up");
    caller.hang_up();
    let office_ended = office.wait_end(LIMIT)?;
    caller.wait_end(LIMIT)?;

    let record = daemon.record(0, LIMIT)?;
    timeline.say("box", &format!("record of the call: {record}"));
    Ok(Evidence {
        welcome: sounds.welcome.clone(),
        caller_voice: sounds.caller_voice.clone(),
        office_voice: sounds.office_voice.clone(),
        caller_heard: caller.heard().samples(),
        office_heard: office.heard().samples(),
        caller_lost: caller.heard().lost(),
        office_lost: office.heard().lost(),
        office_ended,
        record,
        recordings: daemon.data().join("recordings"),
        calls_left: daemon.status()?["counters"]["calls_active"].as_u64(),
    })
}

fn start(settings: PhoneSettings, name: &'static str, timeline: &Timeline) -> Result<Phone> {
    let timeline = timeline.clone();
    let observer = Box::new(move |event: &PhoneEvent| timeline.say(name, &event.to_string()));
    Phone::start(settings, Some(observer)).with_context(|| format!("the phone {name}"))
}

/// Waits for sound after `from` and gives the sample at which it begins.
fn listen(phone: &Phone, from: usize) -> Result<usize> {
    let until = Instant::now() + LIMIT;
    loop {
        let heard = phone.heard().samples();
        let loud = heard.iter().skip(from).position(|sample| sample.unsigned_abs() > LOUD);
        if let Some(at) = loud {
            return Ok(from + at);
        }
        ensure!(Instant::now() < until, "silence for {LIMIT:?}");
        pause(LOOK);
    }
}

fn wait_until_heard(phone: &Phone, samples: usize) {
    let until = Instant::now() + LIMIT;
    while phone.heard().samples().len() < samples && Instant::now() < until {
        pause(LOOK);
    }
}
