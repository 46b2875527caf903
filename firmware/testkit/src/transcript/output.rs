//! Lines that begin with `<`.

use std::fmt::Write as _;

use tipring_model::fetch::{HttpRequest, Method};
use tipring_model::flow::{
    Action, CollectEnd, Conference, Detected, DialOrder, DialTarget, FlowOutput, LeftBy, MailboxEnd,
    MailboxPurpose, Outcome, Page, QueueEnd, Record, Referred, Ringback, Sides, StreamEnd, Target,
};
use tipring_model::line::ByTrunk;
use tipring_model::prompt::{CallTone, Gender, Prompt, PromptSource};
use tipring_model::signal::{LegSignal, RemarkKind, Takes};
use tipring_model::{DigitSet, LegId};

const REDIRECTS_DEFAULT: u8 = 5;

/// Appends the lines of one output. `first` is the leg that is not named.
pub fn write_output(text: &mut String, output: &FlowOutput, first: LegId) {
    // Writing to a String cannot fail.
    let _ = match output {
        FlowOutput::Start { id, on, action } => {
            let on = on.filter(|leg| *leg != first).map_or(String::new(), |leg| format!(" on={leg}"));
            writeln!(text, "< #{id} {}{on}", action_text(action))
        }
        FlowOutput::Cancel(id) => writeln!(text, "< cancel {id}"),
        FlowOutput::Suspend(id, true) => writeln!(text, "< stand-still {id}"),
        FlowOutput::Suspend(id, false) => writeln!(text, "< go-on {id}"),
        FlowOutput::Fetch { id, request, .. } => {
            let timeout = request.timeout.as_millis();
            let total =
                request.total.map_or(String::new(), |total| format!(" total={}ms", total.as_millis()));
            let redirects = match request.redirects_max {
                REDIRECTS_DEFAULT => String::new(),
                other => format!(" redirects={other}"),
            };
            let connect =
                request.connect.map_or(String::new(), |wait| format!(" connect={}ms", wait.as_millis()));
            let moves = if request.moves_fields && request.body.is_some() { " moves-fields" } else { "" };
            let _ = writeln!(
                text,
                "< fetch {id} {} {} timeout={timeout}ms{total}{connect}{redirects}{moves}",
                request.method, request.url
            );
            request_lines(text, request);
            Ok(())
        }
        FlowOutput::Mail(id, letter) => {
            let (server, port) = (&letter.server, letter.port);
            let login = letter.login.as_ref().map_or(String::new(), |(user, _)| format!(" login={user}"));
            let also = |name: &str, to: &[String]| {
                if to.is_empty() { String::new() } else { format!(" {name}={}", to.join(",")) }
            };
            let html = letter.html.as_ref().map_or(String::new(), |html| format!(" html=\"{html}\""));
            writeln!(
                text,
                "< mail #{id} {server}:{port}{login} from={} to={}{}{} \"{}\" \"{}\"{html}",
                letter.from,
                letter.to.join(","),
                also("cc", &letter.cc),
                also("bcc", &letter.bcc),
                letter.subject,
                letter.text,
            )
        }
        FlowOutput::Reply(id, reply) => {
            let body = String::from_utf8_lossy(&reply.body);
            writeln!(
                text,
                "< {}",
                format!("reply {id} {} {} {body}", reply.status, reply.media_type).trim_end()
            )
        }
        FlowOutput::Script(message) => writeln!(text, "< script {}", String::from_utf8_lossy(message)),
        FlowOutput::Log(line) => writeln!(text, "< log {line}"),
        FlowOutput::Notify(notice) => {
            let _ =
                writeln!(text, "< notify {} {} {}", notice.topic, notice.request.method, notice.request.url);
            request_lines(text, &notice.request);
            Ok(())
        }
        FlowOutput::Lamp { name, shows, stays } => {
            writeln!(text, "< lamp {name} {}{}", shows.as_str(), if *stays { " stays" } else { "" })
        }
        FlowOutput::Keep { name, value: Some(value) } => writeln!(text, "< keep {name} {value}"),
        FlowOutput::Keep { name, value: None } => writeln!(text, "< forget {name}"),
        FlowOutput::Step(step) => {
            let verdict = if step.success { "ok" } else { "failed" };
            let tag = step.tag.as_ref().map_or(String::new(), |tag| format!(" tag={tag}"));
            let reason = if step.reason.is_empty() { String::new() } else { format!(" {}", step.reason) };
            writeln!(text, "< step {verdict} {}{tag}{reason}", step.path)
        }
        FlowOutput::Warn(warning) => writeln!(text, "< warn {} {}", warning.code, warning.path),
        FlowOutput::End { cause, label } => writeln!(text, "< end {cause} {label}"),
    };
}

