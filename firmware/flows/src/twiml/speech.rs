//! What a Say says: its words, with the markup that the speech engine is told, and its voice.

use super::names::Name;
use crate::xml::Element;

/// Longest text, in characters; what comes after is cut off.
const CHARS_MAX: usize = 4_096;

/// The words of a Say.
pub(super) struct Words {
    pub(super) text: String,
    pub(super) is_ssml: bool,
    pub(super) is_cut: bool,
    /// Something of the language itself stands inside the markup, and is not spoken.
    pub(super) is_odd: bool,
}

/// The words inside `element`; as SSML if there is any markup that is kept.
pub(super) fn words(element: &Element) -> Words {
    let is_ssml = has_markup(element);
    let mut writer =
        Writer { text: String::new(), is_ssml, chars: 0, is_cut: false, depth: 0, is_odd: false };
    writer.inside(element);
    let text = writer.text.trim().to_owned();
    let has_words = writer.chars > 0 || text.contains('<');
    let text = if has_words { text } else { String::new() };
    Words { text, is_ssml, is_cut: writer.is_cut, is_odd: writer.is_odd }
}

fn has_markup(element: &Element) -> bool {
    element.children.iter().any(|child| Name::is_speech_markup(&child.name) || has_markup(child))
}

struct Writer {
    text: String,
    is_ssml: bool,
    chars: usize,
    is_cut: bool,
    /// Elements around.
    depth: usize,
    is_odd: bool,
}

impl Writer {
    /// The text and the children of an element, in their order.
    fn inside(&mut self, element: &Element) {
        let mut from = 0;
        for (child, at) in element.children.iter().zip(&element.stands) {
            self.words(element.text.get(from..*at).unwrap_or(""));
            from = *at;
            self.element(child);
        }
        self.words(element.text.get(from..).unwrap_or(""));
    }

    fn element(&mut self, element: &Element) {
        if Name::of(&element.name).is_some() {
            // A verb or noun is no speech, and its text may be an address. Of a child of the Say
            // itself whoever reads its attributes warns.
            self.is_odd |= self.depth > 0;
            return;
        }
        self.depth += 1;
        self.marked(element);
        self.depth -= 1;
    }

    fn marked(&mut self, element: &Element) {
        if !Name::is_speech_markup(&element.name) {
            // What the engine does not know is read as its text alone.
            return self.inside(element);
        }
        self.text.push('<');
        self.text.push_str(&element.name);
        for (name, value) in &element.attributes {
            self.text.push_str(&format!(" {name}=\"{}\"", quick_xml::escape::escape(value.as_str())));
        }
        if element.children.is_empty() && element.text.trim().is_empty() {
            self.text.push_str("/>");
            return;
        }
        self.text.push('>');
        self.inside(element);
        self.text.push_str(&format!("</{}>", element.name));
    }

    /// Words, with each run of white space as one space.
    fn words(&mut self, text: &str) {
        for c in text.chars() {
            let c = if c.is_whitespace() { ' ' } else { c };
            if c == ' ' && (self.text.is_empty() || self.text.ends_with(' ')) {
                continue;
            }
            if self.chars >= CHARS_MAX {
                self.is_cut |= c != ' ';
                return;
            }
            if c != ' ' || self.chars > 0 {
                self.chars += 1;
            }
            match c {
                '&' if self.is_ssml => self.text.push_str("&amp;"),
                '<' if self.is_ssml => self.text.push_str("&lt;"),
                '>' if self.is_ssml => self.text.push_str("&gt;"),
                _ => self.text.push(c),
            }
        }
    }
}

/// The voice that comes nearest to one that was asked for.
pub(super) struct Voice {
    pub(super) is_male: bool,
    /// The language that its name tells.
    pub(super) language: Option<String>,
    /// The box has it.
    pub(super) is_known: bool,
}

