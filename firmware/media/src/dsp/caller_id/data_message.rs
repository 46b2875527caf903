//! Data messages of Bellcore and ETSI.
//!
//! What does it do? Reads and writes the bytes that the modem carries: the multiple form
//! (MDMF, ETSI) with parameters, and the single form (SDMF) with time and number only.
//!
//! How does it work? Type, length, content, and a byte that makes the sum of all zero
//! (Telcordia GR-30; ETSI EN 300 659-3 §5.1).
//!
//! Limits: 255 bytes of content; parameters that are not known are passed over.

use super::{
    Absence, CallerId, LineMessage, LineTime, MessageBytes, MessageError, NAME_MAX, Text, bytes::parameters,
    number_of,
};

/// Call set-up, single form.
const SINGLE_CALL: u8 = 0x04;
/// Message waiting, single form.
const SINGLE_WAITING: u8 = 0x06;
/// Call set-up, multiple form.
const CALL: u8 = 0x80;
/// Message waiting, multiple form.
const WAITING: u8 = 0x82;

const DATE_TIME: u8 = 0x01;
const NUMBER: u8 = 0x02;
/// Bellcore: the caller's number as it is dialled. ETSI: the number that was called.
const DIALABLE_OR_CALLED: u8 = 0x03;
const NUMBER_ABSENT: u8 = 0x04;
const NAME: u8 = 0x07;
const NAME_ABSENT: u8 = 0x08;
const VISUAL_INDICATOR: u8 = 0x0b;
const MESSAGES_WAITING: u8 = 0x13;

/// What the third parameter of a call means, on which the two standards differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Telcordia.
    Bellcore,
    /// ETSI.
    Etsi,
}

/// Whether all bytes of a message are there: none as long as its length is not known.
#[must_use]
pub fn is_complete(bytes: &[u8]) -> bool {
    bytes.get(1).is_some_and(|length| bytes.len() >= usize::from(*length) + 3)
}

/// Reads a message, its checksum included; bytes behind it are left alone.
///
/// # Errors
/// [`MessageError::Short`], [`Checksum`](MessageError::Checksum), then
/// [`Kind`](MessageError::Kind) or [`Parameter`](MessageError::Parameter).
pub fn parse(bytes: &[u8], dialect: Dialect) -> Result<LineMessage, MessageError> {
    let [kind, length, rest @ ..] = bytes else { return Err(MessageError::Short) };
    let Some((content, [checksum, ..])) = rest.split_at_checked(usize::from(*length)) else {
        return Err(MessageError::Short);
    };
    let sum = content.iter().fold(kind.wrapping_add(*length), |sum, byte| sum.wrapping_add(*byte));
    if sum.wrapping_add(*checksum) != 0 {
        return Err(MessageError::Checksum);
    }
    match *kind {
        CALL => multiple(content, dialect).map(LineMessage::Call),
        SINGLE_CALL => single(content).map(LineMessage::Call),
        WAITING => waiting(content),
        // Six times the same sign: on is 0x42, off 0x6f (Telcordia GR-1401).
        SINGLE_WAITING => match content.first() {
            Some(0x42) => Ok(LineMessage::MessageWaiting { waiting: true, count: None }),
            Some(0x6f) => Ok(LineMessage::MessageWaiting { waiting: false, count: None }),
            Some(_) | None => Err(MessageError::Short),
        },
        _ => Err(MessageError::Kind(*kind)),
    }
}

fn multiple(content: &[u8], dialect: Dialect) -> Result<CallerId, MessageError> {
    let mut caller = CallerId::default();
    let reason =
        |value: &[u8]| value.first().and_then(|l| Absence::from_letter(*l)).unwrap_or(Absence::Unavailable);
    for parameter in parameters(content) {
        let (kind, value) = parameter.map_err(MessageError::Parameter)?;
        match kind {
            DATE_TIME => caller.date_time = LineTime::parse(value),
            NUMBER => caller.number = number_of(value),
            DIALABLE_OR_CALLED if dialect == Dialect::Etsi => caller.called = number_of(value).ok(),
            DIALABLE_OR_CALLED if caller.number.is_err() => caller.number = number_of(value),
            NUMBER_ABSENT => caller.number = Err(reason(value)),
            NAME => caller.name = name_of(value),
            NAME_ABSENT => caller.name = Err(reason(value)),
            _ => {}
        }
    }
    Ok(caller)
}

fn name_of(value: &[u8]) -> Result<Text, Absence> {
    let name = Text::new(Text::from_latin1(value, NAME_MAX).as_str().trim(), NAME_MAX);
    if name.as_str().is_empty() { Err(Absence::Unavailable) } else { Ok(name) }
}

