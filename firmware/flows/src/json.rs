//! Reads a JSON document from outside (RFC 8259) into a small tree that knows the place of
//! every value, within limits.
//!
//! A key that comes twice is not refused: the last one counts, and the reader says so.

use std::collections::BTreeMap;

use crate::xml::Position;

/// Bounds of a document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whole document, in bytes.
    pub bytes_max: usize,
    /// Values in all.
    pub values_max: usize,
    /// Nesting, the outermost value being 1.
    pub depth_max: usize,
}

/// A value and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Json {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Toggle(bool),
    /// A whole number of 64 bits.
    Integer(i64),
    /// Any other number.
    Real(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object: keys in the order of the document, each once.
    Object(Vec<(String, Json)>),
}

/// A document that was read.
#[derive(Debug)]
pub struct Document {
    /// The outermost value.
    pub root: Json,
    /// Keys that came again in their object, with their places.
    pub doubles: Vec<(String, Position)>,
}

/// Why a document was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JsonError {
    /// What is wrong.
    pub fault: Fault,
    /// Where.
    pub at: Position,
}

/// What is wrong with a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Not JSON, or something follows the value.
    Syntax,
    /// Not UTF-8.
    Encoding,
    /// More bytes than allowed.
    Size,
    /// More values than allowed, or nested deeper.
    Shape,
}

impl Fault {
    /// The code of the message catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Syntax => "TR-FLOW-JSON",
            Self::Encoding => "TR-FLOW-ENCODING",
            Self::Size => "TR-HOOK-SIZE",
            Self::Shape => "TR-FLOW-TREE",
        }
    }
}

impl Json {
    /// The member of this key, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.members().iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// The value at the end of a path of keys.
    #[must_use]
    pub fn at_path<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        path.into_iter().try_fold(self, |value, key| value.get(key))
    }

    /// The members of an object; none of anything else.
    #[must_use]
    pub fn members(&self) -> &[(String, Self)] {
        if let Value::Object(members) = &self.value { members } else { &[] }
    }

    /// The items of a list; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// True for an object.
    #[must_use]
    pub const fn is_object(&self) -> bool {
        matches!(self.value, Value::Object(_))
    }

    /// A text, number or toggle, written out.
    #[must_use]
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Toggle(on) => Some(on.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Object(_) => None,
        }
    }

    /// The same value for a writer.
    #[must_use]
    pub fn to_plain(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Toggle(on) => (*on).into(),
            Value::Integer(number) => (*number).into(),
            Value::Real(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_plain).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (key.clone(), value.to_plain())).collect()
            }
        }
    }
}

/// Reads a document.
///
/// # Errors
/// The first thing that is wrong with it, and where.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Document, JsonError> {
    let start = Position { line: 1, column: 1 };
    if bytes.len() > limits.bytes_max {
        return Err(JsonError { fault: Fault::Size, at: start });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or(&[]);
        JsonError { fault: Fault::Encoding, at: end_of(&String::from_utf8_lossy(good)) }
    })?;
    let mut reader = Reader { rest: text, at: start, values: 0, doubles: Vec::new(), limits };
    reader.space();
    let root = reader.value(1)?;
    reader.space();
    if !reader.rest.is_empty() {
        return Err(reader.fault(Fault::Syntax));
    }
    Ok(Document { root, doubles: reader.doubles })
}

fn end_of(text: &str) -> Position {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Position { line: number(line), column: number(column) }
}

struct Reader<'a> {
    rest: &'a str,
    at: Position,
    values: usize,
    doubles: Vec<(String, Position)>,
    limits: &'a Limits,
}

