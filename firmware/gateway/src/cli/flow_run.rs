//! `tipring flow run`: a flow with scripted keys and HTTP answers, in virtual time.
//! The same interpreter and the same call core as in the daemon; only lines, audio
//! and HTTP are made up.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use tipring_calls::exchange::{Exchange, ExchangeOutput};
use tipring_calls::features::mailbox::{MailboxContents, MailboxReply, MailboxRequest};
use tipring_calls::{Call, CallInput, CallOutput, Limits, MediaCommand, MediaEvent};
use tipring_flows::voxengine::in_process::InProcess;
use tipring_flows::voxengine::interpreter::Bounds;
use tipring_model::call::{CallFacts, Direction, Origin, SessionFacts};
use tipring_model::directory::Directory;
use tipring_model::fetch::{Body, FetchError, HttpRequest, HttpResponse};
use tipring_model::flow::{Detected, Moment, Recorded, StreamEnd};
use tipring_model::line::{LineCommand, LineEvent, ReferReply, Supervision};
use tipring_model::prompt::PromptSource;
use tipring_model::recordings::RecordingAddresses;
use tipring_model::settings::{Problem, RawSettings, RawValue};
use tipring_model::signal::LegSignal;
use tipring_model::{
    ActionId, CallId, CallerId, Cause, Digit, DigitPath, FetchId, LegId, LineId, Number, PlayId, RecordId,
};

use super::dialect::{self, By};
use super::{BAD, BAD_FILE, OK, complain, complain_of, say, shown};
use crate::config::{Config, FILE_BYTES_MAX, read_bytes};

