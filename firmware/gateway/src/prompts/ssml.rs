//! SSML (W3C, version 1.1) for engines that do not speak all of it: for espeak-ng what it
//! ignores is put in words that it speaks, and for engines without SSML there is the text.
//!
//! Pure. What is not well-formed is spoken as its text.

use super::speech::plain;

/// Deepest nesting of elements.
const DEPTH_MAX: usize = 32;

/// What an engine is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Words {
    /// Plain text.
    Text(String),
    /// SSML without its root element.
    Marked(String),
}

/// For espeak-ng 1.51, of which the README says what it does with each element.
pub(super) fn for_espeak(ssml: &str) -> Words {
    match pieces(ssml) {
        Some(pieces) => Words::Marked(Writer::new(true).write(&pieces)),
        None => Words::Text(bare(ssml)),
    }
}

/// The text alone, with signs where a pause is.
pub(super) fn text(ssml: &str) -> String {
    match pieces(ssml) {
        Some(pieces) => plain(&Writer::new(false).write(&pieces)),
        None => bare(ssml),
    }
}

/// A whole document for an engine that knows SSML; only the text of what is not well-formed.
pub(super) fn document(ssml: &str, language: &str) -> Words {
    match pieces(ssml) {
        Some(_) => Words::Marked(format!(
            "<speak version=\"1.1\" xmlns=\"http://www.w3.org/2001/10/synthesis\" xml:lang=\"{}\">{ssml}</speak>",
            escaped(language)
        )),
        None => Words::Text(bare(ssml)),
    }
}

enum Piece {
    Text(String),
    Open { name: String, attributes: Vec<(String, String)>, is_empty: bool },
    Close,
}

/// Reads elements, text and the five entities, as far as all of it is well-formed. Comments
/// are left out; marked sections, instructions and DOCTYPE are not SSML for a telephone.
fn pieces(mut rest: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("<!--") {
            rest = after.split_once("-->")?.1;
        } else if let Some(after) = rest.strip_prefix("</") {
            let (name, after) = after.split_once('>')?;
            if open.pop() != Some(name.trim_end()) {
                return None;
            }
            pieces.push(Piece::Close);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('<') {
            let (name, attributes, is_empty, after) = tag(after)?;
            if !is_empty {
                open.push(name);
            }
            if open.len() > DEPTH_MAX {
                return None;
            }
            pieces.push(Piece::Open { name: name.to_owned(), attributes, is_empty });
            rest = after;
        } else {
            let (text, after) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
            pieces.push(Piece::Text(decoded(text)?));
            rest = after;
        }
    }
    open.is_empty().then_some(pieces)
}

type Tag<'a> = (&'a str, Vec<(String, String)>, bool, &'a str);

/// What stands between `<` and `>`, and what follows.
fn tag(text: &str) -> Option<Tag<'_>> {
    let (name, mut rest) = name(text)?;
    let mut attributes: Vec<(String, String)> = Vec::new();
    loop {
        let trimmed = rest.trim_start();
        if let Some(after) = trimmed.strip_prefix("/>") {
            return Some((name, attributes, true, after));
        }
        if let Some(after) = trimmed.strip_prefix('>') {
            return Some((name, attributes, false, after));
        }
        // White space parts attributes.
        if trimmed.len() == rest.len() {
            return None;
        }
        let (key, after) = self::name(trimmed)?;
        let value = after.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, after) = value.strip_prefix(quote)?.split_once(quote)?;
        if value.contains('<') || attributes.iter().any(|(known, _)| known == key) {
            return None;
        }
        attributes.push((key.to_owned(), decoded(value)?));
        rest = after;
    }
}

fn name(text: &str) -> Option<(&str, &str)> {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, ':' | '_' | '-' | '.');
    let end = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    name.starts_with(|c: char| c.is_alphabetic() || c == '_').then_some((name, rest))
}

/// Text without its entities; none if there is one that XML does not have.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';')?;
        out.push(letter(entity)?);
        out.push_str(after);
    }
    Some(out)
}

fn letter(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What is left of SSML that is none, without what looks like a tag.
fn bare(text: &str) -> String {
    let mut parts = text.split('<');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_tag = part.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '!' | '?'));
        out.push(' ');
        out.push_str(match part.split_once('>') {
            Some((_, after)) if is_tag => after,
            Some(_) | None => part,
        });
    }
    let words: Vec<String> = out
        .split('&')
        .enumerate()
        .map(|(at, part)| if at == 0 { part.to_owned() } else { loosely(part) })
        .collect();
    plain(&words.concat())
}

/// What follows an `&`, which may be just that.
fn loosely(part: &str) -> String {
    let known = part.split_once(';').and_then(|(entity, after)| Some((letter(entity)?, after)));
    known.map_or_else(|| format!("&{part}"), |(letter, after)| format!("{letter}{after}"))
}

/// How text is written inside of an element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    AsIs,
    /// Its alias was written instead.
    Not,
    Letters,
    Digits,
    Telephone,
    Date,
}

