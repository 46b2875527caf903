//! How the client connects: whom TLS trusts, and the agent that keeps connections.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::transport::{ConnectionDetails, Connector, RustlsConnector, TcpConnector, Transport};
use ureq::{Agent, Error};

use super::resolve::GuardedResolver;

/// Who asks.
const USER_AGENT: &str = concat!("Tipring/", env!("CARGO_PKG_VERSION"));
/// Most connections kept open between requests.
const IDLE_MAX: usize = 8;
/// Most of them to one server.
pub(super) const IDLE_PER_HOST_MAX: usize = 2;
/// How long a connection is kept. Common servers close after five seconds; a request
/// on a connection that is just being closed would fail for no reason.
const IDLE_AGE: Duration = Duration::from_secs(4);
/// Longest response header, in bytes.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Each buffer of a connection, in bytes: more than the longest header.
const BUFFER_BYTES: usize = 64 * 1024;

/// The client, without proxy, redirects of its own, or an opinion on statuses.
pub(super) fn agent(resolver: GuardedResolver, connect_max: Duration) -> Agent {
    let tls = TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(roots()).build();
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .user_agent(USER_AGENT)
        .max_response_header_size(HEADER_BYTES_MAX)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_connections(IDLE_MAX)
        .max_idle_connections_per_host(IDLE_PER_HOST_MAX)
        .max_idle_age(IDLE_AGE)
        .timeout_connect(Some(connect_max))
        .tls_config(tls)
        .build();
    let connector = ().chain(Witness).chain(TcpConnector::default()).chain(SharedTls::default());
    Agent::with_parts(config, connector, resolver)
}

/// The system's certificates, where the owner may have added his own; without any,
/// those that came with the program.
fn roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        return RootCerts::WebPki;
    }
    found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).into()
}

thread_local! {
    /// Whether this thread has begun a connection since it last asked.
    static CONNECTED: Cell<bool> = const { Cell::new(false) };
}

/// True if this thread has begun a new connection since the last question, false if
/// what it sent went over one that was kept.
pub(super) fn has_connected() -> bool {
    CONNECTED.take()
}

/// Sees each new connection begin. The client connects on the thread that asks.
#[derive(Debug)]
struct Witness;

impl<In: Transport> Connector<In> for Witness {
    type Out = In;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<In>, Error> {
        CONNECTED.set(true);
        Ok(chained)
    }
}

/// TLS with one set of certificates for all requests. On its own, the connector reads
/// them anew for each request that brings settings, and each of ours brings its
/// timeout.
#[derive(Debug, Default)]
struct SharedTls(RustlsConnector);

impl<In: Transport> Connector<In> for SharedTls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let agent_level = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: false,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        self.0.connect(&agent_level, chained)
    }
}
