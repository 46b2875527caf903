//! Names of things that live in one running daemon.

use core::fmt;

/// A configured way in or out: a trunk, a registered phone, a port. Numbered in
/// the order of the configuration, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LineId(pub u16);

/// One party of a call.
///
/// Two sides allocate without asking each other: a line numbers the legs that
/// arrive on it, a call numbers the legs that it places. [`LegId::offered`] and
/// [`LegId::placed`] keep the two ranges apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LegId {
    owner: u32,
    seq: u32,
}

impl LegId {
    const PLACED: u32 = 0x8000_0000;

    /// The `seq`-th leg that arrived on `line`.
    #[must_use]
    pub const fn offered(line: LineId, seq: u32) -> Self {
        Self { owner: line.0 as u32, seq }
    }

    /// The `seq`-th leg that the `call_number`-th call of this daemon placed.
    #[must_use]
    pub const fn placed(call_number: u32, seq: u32) -> Self {
        Self { owner: Self::PLACED | call_number, seq }
    }

    /// True for a leg that the box placed, false for one that was offered to it.
    #[must_use]
    pub const fn is_placed(self) -> bool {
        self.owner & Self::PLACED != 0
    }
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_placed() { 'p' } else { 'o' };
        write!(f, "{kind}{}.{}", self.owner & !Self::PLACED, self.seq)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

counter!(
    /// One action of one flow; unique within its call.
    ActionId
);
counter!(
    /// One document or request whose answer a flow waits for; unique within its call.
    FetchId
);
counter!(
    /// One message from outside to a running flow; unique within its call.
    MessageId
);
counter!(
    /// One stretch of audio played to a leg; unique within its leg.
    PlayId
);
counter!(
    /// One recording of a leg; unique within its call.
    RecordId
);

/// The world-wide name of a call: 128 random bits, written as a lower-case UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u128);

impl CallId {
    /// The UUID (RFC 9562 version 4) made of `random` bits.
    #[must_use]
    pub const fn from_random(random: u128) -> Self {
        let versioned = random & !(0xf << 76) | (0x4 << 76);
        Self(versioned & !(0b11 << 62) | (0b10 << 62))
    }

    /// 32 hexadecimal digits without dashes.
    #[must_use]
    pub fn simple(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Reads the dashed or the plain form, in either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| *c != '-').collect();
        let well_formed = plain.len() == 32 && plain.bytes().all(|b| b.is_ascii_hexdigit());
        if !well_formed {
            return None;
        }
        u128::from_str_radix(&plain, 16).ok().map(Self)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            n >> 96,
            n >> 80 & 0xffff,
            n >> 64 & 0xffff,
            n >> 48 & 0xffff,
            n & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_id_is_a_version_4_uuid_and_reads_back() {
        let id = CallId::from_random(u128::MAX);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(CallId::parse(&id.to_string()), Some(id));
        assert_eq!(CallId::parse(&id.simple()), Some(id));
        assert_eq!(CallId::parse("not-a-call"), None);
    }

    #[test]
    fn offered_and_placed_legs_never_collide() {
        let offered = LegId::offered(LineId(3), 7);
        let placed = LegId::placed(3, 7);
        assert_ne!(offered, placed);
        assert_eq!((offered.to_string(), placed.to_string()), ("o3.7".into(), "p3.7".into()));
    }
}