fn single(content: &[u8]) -> Result<CallerId, MessageError> {
    let Some((time, number)) = content.split_at_checked(8) else { return Err(MessageError::Short) };
    let number = match number {
        [] => Err(Absence::NotSent),
        [letter] => Absence::from_letter(*letter).map_or_else(|| number_of(number), Err),
        [_, _, ..] => number_of(number),
    };
    Ok(CallerId { date_time: LineTime::parse(time), number, ..CallerId::default() })
}

fn waiting(content: &[u8]) -> Result<LineMessage, MessageError> {
    let (mut waiting, mut count) = (None, None);
    for parameter in parameters(content) {
        let (kind, value) = parameter.map_err(MessageError::Parameter)?;
        match kind {
            VISUAL_INDICATOR => waiting = value.first().map(|state| *state != 0),
            MESSAGES_WAITING => count = value.first().copied(),
            _ => {}
        }
    }
    let waiting = waiting.or_else(|| count.map(|count| count > 0)).ok_or(MessageError::Short)?;
    Ok(LineMessage::MessageWaiting { waiting, count })
}

/// Writes a message in the multiple form. A name has at most `name_max` characters; a character
/// that ISO 8859-1 does not have becomes `?`.
#[must_use]
pub fn encode(message: &LineMessage, dialect: Dialect, name_max: usize) -> MessageBytes {
    let mut bytes = MessageBytes::default();
    match message {
        LineMessage::Call(caller) => {
            bytes.push(CALL);
            bytes.push(0);
            if let Some(time) = caller.date_time {
                bytes.push_parameter(DATE_TIME, &time.digits());
            }
            if let (Some(called), Dialect::Etsi) = (&caller.called, dialect) {
                bytes.push_parameter(DIALABLE_OR_CALLED, called.as_str().as_bytes());
            }
            push_or_reason(&mut bytes, &caller.number, NUMBER, NUMBER_ABSENT, usize::MAX);
            push_or_reason(&mut bytes, &caller.name, NAME, NAME_ABSENT, name_max);
        }
        LineMessage::MessageWaiting { waiting, count } => {
            bytes.push(WAITING);
            bytes.push(0);
            bytes.push_parameter(VISUAL_INDICATOR, &[if *waiting { 0xff } else { 0 }]);
            if let Some(count) = count {
                bytes.push_parameter(MESSAGES_WAITING, &[*count]);
            }
        }
    }
    seal(&mut bytes);
    bytes
}

/// Writes a call in the single form; a name has no place there.
#[must_use]
pub fn encode_single(caller: &CallerId) -> MessageBytes {
    let mut bytes = MessageBytes::default();
    bytes.push(SINGLE_CALL);
    bytes.push(0);
    let time = caller.date_time.map_or(*b"01010000", LineTime::digits);
    time.iter().for_each(|byte| bytes.push(*byte));
    match &caller.number {
        Ok(number) => number.as_str().bytes().for_each(|byte| bytes.push(byte)),
        Err(reason) => bytes.push(reason.letter().unwrap_or(b'O')),
    }
    seal(&mut bytes);
    bytes
}

fn push_or_reason(
    bytes: &mut MessageBytes,
    text: &Result<Text, Absence>,
    kind: u8,
    absent: u8,
    length_max: usize,
) {
    match text {
        Ok(text) => {
            let mut latin1 = [0; super::TEXT_MAX];
            let mut length = 0;
            for (place, character) in latin1.iter_mut().zip(text.as_str().chars().take(length_max)) {
                *place = u8::try_from(u32::from(character)).unwrap_or(b'?');
                length += 1;
            }
            bytes.push_parameter(kind, latin1.get(..length).unwrap_or_default());
        }
        Err(reason) => {
            if let Some(letter) = reason.letter() {
                bytes.push_parameter(absent, &[letter]);
            }
        }
    }
}

