//! The daemon: brings everything up, and down again.

mod analog;
mod arrivals;
mod audio;
mod booths;
mod control;
mod control_api;
mod ending;
mod fetching;
mod kept;
mod lamps;
mod lines;
mod listening;
mod mail;
mod mailboxes;
mod meeting;
mod placing;
mod playing;
mod ports;
mod reach;
mod recordings;
mod records;
pub(crate) mod route;
mod scripts;
mod session_logs;
mod sessions;
mod streams;
mod switchboard;
mod transfers;
mod uploads;
mod webhooks;

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tipring_lines::analog::AnalogSettings;
use tipring_lines::sip::{Networks, SipError, SipOptions, SipSettings};
use tipring_lines::{LineSettings, MediaPort};
use tipring_media::{Engine, EventReceiver, Granted, Limits, MediaThread, SpawnError, ThreadOptions};
use tipring_model::LineId;
use tipring_spool::StoreError;
use tipring_web::asks::ASKS_MAX;
use tipring_web::certificate::{self, CertificateFault};
use tipring_web::listen::{BindFault, Listeners};
use tipring_web::platform_api;
use tipring_web::recordings::Seal;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use crate::cdr::RecordWriter;
use crate::config::{Config, STOP_GRACE};
use crate::fetch::documents::Documents;
use crate::fetch::{AllowList, FetchSettings, Fetcher, Outage};
use crate::prompts::{PromptSettings, PromptStore};
use control_api::ControlApi;
use kept::Kept;
use lines::Lines;
use mail::Mailer;
use mailboxes::Mailboxes;
use reach::Reach;
use recordings::Recorder;
use route::{Leads, Plan, PlannedLine};
use switchboard::{Parts, Switchboard};
use uploads::Uploads;
use webhooks::Webhooks;
pub(crate) use webhooks::spool_opens;

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Another one runs on the same folder.
    #[error("another daemon (process {pid}) uses the same data folder")]
    Locked {
        /// Its process, as far as it said.
        pid: String,
    },
    /// The control socket cannot be opened.
    #[error("the control socket {path} cannot be opened")]
    Control {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A folder or file cannot be used.
    #[error("{path} cannot be used")]
    Storage {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The SIP sockets cannot be opened.
    #[error(transparent)]
    Sip(#[from] SipError),
    /// The HTTP sockets cannot be opened.
    #[error(transparent)]
    Web(#[from] BindFault),
    /// There is no certificate for HTTPS.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// The system has no thread for a device.
    #[error("the devices of analog lines cannot be served")]
    Devices(#[source] io::Error),
    /// The media thread cannot be started.
    #[error(transparent)]
    Media(#[from] SpawnError),
    /// There is no spool, not even in memory.
    #[error("the spool cannot be started")]
    Spool(#[source] StoreError),
    /// The system gives no runtime.
    #[error("the system gives no event queue")]
    Runtime(#[source] io::Error),
}

impl StartError {
    /// The code of the message catalogue.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "TR-DAEMON-LOCKED",
            Self::Control { .. } => "TR-DAEMON-CONTROL",
            Self::Storage { .. } => "TR-DAEMON-STORAGE",
            Self::Sip(_) | Self::Web(_) => "TR-DAEMON-BIND",
            Self::Certificate(_) => "TR-WEB-CERTIFICATE",
            Self::Media(_) | Self::Devices(_) | Self::Spool(_) | Self::Runtime(_) => "TR-DAEMON-SYSTEM",
        }
    }
}

/// Longest wait for a connection, with its TLS, while a caller waits.
const CONNECT_MAX: Duration = Duration::from_millis(1_600);

/// Where recordings are kept.
fn recordings_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("recordings")
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// See [`StartError`].
pub(crate) fn run(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build()
        .map_err(StartError::Runtime)?;
    let result = LocalSet::new().block_on(&runtime, serve(config));
    // Blocking jobs that still run, such as a decode, are nobody's any more.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> Result<(), StartError> {
    // Records, recordings and copies are the owner's and his group's, and nobody else's.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
    let data_dir = config.general.data_dir.clone();
    let storage = |path: PathBuf| move |source| StartError::Storage { path, source };
    let _lock = claim(&data_dir)?;

    let kept = Kept::open(&data_dir).map_err(storage(data_dir.clone()))?;
    let legs_max = config.calls_max.saturating_mul(4).clamp(64, 16_384) + booths::BOOTHS_MAX;
    let limits = Limits { legs_max, ..Limits::default() };
    let (engine, sender, events) = Engine::new(limits);
    let thread = MediaThread::spawn(engine, ThreadOptions::default())?;
    if thread.realtime() == Granted::No {
        tracing::warn!(
            code = "TR-RTP-LATE",
            "no real-time priority for the media thread; timing is less certain"
        );
    }
    let media = MediaPort::new(sender);

    let lines: Vec<(LineId, LineSettings)> =
        config.lines.iter().zip(0u16..).map(|(line, at)| (LineId(at), line.settings.clone())).collect();
    let options = SipOptions {
        udp: config.sip.udp,
        tcp: config.sip.tcp,
        rtp_udp_ports: config.sip.rtp_udp_ports,
        public_address: config.sip.public_address,
        phones_from: config.sip.phones_from.clone().unwrap_or_else(Networks::local),
        calls_max: config.calls_max.saturating_mul(2),
        realm: config.general.name.clone(),
    };
    let lines = Lines::open(options, analog::options(&config, &kept), lines, media.clone()).await?;

    // Checked with the file; here it cannot fail.
    let allow = AllowList::parse(&config.fetch.allow).unwrap_or_default();
    // Requests go over TCP: what has a UDP socket's number there is somebody else.
    let web = listen_for_http(&config).await?;
    let own: Vec<SocketAddr> = [lines.sip.tcp(), web.http(), web.https()].into_iter().flatten().collect();
    let outage = Outage::default();
    let fetcher = Fetcher::new(FetchSettings {
        allow: allow.clone(),
        connect_max: CONNECT_MAX,
        outage: outage.clone(),
        ..FetchSettings::default()
    });
    fetcher.set_own(own.clone());
    let documents = Documents::open(fetcher.clone(), data_dir.join("copies"), config.fetch.patience);
    let folder = data_dir.join("webhooks");
    // Uploads are large: they have a connection of their own.
    let uploading = Fetcher::new(FetchSettings {
        allow: allow.clone(),
        own: own.clone(),
        outage: outage.clone(),
        threads_max: 1,
        ..FetchSettings::default()
    });
    let webhooks = Webhooks::open(&folder, config.webhooks.clone(), allow, own, outage.clone())
        .map_err(StartError::Spool)?;
    let cache_dir = data_dir.join("cache");
    let prompts = PromptStore::new(
        PromptSettings {
            prompts_dir: config.general.prompts_dir.clone(),
            cache_dir,
            speech_engine: config.speech.clone(),
            ..PromptSettings::default()
        },
        fetcher.clone(),
    );

    let (finished, mut recordings) = mpsc::channel(256);
    let folder = recordings_dir(&data_dir);
    let recorder = Recorder::start(folder.clone(), move |recording| {
        // It fails only when the daemon is going down.
        let _ = finished.blocking_send(recording);
    })
    .map_err(storage(folder))?;
    let uploads = Uploads::open(
        recordings_dir(&data_dir),
        config.webhooks.uploads.clone(),
        config.directory.recordings.clone(),
        uploading,
        webhooks.clone(),
    );
    let records_path = data_dir.join("cdr");
    let records =
        RecordWriter::start(records_path.clone(), config.general.cdr_days).map_err(storage(records_path))?;

    let mailboxes =
        Mailboxes::new(&data_dir, recordings_dir(&data_dir), std::rc::Rc::clone(&config.directory));
    let mail = Mailer::open(config.mail.clone(), &config.general.name, &config.general.timezone)
        .map_err(storage(data_dir.clone()))?;
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let reach = std::rc::Rc::new(Reach::new(&config, &web));
    let recordings_seal = seal_recordings(&config, &reach);
    let control_api = ControlApi::open(&config, &web, reach, &data_dir).map_err(storage(data_dir.clone()))?;
    let mut router = platform_api::router(control_api::platform(&config, &web, asks.clone()).into());
    if let Some(seal) = &recordings_seal {
        router = router.merge(tipring_web::recordings::router(seal.clone(), asks));
    }
    let (http, https) = (web.http(), web.https());
    let control_path = config.general.control_socket.clone();
    let plan = plan(&config);
    let prewarm = config.fetch.prewarm;
    let parts = Parts {
        media: media.clone(),
        lines: lines.clone(),
        fetcher,
        documents,
        outage,
        prompts,
        recorder,
        records,
        webhooks,
        uploads,
        kept,
        mailboxes,
        mail,
        control_api,
        recordings_seal,
    };
    let board = Switchboard::new(config, plan, parts);
    board.light_all();
    board.keep_script_warm();
    let control = match control::listen(&control_path) {
        Ok(control) => Some(control),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            tracing::error!(code = "TR-DAEMON-CONTROL", path = %control_path.display(), %error, "no commands can be given until the next start");
            None
        }
        Err(source) => return Err(StartError::Control { path: control_path, source }),
    };

    spawn_local(board.clone().serve_lines());
    spawn_local(board.clone().keep_time());
    if let Some(control) = control {
        spawn_local(control::serve(board.clone(), control));
    }
    spawn_local(web.serve(router));
    spawn_local(board.clone().serve_asks(asked));
    spawn_local(serve_media(board.clone(), events, media));
    spawn_local(board.clone().keep_mailing());
    spawn_local(board.clone().watch_servers());
    if prewarm {
        spawn_local(board.clone().keep_copies());
    }
    spawn_local({
        let board = board.clone();
        async move {
            while let Some(recording) = recordings.recv().await {
                board.recorded(recording);
            }
        }
    });

    let mut signals = StopSignals::listen();
    tracing::info!(
        sip_udp = lines.sip.udp().map(tracing::field::display),
        sip_tcp = lines.sip.tcp().map(tracing::field::display),
        http = http.map(tracing::field::display),
        https = https.map(tracing::field::display),
        control = %control_path.display(),
        "ready"
    );
    notify(&[sd_notify::NotifyState::Ready]);
    spawn_local(keep_watchdog());
    signals.told().await;

    tracing::info!(code = "TR-DAEMON-STOPPING", "stopping");
    notify(&[sd_notify::NotifyState::Stopping]);
    board.stop(STOP_GRACE, signals.told()).await;
    lines.close().await;
    // The engine with what is left in it; nobody needs it any more.
    drop(thread.stop());
    // Only a socket of our own is in the way of the next start.
    let _ = std::fs::remove_file(&control_path);
    tracing::info!("stopped");
    Ok(())
}

/// Opens the HTTP sockets of the configuration.
async fn listen_for_http(config: &Config) -> Result<Listeners, StartError> {
    let web = &config.web;
    let secure = match web.https {
        None => None,
        Some(address) => {
            let mut names: Vec<String> = web.host.iter().cloned().collect();
            names.push(config.general.name.clone());
            if !address.ip().is_unspecified() {
                names.push(address.ip().to_string());
            }
            let (tls, unkept) = certificate::open(&config.general.data_dir.join("web"), &names)?;
            if let Some(fault) = unkept {
                tracing::error!(code = "TR-WEB-CERTIFICATE", %fault, "the certificate for HTTPS is good until the next start");
            }
            Some((address, tls))
        }
    };
    Ok(Listeners::open(web.http, secure).await?)
}

/// Lets recordings be told by addresses of the box, if it is to serve them.
fn seal_recordings(config: &Config, reach: &std::rc::Rc<Reach>) -> Option<Seal> {
    if !config.web.serves_recordings {
        return None;
    }
    let (seal, fault) = match Seal::open(&config.general.data_dir.join("web")) {
        Ok((seal, fault)) => (Some(seal), fault),
        Err(fault) => (None, Some(fault)),
    };
    if let Some(fault) = fault {
        tracing::error!(code = "TR-WEB-RECORDINGS", %fault, "addresses of recordings are good until the next start at most");
    }
    let (of_addresses, reach) = (seal.clone()?, std::rc::Rc::clone(reach));
    config.directory.recordings.serve(move |name| reach.at(&of_addresses.path_of(name)));
    seal
}

/// Makes the data folder and holds it for this process alone. A disk that is full or failing
/// keeps nobody from calling: then there is nothing to hold.
///
/// # Errors
/// [`StartError::Locked`] where another daemon runs on it.
fn claim(data_dir: &Path) -> Result<Option<File>, StartError> {
    let made = std::fs::create_dir_all(data_dir)
        .map_err(|source| StartError::Storage { path: data_dir.to_owned(), source });
    match made.and_then(|()| lock(data_dir)) {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ StartError::Storage { .. }) => {
            tracing::error!(
                code = "TR-DAEMON-STORAGE",
                folder = %data_dir.display(),
                error = %source_of(&error),
                "the data folder cannot be used: calls go on, and nothing is kept but in memory"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What the system said.
fn source_of(error: &StartError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Holds the data folder for this process alone.
///
/// # Errors
/// [`StartError::Locked`] where a daemon runs on it, and `Storage`.
pub(crate) fn lock(data_dir: &Path) -> Result<File, StartError> {
    let path = data_dir.join("lock");
    let fail = |source| StartError::Storage { path: path.clone(), source };
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(&path).unwrap_or_default();
            return Err(StartError::Locked { pid: pid.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(fail(source)),
    }
    file.set_len(0).map_err(fail)?;
    writeln!(file, "{}", std::process::id()).map_err(fail)?;
    Ok(file)
}

fn plan(config: &Config) -> Plan {
    let lines = config
        .lines
        .iter()
        .map(|line| PlannedLine {
            name: line.name.clone(),
            number: line.number.clone(),
            leads: match &line.settings {
                LineSettings::Sip(SipSettings::Trunk(trunk)) => {
                    Leads::OutOverSip(trunk.host.clone(), trunk.port)
                }
                LineSettings::Analog(AnalogSettings::Line(_)) => Leads::OutOverWires,
                LineSettings::Sip(SipSettings::Phone(_)) | LineSettings::Analog(AnalogSettings::Phone(_)) => {
                    Leads::ToPhone
                }
            },
            flow: line.flow,
            local_flow: line.local_flow,
            dial_out: line.dial_out.clone(),
        })
        .collect();
    let flow_numbers = config
        .flows
        .iter()
        .enumerate()
        .flat_map(|(at, flow)| flow.numbers.iter().map(move |number| (number.clone(), at)))
        .collect();
    Plan { lines, flow_numbers, emergency: config.general.emergency_numbers.clone() }
}

/// Passes what the engine reports to the calls, for ever.
async fn serve_media(board: Switchboard, mut events: EventReceiver, media: MediaPort) {
    let descriptor = events.descriptor().and_then(|descriptor| descriptor.as_fd().try_clone_to_owned().ok());
    // An event descriptor reads like a pipe: eight bytes when something waits.
    let Some(Ok(waits)) = descriptor.map(|descriptor| pipe::Receiver::from_file_unchecked(descriptor.into()))
    else {
        tracing::error!(code = "TR-DAEMON-SYSTEM", "the media thread cannot be heard");
        return;
    };
    loop {
        if waits.readable().await.is_err() {
            return;
        }
        // Nothing to read: only woken to find that out.
        if waits.try_read(&mut [0; 8]).is_err() {
            continue;
        }
        while let Some(event) = events.poll() {
            board.media_event(event);
        }
        media.flush();
    }
}

/// SIGTERM and SIGINT. One listener for both times: a second signal that comes while the
/// first is being worked on is not lost.
struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    fn listen() -> Self {
        Self(signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok()))
    }

    /// The next of them.
    async fn told(&mut self) {
        let Some((terminate, interrupt)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}

/// Tells systemd that the main thread lives.
async fn keep_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        notify(&[sd_notify::NotifyState::Watchdog]);
        tokio::time::sleep(limit / 3).await;
    }
}
