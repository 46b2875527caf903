//! E-mail about messages in mailboxes. Who must still be told stands in the mailbox beside the
//! message, written with it: a letter is owed until the mail server takes it, over restarts and
//! power cuts, and a message that is deleted is owed no longer.
//!
//! One thread sends, one letter at a time. `pace.rs` says when it is tried again.

mod asked;
mod letter;
mod pace;
mod smtp;

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::switchboard::{Switchboard, moment};
use crate::config::Mail;
use asked::Asked;
pub(super) use letter::Owed;
use letter::{ATTACHED_BYTES_MAX, Sender, letter};
use pace::Pace;
use smtp::Attempt;

/// A letter for the thread, and where its answer goes.
struct Job {
    owed: Owed,
    to: String,
    recording: std::path::PathBuf,
    done: oneshot::Sender<Attempt>,
}

/// Who sends; nobody where the configuration has no `[mail]`.
pub(super) struct Mailer {
    jobs: Option<SyncSender<Job>>,
    /// Something is owed.
    changed: Notify,
    /// What flows send.
    asked: Asked,
}

impl Mailer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn open(mail: Option<Mail>, name: &str, zone: &str) -> io::Result<Self> {
        let (changed, asked) = (Notify::new(), Asked::new(name));
        let Some(mail) = mail else { return Ok(Self { jobs: None, changed, asked }) };
        let sender = Sender { from: mail.from.clone(), name: name.to_owned(), zone: zone.to_owned() };
        // The next one is given only when the last is done.
        let (jobs, waiting) = sync_channel(1);
        std::thread::Builder::new().name("mail".to_owned()).spawn(move || work(&mail, &sender, &waiting))?;
        Ok(Self { jobs: Some(jobs), changed, asked })
    }

    /// Whether letters are sent at all.
    pub(super) const fn sends(&self) -> bool {
        self.jobs.is_some()
    }

    /// A letter more is owed.
    pub(super) fn is_owed(&self) {
        self.changed.notify_one();
    }
}

/// The thread: ends when nobody gives it letters any more.
fn work(mail: &Mail, sender: &Sender, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        let attempt = match smtp::transport(mail, &sender.name) {
            Err(error) => Attempt::Later(error.to_string()),
            Ok(transport) => match letter(sender, &job.owed, &job.to, attached(&job.recording)) {
                Ok(letter) => smtp::send(&transport, &letter),
                Err(error) => Attempt::Refused(error.to_string()),
            },
        };
        // It fails only when the daemon is going down: then it is sent again.
        let _ = job.done.send(attempt);
    }
}

/// The recording, unless it is too long or gone.
fn attached(path: &Path) -> Option<Vec<u8>> {
    let is_short = path.metadata().is_ok_and(|file| file.len() <= ATTACHED_BYTES_MAX);
    is_short.then(|| std::fs::read(path).ok()).flatten()
}

impl Switchboard {
    /// Sends what is owed, for ever.
    pub(crate) async fn keep_mailing(self) {
        /// Looks at least this often.
        const IDLE: Duration = Duration::from_secs(3_600);
        let Some(jobs) = self.0.mail.jobs.clone() else { return };
        let mut pace = Pace::default();
        loop {
            let owed = self.0.mailboxes.owed().await;
            pace.only(&owed);
            let now = Instant::now();
            let is_offline = self.0.outage.left(now);
            let next = owed.iter().flat_map(|owed| owed.to.iter().map(move |to| (owed, to)));
            let next = next.min_by_key(|(owed, to)| pace.due(now, owed, to));
            let due =
                next.map(|(owed, to)| pace.due(now, owed, to).max(is_offline.map_or(now, |left| now + left)));
            match (next, due) {
                (Some((owed, to)), Some(due)) if due <= now => {
                    let (owed, to) = (owed.clone(), to.clone());
                    self.mail_one(&jobs, &mut pace, &owed, &to).await;
                }
                (_, due) => {
                    let until = due.unwrap_or(now + IDLE).min(now + IDLE);
                    tokio::select! {
                        () = tokio::time::sleep_until(until.into()) => {}
                        () = self.0.mail.changed.notified() => {}
                    }
                }
            }
        }
    }

    async fn mail_one(&self, jobs: &SyncSender<Job>, pace: &mut Pace, owed: &Owed, to: &str) {
        let Some(recording) = self.0.mailboxes.file(&owed.mailbox, &owed.file) else { return };
        let (done, answer) = oneshot::channel();
        let job = Job { owed: owed.clone(), to: to.to_owned(), recording, done };
        let attempt = match jobs.try_send(job) {
            Ok(()) => answer.await.unwrap_or_else(|_| Attempt::Later("the mail thread is gone".to_owned())),
            Err(error) => Attempt::Later(error.to_string()),
        };
        let mailbox = owed.mailbox.as_str();
        let is_over = match attempt {
            Attempt::Taken => {
                tracing::info!(mailbox, "told by e-mail");
                true
            }
            Attempt::Refused(error) => {
                tracing::error!(code = "TR-MAIL-REFUSED", mailbox, error, "an e-mail is refused for good");
                true
            }
            Attempt::Later(error) => {
                let gives_up = pace.failed(Instant::now(), moment().unix_ms, owed, to);
                if gives_up {
                    tracing::error!(
                        code = "TR-MAIL-GIVEN-UP",
                        mailbox,
                        error,
                        "an e-mail was not taken for days"
                    );
                } else {
                    tracing::warn!(code = "TR-MAIL-LATER", mailbox, error, "an e-mail waits");
                }
                gives_up
            }
        };
        if is_over {
            self.0.mailboxes.told(owed, to).await;
        }
    }
}
