//! `cargo xtask powercut`: the spool on a disk whose power is cut.
//!
//! A real Linux for ARM64 runs the real spool in QEMU, on a disk of ours that forgets what was
//! not flushed. The power is cut in the middle of the work, again and again; each time the
//! machine boots from what is left, and what the spool holds is compared with what it has
//! acknowledged. Killing QEMU alone would prove nothing: what it wrote lives on in this
//! machine's memory.

mod boot;
mod disk;
mod guest;
mod ledger;
mod nbd;
mod parts;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use tipring_testkit::random::Random;

use boot::{Machine, When};
use disk::{AtCut, Fate, SECTOR_BYTES};
use ledger::{Fault, Ledger, Said};

use crate::run;

/// Length of the disk.
const DISK_BYTES: u64 = 96 * 1024 * 1024;
/// By time, the power goes so many milliseconds after the first acknowledgement.
const CUT_MS: std::ops::Range<usize> = 300..4_000;
/// By writes, it goes right after at most so many.
const CUT_WRITES_MAX: usize = 400;
/// Fewer acknowledgements than this for each cut, and nothing was tested.
const ACKNOWLEDGED_MIN: usize = 10;
/// Images of failures that are kept, of each run.
const KEPT_MAX: usize = 3;
/// Of ten cuts, how many the program that does not sync must lose something in.
const TWIN_LOSES_OF_TEN: usize = 8;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) cuts: usize,
    pub(crate) acknowledged: usize,
    /// Cuts after which a promise was broken.
    pub(crate) lossy: usize,
}

/// Cuts the power so often. Gives whether all was kept or, of the twin, whether enough was lost.
///
/// # Errors
/// The guest cannot be built, does not come up, or did too little for a verdict.
pub(crate) fn run(cuts: usize, seed: Option<u64>, twin: bool) -> Result<bool> {
    let Outcome { cuts, lossy, .. } = cut(cuts, seed, twin)?;
    if twin {
        let enough = lossy * 10 >= cuts * TWIN_LOSES_OF_TEN;
        println!(
            "without fdatasync {lossy} of {cuts} cuts lost something: {}",
            if enough { "the rig notices" } else { "TOO FEW, the rig is blind" }
        );
        return Ok(enough);
    }
    Ok(lossy == 0)
}

/// Whether the power goes by time, and whether the cache is dropped.
const COMBINATIONS: [[bool; 2]; 4] = [[true, true], [false, false], [true, false], [false, true]];

/// One cut: when, and what becomes of the cache.
#[derive(Clone, Copy)]
struct Cut {
    when: When,
    fate: Fate,
}

impl Cut {
    /// The n-th of a run, counted from 0: the four combinations in turn. What is random in it
    /// comes from a generator of its own, so that a seed means the same cuts each time.
    fn nth(n: usize, random: &mut Random) -> Self {
        let [by_time, drops] = COMBINATIONS[n % COMBINATIONS.len()];
        let when = if by_time {
            let ms = CUT_MS.start + random.below(CUT_MS.len());
            When::After(Duration::from_millis(ms as u64))
        } else {
            When::Writes(u32::try_from(1 + random.below(CUT_WRITES_MAX)).unwrap_or(1))
        };
        let group_sectors = if random.below(2) == 0 { 1 } else { 8 };
        Self { when, fate: if drops { Fate::Drop } else { Fate::Half { group_sectors } } }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fate {
            Fate::Drop => write!(f, "drop")?,
            Fate::Half { group_sectors } => {
                write!(f, "half by {} bytes", group_sectors * SECTOR_BYTES as u64)?
            }
        }
        match self.when {
            When::After(time) => write!(f, ", after {} ms", time.as_millis()),
            When::Writes(writes) => write!(f, ", after {writes} writes"),
        }
    }
}

/// Cuts the power so often, and counts.
///
/// # Errors
/// As [`run`].
pub(crate) fn cut(cuts: usize, seed: Option<u64>, twin: bool) -> Result<Outcome> {
    ensure!(cuts > 0, "without a cut there is nothing to see: --cuts 1 or more");
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("seed {seed}{}", if twin { ", without fdatasync" } else { "" });
    let parts = parts::parts(twin)?;
    let mut images = Images::new(parts::folder()?, seed);
    let machine = Machine::new(&images.folder, &parts, twin)?;
    let mut ledger = Ledger::default();
    let mut outcome = Outcome { cuts, acknowledged: 0, lossy: 0 };
    let mut image = images.new_disk()?;
    let mut last: Option<Done> = None;
    for n in 0..=cuts {
        let began = Instant::now();
        let mut random = Random::new(seed.wrapping_add(n as u64));
        let cut = (n < cuts).then(|| Cut::nth(n, &mut random));
        let booted = machine
            .boot(image, n, cut.map(|cut| cut.when))
            .with_context(|| format!("boot {n}{}", images.kept_if(n > 0)))?;
        if let Some(mut done) = last.take() {
            let due = ledger.due();
            let (faults, undone) = ledger.compare(&booted.held, booted.opening);
            done.faults.extend(faults);
            println!(
                "cut {n:>3}: {done}; {due} due, {} there after {} ms, {undone} removals undone, {} s",
                booted.held.len(),
                booted.opening.took_ms,
                (done.took + booted.open_after).as_secs()
            );
            done.faults.iter().for_each(|fault| println!("         {fault}"));
            if !done.faults.is_empty() {
                outcome.lossy += 1;
                if !twin {
                    println!("        {}", images.kept_if(true));
                }
            }
        }
        let Some(cut) = cut else { break };
        let (acknowledged, fault) = note(&booted.work, &mut ledger);
        outcome.acknowledged += acknowledged;
        let (left, at_cut) = booted.disk.after_cut(cut.fate, &mut random);
        image = images.repaired(&left)?;
        let took = began.elapsed().saturating_sub(booted.open_after);
        last = Some(Done { cut, acknowledged, at_cut, faults: Vec::from_iter(fault), took });
    }
    let (acknowledged, least) = (outcome.acknowledged, ACKNOWLEDGED_MIN * cuts);
    println!("{cuts} cuts, {acknowledged} acknowledged; {} cuts broke a promise", outcome.lossy);
    ensure!(acknowledged >= least, "too little happened for a verdict: fewer than {least} acknowledgements");
    Ok(outcome)
}