impl How {
    /// Of a `say-as`; kinds that differ from language to language are left to the engine.
    fn of(interpret_as: &str) -> Self {
        match interpret_as {
            "characters" | "spell-out" | "verbatim" | "tts:char" => Self::Letters,
            "digits" | "vxml:digits" | "tts:digits" => Self::Digits,
            "telephone" | "vxml:phone" => Self::Telephone,
            "date" | "vxml:date" => Self::Date,
            _ => Self::AsIs,
        }
    }
}

struct Writer {
    out: String,
    is_marked: bool,
    /// The elements around, each with the tag that ends it.
    around: Vec<(How, String)>,
}

impl Writer {
    const fn new(is_marked: bool) -> Self {
        Self { out: String::new(), is_marked, around: Vec::new() }
    }

    fn write(mut self, pieces: &[Piece]) -> String {
        for piece in pieces {
            let how = self.around.last().map_or(How::AsIs, |(how, _)| *how);
            match piece {
                Piece::Text(text) => self.text(text, how),
                Piece::Open { name, attributes, is_empty } => self.open(name, attributes, *is_empty, how),
                Piece::Close => {
                    if let Some((_, end)) = self.around.pop() {
                        self.end(&end);
                    }
                }
            }
        }
        self.out
    }

    fn open(&mut self, name: &str, attributes: &[(String, String)], is_empty: bool, around: How) {
        let value =
            |key: &str| attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        let mut how = around;
        let mut is_kept = around != How::Not && self.is_marked;
        match name {
            _ if around == How::Not => {}
            "sub" => {
                // espeak-ng leaves out the spaces of an alias.
                is_kept = false;
                if let Some(alias) = value("alias") {
                    self.text(alias, around);
                    how = How::Not;
                }
            }
            "say-as" => {
                how = How::of(value("interpret-as").unwrap_or_default().trim());
                // Others it knows by themselves, or not at all.
                is_kept &= how == How::AsIs;
            }
            "break" if !self.is_marked => self.pause(','),
            "p" | "s" if !self.is_marked => self.pause('.'),
            _ => {}
        }
        let mut end = String::new();
        if is_kept {
            self.out.push('<');
            self.out.push_str(name);
            for (key, value) in attributes {
                self.out.push_str(&format!(" {key}=\"{}\"", escaped(value)));
            }
            self.out.push_str(if is_empty { "/>" } else { ">" });
            end = format!("</{name}>");
        } else if how == How::Letters && self.is_marked && around != How::Letters {
            // The one kind that espeak-ng does well: it says the names of letters.
            self.out.push_str("<say-as interpret-as=\"characters\">");
            end = "</say-as>".to_owned();
        } else if matches!(name, "p" | "s") {
            end = ".".to_owned();
        }
        if is_empty && !is_kept {
            self.end(&end);
        } else if !is_empty {
            self.around.push((how, end));
        }
    }

    fn end(&mut self, end: &str) {
        match end {
            "." => self.pause('.'),
            _ => self.out.push_str(end),
        }
    }

    /// A sign for a pause, where there is none yet.
    fn pause(&mut self, sign: char) {
        let is_word = self.out.trim_end().ends_with(char::is_alphanumeric);
        if is_word {
            self.out.truncate(self.out.trim_end().len());
            self.out.push(sign);
        }
        if !self.out.ends_with(' ') {
            self.out.push(' ');
        }
    }

    fn text(&mut self, text: &str, how: How) {
        let text = match how {
            How::Not => return,
            // Two brackets would be phonemes to espeak-ng, also as entities.
            How::AsIs => text.replace("[[", "[ ["),
            How::Letters if self.is_marked => text.to_owned(),
            How::Letters | How::Digits => spaced(text),
            How::Telephone => telephone(text),
            How::Date => text.replace(['/', '-'], " "),
        };
        self.out.push_str(&if self.is_marked { escaped(&text) } else { text });
    }
}

/// Each letter and digit for itself.
fn spaced(text: &str) -> String {
    let letters: Vec<String> = text.chars().filter(|c| !c.is_whitespace()).map(String::from).collect();
    letters.join(" ")
}

