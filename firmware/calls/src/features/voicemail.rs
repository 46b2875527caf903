//! Voice mail: a caller leaves a message, an owner listens to his.

use std::collections::VecDeque;
use std::time::Duration;

use tipring_model::flow::{
    Action, Collect, Collected, Mailbox, MailboxEnd, MailboxPurpose, Outcome, Record, Recorded, Sides,
};
use tipring_model::prompt::{Beep, Gender, Prompt, PromptSource, Speech};
use tipring_model::{ActionId, CallerId, Digit, DigitSet, Digits};

use super::mailbox::{MailboxContents, MailboxReply, MailboxRequest, Message};
use super::{Feature, FeatureInput, FeatureOutput, Ids};

/// What is shorter is no message.
const MESSAGE_MIN: Duration = Duration::from_millis(500);
/// Silence that ends a message: a line that tells nobody that the caller is gone.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Longest greeting.
const GREETING_MAX: Duration = Duration::from_secs(120);
/// Wait for a key after a question.
const ANSWER_MAX: Duration = Duration::from_secs(6);
/// Wrong answers to one question before the mailbox is closed.
const TRIES: u32 = 3;
/// Longest number of a mailbox, and longest PIN, in digits.
const NUMBER_DIGITS_MAX: usize = 15;
const PIN_DIGITS_MAX: usize = 6;

/// A mailbox while somebody is in it.
pub(crate) struct VoiceMail {
    spec: Mailbox,
    from: CallerId,
    ids: Ids,
    state: State,
    contents: MailboxContents,
    /// The recording that may become a message or a greeting.
    draft: Option<(ActionId, Recorded)>,
    /// Wrong answers to the question that is being asked.
    tries: u32,
    /// How it ends once what has to be put away is put away.
    stopping: Option<Outcome>,
    outputs: VecDeque<FeatureOutput>,
}

/// What is awaited.
enum State {
    /// The contents, to leave a message or to listen.
    Opening(MailboxPurpose),
    /// A key while the greeting is heard.
    Greeting,
    /// The tone before the recording, then the recording itself; true for a greeting.
    Beeping {
        is_greeting: bool,
    },
    Recording {
        action: ActionId,
        is_greeting: bool,
    },
    /// Whether the recording is good; true for a greeting.
    Review {
        is_greeting: bool,
    },
    /// That the message or greeting is kept.
    Keeping {
        is_greeting: bool,
    },
    /// The number of a mailbox.
    Number,
    Pin,
    Menu,
    /// A message is heard: which list, and the position in it.
    Listening {
        is_new: bool,
        at: usize,
    },
    Settings,
    NewPin,
    /// The last words; then it ends.
    Ending(MailboxEnd),
}

impl VoiceMail {
    pub(crate) fn new(ids: Ids, spec: Mailbox, from: CallerId) -> Self {
        Self {
            state: State::Opening(spec.purpose),
            spec,
            from,
            ids,
            contents: MailboxContents::default(),
            draft: None,
            tries: 0,
            stopping: None,
            outputs: VecDeque::new(),
        }
    }

    // --- What it says.

    fn words(&self, name: &'static str) -> Prompt {
        Prompt::once(PromptSource::Words(name, self.spec.language.clone()))
    }

    fn count(&self, count: usize) -> Prompt {
        Prompt::once(PromptSource::Speech(Speech {
            text: count.to_string(),
            language: self.spec.language.clone(),
            gender: Gender::Female,
            voice: None,
            is_ssml: false,
        }))
    }

    fn sound(&self, file: &str) -> Prompt {
        Prompt::once(PromptSource::Mailbox { mailbox: self.contents.name.clone(), file: file.to_owned() })
    }

    fn act(&mut self, action: Action) -> ActionId {
        let id = self.ids.next();
        self.outputs.push_back(FeatureOutput::Start(id, Box::new(action)));
        id
    }

    /// Says `prompts` and waits for one key.
    fn ask(&mut self, prompts: Vec<Prompt>, wait: Duration) {
        self.ask_digits(prompts, 1, DigitSet::NONE, wait);
    }