fn request_lines(text: &mut String, request: &HttpRequest) {
    for (name, value) in &request.headers {
        let _ = writeln!(text, "{}", format!("<   header {name}: {value}").trim_end());
    }
    if let Some(body) = &request.body {
        let _ = writeln!(text, "<   body {} {}", body.media_type, String::from_utf8_lossy(&body.bytes));
    }
}

fn action_text(action: &Action) -> String {
    match action {
        Action::Answer => "answer".to_owned(),
        Action::Reject(cause) => format!("reject {cause}"),
        Action::Prompt(prompt) => format!("prompt {}", prompt_text(prompt)),
        Action::Collect(collect) => {
            let mut text = format!("collect max={}", collect.digits_max);
            keys(&mut text, "finish", collect.finish);
            for (key, time) in [
                ("first", collect.first_digit),
                ("between", collect.between_digits),
                ("total", collect.total),
            ] {
                if let Some(time) = time {
                    let _ = write!(text, " {key}={}ms", time.as_millis());
                }
            }
            if collect.typed_ahead {
                text.push_str(" ahead");
            }
            if !collect.prompts.is_empty() {
                let prompts: Vec<String> = collect.prompts.iter().map(prompt_text).collect();
                let _ = write!(text, " prompts: {}", prompts.join("; "));
            }
            text
        }
        Action::Record(record) => format!("record {}", record_text(record)),
        Action::Dial(dial) => {
            let mut text = "dial".to_owned();
            for target in &dial.targets {
                let _ = write!(text, " {}", dial_target_text(target));
            }
            let order = match dial.order {
                DialOrder::AllAtOnce => "all",
                DialOrder::InOrder => "turn",
            };
            let _ = write!(text, " order={order} ring={}ms", dial.ring_max.as_millis());
            if let Some(caller) = &dial.caller_id {
                let _ = write!(text, " from={}", caller.number_or_anonymous());
            }
            if dial.early_media {
                text.push_str(" early");
            }
            if let Some(record) = &dial.record {
                let _ = write!(text, " record={}", record.tag);
            }
            if let Some(round_max) = dial.round_max {
                let _ = write!(text, " round={}ms", round_max.as_millis());
            }
            if dial.rounds != 1 {
                let _ = write!(text, " rounds={}", dial.rounds);
            }
            match &dial.ringback {
                Ringback::Tone => {}
                Ringback::ToneOf(country) => text.push_str(&format!(" ringback={country}")),
                Ringback::Prompt(source) => text.push_str(&format!(" ringback={}", source_text(source))),
                Ringback::Silence => text.push_str(" ringback=silence"),
            }
            if let Some(talk_max) = dial.talk_max {
                let _ = write!(text, " talk={}ms", talk_max.as_millis());
            }
            keys(&mut text, "hang-up", dial.hang_up);
            for (is_set, word) in [
                (dial.stops_at_refusal, " one-refusal"),
                (dial.reports, " reports"),
                (dial.takes_refer, " takes-refer"),
            ] {
                if is_set {
                    text.push_str(word);
                }
            }
            text
        }
        Action::Accept => "accept".to_owned(),
        Action::Conference(conference) => conference_text(conference),
        Action::Enqueue(enqueue) => {
            let places = enqueue
                .places
                .map_or(String::new(), |places| format!(" places={}-{}", places.first, places.last));
            format!("enqueue {} max={}{places}", enqueue.queue, enqueue.waiting_max)
        }
        Action::PickUp(wanted) => {
            let answered = if wanted.answered { " answered" } else { "" };
            format!("pick-up at={}{answered}", wanted.at.join(","))
        }
        Action::Page(page) => page_text(page),
        Action::Mailbox(mailbox) => {
            let purpose = match mailbox.purpose {
                MailboxPurpose::Leave => "leave",
                MailboxPurpose::Listen => "listen",
            };
            let owner = if mailbox.is_owner { " owner" } else { "" };
            format!(
                "mailbox {purpose} {} max={}ms between={}ms lang={}{owner}",
                mailbox.mailbox.as_deref().unwrap_or("?"),
                mailbox.length_max.as_millis(),
                mailbox.between_digits.as_millis(),
                mailbox.language
            )
        }
        Action::Stream(stream) => {
            let mut text = format!("stream {} name={} id={}", stream.url, stream.name, stream.id);
            let hears =
                [(stream.hears.0, " hears-in"), (stream.hears.1, " hears-out"), (stream.speaks, " speaks")];
            for (is_set, word) in hears {
                if is_set {
                    text.push_str(word);
                }
            }
            for (name, value) in &stream.parameters {
                let _ = write!(text, " {name}={value}");
            }
            text
        }
        Action::Echo(length) => format!("echo {}ms", length.as_millis()),
        Action::Detect(detect) => {
            let fax = if detect.fax { " fax" } else { "" };
            let voice = if detect.voice { " voice" } else { "" };
            format!("detect {}ms{fax}{voice}", detect.length_max.as_millis())
        }
        Action::Watch(silence) => format!("watch {}ms", silence.as_millis()),
        Action::Refer(target) => format!("refer {}", target_text(target)),
        Action::Place(place) => {
            let mut text = format!(
                "place {} from={} ring={}ms",
                target_text(&place.target),
                place.caller_id.number_or_anonymous(),
                place.ring_max.as_millis()
            );
            if let Some(name) = &place.caller_id.name {
                let _ = write!(text, " name={name}");
            }
            for (name, value) in &place.extras.headers {
                let _ = write!(text, " {name}={value}");
            }
            match &place.extras.by_trunk {
                Some(ByTrunk::Proxy(proxy)) => text.push_str(&format!(" proxy={proxy}")),
                Some(ByTrunk::Name(name)) => text.push_str(&format!(" over={name}")),
                None => {}
            }
            if let Some((user, _)) = &place.extras.credentials {
                let _ = write!(text, " user={user}");
            }
            text
        }
        Action::Bridge(leg) => format!("bridge {leg}"),
        Action::Hear(hear) => format!("hear {}{}", hear.from, if hear.keys { " keys" } else { "" }),
        Action::Booth(booth) => format!("booth{}", if booth.wide { " wide" } else { "" }),
        Action::Mix(from) => {
            let from: Vec<String> = from.iter().map(LegId::to_string).collect();
            format!("mix {}", from.join(",")).trim_end().to_owned()
        }
        Action::EarlyMedia => "early-media".to_owned(),
        Action::Signal(signal) => signal_text(signal),
        Action::SendDigits(digits) => format!("digits {digits}"),
        Action::Pause(pause) => {
            let mut text = format!("pause {}ms", pause.length.as_millis());
            keys(&mut text, "finish", pause.finish);
            text
        }
        Action::Release(cause) => format!("release {cause}"),
    }
}

