//! A telephone without a case: registers, calls, answers, speaks, presses keys, and keeps all it
//! hears. For tests of the whole daemon and for the demonstration.
//!
//! Each phone is one thread over two UDP sockets on a loopback address. Its signalling is
//! `tipring-sip`; its RTP and G.711 are written here once more, so that what it hears is judged
//! by other code than what spoke it, and so that it needs no C library.

pub(crate) mod g711;
mod heard;
mod rtp;
mod run;
mod sound;
mod state;

pub mod compare;
pub mod voice;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tipring_model::Digit;

pub use g711::Law;
pub use heard::{Heard, HeardPacket};

use run::Run;
use state::{Command, Shared};

/// Samples a second of everything that a phone says and hears.
pub const SAMPLES_PER_SECOND: usize = 8_000;

/// Called on the phone's thread for each event, at once.
pub type Observer = Box<dyn Fn(&PhoneEvent) + Send + Sync>;

/// What a phone does when it rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answering {
    /// Waits for [`Phone::answer`].
    OnDemand,
    /// Answers by itself after ringing this long.
    After(Duration),
}

/// A phone.
#[derive(Clone, Debug)]
pub struct PhoneSettings {
    /// The user part of its address, and the user name of its account.
    pub user: String,
    /// The password, for a phone that registers or is challenged.
    pub password: Option<String>,
    /// Its own address; the ports are free ones.
    pub ip: IpAddr,
    /// Where the box takes SIP over UDP.
    pub box_address: SocketAddr,
    /// Its codec.
    pub law: Law,
    /// What it does when it rings.
    pub answering: Answering,
}

impl PhoneSettings {
    /// A phone on 127.0.0.1 that speaks µ-law and answers on demand.
    #[must_use]
    pub fn new(user: &str, box_address: SocketAddr) -> Self {
        Self {
            user: user.to_owned(),
            password: None,
            ip: Ipv4Addr::LOCALHOST.into(),
            box_address,
            law: Law::Mu,
            answering: Answering::OnDemand,
        }
    }
}

/// What happens at a phone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PhoneEvent {
    /// Registered for this long.
    Registered(Duration),
    /// Not registered: the status, or none without an answer.
    NotRegistered(Option<u16>),
    /// It rings.
    Incoming {
        /// The user part of the caller's address.
        from: String,
    },
    /// The other side answers with a provisional status: 180, 183.
    Progress(u16),
    /// Both sides can speak.
    Connected,
    /// Everything that was to be said has been sent.
    AllSaid,
    /// A key has been pressed and released.
    KeySent(Digit),
    /// The other side pressed a key (RFC 4733).
    KeyHeard(Digit),
    /// The call is over, and why.
    Ended(String),
}

impl fmt::Display for PhoneEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered(expires) => write!(f, "registered for {} s", expires.as_secs()),
            Self::NotRegistered(Some(status)) => write!(f, "not registered: {status}"),
            Self::NotRegistered(None) => f.write_str("not registered: no answer"),
            Self::Incoming { from } => write!(f, "rings: a call from {from}"),
            Self::Progress(180) => f.write_str("hears that it rings there (180)"),
            Self::Progress(status) => write!(f, "is told {status}"),
            Self::Connected => f.write_str("is connected"),
            Self::AllSaid => f.write_str("has said everything"),
            Self::KeySent(digit) => write!(f, "pressed {digit}"),
            Self::KeyHeard(digit) => write!(f, "heard the key {digit}"),
            Self::Ended(why) => write!(f, "is on-hook again: {why}"),
        }
    }
}

/// What was waited for did not happen in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waited {
    /// The phone's user.
    pub user: String,
    /// How long it was waited.
    pub limit: Duration,
    /// What happened instead.
    pub events: Vec<PhoneEvent>,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phone {}: not within {:?}; instead {:?}", self.user, self.limit, self.events)
    }
}

impl std::error::Error for Waited {}

/// A running phone. Dropping it hangs up and ends its thread.
pub struct Phone {
    user: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    wake: UnixDatagram,
    thread: Option<JoinHandle<()>>,
}

