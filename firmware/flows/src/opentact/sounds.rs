//! What a document would play or say, known before it runs: so that a copy of it can be
//! heard while its server is away.

use std::rc::Rc;

use tipring_model::fetch::HttpResponse;
use tipring_model::prompt::{Prompt, PromptSource};

use super::flow::OpentactFlow;
use super::parse::Name;
use super::request::{Judged, judge};
use super::settings::App;
use crate::xml::Element;

/// Sounds that are looked for in one document.
const SOUNDS_MAX: usize = 64;

/// Every file and text in the document, in its order, each once.
pub(super) fn of(app: &Rc<App>, answer: &HttpResponse) -> Vec<PromptSource> {
    let Ok(Judged::Document(root)) = judge(Ok(answer), app.strict) else { return Vec::new() };
    // A flow that never runs: it reads the commands as one that does would.
    let mut reader = OpentactFlow::new(Rc::clone(app));
    reader.base = Some(answer.url.clone());
    let mut sounds = Vec::new();
    collect(&mut reader, &root, &mut sounds);
    sounds
}

fn collect(reader: &mut OpentactFlow, element: &Rc<Element>, sounds: &mut Vec<PromptSource>) {
    for child in &element.children {
        if sounds.len() >= SOUNDS_MAX {
            return;
        }
        let prompt = match Name::of(&child.name) {
            Some(Name::Say) => reader.say_prompt(child, ""),
            Some(Name::Play) => reader.play_prompt(child, ""),
            Some(_) | None => Ok(None),
        };
        if let Ok(Some(Prompt { source: source @ (PromptSource::Url(_) | PromptSource::Speech(_)), .. })) =
            prompt
            && !sounds.contains(&source)
        {
            sounds.push(source);
        }
        collect(reader, child, sounds);
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::settings::{RawSettings, RawValue, Settings as _};

    use super::*;

    #[test]
    fn what_a_document_would_play_is_known_before_it_runs() {
        let mut raw = RawSettings::new();
        raw.set("url", RawValue::Text("http://web.test/flow".to_owned()));
        let app = Rc::new(App::parse(&raw).unwrap());
        let body = "<Response><Play>menu.wav</Play><Gather><Say lang='de-DE'>Hallo</Say>\
                    <Play url='http://other.test/a.mp3'/><Case dtmf='1'><Play url='menu.wav'/></Case></Gather>\
                    <Play record='memo'/><Play url='ftp://x/y'/><Pause/></Response>";
        let answer = HttpResponse {
            status: 200,
            url: "http://web.test/flows/office?from=1".to_owned(),
            media_type: None,
            headers: Vec::new(),
            body: body.into(),
        };
        let sounds: Vec<String> = of(&app, &answer)
            .into_iter()
            .map(|sound| match sound {
                PromptSource::Url(url) => url,
                PromptSource::Speech(speech) => format!("{} {}", speech.language, speech.text),
                PromptSource::Request(_)
                | PromptSource::Recording(_)
                | PromptSource::Library(_)
                | PromptSource::Silence(_)
                | PromptSource::Tone(_)
                | PromptSource::ToneOf(..)
                | PromptSource::Tones(_)
                | PromptSource::Words(..)
                | PromptSource::Mailbox { .. }
                | PromptSource::Music => "something else".to_owned(),
            })
            .collect();
        assert_eq!(sounds, ["http://web.test/flows/menu.wav", "de-DE Hallo", "http://other.test/a.mp3"]);
        assert!(of(&app, &HttpResponse { body: b"<html>".to_vec(), ..answer }).is_empty());
    }
}
