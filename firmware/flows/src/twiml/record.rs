//! `Record`, recordings that run beside other verbs, and what the application is told of them.

use std::rc::Rc;
use std::time::Duration;

use tipring_model::fetch::Method;
use tipring_model::flow::{Action, Moment, Outcome, Record, Recorded, Sides, Upload};
use tipring_model::prompt::{Beep, Prompt, PromptSource};
use tipring_model::{ActionId, LegId};

use super::attributes::Attributes;
use super::flow::{TwimlFlow, failure_code};
use super::names::Name;
use super::params::{Fields, field, mail_time};
use super::script::{Script, Then, Verb, Waiting};
use super::settings::{Address, Callback, Profile};

const SILENCE_SECS: u64 = 5;
const SILENCE_MAX_SECS: u64 = 600;
const LENGTH_SECS: u64 = 3_600;
const LENGTH_MAX_SECS: u64 = 14_400;
/// Longest recording that has no length of its own.
pub(super) const LENGTH_MAX: Duration = Duration::from_secs(LENGTH_MAX_SECS);
/// Recordings that run beside each other in one call.
const RECORDINGS_MAX: usize = 16;

/// A Record under way.
#[derive(Debug)]
pub(super) struct Recorder {
    verb: Verb,
    action: Option<(String, Method)>,
    report: Report,
    /// Where a transcription would go, if one is wanted.
    transcribes: Option<Option<String>>,
    record: Record,
}

/// What the application is told of a recording.
#[derive(Clone, Debug)]
pub(super) struct Report {
    sid: String,
    callback: Option<Callback>,
    source: &'static str,
    track: &'static str,
    channels: &'static str,
    started_unix_ms: i64,
    /// The room that is recorded.
    room: Option<String>,
}

impl Report {
    /// A recording of one channel.
    pub(super) fn new(sid: String, callback: Option<Callback>, source: &'static str, now: Moment) -> Self {
        let started_unix_ms = now.unix_ms;
        Self { sid, callback, source, track: "both", channels: "1", started_unix_ms, room: None }
    }
}

/// A recording that runs beside what the script does.
#[derive(Debug)]
pub(super) struct Background {
    pub(super) action: ActionId,
    pub(super) leg: LegId,
    report: Report,
}

impl Background {
    pub(super) const fn is_of_room(&self) -> bool {
        self.report.room.is_some()
    }
}

/// Which sides of a leg a recording has, by the words of its track and channels.
pub(super) const fn sides(track: &str, is_dual: bool, on_callee: bool) -> Sides {
    let is_inbound = matches!(track.as_bytes(), b"inbound");
    let is_outbound = matches!(track.as_bytes(), b"outbound");
    match (is_inbound, is_outbound, is_dual) {
        (true, _, _) if on_callee => Sides::Played,
        (_, true, _) if on_callee => Sides::Heard,
        (true, _, _) => Sides::Heard,
        (_, true, _) => Sides::Played,
        (false, false, true) => Sides::Apart,
        (false, false, false) => Sides::Both,
    }
}

impl TwimlFlow {
    /// `recordingStatusCallback` and what belongs to it.
    pub(super) fn recording_callback(
        &self,
        script: &Script,
        attributes: &mut Attributes<'_>,
    ) -> Option<Callback> {
        let method = attributes.method("recordingStatusCallbackMethod", Method::Post);
        let known = ["in-progress", "completed", "absent"];
        let events = attributes.words("recordingStatusCallbackEvent", &known, &["completed"]);
        let url = attributes.url("recordingStatusCallback", script.base.as_deref())?;
        Some(Callback { to: Address { url, method }, events })
    }

