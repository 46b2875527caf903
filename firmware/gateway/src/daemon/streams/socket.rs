//! Opens a WebSocket, to such servers alone as flows may talk to.

use std::sync::{Arc, LazyLock};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
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

/// Connects to `url`, and gives the code of what is in the way otherwise. Without TLS it goes
/// to servers of the office alone.
pub(super) async fn open(fetcher: &Fetcher, url: &str) -> Result<Socket, &'static str> {
    let parsed = Url::parse(url).map_err(|_| "TR-HOOK-URL")?;
    let is_secure = match parsed.scheme() {
        "wss" => true,
        "ws" => false,
        _ => return Err("TR-HOOK-URL"),
    };
    let host = parsed.host().ok_or("TR-HOOK-URL")?;
    let port = parsed.port().unwrap_or(if is_secure { 443 } else { 80 });
    let name = match &host {
        Host::Domain(name) => (*name).to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let addresses = fetcher.addresses(&name, port, !is_secure).await.map_err(|error| error.code())?;
    let mut stream = Err("TR-HOOK-UNREACH");
    for address in addresses {
        if let Ok(connected) = TcpStream::connect(address).await {
            // A frame every 20 ms must not wait for the next.
            let _ = connected.set_nodelay(true);
            stream = Ok(connected);
            break;
        }
    }
    let wire: Box<dyn Wire> = if is_secure {
        let name = ServerName::try_from(name).map_err(|_| "TR-HOOK-URL")?;
        let connector = TlsConnector::from(Arc::clone(&TLS));
        Box::new(connector.connect(name, stream?).await.map_err(|_| "TR-HOOK-TLS")?)
    } else {
        Box::new(stream?)
    };
    let request = url.into_client_request().map_err(|_| "TR-HOOK-URL")?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let opened = client_async_with_config(request, wire, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(|_| "TR-HOOK-PROTOCOL")
}

/// The system's certificates, where the owner may have added his own.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
});
