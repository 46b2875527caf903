//! Who listens for HTTP and HTTPS, and the limits of every connection.
//!
//! Everything runs on the daemon's own thread beside the calls: what is over a limit is refused
//! before it costs anything.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::http::request::Parts;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::access::{Ports, Via};

/// Connections at one time, and those of one address.
pub const CONNECTIONS_MAX: usize = 64;
/// See [`CONNECTIONS_MAX`].
pub const CONNECTIONS_OF_ONE_MAX: usize = 48;
/// Longest request line with all header fields, in bytes.
pub const HEADER_BYTES_MAX: usize = 16_384;
/// Most header fields.
const HEADERS_MAX: usize = 64;
/// Longest body, in bytes: 64 KiB in which every byte is written as three, and the rest.
pub const BODY_BYTES_MAX: usize = 262_144;
/// Longest wait for a handshake, for the header of a request (also the first of the next one), and
/// for a body.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// How long nobody is taken in when the system has no more to give.
const PAUSE: Duration = Duration::from_millis(200);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("HTTP cannot listen on {address}")]
pub struct BindFault {
    /// Which.
    pub address: SocketAddr,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// Sockets that are open and not yet served.
pub struct Listeners {
    http: Option<TcpListener>,
    https: Option<(TcpListener, Arc<ServerConfig>)>,
}

impl Listeners {
    /// Opens what is asked for.
    ///
    /// # Errors
    /// See [`BindFault`].
    pub async fn open(
        http: Option<SocketAddr>,
        https: Option<(SocketAddr, Arc<ServerConfig>)>,
    ) -> Result<Self, BindFault> {
        let http = match http {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let https = match https {
            Some((address, tls)) => Some((bind(address).await?, tls)),
            None => None,
        };
        Ok(Self { http, https })
    }

    /// Where is listened in the clear.
    #[must_use]
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where is listened under TLS.
    #[must_use]
    pub fn https(&self) -> Option<SocketAddr> {
        self.https.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// The ports of both.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports { http: self.http().map(|at| at.port()), https: self.https().map(|at| at.port()) }
    }

    /// Serves both, for ever.
    pub async fn serve(self, router: Router) {
        let guests = Guests::default();
        let plain = async {
            match self.http {
                Some(listener) => serve(listener, None, router.clone(), guests.clone()).await,
                None => std::future::pending().await,
            }
        };
        let secure = async {
            match self.https {
                Some((listener, tls)) => {
                    serve(listener, Some(TlsAcceptor::from(tls)), router.clone(), guests.clone()).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::join!(plain, secure);
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BindFault> {
    TcpListener::bind(address).await.map_err(|source| BindFault { address, source })
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, guests: Guests) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // One too many is let go at once.
        let Some(place) = guests.take_in(peer.ip()) else { continue };
        let Ok(local) = stream.local_addr() else { continue };
        let via = Via { is_secure: tls.is_some(), local, peer };
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            receive(stream, tls, via, router).await;
            drop(place);
        });
    }
}

async fn receive(stream: TcpStream, tls: Option<TlsAcceptor>, via: Via, router: Router) {
    // Answers are short and waited for.
    let _ = stream.set_nodelay(true);
    match tls {
        None => converse(stream, via, router).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(ARRIVAL_MAX, tls.accept(stream)).await {
                converse(stream, via, router).await;
            }
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, via: Via, router: Router) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(via);
        router.clone().call(request.map(Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ARRIVAL_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A client that goes away, or speaks something else, is no fault of ours.
    let _ = connection.await;
}

/// The whole body of a request.
///
/// # Errors
/// The status that says what is wrong: 413, 408, or 400 where it breaks off.
pub(crate) async fn body_of(body: Body) -> Result<Vec<u8>, StatusCode> {
    use hyper::body::Body as _;
    let limit = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    if body.size_hint().lower() > limit {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    match tokio::time::timeout(ARRIVAL_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        Ok(Err(error)) => {
            let is_long = std::error::Error::source(&error)
                .is_some_and(|source| source.to_string().contains("length limit"));
            Err(if is_long { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST })
        }
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// The host that the client has asked for.
pub(crate) fn host_of(request: &Parts) -> Option<&str> {
    let whole = request.uri.authority().map(|authority| authority.as_str());
    whole.or_else(|| request.headers.get(HOST).and_then(|host| host.to_str().ok()))
}

/// Connections that are open, by address.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of a connection; dropping it gives it to another.
struct Place {
    guests: Guests,
    address: IpAddr,
}

impl Guests {
    fn take_in(&self, address: IpAddr) -> Option<Place> {
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = guests.values().sum();
        let own = guests.get(&address).copied().unwrap_or(0);
        if all >= CONNECTIONS_MAX || own >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        guests.insert(address, own + 1);
        Some(Place { guests: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = guests.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_takes_every_place() {
        let guests = Guests::default();
        let one: IpAddr = [192, 168, 1, 2].into();
        let places: Vec<_> = std::iter::from_fn(|| guests.take_in(one)).take(100).collect();
        assert_eq!(places.len(), CONNECTIONS_OF_ONE_MAX);
        let others: Vec<_> = (0..=255).filter_map(|last| guests.take_in([10, 0, 0, last].into())).collect();
        assert_eq!(others.len(), CONNECTIONS_MAX - CONNECTIONS_OF_ONE_MAX);
        assert!(guests.0.lock().unwrap().len() <= CONNECTIONS_MAX, "who was refused is remembered");
        drop((places, others));
        assert!(guests.take_in(one).is_some());
    }
}