impl Reader<'_> {
    const fn fault(&self, fault: Fault) -> JsonError {
        JsonError { fault, at: self.at }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        if c == '\n' {
            self.at = Position { line: self.at.line.saturating_add(1), column: 1 };
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(c)
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), JsonError> {
        if self.peek() != Some(wanted) {
            return Err(self.fault(Fault::Syntax));
        }
        self.bump();
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.values += 1;
        if depth > self.limits.depth_max || self.values > self.limits.values_max {
            return Err(self.fault(Fault::Shape));
        }
        let at = self.at;
        let value = match self.peek() {
            Some('{') => self.object(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.text()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('t') => self.word("true", Value::Toggle(true))?,
            Some('f') => self.word("false", Value::Toggle(false))?,
            Some('n') => self.word("null", Value::Null)?,
            Some(_) | None => return Err(self.fault(Fault::Syntax)),
        };
        Ok(Json { at, value })
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        for c in word.chars() {
            self.expect(c)?;
        }
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.expect('[')?;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(']') {
            self.bump();
            return Ok(Value::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.peek() == Some(',') {
                self.bump();
            } else {
                self.expect(']')?;
                return Ok(Value::List(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.expect('{')?;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        self.space();
        if self.peek() == Some('}') {
            self.bump();
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            let at = self.at;
            let key = self.text()?;
            self.space();
            self.expect(':')?;
            self.space();
            let value = self.value(depth + 1)?;
            match known.get(&key).and_then(|place| members.get_mut(*place)) {
                Some((_, old)) => {
                    *old = value;
                    self.doubles.push((key, at));
                }
                None => {
                    known.insert(key.clone(), members.len());
                    members.push((key, value));
                }
            }
            self.space();
            if self.peek() == Some(',') {
                self.bump();
            } else {
                self.expect('}')?;
                return Ok(Value::Object(members));
            }
        }
    }

    fn text(&mut self) -> Result<String, JsonError> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            let bad = self.fault(Fault::Syntax);
            match self.bump().ok_or(bad)? {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                c if c < ' ' => return Err(bad),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let bad = self.fault(Fault::Syntax);
        Ok(match self.bump().ok_or(bad)? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.code_unit()?;
                let code = if (0xd800..0xdc00).contains(&high) {
                    self.expect('\\')?;
                    self.expect('u')?;
                    let low = self.code_unit()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(bad);
                    }
                    0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    high
                };
                char::from_u32(code).ok_or(bad)?
            }
            _ => return Err(bad),
        })
    }

    fn code_unit(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| c.to_digit(16)).ok_or(self.fault(Fault::Syntax))?;
            self.bump();
            code = code * 16 + digit;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let bad = self.fault(Fault::Syntax);
        let start = self.rest;
        let mut length = 0;
        while self.peek().is_some_and(|c| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')) {
            self.bump();
            length += 1;
        }
        let written = start.get(..length).unwrap_or("");
        if !is_number(written) {
            return Err(bad);
        }
        if let Ok(whole) = written.parse::<i64>() {
            return Ok(Value::Integer(whole));
        }
        let real: f64 = written.parse().map_err(|_| bad)?;
        if real.is_finite() { Ok(Value::Real(real)) } else { Err(bad) }
    }
}

/// RFC 8259 §6.
fn is_number(written: &str) -> bool {
    let written = written.strip_prefix('-').unwrap_or(written);
    let (mantissa, exponent) = match written.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (written, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes_max: 1_000, values_max: 20, depth_max: 4 };

    fn fault(text: &str) -> (Fault, u32, u32) {
        let error = parse(text.as_bytes(), &LIMITS).unwrap_err();
        (error.fault, error.at.line, error.at.column)
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "{\n  \"a\": [1, \"é\\u00e9\\ud83d\\ude00\"],\n  \"b\": -2.5e3 }";
        let root = parse(text.as_bytes(), &LIMITS).unwrap().root;
        let list = root.get("a").unwrap();
        assert_eq!((list.at.line, list.at.column), (2, 8));
        assert_eq!(list.items()[1].text(), Some("éé😀"));
        assert_eq!((list.items()[1].at.line, list.items()[1].at.column), (2, 12));
        assert_eq!(root.get("b").unwrap().value, Value::Real(-2_500.0));
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_goes_wrong() {
        for (text, column) in [
            ("", 1),
            ("{", 2),
            ("[1,]", 4),
            ("{\"a\" 1}", 6),
            ("01", 1),
            ("1.", 1),
            ("- 1", 1),
            ("tru", 4),
            ("\"\\x\"", 3),
            ("\"\\ud800\"", 8),
            ("\"\\udc00\"", 3),
            ("\"\u{1}\"", 2),
            ("1 2", 3),
            ("{'a':1}", 2),
            ("1e999", 1),
        ] {
            assert_eq!(fault(text), (Fault::Syntax, 1, column), "{text}");
        }
        assert_eq!(parse(b"[\xff]", &LIMITS).unwrap_err().fault, Fault::Encoding);
    }

    #[test]
    fn limits_hold() {
        assert!(parse(b"[[[1]]]", &LIMITS).is_ok());
        assert_eq!(fault("[[[[1]]]]"), (Fault::Shape, 1, 5));
        assert_eq!(fault(&format!("[{}1]", "1,".repeat(30))).0, Fault::Shape);
        assert_eq!(fault(&" ".repeat(1_001)).0, Fault::Size);
    }

    #[test]
    fn the_last_of_two_equal_keys_counts_and_is_told() {
        let read = parse(b"{\"a\":1,\"b\":2,\"a\":3}", &LIMITS).unwrap();
        assert_eq!(read.root.get("a").unwrap().value, Value::Integer(3));
        assert_eq!(read.root.members().len(), 2);
        assert_eq!(read.doubles, [("a".to_owned(), Position { line: 1, column: 14 })]);
    }
}
