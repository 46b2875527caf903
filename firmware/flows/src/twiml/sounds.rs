//! What a document would play or say, known before it runs: so that a copy of it can be heard
//! while its server is away.

use std::rc::Rc;

use tipring_model::directory::Directory;
use tipring_model::fetch::HttpResponse;
use tipring_model::prompt::{Prompt, PromptSource};

use super::flow::TwimlFlow;
use super::names::Name;
use super::request::judge;
use super::settings::{First, Terms};
use crate::xml::Element;

/// Sounds that are looked for in one document.
const SOUNDS_MAX: usize = 64;

/// Every file and text in the document, in its order, each once.
pub(super) fn of(terms: &Rc<Terms>, directory: &Rc<Directory>, answer: &HttpResponse) -> Vec<PromptSource> {
    let Ok(judged) = judge(Ok(answer), terms.lenient_prolog) else { return Vec::new() };
    let root = judged.into_document();
    // A flow that never runs: it reads the verbs as one that does would.
    let first = First::Document(Rc::clone(&root));
    let mut reader = TwimlFlow::new(Rc::clone(terms), Rc::clone(directory), first);
    let mut sounds = Vec::new();
    collect(&mut reader, &root, &answer.url, &mut sounds);
    sounds
}

fn collect(reader: &mut TwimlFlow, element: &Rc<Element>, base: &str, sounds: &mut Vec<PromptSource>) {
    for child in &element.children {
        let prompts: Vec<Prompt> = match Name::of(&child.name) {
            Some(Name::Say) => reader.say_prompt(child, "").into_iter().collect(),
            Some(Name::Play) => reader.play_prompts(child, Some(base), ""),
            Some(Name::Gather) => {
                collect(reader, child, base, sounds);
                continue;
            }
            Some(_) | None => continue,
        };
        for prompt in prompts {
            let is_file = matches!(prompt.source, PromptSource::Url(_) | PromptSource::Speech(_));
            if is_file && sounds.len() < SOUNDS_MAX && !sounds.contains(&prompt.source) {
                sounds.push(prompt.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Profile;
    use super::*;

    #[test]
    fn what_a_document_would_play_is_known_before_it_runs() {
        let directory = Rc::new(Directory::default());
        let terms = Rc::new(Terms::of(Profile::Twilio, &directory));
        let body = "<Response><Play>menu.wav</Play><Gather><Say language='de-DE'>Hallo</Say>\
                    <Play>http://other.test/a.mp3</Play></Gather><Dial><Number>1</Number></Dial>\
                    <Play>menu.wav</Play><Play>ftp://x/y</Play></Response>";
        let answer = HttpResponse {
            status: 200,
            url: "http://web.test/flows/office?From=1".to_owned(),
            media_type: None,
            headers: Vec::new(),
            body: body.into(),
        };
        let sounds: Vec<String> =
            of(&terms, &directory, &answer).iter().map(|sound| format!("{sound:?}")).collect();
        assert_eq!(sounds.len(), 3, "{sounds:?}");
        assert!(sounds[0].contains("http://web.test/flows/menu.wav"));
        assert!(sounds[1].contains("Hallo") && sounds[1].contains("de-DE"));
        let nothing = HttpResponse { body: b"<html>".to_vec(), ..answer };
        assert!(of(&terms, &directory, &nothing).is_empty());
    }
}
