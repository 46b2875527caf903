//! The process of a script, as the daemon starts it: what it answers, what holds it, how it ends.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

struct Script {
    child: Child,
    socket: UnixStream,
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Script {
    fn start() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tipring"))
            .arg("script")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket }
    }

    fn send(&mut self, message: &Value) {
        let bytes = message.to_string().into_bytes();
        self.socket.write_all(&u32::try_from(bytes.len()).unwrap().to_le_bytes()).unwrap();
        self.socket.write_all(&bytes).unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
        self.socket.read_exact(&mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn begin(&mut self, text: &str) -> Value {
        let scripts = json!([{ "name": "a.js", "text": text }]);
        self.send(&json!({ "now": 1_000, "t": "begin", "id": "s", "custom_data": "", "scripts": scripts }));
        self.receive()
    }
}

#[test]
fn a_script_runs_in_a_process_that_is_shut_in() {
    let mut script = Script::start();
    let said = script.begin("Logger.write('here ' + new Date().getTimezoneOffset() + ' ' + getLocalTime('Europe/Berlin', new Date(0)).getTime())");
    assert_eq!(said["commands"][0]["text"], "here 0 3600000", "{said}");

    let folder = format!("/proc/{}", script.child.id());
    let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    };
    // Filtered, without new privileges, and alone.
    assert_eq!(
        (field("Seccomp"), field("NoNewPrivs"), field("Threads")),
        ("2".into(), "1".into(), "1".into())
    );
    // Open are the socket, twice, and nothing else that it has opened itself. Not even its parent
    // may look, unless it is root.
    let open = |folder: &str| -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(format!("{folder}/fd")).into_iter().flatten();
        all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect()
    };
    let inherited = open("/proc/self");
    let own: Vec<_> = open(&folder).into_iter().filter(|link| !inherited.contains(link)).collect();
    assert!(
        own.len() <= 2 && own.iter().all(|link| link.to_string_lossy().starts_with("socket:")),
        "{own:?}"
    );
}

#[test]
fn a_loop_ends_after_a_second_of_work_and_a_bomb_of_memory_at_its_bound() {
    for (text, kinds) in [
        ("for (;;) {}", &["time"][..]),
        ("/(a+)+$/.test('a'.repeat(50) + 'b')", &["time", "exception"]),
        ("const a = []; for (;;) a.push('x'.repeat(100000) + a.length)", &["memory", "time"]),
        ("let s = 'x'; for (;;) s += s", &["memory", "exception"]),
    ] {
        let mut script = Script::start();
        let said = script.begin(text);
        let kind = said["fault"]["kind"].as_str().unwrap_or("none");
        assert!(kinds.contains(&kind), "{text}: {said}");
        // The process itself is well, and hears of its end.
        script.send(&json!({ "now": 2_000, "t": "terminated", "system_error": true }));
        assert!(script.receive()["commands"].is_array());
    }
}

#[test]
fn a_process_that_is_killed_ends_the_stream() {
    let mut script = Script::start();
    script.begin("1");
    script.child.kill().unwrap();
    assert_eq!(script.child.wait().unwrap().signal(), Some(9));
    let mut byte = [0];
    let end = script.socket.read(&mut byte);
    assert!(matches!(end, Ok(0)) || matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset));
}

#[test]
fn a_daemon_that_is_gone_ends_the_process() {
    let mut script = Script::start();
    script.begin("1");
    script.socket.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(script.child.wait().unwrap().code().is_some());
    // And so does a message that is longer than any may be.
    let mut script = Script::start();
    script.socket.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert_eq!(script.child.wait().unwrap().code(), Some(1));
}
