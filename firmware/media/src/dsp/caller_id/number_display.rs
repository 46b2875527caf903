//! Messages of NTT's Number Display (V.23-JP).
//!
//! What does it do? Reads and writes the frame that carries the number in Japan.
//!
//! How does it work? `DLE SOH` header `DLE STX`, service type, length, parameters, `DLE ETX`,
//! two bytes of CRC. All but the CRC have seven bits and even parity. The CRC (ITU-T V.41,
//! least significant bit first, the low byte first) covers everything behind `DLE SOH`, parity
//! bits included. A byte of the value of `DLE` is doubled; some exchanges do so for the length,
//! some do not, and both are read.
//!
//! Limits: 128 bytes of parameters.

use super::{
    Absence, CallerId, LineMessage, LineTime, MessageBytes, MessageError, bytes::parameters, number_of,
};

const SOH: u8 = 0x01;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const DLE: u8 = 0x10;
/// The only header.
const HEADER: u8 = 0x07;
/// Service type: the caller's number.
const SERVICE_NUMBER: u8 = 0x40;

const DATE_TIME: u8 = 0x01;
const NUMBER: u8 = 0x02;
const NUMBER_ABSENT: u8 = 0x04;
const CALLED: u8 = 0x09;

/// Bytes of all parameters together.
const CONTENT_MAX: usize = 128;

/// Whether a frame begins like this: `DLE` with its parity.
#[must_use]
pub const fn begins(first: u8) -> bool {
    first == with_parity(DLE)
}

/// Whether all bytes of a frame are there, the CRC included.
#[must_use]
pub fn is_complete(bytes: &[u8]) -> bool {
    end_of(bytes).is_some_and(|end| bytes.len() >= end + 2)
}

/// Where the bytes behind `DLE ETX` begin.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let byte = bytes.get(at)? & 0x7f;
        let next = bytes.get(at + 1)? & 0x7f;
        match (byte, next) {
            (DLE, ETX) => return Some(at + 2),
            // Doubled, or one of the other pairs.
            (DLE, DLE | SOH | STX) => at += 2,
            _ => at += 1,
        }
    }
}

const fn with_parity(byte: u8) -> u8 {
    let byte = byte & 0x7f;
    byte | (byte.count_ones() as u8 & 1) << 7
}

/// Remainder of the bytes, least significant bit first.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte),
            |crc: u16, _| if crc & 1 == 1 { crc >> 1 ^ 0x8408 } else { crc >> 1 },
        )
    })
}

/// Reads a frame; bytes behind it are left alone.
///
/// # Errors
/// [`MessageError::Short`], [`Frame`](MessageError::Frame), [`Crc`](MessageError::Crc),
/// [`Parity`](MessageError::Parity), then [`Kind`](MessageError::Kind) or
/// [`Parameter`](MessageError::Parameter).
pub fn parse(bytes: &[u8]) -> Result<LineMessage, MessageError> {
    let end = end_of(bytes).ok_or(MessageError::Short)?;
    let (Some(frame), Some(tail)) = (bytes.get(..end), bytes.get(end..end + 2)) else {
        return Err(MessageError::Short);
    };
    let Some(covered) = frame.get(2..) else { return Err(MessageError::Frame) };
    if crc(covered) != u16::from_le_bytes([tail[0], tail[1]]) {
        return Err(MessageError::Crc);
    }
    if frame.iter().any(|byte| byte.count_ones() % 2 == 1) {
        return Err(MessageError::Parity);
    }
    let seven = |at: usize| frame.get(at).map(|byte| byte & 0x7f);
    let opens = [DLE, SOH, HEADER, DLE, STX];
    if !opens.iter().enumerate().all(|(at, byte)| seven(at) == Some(*byte)) {
        return Err(MessageError::Frame);
    }
    let Some(service) = seven(5) else { return Err(MessageError::Short) };
    if service != SERVICE_NUMBER {
        return Err(MessageError::Kind(service));
    }
    let length = seven(6).map(usize::from).ok_or(MessageError::Short)?;
    let doubled = length == usize::from(DLE) && seven(7) == Some(DLE);
    let body = frame.get(if doubled { 8 } else { 7 }..end - 2).ok_or(MessageError::Short)?;
    let mut content = MessageBytes::default();
    let mut body = body.iter().map(|byte| byte & 0x7f);
    while let Some(byte) = body.next() {
        content.push(byte);
        if byte == DLE && body.next() != Some(DLE) {
            return Err(MessageError::Frame);
        }
    }
    let content = content.as_slice().get(..length).ok_or(MessageError::Short)?;
    let mut caller = CallerId::default();
    for parameter in parameters(content) {
        let (kind, value) = parameter.map_err(MessageError::Parameter)?;
        match kind {
            DATE_TIME => caller.date_time = LineTime::parse(value),
            NUMBER => caller.number = number_of(value),
            NUMBER_ABSENT => {
                let reason = value.first().and_then(|letter| Absence::from_letter(*letter));
                caller.number = Err(reason.unwrap_or(Absence::Unavailable));
            }
            CALLED => caller.called = number_of(value).ok(),
            _ => {}
        }
    }
    Ok(LineMessage::Call(caller))
}

