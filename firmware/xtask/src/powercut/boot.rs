//! One boot of the guest: from power to the cut.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::disk::Disk;
use super::guest::{self, Guest, Sockets};
use super::ledger::{Opening, Said};
use super::nbd::{self, Answer, Request};
use super::parts::Parts;

/// The longest time until the spool is open: an emulated machine on a busy one is slow.
const OPEN_WITHIN: Duration = Duration::from_secs(180);
/// The longest time from then until the power is cut.
const CUT_WITHIN: Duration = Duration::from_secs(60);
/// Lines that wait to be looked at.
const EVENTS_MAX: usize = 4_096;
/// What the guest says when its program has ended.
const ENDED: &str = "ended with";
/// Lines of the guest that are shown if it fails.
const STORY_LINES: usize = 12;

/// When the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// So long after the first acknowledgement.
    After(Duration),
    /// Right after so many writes from the first acknowledgement on.
    Writes(u32),
}

/// What was seen of one boot.
pub(crate) struct Booted {
    /// Webhooks in the spool when it was opened: number and name.
    pub(crate) held: BTreeMap<u64, u64>,
    pub(crate) opening: Opening,
    /// What was acknowledged and removed then, in order.
    pub(crate) work: Vec<Said>,
    /// The disk, without power.
    pub(crate) disk: Disk,
    /// From power to the open spool.
    pub(crate) open_after: Duration,
}

/// What every boot has in common.
pub(crate) struct Machine {
    kernel: PathBuf,
    initramfs: PathBuf,
    log: PathBuf,
    sockets: Sockets,
    /// What the guest says after the cut does not count: it does not wait for its disk.
    deaf_after_cut: bool,
}

enum Event {
    Line(Instant, String),
    /// The power went by itself.
    PowerGone(Instant),
    /// QEMU spoke something that the disk does not understand.
    Disk(io::Error),
}

impl Machine {
    pub(crate) fn new(folder: &Path, parts: &Parts, deaf_after_cut: bool) -> Result<Self> {
        let initramfs = folder.join("initramfs");
        std::fs::write(&initramfs, guest::initramfs(parts)?)
            .with_context(|| initramfs.display().to_string())?;
        Ok(Self {
            kernel: parts.kernel.clone(),
            initramfs,
            log: folder.join("guest.log"),
            sockets: Sockets::new()?,
            deaf_after_cut,
        })
    }

    /// Boots from the image, looks at the spool and, if `when` is given, fills it until the
    /// power goes.
    ///
    /// # Errors
    /// The guest does not come up, or ends by itself.
    pub(crate) fn boot(&self, image: Vec<u8>, round: usize, when: Option<When>) -> Result<Booted> {
        let began = Instant::now();
        let disk = Arc::new(Mutex::new(Disk::new(image)));
        let [disk_socket, console_socket] = self.sockets.listen()?;
        let (events, seen) = sync_channel(EVENTS_MAX);
        let threads = [
            std::thread::spawn({
                let (disk, events) = (Arc::clone(&disk), events.clone());
                move || serve_disk(&disk_socket, &disk, &events)
            }),
            std::thread::spawn(move || read_console(&console_socket, &events)),
        ];
        let guest = Guest::start(&self.kernel, &self.initramfs, &self.sockets, &self.log, round)?;
        let mut watch =
            Watch { story: VecDeque::new(), held: BTreeMap::new(), work: Vec::new(), opened: None };
        let watched = watch.until_cut(&seen, &disk, when);
        drop(guest);
        // One that never connected would be waited for.
        for socket in [self.sockets.disk(), self.sockets.console()] {
            drop(UnixStream::connect(socket));
        }
        let watched = watched.map(|cut_at| {
            // What it said before the cut and nobody has read yet counts as well.
            for event in &seen {
                if let Event::Line(at, line) = event
                    && (!self.deaf_after_cut || at <= cut_at)
                {
                    watch.hear(&line, began);
                }
            }
        });
        drop(seen);
        for thread in threads {
            // A panic there was reported there, and is seen in what is missing here.
            let _ = thread.join();
        }
        if watched.is_err() {
            println!("the guest's last words, beside those of its kernel in {}:", self.log.display());
            watch.story.iter().for_each(|line| println!("  {line}"));
        }
        watched?;
        let (opening, open_after) = watch.opened.context("the spool was not opened")?;
        let disk = Arc::into_inner(disk).context("the disk is still in use")?;
        let disk = disk.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Booted { held: watch.held, opening, work: watch.work, disk, open_after })
    }
}

struct Watch {
    /// Its last lines.
    story: VecDeque<String>,
    held: BTreeMap<u64, u64>,
    work: Vec<Said>,
    opened: Option<(Opening, Duration)>,
}

