//! What is said to a modem, in which order: the steps of each part of a session. Pure.
//!
//! `README.md` has the same as a document, and a test compares what goes over the wire with it.

use std::borrow::Cow;
use std::time::Duration;

use super::quirks::Quirks;
use super::samples::SampleFormat;
use super::shield::{DLE, ETX};

/// A modem answers a command within this.
const ANSWER: Duration = Duration::from_secs(2);
/// It goes on hook, or begins anew, within this.
const HANG_UP: Duration = Duration::from_millis(1_500);
/// It goes off hook, or begins its stream, within this.
const SEIZE: Duration = Duration::from_secs(3);
/// After what may lie in a stream that nobody wants, nothing is listened to for so long.
const SETTLES: Duration = Duration::from_millis(200);
/// Pulses of a digit take no longer, 0 being ten of them, with the time between.
const PULSES: Duration = Duration::from_secs(3);

/// What a step waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wants {
    /// The time; whatever comes is passed over.
    Time,
    /// `OK`. Without it the modem is at fault.
    Ok,
    /// `OK`, or that it does not know the command.
    OkOrNot,
    /// `OK`; after anything else it is asked again, a few times.
    OkAtLast,
    /// The stream.
    Stream,
}

/// What becomes of the lines of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keeps {
    /// Nothing.
    Nothing,
    /// They say what the modem is.
    Identity,
    /// They say which classes it has.
    Classes,
    /// They say which samples it has.
    Formats,
    /// They do not count, but the verdict says whether the line was taken.
    Hook,
    /// The verdict says whether callers will be told.
    CallerId,
    /// The verdict says whether the country was set.
    Country,
}

/// One command and what is expected of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// Sent as it is, and with CR behind it unless it waits for time alone.
    pub(super) text: Cow<'static, [u8]>,
    pub(super) within: Duration,
    pub(super) wants: Wants,
    pub(super) keeps: Keeps,
    /// Said when it is refused.
    pub(super) otherwise: Option<&'static str>,
}

impl Step {
    fn new(text: &'static str, wants: Wants) -> Self {
        let text = Cow::Borrowed(text.as_bytes());
        Self { text, within: ANSWER, wants, keeps: Keeps::Nothing, otherwise: None }
    }

    fn made(text: String, wants: Wants) -> Self {
        Self { text: Cow::Owned(text.into_bytes()), ..Self::new("", wants) }
    }

    fn bytes(text: &'static [u8]) -> Self {
        Self { text: Cow::Borrowed(text), within: SETTLES, ..Self::new("", Wants::Time) }
    }

    fn keeps(self, keeps: Keeps) -> Self {
        Self { keeps, ..self }
    }

    fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }
}

/// Whatever the modem was doing, it is in command state and on hook after this: a program that
/// died may have left it in the middle of a call.
pub(super) fn clean_start() -> Vec<Step> {
    vec![
        Step::bytes(&[DLE, ETX]),
        Step::bytes(&[DLE, b'^']),
        Step::bytes(b"\r"),
        Step::new("ATH0", Wants::OkAtLast).within(HANG_UP),
        Step::new("ATZ", Wants::Ok).within(HANG_UP),
        Step::new("ATE0", Wants::Ok),
        Step::new("ATV1", Wants::Ok),
        Step::new("ATQ0", Wants::Ok),
    ]
}

/// What is it?
pub(super) fn identify() -> Vec<Step> {
    let asks = |text| Step::new(text, Wants::OkOrNot).keeps(Keeps::Identity);
    vec![
        asks("ATI0"),
        asks("ATI3"),
        asks("AT+GMI"),
        asks("AT+GMM"),
        asks("AT+GMR"),
        Step::new("AT+FCLASS=?", Wants::OkOrNot).keeps(Keeps::Classes),
    ]
}

/// As every call needs it.
pub(super) fn set_up(country: Option<u8>) -> Vec<Step> {
    let mut steps = vec![
        Step::new("ATX4", Wants::OkOrNot),
        Step::new("ATM0", Wants::OkOrNot),
        Step::new("ATS0=0", Wants::Ok),
    ];
    if let Some(code) = country {
        steps.push(Step::made(format!("AT+GCI={code:02X}"), Wants::OkOrNot).keeps(Keeps::Country));
    }
    steps.push(Step::new("AT+FCLASS=8", Wants::Ok));
    steps.push(Step::new("AT+VSM=?", Wants::OkOrNot).keeps(Keeps::Formats));
    steps
}

/// On hook, listening for rings and callers: the class that a modem is in between calls.
pub(super) fn rest(quirks: &Quirks) -> Vec<Step> {
    let [first, second] = quirks.caller_id;
    vec![
        Step::new("AT+FCLASS=0", Wants::Ok),
        Step { otherwise: Some(second), ..Step::new(first, Wants::OkOrNot) }.keeps(Keeps::CallerId),
    ]
}

/// Still there?
pub(super) fn watchdog() -> Vec<Step> {
    vec![Step::new("AT", Wants::Ok)]
}

/// From rest into the stream, off hook.
pub(super) fn seize(quirks: &Quirks, (code, _): (u16, SampleFormat)) -> Vec<Step> {
    let mut steps = vec![
        Step::new("AT+FCLASS=8", Wants::Ok),
        Step::new("AT+VIT=0", Wants::OkOrNot),
        Step::new(quirks.silence_off, Wants::OkOrNot),
        Step::new("AT+VNH=0", Wants::OkOrNot),
        Step::made(format!("AT+VSM={code},8000{}", quirks.format_tail), Wants::Ok),
    ];
    steps.extend(quirks.gains.iter().map(|gain| Step::new(gain, Wants::OkOrNot)));
    steps.push(Step::new("AT+VLS=1", Wants::Ok).within(SEIZE).keeps(Keeps::Hook));
    steps.extend(enter());
    steps
}

/// From command state into the stream.
pub(super) fn enter() -> Vec<Step> {
    vec![Step::new("AT+VTR", Wants::Stream).within(SEIZE)]
}

/// From command state, off hook, to rest.
pub(super) fn hang_up(quirks: &Quirks) -> Vec<Step> {
    let mut steps = vec![
        Step::new("AT+VLS=0", Wants::OkOrNot).within(HANG_UP),
        Step::new("ATH", Wants::Ok).within(HANG_UP),
    ];
    steps.extend(rest(quirks));
    steps
}

/// A hook flash of so many ms.
pub(super) fn flash(quirks: &Quirks, ms: u16) -> Vec<Step> {
    let mut steps = Vec::new();
    if quirks.flash_in_s29 {
        steps.push(Step::made(format!("ATS29={}", (ms / 10).clamp(1, 255)), Wants::OkOrNot));
    }
    let flash = Step::new("AT+VTS=!", Wants::OkOrNot).within(SEIZE);
    steps.push(Step { otherwise: Some("ATD!;"), ..flash });
    steps
}

/// Digits, 0 to 9, by pulses.
pub(super) fn pulses(digits: &[u8]) -> Vec<Step> {
    let text: String = digits.iter().map(|digit| char::from(b'0' + digit.min(&9))).collect();
    let within = PULSES * u32::try_from(digits.len() + 1).unwrap_or(u32::MAX);
    vec![Step::made(format!("ATDP{text};"), Wants::OkOrNot).within(within)]
}