#[derive(Args)]
pub(super) struct Options {
    /// The document.
    file: PathBuf,
    /// Its dialect; unless told, that of the flow that has the document in the configuration, or
    /// opentact for .xml and kazoo for .json.
    #[arg(long)]
    dialect: Option<String>,
    /// A configuration whose users, groups and mailboxes the document names. If one of its flows
    /// has the document, that flow is run.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The number of the telephone of the office that calls.
    #[arg(long)]
    extension: Option<String>,
    /// Who calls.
    #[arg(long, default_value = "15550100")]
    from: String,
    /// What was dialled.
    #[arg(long, default_value = "15550199")]
    to: String,
    /// Wall-clock time at which the call begins, such as 2026-11-20T09:00:00Z.
    #[arg(long)]
    at: Option<Timestamp>,
    /// Keys that the caller presses, one after the other; `w` waits a second.
    #[arg(long, default_value = "", value_parser = keys)]
    keys: Keys,
    /// An HTTP answer: URL=200:body, URL=200:@file, URL=timeout; URL=200,text/xml:body says what
    /// it is. Without its query a URL stands for every query.
    #[arg(long = "hook", value_parser = hook)]
    hooks: Vec<Hook>,
    /// The address at which a server would give the document: what is relative in it is relative
    /// to that.
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// Begin without a caller, as a request to the control API does; a scenario gets this text.
    #[arg(long, value_name = "TEXT")]
    data: Option<String>,
    /// Show the fields of each request.
    #[arg(long, short)]
    verbose: bool,
    /// What dialled parties do.
    #[arg(long, value_enum, default_value_t = Callee::Answer)]
    callee: Callee,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Callee {
    Answer,
    Busy,
    Silent,
}

/// Virtual time between two keys, and before the first.
const BETWEEN_KEYS: Duration = Duration::from_millis(500);
/// How long made-up things last.
const RINGS: Duration = Duration::from_secs(2);
const TALKS: Duration = Duration::from_secs(5);
const PLAYS: Duration = Duration::from_secs(3);
const SPEAKS_PER_CHARACTER: Duration = Duration::from_millis(60);
/// What happens at most before the simulation gives up.
const EVENTS_MAX: usize = 10_000;

const CODEC: &str = "PCMA";
const LEG: LegId = LegId::offered(LineId(0), 1);

pub(super) fn run(options: &Options) -> u8 {
    let document = match read_bytes(&options.file, FILE_BYTES_MAX) {
        Ok(document) => document,
        Err(error) => {
            complain(&format!("error[TR-CFG-FILE]: {} {error}", options.file.display()));
            return BAD_FILE;
        }
    };
    let configs = match options.config.as_deref().map(Config::load) {
        None => Vec::new(),
        Some(Ok(config)) => vec![config],
        Some(Err(faults)) => {
            complain(&format!(
                "error: the configuration has {} faults: `tipring check` shows them",
                faults.len()
            ));
            return BAD;
        }
    };
    let directory = configs.first().map_or_else(|| Rc::new(nobody()), |config| Rc::clone(&config.directory));
    let read = match dialect::of(&options.file, options.dialect.as_deref(), &configs) {
        Ok(read) => read,
        Err(what) => {
            complain(&format!("error: {}: {what}", options.file.display()));
            return BAD_FILE;
        }
    };
    let mut hooks = options.hooks.clone();
    let program = match (&read.by, &options.base) {
        (By::Flow(flow), None) => Rc::clone(&flow.program),
        (By::Flow(_) | By::Name | By::Ending, base) => {
            let mut settings = RawSettings::new();
            let name = options.file.file_name().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|_| read.dialect.fields.iter().any(|field| field.key == "name")) {
                settings.set("name", RawValue::Text(name.to_owned()));
            }
            match base {
                None => settings.set("document", RawValue::Bytes(document)),
                Some(base) => {
                    settings.set("url", RawValue::Text(base.clone()));
                    let media_type = of_ending(&options.file).map(str::to_owned);
                    let answer = Some(Answer { status: 200, media_type, body: document });
                    hooks.push(Hook { url: base.clone(), answer });
                }
            }
            match (read.dialect.open)(&settings, &directory) {
                Ok(program) => Rc::from(program),
                Err(errors) => {
                    for error in errors {
                        let name = options.file.display();
                        let Problem::Document { line, column, code, subject } = &error.problem else {
                            complain(&format!("error: {name}: {} {}", error.key, error.problem));
                            continue;
                        };
                        let detail = if subject.is_empty() { String::new() } else { format!(": {subject}") };
                        complain_of("error", code, &format!("{name}:{line}:{column}{detail}"));
                    }
                    return BAD;
                }
            }
        }
    };
    let directory = {
        // As in the daemon: those of the flow's own account are there as well.
        let mut all = Directory::clone(&directory);
        let own = program.mailboxes();
        all.mailboxes.extend(own.into_iter().filter(|entry| directory.mailbox(&entry.id).is_none()));
        Rc::new(all)
    };
    let unix_ms = options.at.unwrap_or_else(Timestamp::now).as_millisecond();
    let now = Moment { instant: Instant::now(), unix_ms };
    let facts = CallFacts {
        id: CallId::from_random(0),
        leg: options.data.is_none().then_some(LEG),
        direction: if options.data.is_none() { Direction::Inbound } else { Direction::Outbound },
        from: CallerId::of(&options.from),
        to: Number::new(&options.to),
        answered: false,
        codec: CODEC,
        started_unix_ms: unix_ms,
        origin: Origin {
            line: "simulated".to_owned(),
            extension: options.extension.clone(),
            ..Origin::default()
        },
        kept: Rc::default(),
        session: options.data.as_ref().map(|data| {
            Rc::new(SessionFacts { id: 1, custom_data: data.clone(), ..SessionFacts::default() })
        }),
    };
    // A script runs right here: it is the user's own, and there is nothing else to be harmed.
    let flow = InProcess::new(program.start(), Bounds::default(), 1, Box::new(crate::script::used));
    let call = Call::new(1, facts, Box::new(flow), Limits::default(), now);
    let began = now.instant;
    let mut simulation = Simulation {
        options,
        call,
        now,
        began,
        pending: Vec::new(),
        keys: options.keys.0.clone(),
        exchange: Exchange::default(),
        directory,
        hooks,
        booths: Vec::new(),
        still: Vec::new(),
        over: None,
    };
    if let Some(assumed) = read.assumed() {
        simulation.tell("dialect", &assumed);
    }
    simulation.give(CallInput::Start);
    simulation.go_on();
    match simulation.over.as_deref() {
        None | Some("flow_error" | "system_error") => BAD,
        Some(_) => OK,
    }
}

