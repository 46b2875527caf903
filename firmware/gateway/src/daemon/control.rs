//! The control socket: one JSON request a line, one JSON answer a line.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tipring_model::line::DownReason;
use tipring_model::{CallId, LineId};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;

use super::sessions;
use super::switchboard::{Switchboard, shown_url};

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 65_536;
/// Clients at one time.
const CLIENTS_MAX: usize = 128;
/// How long one may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// Longest outage that is pretended, in seconds.
const OUTAGE_S_MAX: u64 = 86_400;
/// Who may speak: the daemon's own user and its group.
const MODE: u32 = 0o660;

/// Opens the socket. One that nobody listens on any more is replaced, and nothing else.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_err() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    Ok(listener)
}

/// Serves clients, for ever.
pub(super) async fn serve(board: Switchboard, listener: UnixListener) {
    let clients = Arc::new(tokio::sync::Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else { return };
        let board = board.clone();
        spawn_local(async move {
            // A client that goes away is no fault.
            let _ = client(&board, stream).await;
            drop(permit);
        });
    }
}

async fn client(board: &Switchboard, stream: UnixStream) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = String::new();
        let mut limited = (&mut reading).take(REQUEST_BYTES_MAX);
        let read = tokio::time::timeout(SILENCE_MAX, limited.read_line(&mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str::<Value>(&line) {
            Ok(request) if is_about(&request, "spool-") => board.0.webhooks.answer(&request).await,
            Ok(request) if is_about(&request, "port") => tokio::select! {
                answer = board.ports_answer(&request) => answer,
                // What it has begun ends with it.
                () = gone(&mut reading) => return Ok(()),
            },
            Ok(request) if sessions::is_about_sessions(&request) => sessions::answer(board, &request).await,
            Ok(request) => answer(board, &request),
            Err(_) => fault("TR-CONTROL-REQUEST"),
        };
        writing.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}

/// Whether somebody must be asked who takes his time.
fn is_about(request: &Value, what: &str) -> bool {
    request.get("do").and_then(Value::as_str).is_some_and(|asked| asked.starts_with(what))
}

/// Waits until the client goes away.
async fn gone(reading: &mut BufReader<tokio::net::unix::OwnedReadHalf>) {
    match reading.fill_buf().await {
        Ok([]) | Err(_) => {}
        // Its next request has its time.
        Ok(_) => std::future::pending().await,
    }
}

pub(super) fn fault(code: &str) -> Value {
    json!({ "error": code })
}

fn answer(board: &Switchboard, request: &Value) -> Value {
    let text = |key: &str| request.get(key).and_then(Value::as_str);
    match text("do") {
        Some("status") => status(board),
        Some("calls") => json!({ "calls": calls(board) }),
        Some("call-start") => {
            let Some(to) = text("to") else { return fault("TR-CONTROL-REQUEST") };
            match board.start_call(to, text("from"), text("flow")) {
                Ok(id) => json!({ "id": id.to_string() }),
                Err(why) => fault(why.code()),
            }
        }
        Some("call-end") => {
            let Some(id) = text("id").and_then(CallId::parse) else { return fault("TR-CONTROL-NO-CALL") };
            let state = board.0.state.borrow();
            let running = state.calls.values().any(|entry| entry.call.facts().id == id);
            let cause = state.ended.iter().find(|(ended, _)| *ended == id).map(|(_, cause)| cause.name());
            json!({ "running": running, "cause": cause })
        }
        Some("call-hangup") => match text("id").and_then(CallId::parse) {
            Some(id) if board.hang_up(id) => json!({ "ok": true }),
            Some(_) | None => fault("TR-CONTROL-NO-CALL"),
        },
        Some("cdr-folder") => json!({ "folder": board.0.data_dir.join("cdr") }),
        Some("outage") => match request.get("seconds").and_then(Value::as_u64) {
            Some(seconds) if seconds <= OUTAGE_S_MAX => {
                let until = (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds));
                board.0.outage.set(until);
                tracing::warn!(code = "TR-DAEMON-OUTAGE", seconds, "the internet is pretended to be down");
                json!({ "ok": true })
            }
            Some(_) | None => fault("TR-CONTROL-REQUEST"),
        },
        Some(_) | None => fault("TR-CONTROL-REQUEST"),
    }
}

