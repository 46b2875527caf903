//! The spool at the daemon's start: what it holds goes into its lanes, what was lost is
//! searched for.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tipring_spool::{
    Before, Delivery, Item, Lane, Lost, OpenError, Probe, PutError, Salvaged, Spool, SpoolCounters,
    open_probed, reopen, salvage,
};
use tokio::task::spawn_blocking;

use super::{Webhooks, age};
use crate::daemon::switchboard::moment;
use crate::fetch::random;

/// How long a folder may take to be opened in a process of its own.
const PROBE_MAX: Duration = Duration::from_secs(30);
/// Batches of webhooks that wait to be put back.
const BATCHES_MAX: usize = 2;

/// Opens the spool, and enrolls what it holds.
pub(super) fn spool(folder: &Path, delivery: &mut Delivery) -> Option<(Spool, Option<Vec<Lost>>)> {
    let mut opened = match open_probed(folder, probe) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(code = "TR-SPOOL-WRITE", folder = %folder.display(), %error, "the spool is in memory: a restart loses what waits");
            return None;
        }
    };
    if let Some(aside) = &opened.set_aside {
        tracing::error!(code = "TR-SPOOL-ASIDE", aside = %aside.display(), "the spool cannot be read and was set aside");
    }
    let copy = opened.before.take();
    let again = folder.to_owned();
    let again = move || {
        if !again.join("db").exists() {
            tracing::error!(code = "TR-SPOOL-GAP", folder = %again.display(), "the spool's folder is gone, with what waited in it: a fresh one is begun");
        }
        reopen(&again).map(|(store, mark)| (Box::new(store) as _, Some(mark)))
    };
    match Spool::start(Box::new(opened.store), Some(opened.mark), Box::new(again)) {
        Ok((spool, found)) => {
            let SpoolCounters { damaged, forgotten, .. } = spool.counters();
            let has_gap = damaged + forgotten > 0;
            if has_gap {
                tracing::error!(code = "TR-SPOOL-GAP", damaged, forgotten, "the spool has lost something");
            }
            let now = Instant::now();
            let now_unix_ms = moment().unix_ms;
            for found in found {
                let lane = Lane { server: found.server.into(), subject: found.subject.into() };
                let age = age(found.put_unix_ms, now_unix_ms);
                delivery.add(now, lane, Item { seq: found.seq, class: found.class, found: Some(age) });
            }
            delivery.begin(now, random());
            let mut lost = opened.unsearched;
            if has_gap {
                lost.extend(copy.map(Before::keep));
            }
            Some((spool, (!lost.is_empty()).then_some(lost)))
        }
        Err(error) => {
            tracing::error!(code = "TR-SPOOL-WRITE", folder = %folder.display(), %error, "the spool is in memory: a restart loses what waits");
            None
        }
    }
}

/// Tries a folder in a process of its own, which may hang or crash.
fn probe(folder: &Path) -> Probe {
    match probe_in_child(folder) {
        Some(true) => Probe::Opens,
        Some(false) => {
            tracing::error!(code = "TR-SPOOL-ASIDE", folder = %folder.display(), "the spool could not be opened in a process of its own");
            Probe::Fails
        }
        // Without a process there is nothing to learn.
        None => Probe::Opens,
    }
}

fn probe_in_child(folder: &Path) -> Option<bool> {
    let mut child = Command::new(std::env::current_exe().ok()?)
        .args(["spool", "probe"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut says = child.stdout.take()?;
    let (ended, ends) = mpsc::sync_channel(1);
    // Its output ends with the process, however that ends.
    let listening = std::thread::Builder::new().name("spool-probe".to_owned()).spawn(move || {
        let _ = std::io::copy(&mut says, &mut std::io::sink());
        let _ = ended.send(());
    });
    let in_time = listening.is_ok() && ends.recv_timeout(PROBE_MAX).is_ok();
    if !in_time {
        // It may have ended just now.
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    Some(in_time && status.success())
}

/// Opens a folder and closes it again; for the process that may crash. True also where
/// it cannot be opened for reasons that are no fault of its own.
pub(crate) fn opens(folder: &Path) -> bool {
    match tipring_spool::examine(folder) {
        Ok(_) | Err(OpenError::Locked | OpenError::Io(_) | OpenError::NoRoom { .. }) => true,
        Err(OpenError::Fresh(_)) => false,
    }
}

impl Webhooks {
    /// Searches folders for webhooks that the spool does not know, and puts them back.
    pub(super) async fn salvage(self, lost: Vec<Lost>) {
        for lost in lost {
            self.search(lost).await;
        }
    }

    /// Searches one. Unless it comes to the end and everything is put back, the folder is
    /// searched again at the next start.
    async fn search(&self, lost: Lost) {
        let (batches, mut given) = tokio::sync::mpsc::channel(BATCHES_MAX);
        let now_unix_ms = moment().unix_ms;
        let folder = lost.folder().to_owned();
        let searching = spawn_blocking(move || {
            let is_young = |entry: &tipring_spool::Entry| {
                entry.class.age_max().is_none_or(|most| age(entry.put_unix_ms, now_unix_ms) < most)
            };
            // Nobody takes them only when the daemon is going down.
            salvage(&folder, is_young, |batch| drop(batches.blocking_send(batch)))
        });
        let (mut restored, mut refused) = (0_usize, 0_usize);
        while let Some(batch) = given.recv().await {
            match self.0.spool.import(batch.clone()).await.unwrap_or(Err(PutError::Broken)) {
                Ok(seqs) => {
                    let new = seqs.iter().flatten().count();
                    restored += new;
                    self.0.spool.found_again(new as u64);
                    self.enroll_imported(&batch, &seqs);
                }
                Err(_) => refused += batch.len(),
            }
        }
        let folder = lost.folder().display().to_string();
        match searching.await {
            Ok(Ok(Salvaged { whole, sent, old })) => {
                tracing::warn!(
                    code = "TR-SPOOL-SALVAGED",
                    folder,
                    whole,
                    sent,
                    old,
                    restored,
                    refused,
                    "webhooks were searched for in what was lost"
                );
                if refused == 0
                    && let Err(error) = lost.searched()
                {
                    tracing::error!(code = "TR-SPOOL-WRITE", folder, %error, "it is searched again at the next start");
                }
            }
            Ok(Err(error)) => {
                tracing::error!(code = "TR-SPOOL-GAP", folder, %error, "what was lost cannot be searched");
            }
            Err(error) => {
                tracing::error!(code = "TR-SPOOL-GAP", folder, %error, "what was lost cannot be searched");
            }
        }
    }
}
