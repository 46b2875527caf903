//! The customer's web server: one document, and the sounds it names.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::timeline::Timeline;

/// Longest request that is read, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Longest wait for a request.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Something that the server has.
pub(super) struct Page {
    /// Its path without query.
    pub(super) path: &'static str,
    /// What it is, in words.
    pub(super) name: &'static str,
    /// Media type.
    pub(super) media_type: &'static str,
    /// Bytes.
    pub(super) body: Vec<u8>,
}

/// Takes the port; nothing is answered yet.
pub(super) fn open() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Answers one request after the other until this program ends.
pub(super) fn serve(listener: TcpListener, pages: Vec<Page>, timeline: Timeline) -> io::Result<()> {
    std::thread::Builder::new().name("web".to_owned()).spawn(move || {
        for connection in listener.incoming() {
            // A connection that breaks is the client's loss.
            if let Ok(connection) = connection
                && let Err(error) = answer(connection, &pages, &timeline)
            {
                timeline.say("web", &format!("a connection broke: {error}"));
            }
        }
    })?;
    Ok(())
}

fn answer(mut connection: TcpStream, pages: &[Page], timeline: &Timeline) -> io::Result<()> {
    connection.set_read_timeout(Some(REQUEST_TIME_MAX))?;
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        let length = connection.read(&mut buffer)?;
        if length == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend_from_slice(buffer.get(..length).unwrap_or(&[]));
    }
    let text = String::from_utf8_lossy(&request);
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let (status, name, media_type, body) = match pages.iter().find(|page| page.path == path) {
        Some(page) => ("200 OK", page.name, page.media_type, page.body.as_slice()),
        None => ("404 Not Found", "nothing", "text/plain", b"not here\n".as_slice()),
    };
    timeline.say("web", &format!("{method} {target} -> {status}, {name}"));
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        connection.write_all(body)?;
    }
    connection.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_their_path() {
        let (listener, address) = open().unwrap();
        let page =
            Page { path: "/flow", name: "a document", media_type: "text/xml", body: b"<Response/>".to_vec() };
        serve(listener, vec![page], Timeline::new()).unwrap();
        let ask = |target: &str| {
            let mut connection = TcpStream::connect(address).unwrap();
            write!(connection, "GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            answer
        };
        let found = ask("/flow?from=1");
        assert!(
            found.starts_with("HTTP/1.1 200 OK\r\n") && found.ends_with("\r\n\r\n<Response/>"),
            "{found}"
        );
        assert!(ask("/other").starts_with("HTTP/1.1 404 "));
    }
}