    fn ask_digits(&mut self, prompts: Vec<Prompt>, digits_max: usize, finish: DigitSet, wait: Duration) {
        self.act(Action::Collect(Collect {
            prompts,
            digits_max,
            finish,
            first_digit: Some(wait),
            between_digits: Some(self.spec.between_digits),
            total: None,
            typed_ahead: digits_max > 1,
        }));
    }

    fn end(&mut self, how: MailboxEnd) {
        self.outputs.push_back(FeatureOutput::End(Outcome::Mailbox(how)));
    }

    /// Last words, then the end.
    fn end_with(&mut self, words: &'static str, how: MailboxEnd) {
        self.state = State::Ending(how);
        let prompt = self.words(words);
        self.act(Action::Prompt(prompt));
    }

    fn request(&mut self, request: MailboxRequest) {
        self.outputs.push_back(FeatureOutput::Mailbox(request));
    }

    fn open(&mut self, mailbox: String, purpose: MailboxPurpose) {
        self.state = State::Opening(purpose);
        self.request(MailboxRequest::Open { mailbox });
    }

    // --- Leaving a message.

    fn greet(&mut self) {
        let mut prompts = Vec::new();
        // A mailbox that only announces has nothing but its greeting.
        if !self.contents.skips_greeting || self.contents.announces_only {
            prompts.push(match (&self.contents.greeting, &self.contents.prompt) {
                (Some(file), _) => self.sound(file),
                (None, Some(source)) => Prompt::once(source.clone()),
                (None, None) => self.words("voicemail-nobody"),
            });
        }
        if self.contents.is_full {
            prompts.push(self.words("voicemail-full"));
        } else if !self.contents.announces_only && !self.contents.skips_instructions {
            prompts.push(self.words("voicemail-record"));
        }
        self.state = State::Greeting;
        self.ask(prompts, Duration::ZERO);
    }

    fn greeted(&mut self, key: Option<Digit>) {
        match key {
            Some(Digit::Star) => self.log_in(),
            Some(Digit::D0) if self.contents.has_operator => self.end(MailboxEnd::Operator),
            _ if self.contents.announces_only => self.end(MailboxEnd::AnnouncementOnly),
            _ if self.contents.is_full => self.end(MailboxEnd::Full),
            Some(_) | None => self.beep(false),
        }
    }

    fn beep(&mut self, is_greeting: bool) {
        self.state = State::Beeping { is_greeting };
        self.act(Action::Prompt(Prompt::once(PromptSource::Tones(vec![Beep::of_recorder()]))));
    }

    fn record(&mut self, is_greeting: bool) {
        let longest = if is_greeting { GREETING_MAX } else { self.spec.length_max };
        let tag = if is_greeting { "greeting" } else { "voicemail" };
        let action = self.act(Action::Record(Record {
            finish: DigitSet::ALL,
            silence_max: Some(SILENCE_MAX),
            length_min: MESSAGE_MIN,
            ..Record::new(tag.to_owned(), Sides::Heard, longest)
        }));
        self.state = State::Recording { action, is_greeting };
    }

    fn recorded(&mut self, action: ActionId, recorded: Recorded, is_greeting: bool) {
        let by_key = recorded.finish.is_some();
        if recorded.file.is_none() {
            let end = if is_greeting { None } else { Some(MailboxEnd::NotLeft) };
            return match (self.stopping.take(), end) {
                (Some(outcome), _) => self.outputs.push_back(FeatureOutput::End(outcome)),
                (None, Some(end)) => self.end(end),
                (None, None) => self.settings(),
            };
        }
        self.draft = Some((action, recorded));
        if by_key && self.stopping.is_none() {
            self.tries = 0;
            return self.review(is_greeting);
        }
        self.keep(is_greeting);
    }

    fn review(&mut self, is_greeting: bool) {
        self.state = State::Review { is_greeting };
        let prompts = vec![self.words("voicemail-review")];
        self.ask(prompts, ANSWER_MAX);
    }

