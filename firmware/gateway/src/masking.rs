//! What is shown of a request: everything but what lets somebody in. Where it is in doubt, a
//! value is not shown.

use url::{Url, form_urlencoded};

/// Stands for what is not shown.
const MASK: &str = "***";
/// Parts of names of what is a secret.
const SECRET_WORDS: [&str; 12] = [
    "auth",
    "code",
    "cookie",
    "credential",
    "jwt",
    "key",
    "pass",
    "pwd",
    "secret",
    "signature",
    "sig",
    "token",
];
/// How often something may be encoded over and over and is still looked into.
const ENCODED_MAX: usize = 3;

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The value of a header field.
#[must_use]
pub(crate) fn header<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret(name) { MASK } else { value }
}

/// A URL without name and password, and without the values of fields of its query that are
/// called like secrets.
#[must_use]
pub(crate) fn url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return MASK.to_owned() };
    if !url.username().is_empty() || url.password().is_some() {
        // Neither fails for a URL with a host; one without has neither.
        let _ = url.set_username(MASK);
        let _ = url.set_password(None);
    }
    if let Some(query) = url.query() {
        let fields: Vec<String> = query.split('&').map(field).collect();
        url.set_query(Some(&fields.join("&")));
    }
    if url.fragment().is_some_and(|fragment| fragment.contains('=') && is_secret(fragment)) {
        url.set_fragment(Some(MASK));
    }
    url.into()
}

/// A field of a query.
fn field(field: &str) -> String {
    match field.split_once('=') {
        Some((name, value)) if is_secret(&decoded(name)) || has_secret(&decoded(value)) => {
            format!("{name}={MASK}")
        }
        Some(_) | None => field.to_owned(),
    }
}

/// Whether a value may hold a name and password, or a field that is called like a secret.
fn has_secret(value: &str) -> bool {
    value.contains("//") && value.contains('@') || value.contains('=') && is_secret(value)
}

fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..ENCODED_MAX {
        // A text without `=` and `&` is one name to the form.
        let one = text.replace('=', "%3D").replace('&', "%26");
        match form_urlencoded::parse(one.as_bytes()).next() {
            Some((name, _)) if name != text => text = name.into_owned(),
            Some(_) | None => break,
        }
    }
    text
}

/// A text with each URL in it as [`url`] shows it; one that is itself encoded and holds a
/// secret is not shown at all.
#[must_use]
pub(crate) fn text(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(found) = rest[from..].find([':', '%']) {
        let at = from + found;
        let Some(separator) = separator(&rest[at..]) else {
            from = at + 1;
            continue;
        };
        let begin = scheme(&rest[..at]);
        if begin == at {
            from = at + 1;
            continue;
        }
        let is_encoded = rest[at..at + separator].contains('%');
        let end = at + separator + length(&rest[at + separator..], is_encoded);
        let written = &rest[begin..end];
        shown.push_str(&rest[..begin]);
        if is_encoded {
            shown.push_str(if has_secret(&decoded(written)) { MASK } else { written });
        } else {
            // JSON may escape a slash or a quote.
            let masked = url(&written.replace('\\', ""));
            // One without secrets stays as it was written, and so does what is none.
            let is_bare = end == at + separator;
            shown.push_str(if masked.contains(MASK) && !is_bare { &masked } else { written });
        }
        rest = &rest[end..];
        from = 0;
    }
    shown.push_str(rest);
    shown
}

/// The length of what stands between scheme and host at the beginning of `text`: a colon and two
/// slashes, as they are, escaped as JSON may, or encoded however often.
fn separator(text: &str) -> Option<usize> {
    let encoded = |text: &str, hex: &str| {
        let digits = text.strip_prefix('%')?;
        let last = digits.trim_start_matches("25");
        let is_it = last.get(..2).is_some_and(|last| last.eq_ignore_ascii_case(hex));
        is_it.then_some(1 + digits.len() - last.len() + 2)
    };
    let mut length = if text.starts_with(':') { 1 } else { encoded(text, "3a")? };
    for _ in 0..2 {
        let rest = &text[length..];
        let bare = rest.trim_start_matches('\\');
        length += match bare.starts_with('/') {
            true => rest.len() - bare.len() + 1,
            false => encoded(rest, "2f")?,
        };
    }
    Some(length)
}

/// Where the scheme begins that ends `text`.
fn scheme(text: &str) -> usize {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let scheme = &text[text.trim_end_matches(is_part).len()..];
    text.len() - scheme.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).len()
}

