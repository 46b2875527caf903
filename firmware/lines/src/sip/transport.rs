//! Sockets and clock of the SIP lines, on the main thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tipring_model::lamp::{Lamp, MessagesWaiting};
use tipring_model::line::{LineCommand, LineEvent};
use tipring_model::{LegId, LineId};
use tipring_sip::message::{Frame, StreamFramer};
use tipring_sip::{Hop, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;

use super::options::{SipCounters, SipOptions};
use super::settings::SipSettings;
use super::stack::{Stack, UNREGISTER_WAIT, is_datagram};
use crate::{LineStatus, MediaPort};

/// Why the SIP lines cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SipError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system has no randomness.
    #[error("the system has no random numbers")]
    Random,
}

/// As many lamps are lit as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many lamps are lit")]
pub struct TooManyLamps;

/// Longest datagram that is read, in bytes; longer ones are malformed.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024 + 1;
/// Datagrams handled before others on the thread get their turn.
const DATAGRAMS_A_TURN: usize = 64;
/// The kernel keeps this much for a burst, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Connections at one time.
const CONNECTIONS_MAX: usize = 256;
/// Messages that wait for a slow connection; then it is closed. One read can bring
/// some forty requests, each with its answers.
const CONNECTION_QUEUE_MAX: usize = 256;
/// A connection that is silent for this long is closed.
const CONNECTION_IDLE: Duration = Duration::from_secs(3_600);
/// How often the names of trunks are looked up again, and after a failure.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);
const RESOLVE_RETRY: Duration = Duration::from_secs(5);
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The UDP socket's number in a [`Hop`]; connections count from 1.
const UDP_SOCKET: u32 = 0;

/// All SIP lines. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct SipLines(Rc<Shared>);

struct Shared {
    stack: RefCell<Stack>,
    udp: Option<(UdpSocket, SocketAddr)>,
    tcp: Option<SocketAddr>,
    connections: RefCell<HashMap<u32, Connection>>,
    next_connection: RefCell<u32>,
    /// Events wait for [`SipLines::event`].
    has_events: Notify,
    /// The earliest timer may have changed.
    timer_changed: Notify,
}

/// A connection as seen from outside its task; dropping this ends it.
struct Connection {
    outgoing: mpsc::Sender<Arc<[u8]>>,
    last_heard: Instant,
}

impl SipLines {
    /// Opens the sockets and begins to serve. Must be called within a
    /// `tokio::task::LocalSet`.
    ///
    /// # Errors
    /// See [`SipError`].
    pub async fn open(
        options: SipOptions,
        lines: Vec<(LineId, SipSettings)>,
        media: MediaPort,
    ) -> Result<Self, SipError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| SipError::Random)?;
        let udp = match options.udp {
            None => None,
            Some(address) => Some(bind_udp(address).map_err(|source| SipError::Bind { address, source })?),
        };
        let listener = match options.tcp {
            None => None,
            Some(address) => {
                Some(TcpListener::bind(address).await.map_err(|source| SipError::Bind { address, source })?)
            }
        };
        let tcp = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let shared = Rc::new(Shared {
            stack: RefCell::new(Stack::new(Instant::now(), options, lines, media, seed)),
            udp,
            tcp,
            connections: RefCell::new(HashMap::new()),
            next_connection: RefCell::new(UDP_SOCKET),
            has_events: Notify::new(),
            timer_changed: Notify::new(),
        });
        if shared.udp.is_some() {
            spawn_local(serve_udp(Rc::clone(&shared)));
        }
        if let Some(listener) = listener {
            spawn_local(serve_tcp(Rc::clone(&shared), listener));
        }
        spawn_local(keep_time(Rc::clone(&shared)));
        for (line, host, port, tcp) in shared.trunks() {
            spawn_local(reach_trunk(Rc::clone(&shared), line, host, port, tcp));
        }
        Ok(Self(shared))
    }

    /// The UDP address in use.
    #[must_use]
    pub fn udp(&self) -> Option<SocketAddr> {
        self.0.udp.as_ref().map(|(_, address)| *address)
    }

    /// The TCP address in use.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        self.0.tcp
    }

    /// Tells a line what to do. What comes of it arrives as an event.
    pub fn command(&self, line: LineId, command: LineCommand) {
        self.0.with(|stack, now| stack.command(now, line, command));
    }

    /// Says what waits in the mailboxes of a telephone, for its lamp.
    pub fn set_message_waiting(&self, line: LineId, mailboxes: &[MessagesWaiting]) {
        self.0.with(|stack, now| stack.set_message_waiting(now, line, mailboxes));
    }

    /// Lights a lamp by its name, beside what the telephone of that number does.
    ///
    /// # Errors
    /// [`TooManyLamps`]: it stays as it was.
    pub fn set_lamp(&self, name: &str, shows: Lamp) -> Result<(), TooManyLamps> {
        self.0.with(|stack, now| stack.light(now, name, shows))
    }

    /// The next event of any line.
    pub async fn event(&self) -> (LineId, LineEvent) {
        loop {
            if let Some(event) = self.try_event() {
                return event;
            }
            self.0.has_events.notified().await;
        }
    }

    /// The next event, if one waits.
    #[must_use]
    pub fn try_event(&self) -> Option<(LineId, LineEvent)> {
        self.0.stack.borrow_mut().events.pop_front()
    }

    /// How each line stands.
    #[must_use]
    pub fn status(&self) -> Vec<LineStatus> {
        self.0.stack.borrow().status(Instant::now())
    }

    /// The leg of another call that speaks on this one, after a transfer.
    #[must_use]
    pub fn patched(&self, leg: LegId) -> Option<LegId> {
        self.0.stack.borrow().patched(leg)
    }

    /// Counts.
    #[must_use]
    pub fn counters(&self) -> SipCounters {
        self.0.stack.borrow().counters()
    }

    /// Takes registrations back, and waits shortly for that.
    pub async fn close(&self) {
        let registered = self.0.with(Stack::unregister);
        if registered > 0 {
            tokio::time::sleep(UNREGISTER_WAIT).await;
        }
    }
}

