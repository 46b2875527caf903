//! Byte classes and the few scanners every grammar of this crate shares.
//!
//! Everything works on bytes: RFC 3261 §25.1 allows UTF-8 in some places, and what arrives is
//! not always UTF-8 at all.

use std::fmt;

/// A half-open byte range inside one message buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        // Buffers are capped at 64 KiB by the callers, so the conversion never loses anything.
        Span { start: start as u32, end: end.max(start) as u32 }
    }

    pub(crate) fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize).unwrap_or(&[])
    }

    pub(crate) fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

const TOKEN: u8 = 1;
const USER: u8 = 2;
const PARAM: u8 = 4;
const HOST: u8 = 8;
const HEADER_PART: u8 = 16;
const WORD: u8 = 32;

const CLASS: [u8; 256] = classes();

const fn mark(mut table: [u8; 256], chars: &[u8], bits: u8) -> [u8; 256] {
    let mut i = 0;
    while i < chars.len() {
        table[chars[i] as usize] |= bits;
        i += 1;
    }
    table
}

const fn classes() -> [u8; 256] {
    let mut t = [0u8; 256];
    let alnum = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    t = mark(t, alnum, TOKEN | USER | PARAM | HOST | HEADER_PART | WORD);
    t = mark(t, b"-.!%*_+`'~", TOKEN | WORD);
    // unreserved = alphanum / mark, RFC 3261 §25.1
    t = mark(t, b"-_.!~*'()", USER | PARAM | HEADER_PART);
    // '#' is outside the grammar, but phones do dial it unescaped.
    t = mark(t, b"&=+$,;?/#", USER);
    t = mark(t, b"[]/:&+$", PARAM);
    t = mark(t, b"[]/?:+$", HEADER_PART);
    // '_' is outside the grammar of a hostname, but names in the field have it.
    t = mark(t, b"-._", HOST);
    t = mark(t, b"()<>:\\\"/[]?{}", WORD);
    t
}

fn has(b: u8, bits: u8) -> bool {
    CLASS[b as usize] & bits != 0
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| has(b, TOKEN))
}

pub(crate) fn is_token_byte(b: u8) -> bool {
    has(b, TOKEN)
}

pub(crate) fn is_host_byte(b: u8) -> bool {
    has(b, HOST)
}

/// `word ["@" word]`, the grammar of Call-ID.
pub(crate) fn is_call_id(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |&b| b == b'@');
    let ok = |part: &[u8]| !part.is_empty() && part.iter().all(|&b| has(b, WORD));
    parts.next().is_some_and(ok) && parts.next().is_none_or(ok)
}

/// Checks a class and every `%HH` escape.
fn all_or_escaped(bytes: &[u8], bits: u8) -> bool {
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        if b == b'%' {
            match bytes.get(i + 1..i + 3) {
                Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => i += 3,
                Some(_) | None => return false,
            }
        } else if has(b, bits) {
            i += 1;
        } else {
            return false;
        }
    }
    true
}

pub(crate) fn is_user(bytes: &[u8]) -> bool {
    all_or_escaped(bytes, USER)
}

pub(crate) fn is_uri_param(bytes: &[u8]) -> bool {
    all_or_escaped(bytes, PARAM)
}

pub(crate) fn is_uri_header(bytes: &[u8]) -> bool {
    all_or_escaped(bytes, HEADER_PART)
}

