//! Text to speech, by espeak-ng as a child process, and how a child process is run.
//!
//! The engine is started anew for each text: it takes some tens of milliseconds, and
//! nothing that it does can stay behind. It gets arguments, not a command line, and the
//! text through its standard input.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tipring_model::flow::ActionFailure;
use tipring_model::prompt::{Gender, Speech};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

/// Longest text, in characters.
pub(crate) const TEXT_CHARS_MAX: usize = 4096;
/// Longest run of the engine.
pub(super) const RUN_MAX: Duration = Duration::from_secs(10);
/// Engines at a time.
pub(super) const RUNS_MAX: usize = 2;
/// Longest wait for others to be through.
pub(super) const TURN_MAX: Duration = Duration::from_secs(20);
/// Most that the engine may say, in bytes: ten minutes at 22 050 Hz.
pub(super) const SOUND_BYTES_MAX: usize = 27_000_000;
/// Longest list of voices, in bytes.
const VOICES_BYTES_MAX: usize = 256 * 1024;

/// The speech engine.
pub(super) struct Engine {
    program: PathBuf,
    voices: OnceCell<Vec<Voice>>,
    turns: Semaphore,
}

/// A voice of the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Voice {
    /// Language tag in lower case.
    language: String,
    name: String,
    /// What the engine is told.
    file: String,
    /// Other languages that it speaks, with a priority; lower is better.
    others: Vec<(String, u32)>,
    priority: u32,
}

impl Engine {
    pub(super) const fn new(program: PathBuf) -> Self {
        Self { program, voices: OnceCell::const_new(), turns: Semaphore::const_new(RUNS_MAX) }
    }

    /// What the engine calls the voice that is asked for.
    ///
    /// # Errors
    /// `NoVoice` if none speaks the language, `Speech` if there is no engine.
    pub(super) async fn voice(&self, speech: &Speech) -> Result<String, ActionFailure> {
        let voices = self
            .voices
            .get_or_try_init(|| async {
                let list = self.run(&["--voices"], None, VOICES_BYTES_MAX).await?;
                Ok::<_, ActionFailure>(parse_voices(&String::from_utf8_lossy(&list)))
            })
            .await?;
        choose(voices, speech).ok_or(ActionFailure::NoVoice)
    }

    /// Speaks `text` with `voice`: a WAV file.
    ///
    /// # Errors
    /// `Speech` if the engine fails or takes too long, `Limit` if the text is too long
    /// or others do not come to an end.
    pub(super) async fn speak(
        &self,
        voice: &str,
        text: &str,
        is_ssml: bool,
    ) -> Result<Vec<u8>, ActionFailure> {
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(ActionFailure::Limit);
        }
        // UTF-8, text and sound through the pipes.
        let mut arguments = vec!["-b", "1", "-v", voice, "--stdin", "--stdout"];
        if is_ssml {
            arguments.push("-m");
        }
        self.run(&arguments, Some(text), SOUND_BYTES_MAX).await
    }

    async fn run(
        &self,
        arguments: &[&str],
        text: Option<&str>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ActionFailure> {
        let turn = timeout(TURN_MAX, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(ActionFailure::Limit) };
        match timeout(RUN_MAX, output(&self.program, arguments, text, bytes_max)).await {
            Ok(result) => result.ok_or(ActionFailure::Speech),
            // The child was killed with the future that waited for it.
            Err(_) => Err(ActionFailure::Speech),
        }
    }
}

/// What a program writes, given `text`; none if it fails or writes too much.
pub(super) async fn output<A: AsRef<OsStr>>(
    program: &Path,
    arguments: &[A],
    text: Option<&str>,
    bytes_max: usize,
) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if text.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .ok()?;
    let mut family = Family(child.id());
    // The longest text fits into the pipe, so writing first cannot block both.
    if let (Some(text), Some(mut input)) = (text, child.stdin.take()) {
        input.write_all(text.as_bytes()).await.ok()?;
        input.shutdown().await.ok()?;
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    child.stdout.take()?.take(limit.saturating_add(1)).read_to_end(&mut bytes).await.ok()?;
    if bytes.len() > bytes_max {
        return None;
    }
    let status = child.wait().await.ok()?;
    // Its number may be another's from now on.
    family.0 = None;
    status.success().then_some(bytes)
}

/// A child with the processes that it started itself: all of them are killed together.
struct Family(Option<u32>);