fn signal_text(signal: &LegSignal) -> String {
    match signal {
        LegSignal::Extras(extras) => {
            let mut text = "says".to_owned();
            for (name, value) in &extras.headers {
                let _ = write!(text, " {name}={value}");
            }
            if let Some(name) = &extras.display_name {
                let _ = write!(text, " name={name}");
            }
            if let Some(status) = extras.status {
                let _ = write!(text, " status={status}");
            }
            text
        }
        LegSignal::Ringing => "ringing".to_owned(),
        LegSignal::Takes(Takes { remarks, referrals }) => {
            let mut text = "takes".to_owned();
            for (is_set, word) in [(*remarks, " remarks"), (*referrals, " referrals")] {
                if is_set {
                    text.push_str(word);
                }
            }
            text
        }
        LegSignal::Remark(remark) => {
            let kind = match remark.kind {
                RemarkKind::Info => "info",
                RemarkKind::Message => "message",
            };
            let mut text = format!("{kind} {}", remark.media_type);
            for (name, value) in &remark.headers {
                let _ = write!(text, " {name}={value}");
            }
            let _ = write!(text, ": {}", String::from_utf8_lossy(&remark.body));
            text
        }
        LegSignal::Refer(other) => format!("refer-to-leg {other}"),
        LegSignal::AnswerReferral(status) => format!("referral {status}"),
    }
}

fn page_text(page: &Page) -> String {
    let mut text = "page".to_owned();
    for target in &page.targets {
        let _ = write!(text, " {}", dial_target_text(target));
    }
    let (ring, length) = (page.ring_max.as_millis(), page.length_max.as_millis());
    let _ = write!(text, " ring={ring}ms max={length}ms");
    if let Some(caller) = &page.caller_id {
        let _ = write!(text, " from={}", caller.number_or_anonymous());
    }
    if page.two_way {
        text.push_str(" both-ways");
    }
    text
}

