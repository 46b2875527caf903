//! The cookies of one call (RFC 6265, as far as a call needs it): each goes back to the host
//! that set it.

use url::Url;

/// Cookies of one call; the oldest goes when there are more.
const COOKIES_MAX: usize = 32;
/// Longest name and value together.
const COOKIE_BYTES_MAX: usize = 4_096;

/// See the module.
#[derive(Default, Debug)]
pub(super) struct Cookies {
    all: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    host: String,
    is_secure: bool,
    name: String,
    value: String,
}

fn host_of(url: &str) -> Option<(String, bool)> {
    let url = Url::parse(url).ok()?;
    Some((url.host_str()?.to_owned(), url.scheme() == "https"))
}

impl Cookies {
    /// Keeps what the answer from `url` sets.
    pub(super) fn keep(&mut self, url: &str, headers: &[(String, String)]) {
        let Some((host, _)) = host_of(url) else { return };
        for (_, line) in headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let mut parts = line.split(';');
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim(), value.trim());
            let is_plain = !line.chars().any(char::is_control);
            if name.is_empty() || !is_plain || name.len() + value.len() > COOKIE_BYTES_MAX {
                continue;
            }
            let attributes: Vec<String> = parts.map(|part| part.trim().to_ascii_lowercase()).collect();
            let is_over = attributes
                .iter()
                .filter_map(|part| part.strip_prefix("max-age="))
                .any(|age| age.parse::<i64>().is_ok_and(|age| age <= 0));
            self.all.retain(|cookie| cookie.host != host || cookie.name != name);
            if is_over {
                continue;
            }
            if self.all.len() >= COOKIES_MAX {
                self.all.remove(0);
            }
            self.all.push(Cookie {
                host: host.clone(),
                is_secure: attributes.iter().any(|part| part == "secure"),
                name: name.to_owned(),
                value: value.to_owned(),
            });
        }
    }

    /// The header field for a request to `url`.
    pub(super) fn header(&self, url: &str) -> Option<String> {
        let (host, is_tls) = host_of(url)?;
        let own = self.all.iter().filter(|cookie| cookie.host == host && (is_tls || !cookie.is_secure));
        let pairs: Vec<String> = own.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> Vec<(String, String)> {
        lines.iter().map(|line| ("set-cookie".to_owned(), (*line).to_owned())).collect()
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_alone() {
        let mut cookies = Cookies::default();
        cookies.keep("https://a.test/x", &set(&["s=1; Path=/; HttpOnly", "t=2; Secure", "bad", "=x"]));
        assert_eq!(cookies.header("https://a.test/y").as_deref(), Some("s=1; t=2"));
        assert_eq!(cookies.header("http://a.test/y").as_deref(), Some("s=1"));
        assert_eq!(cookies.header("https://b.test/y"), None);
        cookies.keep("https://a.test/x", &set(&["s=3", "t=; Max-Age=0", "u=a\u{1}b"]));
        assert_eq!(cookies.header("https://a.test/y").as_deref(), Some("s=3"));
    }

    #[test]
    fn there_are_never_more_than_the_limit() {
        let mut cookies = Cookies::default();
        for n in 0..100 {
            cookies.keep("http://a.test/", &set(&[&format!("c{n}=1")]));
        }
        assert_eq!(cookies.all.len(), COOKIES_MAX);
        cookies.keep("http://a.test/", &set(&[&format!("long={}", "x".repeat(COOKIE_BYTES_MAX))]));
        assert!(!cookies.header("http://a.test/").unwrap().contains("long"));
    }
}