/// The media type that a server would give a file of that name.
fn of_ending(file: &Path) -> Option<&'static str> {
    match file.extension()?.to_str()? {
        "xml" => Some("text/xml"),
        "json" => Some("application/json"),
        "txt" => Some("text/plain"),
        _ => None,
    }
}

/// A box without people, for a run without a configuration.
fn nobody() -> Directory {
    const ACCOUNT: &str = "00000000000000000000000000000000";
    Directory {
        account: ACCOUNT.to_owned(),
        name: "simulated".to_owned(),
        time_zone: "UTC".to_owned(),
        recordings: RecordingAddresses::under("http://simulated.invalid/recordings"),
        ..Directory::default()
    }
}

/// Something that will happen.
enum Coming {
    Line(LineEvent),
    Media(LegId, MediaEvent),
    Fetched(FetchId, Result<HttpResponse, FetchError>),
    Mailbox(ActionId, MailboxReply),
    StreamBegan(ActionId),
    Streamed(ActionId),
    Heard(ActionId),
    Key(Digit),
}

#[derive(Clone, Copy, Debug)]
enum Key {
    Press(Digit),
    Wait,
}

/// What the caller presses.
#[derive(Clone, Debug)]
struct Keys(VecDeque<Key>);

fn keys(text: &str) -> Result<Keys, String> {
    let key = |c| match c {
        'w' => Ok(Key::Wait),
        _ => Digit::from_char(c)
            .map(Key::Press)
            .ok_or_else(|| format!("`{}` is not a key; keys are 0-9 * # A-D, and w waits", c.escape_debug())),
    };
    text.chars().map(key).collect::<Result<_, _>>().map(Keys)
}

/// A scripted answer: none is a server that says nothing in time.
#[derive(Clone, Debug)]
struct Hook {
    url: String,
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    media_type: Option<String>,
    body: Vec<u8>,
}

fn hook(text: &str) -> Result<Hook, String> {
    const FORM: &str = "write URL=200:body, URL=200,text/xml:body, URL=200:@file or URL=timeout";
    let status_of = |text: &str| text.parse().ok().filter(|status| (100..=599).contains(status));
    // The URL itself may hold `=` in its query: the answer begins after the last that fits.
    let fits = text.rmatch_indices('=').find_map(|(at, _)| {
        let (url, answer) = (text.get(..at)?, text.get(at + 1..)?);
        let (status, body) = answer.split_once(':').unwrap_or((answer, ""));
        let (status, kind) =
            status.split_once(',').map_or((status, None), |(status, kind)| (status, Some(kind)));
        let scripted = if answer == "timeout" { None } else { Some((status_of(status)?, kind, body)) };
        (!url.is_empty()).then_some((url, scripted))
    });
    let (url, scripted) = fits.ok_or_else(|| FORM.to_owned())?;
    let url = url.to_owned();
    let Some((status, kind, body)) = scripted else { return Ok(Hook { url, answer: None }) };
    let by_ending = body.strip_prefix('@').and_then(|path| of_ending(Path::new(path)));
    let media_type = kind.or(by_ending).map(str::to_owned);
    let body = match body.strip_prefix('@') {
        Some(path) => {
            read_bytes(Path::new(path), FILE_BYTES_MAX).map_err(|error| format!("{path} {error}"))?
        }
        None => body.as_bytes().to_vec(),
    };
    Ok(Hook { url, answer: Some(Answer { status, media_type, body }) })
}

struct Simulation<'a> {
    options: &'a Options,
    call: Call,
    now: Moment,
    began: Instant,
    pending: Vec<(Instant, Coming)>,
    keys: VecDeque<Key>,
    exchange: Exchange,
    directory: Rc<Directory>,
    hooks: Vec<Hook>,
    /// Legs without a party.
    booths: Vec<LegId>,
    /// Stretches that stand still, and how long each still plays.
    still: Vec<(LegId, PlayId, Duration)>,
    /// The label of the end.
    over: Option<String>,
}

