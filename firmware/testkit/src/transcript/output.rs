//! Lines that begin with `<`.

use std::fmt::Write as _;

use tipring_model::fetch::HttpRequest;
use tipring_model::flow::{Action, CollectEnd, DialOrder, FlowOutput, Outcome, Record, Sides, Target};
use tipring_model::prompt::{CallTone, Gender, Prompt, PromptSource};
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
        FlowOutput::Fetch { id, request, .. } => {
            let timeout = request.timeout.as_millis();
            let redirects = match request.redirects_max {
                REDIRECTS_DEFAULT => String::new(),
                other => format!(" redirects={other}"),
            };
            let _ = writeln!(
                text,
                "< fetch {id} {} {} timeout={timeout}ms{redirects}",
                request.method, request.url
            );
            request_lines(text, request);
            Ok(())
        }
        FlowOutput::Reply(id, reply) => {
            let body = String::from_utf8_lossy(&reply.body);
            writeln!(
                text,
                "< {}",
                format!("reply {id} {} {} {body}", reply.status, reply.media_type).trim_end()
            )
        }
        FlowOutput::Notify(notice) => {
            let _ =
                writeln!(text, "< notify {} {} {}", notice.topic, notice.request.method, notice.request.url);
            request_lines(text, &notice.request);
            Ok(())
        }
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
                let _ = write!(text, " {}", target_text(target));
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
            text
        }
        Action::Place(place) => format!(
            "place {} from={} ring={}ms",
            target_text(&place.target),
            place.caller_id.number_or_anonymous(),
            place.ring_max.as_millis()
        ),
        Action::Bridge(leg) => format!("bridge {leg}"),
        Action::SendDigits(digits) => format!("digits {digits}"),
        Action::Pause(pause) => {
            let mut text = format!("pause {}ms", pause.length.as_millis());
            keys(&mut text, "finish", pause.finish);
            text
        }
        Action::Release(cause) => format!("release {cause}"),
    }
}

fn keys(text: &mut String, name: &str, keys: DigitSet) {
    if keys == DigitSet::ALL {
        let _ = write!(text, " {name}=ALL");
    } else if !keys.is_empty() {
        let _ = write!(text, " {name}={keys}");
    }
}

fn prompt_text(prompt: &Prompt) -> String {
    let mut text = match &prompt.source {
        PromptSource::Url(url) => format!("url:{url}"),
        PromptSource::Speech(speech) => {
            let male = if speech.gender == Gender::Male { " male" } else { "" };
            let voice = speech.voice.as_ref().map_or(String::new(), |voice| format!(" voice={voice}"));
            format!("say:\"{}\" lang={}{male}{voice}", speech.text, speech.language)
        }
        PromptSource::Recording(action) => format!("recording:#{action}"),
        PromptSource::Library(name) => format!("library:{name}"),
        PromptSource::Silence(length) => format!("silence:{}ms", length.as_millis()),
        PromptSource::Tone(tone) => format!("tone:{}", tone_name(*tone)),
    };
    if prompt.loops != 1 {
        let _ = write!(text, " loops={}", prompt.loops);
    }
    keys(&mut text, "barge", prompt.barge_in);
    text
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
        Sides::Both => "both",
    };
    let mut text = format!("tag={} sides={sides} max={}ms", record.tag, record.length_max.as_millis());
    keys(&mut text, "finish", record.finish);
    text
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Number(number) => format!("number:{number}"),
        Target::Sip(address) => format!("sip:{address}"),
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
            format!("recorded {}ms {file}{finish}", recorded.length.as_millis())
        }
        Outcome::Dialed(dialed) => {
            let answered = dialed.answered.map_or(String::new(), |at| format!(" answered={at}"));
            format!("dialed{answered} cause={} talked={}ms", dialed.cause, dialed.talked.as_millis())
        }
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::LegGone => "leg-gone".to_owned(),
        Outcome::Failed(failure) => format!("failed {}", failure.code()),
    }
}
