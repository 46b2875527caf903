//! The daemon's side of the HTTP control API: what its requests ask for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tipring_web::asks::{Ask, Refusal};
use tipring_web::history::{HistoryPage, HistoryQuery, MATCHES_MAX, SessionRecord};
use tipring_web::listen::Listeners;
use tipring_web::platform_api::Platform;
use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, spawn_local};

use super::switchboard::Switchboard;
use crate::cdr;
use crate::config::Config;

/// What belongs to the control API beside calls.
pub(crate) struct ControlApi {
    listening: (Option<SocketAddr>, Option<SocketAddr>),
    folder: PathBuf,
}

impl ControlApi {
    /// For these sockets; the history is in the data folder.
    pub(super) fn new(web: &Listeners, data_dir: &Path) -> Self {
        Self { listening: (web.http(), web.https()), folder: data_dir.join("sessions") }
    }

    /// Where HTTP and HTTPS are listened for.
    #[must_use]
    pub(super) const fn listening(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.listening
    }
}

/// What the web side serves.
pub(super) fn platform(config: &Config, web: &Listeners, asks: mpsc::Sender<Ask>) -> Platform {
    Platform::new(config.web.login.clone(), Vec::new(), web.ports(), asks)
}

impl Switchboard {
    /// Answers what the web side asks, for ever.
    pub(super) async fn serve_asks(self, mut asked: mpsc::Receiver<Ask>) {
        while let Some(ask) = asked.recv().await {
            // Whoever asked may be gone.
            match ask {
                Ask::Start(_, answer) => {
                    let _ = answer.send(Err(Refusal::Stopping));
                }
                Ask::Control(_, answer) => {
                    let _ = answer.send(None);
                }
                Ask::History(query, answer) => {
                    let folder = self.0.control_api.folder.clone();
                    spawn_local(async move {
                        if let Ok(Some(page)) = spawn_blocking(move || look(&folder, &query)).await {
                            let _ = answer.send(page);
                        }
                    });
                }
            }
        }
    }
}

/// The sessions that are asked for; nothing if the disk does not give them.
fn look(folder: &Path, query: &HistoryQuery) -> Option<HistoryPage> {
    let read = |record: &serde_json::Value| serde_json::from_value::<SessionRecord>(record.clone()).ok();
    let found =
        cdr::read(folder, MATCHES_MAX, |record| read(record).is_some_and(|session| query.fits(&session)));
    match found {
        Ok(found) => Some(query.page(found.records.iter().filter_map(read).collect())),
        Err(error) => {
            tracing::error!(code = "TR-API-HISTORY", %error, "the history of sessions cannot be read");
            None
        }
    }
}
