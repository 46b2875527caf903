//! Reads an XML document from outside into a small tree, within limits.
//!
//! A DOCTYPE is refused at its token, so no entity is ever declared, expanded or
//! fetched; every size is bounded before memory is spent on it.

use std::borrow::Cow;
use std::rc::Rc;

use encoding_rs::Encoding;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Bounds of a document.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whole document, in bytes.
    pub bytes_max: usize,
    /// Elements in all.
    pub elements_max: usize,
    /// Nesting, the root being 1.
    pub depth_max: usize,
    /// Attributes of one element.
    pub attributes_max: usize,
    /// One attribute value or one run of text, in bytes.
    pub text_bytes_max: usize,
    /// Encodings that are read; UTF-8 always is.
    pub encodings: &'static [&'static Encoding],
}

/// An element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Element {
    /// Name as written, prefix included.
    pub name: String,
    /// Attributes as written, in document order.
    pub attributes: Vec<(String, String)>,
    /// Child elements, in document order.
    pub children: Vec<Rc<Element>>,
    /// The text directly inside, joined.
    pub text: String,
    /// Where each child stands in that text: how many bytes of it come before the child.
    pub stands: Vec<usize>,
    /// Where it begins.
    pub at: Position,
}

impl Element {
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A place in a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

/// Why a document was refused, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {} column {}: {fault}", at.line, at.column)]
pub struct XmlError {
    /// The fault.
    pub fault: Fault,
    /// The place.
    pub at: Position,
}

/// Faults of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Larger than [`Limits::bytes_max`].
    #[error("the document is too large")]
    TooLarge,
    /// Not valid in its encoding, or in one that is not read.
    #[error("the text is not in its declared encoding, or the encoding is not supported")]
    Encoding,
    /// It has a document type declaration.
    #[error("a DOCTYPE is not allowed")]
    Doctype,
    /// Not well-formed.
    #[error("not well-formed XML")]
    Malformed,
    /// Text outside the root, no root, or more than one.
    #[error("there must be exactly one root element")]
    Root,
    /// More than [`Limits::elements_max`].
    #[error("too many elements")]
    Elements,
    /// Deeper than [`Limits::depth_max`].
    #[error("nested too deeply")]
    Depth,
    /// A text, attribute or attribute list beyond its limit.
    #[error("a text or attribute is too long")]
    TextSize,
}

impl Fault {
    /// The code of the message catalogue.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "TR-HOOK-SIZE",
            Self::Encoding => "TR-FLOW-ENCODING",
            Self::Doctype => "TR-FLOW-DOCTYPE",
            Self::Malformed => "TR-FLOW-XML",
            Self::Root => "TR-FLOW-ROOT",
            Self::Elements => "TR-FLOW-ELEMENTS",
            Self::Depth => "TR-FLOW-DEPTH",
            Self::TextSize => "TR-FLOW-TEXT-SIZE",
        }
    }
}

/// Reads `bytes`. `charset` is the encoding that came with the media type; the
/// document's own declaration counts more.
///
/// # Errors
/// The first fault, with its place.
pub fn parse(bytes: &[u8], charset: Option<&str>, limits: &Limits) -> Result<Rc<Element>, XmlError> {
    let start = Position { line: 1, column: 1 };
    if bytes.len() > limits.bytes_max {
        return Err(XmlError { fault: Fault::TooLarge, at: start });
    }
    let text =
        decode(bytes, charset, limits.encodings).ok_or(XmlError { fault: Fault::Encoding, at: start })?;
    if let Some(at) = text.find(|c| !is_char(c)) {
        return Err(XmlError { fault: Fault::Malformed, at: position(&text, at as u64) });
    }
    let mut tree = Tree { text: &text, limits, elements: 0, open: Vec::new(), root: None, mark: (0, start) };
    let mut reader = Reader::from_str(&text);
    let config = reader.config_mut();
    config.check_comments = false;
    config.expand_empty_elements = false;
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|_| tree.error(Fault::Malformed, reader.error_position()))?;
        let more = tree.take(&event, at).map_err(|fault| tree.error(fault, at))?;
        if !more {
            break;
        }
    }
    let end = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if !tree.open.is_empty() {
        return Err(tree.error(Fault::Malformed, end));
    }
    tree.root.take().map(Rc::new).ok_or_else(|| tree.error(Fault::Root, end))
}

struct Tree<'a> {
    text: &'a str,
    limits: &'a Limits,
    elements: usize,
    open: Vec<Element>,
    root: Option<Element>,
    /// The last place that was worked out, and its offset: the next is counted
    /// from there.
    mark: (usize, Position),
}