    fn reviewed(&mut self, key: Option<Digit>, is_greeting: bool) {
        match (key, &self.draft) {
            (Some(Digit::D2), Some((action, _))) => {
                let again = Prompt::once(PromptSource::Recording(*action));
                let prompts = vec![again, self.words("voicemail-review")];
                self.ask(prompts, ANSWER_MAX);
            }
            (Some(Digit::D3), _) => {
                self.draft = None;
                self.beep(is_greeting);
            }
            (Some(Digit::D1), _) => self.keep(is_greeting),
            (Some(_) | None, _) => {
                // Who says nothing has said what he wanted to say.
                self.tries += 1;
                if self.tries < TRIES { self.review(is_greeting) } else { self.keep(is_greeting) }
            }
        }
    }

    fn keep(&mut self, is_greeting: bool) {
        let draft = self.draft.take().and_then(|(_, recorded)| Some((recorded.file?, recorded.length)));
        let Some((file, length)) = draft else { return self.end(MailboxEnd::NotLeft) };
        self.state = State::Keeping { is_greeting };
        let mailbox = self.contents.name.clone();
        self.request(if is_greeting {
            MailboxRequest::Greeting { mailbox, file: Some(file) }
        } else {
            MailboxRequest::Keep { mailbox, file, from: self.from.clone(), length }
        });
    }

    fn kept(&mut self, is_done: bool, is_greeting: bool) {
        if let Some(outcome) = self.stopping.take() {
            return self.outputs.push_back(FeatureOutput::End(outcome));
        }
        match (is_greeting, is_done) {
            (true, _) => self.settings(),
            (false, true) => self.end_with("voicemail-saved", MailboxEnd::Left),
            (false, false) => self.end_with("system-error", MailboxEnd::NotLeft),
        }
    }

    // --- Listening.

    fn log_in(&mut self) {
        self.tries = 0;
        match (&self.spec.mailbox, self.contents.name.is_empty()) {
            // Whoever has reached it by its greeting has named it.
            (_, false) => self.check_owner(),
            (Some(mailbox), true) => {
                let mailbox = mailbox.clone();
                self.open(mailbox, MailboxPurpose::Listen);
            }
            (None, true) => self.ask_number(),
        }
    }

    fn ask_number(&mut self) {
        self.state = State::Number;
        let prompts = vec![self.words("voicemail-number")];
        self.ask_digits(prompts, NUMBER_DIGITS_MAX, DigitSet::of("#"), ANSWER_MAX);
    }

    fn check_owner(&mut self) {
        let owner = self.spec.is_owner && self.spec.purpose == MailboxPurpose::Listen;
        match (&self.contents.pin, owner) {
            (None, true) => self.menu(),
            (Some(_), true) if !self.contents.asks_pin => self.menu(),
            (Some(_), _) => self.ask_pin(),
            (None, false) => self.end_with("voicemail-refused", MailboxEnd::Refused),
        }
    }

    fn ask_pin(&mut self) {
        self.state = State::Pin;
        let prompts = vec![self.words("voicemail-pin")];
        self.ask_digits(prompts, PIN_DIGITS_MAX, DigitSet::of("#"), ANSWER_MAX);
    }

    fn pin(&mut self, digits: &Digits) {
        if self.contents.pin.as_deref() == Some(digits.to_string().as_str()) {
            self.tries = 0;
            return self.menu();
        }
        self.tries += 1;
        if self.tries < TRIES {
            self.ask_pin()
        } else {
            self.end_with("voicemail-refused", MailboxEnd::Refused)
        }
    }

    fn list(&self, is_new: bool) -> Vec<&Message> {
        self.contents.messages.iter().filter(|message| message.is_new == is_new).collect()
    }

    fn menu(&mut self) {
        self.state = State::Menu;
        let prompts = vec![
            self.words("voicemail-you-have"),
            self.count(self.list(true).len()),
            self.words("voicemail-new-messages"),
            self.count(self.list(false).len()),
            self.words("voicemail-saved-messages"),
            self.words("voicemail-menu"),
        ];
        self.ask(prompts, ANSWER_MAX);
    }

