//! The last good copy of each document, for the time when its server is away.
//!
//! A copy is only as good as it is the same for everybody. The server can say so
//! (`x-edge-cache: public`); where it says nothing, a document counts as the same for all
//! once two different callers have been given the same words. `x-edge-cache: no` forbids
//! it, `vary=To,Digits` says which fields of the request make a difference, `max-stale=60`
//! how many seconds a copy is good for.
//!
//! `Copies` is pure; what is to be written it hands out, and [`CopyFolder`] writes it: one
//! file a copy, aside first, synced and renamed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tipring_model::fetch::{DocumentKey, HttpResponse};
use url::Url;

/// Copies at one time, in memory and on the disk.
const COPIES_MAX: usize = 128;
/// Longest document that is kept, in bytes.
const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// How long a copy is good for where the server does not say, and at most, in seconds.
const MAX_STALE_S: u64 = 30 * 86_400;
/// How often a copy that is still the same is written anew, so that its age stays about
/// right over a restart.
const REFRESH_MS: i64 = 6 * 3_600_000;
/// Fields that can make a difference.
const VARY_MAX: usize = 8;
/// Callers who must have been given the same words: for a first copy, and in place of one.
const CALLERS_FIRST: usize = 2;
const CALLERS_AFTER: usize = 3;
/// Longest file of a copy.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the owner says about keeping copies of a flow's documents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Keep {
    /// As the server says, else what has proved to be the same for all.
    #[default]
    Learned,
    /// Every document counts as the same for all, unless the server forbids it.
    Always,
    /// None.
    Never,
}

/// What the server says about it: the header `x-edge-cache`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EdgeCache {
    /// It is not to be kept.
    pub no: bool,
    /// It is the same for all.
    pub public: bool,
    /// How long a copy is good for, in seconds.
    pub max_stale_s: Option<u64>,
    /// Fields of the request that make a difference.
    pub vary: Vec<String>,
}

impl EdgeCache {
    /// Reads the header. What is not known is passed over.
    #[must_use]
    pub(crate) fn read(value: &str) -> Self {
        let mut read = Self::default();
        let mut names_follow = false;
        for part in value.split([';', '|', ',']) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no" | "no-store" | "private" => read.no = true,
                "public" => read.public = true,
                "max-stale" => read.max_stale_s = value.trim().parse().ok(),
                "vary" => {
                    names_follow = true;
                    read.add(value);
                    continue;
                }
                // The list of `vary` has commas, too.
                _ if names_follow => {
                    read.add(part);
                    continue;
                }
                _ => {}
            }
            names_follow = false;
        }
        read
    }

    fn add(&mut self, name: &str) {
        let name = name.trim();
        if !name.is_empty() && self.vary.len() < VARY_MAX {
            self.vary.push(name.to_owned());
        }
    }
}

/// A document as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Document {
    /// The answer.
    pub answer: HttpResponse,
    /// When it came, milliseconds since 1970 UTC.
    pub unix_ms: i64,
    /// How long it is good for, in seconds.
    max_stale_s: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// What was the same for all.
    shared: Option<Document>,
    /// What some callers were given lately, and who they were.
    candidate: Option<(Vec<u64>, Document)>,
    /// The order of use.
    used: u64,
    written_unix_ms: i64,
}

/// Every copy.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Fields that make a difference, by what the dialect calls the document.
    vary: BTreeMap<String, Vec<String>>,
    entries: BTreeMap<String, Entry>,
    uses: u64,
}

/// What is to be done to the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Write a copy.
    Write(Box<StoredCopy>),
    /// Remove the copy of this name.
    Remove(String),
}

/// A copy as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct StoredCopy {
    key: String,
    vary: Vec<String>,
    /// What the dialect calls the document.
    document: String,
    url: String,
    status: u16,
    media_type: Option<String>,
    unix_ms: i64,
    max_stale_s: u64,
    /// CRC-32C of the body.
    crc32c: u32,
    /// Base64.
    body: String,
}