    pub(super) fn start_record(&mut self, now: Moment, script: &mut Script, verb: Verb) {
        let element = Rc::clone(&verb.element);
        let mut attributes = Attributes::of(&element, Name::Record);
        // By the documents of Pivot, one without an action goes on behind it.
        let falls_back = self.terms.profile != Profile::Pivot;
        let action = self.action_of(script, &mut attributes, falls_back);
        let silence = attributes.number("timeout", SILENCE_SECS, (1, SILENCE_MAX_SECS));
        let finish = attributes.keys("finishOnKey", "1234567890*#");
        let length = match attributes.text("maxLength").map(str::trim) {
            Some("0") => LENGTH_SECS,
            _ => attributes.number("maxLength", LENGTH_SECS, (1, LENGTH_MAX_SECS)),
        };
        let beeps = if attributes.text("playBeep").is_some() { "playBeep" } else { "beep" };
        let beeps = attributes.toggle(beeps, true);
        if attributes.choice("trim", &["trim-silence", "do-not-trim"]) == Some("do-not-trim") {
            attributes.note("trim", "TR-FLOW-NO-EFFECT");
        }
        let callback = self.recording_callback(script, &mut attributes);
        let transcription = attributes.url("transcribeCallback", script.base.as_deref());
        let transcribes = attributes.toggle("transcribe", transcription.is_some());
        if transcribes {
            let key =
                if attributes.text("transcribe").is_some() { "transcribe" } else { "transcribeCallback" };
            attributes.note(key, "TR-FLOW-NO-RECOGNISER");
        }
        let storage = attributes.choice("storageUrlMethod", &["PUT", "POST"]);
        let upload = attributes.url("storageUrl", script.base.as_deref()).map(|url| Upload {
            method: if storage == Some("POST") { Method::Post } else { Method::Put },
            url: url.split_once('#').map_or(url.as_str(), |(url, _)| url).to_owned(),
            headers: Vec::new(),
        });
        self.warn_all(attributes, &verb.path);
        let sid = self.next_sid("RE");
        let record = Record {
            finish,
            silence_max: Some(Duration::from_secs(silence)),
            upload,
            ..Record::new(sid.clone(), Sides::Heard, Duration::from_secs(length))
        };
        let report = Report { track: "inbound", ..Report::new(sid, callback, "RecordVerb", now) };
        let transcribes = transcribes.then_some(transcription);
        let recorder = Box::new(Recorder { verb: verb.clone(), action, report, transcribes, record });
        let tone =
            beeps.then(|| Action::Prompt(Prompt::once(PromptSource::Tones(vec![Beep::of_recorder()]))));
        self.row(now, script, verb, tone, Then::Record(recorder));
    }

    pub(super) fn begin_recording(&mut self, now: Moment, script: &mut Script, mut recorder: Box<Recorder>) {
        recorder.report.started_unix_ms = now.unix_ms;
        let action = self.act(script.leg, Action::Record(recorder.record.clone()));
        self.report_recording(&recorder.report, script.leg, "in-progress", None);
        script.waiting = Waiting::Record { action, recorder, began: now.instant };
    }

    pub(super) fn after_record(
        &mut self,
        now: Moment,
        script: &mut Script,
        recorder: Recorder,
        outcome: &Outcome,
    ) {
        let recorded = self.keep_recording(&recorder.report, script.leg, outcome);
        self.report_transcription(&recorder, recorded.as_ref());
        let Outcome::Recorded(facts) = outcome else {
            return self.fail(script, &recorder.verb, failure_code(outcome));
        };
        let key = facts.finish.map(|key| key.to_string()).unwrap_or_default();
        let Some(mut fields) = recorded.or_else(|| {
            let silent =
                || vec![field("RecordingSid", recorder.report.sid.clone()), field("RecordingDuration", "0")];
            self.terms.profile.reports_silence().then(silent)
        }) else {
            return self.succeed(script, &recorder.verb, "silence");
        };
        fields.push(field("Digits", key));
        match recorder.action {
            Some(to) => self.hand_over(now, script, recorder.verb, to, fields),
            None => self.succeed(script, &recorder.verb, ""),
        }
    }

    /// The caller hung up while he was recorded: the application is told what there is.
    pub(super) fn recorded_after_hang_up(&mut self, _now: Moment, recorder: &Recorder, outcome: &Outcome) {
        let recorded = self.keep_recording(&recorder.report, self.leg, outcome);
        self.report_transcription(recorder, recorded.as_ref());
        self.step(&recorder.verb, true, "hangup");
        let action = recorder.action.as_ref().filter(|(url, _)| !url.is_empty());
        if let (Some(mut fields), Some((url, method))) = (recorded, action) {
            fields.push(field("Digits", "hangup"));
            let mut all = self.standard(self.leg);
            all.extend(fields);
            self.tell("twiml.action", (url, *method), all, false);
        }
    }

    /// Name, address and length of what was recorded, unless nobody spoke; the application is
    /// told either.
    fn keep_recording(&mut self, report: &Report, leg: LegId, outcome: &Outcome) -> Option<Fields> {
        let recorded = if let Outcome::Recorded(recorded) = outcome { Some(recorded) } else { None };
        let kept = recorded.filter(|recorded| !recorded.is_silent);
        let fields = kept.and_then(|recorded| self.recording_fields(&report.sid, recorded));
        let status = match (&fields, recorded) {
            (Some(_), _) => "completed",
            (None, Some(_)) => "absent",
            (None, None) => "failed",
        };
        self.report_recording(report, leg, status, fields.as_ref());
        if fields.is_some() {
            self.recorded.clone_from(&fields);
        }
        fields
    }

    fn recording_fields(&self, sid: &str, recorded: &Recorded) -> Option<Fields> {
        let file = recorded.file.as_ref()?;
        Some(vec![
            field("RecordingUrl", self.directory.recordings.of_any_ending(file)),
            field("RecordingSid", sid),
            field("RecordingDuration", recorded.length.as_secs().to_string()),
        ])
    }

