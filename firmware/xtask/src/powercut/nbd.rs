//! The disk's side of NBD, as much of it as QEMU speaks: fixed newstyle negotiation, simple
//! replies, READ, WRITE, FLUSH and forced unit access.
//!
//! Pure but for the stream it is given; what a request does is the caller's.

use std::io::{self, Read, Write};

const GREETING: u64 = 0x4e42_444d_4147_4943; // "NBDMAGIC"
const OPTION: u64 = 0x4948_4156_454f_5054; // "IHAVEOPT"
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

/// Fixed newstyle, and no padding after the export's name.
const SERVER_FLAGS: u16 = 0b11;
/// There are flags; FLUSH and FUA are understood.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3;

const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_ABORT: u32 = 2;
const OPTION_INFO: u32 = 6;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 0x8000_0001;
const INFO_EXPORT: u16 = 0;
const INFO_BLOCK_SIZE: u16 = 3;

const COMMAND_READ: u16 = 0;
const COMMAND_WRITE: u16 = 1;
const COMMAND_DISCONNECT: u16 = 2;
const COMMAND_FLUSH: u16 = 3;
const FLAG_FUA: u16 = 1;
const INVALID: u32 = 22;

/// The longest option and the longest write that are read, in bytes.
const OPTION_BYTES_MAX: u32 = 4_096;
const DATA_BYTES_MAX: u32 = 32 * 1024 * 1024;

/// One request.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Request {
    Read { offset: u64, length: usize },
    Write { offset: u64, bytes: Vec<u8>, through: bool },
    Flush,
}

/// What comes of it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// It is done; what a READ gave.
    Done(Vec<u8>),
    /// It makes no sense.
    Refused,
    /// None, and none to what follows: the power is gone.
    Silence,
}

/// Serves one client of a disk of `bytes`, until it leaves or the answer is silence.
///
/// # Errors
/// The stream fails, or the client speaks something else.
pub(crate) fn serve(
    stream: &mut (impl Read + Write),
    bytes: u64,
    mut answer: impl FnMut(Request) -> Answer,
) -> io::Result<()> {
    if !negotiate(stream, bytes)? {
        return Ok(());
    }
    loop {
        let head: [u8; 28] = take(stream)?;
        let mut fields = head.as_slice();
        if number::<u32>(&mut fields)? != REQUEST {
            return Err(foreign("a request without its magic number"));
        }
        let flags: u16 = number(&mut fields)?;
        let command: u16 = number(&mut fields)?;
        let cookie: u64 = number(&mut fields)?;
        let offset: u64 = number(&mut fields)?;
        let length: u32 = number(&mut fields)?;
        if length > DATA_BYTES_MAX {
            return Err(foreign("a request for more than was offered"));
        }
        let length = length as usize;
        let answered = match command {
            COMMAND_READ => answer(Request::Read { offset, length }),
            COMMAND_WRITE => {
                let mut bytes = vec![0; length];
                stream.read_exact(&mut bytes)?;
                answer(Request::Write { offset, bytes, through: flags & FLAG_FUA != 0 })
            }
            COMMAND_FLUSH => answer(Request::Flush),
            COMMAND_DISCONNECT => return Ok(()),
            _ => Answer::Refused,
        };
        let (error, data) = match answered {
            Answer::Done(data) => (0, data),
            Answer::Refused => (INVALID, Vec::new()),
            Answer::Silence => return Ok(()),
        };
        let mut reply = REPLY.to_be_bytes().to_vec();
        reply.extend(error.to_be_bytes());
        reply.extend(cookie.to_be_bytes());
        reply.extend(data);
        stream.write_all(&reply)?;
    }
}