impl Copies {
    /// Takes a good document that `caller` (any number that tells one from another) was
    /// given for `url`. Gives what to do to the folder, and whether a new copy of it is
    /// now to be had.
    pub(crate) fn note(
        &mut self,
        document: &DocumentKey,
        url: &str,
        caller: u64,
        keep: Keep,
        says: &EdgeCache,
        came: (&HttpResponse, i64),
    ) -> (Vec<Change>, bool) {
        let (answer, unix_ms) = came;
        let variant = document.variant.as_str();
        let document = document.key.as_str();
        let mut changes = Vec::new();
        if keep == Keep::Never {
            return (changes, false);
        }
        if says.no {
            // Whatever fields make a difference: none of it is to be kept.
            let of_document = |key: &String| {
                key.strip_prefix(document).is_some_and(|rest| rest.is_empty() || rest.starts_with('\n'))
            };
            let keys: Vec<String> = self.entries.keys().filter(|key| of_document(key)).cloned().collect();
            for key in keys {
                if self.entries.remove(&key).is_some_and(|entry| entry.shared.is_some()) {
                    changes.push(Change::Remove(key));
                }
            }
            return (changes, false);
        }
        self.vary.retain(|known, _| known != document || !says.vary.is_empty());
        if !says.vary.is_empty() {
            self.vary.insert(document.to_owned(), says.vary.clone());
        }
        // What is only learned is learned of one number.
        let is_told = says.public || keep == Keep::Always;
        let key = self.key(document, if is_told { "" } else { variant }, url);
        if answer.body.len() > DOCUMENT_BYTES_MAX {
            return (changes, false);
        }
        self.uses += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.used = self.uses;
        let max_stale_s = says.max_stale_s.unwrap_or(MAX_STALE_S).min(MAX_STALE_S);
        let new = Document { answer: answer.clone(), unix_ms, max_stale_s };
        let known = entry.shared.as_ref().is_some_and(|shared| same(&shared.answer, answer));
        let is_first = entry.shared.is_none();
        let callers = match entry.candidate.take() {
            Some((mut callers, seen)) if same(&seen.answer, answer) => {
                if !callers.contains(&caller) {
                    callers.push(caller);
                }
                callers
            }
            Some(_) | None => vec![caller],
        };
        // What has proved itself is not given up for what two odd callers were given.
        let enough = if is_first { CALLERS_FIRST } else { CALLERS_AFTER };
        let proved = is_told || callers.len() >= enough;
        let mut is_new = false;
        if known || proved {
            let is_old = unix_ms.abs_diff(entry.written_unix_ms) > REFRESH_MS.unsigned_abs();
            if !known || is_old {
                entry.written_unix_ms = unix_ms;
                let vary = self.vary.get(document).cloned().unwrap_or_default();
                changes.push(Change::Write(Box::new(StoredCopy::new(key, vary, document, &new))));
            }
            is_new = !known;
            entry.shared = Some(new);
        } else {
            entry.candidate = Some((callers, new));
        }
        if self.entries.len() > COPIES_MAX
            && let Some(oldest) =
                // What is only a candidate goes first.
                self
                    .entries
                    .iter()
                    .min_by_key(|(_, entry)| (entry.shared.is_some(), entry.used))
                    .map(|(key, _)| key.clone())
            && self.entries.remove(&oldest).is_some_and(|entry| entry.shared.is_some())
        {
            changes.push(Change::Remove(oldest));
        }
        let documents: Vec<&String> = self.vary.keys().collect();
        if documents.len() > COPIES_MAX {
            self.vary.pop_first();
        }
        (changes, is_new)
    }

    /// The copy for a request, with its age in seconds.
    #[must_use]
    pub(crate) fn get(&self, document: &DocumentKey, url: &str, unix_ms: i64) -> Option<(&Document, u64)> {
        let of = |variant: &str| self.entries.get(&self.key(&document.key, variant, url))?.shared.as_ref();
        let shared = of(&document.variant).or_else(|| of(""))?;
        // A clock that went back makes nothing old.
        let age_s = u64::try_from(unix_ms.saturating_sub(shared.unix_ms)).unwrap_or(0) / 1_000;
        (age_s <= shared.max_stale_s).then_some((shared, age_s))
    }