    fn report_recording(&mut self, report: &Report, leg: LegId, status: &str, recorded: Option<&Fields>) {
        let Some(callback) = &report.callback else { return };
        // Whoever waits for the end of a recording wants to know that there will be none.
        let event = if status == "failed" { "completed" } else { status };
        if !callback.wants(event) {
            return;
        }
        let mut fields = vec![
            field("AccountSid", self.terms.account_sid.clone()),
            field("CallSid", self.sid_of(leg)),
            field("RecordingSid", report.sid.clone()),
            field("RecordingStatus", status),
            field("RecordingChannels", report.channels),
            field("RecordingStartTime", mail_time(report.started_unix_ms)),
            field("RecordingSource", report.source),
            field("RecordingTrack", report.track),
        ];
        fields.extend(report.room.as_ref().map(|room| field("ConferenceSid", room)));
        let more = recorded.into_iter().flatten().filter(|(name, _)| name != "RecordingSid");
        fields.extend(more.cloned());
        let to = callback.to.clone();
        self.tell("twiml.recording", (&to.url, to.method), fields, status != "in-progress");
    }

    /// There is nobody on the box who could write down what was said, and the application is told.
    fn report_transcription(&mut self, recorder: &Recorder, recorded: Option<&Fields>) {
        let Some(Some(url)) = &recorder.transcribes else { return };
        let standard = self.standard(self.leg);
        let of_call = standard.into_iter().filter(|(name, _)| {
            ["CallSid", "AccountSid", "From", "To", "ApiVersion"].contains(&name.as_str())
        });
        let mut fields: Fields = of_call.collect();
        fields.push(field("TranscriptionSid", super::params::sid("TR", &[&recorder.report.sid])));
        fields.push(field("TranscriptionText", ""));
        fields.push(field("TranscriptionStatus", "failed"));
        fields.push(field("RecordingSid", recorder.report.sid.clone()));
        fields.extend(recorded.into_iter().flatten().filter(|(name, _)| name == "RecordingUrl").cloned());
        let url = url.clone();
        self.tell("twiml.transcription", (&url, Method::Post), fields, true);
    }

    // --- Beside other verbs.

    /// Begins a recording of `leg` that runs beside the script; none where there are too many.
    pub(super) fn record_beside(
        &mut self,
        leg: LegId,
        sides: Sides,
        mut report: Report,
        path: &str,
    ) -> Option<ActionId> {
        if self.recordings.len() >= RECORDINGS_MAX {
            self.warn("TR-FLOW-LIMIT", path);
            return None;
        }
        report.channels = if sides == Sides::Apart { "2" } else { "1" };
        let action = self.act(leg, Action::Record(Record::new(report.sid.clone(), sides, LENGTH_MAX)));
        self.report_recording(&report, self.leg, "in-progress", None);
        self.recordings.push(Background { action, leg, report });
        Some(action)
    }

    /// A recording that runs beside a script is over; false if it is none.
    pub(super) fn recording_ended(&mut self, now: Moment, id: ActionId, outcome: &Outcome) -> bool {
        let Some(at) = self.recordings.iter().position(|recording| recording.action == id) else {
            return false;
        };
        let recording = self.recordings.remove(at);
        if let Outcome::Failed(failure) = outcome {
            self.warn(failure.code(), "Recording");
        }
        let fields = self.keep_recording(&recording.report, self.leg, outcome);
        self.dial_recorded(now, id, fields);
        true
    }

    pub(super) fn start_recording(
        &mut self,
        now: Moment,
        script: &Script,
        element: &crate::xml::Element,
        path: &str,
    ) {
        let mut attributes = Attributes::of(element, Name::Recording);
        let callback = self.recording_callback(script, &mut attributes);
        let track = attributes.choice("track", &["both", "inbound", "outbound"]).unwrap_or("both");
        let is_dual = attributes.choice("channels", &["mono", "dual"]) == Some("dual");
        if attributes.choice("trim", &["trim-silence", "do-not-trim"]) == Some("trim-silence") {
            attributes.note("trim", "TR-FLOW-NO-EFFECT");
        }
        self.warn_all(attributes, path);
        let sid = self.next_sid("RE");
        let report = Report { track, ..Report::new(sid, callback, "StartCallRecordingTwiML", now) };
        self.record_beside(script.leg, sides(track, is_dual, false), report, path);
    }
}

impl Report {
    /// The same of these tracks.
    pub(super) const fn of_track(mut self, track: &'static str) -> Self {
        self.track = track;
        self
    }

    /// The same of a room.
    pub(super) fn of_room(mut self, room: String) -> Self {
        self.room = Some(room);
        self
    }
}