    fn chosen(&mut self, key: Option<Digit>) {
        match key {
            Some(Digit::D1) => self.listen(true, 0),
            Some(Digit::D2) => self.listen(false, 0),
            Some(Digit::D5) => self.settings(),
            Some(Digit::Hash | Digit::Star) => self.end_with("voicemail-goodbye", MailboxEnd::Listened),
            Some(_) | None => {
                self.tries += 1;
                if self.tries < TRIES {
                    self.menu();
                } else {
                    self.end_with("voicemail-goodbye", MailboxEnd::Listened);
                }
            }
        }
    }

    fn listen(&mut self, is_new: bool, at: usize) {
        self.tries = 0;
        let Some(file) = self.list(is_new).get(at).map(|message| message.file.clone()) else {
            let none = self.words("voicemail-no-more");
            self.state = State::Menu;
            let menu = self.words("voicemail-menu");
            return self.ask(vec![none, menu], ANSWER_MAX);
        };
        self.state = State::Listening { is_new, at };
        let prompts = vec![self.sound(&file), self.words("voicemail-message-menu")];
        self.ask(prompts, ANSWER_MAX);
    }

    fn heard(&mut self, key: Option<Digit>, is_new: bool, at: usize) {
        let file = self.list(is_new).get(at).map(|message| message.file.clone());
        let mailbox = self.contents.name.clone();
        match (key, file) {
            (Some(Digit::D2), _) => self.listen(is_new, at),
            (Some(Digit::D4), _) => self.listen(is_new, at.saturating_sub(1)),
            (Some(Digit::D6), _) => self.listen(is_new, at + 1),
            (Some(Digit::D7), Some(message)) => {
                self.contents.messages.retain(|known| known.file != message);
                self.request(MailboxRequest::Deleted { mailbox, message });
                self.listen(is_new, at);
            }
            (Some(Digit::Hash | Digit::Star), _) => self.menu(),
            // Heard and not deleted: it is kept.
            (Some(_) | None, Some(message)) => {
                let mut next = at + 1;
                if is_new {
                    self.request(MailboxRequest::Saved { mailbox, message: message.clone() });
                    if let Some(known) = self.contents.messages.iter_mut().find(|known| known.file == message)
                    {
                        known.is_new = false;
                        next = at;
                    }
                }
                if key.is_some() { self.listen(is_new, next) } else { self.menu() }
            }
            (Some(_) | None, None) => self.menu(),
        }
    }

    // --- Settings.

    fn settings(&mut self) {
        self.state = State::Settings;
        let prompts = vec![self.words("voicemail-settings")];
        self.ask(prompts, ANSWER_MAX);
    }

    fn set(&mut self, key: Option<Digit>) {
        match key {
            Some(Digit::D1) => self.beep(true),
            Some(Digit::D2) => {
                let mailbox = self.contents.name.clone();
                self.contents.greeting = None;
                self.request(MailboxRequest::Greeting { mailbox, file: None });
                self.settings();
            }
            Some(Digit::D3) => {
                self.state = State::NewPin;
                let prompts = vec![self.words("voicemail-new-pin")];
                self.ask_digits(prompts, PIN_DIGITS_MAX, DigitSet::of("#"), ANSWER_MAX);
            }
            Some(_) | None => self.menu(),
        }
    }

    fn new_pin(&mut self, digits: &Digits) {
        if (4..=PIN_DIGITS_MAX).contains(&digits.len()) {
            let (mailbox, pin) = (self.contents.name.clone(), digits.to_string());
            self.contents.pin = Some(pin.clone());
            self.request(MailboxRequest::Pin { mailbox, pin });
        }
        self.settings();
    }

    // --- What it hears.

    fn collected(&mut self, collected: &Collected) {
        let digits = &collected.digits;
        let key = digits.as_slice().first().copied();
        match self.state {
            State::Greeting => self.greeted(key),
            State::Review { is_greeting } => self.reviewed(key, is_greeting),
            State::Number if digits.is_empty() => {
                self.tries += 1;
                if self.tries < TRIES { self.ask_number() } else { self.end(MailboxEnd::Unknown) }
            }
            State::Number => self.open(digits.to_string(), MailboxPurpose::Listen),
            State::Pin => self.pin(digits),
            State::Menu => self.chosen(key),
            State::Listening { is_new, at } => self.heard(key, is_new, at),
            State::Settings => self.set(key),
            State::NewPin => self.new_pin(digits),
            State::Opening(_)
            | State::Beeping { .. }
            | State::Recording { .. }
            | State::Keeping { .. }
            | State::Ending(_) => {}
        }
    }