impl Simulation<'_> {
    fn tell(&self, what: &str, detail: &str) {
        let at = self.now.instant - self.began;
        if self.options.json {
            let line = serde_json::json!({
                "at_ms": u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
                "what": what,
                "detail": detail,
            });
            say(&line.to_string());
        } else {
            // What others have written stands under its step, and commands no terminal.
            let detail: Vec<String> = detail.lines().map(shown).collect();
            say(&format!("{:8.3}  {what:8} {}", at.as_secs_f64(), detail.join("\n                    ")));
        }
    }

    fn give(&mut self, input: CallInput<'_>) {
        self.call.handle(self.now, input);
        loop {
            while let Some(output) = self.call.poll() {
                self.perform(output);
            }
            let Some(output) = self.exchange.poll() else { return };
            if let ExchangeOutput::Tell(seat, event) = output {
                self.call.handle(self.now, CallInput::Exchange(seat.action, event));
            }
        }
    }

    fn after(&mut self, wait: Duration, coming: Coming) {
        self.pending.push((self.now.instant + wait, coming));
    }

    fn go_on(&mut self) {
        let mut next_key = self.now.instant + BETWEEN_KEYS;
        for _ in 0..EVENTS_MAX {
            if self.over.is_some() {
                return;
            }
            let timer = self.call.poll_timeout();
            let earliest = self.pending.iter().enumerate().min_by_key(|(_, (at, _))| *at);
            let event = earliest.map(|(index, (at, _))| (*at, index));
            let due = event.map(|(at, _)| at).into_iter().chain(timer).min();
            let Some(due) = due else {
                self.tell("stuck", "nothing more happens");
                return;
            };
            if due > next_key
                && let Some(key) = self.keys.pop_front()
            {
                self.advance(next_key);
                next_key += BETWEEN_KEYS;
                match key {
                    Key::Press(digit) => self.arrive(Coming::Key(digit)),
                    Key::Wait => next_key += Duration::from_millis(500),
                }
                continue;
            }
            self.advance(due);
            next_key = next_key.max(self.now.instant + BETWEEN_KEYS);
            match event {
                Some((at, index)) if at <= due => {
                    let (_, coming) = self.pending.swap_remove(index);
                    self.arrive(coming);
                }
                Some(_) | None => self.give(CallInput::Timeout),
            }
        }
        self.tell("stuck", "the flow does not come to an end");
    }

    fn advance(&mut self, to: Instant) {
        self.now = self.now.after(to.saturating_duration_since(self.now.instant));
    }

    fn arrive(&mut self, coming: Coming) {
        match coming {
            Coming::Line(event) => self.give(CallInput::Line(event)),
            Coming::Media(leg, event) => self.give(CallInput::Media(leg, event)),
            Coming::Fetched(id, answer) => {
                let verdict = match &answer {
                    Ok(response) => response.status.to_string(),
                    Err(error) => error.code().to_owned(),
                };
                self.tell("answer", &verdict);
                self.give(CallInput::Fetched(id, answer.as_ref().map_err(|error| *error)));
            }
            Coming::Heard(action) => self.give(CallInput::Detected(action, Detected::Voice)),
            Coming::StreamBegan(action) => self.give(CallInput::StreamBegan(action)),
            Coming::Streamed(action) => self.give(CallInput::StreamEnded(action, StreamEnd::Closed)),
            Coming::Mailbox(action, reply) => self.give(CallInput::Mailbox(action, reply)),
            Coming::Key(digit) => {
                self.tell("key", &digit.to_string());
                self.give(CallInput::Media(LEG, MediaEvent::Digit(digit, DigitPath::Rfc4733)));
            }
        }
    }

    fn perform(&mut self, output: CallOutput) {
        match output {
            CallOutput::Place { leg, to, .. } => {
                self.tell("ring", &to.to_string());
                self.after(Duration::ZERO, Coming::Line(LineEvent::Alerting { leg, early_media: false }));
                match self.options.callee {
                    Callee::Answer => {
                        let supervision = Supervision::Signalled;
                        self.after(
                            RINGS,
                            Coming::Line(LineEvent::Answered { leg, supervision, codec: CODEC }),
                        );
                        let cause = Cause::NormalClearing;
                        self.after(
                            RINGS + TALKS,
                            Coming::Line(LineEvent::Released { leg, cause, status: None }),
                        );
                    }
                    Callee::Busy => {
                        self.after(
                            Duration::ZERO,
                            Coming::Line(LineEvent::Released { leg, cause: Cause::Busy, status: None }),
                        );
                    }
                    Callee::Silent => {}
                }
            }
            CallOutput::Line(command) => self.line(&command),
            CallOutput::Media(leg, command) => self.media(leg, command),
            CallOutput::Connect { from, to } if from.is_placed() => {
                self.tell("connect", &format!("{from} {to}"))
            }
            CallOutput::Connect { .. } | CallOutput::Disconnect { .. } => {}
            CallOutput::Exchange(seat, request) => {
                self.exchange.handle(self.now.instant, seat, request);
            }
            CallOutput::Mailbox(action, request) => self.mailbox(action, request),
            CallOutput::Stream(action, _, stream) => {
                self.tell("stream", &stream.url);
                self.after(Duration::ZERO, Coming::StreamBegan(action));
                self.after(TALKS, Coming::Streamed(action));
            }
            CallOutput::Detect(action, _, detect) => {
                self.tell("listen", "");
                self.after(detect.length_max, Coming::Heard(action));
            }
            CallOutput::StopStream(action) => self.after(Duration::ZERO, Coming::Streamed(action)),
            CallOutput::Booth(leg, _) => self.booths.push(leg),
            CallOutput::Echo(_, on) => self.tell("echo", if on { "on" } else { "off" }),
            CallOutput::Lamp { name, shows, .. } => self.tell("lamp", &format!("{name} {}", shows.as_str())),
            CallOutput::Keep { name, value } => {
                self.tell("keep", &format!("{name} {}", value.as_deref().unwrap_or("-")));
            }
            CallOutput::Fetch { id, request, .. } => {
                self.tell("fetch", &format!("{} {}", request.method, request.url));
                self.tell_fields(&request);
                let answer = self.hook(&request);
                let wait =
                    if matches!(answer, Err(FetchError::Timeout)) { request.timeout } else { Duration::ZERO };
                self.after(wait, Coming::Fetched(id, answer));
            }
            CallOutput::Mail(id, letter) => {
                self.tell("mail", &format!("{} by {}:{}", letter.to.join(", "), letter.server, letter.port));
                let taken = HttpResponse {
                    status: 250,
                    url: String::new(),
                    media_type: None,
                    headers: Vec::new(),
                    body: Vec::new(),
                };
                self.after(Duration::ZERO, Coming::Fetched(id, Ok(taken)));
            }
            CallOutput::Notify(notice) => {
                self.tell("notify", &format!("{} {}", notice.request.method, notice.request.url));
                self.tell_fields(&notice.request);
            }
            CallOutput::Reply(..) | CallOutput::Script(_) => {}
            CallOutput::Log(line) => self.tell("log", &line),
            CallOutput::Step { step, .. } => {
                let verdict = if step.success { "ok" } else { "failed" };
                self.tell("step", format!("{} {verdict} {}", step.path, step.reason).trim_end());
            }
            CallOutput::Warn(warning) => self.tell("warning", &format!("{} {}", warning.code, warning.path)),
            CallOutput::Over(cdr) => {
                self.tell("over", &format!("{} by {} ({})", cdr.cause, cdr.ended_by.as_str(), cdr.label));
                self.over = Some(cdr.label);
            }
        }
    }

    /// What is in a request, for who wants to know.
    fn tell_fields(&self, request: &HttpRequest) {
        if !self.options.verbose {
            return;
        }
        // What is in a document must not command a terminal.
        let plain = |text: &str| text.replace(char::is_control, "\u{fffd}");
        for (name, value) in &request.headers {
            self.tell("header", &plain(&format!("{name}: {value}")));
        }
        let query = request.url.split_once('?').map_or("", |(_, query)| query);
        let is_form = |body: &&Body| body.media_type == "application/x-www-form-urlencoded";
        let form = request.body.as_ref().filter(is_form).map_or(&[][..], |body| &body.bytes);
        for part in [query.as_bytes(), form] {
            for (name, value) in url::form_urlencoded::parse(part) {
                self.tell("field", &plain(&format!("{name}={value}")));
            }
        }
        if let Some(body) = request.body.as_ref().filter(|body| !is_form(body)) {
            self.tell("body", &plain(&String::from_utf8_lossy(&body.bytes)));
        }
    }

    /// A mailbox as the directory has it, empty, which takes whatever comes.
    fn mailbox(&mut self, action: ActionId, request: MailboxRequest) {
        let reply = match request {
            MailboxRequest::Open { mailbox } => {
                self.tell("mailbox", &format!("open {mailbox}"));
                let entry = self.directory.mailbox(&mailbox);
                entry.map_or(MailboxReply::Unknown, |entry| {
                    MailboxReply::Opened(Box::new(MailboxContents {
                        name: entry.id.clone(),
                        number: entry.number.clone(),
                        pin: entry.pin.clone(),
                        announces_only: entry.announces_only,
                        ..MailboxContents::default()
                    }))
                })
            }
            MailboxRequest::Keep { mailbox, .. } => {
                self.tell("mailbox", &format!("a message for {mailbox}"));
                MailboxReply::Done
            }
            MailboxRequest::Saved { .. }
            | MailboxRequest::Deleted { .. }
            | MailboxRequest::Greeting { .. }
            | MailboxRequest::Pin { .. } => MailboxReply::Done,
        };
        self.after(Duration::ZERO, Coming::Mailbox(action, reply));
    }

    fn line(&mut self, command: &LineCommand) {
        match command {
            LineCommand::Answer { leg } => {
                self.tell("answered", "");
                let supervision = Supervision::Signalled;
                self.after(
                    Duration::ZERO,
                    Coming::Line(LineEvent::Answered { leg: *leg, supervision, codec: CODEC }),
                );
            }
            LineCommand::Release { leg, cause } => {
                if !self.booths.contains(leg) {
                    self.tell("release", &format!("{leg} {cause}"));
                }
                // What was still to come from that leg does not.
                self.pending.retain(|(_, coming)| {
                    !matches!(coming,
                    Coming::Line(LineEvent::Answered { leg: gone, .. } | LineEvent::Released { leg: gone, .. }
                        | LineEvent::Alerting { leg: gone, .. }) if gone == leg)
                });
                self.after(
                    Duration::ZERO,
                    Coming::Line(LineEvent::Released { leg: *leg, cause: *cause, status: None }),
                );
            }
            LineCommand::Refer { leg, to } => {
                self.tell("refer", &to.to_string());
                // The far end does as it is told.
                for reply in [ReferReply::Answered(202), ReferReply::Ended(Some(200))] {
                    self.after(Duration::ZERO, Coming::Line(LineEvent::Referred { leg: *leg, reply }));
                }
            }
            LineCommand::Signal { leg, signal } => {
                if let LegSignal::Refer(other) = **signal {
                    self.tell("refer", &other.to_string());
                    for reply in [ReferReply::Answered(202), ReferReply::Ended(Some(200))] {
                        self.after(Duration::ZERO, Coming::Line(LineEvent::Referred { leg: *leg, reply }));
                    }
                }
            }
            LineCommand::Alert { .. }
            | LineCommand::Place { .. }
            | LineCommand::SendDigits { .. }
            | LineCommand::Flash { .. }
            | LineCommand::Transfer { .. }
            | LineCommand::EndTransfer { .. } => {}
        }
    }

    fn media(&mut self, leg: LegId, command: MediaCommand) {
        match command {
            MediaCommand::Play { play, source, loops } => {
                let (text, length) = match source {
                    PromptSource::Url(url) => (url, PLAYS),
                    PromptSource::Request(request) => (request.url, PLAYS),
                    PromptSource::Speech(speech) => {
                        let count = u32::try_from(speech.text.chars().count()).unwrap_or(u32::MAX);
                        (format!("\"{}\"", speech.text), SPEAKS_PER_CHARACTER.saturating_mul(count))
                    }
                    PromptSource::Silence(length) => {
                        (format!("{} ms of silence", length.as_millis()), length)
                    }
                    PromptSource::Recording(action) => (format!("recording #{action}"), PLAYS),
                    PromptSource::Library(name) => (name, PLAYS),
                    PromptSource::Tone(tone) | PromptSource::ToneOf(_, tone) => {
                        (format!("{tone:?} tone"), PLAYS)
                    }
                    PromptSource::Tones(beeps) => {
                        ("tones".to_owned(), beeps.iter().map(|beep| beep.on + beep.off).sum())
                    }
                    PromptSource::Music => ("music".to_owned(), PLAYS),
                    PromptSource::Words(name, _) => (format!("the words {name}"), PLAYS),
                    PromptSource::Mailbox { mailbox, .. } => (format!("a message for {mailbox}"), PLAYS),
                };
                self.tell("play", &text);
                self.after(Duration::ZERO, Coming::Media(leg, MediaEvent::PlayBegan(play, Some(length))));
                let wait = length.saturating_mul(loops.min(1_000));
                self.after(wait, Coming::Media(leg, MediaEvent::PlayEnded(play, Ok(()))));
            }
            MediaCommand::StopPlay(play) => {
                self.pending.retain(|(_, coming)| {
                    !matches!(coming,
                    Coming::Media(on, MediaEvent::PlayEnded(ended, _)) if *on == leg && *ended == play)
                });
                self.after(Duration::ZERO, Coming::Media(leg, MediaEvent::PlayEnded(play, Ok(()))));
            }
            MediaCommand::Record { spec, .. } => self.tell("record", &spec.tag),
            MediaCommand::Suspend(play, still) => self.suspend(leg, play, still),
            MediaCommand::Listen | MediaCommand::Watch(_) => {}
            MediaCommand::StopRecord(record) => self.stop_record(leg, record),
            MediaCommand::SendDigits { play, digits } => {
                self.tell("send", &digits.to_string());
                self.after(Duration::ZERO, Coming::Media(leg, MediaEvent::PlayEnded(play, Ok(()))));
            }
        }
    }

    /// What plays ends so much later as it stands still.
    fn suspend(&mut self, leg: LegId, play: PlayId, still: bool) {
        if still {
            let now = self.now.instant;
            let is_end = |coming: &Coming| matches!(coming, Coming::Media(on, MediaEvent::PlayEnded(ended, _)) if *on == leg && *ended == play);
            if let Some(at) = self.pending.iter().position(|(_, coming)| is_end(coming)) {
                let (due, _) = self.pending.swap_remove(at);
                self.still.push((leg, play, due.saturating_duration_since(now)));
            }
        } else if let Some(at) = self.still.iter().position(|(on, own, _)| *on == leg && *own == play) {
            let (_, _, left) = self.still.swap_remove(at);
            self.after(left, Coming::Media(leg, MediaEvent::PlayEnded(play, Ok(()))));
        }
    }

    fn stop_record(&mut self, leg: LegId, record: RecordId) {
        let recorded = Recorded {
            length: PLAYS,
            file: Some(format!("recording-{record}.wav")),
            finish: None,
            is_silent: false,
        };
        self.after(Duration::ZERO, Coming::Media(leg, MediaEvent::RecordEnded(record, Ok(recorded))));
    }

    /// The scripted answer to a request.
    fn hook(&self, request: &HttpRequest) -> Result<HttpResponse, FetchError> {
        let bare = request.url.split('?').next().unwrap_or("");
        let found = self.hooks.iter().find(|hook| hook.url == request.url || hook.url == bare);
        let answer = &found.ok_or(FetchError::Unreachable)?.answer;
        let Answer { status, media_type, body } = answer.clone().ok_or(FetchError::Timeout)?;
        Ok(HttpResponse { status, url: request.url.clone(), media_type, headers: Vec::new(), body })
    }
}