/// Digit for digit, with a pause between groups.
fn telephone(text: &str) -> String {
    let groups = text.split(|c: char| c.is_whitespace() || matches!(c, '-' | '.' | '/' | '(' | ')'));
    let groups: Vec<String> = groups.filter(|group| !group.is_empty()).map(spaced).collect();
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_espeak_ng_ignores_is_put_in_words() {
        for (ssml, marked, flat) in [
            ("Hello", "Hello", "Hello"),
            ("AT&amp;T &lt;b>", "AT&amp;T &lt;b&gt;", "AT&T <b>"),
            ("<sub alias=\"World Wide\">W<w>3</w>C</sub> it", "World Wide it", "World Wide it"),
            ("<sub>W3C</sub>", "W3C", "W3C"),
            ("<sub alias='&lt;x'/>", "&lt;x", "<x"),
            (
                "<say-as interpret-as=\"characters\">a1 b</say-as>.",
                "<say-as interpret-as=\"characters\">a1 b</say-as>.",
                "a 1 b.",
            ),
            (
                "<say-as interpret-as='spell-out'>ab</say-as>",
                "<say-as interpret-as=\"characters\">ab</say-as>",
                "a b",
            ),
            ("<say-as interpret-as=\"digits\">1234</say-as>", "1 2 3 4", "1 2 3 4"),
            (
                "<say-as interpret-as=\"telephone\">+1 (212) 555-0123</say-as>",
                "+ 1, 2 1 2, 5 5 5, 0 1 2 3",
                "+ 1, 2 1 2, 5 5 5, 0 1 2 3",
            ),
            ("<say-as interpret-as=\"date\" format=\"mdy\">10/11/2024</say-as>", "10 11 2024", "10 11 2024"),
            (
                "<say-as interpret-as=\"cardinal\">12</say-as>",
                "<say-as interpret-as=\"cardinal\">12</say-as>",
                "12",
            ),
            ("<say-as interpret-as=\"digits\"><sub alias=\"42\">x</sub></say-as>", "4 2", "4 2"),
            ("one<break time=\"1s\"/>two", "one<break time=\"1s\"/>two", "one, two"),
            ("one, <break/>two", "one, <break/>two", "one, two"),
            ("<p>one</p><p><s>two</s></p>", "<p>one</p><p><s>two</s></p>", "one. two."),
            ("a<!-- b -->c", "ac", "ac"),
            ("<w\trole = 'x' >a</w >", "<w role=\"x\">a</w>", "a"),
        ] {
            assert_eq!(for_espeak(ssml), Words::Marked(marked.to_owned()), "{ssml}");
            assert_eq!(text(ssml), flat, "{ssml}");
        }
    }

    #[test]
    fn brackets_stay_brackets() {
        for ssml in ["&#91;&#x5b;h@'loU]]", "[[h@'loU]]", "<sub alias=\"[[h@'loU]]\">x</sub>"] {
            assert_eq!(for_espeak(ssml), Words::Marked("[ [h@'loU]]".to_owned()), "{ssml}");
            assert_eq!(text(ssml), "[ [h@'loU]]", "{ssml}");
        }
    }

    #[test]
    fn bad_ssml_is_spoken_as_its_text() {
        let deep = |count: usize| format!("{}x{}", "<w>".repeat(count), "</w>".repeat(count));
        assert_eq!(text(&deep(DEPTH_MAX)), "x");
        assert!(matches!(for_espeak(&deep(DEPTH_MAX)), Words::Marked(_)));
        for (ssml, expected) in [
            ("one & two", "one & two"),
            ("one &amp; &two; three", "one & &two; three"),
            ("one <two three", "one  two three"),
            ("1 < 2 > 0", "1   2 > 0"),
            ("<emphasis>one", "one"),
            ("one</p>", "one"),
            ("<a><b>one</a></b>", "one"),
            ("<w role=x>one</w>", "one"),
            ("<w role=\"a\"role2=\"b\">one</w>", "one"),
            ("<w a='1' a='2'>one</w>", "one"),
            ("<w a='<'>one</w>", "w a=' '>one"),
            ("<![CDATA[one]]> two", "two"),
            ("<?x?>one", "one"),
            ("<!-- one", "!-- one"),
            ("&#55296; &#x110000; &#-1; &#;", "&#55296; &#x110000; &#-1; &#;"),
            ("<", ""),
            (deep(DEPTH_MAX + 1).as_str(), "x"),
        ] {
            assert_eq!(for_espeak(ssml), Words::Text(expected.to_owned()), "{ssml}");
            assert_eq!(text(ssml), expected, "{ssml}");
            assert_eq!(document(ssml, "en"), Words::Text(expected.to_owned()), "{ssml}");
        }
    }

    #[test]
    fn a_document_says_its_language() {
        let Words::Marked(document) = document("<p>x</p>", "d\"e") else { panic!("it is good SSML") };
        assert!(document.starts_with("<speak version=\"1.1\" "), "{document}");
        assert!(document.ends_with(" xml:lang=\"d&quot;e\"><p>x</p></speak>"), "{document}");
    }

    #[test]
    fn what_is_written_is_good_again() {
        let good = "a<sub alias=\"b\">c</sub><say-as interpret-as='digits'>12</say-as><p>&amp;<s>x</s></p>";
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let signs = b"<>&;/\"'= ax[]-!";
        for _ in 0..2_000 {
            let mut bytes = good.as_bytes().to_vec();
            for _ in 0..random() % 4 {
                let at = random() % bytes.len();
                bytes[at] = signs[random() % signs.len()];
            }
            let ssml = String::from_utf8(bytes).unwrap();
            match for_espeak(&ssml) {
                Words::Marked(written) => {
                    assert!(pieces(&written).is_some(), "{ssml}: {written}");
                    assert_eq!(for_espeak(&written), Words::Marked(written.clone()), "{ssml}");
                    assert!(!written.contains("[["), "{ssml}: {written}");
                }
                Words::Text(text) => assert!(!text.contains("[["), "{ssml}: {text}"),
            }
        }
    }
}