    fn ended(&mut self, id: ActionId, outcome: Outcome) {
        match (&self.state, outcome) {
            (State::Recording { action, is_greeting }, outcome) if *action == id => {
                let is_greeting = *is_greeting;
                if let Outcome::Recorded(recorded) = outcome {
                    return self.recorded(id, recorded, is_greeting);
                }
                let outcome = self.stopping.take();
                self.outputs
                    .push_back(FeatureOutput::End(outcome.unwrap_or(Outcome::Mailbox(MailboxEnd::NotLeft))));
            }
            (_, Outcome::Collected(collected)) => self.collected(&collected),
            (State::Beeping { is_greeting }, _) => {
                let is_greeting = *is_greeting;
                self.record(is_greeting);
            }
            (State::Ending(how), _) => {
                let how = *how;
                self.end(how);
            }
            // A question that could not be asked.
            (_, Outcome::Failed(failure)) => {
                self.outputs.push_back(FeatureOutput::End(Outcome::Failed(failure)))
            }
            (_, _) => {}
        }
    }

    fn replied(&mut self, reply: MailboxReply) {
        match (&self.state, reply) {
            (State::Opening(purpose), MailboxReply::Opened(contents)) => {
                let purpose = *purpose;
                self.contents = *contents;
                match purpose {
                    MailboxPurpose::Leave => self.greet(),
                    MailboxPurpose::Listen => self.check_owner(),
                }
            }
            (State::Opening(MailboxPurpose::Listen), _) if self.spec.mailbox.is_none() => {
                // A number that is none is asked for once more, like a wrong PIN.
                self.tries += 1;
                if self.tries < TRIES {
                    self.ask_number();
                } else {
                    self.end_with("voicemail-refused", MailboxEnd::Refused);
                }
            }
            (State::Opening(_), _) => self.end_with("voicemail-unknown", MailboxEnd::Unknown),
            (State::Keeping { is_greeting }, reply) => {
                let is_greeting = *is_greeting;
                self.kept(reply == MailboxReply::Done, is_greeting);
            }
            // What was deleted or marked while the caller went on.
            (_, _) => {}
        }
    }

    fn stop(&mut self, outcome: Outcome) {
        match &self.state {
            // What was said is kept.
            State::Recording { action, .. } => {
                self.stopping = Some(outcome);
                self.outputs.push_back(FeatureOutput::Cancel(*action));
            }
            State::Keeping { .. } => self.stopping = Some(outcome),
            State::Review { is_greeting } => {
                self.stopping = Some(outcome);
                self.keep(*is_greeting);
            }
            State::Opening(_)
            | State::Greeting
            | State::Beeping { .. }
            | State::Number
            | State::Pin
            | State::Menu
            | State::Listening { .. }
            | State::Settings
            | State::NewPin
            | State::Ending(_) => self.outputs.push_back(FeatureOutput::End(outcome)),
        }
    }
}

impl Feature for VoiceMail {
    fn handle(&mut self, input: FeatureInput) {
        match input {
            FeatureInput::Begin => match (self.spec.purpose, self.spec.mailbox.clone()) {
                (purpose, Some(mailbox)) => self.open(mailbox, purpose),
                (MailboxPurpose::Listen, None) => self.log_in(),
                (MailboxPurpose::Leave, None) => self.end_with("voicemail-unknown", MailboxEnd::Unknown),
            },
            FeatureInput::Ended(id, outcome) => self.ended(id, outcome),
            FeatureInput::Mailbox(reply) => self.replied(reply),
            FeatureInput::Stop(outcome) => self.stop(outcome),
        }
    }

    fn poll(&mut self) -> Option<FeatureOutput> {
        self.outputs.pop_front()
    }
}