impl Drop for Family {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It fails when they are gone.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The text as the engine should get it: without control characters, and without the
/// brackets by which it would take words for phonemes.
pub(super) fn plain(text: &str) -> String {
    let spaced: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    spaced.replace("[[", "[ [").trim().to_owned()
}

/// Reads what `espeak-ng --voices` prints: columns for priority, language, age and
/// gender, name, file, and other languages in brackets.
fn parse_voices(list: &str) -> Vec<Voice> {
    list.lines().filter_map(parse_voice).collect()
}

fn parse_voice(line: &str) -> Option<Voice> {
    let mut words = line.split_whitespace();
    let priority = words.next()?.parse().ok()?;
    let language = words.next()?.to_ascii_lowercase();
    let (_age_gender, name, file) = (words.next()?, words.next()?, words.next()?);
    // What follows goes to the engine as an argument. MBROLA voices need more than
    // the engine.
    if file.starts_with(['-', '.', '/']) || file.starts_with("mb/") {
        return None;
    }
    let rest: Vec<&str> = words.collect();
    let others = rest
        .join(" ")
        .split(['(', ')'])
        .filter_map(|other| {
            let (tag, priority) = other.trim().split_once(' ')?;
            Some((tag.to_ascii_lowercase(), priority.trim().parse().ok()?))
        })
        .collect();
    Some(Voice { language, name: name.to_owned(), file: file.to_owned(), others, priority })
}

/// The engine's name of the voice that `speech` asks for: the one called by name if
/// there is such, else by language (RFC 4647 §3.4 lookup) and gender.
fn choose(voices: &[Voice], speech: &Speech) -> Option<String> {
    if let Some(wanted) = &speech.voice {
        let wanted = wanted.trim().replace(' ', "_");
        let named = voices.iter().find(|voice| {
            voice.name.eq_ignore_ascii_case(&wanted) || voice.file.eq_ignore_ascii_case(&wanted)
        });
        if let Some(voice) = named {
            return Some(voice.file.clone());
        }
    }
    let voice = by_language(voices, &speech.language)?;
    let variant = match speech.gender {
        Gender::Female => "f3",
        Gender::Male => "m3",
    };
    Some(format!("{}+{variant}", voice.file))
}

fn by_language<'a>(voices: &'a [Voice], language: &str) -> Option<&'a Voice> {
    let wanted = language.trim().replace('_', "-").to_ascii_lowercase();
    let mut tag = wanted.as_str();
    loop {
        let own = voices.iter().find(|voice| voice.language == tag);
        let other = || {
            voices
                .iter()
                .filter_map(|voice| {
                    let (_, priority) = voice.others.iter().find(|(other, _)| other == tag)?;
                    Some((priority, voice))
                })
                .min_by_key(|(priority, _)| **priority)
                .map(|(_, voice)| voice)
        };
        if let Some(voice) = own.or_else(other) {
            return Some(voice);
        }
        match tag.rsplit_once('-') {
            Some((shorter, _)) => tag = shorter,
            None => break,
        }
    }
    // Another region's voice is better than none.
    voices
        .iter()
        .filter(|voice| voice.language.split('-').next() == Some(tag))
        .min_by_key(|voice| voice.priority)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Taken from espeak-ng 1.51.
    const VOICES: &str = "\
Pty Language       Age/Gender VoiceName          File                 Other Languages
 5  af              --/M      Afrikaans          gmw/af               
 5  chr-US-Qaaa-x-west --/M      Cherokee_          iro/chr              
 5  cmn             --/M      Chinese_(Mandarin,_latin_as_English) sit/cmn              (zh-cmn 5)(zh 5)
 5  de              --/M      German             gmw/de               
 5  en-029          --/M      English_(Caribbean) gmw/en-029           (en 10)
 2  en-gb           --/M      English_(Great_Britain) gmw/en               (en 2)
 5  en-gb-scotland  --/M      English_(Scotland) gmw/en-GB-scotland   (en 4)
 5  en-gb-x-rp      --/M      English_(Received_Pronunciation) gmw/en-GB-x-rp       (en-gb 4)(en 5)
 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)
 5  es              --/M      Spanish_(Spain)    roa/es               
 5  es-419          --/M      Spanish_(Latin_America) roa/es-419           (es-mx 6)(es 6)
 5  fr-be           --/M      French_(Belgium)   roa/fr-BE            (fr 8)
 5  fr-fr           --/M      French_(France)    roa/fr               (fr 5)
 5  nb              --/M      Norwegian_Bokmål  gmq/nb               (no 5)
 5  nog             --/M      Nogai              trk/nog              
 5  pt              --/M      Portuguese_(Portugal) roa/pt               (pt-pt 5)
 5  pt-br           --/M      Portuguese_(Brazil) roa/pt-BR            (pt 6)
 5  vi-vn-x-central --/M      Vietnamese_(Central) aav/vi-VN-x-central  
 4  vi-vn-x-south   --/M      Vietnamese_(Southern) aav/vi-VN-x-south    
 5  yue             --/M      Chinese_(Cantonese) sit/yue              (zh-yue 5)(zh 8)
 7  af              --/M      afrikaans-mbrola-1 mb/mb-af1            
 1  xx              --/M      Evil               --path=/tmp          
 1  xy              --/M      Outside            ../../tmp/xy         
 1  xz
