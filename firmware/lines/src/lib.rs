//! Line drivers: each turns wires or a protocol into the events of
//! `tipring_model::line`.
//!
//! **Architecture invariant:** a line knows no call and no flow. It takes
//! [`LineCommand`](tipring_model::line::LineCommand)s, reports
//! [`LineEvent`](tipring_model::line::LineEvent)s, and puts the audio of its legs
//! into the media engine. The table [`DRIVERS`] is the only place that lists kinds.

pub mod analog;
pub mod port;
pub mod sip;
pub mod tie;

mod media;

pub use media::MediaPort;

use tipring_model::LineId;
use tipring_model::line::DownReason;
use tipring_model::settings::{Field, FieldError, RawSettings};

/// One kind of line.
#[derive(Clone, Copy, Debug)]
pub struct Driver {
    /// Name in the configuration.
    pub kind: &'static str,
    /// Settings of a line of this kind.
    pub fields: &'static [Field],
    /// Reads them.
    pub parse: fn(&RawSettings) -> Result<LineSettings, Vec<FieldError>>,
}

/// The settings of one line.
#[derive(Clone, Debug)]
pub enum LineSettings {
    /// A trunk or a telephone over SIP.
    Sip(sip::SipSettings),
    /// A telephone or a line of the exchange, over two wires.
    Analog(analog::AnalogSettings),
}

impl LineSettings {
    /// Whether it leads to somebody inside the office, and not out of it.
    #[must_use]
    pub const fn is_phone(&self) -> bool {
        match self {
            Self::Sip(sip::SipSettings::Phone(_)) | Self::Analog(analog::AnalogSettings::Phone(_)) => true,
            Self::Sip(sip::SipSettings::Trunk(_)) | Self::Analog(analog::AnalogSettings::Line(_)) => false,
        }
    }
}

/// Every kind of line.
pub const DRIVERS: &[Driver] = &[sip::TRUNK, sip::PHONE, analog::LINE, analog::PHONE];

/// How a line stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineStatus {
    /// The line.
    pub line: LineId,
    /// `Ok` when it can carry calls.
    pub state: Result<(), DownReason>,
    /// Registered contacts of a telephone.
    pub contacts: usize,
}