/// A seed that nobody chose.
fn seed_of_the_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos())
}

/// Enters into the ledger what the guest did. Gives how much it acknowledged, and what was wrong
/// with that.
fn note(work: &[Said], ledger: &mut Ledger) -> (usize, Option<Fault>) {
    let mut acknowledged = 0;
    let mut twice = Vec::new();
    for said in work {
        match *said {
            Said::Acknowledged { number, name } => {
                acknowledged += 1;
                if !ledger.acknowledged(number, name) {
                    twice.push(number);
                }
            }
            Said::Removing { number } => ledger.removing(number),
            Said::Held { .. } | Said::Opened(_) => {}
        }
    }
    (acknowledged, (!twice.is_empty()).then_some(Fault::NumberTwice(twice)))
}

/// A cut that was made, to be judged by the next boot.
struct Done {
    cut: Cut,
    acknowledged: usize,
    at_cut: AtCut,
    faults: Vec<Fault>,
    took: Duration,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AtCut { cached, kept } = self.at_cut;
        write!(f, "{}: {} acknowledged, {kept} of {cached} sectors kept", self.cut, self.acknowledged)
    }
}

/// The images of the disk on this machine.
struct Images {
    folder: PathBuf,
    seed: u64,
    kept: usize,
}

impl Images {
    fn new(folder: PathBuf, seed: u64) -> Self {
        Self { folder, seed, kept: 0 }
    }

    /// As the cut left it.
    fn found(&self) -> PathBuf {
        self.folder.join("found.img")
    }

    fn disk(&self) -> PathBuf {
        self.folder.join("disk.img")
    }

    fn new_disk(&self) -> Result<Vec<u8>> {
        let path = self.disk();
        std::fs::File::create(&path)?.set_len(DISK_BYTES)?;
        // The kernel would go on making the file system while the power is cut.
        let made = ["-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run::step(Command::new("/usr/sbin/mkfs.ext4").args(made).arg(&path))?;
        Ok(std::fs::read(path)?)
    }

    /// What the box does before it mounts a disk whose power was cut.
    fn repaired(&mut self, left: &[u8]) -> Result<Vec<u8>> {
        const REPAIRED: i32 = 1;
        std::fs::write(self.found(), left)?;
        std::fs::write(self.disk(), left)?;
        let output = Command::new("/usr/sbin/e2fsck").arg("-p").arg(self.disk()).output()?;
        if output.status.code().is_none_or(|code| code & !REPAIRED != 0) {
            bail!(
                "the file system cannot be repaired: {}: {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout).trim(),
                self.kept_if(true)
            );
        }
        Ok(std::fs::read(self.disk())?)
    }

    /// Keeps what the last cut left, if there was one and not too many are kept already, and
    /// says where.
    fn kept_if(&mut self, was_cut: bool) -> String {
        if !was_cut || self.kept == KEPT_MAX {
            return String::new();
        }
        self.kept += 1;
        let place = self.folder.join(format!("failed-{}-{}.img", self.seed, self.kept));
        match std::fs::copy(self.found(), &place) {
            Ok(_) => format!(" (the disk as the cut left it: {})", place.display()),
            Err(error) => format!(" (the disk could not be kept: {error})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_cuts_are_all_that_can_be_combined() {
        let mut random = Random::new(1);
        let four: Vec<(bool, bool)> = (0..4)
            .map(|n| Cut::nth(n, &mut random))
            .map(|cut| (matches!(cut.when, When::Writes(1..=400)), cut.fate == Fate::Drop))
            .collect();
        for combination in [(false, false), (false, true), (true, false), (true, true)] {
            assert!(four.contains(&combination), "{four:?}");
        }
    }

    #[test]
    fn what_the_guest_did_is_counted_and_a_number_given_twice_is_a_fault() {
        let mut ledger = Ledger::default();
        let work = [
            Said::Acknowledged { number: 1, name: 7 },
            Said::Acknowledged { number: 2, name: 8 },
            Said::Removing { number: 1 },
            Said::Acknowledged { number: 2, name: 9 },
        ];
        assert_eq!(note(&work, &mut ledger), (3, Some(Fault::NumberTwice(vec![2]))));
        assert_eq!(ledger.due(), 1);
    }
}
