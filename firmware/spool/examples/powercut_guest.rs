//! What runs in the machine whose power is cut: `cargo xtask powercut`.
//!
//! `check FOLDER` opens the spool and says what it holds; `fill FOLDER ROUND` puts and
//! removes webhooks until it is ended, and says what was acknowledged, once it was.

#[path = "../tests/webhook/mod.rs"]
mod webhook;

use std::collections::VecDeque;
use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::time::Instant;

use tipring_spool::{Class, Entry, Found, Seq, Spool, open, reopen};
use webhook::webhook;

/// Makes a record of some 600 bytes.
const BODY_BYTES: usize = 200;
/// Puts that wait for their answer at the same time: what one sync is shared by.
const UNANSWERED_MAX: u64 = 16;
/// From here on one is removed for each that is put.
const HELD_MAX: usize = 2_000;
/// Of ten acknowledgements, how many are followed by a removal.
const REMOVALS_OF_TEN: u64 = 6;
/// Webhooks of one round at most.
const ROUND: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check", folder] => check(Path::new(folder)),
        ["fill", folder, round] => fill(Path::new(folder), round.parse()?),
        _ => Err("usage: powercut_guest check FOLDER | powercut_guest fill FOLDER ROUND".into()),
    }
}

fn spool(folder: &Path) -> Result<(Spool, Vec<Found>, bool), Box<dyn Error>> {
    let opened = open(folder)?;
    let set_aside = opened.set_aside.is_some();
    let again = folder.to_owned();
    let again = move || reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)));
    let (spool, found) = Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again))?;
    Ok((spool, found, set_aside))
}

/// Says `held FIRST LAST NAME` for each stretch, and then
/// `opened SET_ASIDE DAMAGED FORGOTTEN MILLISECONDS`.
fn check(folder: &Path) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let (spool, found, set_aside) = spool(folder)?;
    let took = began.elapsed();
    let mut out = stdout().lock();
    let mut damaged = spool.counters().damaged;
    let mut stretch: Option<(u64, u64, u64)> = None;
    for found in found {
        let Some(name) = spool.get(found.seq).blocking_recv()??.as_ref().and_then(name) else {
            damaged += 1;
            continue;
        };
        stretch = match stretch {
            Some((first, last, named)) if (found.seq.0, name) == (last + 1, named + last + 1 - first) => {
                Some((first, last + 1, named))
            }
            before => {
                say_held(&mut out, before)?;
                Some((found.seq.0, found.seq.0, name))
            }
        };
    }
    say_held(&mut out, stretch)?;
    let forgotten = spool.counters().forgotten;
    writeln!(out, "opened {} {damaged} {forgotten} {}", u8::from(set_aside), took.as_millis())?;
    Ok(())
}

fn say_held(out: &mut impl Write, stretch: Option<(u64, u64, u64)>) -> std::io::Result<()> {
    match stretch {
        Some((first, last, name)) => writeln!(out, "held {first} {last} {name}"),
        None => Ok(()),
    }
}

/// The number in a webhook's id, if the rest of it is as it was put.
fn name(entry: &Entry) -> Option<u64> {
    let name = entry.id.strip_prefix("evt_")?.parse().ok()?;
    (*entry == webhook(name, Class::Final, BODY_BYTES)).then_some(name)
}

fn fill(folder: &Path, round: u64) -> Result<(), Box<dyn Error>> {
    let (spool, found, _) = spool(folder)?;
    let mut held: VecDeque<Seq> = found.into_iter().map(|found| found.seq).collect();
    let mut unanswered = VecDeque::new();
    let mut out = stdout().lock();
    let mut next = round * ROUND;
    for done in 0..ROUND {
        // One after the other at times, and at times as many as share a sync.
        let most = 1 + done / 8 * 7 % UNANSWERED_MAX;
        while unanswered.len() as u64 <= most {
            unanswered.push_back((next, spool.put(&webhook(next, Class::Final, BODY_BYTES))));
            next += 1;
        }
        let Some((name, answer)) = unanswered.pop_front() else { break };
        let seq = answer.blocking_recv()??;
        writeln!(out, "acknowledged {} {name}", seq.0)?;
        held.push_back(seq);
        if (done % 10 < REMOVALS_OF_TEN || held.len() > HELD_MAX)
            && let Some(oldest) = held.pop_front()
        {
            if spool.get(oldest).blocking_recv()??.is_none() {
                return Err("a webhook cannot be read any more".into());
            }
            // Said before it is done: from here on both outcomes are right.
            writeln!(out, "removing {}", oldest.0)?;
            spool.remove(oldest);
        }
    }
    Ok(())
}
