//! Why a leg ended or was refused.

/// The Q.850 causes that Tipring distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The number does not exist (Q.850 1).
    Unallocated,
    /// A party hung up after an answer (16).
    NormalClearing,
    /// The called party is on another call (17).
    Busy,
    /// The called party's equipment did not react (18).
    NoUserResponse,
    /// The called party was alerted and did not answer in time (19).
    NoAnswer,
    /// The called party refused (21).
    Rejected,
    /// The number is not complete or not well formed (28).
    InvalidNumber,
    /// The called equipment is out of order or not registered (27).
    DestinationOutOfOrder,
    /// No line or channel was free (34).
    NoCircuit,
    /// The network is out of order (38).
    NetworkOutOfOrder,
    /// A passing fault or overload (41).
    TemporaryFailure,
    /// The two sides share no codec or media kind (88).
    Incompatible,
    /// A timer of the network or of the box expired (102).
    RecoveryOnTimer,
    /// The call was not allowed by the box's own rules (57).
    NotAllowed,
    /// The calling side gave up before an answer (487 in SIP; Q.850 16).
    Cancelled,
    /// Another leg of the same call was answered first (26).
    AnsweredElsewhere,
    /// Its line was taken for an emergency call (8).
    Preempted,
    /// Anything else (31).
    Unspecified,
}

impl Cause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 18] = [
        Self::Unallocated,
        Self::NormalClearing,
        Self::Busy,
        Self::NoUserResponse,
        Self::NoAnswer,
        Self::Rejected,
        Self::InvalidNumber,
        Self::DestinationOutOfOrder,
        Self::NoCircuit,
        Self::NetworkOutOfOrder,
        Self::TemporaryFailure,
        Self::Incompatible,
        Self::RecoveryOnTimer,
        Self::NotAllowed,
        Self::Cancelled,
        Self::AnsweredElsewhere,
        Self::Preempted,
        Self::Unspecified,
    ];

    /// The ITU-T Q.850 number.
    #[must_use]
    pub const fn q850(self) -> u8 {
        match self {
            Self::Unallocated => 1,
            Self::Preempted => 8,
            Self::NormalClearing | Self::Cancelled => 16,
            Self::Busy => 17,
            Self::NoUserResponse => 18,
            Self::NoAnswer => 19,
            Self::Rejected => 21,
            Self::AnsweredElsewhere => 26,
            Self::DestinationOutOfOrder => 27,
            Self::InvalidNumber => 28,
            Self::Unspecified => 31,
            Self::NoCircuit => 34,
            Self::NetworkOutOfOrder => 38,
            Self::TemporaryFailure => 41,
            Self::NotAllowed => 57,
            Self::Incompatible => 88,
            Self::RecoveryOnTimer => 102,
        }
    }

    /// The name that logs, CDRs and transcripts use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unallocated => "unallocated",
            Self::NormalClearing => "normal-clearing",
            Self::Busy => "busy",
            Self::NoUserResponse => "no-user-response",
            Self::NoAnswer => "no-answer",
            Self::Rejected => "rejected",
            Self::InvalidNumber => "invalid-number",
            Self::DestinationOutOfOrder => "destination-out-of-order",
            Self::NoCircuit => "no-circuit",
            Self::NetworkOutOfOrder => "network-out-of-order",
            Self::TemporaryFailure => "temporary-failure",
            Self::Incompatible => "incompatible",
            Self::RecoveryOnTimer => "recovery-on-timer",
            Self::NotAllowed => "not-allowed",
            Self::Cancelled => "cancelled",
            Self::AnsweredElsewhere => "answered-elsewhere",
            Self::Preempted => "preempted",
            Self::Unspecified => "unspecified",
        }
    }

    /// The cause with this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }

    /// The SIP final response that carries this cause before an answer
    /// (RFC 3398 §8.2.6.1, turned round).
    #[must_use]
    pub const fn sip_status(self) -> u16 {
        match self {
            Self::Unallocated => 404,
            Self::Busy => 486,
            Self::NoUserResponse | Self::NoAnswer => 480,
            Self::NormalClearing | Self::Rejected => 603,
            Self::AnsweredElsewhere | Self::Cancelled => 487,
            Self::InvalidNumber => 484,
            Self::DestinationOutOfOrder => 502,
            Self::NoCircuit | Self::TemporaryFailure | Self::Preempted => 503,
            Self::NetworkOutOfOrder | Self::Unspecified => 500,
            Self::Incompatible => 488,
            Self::RecoveryOnTimer => 504,
            Self::NotAllowed => 403,
        }
    }

    /// The cause that a SIP final response of 300 or above stands for
    /// (RFC 3398 §7.2.4.1).
    #[must_use]
    pub const fn from_sip_status(status: u16) -> Self {
        match status {
            404 | 410 | 604 => Self::Unallocated,
            486 | 600 => Self::Busy,
            480 => Self::NoUserResponse,
            408 => Self::NoAnswer,
            401..=403 | 407 | 603 | 607 | 608 => Self::Rejected,
            484 | 485 | 414 | 416 => Self::InvalidNumber,
            502 => Self::DestinationOutOfOrder,
            503 => Self::NoCircuit,
            487 => Self::Cancelled,
            488 | 606 | 415 => Self::Incompatible,
            504 => Self::RecoveryOnTimer,
            500 | 501 | 505..=599 => Self::NetworkOutOfOrder,
            _ => Self::Unspecified,
        }
    }
}

impl Cause {
    /// It was the line that ended or refused the call, and not whom it leads to: the line failed, or
    /// was taken away.
    #[must_use]
    pub const fn is_of_line(self) -> bool {
        match self {
            Self::NoCircuit | Self::NetworkOutOfOrder | Self::TemporaryFailure | Self::Preempted => true,
            Self::Unallocated
            | Self::NormalClearing
            | Self::Busy
            | Self::NoUserResponse
            | Self::NoAnswer
            | Self::Rejected
            | Self::InvalidNumber
            | Self::DestinationOutOfOrder
            | Self::Incompatible
            | Self::RecoveryOnTimer
            | Self::NotAllowed
            | Self::Cancelled
            | Self::AnsweredElsewhere
            | Self::Unspecified => false,
        }
    }
}

impl core::fmt::Display for Cause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_name(cause.name()), Some(cause));
        }
    }

    #[test]
    fn the_refusals_users_meet_keep_their_meaning_over_sip() {
        for cause in [Cause::Unallocated, Cause::Busy, Cause::Rejected, Cause::Incompatible] {
            assert_eq!(Cause::from_sip_status(cause.sip_status()), cause);
        }
    }
}