/// How far a URL goes on in `text`. A quote ends it where what follows is no part of a URL: it
/// may also stand in a password.
fn length(text: &str, is_encoded: bool) -> usize {
    for (at, c) in text.char_indices() {
        let ends = match c {
            '<' | '>' => true,
            '&' => is_encoded,
            '"' | '\'' => {
                let after = text[at + 1..].chars().next();
                after.is_none_or(|c| c.is_whitespace() || ",}]:);><".contains(c))
            }
            '\\' => {
                // Before a slash it escapes that in JSON, before a quote the quote.
                let after = text[at..].trim_start_matches('\\');
                !after.starts_with('/') && (!after.starts_with(['"', '\'']) || length(after, is_encoded) == 0)
            }
            c => c.is_whitespace(),
        };
        if ends {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_not_shown() {
        for (text, shown) in [
            ("https://a.test/x?state=live", "https://a.test/x?state=live"),
            ("https://name:pass@a.test/x", "https://***@a.test/x"),
            ("https://name@a.test/", "https://***@a.test/"),
            ("https://:pass@a.test/", "https://***@a.test/"),
            ("https://a.test/?Token=abc&n=1&api_key=x", "https://a.test/?Token=***&n=1&api_key=***"),
            ("pass@nonsense", "***"),
            ("HTTPS://name:pass@a.test/", "https://***@a.test/"),
            (r#"https://name:pa"ss@a.test/"#, "https://***@a.test/"),
            ("https://a.test/?t%6Fken=abc&%74%256Fken=x", "https://a.test/?t%6Fken=***&%74%256Fken=***"),
            (
                "https://a.test/?pass=1&PWD=2&code=3&jwt=4&n=5",
                "https://a.test/?pass=***&PWD=***&code=***&jwt=***&n=5",
            ),
            ("https://a.test/?to=http%3A%2F%2Fu%3Ap%40b.test", "https://a.test/?to=***"),
            ("https://a.test/?to=http%253A%252F%252Fu%253Ap%2540b.test", "https://a.test/?to=***"),
            ("https://a.test/?to=http%3A%2F%2Fb.test%3Ftoken%3D1", "https://a.test/?to=***"),
            ("https://a.test/?to=http%3A%2F%2Fb.test", "https://a.test/?to=http%3A%2F%2Fb.test"),
            ("https://a.test/#access_token=1", "https://a.test/#***"),
        ] {
            assert_eq!(url(text), shown, "{text}");
        }
        for (written, shown) in [
            (
                r#"{"url":"http://n:p@a.test?key=1","b":"x"}"#,
                r#"{"url":"http://***@a.test/?key=***","b":"x"}"#,
            ),
            ("see http://a.test and https://n@b.test/", "see http://a.test and https://***@b.test/"),
            ("http", "http"),
            ("http://", "http://"),
            ("HtTp://u:p@a.test", "http://***@a.test/"),
            ("wss://u:p@a.test/x", "wss://***@a.test/x"),
            (r#"{"u":"http://n:p\"w@a.test/x","b":"x@y"}"#, r#"{"u":"http://***@a.test/x","b":"x@y"}"#),
            (r#"{"u":"http://a.test","b":"x@y"}"#, r#"{"u":"http://a.test","b":"x@y"}"#),
            (r#"{"u":"http:\/\/n:p@a.test\/x","b":"x"}"#, r#"{"u":"http://***@a.test/x","b":"x"}"#),
            (
                r#"{"u":"{\"v\":\"http://a.test\",\"w\":\"x@y\"}"}"#,
                r#"{"u":"{\"v\":\"http://a.test\",\"w\":\"x@y\"}"}"#,
            ),
            ("a=1&url=http%3A%2F%2Fu%3Ap%40a.test&b=2", "a=1&url=***&b=2"),
            ("a=1&url=HTTP%253a%252f%252Fu%253Ap%2540a.test&b=2", "a=1&url=***&b=2"),
            ("a=1&url=http%3A%2F%2Fa.test&b=100%", "a=1&url=http%3A%2F%2Fa.test&b=100%"),
            ("://x 1:2 % %3 \u{e4}://\u{e4}", "://x 1:2 % %3 \u{e4}://\u{e4}"),
            ("httphttp://x", "httphttp://x"),
            ("", ""),
        ] {
            assert_eq!(text(written), shown);
        }
        for (name, is_shown) in [
            ("Authorization", false),
            ("webhook-signature", false),
            ("X-Api-Key", false),
            ("Cookie", false),
            ("webhook-id", true),
            ("Content-Type", true),
        ] {
            assert_eq!(header(name, "value") == "value", is_shown, "{name}");
        }
    }
}