impl Watch {
    /// Gives when the power went.
    fn until_cut(
        &mut self,
        seen: &Receiver<Event>,
        disk: &Mutex<Disk>,
        when: Option<When>,
    ) -> Result<Instant> {
        let began = Instant::now();
        let mut deadline = began + OPEN_WITHIN;
        let mut cut_at = None;
        loop {
            let until = cut_at.unwrap_or(deadline);
            match seen.recv_timeout(until.saturating_duration_since(Instant::now())) {
                // Before the cut its program has no reason to end.
                Ok(Event::Line(_, line)) if line.starts_with(ENDED) => bail!("its program {}", line.trim()),
                Ok(Event::Line(_, line)) => self.hear(&line, began),
                Ok(Event::PowerGone(at)) => return Ok(at),
                Ok(Event::Disk(error)) => return Err(error).context("the disk"),
                Err(RecvTimeoutError::Timeout) => {
                    lock(disk).cut();
                    if cut_at.is_none() {
                        bail!("the guest takes too long");
                    }
                    return Ok(Instant::now());
                }
                Err(RecvTimeoutError::Disconnected) => bail!("the guest ended by itself"),
            }
            let Some((_, opened_after)) = self.opened else { continue };
            let Some(when) = when else {
                lock(disk).cut();
                return Ok(Instant::now());
            };
            deadline = began + opened_after + CUT_WITHIN;
            if cut_at.is_none() && !self.work.is_empty() {
                match when {
                    When::After(time) => cut_at = Some(Instant::now() + time),
                    When::Writes(writes) => {
                        lock(disk).cut_after(writes);
                        cut_at = Some(deadline);
                    }
                }
            }
        }
    }

    fn hear(&mut self, line: &str, began: Instant) {
        match Said::read(line) {
            Some(Said::Held { first, last, name }) => {
                self.held.extend((first..=last).map(|number| (number, name + (number - first))));
            }
            Some(Said::Opened(opening)) => self.opened = Some((opening, began.elapsed())),
            Some(work @ (Said::Acknowledged { .. } | Said::Removing { .. })) => self.work.push(work),
            None => {
                if self.story.len() == STORY_LINES {
                    self.story.pop_front();
                }
                self.story.push_back(line.trim().to_owned());
            }
        }
    }
}

fn lock(disk: &Mutex<Disk>) -> std::sync::MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve_disk(socket: &UnixListener, disk: &Mutex<Disk>, events: &SyncSender<Event>) {
    let bytes = lock(disk).bytes();
    let served = socket.accept().and_then(|(mut stream, _)| {
        nbd::serve(&mut stream, bytes, |request| {
            let mut disk = lock(disk);
            if !disk.has_power() {
                return Answer::Silence;
            }
            let done = match request {
                Request::Read { offset, length } => disk.read(offset, length),
                Request::Write { offset, bytes, through } => {
                    disk.write(offset, &bytes, through).map(|()| Vec::new())
                }
                Request::Flush => {
                    disk.flush();
                    Ok(Vec::new())
                }
            };
            if !disk.has_power() {
                // Who counts the lines may be gone already.
                let _ = events.send(Event::PowerGone(Instant::now()));
                return Answer::Silence;
            }
            done.map_or(Answer::Refused, Answer::Done)
        })
    });
    // A QEMU that is gone is found out by its console.
    if let Err(error) = served
        && error.kind() != io::ErrorKind::UnexpectedEof
        && lock(disk).has_power()
    {
        let _ = events.send(Event::Disk(error));
    }
}

fn read_console(socket: &UnixListener, events: &SyncSender<Event>) {
    let Ok((stream, _)) = socket.accept() else { return };
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned();
        if events.send(Event::Line(Instant::now(), line)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: &str = "opened 0 0 0 9";

    /// What comes of these events, whether the disk has power then, and what was heard.
    fn watch(events: Vec<Event>, when: Option<When>) -> (Result<Instant>, bool, Watch) {
        let disk = Mutex::new(Disk::new(vec![0; 4_096]));
        let (sender, seen) = sync_channel(EVENTS_MAX);
        for event in events {
            sender.send(event).unwrap();
        }
        // A guest that is still there says nothing, but has not ended either.
        let _still_there = matches!(when, Some(When::After(_))).then(|| sender.clone());
        drop(sender);
        let mut watch =
            Watch { story: VecDeque::new(), held: BTreeMap::new(), work: Vec::new(), opened: None };
        let result = watch.until_cut(&seen, &disk, when);
        let has_power = lock(&disk).has_power();
        (result, has_power, watch)
    }

    fn line(text: &str) -> Event {
        Event::Line(Instant::now(), text.to_owned())
    }

    #[test]
    fn without_a_plan_the_power_goes_once_the_spool_is_open() {
        let (result, has_power, watch) = watch(vec![line("held 1 3 7"), line(OPENED)], None);
        assert!(result.is_ok() && !has_power);
        assert_eq!(watch.held, BTreeMap::from([(1, 7), (2, 8), (3, 9)]));
    }

    #[test]
    fn by_time_the_power_goes_after_the_first_acknowledgement() {
        let when = Some(When::After(Duration::ZERO));
        let (result, has_power, watch) = watch(vec![line(OPENED), line("acknowledged 1 1")], when);
        assert!(result.is_ok() && !has_power);
        assert_eq!(watch.work, [Said::Acknowledged { number: 1, name: 1 }]);
    }

    #[test]
    fn by_writes_the_disk_says_when_it_was() {
        let gone = Instant::now();
        let events = vec![line(OPENED), line("acknowledged 1 1"), Event::PowerGone(gone)];
        assert_eq!(watch(events, Some(When::Writes(1))).0.unwrap(), gone);
    }

    #[test]
    fn a_guest_that_ends_by_itself_is_no_cut() {
        let when = Some(When::Writes(1));
        let (result, _, watched) = watch(vec![line("Error: \"no\""), line("ended with 1")], when);
        assert_eq!(result.unwrap_err().to_string(), "its program ended with 1");
        assert_eq!(watched.story, ["Error: \"no\""]);
        assert_eq!(watch(vec![line(OPENED)], when).0.unwrap_err().to_string(), "the guest ended by itself");
    }
}
