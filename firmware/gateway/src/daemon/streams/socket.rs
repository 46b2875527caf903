//! Opens a WebSocket, to such servers alone as flows may talk to.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tipring_model::fetch::FetchError;
use tipring_model::flow::StreamFailure;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::{Host, Url};

use super::messages::MESSAGE_BYTES_MAX;
use crate::fetch::Fetcher;

/// A connection, with TLS or without.
pub(super) type Socket = WebSocketStream<Box<dyn Wire>>;

/// Bytes both ways.
pub(super) trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Wire for T {}

/// Connects to `url`. Without TLS it goes to servers of the office alone.
///
/// # Errors
/// What is in the way.
pub(super) async fn open(fetcher: &Fetcher, url: &str) -> Result<Socket, StreamFailure> {
    let failed = StreamFailure::Fetch;
    let mut url = Url::parse(url).map_err(|_| failed(FetchError::BadUrl))?;
    url.set_fragment(None);
    let is_secure = match url.scheme() {
        "wss" => true,
        "ws" => false,
        _ => return Err(failed(FetchError::BadUrl)),
    };
    let authorization = basic(&url);
    // Neither fails for a URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let host = url.host().ok_or(failed(FetchError::BadUrl))?;
    let port = url.port().unwrap_or(if is_secure { 443 } else { 80 });
    let name = match &host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let addresses = fetcher.addresses(&name, port, !is_secure).await.map_err(failed)?;
    let mut stream = Err(failed(FetchError::Unreachable));
    for address in addresses {
        if let Ok(connected) = TcpStream::connect(address).await {
            // A frame every 20 ms must not wait for the next.
            let _ = connected.set_nodelay(true);
            stream = Ok(connected);
            break;
        }
    }
    let wire: Box<dyn Wire> = if is_secure {
        let name = ServerName::try_from(name).map_err(|_| failed(FetchError::BadUrl))?;
        let connector = TlsConnector::from(Arc::clone(&TLS));
        let secured = connector.connect(name, stream?).await;
        Box::new(secured.map_err(|_| failed(FetchError::Tls))?)
    } else {
        Box::new(stream?)
    };
    let mut request = url.as_str().into_client_request().map_err(|_| failed(FetchError::BadUrl))?;
    if let Some(value) = authorization {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match client_async_with_config(request, wire, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(StreamFailure::Status(answer.status().as_u16())),
        Err(Error::Io(_)) => Err(failed(FetchError::Cut)),
        Err(_) => Err(failed(FetchError::Protocol)),
    }
}

/// The name and password of a URL as a header field (RFC 7617).
fn basic(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The system's certificates, where the owner may have added his own.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
});
