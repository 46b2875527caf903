//! What is shown of a request: everything but what lets somebody in.

use url::Url;

/// Stands for what is not shown.
const MASK: &str = "***";
/// Parts of names of what is a secret.
const SECRET_WORDS: [&str; 9] =
    ["auth", "cookie", "credential", "key", "passw", "secret", "signature", "sig", "token"];

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
        let fields: Vec<String> = query
            .split('&')
            .map(|field| match field.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={MASK}"),
                Some(_) | None => field.to_owned(),
            })
            .collect();
        url.set_query(Some(&fields.join("&")));
    }
    url.into()
}

/// A text with each URL in it as [`url`] shows it.
#[must_use]
pub(crate) fn text(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("http") {
        let (before, from) = rest.split_at(at);
        shown.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '\\');
        let (found, after) = from.split_at(from.find(ends).unwrap_or(from.len()));
        let masked = url(found);
        // One without secrets stays as it was written.
        let has_secret = masked.contains(MASK) && masked != MASK;
        shown.push_str(if has_secret { &masked } else { found });
        rest = after;
    }
    shown.push_str(rest);
    shown
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
