//! Any bytes from a modem, at any point of a session: the session goes on, says no more than there
//! is to say, and what waits in the modem stays within its limit.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tipring_lines::port::TxSignal;
use tipring_lines::port::v253::{Chip, Input, ModemSettings, Output, Session, SessionState};

/// Shielded, twice two bytes a sample at most: what fills a modem.
const SOUND_OUT_MAX: usize = 2_240;

/// The answer of a good modem, so that most inputs reach a call.
fn answer(command: &[u8]) -> &'static [u8] {
    match command {
        b"ATI0\r" => b"\r\n5601\r\n\r\nOK\r\n",
        b"AT+FCLASS=?\r" => b"\r\n0,1,8\r\n\r\nOK\r\n",
        b"AT+VSM=?\r" => b"\r\n131,\"8-BIT ULAW\",(8000)\r\n\r\nOK\r\n",
        b"AT+VTR\r" => b"\r\nCONNECT\r\n",
        [0x10, 3] | [b'A', b'T', ..] => b"\r\nOK\r\n",
        _ => b"",
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut now = Instant::now();
    let chip = [None, Some(Chip::Conexant), Some(Chip::Usr), Some(Chip::Generic)]
        [usize::from(bytes.first().copied().unwrap_or_default() & 3)];
    let settings = ModemSettings { serial_path: String::new(), chip, country: Some(0xb5) };
    let mut session = Session::new(now, settings);
    session.handle(now, Input::Opened);
    let mut is_up = false;
    // A byte that says whether the modem answers, and how much comes at a time.
    for chunk in bytes.chunks(48) {
        let (how, rest) = chunk.split_first().unwrap_or((&0, &[]));
        // A whole dialogue at once: some forty commands.
        for _ in 0..60 {
            let (mut answers, mut said) = (Vec::new(), 0);
            while let Some(output) = session.poll() {
                said += 1;
                assert!(said < 1_000, "it does not stop talking");
                match output {
                    Output::Write(command) if how & 1 == 0 => answers.extend(answer(&command)),
                    Output::Up(_) => is_up = true,
                    Output::Down(_) => {
                        is_up = false;
                        session.handle(now, Input::Closed);
                        assert_eq!(session.state(), SessionState::Absent);
                        session.handle(now, Input::Opened);
                    }
                    Output::Signal(_) | Output::Caller(_) => assert!(is_up, "of no modem"),
                    Output::Write(_)
                    | Output::Tone(..)
                    | Output::AudioBegan
                    | Output::AudioEnded
                    | Output::Refused(_) => {}
                }
            }
            session.handle(now, Input::Bytes(&answers));
            if answers.is_empty() && said == 0 {
                break;
            }
        }
        match how >> 1 & 7 {
            0 | 1 => session.handle(now, Input::Signal(TxSignal::OffHook)),
            2 => session.handle(now, Input::Signal(TxSignal::OnHook)),
            3 => session.handle(now, Input::Signal(TxSignal::Flash { ms: u16::from(*how) })),
            4 => session.handle(now, Input::Signal(TxSignal::Pulses(how >> 4))),
            _ => {}
        }
        session.handle(now, Input::Bytes(rest));
        while let Some(period) = session.next_period() {
            session.play(&period);
            assert!(session.sound_out().len() <= SOUND_OUT_MAX);
            session.sound_out().clear();
        }
        now += Duration::from_millis(u64::from(*how) * 3);
        if session.poll_timeout().is_some_and(|at| at <= now) {
            session.handle(now, Input::Timeout);
        }
    }
});
