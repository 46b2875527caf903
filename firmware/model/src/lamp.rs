//! Lamps on telephones.

/// What a lamp shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Lamp {
    /// Dark.
    #[default]
    Idle,
    /// Blinking: somebody is called, or waits.
    Ringing,
    /// On.
    Busy,
}

impl Lamp {
    /// `idle`, `ringing` or `busy`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ringing => "ringing",
            Self::Busy => "busy",
        }
    }

    /// The lamp of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Idle, Self::Ringing, Self::Busy].into_iter().find(|lamp| lamp.as_str() == name)
    }
}

/// What waits in a mailbox, for the telephones that show it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MessagesWaiting {
    /// Name and number of the mailbox.
    pub names: Vec<String>,
    /// Messages nobody has heard.
    pub new: u32,
    /// Messages that were heard and kept.
    pub saved: u32,
}
