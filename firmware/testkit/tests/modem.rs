//! The voice modem in software as a program: orders in, what happens out, and a terminal.

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
        let mut child = Command::new(env!("CARGO_BIN_EXE_tipring-modem-sim"))
            .arg(folder)
            .args(["conexant", "--law", "alaw"])
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
    let folder = std::env::temp_dir().join(format!("tipring-modem-sim-{}", std::process::id()));
    let mut program = Program::start(&folder);
    let ready = program.wait("ready");
    let serial = ready["serial"].as_str().unwrap();

    // Echo until it is told not to, then answers alone.
    let mut terminal = OpenOptions::new().read(true).write(true).open(serial).unwrap();
    let mut answers = BufReader::new(terminal.try_clone().unwrap()).lines().map(Result::unwrap);
    let mut next = || answers.by_ref().map(|line| line.trim().to_owned()).find(|line| !line.is_empty());
    terminal.write_all(b"ATE0\r").unwrap();
    assert_eq!((next().as_deref(), next().as_deref()), (Some("ATE0"), Some("OK")));
    terminal.write_all(b"at+fclass=8;+vsm=?\r").unwrap();
    assert_eq!(next().as_deref(), Some("132,\"A-Law\",8,0,8000,0,0"));
    assert_eq!(next().as_deref(), Some("OK"));
    terminal.write_all(b"AT+FCLASS=0;+VCID=1\rAT+NONSENSE\r").unwrap();
    assert_eq!((next().as_deref(), next().as_deref()), (Some("OK"), Some("ERROR")));
    program.order(&json!({"do": "caller", "port": 1, "number": "5550100"}));
    program.order(&json!({"do": "ring", "port": 1, "cadence": [200, 1_000]}));
    for expected in ["RING", "DATE=1129", "TIME=1405", "NMBR=5550100", "RING"] {
        assert_eq!(next().as_deref(), Some(expected));
    }
    program.order(&json!({"do": "log"}));
    let log = program.wait("log");
    assert_eq!(log["lines"][0], "> ATE0");
    assert_eq!(log["lines"].as_array().unwrap().last().unwrap(), "< RING");

    // What cannot be done is said, and nothing else becomes of it.
    for (order, why) in [
        (json!({"do": "lift", "port": 1}), "port 1 is a line"),
        (json!({"do": "say", "port": 2, "samples": []}), "a modem has one"),
        (json!({"do": "event", "letter": "b"}), "not in voice class"),
        (json!({"do": "fly"}), "unknown variant"),
    ] {
        program.order(&order);
        let refused = program.wait("refused");
        assert!(refused["why"].as_str().unwrap().contains(why), "{order}: {refused}");
    }
    program.order(&json!({"do": "unplug"}));
    program.order(&json!({"do": "ask", "id": 5}));
    assert_eq!(program.wait("here")["id"], 5);
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
