//! The lines of the box, whatever they are made of.

use std::io;

use tipring_lines::analog::contract::Note;
use tipring_lines::analog::{AnalogLines, AnalogOptions, AnalogSettings};
use tipring_lines::sip::{SipLines, SipOptions, SipSettings};
use tipring_lines::tie::TieLine;
use tipring_lines::{LineSettings, LineStatus, MediaPort};
use tipring_model::lamp::MessagesWaiting;
use tipring_model::line::{DownReason, LineCommand, LineEvent};
use tipring_model::{LegId, LineId};

use super::StartError;

/// All lines. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Lines {
    /// Trunks and telephones over SIP.
    pub sip: SipLines,
    /// Telephones and lines of the exchange over two wires.
    pub analog: AnalogLines,
    /// The box itself.
    tie: TieLine,
    /// Those of the second kind.
    two_wire: std::rc::Rc<[LineId]>,
}

impl Lines {
    /// Opens all of them.
    ///
    /// # Errors
    /// The SIP sockets cannot be bound, or the system has no thread for a device. That a device
    /// is not plugged in is no error.
    pub(super) async fn open(
        sip_options: SipOptions,
        analog_options: AnalogOptions,
        settings: Vec<(LineId, LineSettings)>,
        media: MediaPort,
    ) -> Result<Self, StartError> {
        let tie = TieLine::new(LineId(u16::MAX), media.clone());
        let mut sip: Vec<(LineId, SipSettings)> = Vec::new();
        let mut analog: Vec<(LineId, AnalogSettings)> = Vec::new();
        for (id, settings) in settings {
            match settings {
                LineSettings::Sip(settings) => sip.push((id, settings)),
                LineSettings::Analog(settings) => analog.push((id, settings)),
            }
        }
        let two_wire = analog.iter().map(|(id, _)| *id).collect();
        let analog = AnalogLines::open(analog_options, analog, media.clone())
            .map_err(|source: io::Error| StartError::Devices(source))?;
        Ok(Self { sip: SipLines::open(sip_options, sip, media).await?, analog, tie, two_wire })
    }

    /// Tells a line what to do. What comes of it arrives as an event.
    pub(super) fn command(&self, line: LineId, command: LineCommand) {
        if line == self.tie.line() {
            self.tie.command(command);
        } else if self.is_two_wire(line) {
            self.analog.command(line, command);
        } else {
            self.sip.command(line, command);
        }
    }

    /// The next event of any line.
    pub(super) async fn event(&self) -> (LineId, LineEvent) {
        tokio::select! {
            event = self.sip.event() => event,
            event = self.analog.event() => event,
            event = self.tie.event() => event,
        }
    }

    /// The next event, if one waits.
    pub(super) fn try_event(&self) -> Option<(LineId, LineEvent)> {
        self.analog.try_event().or_else(|| self.sip.try_event()).or_else(|| self.tie.try_event())
    }

    /// What was noted of a leg, to be taken before each event.
    pub(super) fn try_note(&self) -> Option<(LegId, Note)> {
        self.analog.try_note()
    }

    /// How each line stands, in the order of the configuration.
    pub(super) fn status(&self) -> Vec<LineStatus> {
        let mut status = self.sip.status();
        status.extend(self.analog.status());
        status.sort_by_key(|status| status.line.0);
        status
    }

    /// The other end, if this leg is one of a patch.
    pub(super) fn patched(&self, leg: LegId) -> Option<LegId> {
        let other = self.sip.patched(leg).or_else(|| self.analog.patched(leg));
        other.or_else(|| self.tie.other_end(leg))
    }

    /// The line by which the box calls itself.
    pub(super) fn tie(&self) -> LineId {
        self.tie.line()
    }

    /// The leg that has called this one over that line.
    pub(super) fn tied(&self, leg: LegId) -> Option<LegId> {
        self.tie.other_end(leg)
    }

    /// Says which messages wait for a telephone.
    pub(super) fn set_message_waiting(&self, line: LineId, mailboxes: &[MessagesWaiting]) {
        if self.is_two_wire(line) {
            self.analog.set_message_waiting(line, mailboxes.iter().any(|mailbox| mailbox.new > 0));
        } else {
            self.sip.set_message_waiting(line, mailboxes);
        }
    }

    /// How little hope there is that a line could carry a further call now: 0 where it is free, 1
    /// where a call has it, 2 where another telephone beside the box has it, 3 where it is down.
    pub(super) fn hope(&self, line: LineId) -> u8 {
        let state = self.status().iter().find(|status| status.line == line).map(|status| status.state);
        match state {
            Some(Ok(())) if !self.is_two_wire(line) || self.analog.is_free(line) => 0,
            Some(Ok(())) => 1,
            Some(Err(DownReason::InUse)) => 2,
            Some(Err(_)) | None => 3,
        }
    }

    /// Says goodbye to whom it must be said.
    pub(super) async fn close(&self) {
        self.sip.close().await;
    }

    fn is_two_wire(&self, line: LineId) -> bool {
        self.two_wire.contains(&line)
    }
}