impl Tree<'_> {
    fn position(&mut self, at: u64) -> Position {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let (from, start) = self.mark;
        let place = advance(start, self.text.get(from..at).unwrap_or(""));
        self.mark = (at.max(from), place);
        place
    }

    fn error(&self, fault: Fault, at: u64) -> XmlError {
        XmlError { fault, at: position(self.text, at) }
    }

    /// Takes one event; false at the end of the document.
    fn take(&mut self, event: &Event<'_>, at: u64) -> Result<bool, Fault> {
        match event {
            Event::Start(start) => {
                let element = self.begin(start, at)?;
                self.open.push(element);
            }
            Event::Empty(start) => {
                let element = self.begin(start, at)?;
                self.place(element)?;
            }
            Event::End(_) => {
                let element = self.open.pop().ok_or(Fault::Malformed)?;
                self.place(element)?;
            }
            Event::Text(text) => {
                self.append(text)?;
            }
            Event::CData(text) => {
                self.append(text)?;
            }
            Event::GeneralRef(reference) => {
                let resolved = resolve(reference).ok_or(Fault::Malformed)?;
                let mut buffer = [0; 4];
                self.append(resolved.encode_utf8(&mut buffer))?;
            }
            Event::DocType(_) => return Err(Fault::Doctype),
            // XML 1.0 §2.8: the version comes first and must be there.
            Event::Decl(declaration) if declaration.version().is_err() => return Err(Fault::Malformed),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return Ok(false),
        }
        Ok(true)
    }

    fn begin(&mut self, start: &BytesStart<'_>, at: u64) -> Result<Element, Fault> {
        self.elements += 1;
        if self.elements > self.limits.elements_max {
            return Err(Fault::Elements);
        }
        if self.open.len() >= self.limits.depth_max {
            return Err(Fault::Depth);
        }
        let name = name_of(start.name().as_ref())?;
        let mut attributes: Vec<(String, String)> = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| Fault::Malformed)?;
            if attributes.len() >= self.limits.attributes_max {
                return Err(Fault::TextSize);
            }
            if attribute.value.len() > self.limits.text_bytes_max {
                return Err(Fault::TextSize);
            }
            let key = name_of(attribute.key.as_ref())?;
            if attributes.iter().any(|(known, _)| *known == key) {
                return Err(Fault::Malformed);
            }
            if attribute.value.contains('<') {
                return Err(Fault::Malformed);
            }
            // XML 1.0 §3.3.3: literal white space reads as a space; white space that
            // is written as a character reference stays what it is.
            let value = attribute.value.replace("\r\n", " ").replace(['\n', '\t', '\r'], " ");
            let value = quick_xml::escape::unescape(&value).map_err(|_| Fault::Malformed)?;
            if value.contains(|c| !is_char(c)) {
                return Err(Fault::Malformed);
            }
            attributes.push((key, value.into_owned()));
        }
        Ok(Element {
            name,
            attributes,
            children: Vec::new(),
            text: String::new(),
            stands: Vec::new(),
            at: self.position(at),
        })
    }

    fn place(&mut self, element: Element) -> Result<(), Fault> {
        if let Some(parent) = self.open.last_mut() {
            parent.stands.push(parent.text.len());
            parent.children.push(Rc::new(element));
            return Ok(());
        }
        if self.root.is_some() {
            return Err(Fault::Root);
        }
        self.root = Some(element);
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<(), Fault> {
        let limit = self.limits.text_bytes_max;
        match self.open.last_mut() {
            Some(element) => {
                if element.text.len() + text.len() > limit {
                    // Indentation between elements is no text.
                    if text.trim().is_empty() {
                        return Ok(());
                    }
                    return Err(Fault::TextSize);
                }
                element.text.push_str(text);
                Ok(())
            }
            None if text.trim().is_empty() => Ok(()),
            None => Err(Fault::Root),
        }
    }
}

fn name_of(name: &str) -> Result<String, Fault> {
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_' || c == ':');
    if starts_well && chars.all(|c| c.is_alphanumeric() || "_-.:".contains(c)) {
        Ok(name.to_owned())
    } else {
        Err(Fault::Malformed)
    }
}

/// The five predefined entities and character references (XML 1.0 §4.1, §4.6).
fn resolve(name: &str) -> Option<char> {
    match name {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "apos" => return Some('\''),
        "quot" => return Some('"'),
        _ => {}
    }
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code).filter(|c| is_char(*c))
}

/// What a document may hold (XML 1.0 §2.2).
const fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

fn decode<'a>(bytes: &'a [u8], charset: Option<&str>, encodings: &[&Encoding]) -> Option<Cow<'a, str>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let declared = declared_encoding(bytes);
    let label = declared.as_deref().or(charset).unwrap_or("utf-8");
    let encoding = Encoding::for_label(label.as_bytes())?;
    if encoding != encoding_rs::UTF_8 && !encodings.contains(&encoding) {
        return None;
    }
    encoding.decode_without_bom_handling_and_without_replacement(bytes)
}

