//! Names to addresses, through the guard.
//!
//! The client connects to the addresses that leave here and to no others, so that
//! the guard has seen each of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use tipring_model::fetch::FetchError;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::guard::AllowList;

/// Most name lookups at a time. The system's resolver cannot be interrupted, so a
/// lookup that outlived its request still counts.
pub(super) const LOOKUPS_MAX: usize = 32;
/// Most addresses of one name that are tried; what the client has room for.
const ADDRESSES_MAX: usize = 16;
/// Stack of a lookup thread, in bytes: the C library's resolver works on the stack.
const LOOKUP_STACK_BYTES: usize = 512 * 1024;

/// Asks for the addresses of a name, with the port put to each. Blocks.
pub(super) type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The system's own resolver.
pub(super) fn system_lookup() -> Arc<Lookup> {
    Arc::new(|name, port| Ok((name, port).to_socket_addrs()?.collect()))
}

/// How long an old answer is good for when there is no new one, and how long a new one is
/// waited for when there is an old one.
const OLD_MAX: Duration = Duration::from_secs(24 * 3_600);
const NEW_WAIT: Duration = Duration::from_millis(500);
/// Names whose addresses are remembered; beyond, the oldest is forgotten.
const KNOWN_MAX: usize = 256;

/// The addresses that names had.
#[derive(Default)]
struct Known(BTreeMap<(String, u16), (Instant, Vec<SocketAddr>)>);

impl Known {
    fn get(&self, now: Instant, name: &str, port: u16) -> Option<Vec<SocketAddr>> {
        let (at, found) = self.0.get(&(name.to_owned(), port))?;
        (now.saturating_duration_since(*at) <= OLD_MAX).then(|| found.clone())
    }

    fn put(&mut self, now: Instant, name: &str, port: u16, found: &[SocketAddr]) {
        self.0.insert((name.to_owned(), port), (now, found.to_vec()));
        if self.0.len() > KNOWN_MAX
            && let Some(oldest) = self.0.iter().min_by_key(|(_, (at, _))| *at).map(|(name, _)| name.clone())
        {
            self.0.remove(&oldest);
        }
    }
}

/// Resolves and keeps only what the guard permits. While names are not answered, the
/// addresses of up to a day ago are used.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    known: Arc<Mutex<Known>>,
    allow: Arc<RwLock<AllowList>>,
    lookup: Arc<Lookup>,
    lookups: Arc<AtomicUsize>,
}

impl GuardedResolver {
    pub(super) fn new(allow: Arc<RwLock<AllowList>>, lookup: Arc<Lookup>) -> Self {
        Self { known: Arc::default(), allow, lookup, lookups: Arc::new(AtomicUsize::new(0)) }
    }

    fn look_up(&self, name: &str, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(now(), name, port);
        let wait = if known.is_some() { (*timeout.after).min(NEW_WAIT) } else { *timeout.after };
        match (self.ask(name, port, wait, timeout), known) {
            (Err(_), Some(known)) => Ok(known),
            (answer, _) => answer,
        }
    }

    fn ask(
        &self,
        name: &str,
        port: u16,
        wait: Duration,
        timeout: NextTimeout,
    ) -> Result<Vec<SocketAddr>, Error> {
        let running = RunningLookup::begin(&self.lookups).ok_or_else(|| carried(FetchError::Overload))?;
        let lookup = Arc::clone(&self.lookup);
        let name = name.to_owned();
        let known = Arc::clone(&self.known);
        let (reply, answer) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("fetch-lookup".to_owned())
            .stack_size(LOOKUP_STACK_BYTES)
            .spawn(move || {
                let found = lookup(&name, port);
                drop(running);
                if let Ok(found) = &found
                    && !found.is_empty()
                {
                    known.lock().unwrap_or_else(PoisonError::into_inner).put(now(), &name, port, found);
                }
                // The request may have given up.
                let _ = reply.send(found);
            })
            .map_err(|_| carried(FetchError::Overload))?;
        match answer.recv_timeout(wait) {
            Ok(found) => found.map_err(|_| Error::HostNotFound),
            Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(timeout.reason)),
            Err(RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
        }
    }
}

