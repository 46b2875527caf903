//! A device behind analog lines, whichever it is: what the switchboard needs of it.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::Receiver;

use tipring_model::LineId;

use super::country::CountryPlan;
use super::desk::{Desk, DeskLink, PortPlan};
use super::switchboard::{AnalogSettings, waker};
use crate::port::linecard::{Card, CardEvent, CardFault, PORTS_MAX, PortSettings};
use crate::port::v253::{Modem, ModemEvent, ModemFault};
use crate::port::{CounterValues, DeviceSettings, Full, TxSignal};

/// Periods of 10 ms that what is played waits in a modem before it can come back: it begins with
/// five, of which two may be on their way.
const MODEM_ECHO_PERIODS: usize = 3;

/// Why a device is not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum DeviceFault {
    /// A line card.
    #[error(transparent)]
    Card(#[from] CardFault),
    /// A modem.
    #[error(transparent)]
    Modem(#[from] ModemFault),
}

impl DeviceFault {
    /// Its code in the catalogue of messages.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Card(fault) => fault.code(),
            Self::Modem(fault) => fault.code(),
        }
    }
}

/// What happens at a device.
pub(super) enum DeviceEvent {
    Card(CardEvent),
    Modem(ModemEvent),
}

/// A device that runs.
pub(super) enum Device {
    Card(Card, Receiver<CardEvent>),
    Modem(Modem, Receiver<ModemEvent>),
}

impl Device {
    /// Starts a device with a desk for its ports, and tells it what it must know of its lines.
    pub(super) fn open(
        name: &str,
        settings: DeviceSettings,
        lines: &[(LineId, AnalogSettings)],
        plan: &CountryPlan,
        plan_of: &dyn Fn(&str, usize) -> PortPlan,
        wake: &UnixDatagram,
    ) -> io::Result<(Self, DeskLink)> {
        match settings {
            DeviceSettings::LineCard(mut settings) => {
                let ports = lines.iter().filter_map(|(_, settings)| settings.port_of(name)).max();
                let ports = ports.map_or(0, |last| last + 1).max(settings.ports.len()).min(PORTS_MAX);
                settings.ports.resize(ports, PortSettings::default());
                for (_, line) in lines {
                    if let Some(port) = line.port_of(name).and_then(|port| settings.ports.get_mut(port)) {
                        line.set_port(plan, port);
                    }
                }
                let plans: Vec<PortPlan> = (0..ports).map(|port| plan_of(name, port)).collect();
                let (desk, link) = Desk::new(&plans, Some(waker(wake)?));
                let (card, events) = Card::open(name, settings, Box::new(desk), Some(waker(wake)?))?;
                Ok((Self::Card(card, events), link))
            }
            DeviceSettings::Modem(mut settings) => {
                settings.country = settings.country.or(plan.t35);
                let (mut desk, link) = Desk::new(&[plan_of(name, 0)], Some(waker(wake)?));
                desk.expect_echo_after(MODEM_ECHO_PERIODS);
                let (modem, events) = Modem::open(name, settings, Box::new(desk), Some(waker(wake)?))?;
                Ok((Self::Modem(modem, events), link))
            }
        }
    }

    /// Does this at a port.
    ///
    /// # Errors
    /// [`Full`]: it is behind with what it was told.
    pub(super) fn signal(&self, port: usize, signal: TxSignal) -> Result<(), Full> {
        match self {
            Self::Card(card, _) => card.signal(port, signal),
            Self::Modem(modem, _) if port == 0 => modem.signal(signal),
            // There is no such port, and no line is at it.
            Self::Modem(..) => Ok(()),
        }
    }

    /// Measures at a port; a reading follows. A modem cannot.
    ///
    /// # Errors
    /// [`Full`]: it is behind with what it was told.
    pub(super) fn meter(&self, port: usize) -> Result<(), Full> {
        match self {
            Self::Card(card, _) => card.meter(port),
            Self::Modem(..) => Ok(()),
        }
    }

    /// What happened, if something did.
    pub(super) fn event(&self) -> Option<DeviceEvent> {
        match self {
            Self::Card(_, events) => events.try_recv().ok().map(DeviceEvent::Card),
            Self::Modem(_, events) => events.try_recv().ok().map(DeviceEvent::Modem),
        }
    }

    /// What went wrong so far.
    pub(super) fn counters(&self) -> CounterValues {
        match self {
            Self::Card(card, _) => card.counters(),
            Self::Modem(modem, _) => modem.counters(),
        }
    }

    /// Sound begins some time after the line was taken, and the device says when.
    pub(super) const fn says_when_sound_begins(&self) -> bool {
        match self {
            Self::Card(..) => false,
            Self::Modem(..) => true,
        }
    }
}