/// Sets the length and appends the checksum.
fn seal(bytes: &mut MessageBytes) {
    let length = bytes.as_slice().len().saturating_sub(2);
    bytes.set(1, u8::try_from(length).unwrap_or(u8::MAX));
    let sum = bytes.as_slice().iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes.push(sum.wrapping_neg());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(content: &[u8]) -> Vec<u8> {
        let sum = content.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        let mut all = content.to_vec();
        all.push(sum.wrapping_neg());
        all
    }

    fn call(content: &[u8], dialect: Dialect) -> CallerId {
        match parse(&sealed(content), dialect) {
            Ok(LineMessage::Call(caller)) => caller,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_example_of_the_multiple_form_reads() {
        // The example that data sheets of receivers show: 30 September 12:24, JOHN DOE.
        let mut content = vec![0x80, 0];
        content.extend([0x01, 8]);
        content.extend(b"09301224");
        content.extend([0x07, 8]);
        content.extend(b"JOHN DOE");
        content.extend([0x02, 10]);
        content.extend(b"8012345678");
        content[1] = (content.len() - 2) as u8;
        let caller = call(&content, Dialect::Bellcore);
        assert_eq!(caller.date_time, LineTime::new(9, 30, 12, 24));
        assert_eq!(caller.number.unwrap().as_str(), "8012345678");
        assert_eq!(caller.name.unwrap().as_str(), "JOHN DOE");
    }

    #[test]
    fn the_single_form_reads() {
        let mut content = vec![0x04, 18];
        content.extend(b"093012246095551212");
        let caller = call(&content, Dialect::Bellcore);
        assert_eq!(caller.number.unwrap().as_str(), "6095551212");
        assert_eq!(caller.name, Err(Absence::NotSent));
        for (letter, reason) in [(b'P', Absence::Withheld), (b'O', Absence::Unavailable)] {
            let mut content = vec![0x04, 9];
            content.extend(b"09301224");
            content.push(letter);
            assert_eq!(call(&content, Dialect::Bellcore).number, Err(reason));
        }
    }

    #[test]
    fn reasons_and_the_third_parameter_read_as_each_standard_means_them() {
        let content = [0x80, 12, 0x04, 1, b'P', 0x08, 1, b'O', 0x03, 4, b'2', b'0', b'1', b'7'];
        let etsi = call(&content, Dialect::Etsi);
        assert_eq!((etsi.number, etsi.name), (Err(Absence::Withheld), Err(Absence::Unavailable)));
        assert_eq!(etsi.called.unwrap().as_str(), "2017");
        let bellcore = call(&content, Dialect::Bellcore);
        assert_eq!(bellcore.number.unwrap().as_str(), "2017");
        assert_eq!(bellcore.called, None);
    }

    #[test]
    fn messages_waiting_read() {
        let on = parse(&sealed(&[0x82, 6, 0x0b, 1, 0xff, 0x13, 1, 3]), Dialect::Etsi);
        assert_eq!(on, Ok(LineMessage::MessageWaiting { waiting: true, count: Some(3) }));
        let off = parse(&sealed(&[0x82, 3, 0x0b, 1, 0]), Dialect::Bellcore);
        assert_eq!(off, Ok(LineMessage::MessageWaiting { waiting: false, count: None }));
        let single = parse(&sealed(&[0x06, 3, 0x42, 0x42, 0x42]), Dialect::Bellcore);
        assert_eq!(single, Ok(LineMessage::MessageWaiting { waiting: true, count: None }));
    }

    #[test]
    fn what_is_written_reads_back() {
        let caller = CallerId {
            date_time: LineTime::new(2, 28, 0, 5),
            number: Ok(Text::new("+4930123", 32)),
            name: Ok(Text::new("Zoë Müller", 50)),
            called: Some(Text::new("201", 32)),
        };
        let message = LineMessage::Call(caller);
        assert_eq!(parse(encode(&message, Dialect::Etsi, 50).as_slice(), Dialect::Etsi), Ok(message));
        let short = parse(encode(&message, Dialect::Bellcore, 3).as_slice(), Dialect::Bellcore);
        let expected = CallerId { name: Ok(Text::new("Zoë", 50)), called: None, ..caller };
        assert_eq!(short, Ok(LineMessage::Call(expected)));
        let single = parse(encode_single(&caller).as_slice(), Dialect::Bellcore);
        let expected = CallerId { name: Err(Absence::NotSent), called: None, ..caller };
        assert_eq!(single, Ok(LineMessage::Call(expected)));
        let waiting = LineMessage::MessageWaiting { waiting: true, count: Some(2) };
        assert_eq!(parse(encode(&waiting, Dialect::Etsi, 50).as_slice(), Dialect::Etsi), Ok(waiting));
    }

    #[test]
    fn damage_is_named() {
        let good = sealed(&[0x80, 5, 0x02, 3, b'1', b'2', b'3']);
        for cut in 0..good.len() {
            assert_eq!(parse(&good[..cut], Dialect::Etsi), Err(MessageError::Short));
            assert!(!is_complete(&good[..cut]));
        }
        assert!(is_complete(&good));
        for at in 2..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(parse(&bad, Dialect::Etsi), Err(MessageError::Checksum));
        }
        assert_eq!(parse(&sealed(&[0x89, 1, 0]), Dialect::Etsi), Err(MessageError::Kind(0x89)));
        assert_eq!(
            parse(&sealed(&[0x80, 3, 0x07, 9, b'x']), Dialect::Etsi),
            Err(MessageError::Parameter(0x07))
        );
    }
}