fn calls(board: &Switchboard) -> Vec<Value> {
    let state = board.0.state.borrow();
    state
        .calls
        .values()
        .map(|entry| {
            let facts = entry.call.facts();
            json!({
                "id": facts.id.to_string(),
                "state": if entry.call.is_answered() { "live" } else { "ringing" },
                "direction": facts.direction.as_str(),
                "from": facts.from.number_or_anonymous(),
                "to": facts.to.as_str(),
                "line": board.line_name(entry.line),
                "legs": entry.call.live_legs().map(|leg| leg.to_string()).collect::<Vec<_>>(),
                "age_ms": u64::try_from(entry.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect()
}

fn status(board: &Switchboard) -> Value {
    let calls = calls(board);
    let lines: Vec<Value> = board.0.lines.status().iter().map(|status| line(board, status)).collect();
    let sip = board.0.lines.sip.counters();
    let uploads = board.0.uploads.counters();
    let records = board.0.records.counters();
    let away = board.0.fetcher.away();
    let state = board.0.state.borrow();
    // A leg that the line has let go keeps its socket until the engine gives it back.
    let detaching: usize = state.closing.values().map(|closing| closing.waiting).sum();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": !state.stopping,
        "sip": {
            "udp": board.0.lines.sip.udp().map(|address| address.to_string()),
            "tcp": board.0.lines.sip.tcp().map(|address| address.to_string()),
        },
        "web": {
            "http": board.0.control_api.listening().0.map(|address| address.to_string()),
            "https": board.0.control_api.listening().1.map(|address| address.to_string()),
        },
        "country": board.0.country.name,
        "flows": board.0.flows.iter().map(|flow| json!({ "name": flow.name, "dialect": flow.dialect })).collect::<Vec<_>>(),
        "devices": devices(board),
        "lines": lines,
        "calls": calls,
        "records": { "written": records.written, "waiting": records.waiting, "lost": records.lost },
        "uploads": { "waiting": uploads[0], "uploaded": uploads[1], "refused": uploads[2] },
        "webhooks": board.0.webhooks.status(),
        "servers": {
            "away": away.iter().map(|(server, since)| json!({
                "server": shown_url(server),
                "since_s": since.as_secs(),
            })).collect::<Vec<_>>(),
            "ladder": board.0.documents.by_rung(),
            "copies": board.0.documents.copies(),
            "outage_left_s": board.0.outage.left(Instant::now()).map(|left| left.as_secs().max(1)),
        },
        "counters": {
            "calls_total": state.calls_total,
            "calls_active": state.calls.len(),
            "calls_panicked": state.panics,
            "legs_active": state.legs.len(),
            "rtp_sockets": sip.legs + detaching,
            "sip_dialogs": sip.dialogs,
            "sip_transactions": sip.transactions,
            "timers": sip.timers,
            "subscriptions": sip.subscriptions,
            "fetches_active": board.0.fetcher.active() + board.0.fetcher.queued(),
            "sip_silent_drops": sip.silent_drops,
            "sip_malformed": sip.malformed,
            "sip_auth_failures": sip.auth_failures,
            "sip_overloaded": sip.overloaded,
            "prompt_bytes": board.0.prompts.memory_bytes(),
            "media_commands_refused": board.0.media.refused(),
        },
    })
}

/// The devices of analog lines, and what hardware their drivers were ever tried with.
fn devices(board: &Switchboard) -> Vec<Value> {
    let cards = board.0.lines.analog.cards();
    let devices = board.0.devices.iter();
    devices
        .map(|(name, driver)| {
            let card = cards.iter().find(|card| card.name == *name);
            json!({
                "name": name,
                "kind": driver.kind,
                "is_present": card.is_some_and(|card| card.is_present),
                "fault": card.and_then(|card| card.fault).map(|fault| fault.code()),
                "tried_with": driver.tried_with,
            })
        })
        .collect()
}

fn line(board: &Switchboard, status: &tipring_lines::LineStatus) -> Value {
    let detail = status.state.err().map_or("", down_detail);
    let LineId(at) = status.line;
    json!({
        "name": board.line_name(Some(status.line)),
        "kind": board.0.line_kinds.get(usize::from(at)),
        "state": if status.state.is_ok() { "up" } else { "down" },
        "detail": detail,
        "contacts": status.contacts,
    })
}

/// Why a line is down: a code of the catalogue, or a few words.
pub(super) const fn down_detail(reason: DownReason) -> &'static str {
    match reason {
        DownReason::NotRegistered => "not registered",
        DownReason::CredentialsRefused => "TR-SIP-401",
        DownReason::Unreachable => "TR-SIP-UNREACH",
        DownReason::Unplugged => "TR-LINE-NOVOLT",
        DownReason::InUse => "TR-LINE-INUSE",
        DownReason::NoDevice => "TR-LINE-NODEVICE",
        DownReason::NoPort => "TR-LINE-NOPORT",
        DownReason::WrongPort => "TR-LINE-WRONGPORT",
        DownReason::Status(403) => "TR-SIP-403",
        DownReason::Status(404) => "TR-SIP-404",
        DownReason::Status(_) => "TR-SIP-503",
    }
}
