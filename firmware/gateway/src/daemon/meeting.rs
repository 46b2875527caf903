//! The exchange of the box: passes on what calls ask of it and what it answers.

use tipring_calls::CallInput;
use tipring_calls::exchange::{ExchangeOutput, ExchangeRequest, Seat};
use tipring_media::Command;
use tokio::task::spawn_local;

use super::switchboard::{Switchboard, moment};

impl Switchboard {
    pub(super) fn exchange(&self, seat: Seat, mut request: ExchangeRequest) {
        if let ExchangeRequest::Rings { at, .. } = &mut request {
            // Calls are taken from telephones of the office alone, never an emergency call.
            at.retain(|number| self.0.plan.reaches_phone(number));
        }
        self.0.exchange.borrow_mut().handle(moment().instant, seat, request);
        self.exchange_said(seat.call);
    }

    /// Frees what a call that broke has left behind.
    pub(super) fn leave_exchange(&self, call: u32) {
        self.0.exchange.borrow_mut().call_gone(moment().instant, call);
        self.exchange_said(call);
    }

    /// Carries out what the exchange wants. Others learn at once who has come and gone; the
    /// call that asked learns it after it has said all it had to say.
    fn exchange_said(&self, asking: u32) {
        loop {
            let output = self.0.exchange.borrow_mut().poll();
            match output {
                None => return,
                Some(ExchangeOutput::Tell(seat, event)) if seat.call == asking => {
                    let board = self.clone();
                    spawn_local(async move {
                        board.handle(seat.call, CallInput::Exchange(seat.action, event));
                    });
                }
                Some(ExchangeOutput::Tell(seat, event)) => {
                    self.handle(seat.call, CallInput::Exchange(seat.action, event));
                }
                Some(ExchangeOutput::Connect { from, to }) => {
                    self.0.media.send(Command::Connect { from, to });
                }
                Some(ExchangeOutput::Disconnect { from, to }) => {
                    self.0.media.send(Command::Disconnect { from, to });
                }
            }
        }
    }
}