/// Gives whether the client wants the disk.
fn negotiate(stream: &mut (impl Read + Write), bytes: u64) -> io::Result<bool> {
    let mut greeting = GREETING.to_be_bytes().to_vec();
    greeting.extend(OPTION.to_be_bytes());
    greeting.extend(SERVER_FLAGS.to_be_bytes());
    stream.write_all(&greeting)?;
    let _client_flags: [u8; 4] = take(stream)?;
    loop {
        let head: [u8; 16] = take(stream)?;
        let mut fields = head.as_slice();
        if number::<u64>(&mut fields)? != OPTION {
            return Err(foreign("an option without its magic number"));
        }
        let option: u32 = number(&mut fields)?;
        let length: u32 = number(&mut fields)?;
        if length > OPTION_BYTES_MAX {
            return Err(foreign("an option that is too long"));
        }
        stream.read_exact(&mut vec![0; length as usize])?;
        match option {
            OPTION_EXPORT_NAME => {
                let mut export = bytes.to_be_bytes().to_vec();
                export.extend(EXPORT_FLAGS.to_be_bytes());
                stream.write_all(&export)?;
                return Ok(true);
            }
            OPTION_INFO | OPTION_GO => {
                let mut export = INFO_EXPORT.to_be_bytes().to_vec();
                export.extend(bytes.to_be_bytes());
                export.extend(EXPORT_FLAGS.to_be_bytes());
                option_reply(stream, option, REPLY_INFO, &export)?;
                let mut sizes = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
                for size in [512, 4_096, DATA_BYTES_MAX] {
                    sizes.extend(size.to_be_bytes());
                }
                option_reply(stream, option, REPLY_INFO, &sizes)?;
                option_reply(stream, option, REPLY_ACK, &[])?;
                if option == OPTION_GO {
                    return Ok(true);
                }
            }
            OPTION_ABORT => {
                option_reply(stream, option, REPLY_ACK, &[])?;
                return Ok(false);
            }
            _ => option_reply(stream, option, REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn option_reply(stream: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut reply = OPTION_REPLY.to_be_bytes().to_vec();
    reply.extend(option.to_be_bytes());
    reply.extend(kind.to_be_bytes());
    // No reply of ours is longer than a few numbers.
    reply.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    reply.extend(data);
    stream.write_all(&reply)
}

fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The next number of a head, most significant byte first.
fn number<T: TryFrom<u64>>(fields: &mut &[u8]) -> io::Result<T> {
    let mut value = 0;
    for byte in take_bytes(fields, size_of::<T>())? {
        value = value << 8 | u64::from(*byte);
    }
    T::try_from(value).map_err(|_| foreign("a number that is too large"))
}

fn take_bytes<'a>(fields: &mut &'a [u8], count: usize) -> io::Result<&'a [u8]> {
    let (taken, rest) = fields.split_at_checked(count).ok_or_else(|| foreign("a head that is too short"))?;
    *fields = rest;
    Ok(taken)
}

fn foreign(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that has said everything beforehand.
    struct Client {
        said: io::Cursor<Vec<u8>>,
        heard: Vec<u8>,
    }

    impl Read for Client {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.said.read(buffer)
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.heard.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn option(option: u32, data: &[u8]) -> Vec<u8> {
        [&OPTION.to_be_bytes()[..], &option.to_be_bytes(), &(data.len() as u32).to_be_bytes(), data].concat()
    }

    fn request(command: u16, flags: u16, offset: u64, length: u32) -> Vec<u8> {
        [
            &REQUEST.to_be_bytes()[..],
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &7_u64.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
        ]
        .concat()
    }

    /// What the requests were and what the client heard, without the greeting.
    fn talk(parts: &[Vec<u8>], silent_at: usize) -> (io::Result<()>, Vec<Request>, Vec<u8>) {
        let said = [vec![0, 0, 0, 3], parts.concat()].concat();
        let mut client = Client { said: io::Cursor::new(said), heard: Vec::new() };
        let mut requests = Vec::new();
        let result = serve(&mut client, 65_536, |request| {
            let answer = match &request {
                _ if requests.len() == silent_at => Answer::Silence,
                Request::Read { offset: 1, .. } => Answer::Refused,
                Request::Read { length, .. } => Answer::Done(vec![9; *length]),
                Request::Write { .. } | Request::Flush => Answer::Done(Vec::new()),
            };
            requests.push(request);
            answer
        });
        (result, requests, client.heard.split_off(18))
    }

    fn reply(error: u8, data: &[u8]) -> Vec<u8> {
        [&REPLY.to_be_bytes()[..], &[0, 0, 0, error, 0, 0, 0, 0, 0, 0, 0, 7], data].concat()
    }

    #[test]
    fn a_client_negotiates_reads_writes_flushes_and_leaves() {
        let (result, requests, heard) = talk(
            &[
                option(8, &[]),
                option(OPTION_GO, &[0; 6]),
                request(COMMAND_READ, 0, 512, 4),
                request(COMMAND_WRITE, FLAG_FUA, 1_024, 2),
                b"ab".to_vec(),
                request(COMMAND_WRITE, 0, 0, 1),
                b"c".to_vec(),
                request(COMMAND_FLUSH, 0, 0, 0),
                request(COMMAND_READ, 0, 1, 1),
                request(4, 0, 0, 512),
                request(COMMAND_DISCONNECT, 0, 0, 0),
                b"never read".to_vec(),
            ],
            usize::MAX,
        );
        result.unwrap();
        assert_eq!(
            requests,
            [
                Request::Read { offset: 512, length: 4 },
                Request::Write { offset: 1_024, bytes: b"ab".to_vec(), through: true },
                Request::Write { offset: 0, bytes: b"c".to_vec(), through: false },
                Request::Flush,
                Request::Read { offset: 1, length: 1 },
            ]
        );
        let replies =
            [reply(0, &[9; 4]), reply(0, &[]), reply(0, &[]), reply(0, &[]), reply(22, &[]), reply(22, &[])]
                .concat();
        assert!(heard.ends_with(&replies), "{heard:?}");
        // One refusal, two pieces of information and a yes stand before them.
        assert_eq!(heard.len() - replies.len(), 20 * 4 + 12 + 14);
    }

    #[test]
    fn once_the_power_is_gone_nothing_is_answered() {
        let (result, requests, heard) = talk(
            &[
                option(OPTION_EXPORT_NAME, b"disk"),
                request(COMMAND_FLUSH, 0, 0, 0),
                request(COMMAND_FLUSH, 0, 0, 0),
            ],
            0,
        );
        result.unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(heard.len(), 10, "only the export's size and flags");
    }

    #[test]
    fn what_speaks_something_else_is_refused() {
        let garbage = |parts: &[Vec<u8>]| talk(parts, usize::MAX).0.unwrap_err().kind();
        let go = option(OPTION_GO, &[]);
        assert_eq!(garbage(&[vec![b'x'; 64]]), io::ErrorKind::InvalidData);
        assert_eq!(garbage(&[option(OPTION_GO, &[0; 5_000])]), io::ErrorKind::InvalidData);
        assert_eq!(garbage(&[go.clone(), vec![b'x'; 64]]), io::ErrorKind::InvalidData);
        assert_eq!(garbage(&[go.clone(), request(COMMAND_READ, 0, 0, u32::MAX)]), io::ErrorKind::InvalidData);
        assert_eq!(garbage(&[go, request(COMMAND_WRITE, 0, 0, 9), vec![1]]), io::ErrorKind::UnexpectedEof);
    }
}