impl GuardedResolver {
    /// The addresses of `host` that flows may reach. Blocks for at most `wait`. With
    /// `listed_only` those are left out that need no leave.
    pub(super) fn addresses(
        &self,
        host: &str,
        port: u16,
        wait: Duration,
        listed_only: bool,
    ) -> Result<Vec<SocketAddr>, FetchError> {
        let timeout = NextTimeout {
            after: wait.into(),
            reason: ureq::Timeout::Resolve,
            per_read: None,
            per_write: None,
        };
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => self.look_up(host, port, timeout).map_err(|_| FetchError::NameNotFound)?,
        };
        let allow = self.allow.read().unwrap_or_else(PoisonError::into_inner);
        let permitted: Vec<SocketAddr> = found
            .into_iter()
            .filter(|addr| allow.permits_knowing(host, *addr, is_ours(addr.ip())))
            .filter(|addr| !listed_only || AllowList::is_private(addr.ip()))
            .take(ADDRESSES_MAX)
            .collect();
        if permitted.is_empty() { Err(FetchError::AddressRefused) } else { Ok(permitted) }
    }
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let found = match bare.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => self.look_up(bare, port, timeout)?,
        };
        if found.is_empty() {
            return Err(Error::HostNotFound);
        }
        let mut permitted = self.empty();
        let allow = self.allow.read().unwrap_or_else(PoisonError::into_inner);
        for addr in found
            .into_iter()
            .filter(|addr| allow.permits_knowing(host, *addr, is_ours(addr.ip())))
            .take(ADDRESSES_MAX)
        {
            permitted.push(addr);
        }
        if permitted.is_empty() { Err(carried(FetchError::AddressRefused)) } else { Ok(permitted) }
    }
}

impl fmt::Debug for GuardedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedResolver").field("lookups", &self.lookups).finish_non_exhaustive()
    }
}

/// The clock of what is remembered.
fn now() -> Instant {
    Instant::now()
}

/// True if the box has this address now: the kernel then chooses it as the sender's
/// too. Nothing is sent.
fn is_ours(ip: IpAddr) -> bool {
    let any = match ip {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    // Any port but 0 will do.
    UdpSocket::bind(any)
        .and_then(|socket| socket.connect((ip, 9)).and_then(|()| socket.local_addr()))
        .is_ok_and(|sender| sender.ip() == ip)
}

/// Our error, through the client and out again.
fn carried(error: FetchError) -> Error {
    Error::Other(Box::new(error))
}

/// Counts a lookup until its thread is through with it.
struct RunningLookup(Arc<AtomicUsize>);

impl RunningLookup {
    fn begin(count: &Arc<AtomicUsize>) -> Option<Self> {
        count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < LOOKUPS_MAX).then_some(running + 1)
            })
            .ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for RunningLookup {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_longer_answered_keeps_its_address_for_a_day() {
        let start = Instant::now();
        let address: SocketAddr = "192.0.2.1:80".parse().unwrap();
        let mut known = Known::default();
        known.put(start, "web.test", 80, &[address]);
        assert_eq!(known.get(start + OLD_MAX, "web.test", 80), Some(vec![address]));
        assert_eq!(known.get(start + OLD_MAX + Duration::from_secs(1), "web.test", 80), None);
        assert_eq!(known.get(start, "web.test", 81), None);
        for n in 1..=KNOWN_MAX {
            known.put(start + Duration::from_secs(n as u64), &n.to_string(), 80, &[]);
        }
        assert_eq!((known.0.len(), known.get(start, "web.test", 80)), (KNOWN_MAX, None));
    }

    #[test]
    fn the_kernel_knows_the_boxs_addresses() {
        for (ip, expected) in
            [("127.0.0.1", true), ("192.0.2.1", false), ("203.0.113.9", false), ("2001:db8::1", false)]
        {
            assert_eq!(is_ours(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