pub(crate) fn is_lws(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes {
        if !is_lws(*first) {
            break;
        }
        bytes = rest;
    }
    while let [rest @ .., last] = bytes {
        if !is_lws(*last) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// Position of the first control byte (below 0x20, or DEL) at or after `from`, or the length.
///
/// Eight bytes at a time: most of a message is text without one.
pub(crate) fn find_control(buf: &[u8], from: usize) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = from;
    while let Some(chunk) = buf.get(at..at + 8) {
        let mut word = [0u8; 8];
        word.copy_from_slice(chunk);
        let x = u64::from_le_bytes(word);
        let below = x.wrapping_sub(LOW * 0x20) & !x & HIGH;
        let y = x ^ (LOW * 0x7f);
        let del = y.wrapping_sub(LOW) & !y & HIGH;
        let hit = below | del;
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&b) = buf.get(at) {
        if b < 0x20 || b == 0x7f {
            return at;
        }
        at += 1;
    }
    buf.len()
}

/// Decimal digits only, no sign, no space; `None` above `max`.
pub(crate) fn number(bytes: &[u8], max: u64) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    let mut n: u64 = 0;
    for &b in bytes {
        if !b.is_ascii_digit() {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
    }
    (n <= max).then_some(n)
}

/// Splits at `separator` outside quoted strings and angle brackets.
pub(crate) fn split_outside(bytes: &[u8], separator: u8) -> Split<'_> {
    Split { rest: Some(bytes), separator }
}

#[derive(Clone, Debug)]
pub(crate) struct Split<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let bytes = self.rest?;
        let mut quoted = false;
        let mut angle = false;
        let mut i = 0;
        while let Some(&b) = bytes.get(i) {
            if quoted {
                match b {
                    b'\\' => i += 1,
                    b'"' => quoted = false,
                    _ => {}
                }
            } else if b == b'"' && !angle {
                quoted = true;
            } else if b == b'<' {
                angle = true;
            } else if b == b'>' {
                angle = false;
            } else if b == self.separator && !angle {
                self.rest = bytes.get(i + 1..);
                return Some(trim(&bytes[..i]));
            }
            i += 1;
        }
        self.rest = None;
        Some(trim(bytes))
    }
}

/// One `;name=value` parameter; a quoted value keeps its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

/// Walks `;a=b;c` (with or without the first `;`).
pub(crate) fn params(bytes: &[u8]) -> impl Iterator<Item = Param<'_>> {
    let bytes = trim(bytes);
    let bytes = bytes.strip_prefix(b";").unwrap_or(bytes);
    split_outside(bytes, b';').filter(|p| !p.is_empty()).map(|p| {
        let mut halves = p.splitn(2, |&b| b == b'=');
        let name = trim(halves.next().unwrap_or(&[]));
        Param { name, value: halves.next().map(trim) }
    })
}

pub(crate) fn param<'a>(bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    params(bytes).find(|p| p.name.eq_ignore_ascii_case(name)).map(|p| p.value.unwrap_or(&[]))
}

/// Takes quotes and backslash escapes off, leniently in the character set.
pub(crate) fn unquote(bytes: &[u8]) -> String {
    let Some(inner) = bytes.strip_prefix(b"\"").and_then(|b| b.strip_suffix(b"\"")) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    if !inner.contains(&b'\\') {
        return String::from_utf8_lossy(inner).into_owned();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &b in inner {
        if !escaped && b == b'\\' {
            escaped = true;
        } else {
            escaped = false;
            out.push(b);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// True when `bytes` is one closed quoted string.
pub(crate) fn is_quoted(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'"') && quoted_end(bytes) == Some(bytes.len())
}

/// Index just past the closing quote of a quoted string starting at index 0.
pub(crate) fn quoted_end(bytes: &[u8]) -> Option<usize> {
    let mut i = 1;
    while let Some(&b) = bytes.get(i) {
        match b {
            b'\\' => i += 2,
            b'"' => return Some(i + 1),
            _ => i += 1,
        }
    }
    None
}

/// Writes text as a quoted string; control characters become spaces.
pub(crate) fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &b in text.as_bytes() {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            0..=0x1f | 0x7f => out.push(b' '),
            _ => out.push(b),
        }
    }
    out.push(b'"');
}

/// Appends text with every control character turned into a space, so that a value can never
/// start a header of its own.
pub(crate) fn write_clean(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut from = 0;
    loop {
        let at = find_control(bytes, from);
        out.extend_from_slice(bytes.get(from..at).unwrap_or(&[]));
        if at >= bytes.len() {
            return;
        }
        out.push(b' ');
        from = at + 1;
    }
}

pub(crate) fn write_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Sixteen lower-case hexadecimal digits.
pub(crate) fn hex16(n: u64) -> [u8; 16] {
    let mut out = [0u8; 16];
    for (i, slot) in out.iter_mut().enumerate() {
        *slot = HEX[((n >> (60 - 4 * i)) & 15) as usize];
    }
    out
}

/// The reverse of [`hex16`]; anything else is `None`.
pub(crate) fn unhex16(bytes: &[u8]) -> Option<u64> {
    if bytes.len() != 16 {
        return None;
    }
    let mut n = 0u64;
    for &b in bytes {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => return None,
        };
        n = n << 4 | u64::from(digit);
    }
    Some(n)
}

