//! Documents: what is refused whole, and the check without a call.

use std::rc::Rc;

use crate::xml::{self, Element, Limits, Position};

/// Longest document.
pub(super) const BYTES_MAX: usize = 65_536;

const LIMITS: Limits = Limits {
    bytes_max: BYTES_MAX,
    elements_max: 1_000,
    depth_max: 32,
    attributes_max: 64,
    text_bytes_max: 8_192,
    // The label iso-8859-1 stands for windows-1252 (WHATWG Encoding §4.2).
    encodings: &[
        encoding_rs::WINDOWS_1250,
        encoding_rs::WINDOWS_1251,
        encoding_rs::WINDOWS_1252,
        encoding_rs::WINDOWS_1253,
        encoding_rs::WINDOWS_1254,
        encoding_rs::WINDOWS_1255,
        encoding_rs::WINDOWS_1256,
        encoding_rs::WINDOWS_1257,
        encoding_rs::WINDOWS_1258,
    ],
};

/// Why a document was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DocumentError {
    pub(super) code: &'static str,
    pub(super) at: Position,
}

/// The number under which the language knows what went wrong.
pub(super) fn number_of(code: &str) -> u32 {
    match code {
        "TR-HOOK-URL" | "TR-HOOK-SSRF" | "TR-STREAM-URL" => 11_100,
        "TR-HOOK-UNREACH" => 11_205,
        "TR-HOOK-DNS" => 11_210,
        "TR-HOOK-REDIRECTS" => 11_215,
        "TR-HOOK-TLS" => 11_220,
        "TR-HOOK-SIZE" => 11_750,
        "TR-FLOW-XML-VERSION" => 12_101,
        "TR-FLOW-UNKNOWN-COMMAND" => 12_200,
        "TR-FLOW-MEDIA-TYPE" | "TR-AUDIO-DECODE" => 12_300,
        _ if code.starts_with("TR-FLOW-") => 12_100,
        _ => 11_200,
    }
}

/// Reads a document whose root must be `Response`.
pub(super) fn document(
    bytes: &[u8],
    charset: Option<&str>,
    lenient_prolog: bool,
) -> Result<Rc<Element>, DocumentError> {
    let start = Position { line: 1, column: 1 };
    let plain = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let trimmed = plain.trim_ascii_start();
    let is_declared = trimmed.starts_with(b"<?xml") && trimmed.get(5).is_some_and(u8::is_ascii_whitespace);
    if is_declared && trimmed.len() < plain.len() && !lenient_prolog {
        return Err(DocumentError { code: "TR-FLOW-XML", at: start });
    }
    let read = if is_declared { trimmed } else { bytes };
    if is_declared && !is_version_1(trimmed) {
        return Err(DocumentError { code: "TR-FLOW-XML-VERSION", at: start });
    }
    let root = xml::parse(read, charset, &LIMITS)
        .map_err(|error| DocumentError { code: error.fault.code(), at: error.at })?;
    if root.name != "Response" {
        return Err(DocumentError { code: "TR-FLOW-ROOT", at: root.at });
    }
    Ok(root)
}

/// Whether an XML declaration is absent, says nothing, or says 1.0.
fn is_version_1(document: &[u8]) -> bool {
    const DECLARATION_BYTES_MAX: usize = 256;
    let head = document.get(..document.len().min(DECLARATION_BYTES_MAX)).unwrap_or(document);
    let end = head.windows(2).position(|pair| pair == b"?>").unwrap_or(head.len());
    let declaration = String::from_utf8_lossy(head.get(..end).unwrap_or(head)).into_owned();
    let Some((_, rest)) = declaration.split_once("version") else { return true };
    let value = rest.trim_start().strip_prefix('=').map(str::trim_start).unwrap_or("");
    value.starts_with("\"1.0\"") || value.starts_with("'1.0'")
}

/// What an answer is, by its media type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// A document, with the charset that came along.
    Document(Option<String>),
    /// A sound file.
    Sound,
    /// Words to be spoken.
    Words(Option<String>),
}

/// Judges an answer by its media type; without one, by its first character.
pub(super) fn content(media_type: Option<&str>, body: &[u8]) -> Result<Content, &'static str> {
    let Some(full) = media_type.filter(|full| !full.trim().is_empty()) else {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let first = body.trim_ascii_start().first();
        return if first == Some(&b'<') { Ok(Content::Document(None)) } else { Err("TR-FLOW-MEDIA-TYPE") };
    };
    let mut parts = full.split(';');
    let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    let charset = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    });
    match essence.as_str() {
        "text/xml" | "application/xml" | "text/html" => Ok(Content::Document(charset)),
        "text/plain" => Ok(Content::Words(charset)),
        "audio/mpeg" | "audio/mp3" | "audio/wav" | "audio/wave" | "audio/x-wav" | "audio/aiff"
        | "audio/x-aifc" | "audio/x-aiff" | "audio/x-gsm" | "audio/gsm" | "audio/ulaw" | "audio/basic" => {
            Ok(Content::Sound)
        }
        _ if essence.ends_with("+xml") => Ok(Content::Document(charset)),
        _ => Err("TR-FLOW-MEDIA-TYPE"),
    }
}

/// The place of the child at position `at` below `path`; the root has none.
pub(super) fn child_path(path: &str, child: &Element, at: usize) -> String {
    let dot = if path.is_empty() { "" } else { "." };
    format!("{path}{dot}{}[{at}]", child.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(document: &[u8]) -> Option<&'static str> {
        super::document(document, None, false).err().map(|error| error.code)
    }

    #[test]
    fn a_document_is_refused_whole_or_read_whole() {
        for (document, expected) in [
            (&b"<Response/>"[..], None),
            (b"\xef\xbb\xbf<?xml version='1.0'?><Response/>", None),
            (b"\n <!-- a --> <Response/>", None),
            (b" <?xml version='1.0'?><Response/>", Some("TR-FLOW-XML")),
            (b"<?xml version='1.1'?><Response/>", Some("TR-FLOW-XML-VERSION")),
            (b"<?xml encoding='utf-8'?><Response/>", Some("TR-FLOW-XML")),
            (b"<?xml version='1.0' encoding='windows-1250'?><Response/>", None),
            (b"<?xml version='1.0' encoding='utf-16'?><Response/>", Some("TR-FLOW-ENCODING")),
            (b"<response/>", Some("TR-FLOW-ROOT")),
            (b"<Response/><Response/>", Some("TR-FLOW-ROOT")),
            (b"<!DOCTYPE a><Response/>", Some("TR-FLOW-DOCTYPE")),
            (b"<Response>\xff</Response>", Some("TR-FLOW-ENCODING")),
            (b"<Response><Say>a & b</Say></Response>", Some("TR-FLOW-XML")),
            (b"<Response a=b/>", Some("TR-FLOW-XML")),
        ] {
            assert_eq!(code(document), expected, "{}", String::from_utf8_lossy(document));
        }
        assert!(super::document(b"\n<?xml version='1.0'?><Response/>", None, true).is_ok());
        let wide = |count| format!("<Response>{}</Response>", "<Pause/>".repeat(count));
        assert_eq!(code(wide(999).as_bytes()), None);
        assert_eq!(code(wide(1_000).as_bytes()), Some("TR-FLOW-ELEMENTS"));
        assert_eq!(code(&vec![b' '; BYTES_MAX + 1]), Some("TR-HOOK-SIZE"));
    }
}
