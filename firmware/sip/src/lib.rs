//! SIP without sockets, clocks or threads: messages, transactions, dialogs, calls, digest,
//! registrations, a registrar and session descriptions.
//!
//! ```text
//!                    bytes + Peer + Hop                    Event
//!   socket shell ------------------------> UserAgent ------------------> application
//!   (UDP, TCP, TLS) <--- Output::Send ---     ^  ^  <--- commands -------
//!                                             |  |
//!                      one timer -------------+  +--- sdp::answer, sdp::read_answer
//!                      for poll_timeout()             (the application's own affair)
//! ```
//!
//! # The contract
//!
//! 1. Call **one** method that changes the [`ua::UserAgent`]: [`handle`](ua::UserAgent::handle)
//!    or a command such as [`accept`](ua::UserAgent::accept). Each takes `now`, which never goes
//!    back.
//! 2. Drain [`poll`](ua::UserAgent::poll) to `None`: send what is to be sent, act on events.
//!    Commands in reaction to an event are step 1 again.
//! 3. Arm one timer for [`poll_timeout`](ua::UserAgent::poll_timeout) and call
//!    `handle(now, Input::Timeout)` when it is due; early or late does no harm.
//!
//! The shell says who sent a message ([`ua::Peer`]) before anything is looked at; an unknown
//! sender gets no answer. It resolves names and makes [`Hop`]s; this crate only hands them back.
//! On connections it cuts messages with [`message::StreamFramer`]. It decides nothing about SIP.
//!
//! Every call has one [`ua::CallKey`] and exactly one [`ua::Event::Ended`]. A transaction, a
//! dialog and every timer is freed when the RFC lets go of it; everything has a written limit.
//!
//! # Where things are
//!
//! | Module | What | RFC |
//! |---|---|---|
//! | [`message`] | parser, writer, stream framer | 3261 §7, §18.3, §25; 3581; 4475 |
//! | [`uri`], [`NameAddr`] | addresses | 3261 §19, §20.10; 3966 |
//! | [`transaction`] | the four machines | 3261 §17; 6026 |
//! | [`dialog`] | tags, routes, sequence | 3261 §12 |
//! | [`ua`] | calls, registrations, phones | 3261 §8–§15; 3311; 6086 |
//! | [`auth`] | digest client and server | 7616; 8760 |
//! | [`registrar`] | where phones are | 3261 §10.3 |
//! | [`sdp`] | offer and answer | 8866; 3264; 4733 |
//!
//! # What is refused on purpose
//!
//! Folded headers, white space before a colon, bare CR or LF, control characters and single
//! headers that appear twice are answered 400 or dropped, never guessed at: two elements that
//! read such a message differently can be played against each other. Transfer, subscriptions,
//! instant messages, reliable provisional answers and session timers are not there.
//!
//! # One call
//!
//! ```
//! use std::time::Instant;
//! use tipring_sip::ua::{Event, Input, Output, Peer, Settings, UserAgent};
//! use tipring_sip::{Hop, Transport};
//!
//! # fn clock() -> Instant { Instant::now() }
//! let now = clock();
//! let mut ua = UserAgent::new(now, Settings::default(), [7; 32]); // the seed: random bytes
//! let hop = Hop {
//!     transport: Transport::Udp,
//!     socket: 0,
//!     local: "192.0.2.1:5060".parse().unwrap(),
//!     remote: "192.0.2.2:5060".parse().unwrap(),
//! };
//! let invite = b"INVITE sip:200@192.0.2.1 SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx;rport\r\nMax-Forwards: 70\r\n\
//!     From: <sip:100@192.0.2.2>;tag=a\r\nTo: <sip:200@192.0.2.1>\r\nCall-ID: c\r\n\
//!     CSeq: 1 INVITE\r\nContact: <sip:100@192.0.2.2>\r\n\r\n";
//! ua.handle(now, Input::Received { peer: Peer::Trusted(1), hop, bytes: invite });
//!
//! let mut sent: Vec<(Hop, _)> = Vec::new();
//! let mut call = None;
//! while let Some(output) = ua.poll() {
//!     match output {
//!         Output::Send { hop, bytes } => sent.push((hop, bytes)), // socket.send_to(...)
//!         Output::Event(Event::Incoming(incoming)) => {
//!             assert_eq!(incoming.target.user().as_deref(), Some("200"));
//!             call = Some(incoming.call);
//!         }
//!         Output::Event(_) => {}
//!     }
//! }
//! assert!(sent.is_empty()); // A 100 goes out when nothing else was said within 200 ms.
//!
//! ua.accept(now, call.unwrap(), b"v=0\r\n").unwrap();
//! let Some(Output::Send { bytes, .. }) = ua.poll() else { panic!("a 200") };
//! assert!(bytes.starts_with(b"SIP/2.0 200 OK\r\n"));
//! // The 200 goes out again after T1 unless the ACK comes.
//! assert_eq!(ua.poll_timeout(), Some(now + Settings::default().timing.t1));
//! ```

mod header;
mod hop;
mod lex;
mod method;
mod name_addr;
mod random;
mod registration;
mod timer_queue;

pub mod auth;
pub mod dialog;
pub mod lamps;
pub mod message;
pub mod registrar;
pub mod sdp;
pub mod transaction;
pub mod ua;
pub mod uri;

pub use header::HeaderName;
pub use hop::{Hop, Transport};
pub use method::Method;
pub use name_addr::{NameAddr, NameAddrError};
pub use registration::RegisterSettings;
pub use uri::{Scheme, Uri, UriError};