/// The encoding that the XML declaration names.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    const DECLARATION_BYTES_MAX: usize = 256;
    let head = bytes.get(..bytes.len().min(DECLARATION_BYTES_MAX))?;
    let head = head.strip_prefix(b"<?xml")?;
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let declaration = str::from_utf8(head.get(..end)?).ok()?;
    let (_, rest) = declaration.split_once("encoding")?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let (label, _) = rest.get(1..)?.split_once(quote)?;
    Some(label.to_owned())
}

fn position(text: &str, at: u64) -> Position {
    let mut end = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    advance(Position { line: 1, column: 1 }, text.get(..end).unwrap_or(""))
}

/// The place after `text` that begins at `from`.
fn advance(from: Position, text: &str) -> Position {
    text.chars().fold(from, |at, c| match c {
        '\n' => Position { line: at.line + 1, column: 1 },
        _ => Position { line: at.line, column: at.column + 1 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes_max: 65_536,
        elements_max: 1_000,
        depth_max: 32,
        attributes_max: 64,
        text_bytes_max: 8_192,
        encodings: &[encoding_rs::WINDOWS_1252, encoding_rs::WINDOWS_1251],
    };

    fn fault(document: &str) -> Fault {
        parse(document.as_bytes(), None, &LIMITS).unwrap_err().fault
    }

    #[test]
    fn a_tree_keeps_names_attributes_text_and_places() {
        let root = parse(
            b"<?xml version='1.0'?>\n<A x='1 &amp; 2'>a<B/>\n b&#x41;<![CDATA[<c>]]></A>",
            None,
            &LIMITS,
        )
        .unwrap();
        assert_eq!(root.attribute("x"), Some("1 & 2"));
        assert_eq!(root.text, "a\n bA<c>");
        assert_eq!(root.children[0].name, "B");
        assert_eq!(root.stands, [1], "behind the first letter");
        assert_eq!(root.children[0].at, Position { line: 2, column: 19 });
    }

    #[test]
    fn faults_have_their_names() {
        let deep = format!("{}{}", "<a>".repeat(33), "</a>".repeat(33));
        let wide = format!("<r>{}</r>", "<a/>".repeat(1_000));
        let long = format!("<r a='{}'/>", "x".repeat(8_193));
        let many: String = (0..70).map(|n| format!(" a{n}='1'")).collect();
        for (document, expected) in [
            ("<a><b></a>", Fault::Malformed),
            ("<a", Fault::Malformed),
            ("<a>", Fault::Malformed),
            ("<a>&nbsp;</a>", Fault::Malformed),
            ("<a>b\x01</a>", Fault::Malformed),
            ("<a b='\x1b'/>", Fault::Malformed),
            ("<a>\0</a>", Fault::Malformed),
            ("<a>&#1;</a>", Fault::Malformed),
            ("<a b='&#x1b;'/>", Fault::Malformed),
            ("<a>\u{ffff}</a>", Fault::Malformed),
            ("<?xml encoding='utf-8'?><a/>", Fault::Malformed),
            ("<a b='1' b='2'/>", Fault::Malformed),
            ("<a/><b/>", Fault::Root),
            ("", Fault::Root),
            ("x<a/>", Fault::Root),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", Fault::Doctype),
            ("<?xml version='1.0' encoding='utf-16'?><a/>", Fault::Encoding),
            (deep.as_str(), Fault::Depth),
            (wide.as_str(), Fault::Elements),
            (long.as_str(), Fault::TextSize),
            (format!("<a{many}/>").as_str(), Fault::TextSize),
        ] {
            assert_eq!(fault(document), expected, "{document:.60}");
        }
        assert_eq!(parse(&vec![b' '; 65_537], None, &LIMITS).unwrap_err().fault, Fault::TooLarge);
    }

    #[test]
    fn declared_encodings_are_decoded() {
        let mut document = b"<?xml version=\"1.0\" encoding=\"windows-1251\"?><a>".to_vec();
        document.extend([0xcf, 0xf0]);
        document.extend(b"</a>");
        assert_eq!(parse(&document, None, &LIMITS).unwrap().text, "Пр");
        assert_eq!(parse(b"<a>\xe9</a>", Some("iso-8859-1"), &LIMITS).unwrap().text, "é");
        assert_eq!(parse(b"<a>\xe9</a>", None, &LIMITS).unwrap_err().fault, Fault::Encoding);
        assert_eq!(parse(b"\xef\xbb\xbf<a>x</a>", None, &LIMITS).unwrap().text, "x");
    }
}