impl Shared {
    /// Does something with the lines, then sends what came of it.
    fn with<T>(&self, act: impl FnOnce(&mut Stack, Instant) -> T) -> T {
        let mut stack = self.stack.borrow_mut();
        let before = stack.poll_timeout();
        let result = act(&mut stack, Instant::now());
        while let Some((hop, bytes)) = stack.sends.pop_front() {
            self.send(&hop, bytes);
        }
        if !stack.events.is_empty() {
            self.has_events.notify_one();
        }
        let after = stack.poll_timeout();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.timer_changed.notify_one();
        }
        result
    }

    fn send(&self, hop: &Hop, bytes: Arc<[u8]>) {
        if is_datagram(hop) {
            if let Some((socket, _)) = &self.udp {
                // A datagram that does not fit the socket is lost like any other:
                // its transaction sends it again.
                let _ = socket.try_send_to(&bytes, hop.remote);
            }
            return;
        }
        let mut connections = self.connections.borrow_mut();
        let stuck = connections
            .get(&hop.socket)
            .is_some_and(|connection| connection.outgoing.try_send(bytes).is_err());
        if stuck {
            // Dropping the sender ends the connection's task.
            connections.remove(&hop.socket);
        }
    }

    fn heard(&self, socket: u32) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(&socket) {
            connection.last_heard = Instant::now();
        }
    }

    /// Makes room for one connection more: the one that was silent longest goes.
    fn make_room(&self) {
        let mut connections = self.connections.borrow_mut();
        if connections.len() >= CONNECTIONS_MAX {
            let oldest = connections.iter().min_by_key(|(_, connection)| connection.last_heard);
            if let Some(socket) = oldest.map(|(socket, _)| *socket) {
                connections.remove(&socket);
            }
        }
    }

    fn trunks(&self) -> Vec<(LineId, String, u16, bool)> {
        self.stack.borrow().trunks()
    }

    fn local_towards(&self, bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
        self.stack.borrow_mut().local_towards(bound, remote.ip())
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // A smaller buffer works; it only holds shorter bursts.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}

async fn serve_udp(shared: Rc<Shared>) {
    let Some((socket, bound)) = &shared.udp else { return };
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        if socket.readable().await.is_err() {
            continue;
        }
        for _ in 0..DATAGRAMS_A_TURN {
            // An error is about an earlier datagram that could not be delivered.
            let (length, remote) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => continue,
            };
            let bytes = buffer.get(..length).unwrap_or(&[]);
            let local = shared.local_towards(*bound, remote);
            let hop = Hop { transport: Transport::Udp, socket: UDP_SOCKET, local, remote };
            shared.with(|stack, now| stack.received(now, hop, bytes));
        }
        tokio::task::yield_now().await;
    }
}

async fn keep_time(shared: Rc<Shared>) {
    /// Wakes at least this often, whatever is due.
    const IDLE: Duration = Duration::from_secs(60);
    loop {
        let due = shared.stack.borrow().poll_timeout();
        let due = due.unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {
                shared.with(|stack, now| stack.timeout(now));
            }
            () = shared.timer_changed.notified() => {}
        }
    }
}

async fn serve_tcp(shared: Rc<Shared>, listener: TcpListener) {
    /// After running out of descriptors, accepting at once again would spin.
    const BACK_OFF: Duration = Duration::from_millis(100);
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                // A stranger's is closed at once, by dropping it.
                if shared.stack.borrow().knows(remote.ip()) {
                    shared.make_room();
                    let _ = adopt(&shared, stream, remote);
                }
            }
            Err(_) => tokio::time::sleep(BACK_OFF).await,
        }
    }
}