fn conference_text(conference: &Conference) -> String {
    let mut text = format!("conference \"{}\" max={}", conference.room, conference.members_max);
    if !conference.name.is_empty() {
        let _ = write!(text, " name={}", conference.name);
    }
    for (is_set, word) in [
        (conference.muted, " muted"),
        (conference.deaf, " deaf"),
        (conference.begins, " begins"),
        (conference.ends, " ends"),
        (conference.tone_in, " tone-in"),
        (conference.tone_out, " tone-out"),
    ] {
        if is_set {
            text.push_str(word);
        }
    }
    if let Some(wait) = &conference.wait {
        let _ = write!(text, " wait={}", source_text(wait));
    }
    keys(&mut text, "leave", conference.leave);
    if let Some(name) = &conference.coaches {
        let _ = write!(text, " coaches={name}");
    }
    if conference.records {
        text.push_str(" records");
    }
    text
}

fn dial_target_text(target: &DialTarget) -> String {
    let mut text = target_text(&target.target);
    let mut extra = Vec::new();
    if !target.delay.is_zero() {
        extra.push(format!("delay={}ms", target.delay.as_millis()));
    }
    if let Some(ring_max) = target.ring_max {
        extra.push(format!("ring={}ms", ring_max.as_millis()));
    }
    extra.extend(target.headers.iter().map(|(name, value)| format!("{name}={value}")));
    if let Some((user, _)) = &target.credentials {
        extra.push(format!("user={user}"));
    }
    if target.held {
        extra.push("held".to_owned());
    }
    if target.auto_answer {
        extra.push("auto".to_owned());
    }
    if !extra.is_empty() {
        let _ = write!(text, "({})", extra.join(","));
    }
    text
}

fn keys(text: &mut String, name: &str, keys: DigitSet) {
    if keys == DigitSet::ALL {
        let _ = write!(text, " {name}=ALL");
    } else if !keys.is_empty() {
        let _ = write!(text, " {name}={keys}");
    }
}

fn prompt_text(prompt: &Prompt) -> String {
    let mut text = source_text(&prompt.source);
    if prompt.loops != 1 {
        let _ = write!(text, " loops={}", prompt.loops);
    }
    keys(&mut text, "barge", prompt.barge_in);
    text
}

/// As a plain address where it is no more.
fn sound_request(request: &HttpRequest) -> String {
    let mut text = format!("url:{}", request.url);
    if request.method != Method::Get {
        let _ = write!(text, " {}", request.method);
    }
    for (name, value) in &request.headers {
        let _ = write!(text, " {name}={value}");
    }
    if let Some(body) = &request.body {
        let _ = write!(text, " body:{}:\"{}\"", body.media_type, String::from_utf8_lossy(&body.bytes));
    }
    text
}

fn source_text(source: &PromptSource) -> String {
    match source {
        PromptSource::Url(url) => format!("url:{url}"),
        PromptSource::Request(request) => sound_request(request),
        PromptSource::Speech(speech) => {
            let male = if speech.gender == Gender::Male { " male" } else { "" };
            let voice = speech.voice.as_ref().map_or(String::new(), |voice| format!(" voice={voice}"));
            let kind = if speech.is_ssml { "ssml" } else { "say" };
            format!("{kind}:\"{}\" lang={}{male}{voice}", speech.text, speech.language)
        }
        PromptSource::Recording(action) => format!("recording:#{action}"),
        PromptSource::Library(name) => format!("library:{name}"),
        PromptSource::Silence(length) => format!("silence:{}ms", length.as_millis()),
        PromptSource::Tone(tone) => format!("tone:{}", tone_name(*tone)),
        PromptSource::ToneOf(country, tone) => format!("tone:{}:{country}", tone_name(*tone)),
        PromptSource::Tones(beeps) => {
            let beeps: Vec<String> = beeps
                .iter()
                .map(|beep| {
                    let hz: Vec<String> = beep.hz.iter().map(u16::to_string).collect();
                    format!("{}/{}/{}", hz.join("+"), beep.on.as_millis(), beep.off.as_millis())
                })
                .collect();
            format!("beeps:{}", beeps.join(","))
        }
        PromptSource::Music => "music".to_owned(),
        PromptSource::Words(name, language) => format!("words:{name} lang={language}"),
        PromptSource::Mailbox { mailbox, file } => format!("mailbox:{mailbox}/{file}"),
    }
}

const fn tone_name(tone: CallTone) -> &'static str {
    match tone {
        CallTone::Dial => "dial",
        CallTone::Ringback => "ringback",
        CallTone::Busy => "busy",
        CallTone::Congestion => "congestion",
    }
}

