//! The processes of scripts: one a call, and a warm one that waits for the next. What goes wrong
//! in one ends its call and no other.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::Stdio;

use tipring_calls::CallInput;
use tipring_flows::voxengine;
use tipring_flows::voxengine::message::MESSAGE_BYTES_MAX;
use tipring_model::flow::ScriptEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use super::switchboard::Switchboard;

/// Scripts that run at one time.
const SCRIPTS_MAX: usize = 32;
/// Messages that wait for a script; its flow waits for each answer.
const WAITING_MAX: usize = 4;
/// Who runs it where the daemon is root: nobody.
const NOBODY: u32 = 65_534;

/// Every script that runs.
#[derive(Default)]
pub(super) struct Scripts {
    spare: RefCell<Option<Process>>,
    running: RefCell<HashMap<u32, Running>>,
}

struct Running {
    messages: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
}

/// A process and the way to it. It is killed when this is dropped.
struct Process {
    child: Child,
    socket: UnixStream,
}

impl Process {
    /// The same program, started anew.
    fn start() -> io::Result<Self> {
        // Whatever a library has left to be inherited stays here.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("script")
            .env_clear()
            // Scripts count in UTC; their process could not read another zone anyway.
            .env("TZ", "UTC0")
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.spawn()?;
        Ok(Self { child, socket: UnixStream::from_std(ours)? })
    }

    /// Says something to the script and waits for what it says.
    async fn ask(&mut self, message: &[u8]) -> Result<Vec<u8>, ScriptEnd> {
        let length = u32::try_from(message.len()).map_err(|_| ScriptEnd::TooLong)?;
        let gone = |_: io::Error| ScriptEnd::Gone;
        self.socket.write_all(&length.to_le_bytes()).await.map_err(gone)?;
        self.socket.write_all(message).await.map_err(gone)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).await.map_err(gone)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MESSAGE_BYTES_MAX {
            return Err(ScriptEnd::TooLong);
        }
        let mut said = vec![0; length];
        self.socket.read_exact(&mut said).await.map_err(gone)?;
        Ok(said)
    }

    fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Switchboard {
    /// Starts the process that waits, if a flow could need it.
    pub(super) fn keep_script_warm(&self) {
        let is_needed = self.0.flows.iter().any(|flow| flow.dialect == voxengine::DIALECT.name);
        if !is_needed || self.0.scripts.spare.borrow().is_some() {
            return;
        }
        match Process::start() {
            Ok(process) => *self.0.scripts.spare.borrow_mut() = Some(process),
            Err(error) => tracing::error!(code = "TR-SCRIPT-START", %error, "no process for a script"),
        }
    }

    /// Hands a message to the script of a call; the first one takes a process.
    pub(super) fn tell_script(&self, number: u32, message: Vec<u8>) {
        let known = self.0.scripts.running.borrow().get(&number).map(|running| running.messages.clone());
        let told = match known {
            Some(messages) => messages.try_send(message).map_err(|_| ScriptEnd::Gone),
            None => self.start_script(number, message),
        };
        if let Err(end) = told {
            let board = self.clone();
            // The call learns it after it has said all it had to say.
            spawn_local(async move { board.handle(number, CallInput::Script(Err(end))) });
        }
    }

    fn start_script(&self, number: u32, message: Vec<u8>) -> Result<(), ScriptEnd> {
        if self.0.scripts.running.borrow().len() >= SCRIPTS_MAX {
            tracing::warn!(code = "TR-SCRIPT-START", call = %self.call_name(number), "as many scripts run as may");
            return Err(ScriptEnd::NotStarted);
        }
        let spare = self.0.scripts.spare.borrow_mut().take();
        // One that has ended while it waited is of no use.
        let spare = spare.and_then(|mut process| match process.child.try_wait() {
            Ok(None) => Some(process),
            Ok(Some(_)) | Err(_) => None,
        });
        let started = spare.map_or_else(Process::start, Ok);
        let process = started.map_err(|error| {
            tracing::error!(code = "TR-SCRIPT-START", call = %self.call_name(number), %error, "no process for a script");
            ScriptEnd::NotStarted
        })?;
        tracing::info!(call = %self.call_name(number), process = process.id(), "script began");
        let (sender, messages) = mpsc::channel(WAITING_MAX);
        let sent = sender.try_send(message).map_err(|_| ScriptEnd::Gone);
        let task = spawn_local(self.clone().serve_script(number, process, messages)).abort_handle();
        self.0.scripts.running.borrow_mut().insert(number, Running { messages: sender, task });
        let board = self.clone();
        spawn_local(async move { board.keep_script_warm() });
        sent
    }

    async fn serve_script(self, number: u32, mut process: Process, mut messages: mpsc::Receiver<Vec<u8>>) {
        let end = loop {
            // One that ends while nobody asks it is gone all the same.
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = process.child.wait() => break ScriptEnd::Gone,
            };
            let Some(message) = message else { return };
            match process.ask(&message).await {
                Ok(said) => self.handle(number, CallInput::Script(Ok(&said))),
                Err(end) => break end,
            }
        };
        let status = process.child.try_wait().ok().flatten().map(|status| status.to_string());
        tracing::warn!(code = end.code(), call = %self.call_name(number), status, "a script is gone");
        self.handle(number, CallInput::Script(Err(end)));
    }

    /// The call is over: its process is killed, whatever it does.
    pub(super) fn end_script(&self, number: u32) {
        let running = self.0.scripts.running.borrow_mut().remove(&number);
        if let Some(running) = running {
            running.task.abort();
        }
    }
}
