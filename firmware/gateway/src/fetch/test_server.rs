//! A small HTTP server for tests, on a port of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// What the server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// For example `GET /x HTTP/1.1`.
    pub(crate) line: String,
    /// Names in lower case, and values.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does then.
pub(crate) enum Reaction {
    /// These bytes, and the next request on the same connection.
    Reply(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// These bytes, then one more every 20 ms as long as the client takes them.
    Drip(Vec<u8>),
    /// Nothing until the client gives up.
    Hang,
}

/// A complete answer.
pub(crate) fn reply(status: u16, fields: &str, body: &[u8]) -> Reaction {
    let mut bytes =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{fields}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Reaction::Reply(bytes)
}

type React = dyn Fn(&Seen) -> Reaction + Send + Sync;

pub(crate) struct TestServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    react: Box<React>,
    connections: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    stopped: AtomicBool,
}

impl TestServer {
    pub(crate) fn start(react: impl Fn(&Seen) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            react: Box::new(react),
            connections: AtomicUsize::new(0),
            seen: Mutex::new(Vec::new()),
            stopped: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if server.stopped.load(Ordering::Acquire) {
                    return;
                }
                server.connections.fetch_add(1, Ordering::AcqRel);
                let server = Arc::clone(&server);
                // The client may cut the connection at any time.
                thread::spawn(move || stream.and_then(|stream| server.serve(&stream)));
            }
        });
        Self { addr, shared }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while let Some(seen) = read_request(&mut reader)? {
            self.seen.lock().unwrap().push(seen.clone());
            match (self.react)(&seen) {
                Reaction::Reply(bytes) => writer.write_all(&bytes)?,
                Reaction::Last(bytes) => return writer.write_all(&bytes),
                Reaction::Drip(bytes) => {
                    writer.write_all(&bytes)?;
                    let (_open, never) = mpsc::sync_channel::<()>(0);
                    loop {
                        let _ = never.recv_timeout(Duration::from_millis(20));
                        writer.write_all(b"x")?;
                    }
                }
                Reaction::Hang => {
                    let mut rest = Vec::new();
                    reader.read_to_end(&mut rest)?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let Some((name, value)) = field.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut seen = Seen { line: line.trim().to_owned(), headers, body: Vec::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body)?;
    Ok(Some(seen))
}