impl Phone {
    /// Starts a phone.
    ///
    /// # Errors
    /// No socket or no thread is to be had.
    pub fn start(settings: PhoneSettings, observer: Option<Observer>) -> io::Result<Self> {
        let (wake, waker) = UnixDatagram::pair()?;
        let (socket, rtp) = run::sockets(settings.ip)?;
        let address = socket.local_addr()?;
        let user = settings.user.clone();
        let shared = Arc::new(Shared::new(observer));
        // Tags and branches need to differ, not to be secret: the port and the clock will do.
        let mut random = crate::random::Random::new(seed(address));
        let mut seed = [0; 32];
        for eight in seed.chunks_exact_mut(8) {
            eight.copy_from_slice(&random.next().to_le_bytes());
        }
        let run = Run::new(settings, Arc::clone(&shared), waker, socket, rtp, seed)?;
        let thread = std::thread::Builder::new().name(format!("phone {user}")).spawn(move || run.run())?;
        Ok(Self { user, address, shared, wake, thread: Some(thread) })
    }

    /// Its SIP address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Registers, and stays registered. [`PhoneEvent::Registered`] follows.
    pub fn register(&self) {
        self.command(Command::Register);
    }

    /// Calls a number at the box.
    pub fn call(&self, number: &str) {
        self.command(Command::Call(number.to_owned()));
    }

    /// Answers the call that rings.
    pub fn answer(&self) {
        self.command(Command::Answer);
    }

    /// Speaks these samples of 8 kHz after those that still wait. Without a call they are said
    /// when the next one is connected.
    pub fn say(&self, samples: &[i16]) {
        self.command(Command::Say(samples.to_vec()));
    }

    /// Presses keys, 100 ms each; other characters are passed over.
    pub fn press(&self, keys: &str) {
        self.command(Command::Press(keys.chars().filter_map(Digit::from_char).collect()));
    }

    /// Hangs up, or refuses the call that rings.
    pub fn hang_up(&self) {
        self.command(Command::HangUp);
    }

    /// Waits until `pick` takes an event. Events that it does not take are passed over and gone.
    ///
    /// # Errors
    /// [`Waited`] after `limit`.
    pub fn wait<T>(&self, limit: Duration, pick: impl FnMut(&PhoneEvent) -> Option<T>) -> Result<T, Waited> {
        self.shared.wait(Instant::now() + limit, pick).map_err(|events| Waited {
            user: self.user.clone(),
            limit,
            events,
        })
    }

    /// Waits for this event; [`Self::wait`].
    ///
    /// # Errors
    /// [`Waited`] after `limit`.
    pub fn wait_for(&self, limit: Duration, event: &PhoneEvent) -> Result<(), Waited> {
        self.wait(limit, |happened| (happened == event).then_some(()))
    }

    /// Waits for the end of the call and tells why it ended.
    ///
    /// # Errors
    /// [`Waited`] after `limit`.
    pub fn wait_end(&self, limit: Duration) -> Result<String, Waited> {
        self.wait(limit, |event| match event {
            PhoneEvent::Ended(why) => Some(why.clone()),
            PhoneEvent::Registered(_)
            | PhoneEvent::NotRegistered(_)
            | PhoneEvent::Incoming { .. }
            | PhoneEvent::Progress(_)
            | PhoneEvent::Connected
            | PhoneEvent::AllSaid
            | PhoneEvent::KeySent(_)
            | PhoneEvent::KeyHeard(_) => None,
        })
    }

    /// Everything heard since the last [`Self::forget`].
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.shared.heard()
    }

    /// Forgets what was heard.
    pub fn forget(&self) {
        self.shared.forget();
    }

    fn command(&self, command: Command) {
        self.shared.command(command);
        // A full socket is a waker that is not needed.
        let _ = self.wake.send(&[1]);
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone({} at {})", self.user, self.address)
    }
}

fn seed(address: SocketAddr) -> u64 {
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    clock ^ u64::from(address.port()) << 48
}