    /// Copies that can be used.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.entries.values().filter(|entry| entry.shared.is_some()).count()
    }

    /// Takes what the folder holds.
    pub(crate) fn restore(&mut self, stored: Vec<StoredCopy>) {
        for copy in stored.into_iter().take(COPIES_MAX) {
            let Ok(body) = BASE64.decode(&copy.body) else { continue };
            if crc32c::crc32c(&body) != copy.crc32c {
                continue;
            }
            if !copy.vary.is_empty() {
                self.vary.insert(copy.document, copy.vary.into_iter().take(VARY_MAX).collect());
            }
            let answer = HttpResponse {
                status: copy.status,
                url: copy.url,
                media_type: copy.media_type,
                headers: Vec::new(),
                body,
            };
            let shared =
                Document { answer, unix_ms: copy.unix_ms, max_stale_s: copy.max_stale_s.min(MAX_STALE_S) };
            let entry = Entry { shared: Some(shared), written_unix_ms: copy.unix_ms, ..Entry::default() };
            self.entries.insert(copy.key, entry);
        }
    }

    /// What a copy is kept under: the document, and the fields that make a difference.
    fn key(&self, document: &str, variant: &str, url: &str) -> String {
        let mut key = document.to_owned();
        if !variant.is_empty() {
            key.push('\n');
            key.push_str(variant);
        }
        let Some(names) = self.vary.get(document) else { return key };
        let fields: Vec<(String, String)> =
            Url::parse(url).map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
        for name in names {
            let value = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
            key.push('\n');
            key.push_str(value.map_or("", |(_, value)| value));
        }
        key
    }
}

impl StoredCopy {
    fn new(key: String, vary: Vec<String>, name: &str, document: &Document) -> Self {
        Self {
            key,
            vary,
            document: name.to_owned(),
            // Relative addresses need no query, which may name a caller.
            url: document.answer.url.split(['?', '#']).next().unwrap_or_default().to_owned(),
            crc32c: crc32c::crc32c(&document.answer.body),
            status: document.answer.status,
            media_type: document.answer.media_type.clone(),
            unix_ms: document.unix_ms,
            max_stale_s: document.max_stale_s,
            body: BASE64.encode(&document.answer.body),
        }
    }
}

/// True if two answers say the same, whatever blanks stand between their words.
fn same(one: &HttpResponse, other: &HttpResponse) -> bool {
    fn words(body: &[u8]) -> impl Iterator<Item = &[u8]> {
        body.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
    }
    one.media_type == other.media_type && words(&one.body).eq(words(&other.body))
}

/// The folder of the copies. Everything here blocks.
#[derive(Clone, Debug)]
pub(crate) struct CopyFolder(pub(crate) PathBuf);