/// Writes a call as a frame; a name has no place there.
#[must_use]
pub fn encode(caller: &CallerId) -> MessageBytes {
    let mut content = MessageBytes::default();
    if let Some(time) = caller.date_time {
        content.push_parameter(DATE_TIME, &time.digits());
    }
    match &caller.number {
        Ok(number) => content.push_parameter(NUMBER, number.as_str().as_bytes()),
        Err(reason) => {
            content.push_parameter(NUMBER_ABSENT, &[reason.letter().unwrap_or(b'O')]);
        }
    }
    if let Some(called) = &caller.called {
        content.push_parameter(CALLED, called.as_str().as_bytes());
    }
    // Numbers are short enough that this never cuts.
    let content = content.as_slice().get(..CONTENT_MAX).unwrap_or_else(|| content.as_slice());
    let mut bytes = MessageBytes::default();
    let mut put = |byte: u8| bytes.push(with_parity(byte));
    for byte in [DLE, SOH, HEADER, DLE, STX, SERVICE_NUMBER, content.len() as u8] {
        put(byte);
    }
    for byte in content {
        put(*byte);
        if *byte == DLE {
            put(DLE);
        }
    }
    put(DLE);
    put(ETX);
    let [low, high] = crc(bytes.as_slice().get(2..).unwrap_or_default()).to_le_bytes();
    bytes.push(low);
    bytes.push(high);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::caller_id::Text;

    fn caller(number: Result<&str, Absence>) -> CallerId {
        CallerId {
            number: number.map(|number| Text::new(number, 32)),
            called: Some(Text::new("1234", 32)),
            ..CallerId::default()
        }
    }

    #[test]
    fn what_is_written_reads_back_whatever_its_length() {
        for length in 1..=32 {
            let caller = caller(Ok(&"0312345678".repeat(4)[..length]));
            let bytes = encode(&caller);
            assert_eq!(parse(bytes.as_slice()), Ok(LineMessage::Call(caller)), "{length}");
            for cut in 0..bytes.as_slice().len() {
                assert!(!is_complete(&bytes.as_slice()[..cut]), "{length}, cut at {cut}");
            }
            assert!(is_complete(bytes.as_slice()) && begins(bytes.as_slice()[0]));
        }
        for reason in [Absence::Withheld, Absence::Unavailable, Absence::Payphone, Absence::Conflict] {
            let caller = caller(Err(reason));
            assert_eq!(parse(encode(&caller).as_slice()), Ok(LineMessage::Call(caller)));
        }
    }

    #[test]
    fn a_length_of_sixteen_reads_doubled_and_plain() {
        // One parameter of 8 digits and the called number of 4: 10 + 6 bytes.
        let caller = caller(Ok("03123456"));
        let plain = encode(&caller).as_slice().to_vec();
        assert_eq!(plain[6] & 0x7f, DLE);
        assert_eq!(parse(&plain), Ok(LineMessage::Call(caller)));
        let mut doubled = plain[..plain.len() - 2].to_vec();
        doubled.insert(7, doubled[6]);
        let sum = crc(&doubled[2..]).to_le_bytes();
        doubled.extend(sum);
        assert_eq!(parse(&doubled), Ok(LineMessage::Call(caller)));
    }

    #[test]
    fn the_crc_is_that_of_v41() {
        // The check value of this CRC as catalogues give it.
        assert_eq!(crc(b"123456789"), 0x2189);
    }

    #[test]
    fn damage_is_noticed() {
        let good = encode(&caller(Ok("0312345678"))).as_slice().to_vec();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(parse(&bad).is_err(), "byte {at}, bit {bit}");
            }
        }
        assert_eq!(parse(&[]), Err(MessageError::Short));
        assert_eq!(parse(&[0x90]), Err(MessageError::Short));
        assert_eq!(parse(&[0x90, 0x03, 0, 0]), Err(MessageError::Frame));
    }
}