const DIGITS64: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/// Eleven digits of six bits, where sixteen would be too long.
pub(crate) fn short11(n: u64) -> [u8; 11] {
    let mut out = [0u8; 11];
    for (i, slot) in out.iter_mut().rev().enumerate() {
        *slot = DIGITS64[((n >> (6 * i)) & 63) as usize];
    }
    out
}

/// The reverse of [`short11`]; anything else is `None`.
pub(crate) fn unshort11(bytes: &[u8]) -> Option<u64> {
    if bytes.len() != 11 {
        return None;
    }
    let mut n = 0u64;
    for b in bytes {
        let digit = DIGITS64.iter().position(|known| known == b)? as u64;
        if n >> 58 != 0 {
            return None;
        }
        n = n << 6 | digit;
    }
    Some(n)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for &b in bytes {
        out.push(char::from(HEX[usize::from(b >> 4)]));
        out.push(char::from(HEX[usize::from(b & 15)]));
    }
    out
}

/// `fmt` helper: bytes as lossy text.
pub(crate) struct Lossy<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_are_found_at_every_offset() {
        for length in 0..40 {
            for at in 0..length {
                for control in [0u8, 9, 10, 13, 31, 127] {
                    let mut buf = vec![b'a'; length];
                    buf[at] = control;
                    assert_eq!(find_control(&buf, 0), at);
                    assert_eq!(find_control(&buf, at + 1), length);
                }
            }
        }
        assert_eq!(find_control(&[0x80, 0xff, 0xa0, 0x9f, 0x81, 0xfe, 0x80, 0x8d, 10], 0), 8);
    }

    #[test]
    fn splitting_respects_quotes_and_brackets() {
        let parts: Vec<&[u8]> = split_outside(b"\"a,\\\"b\" <sip:x,y@z>;q=1 , sip:c@d", b',').collect();
        assert_eq!(parts, [&b"\"a,\\\"b\" <sip:x,y@z>;q=1"[..], b"sip:c@d"]);
    }

    #[test]
    fn numbers_are_digits_only() {
        for (text, want) in [
            ("0", Some(0)),
            ("0007", Some(7)),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("99999999999999999999", None),
            ("101", None),
        ] {
            assert_eq!(number(text.as_bytes(), 100), want, "{text}");
        }
    }

    #[test]
    fn hex_round_trip() {
        for n in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(unhex16(&hex16(n)), Some(n));
        }
        assert_eq!(unhex16(b"0123456789ABCDEF"), None);
        for n in [0, 1, 63, 64, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(unshort11(&short11(n)), Some(n));
        }
        for bad in [&b"0000000000"[..], b"000000000000", b"0000000000=", b"G0000000000", b"________________"]
        {
            assert_eq!(unshort11(bad), None);
        }
    }

    #[test]
    fn values_cannot_start_a_header() {
        let mut out = Vec::new();
        write_clean(&mut out, b"a\r\nEvil: 1\0");
        assert_eq!(out, b"a  Evil: 1 ");
    }
}
