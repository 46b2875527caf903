//! Where the box is reached by HTTP, as others are told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tipring_web::asks::Reached;
use tipring_web::listen::Listeners;

use crate::config::Config;

/// What is known of it.
pub(super) struct Reach {
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    host: Option<String>,
    name: String,
}

impl Reach {
    pub(super) fn new(config: &Config, web: &Listeners) -> Self {
        Self {
            http: web.http(),
            https: web.https(),
            host: config.web.host.clone(),
            name: config.general.name.clone(),
        }
    }

    /// Where the box is reached by whoever has not said it himself: by the name of the
    /// configuration, else by the address that it listens on. Where that is every address: by the one
    /// that leads out, else by its own name. What a client calls it counts for that client alone.
    pub(super) fn usual(&self) -> Reached {
        let at = |scheme: &str, address: Option<SocketAddr>| {
            let address = address?;
            let own =
                if address.ip().is_unspecified() { leads_out(address.ip()) } else { Some(address.ip()) };
            let host = match (&self.host, own) {
                (Some(host), _) => host.clone(),
                (None, Some(IpAddr::V6(own))) => format!("[{own}]"),
                (None, Some(IpAddr::V4(own))) => own.to_string(),
                (None, None) => self.name.clone(),
            };
            Some(format!("{scheme}://{host}:{}", address.port()))
        };
        Reached { http: at("http", self.http), https: at("https", self.https) }
    }

    /// The address of a path of the box. As for sessions, it is in the clear unless that is off: a
    /// certificate of the box's own is not known to those who are told.
    pub(super) fn at(&self, path: &str) -> String {
        let Reached { http, https } = self.usual();
        format!("{}{path}", http.or(https).unwrap_or_default())
    }
}

/// The address of the box from which packets leave the office network. Nothing is sent: connecting
/// a UDP socket only asks for the route. The far ends are those of RFC 5737 and RFC 3849.
fn leads_out(listening: IpAddr) -> Option<IpAddr> {
    const ANY_PORT: u16 = 9;
    const FAR: (Ipv4Addr, Ipv6Addr) =
        (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let from = |own: IpAddr, far: IpAddr| {
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((far, ANY_PORT)).ok()?;
        socket.local_addr().ok().map(|at| at.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
    };
    let by_v4 = || from(Ipv4Addr::UNSPECIFIED.into(), FAR.0.into());
    // Who listens on every address of IPv6 does so on those of IPv4, too.
    if listening.is_ipv4() { by_v4() } else { by_v4().or_else(|| from(listening, FAR.1.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(http: &str, https: Option<&str>, host: Option<&str>) -> Reach {
        Reach {
            http: Some(http.parse().unwrap()),
            https: https.map(|at| at.parse().unwrap()),
            host: host.map(str::to_owned),
            name: "box-1".to_owned(),
        }
    }

    #[test]
    fn what_is_configured_comes_before_what_is_found_out() {
        let named = reach("0.0.0.0:80", Some("0.0.0.0:443"), Some("box.lan"));
        let bound = reach("192.168.1.2:8080", None, None);
        let open = reach("0.0.0.0:8080", None, None);
        for reach in [&named, &bound, &open] {
            let before = reach.at("/a");
            assert!(before.starts_with("http://") && before.ends_with("/a") && !before.contains("0.0.0.0"));
        }
        assert_eq!(named.usual().https.as_deref(), Some("https://box.lan:443"));
        assert_eq!(named.at("/a"), "http://box.lan:80/a");
        assert_eq!(bound.at("/a"), "http://192.168.1.2:8080/a");
    }
}