impl CopyFolder {
    /// Every copy that can be read; half-written files are removed.
    #[must_use]
    pub(crate) fn read(&self) -> Vec<StoredCopy> {
        let Ok(files) = std::fs::read_dir(&self.0) else { return Vec::new() };
        let mut copies = Vec::new();
        for path in files.flatten().map(|file| file.path()) {
            if path.extension().is_some_and(|extension| extension == "part") {
                // It is in nobody's way if it stays.
                let _ = std::fs::remove_file(&path);
                continue;
            }
            // A pipe must not make us wait for its other end.
            let short =
                std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX);
            let copy = short.then(|| std::fs::read(&path).ok()).flatten();
            copies.extend(copy.and_then(|bytes| serde_json::from_slice::<StoredCopy>(&bytes).ok()));
            if copies.len() >= COPIES_MAX {
                break;
            }
        }
        copies
    }

    /// Does one change, so that a power cut leaves the old copy or the new.
    ///
    /// # Errors
    /// Any of the file system.
    pub(crate) fn apply(&self, change: &Change) -> io::Result<()> {
        match change {
            Change::Remove(key) => match std::fs::remove_file(self.path(key)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            },
            Change::Write(copy) => {
                std::fs::create_dir_all(&self.0)?;
                let path = self.path(&copy.key);
                let aside = path.with_extension("part");
                // An address may hold a password.
                let mut options = File::options();
                let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
                file.write_all(&serde_json::to_vec(copy)?)?;
                file.sync_all()?;
                std::fs::rename(&aside, &path)?;
                File::open(&self.0)?.sync_all()
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        let hash = Sha256::digest(key.as_bytes());
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.0.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use tipring_model::fetch::OwnFallback;

    use super::*;

    const URL: &str = "http://web.test/flow?from=1&to=100";
    const DAY_MS: i64 = 86_400_000;
    const NOW: i64 = 1_795_000_000_000;

    fn answer(body: &str) -> HttpResponse {
        HttpResponse {
            status: 200,
            url: URL.to_owned(),
            media_type: None,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    fn key(name: &str) -> DocumentKey {
        DocumentKey {
            key: format!("GET {name}"),
            variant: "100".to_owned(),
            is_first: true,
            fallback: OwnFallback::None,
        }
    }

    fn note(copies: &mut Copies, caller: u64, body: &str) -> (Vec<Change>, bool) {
        copies.note(&key("d"), URL, caller, Keep::Learned, &EdgeCache::default(), (&answer(body), NOW))
    }

    fn body(copies: &Copies) -> Option<String> {
        copies
            .get(&key("d"), URL, NOW)
            .map(|(document, _)| String::from_utf8(document.answer.body.clone()).unwrap_or_default())
    }

    #[test]
    fn what_two_callers_were_given_is_a_copy_and_what_one_was_is_not() {
        let mut copies = Copies::default();
        assert_eq!(note(&mut copies, 1, "a menu"), (Vec::new(), false));
        note(&mut copies, 1, "a menu");
        assert_eq!(body(&copies), None, "one caller, twice");
        let (changes, is_new) = note(&mut copies, 2, "a\r\n  menu\n");
        assert!(is_new && matches!(changes[..], [Change::Write(_)]));
        assert_eq!(body(&copies).as_deref(), Some("a\r\n  menu\n"));
        // Another document: until it has proved itself, the old one is better than nothing.
        note(&mut copies, 3, "dear 3");
        assert_eq!(body(&copies).as_deref(), Some("a\r\n  menu\n"));
        note(&mut copies, 4, "dear 4");
        assert_eq!(body(&copies).as_deref(), Some("a\r\n  menu\n"));
        note(&mut copies, 5, "dear 4");
        assert_eq!(body(&copies).as_deref(), Some("a\r\n  menu\n"), "two odd callers");
        note(&mut copies, 1, "a menu");
        note(&mut copies, 6, "dear 4");
        assert_eq!(body(&copies).as_deref(), Some("a menu"));
        for caller in 6..9 {
            note(&mut copies, caller, "new menu");
        }
        assert_eq!(body(&copies).as_deref(), Some("new menu"));
    }

    #[test]
    fn the_server_and_the_owner_have_their_say() {
        let says = |value: &str| EdgeCache::read(value);
        let mut copies = Copies::default();
        let mut told = |keep, header: &str, body: &str| {
            let came = answer(body);
            copies.note(&key("d"), URL, 1, keep, &says(header), (&came, NOW));
            let kept = copies.get(&key("d"), URL, NOW).is_some();
            let tomorrow = copies.get(&key("d"), URL, NOW + DAY_MS).is_some();
            (kept, tomorrow)
        };
        assert_eq!(told(Keep::Learned, "public", "x"), (true, true));
        assert_eq!(told(Keep::Learned, "no", "x"), (false, false));
        assert_eq!(told(Keep::Always, "", "x"), (true, true));
        assert_eq!(told(Keep::Always, "no", "x"), (false, false));
        assert_eq!(told(Keep::Learned, "Public; Max-Stale=3600", "x"), (true, false));
        assert_eq!(told(Keep::Learned, "no, max-stale=60", "x"), (false, false));
        assert_eq!(told(Keep::Learned, "public, max-stale=3600", "x"), (true, false));
        // What one flow does not want, another of the same address may.
        assert_eq!(told(Keep::Never, "public", "y"), (true, false));
        assert_eq!(told(Keep::Always, "max-stale=99999999999999999999", "x"), (true, true));
        // Thirty days at most.
        let mut copies = Copies::default();
        copies.note(&key("d"), URL, 1, Keep::Always, &says("max-stale=9999999999"), (&answer("x"), NOW));
        assert!(copies.get(&key("d"), URL, NOW + 30 * DAY_MS).is_some());
        assert!(copies.get(&key("d"), URL, NOW + 31 * DAY_MS).is_none());
        // A clock that was set back.
        assert_eq!(copies.get(&key("d"), URL, 0).map(|(_, age)| age), Some(0));
    }

    #[test]
    fn what_is_learned_of_one_number_says_nothing_of_another_and_what_the_server_says_does() {
        let mut copies = Copies::default();
        let other = DocumentKey { variant: "200".to_owned(), ..key("d") };
        note(&mut copies, 1, "sales");
        note(&mut copies, 2, "sales");
        assert!(copies.get(&key("d"), URL, NOW).is_some() && copies.get(&other, URL, NOW).is_none());
        let came = answer("all");
        copies.note(&other, URL, 1, Keep::Learned, &EdgeCache::read("public"), (&came, NOW));
        assert!(copies.get(&other, URL, NOW).is_some());
    }

    #[test]
    fn named_fields_make_a_difference() {
        let mut copies = Copies::default();
        let says = EdgeCache::read("vary=TO,Digits, public");
        assert_eq!(says.vary, ["TO", "Digits"]);
        for (to, body) in [("100", "sales"), ("200", "support")] {
            let url = format!("http://web.test/flow?from=1&to={to}");
            copies.note(&key("d"), &url, 1, Keep::Learned, &says, (&answer(body), NOW));
        }
        for (to, body) in [("100", Some("sales")), ("200", Some("support")), ("300", None)] {
            let url = format!("http://web.test/flow?to={to}&from=7");
            let found = copies.get(&key("d"), &url, NOW).map(|(document, _)| document.answer.body.clone());
            assert_eq!(found.as_deref(), body.map(str::as_bytes), "{to}");
        }
    }

    #[test]
    fn candidates_push_out_no_copy_and_a_document_that_is_no_longer_to_be_kept_goes_with_all_its_fields() {
        let mut copies = Copies::default();
        let public = EdgeCache::read("public; vary=to");
        let url = |to: u32| format!("http://web.test/flow?to={to}");
        copies.note(&key("good"), &url(1), 1, Keep::Learned, &public, (&answer("menu"), NOW));
        for caller in 0..300 {
            let says = EdgeCache::read("vary=to");
            copies.note(&key("odd"), &url(caller), 1, Keep::Learned, &says, (&answer("dear"), NOW));
        }
        assert_eq!(copies.count(), 1);
        let (changes, _) =
            copies.note(&key("good"), &url(2), 1, Keep::Learned, &EdgeCache::read("no"), (&answer("x"), NOW));
        assert_eq!((copies.count(), changes.len()), (0, 1));
    }

    #[test]
    fn copies_outlive_a_restart_and_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let disk = CopyFolder(folder.path().join("copies"));
        assert!(disk.read().is_empty());
        let mut copies = Copies::default();
        let says = EdgeCache::read("public; vary=to");
        for n in 0..300 {
            let url = format!("http://web.test/flow?to={n}");
            let came = answer(&format!("flow {n}"));
            let (changes, _) = copies.note(&key("d"), &url, 1, Keep::Learned, &says, (&came, NOW));
            changes.iter().for_each(|change| disk.apply(change).unwrap());
        }
        assert_eq!(copies.count(), COPIES_MAX);
        std::fs::write(disk.0.join("x.part"), "half").unwrap();
        std::fs::write(disk.0.join("y.json"), "{").unwrap();
        let mut again = Copies::default();
        again.restore(disk.read());
        assert_eq!(again.count(), COPIES_MAX);
        let url = |n: u32| format!("http://web.test/flow?to={n}");
        let body =
            |copies: &Copies| copies.get(&key("d"), &url(299), NOW).map(|(copy, _)| copy.answer.body.clone());
        assert_eq!(body(&again), body(&copies));
        assert!(
            again.get(&key("d"), &url(299), NOW).is_some() && again.get(&key("d"), &url(0), NOW).is_none()
        );
        assert!(!disk.0.join("x.part").exists());
    }

    #[test]
    fn a_copy_whose_words_have_changed_on_the_disk_is_none() {
        let mut copies = Copies::default();
        let says = EdgeCache::read("public");
        let (changes, _) = copies.note(&key("d"), URL, 1, Keep::Learned, &says, (&answer("menu"), NOW));
        let Some(Change::Write(stored)) = changes.into_iter().next() else { panic!("nothing written") };
        for (words, is_good) in [("menu", true), ("menX", false), ("", false)] {
            let mut again = Copies::default();
            again.restore(vec![StoredCopy { body: BASE64.encode(words), ..(*stored).clone() }]);
            assert_eq!(again.count() == 1, is_good, "{words}");
        }
    }

    #[test]
    fn what_stays_the_same_wears_no_card() {
        let mut copies = Copies::default();
        let says = EdgeCache::read("public");
        let mut writes = 0;
        for minute in 0..24 * 60 {
            let came = answer("menu");
            let (changes, _) = copies.note(
                &key("d"),
                URL,
                minute,
                Keep::Learned,
                &says,
                (&came, NOW + 60_000 * minute as i64),
            );
            writes += changes.len();
        }
        assert!((3..=5).contains(&writes), "{writes} in a day");
    }
}
