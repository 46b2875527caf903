//! Who listens for HTTP and HTTPS, and the limits of every connection.
//!
//! Everything runs on the daemon's own thread beside the calls: what is over a limit is refused
//! before it costs anything.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
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
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use crate::access::{Ports, Via};
use crate::guests::{Full, Guests, Place};
use crate::patience::Patience;

/// Connections at one time, and those of one address.
pub const CONNECTIONS_MAX: usize = 64;
/// See [`CONNECTIONS_MAX`].
pub const CONNECTIONS_OF_ONE_MAX: usize = 48;
/// Connections over these that are told so at one time, and those of one address; others are let go
/// without a word.
pub const REFUSALS_MAX: usize = 16;
/// See [`REFUSALS_MAX`].
pub const REFUSALS_OF_ONE_MAX: usize = 8;
/// Longest request line with all header fields, in bytes.
pub const HEADER_BYTES_MAX: usize = 16_384;
/// Most header fields.
const HEADERS_MAX: usize = 64;
/// Longest body, in bytes: 64 KiB in which every byte is written as three, and the rest.
pub const BODY_BYTES_MAX: usize = 262_144;
/// Longest wait for a handshake, for the header of a request (also the first of the next one), and
/// for a body.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// Longest time for telling somebody that there is no room, with the handshake.
const REFUSAL_MAX: Duration = Duration::from_secs(3);
/// What is read of one who is told so, in bytes.
const REFUSED_BYTES_MAX: u64 = 65_536;
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
        let guests = Guests::new(CONNECTIONS_MAX, CONNECTIONS_OF_ONE_MAX);
        let refused = Guests::new(REFUSALS_MAX, REFUSALS_OF_ONE_MAX);
        let rooms = Rooms { guests, refused };
        let plain = async {
            match self.http {
                Some(listener) => serve(listener, None, router.clone(), rooms.clone()).await,
                None => std::future::pending().await,
            }
        };
        let secure = async {
            match self.https {
                Some((listener, tls)) => {
                    serve(listener, Some(TlsAcceptor::from(tls)), router.clone(), rooms.clone()).await;
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

/// Who is served, and who is told that there is no room.
#[derive(Clone)]
struct Rooms {
    guests: Guests,
    refused: Guests,
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, rooms: Rooms) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let tls = tls.clone();
        let place = match rooms.guests.take_in(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                // One too many even for that is let go at once.
                if let Ok(place) = rooms.refused.take_in(peer.ip()) {
                    tokio::spawn(refuse(stream, tls, full, place));
                }
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else { continue };
        let via = Via { is_secure: tls.is_some(), local, peer };
        let router = router.clone();
        tokio::spawn(async move {
            receive(stream, tls, via, router).await;
            drop(place);
        });
    }
}

/// Tells a client that there is no room for its connection.
async fn refuse(stream: TcpStream, tls: Option<TlsAcceptor>, why: Full, place: Place) {
    let status = match why {
        Full::All => StatusCode::SERVICE_UNAVAILABLE,
        Full::OfOne => StatusCode::TOO_MANY_REQUESTS,
    };
    let told = async {
        match tls {
            None => turn_away(stream, status).await,
            Some(tls) => turn_away(tls.accept(stream).await?, status).await,
        }
    };
    // Whoever does not take it has no answer.
    let _ = tokio::time::timeout(REFUSAL_MAX, told).await;
    drop(place);
}

async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: StatusCode) -> io::Result<()> {
    const TEXT: &str = "too many connections at one time\n";
    let answer = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{TEXT}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        TEXT.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What it has sent is read, since a connection that is closed over unread bytes is reset, and
    // then the answer may be lost (RFC 9112 §9.6).
    tokio::io::copy(&mut stream.take(REFUSED_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

async fn receive(stream: TcpStream, tls: Option<TlsAcceptor>, via: Via, router: Router) {
    // Answers are short and waited for.
    let _ = stream.set_nodelay(true);
    let stream = Patience::new(stream);
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    async fn listen() -> SocketAddr {
        let listeners = Listeners::open(Some("127.0.0.1:0".parse().unwrap()), None).await.unwrap();
        let address = listeners.http().unwrap();
        tokio::spawn(listeners.serve(Router::new().fallback(async || "well")));
        address
    }

    /// A connection from this address of the machine.
    async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// What a request on it is answered, up to the end of the connection.
    async fn ask(mut stream: TcpStream) -> io::Result<String> {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn whoever_finds_no_room_is_told_so() {
        let address = listen().await;
        let mut inside = Vec::new();
        for _ in 0..CONNECTIONS_OF_ONE_MAX {
            inside.push(connect([127, 0, 0, 1], address).await);
        }
        let told = ask(connect([127, 0, 0, 1], address).await).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 429 ") && told.contains("\r\nRetry-After: 1\r\n"), "{told}");
        for _ in CONNECTIONS_OF_ONE_MAX..CONNECTIONS_MAX {
            inside.push(connect([127, 0, 0, 2], address).await);
        }
        let told = ask(connect([127, 0, 0, 3], address).await).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("\r\nRetry-After: 1\r\n"), "{told}");
        // Those who say nothing and do not go are no more than there may be.
        let mut silent = Vec::new();
        for _ in 0..REFUSALS_OF_ONE_MAX {
            silent.push(connect([127, 0, 0, 4], address).await);
        }
        let told = ask(connect([127, 0, 0, 4], address).await).await.unwrap_or_default();
        assert!(told.is_empty(), "{told}");
        drop(inside);
        while !ask(connect([127, 0, 0, 5], address).await).await.unwrap_or_default().ends_with("well") {
            tokio::task::yield_now().await;
        }
    }
}