";

    fn speech(language: &str, gender: Gender, voice: Option<&str>) -> Speech {
        Speech {
            text: "x".to_owned(),
            language: language.to_owned(),
            gender,
            voice: voice.map(str::to_owned),
            is_ssml: false,
        }
    }

    #[test]
    fn the_list_of_voices_is_read() {
        let voices = parse_voices(VOICES);
        assert_eq!(voices.len(), 20);
        let expected = Voice {
            language: "en-gb-x-rp".to_owned(),
            name: "English_(Received_Pronunciation)".to_owned(),
            file: "gmw/en-GB-x-rp".to_owned(),
            others: vec![("en-gb".to_owned(), 4), ("en".to_owned(), 5)],
            priority: 5,
        };
        assert!(voices.contains(&expected));
        for list in ["", "\n\n", "5", "x y z", "5 a b c", &"(".repeat(1_000), "1 a b c d ((((a 1))b"] {
            assert!(parse_voices(list).len() <= 1, "{list}");
        }
    }

    #[test]
    fn voices_are_found_by_language_and_gender() {
        let voices = parse_voices(VOICES);
        for (language, expected) in [
            ("en-US", Some("gmw/en-US+f3")),
            ("EN_us", Some("gmw/en-US+f3")),
            ("en-GB", Some("gmw/en+f3")),
            ("en", Some("gmw/en+f3")),
            ("en-ZA", Some("gmw/en+f3")),
            ("en-gb-scotland", Some("gmw/en-GB-scotland+f3")),
            ("en-US-x-north", Some("gmw/en-US+f3")),
            ("es", Some("roa/es+f3")),
            ("es-ES", Some("roa/es+f3")),
            ("es-MX", Some("roa/es-419+f3")),
            ("fr", Some("roa/fr+f3")),
            ("fr-CA", Some("roa/fr+f3")),
            ("pt-BR", Some("roa/pt-BR+f3")),
            ("pt", Some("roa/pt+f3")),
            ("zh-Hans-CN", Some("sit/cmn+f3")),
            ("zh-yue", Some("sit/yue+f3")),
            ("nb-NO", Some("gmq/nb+f3")),
            ("no", Some("gmq/nb+f3")),
            ("vi", Some("aav/vi-VN-x-south+f3")),
            ("chr", Some("iro/chr+f3")),
            ("tlh", None),
            ("e", None),
            ("", None),
            ("-", None),
            ("xx", None),
            ("xy", None),
            ("--help", None),
        ] {
            let found = choose(&voices, &speech(language, Gender::Female, None));
            assert_eq!(found.as_deref(), expected, "{language}");
        }
        let male = choose(&voices, &speech("de", Gender::Male, None));
        assert_eq!(male.as_deref(), Some("gmw/de+m3"));
    }

    #[test]
    fn a_voice_that_is_known_by_name_wins() {
        let voices = parse_voices(VOICES);
        for (name, expected) in [
            ("German", "gmw/de"),
            ("spanish (spain)", "roa/es"),
            ("gmw/en-gb-scotland", "gmw/en-GB-scotland"),
            ("en-US-Wavenet-D", "gmw/en-US+m3"),
            ("", "gmw/en-US+m3"),
            ("../../etc/passwd", "gmw/en-US+m3"),
            ("--path=/tmp", "gmw/en-US+m3"),
            ("afrikaans-mbrola-1", "gmw/en-US+m3"),
        ] {
            let found = choose(&voices, &speech("en-US", Gender::Male, Some(name)));
            assert_eq!(found.as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn text_is_only_text() {
        for (text, expected) in [
            (" Hello,\r\nworld\0! ", "Hello,  world !"),
            ("[[h@'loU]]", "[ [h@'loU]]"),
            ("\u{1}+10S fast", "+10S fast"),
            ("\t\n\r", ""),
            ("Grüße", "Grüße"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    async fn run(program: &str, arguments: &[&str], text: &str, bytes_max: usize) -> Option<Vec<u8>> {
        output(Path::new(program), arguments, Some(text), bytes_max).await
    }

    #[tokio::test]
    async fn a_program_that_fails_or_talks_too_much_gives_nothing() {
        assert_eq!(run("cat", &[], "echo; $(id)", 100).await, Some(b"echo; $(id)".to_vec()));
        assert_eq!(run("cat", &[], "12345", 5).await, Some(b"12345".to_vec()));
        assert_eq!(run("cat", &[], "123456", 5).await, None);
        assert_eq!(run("cat", &["/dev/zero"], "", 1_000_000).await, None);
        assert_eq!(run("false", &[], "", 100).await, None);
        assert_eq!(run("/nowhere/espeak-ng", &[], "", 100).await, None);
        let endless = timeout(Duration::from_millis(50), run("sleep", &["1000"], "", 100)).await;
        assert!(endless.is_err());
    }

    #[tokio::test]
    async fn what_a_program_started_is_killed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Only what the shell starts has the pipe open.
        let script = format!("(exec 3>'{}'; exec sleep 1000) & wait", pipe.display());
        let arguments = ["-c", script.as_str()];
        let mut endless = Box::pin(run("sh", &arguments, "", 100));
        let (tell, started) = tokio::sync::oneshot::channel();
        let (end, ended) = tokio::sync::oneshot::channel();
        // Not a thread of the runtime, which would wait for it also after a failure.
        std::thread::spawn(move || {
            let mut pipe = std::fs::File::open(pipe).unwrap();
            tell.send(()).unwrap();
            let read = std::io::Read::read_to_end(&mut pipe, &mut Vec::new()).unwrap();
            // Nobody waits any more if it took too long.
            let _ = end.send(read);
        });
        tokio::select! {
            output = &mut endless => panic!("it ended by itself: {output:?}"),
            started = started => started.unwrap(),
        }
        drop(endless);
        // The pipe ends when nobody has it open.
        assert_eq!(timeout(RUN_MAX, ended).await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn without_an_engine_nothing_is_spoken() {
        let engine = Engine::new("/nowhere/espeak-ng".into());
        let speech = speech("en-US", Gender::Female, None);
        assert_eq!(engine.voice(&speech).await, Err(ActionFailure::Speech));
        assert_eq!(engine.speak("gmw/en", "hello", false).await, Err(ActionFailure::Speech));
        let long = "é".repeat(TEXT_CHARS_MAX + 1);
        assert_eq!(engine.speak("gmw/en", &long, false).await, Err(ActionFailure::Limit));
        // An engine that knows no voice.
        let engine = Engine::new("true".into());
        assert_eq!(engine.voice(&speech).await, Err(ActionFailure::NoVoice));
    }

    /// The engine of this machine.
    pub(crate) async fn real_engine() -> Engine {
        let engine = Engine::new("espeak-ng".into());
        assert!(
            engine.run(&["--voices"], None, VOICES_BYTES_MAX).await.is_ok(),
            "this test needs the Debian package espeak-ng"
        );
        engine
    }

    #[tokio::test]
    async fn espeak_ng_speaks_the_voices_that_it_lists() {
        let engine = real_engine().await;
        for (language, gender, voice) in [
            ("en-US", Gender::Female, None),
            ("de-DE", Gender::Male, None),
            ("zh-CN", Gender::Female, None),
            ("en-US", Gender::Female, Some("Spanish_(Spain)")),
        ] {
            let voice = engine.voice(&speech(language, gender, voice)).await.unwrap();
            let short = engine.speak(&voice, "one", false).await.unwrap();
            let long = engine.speak(&voice, "one two three four five six", false).await.unwrap();
            let length = |bytes: &[u8]| super::super::decode::decode(bytes).unwrap().duration_ms();
            let marked = "<speak>one<break time=\"2s\"/>two</speak>";
            let paused = engine.speak(&voice, marked, true).await.unwrap();
            assert!(length(&paused) > length(&short) + 1_500, "a break is heard as one");
            assert!(length(&short) > 100, "{voice}");
            assert!(length(&long) > length(&short), "{voice}");
        }
        let unknown = engine.voice(&speech("tlh", Gender::Male, None)).await;
        assert_eq!(unknown, Err(ActionFailure::NoVoice));
        let missing = engine.speak("no/such/voice", "one", false).await;
        assert_eq!(missing, Err(ActionFailure::Speech));
    }
}
