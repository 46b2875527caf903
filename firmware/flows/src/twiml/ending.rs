//! How a call ends: by its flow, by its caller, or because nothing can be done for him.

use std::time::Duration;

use tipring_model::Cause;
use tipring_model::flow::{Action, FlowOutput, Moment};
use tipring_model::prompt::{Prompt, PromptSource};

use super::flow::TwimlFlow;
use super::script::{Closing, Role, Script, Waiting};

/// Longest wait, after everybody is gone, for recordings to be stored.
const CLOSING_MAX: Duration = Duration::from_secs(10);

impl TwimlFlow {
    /// Hangs up on the caller. One who is not answered yet is answered first, or refused.
    pub(super) fn hang_up(&mut self, now: Moment, script: &mut Script, label: &'static str) {
        if self.answered {
            return self.release(now, label);
        }
        if self.terms.answers_to_hang_up {
            script.waiting = Waiting::HangUp(self.act(self.leg, Action::Answer), label);
        } else {
            self.act(self.leg, Action::Reject(Cause::Rejected));
            self.close(now, Cause::Rejected, label);
        }
    }

    /// Releases the caller, who is answered.
    pub(super) fn release(&mut self, now: Moment, label: &str) {
        self.act(self.leg, Action::Release(Cause::NormalClearing));
        self.close(now, Cause::NormalClearing, label);
    }

    /// The first document cannot be had, and another dialect goes on.
    pub(super) fn return_failure(&mut self, script: &mut Script, code: &'static str) {
        self.failed_first = Some(code);
        script.is_over = true;
        self.is_over = true;
    }

    /// The application cannot go on: the caller is told, as far as that is possible.
    pub(super) fn sorry(&mut self, now: Moment, script: &mut Script) {
        if self.answered {
            let prompt = Prompt::once(PromptSource::Library("system-error".to_owned()));
            script.waiting = Waiting::Sorry(self.act(self.leg, Action::Prompt(prompt)));
        } else {
            self.act(self.leg, Action::Reject(Cause::TemporaryFailure));
            self.close(now, Cause::TemporaryFailure, "flow_error");
        }
    }

    /// Ends the call, once its recordings are stored.
    pub(super) fn close(&mut self, now: Moment, cause: Cause, label: &str) {
        if self.is_over || self.closing.is_some() {
            return;
        }
        self.end_callees(now, Cause::NormalClearing);
        for stream in self.streams.iter().map(|stream| stream.action).collect::<Vec<_>>() {
            self.cancel(stream);
        }
        for recording in self.recordings.iter().map(|recording| recording.action).collect::<Vec<_>>() {
            self.cancel(recording);
        }
        let until = now.instant + CLOSING_MAX;
        self.closing = Some(Closing { cause, label: label.to_owned(), until });
        self.close_if_done(now);
    }

    /// Ends the call if it is to end and nothing is stored any more.
    pub(super) fn close_if_done(&mut self, now: Moment) {
        let Some(closing) = &self.closing else { return };
        let is_recording = !self.recordings.is_empty()
            || !self.streams.is_empty()
            || self.scripts.iter().any(|script| matches!(script.waiting, Waiting::Record { .. }));
        if is_recording && closing.until > now.instant {
            return;
        }
        let (cause, label) = (closing.cause, closing.label.clone());
        self.closing = None;
        self.is_over = true;
        self.scripts.clear();
        self.tell_end(now, cause);
        self.push(FlowOutput::End { cause, label });
    }

    /// The caller has hung up.
    pub(super) fn caller_gone(&mut self, now: Moment, cause: Cause) {
        if self.closing.is_some() {
            return;
        }
        self.scripts.retain(|script| script.role == Role::Main);
        if let Some(mut script) = self.take(|script| script.role == Role::Main) {
            match std::mem::replace(&mut script.waiting, Waiting::Nothing) {
                // The recording ends by itself, and is then reported.
                waiting @ Waiting::Record { .. } => {
                    script.waiting = waiting;
                    self.scripts.push(script);
                }
                Waiting::Queue { stay, began, .. } => self.queue_hung_up(now, &stay, began),
                Waiting::Dial { dialing, .. } => self.dial_hung_up(now, &dialing),
                Waiting::Room { room, .. } => self.room_left(now, &room),
                Waiting::Stream { duplex, .. } => self.stream_over(now, &duplex.beside, None),
                Waiting::Nothing
                | Waiting::Answer(..)
                | Waiting::Row { .. }
                | Waiting::Gather { .. }
                | Waiting::DialRecord(_)
                | Waiting::Refer(..)
                | Waiting::Fetch { .. }
                | Waiting::Held { .. }
                | Waiting::HangUp(..)
                | Waiting::Sorry(_)
                | Waiting::Idle(_) => {}
            }
        }
        self.close(now, cause, "caller");
    }
}
