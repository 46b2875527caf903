//! The line card in software as a program: orders in, what happens out, and a terminal.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

struct Program {
    child: Child,
    orders: ChildStdin,
    told: Receiver<Value>,
}

impl Program {
    fn start(folder: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tipring-linecard-sim"))
            .arg(folder)
            .args(["LP", "card2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, told) = sync_channel(1_024);
        std::thread::spawn(move || {
            for line in output.lines() {
                let told = serde_json::from_str(&line.unwrap()).unwrap();
                if sender.send(told).is_err() {
                    return;
                }
            }
        });
        Self { orders: child.stdin.take().unwrap(), child, told }
    }

    fn order(&mut self, order: &Value) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// What is told next of this event.
    fn wait(&self, event: &str) -> Value {
        loop {
            let told = self.told.recv_timeout(LIMIT).unwrap();
            if told["event"] == event {
                return told;
            }
        }
    }
}

#[test]
fn it_does_what_it_is_told_and_ends_with_its_orders() {
    let folder = std::env::temp_dir().join(format!("tipring-linecard-sim-{}", std::process::id()));
    let mut program = Program::start(&folder);
    let ready = program.wait("ready");
    assert_eq!(ready["audio"], "card2");
    assert!(std::fs::read_to_string(ready["alsa_config"].as_str().unwrap()).unwrap().contains("pcm.card2"));

    // A box would open the terminal like this; the session's first lines are the document's.
    let serial = ready["serial"].as_str().unwrap();
    let mut terminal = OpenOptions::new().read(true).write(true).open(serial).unwrap();
    let mut answers = BufReader::new(terminal.try_clone().unwrap()).lines();
    terminal.write_all(b"half a li\n>0 HELLO v=1 id=0000002A*92A7\n").unwrap();
    assert_eq!(program.wait("session")["on"], true);
    let answer = answers.by_ref().map(Result::unwrap).find(|line| line.starts_with("<0 ")).unwrap();
    assert!(answer.starts_with("<0 OK v=1 id=0000002A model="), "{answer}");
    program.order(&json!({"do": "lift", "port": 2}));
    let event = answers.by_ref().map(Result::unwrap).find(|line| line.contains("HOOK off")).unwrap();
    assert!(event.starts_with("!1 "), "{event}");

    // What cannot be done is said, and nothing else becomes of it.
    for (order, why) in [
        (json!({"do": "lift", "port": 1}), "port 1 is a line"),
        (json!({"do": "ring", "port": 2, "cadence": [1_000, 2_000]}), "port 2 has a telephone"),
        (json!({"do": "ring", "port": 1, "cadence": [1_000]}), "a cadence is"),
        (json!({"do": "lift", "port": 3}), "there is no port 3"),
        (json!({"do": "fly"}), "unknown variant"),
        (json!({"do": "lift"}), "missing field"),
        (json!({"do": "say", "port": 2, "file": "/nonexistent.wav"}), "/nonexistent.wav"),
    ] {
        program.order(&order);
        let refused = program.wait("refused");
        assert!(refused["why"].as_str().unwrap().contains(why), "{order}: {refused}");
    }
    program.order(&json!({"do": "ask", "id": 5}));
    assert_eq!(program.wait("here")["id"], 5);

    // Pulled out and plugged in again it has the same names.
    program.order(&json!({"do": "unplug"}));
    assert_eq!(program.wait("session")["on"], false);
    program.order(&json!({"do": "ask"}));
    program.wait("here");
    assert!(!std::path::Path::new(serial).exists());
    program.order(&json!({"do": "plug"}));
    program.order(&json!({"do": "ask"}));
    program.wait("here");
    assert!(OpenOptions::new().read(true).write(true).open(serial).is_ok());

    drop(program.orders);
    assert!(program.child.wait().unwrap().success());
    assert!(!std::path::Path::new(serial).exists());
    std::fs::remove_dir_all(folder).unwrap();
}
