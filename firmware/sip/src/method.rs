//! Request methods.

/// The methods this crate knows by name; case matters (RFC 3261 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Starts or changes a call, RFC 3261 §13.
    Invite,
    /// Confirms the final answer to an INVITE.
    Ack,
    /// Ends a call, RFC 3261 §15.
    Bye,
    /// Withdraws an unanswered INVITE, RFC 3261 §9.
    Cancel,
    /// Asks for capabilities, RFC 3261 §11.
    Options,
    /// Binds a contact to an address of record, RFC 3261 §10.
    Register,
    /// Mid-call information such as DTMF, RFC 6086.
    Info,
    /// Changes the media before or after the answer, RFC 3311.
    Update,
    /// Confirms a reliable provisional answer, RFC 3262. Known, not supported.
    Prack,
    /// Instant message, RFC 3428. Known, not supported.
    Message,
    /// Event subscription, RFC 6665. Known, not supported.
    Subscribe,
    /// Event notification, RFC 6665. Supported for transfers.
    Notify,
    /// Transfer, RFC 3515, inside a call.
    Refer,
    /// Event state publication, RFC 3903. Known, not supported.
    Publish,
    /// Any other token.
    Other,
}

impl Method {
    /// Recognises a method by its exact spelling.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Method {
        match name {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"INFO" => Method::Info,
            b"UPDATE" => Method::Update,
            b"PRACK" => Method::Prack,
            b"MESSAGE" => Method::Message,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"REFER" => Method::Refer,
            b"PUBLISH" => Method::Publish,
            _ => Method::Other,
        }
    }

    /// The spelling on the wire; `UNKNOWN` for [`Method::Other`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Info => "INFO",
            Method::Update => "UPDATE",
            Method::Prack => "PRACK",
            Method::Message => "MESSAGE",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Refer => "REFER",
            Method::Publish => "PUBLISH",
            Method::Other => "UNKNOWN",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_round_trips_and_case_matters() {
        for name in [
            "INVITE",
            "ACK",
            "BYE",
            "CANCEL",
            "OPTIONS",
            "REGISTER",
            "INFO",
            "UPDATE",
            "PRACK",
            "MESSAGE",
            "SUBSCRIBE",
            "NOTIFY",
            "REFER",
            "PUBLISH",
        ] {
            assert_eq!(Method::from_bytes(name.as_bytes()).as_str(), name);
        }
        assert_eq!(Method::from_bytes(b"invite"), Method::Other);
    }
}