/// Men among the voices of the cloud.
const MEN: [&str; 28] = [
    "Matthew",
    "Joey",
    "Justin",
    "Kevin",
    "Stephen",
    "Gregory",
    "Brian",
    "Arthur",
    "Russell",
    "Hans",
    "Daniel",
    "Mathieu",
    "Remi",
    "Liam",
    "Enrique",
    "Sergio",
    "Miguel",
    "Pedro",
    "Andres",
    "Giorgio",
    "Adriano",
    "Ricardo",
    "Thiago",
    "Cristiano",
    "Takumi",
    "Maxim",
    "Jacek",
    "Ruben",
];

/// Maps the name of a voice to one of the box's two kinds.
pub(super) fn voice(wanted: Option<&str>, default: tipring_model::prompt::Gender) -> Voice {
    let Some(wanted) = wanted else {
        let is_male = default == tipring_model::prompt::Gender::Male;
        return Voice { is_male, language: None, is_known: true };
    };
    match wanted {
        "man" => Voice { is_male: true, language: None, is_known: true },
        "woman" | "alice" => Voice { is_male: false, language: None, is_known: true },
        _ => {
            let name = wanted.split_once('.').map_or(wanted, |(_, name)| name);
            let person = name.split('-').next().unwrap_or(name);
            // Google.de-DE-Wavenet-B: the language stands in front.
            let mut parts = name.split('-');
            let language = parts.next().zip(parts.next()).filter(|(language, country)| {
                let is_code = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic());
                is_code(language) && is_code(country)
            });
            let language = language.map(|(language, country)| format!("{language}-{country}"));
            Voice { is_male: MEN.contains(&person), language, is_known: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twiml::parse;

    fn said(inside: &str) -> (String, bool) {
        let root =
            parse::document(format!("<Response><Say>{inside}</Say></Response>").as_bytes(), None, false);
        let words = words(&root.unwrap().children[0]);
        (words.text, words.is_ssml)
    }

    #[test]
    fn words_and_markup_keep_their_order() {
        for (inside, text, is_ssml) in [
            ("  a \n b  ", "a b", false),
            (
                "Hi<break time=\"300ms\"/> to <say-as interpret-as='characters'>A&amp;B</say-as>.",
                "Hi<break time=\"300ms\"/> to <say-as interpret-as=\"characters\">A&amp;B</say-as>.",
                true,
            ),
            ("a <blink>b</blink> c", "a b c", false),
            ("<blink>a <p>b <audio>c</audio></p></blink>", "a <p>b c</p>", true),
            ("<sub alias='x &lt; y'>z</sub>", "<sub alias=\"x &lt; y\">z</sub>", true),
            ("a <Play>http://a.test/b</Play> c", "a c", false),
            ("a <p>b <Play>http://a.test/b</Play></p>", "a <p>b </p>", true),
            ("", "", false),
            (" ", "", false),
            ("1 &lt; 2", "1 < 2", false),
        ] {
            assert_eq!(said(inside), (text.to_owned(), is_ssml), "{inside}");
        }
        let long = "x".repeat(CHARS_MAX + 1);
        assert_eq!(said(&long).0.len(), CHARS_MAX);
        let whole = said(&format!("<p>{long}</p>")).0;
        assert!(whole.ends_with("x</p>"), "cut inside, and still well-formed");
    }

    #[test]
    fn a_voice_of_the_cloud_is_the_nearest_of_the_box() {
        use tipring_model::prompt::Gender::{Female, Male};
        let kind = |name| {
            let voice = voice(Some(name), Female);
            (voice.is_male, voice.language, voice.is_known)
        };
        assert_eq!(kind("man"), (true, None, true));
        assert_eq!(kind("Polly.Brian-Neural"), (true, None, false));
        assert_eq!(kind("Polly.Vicki"), (false, None, false));
        assert_eq!(kind("Google.de-DE-Wavenet-B"), (false, Some("de-DE".into()), false));
        assert!(voice(None, Male).is_male);
    }
}