fn record_text(record: &Record) -> String {
    let sides = match record.sides {
        Sides::Heard => "heard",
        Sides::Played => "played",
        Sides::Both => "both",
        Sides::Apart => "apart",
    };
    let mut text = format!("tag={} sides={sides} max={}ms", record.tag, record.length_max.as_millis());
    keys(&mut text, "finish", record.finish);
    if let Some(silence) = record.silence_max {
        let _ = write!(text, " silence={}ms", silence.as_millis());
    }
    if !record.length_min.is_zero() {
        let _ = write!(text, " min={}ms", record.length_min.as_millis());
    }
    if let Some(upload) = &record.upload {
        let _ = write!(text, " upload={}:{}", upload.method, upload.url);
    }
    text
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Number(number) => format!("number:{number}"),
        Target::Trunk { .. } => format!("out:{target}"),
        Target::Sip(address) => format!("sip:{address}"),
        Target::Session(_) => target.to_string(),
        Target::Queue { announce, .. } => {
            let announce =
                announce.as_ref().map_or(String::new(), |told| format!("({} {})", told.method, told.url));
            format!("{target}{announce}")
        }
    }
}

/// The words of an outcome, as `> ended` lines write it.
#[must_use]
pub fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Interrupted(key) => format!("interrupted {key}"),
        Outcome::Collected(collected) => {
            let digits =
                if collected.digits.is_empty() { "-".to_owned() } else { collected.digits.to_string() };
            let by = match collected.by {
                CollectEnd::Full => "full".to_owned(),
                CollectEnd::Finish(key) => format!("finish={key}"),
                CollectEnd::Timeout => "timeout".to_owned(),
            };
            format!("collected {digits} {by}")
        }
        Outcome::Recorded(recorded) => {
            let file = recorded.file.as_ref().map_or("nofile".to_owned(), |file| format!("file={file}"));
            let finish = recorded.finish.map_or(String::new(), |key| format!(" finish={key}"));
            let silent = if recorded.is_silent { " silent" } else { "" };
            format!("recorded {}ms {file}{finish}{silent}", recorded.length.as_millis())
        }
        Outcome::Dialed(dialed) => {
            let answered = dialed.answered.map_or(String::new(), |at| format!(" answered={at}"));
            format!("dialed{answered} cause={} talked={}ms", dialed.cause, dialed.talked.as_millis())
        }
        Outcome::Left(left) => match left.by {
            LeftBy::Key(key) => format!("left key={key} stayed={}ms", left.stayed.as_millis()),
            LeftBy::RoomEnded => format!("left ended stayed={}ms", left.stayed.as_millis()),
            LeftBy::Full => "left full".to_owned(),
        },
        Outcome::Queued(queued) => match queued.end {
            QueueEnd::Full => "queued full".to_owned(),
            QueueEnd::Talked => {
                format!(
                    "queued talked={}ms waited={}ms",
                    queued.talked.as_millis(),
                    queued.waited.as_millis()
                )
            }
        },
        Outcome::Mailbox(end) => format!("mailbox {}", mailbox_end(*end)),
        Outcome::Streamed(StreamEnd::Closed) => "streamed closed".to_owned(),
        Outcome::Streamed(StreamEnd::Failed(failure)) => format!("streamed failed {}", failure.code()),
        Outcome::Detected(heard) => format!("detected {}", detected(*heard)),
        Outcome::Referred(Referred { response, call: Some(call) }) => format!("referred {response} {call}"),
        Outcome::Referred(Referred { response, call: None }) => format!("referred {response}"),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::LegGone => "leg-gone".to_owned(),
        Outcome::Failed(failure) => format!("failed {}", failure.code()),
    }
}

const fn mailbox_end(end: MailboxEnd) -> &'static str {
    match end {
        MailboxEnd::Left => "left",
        MailboxEnd::NotLeft => "not-left",
        MailboxEnd::Full => "full",
        MailboxEnd::AnnouncementOnly => "announcement-only",
        MailboxEnd::Operator => "operator",
        MailboxEnd::Listened => "listened",
        MailboxEnd::Refused => "refused",
        MailboxEnd::Unknown => "unknown",
    }
}

const fn detected(heard: Detected) -> &'static str {
    match heard {
        Detected::Fax => "fax",
        Detected::Voice => "voice",
        Detected::Machine => "machine",
        Detected::Nothing => "nothing",
    }
}