/// Serves a connection from now on.
fn adopt(shared: &Rc<Shared>, stream: TcpStream, remote: SocketAddr) -> Option<Hop> {
    let bound = stream.local_addr().ok()?;
    // Messages are small and wait for nobody.
    let _ = stream.set_nodelay(true);
    let socket = {
        let mut next = shared.next_connection.borrow_mut();
        *next = next.wrapping_add(1).max(UDP_SOCKET + 1);
        *next
    };
    // Peers reach us at the port we listen on, not at that of this connection.
    let port = shared.tcp.map_or(bound.port(), |listening| listening.port());
    let local = shared.local_towards(SocketAddr::new(bound.ip(), port), remote);
    let hop = Hop { transport: Transport::Tcp, socket, local, remote };
    let (outgoing, receiver) = mpsc::channel(CONNECTION_QUEUE_MAX);
    let connection = Connection { outgoing, last_heard: Instant::now() };
    shared.connections.borrow_mut().insert(socket, connection);
    let (reading, writing) = stream.into_split();
    spawn_local(serve_connection(Rc::clone(shared), hop, reading, writing, receiver));
    Some(hop)
}

async fn serve_connection(
    shared: Rc<Shared>,
    hop: Hop,
    mut reading: OwnedReadHalf,
    mut writing: OwnedWriteHalf,
    mut outgoing: mpsc::Receiver<Arc<[u8]>>,
) {
    let mut framer = StreamFramer::new();
    let mut buffer = vec![0; 8 * 1024];
    'open: loop {
        tokio::select! {
            // What is answered goes out before more is read.
            biased;
            message = outgoing.recv() => {
                let Some(message) = message else { break };
                let written = tokio::time::timeout(CONNECT_MAX, writing.write_all(&message)).await;
                if !matches!(written, Ok(Ok(()))) {
                    break;
                }
            }
            read = tokio::time::timeout(CONNECTION_IDLE, reading.read(&mut buffer)) => {
                let Ok(Ok(length @ 1..)) = read else { break };
                shared.heard(hop.socket);
                framer.push(buffer.get(..length).unwrap_or(&[]));
                while let Some(frame) = framer.take() {
                    match frame {
                        Ok(Frame::Message(bytes)) => shared.with(|stack, now| stack.received(now, hop, bytes)),
                        Ok(Frame::Ping) => {
                            if writing.write_all(b"\r\n").await.is_err() {
                                break 'open;
                            }
                        }
                        Err(_) => break 'open,
                    }
                }
            }
        }
    }
    // What was answered before the end still goes out.
    while let Ok(message) = outgoing.try_recv() {
        if writing.write_all(&message).await.is_err() {
            break;
        }
    }
    shared.connections.borrow_mut().remove(&hop.socket);
    shared.with(|stack, now| stack.transport_failed(now, hop));
}

/// Keeps the way to a trunk open: looks its name up, connects where it is over TCP.
async fn reach_trunk(shared: Rc<Shared>, line: LineId, host: String, port: u16, tcp: bool) {
    loop {
        let addresses: Vec<SocketAddr> = match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(found) => found.collect(),
            Err(_) => Vec::new(),
        };
        let ips = addresses.iter().map(SocketAddr::ip).collect();
        let same_family = |remote: &&SocketAddr| {
            shared.udp.as_ref().is_none_or(|(_, bound)| bound.is_ipv4() == remote.is_ipv4())
        };
        let Some(remote) = addresses.iter().find(same_family).copied() else {
            tracing::warn!(code = "TR-SIP-DNS", host, "the trunk's name is not found");
            // The addresses known so far stay good: names fail more often than hosts.
            tokio::time::sleep(RESOLVE_RETRY).await;
            continue;
        };
        if tcp {
            let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(remote)).await;
            let hop = match connected {
                Ok(Ok(stream)) => adopt(&shared, stream, remote),
                Ok(Err(_)) | Err(_) => None,
            };
            shared.with(|stack, now| stack.trunk_reachable(now, line, hop, ips));
            if let Some(hop) = hop {
                closed(&shared, hop.socket).await;
                shared.with(|stack, now| stack.trunk_reachable(now, line, None, Vec::new()));
            }
            tokio::time::sleep(RESOLVE_RETRY).await;
        } else if let Some((_, bound)) = &shared.udp {
            let local = shared.local_towards(*bound, remote);
            let hop = Hop { transport: Transport::Udp, socket: UDP_SOCKET, local, remote };
            shared.with(|stack, now| stack.trunk_reachable(now, line, Some(hop), ips));
            tokio::time::sleep(RESOLVE_EVERY).await;
        } else {
            return;
        }
    }
}

/// Until a connection is gone.
async fn closed(shared: &Shared, socket: u32) {
    let outgoing = shared.connections.borrow().get(&socket).map(|connection| connection.outgoing.clone());
    if let Some(outgoing) = outgoing {
        outgoing.closed().await;
    }
}
