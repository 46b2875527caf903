//! `ApplicationStorage`: values kept on the box, across sessions and restarts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tipring_model::flow::{FlowOutput, Moment};

use super::message::{StoreOp, Told};
use super::session::Session;

/// Before the names of what scripts keep, so that nothing else of the dialect collides.
const PREFIX: &str = "storage/";
/// Longest key and value, in characters, and longest life.
const KEY_CHARS_MAX: usize = 200;
const VALUE_CHARS_MAX: usize = 2_000;
const TTL_MAX_S: u32 = 7_776_000;
/// What the box keeps of one value, in bytes; it limits the same.
const NAME_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 4_096;
/// Changes of one session.
const CHANGES_MAX: usize = 10_000;

/// What this session has changed since it was last told something: the box has not kept it yet.
#[derive(Default, Debug)]
pub(super) struct Storage {
    changed: BTreeMap<String, Option<String>>,
    changes: usize,
}

impl Storage {
    /// The box has done what it was asked for.
    pub(super) fn done(&mut self) {
        self.changed.clear();
    }
}

/// A value as it is kept: when it is forgotten (milliseconds since 1970, 0 for never), a blank,
/// and the text.
fn read(kept: &str) -> Option<(i64, &str)> {
    let (expires, text) = kept.split_once(' ')?;
    Some((expires.parse().ok()?, text))
}

fn shown(key: &str, expires: i64, text: &str) -> Value {
    json!({ "key": key, "value": text, "expireAt": (expires > 0).then_some(expires / 1_000) })
}

impl Session {
    pub(super) fn store(
        &mut self,
        now: Moment,
        id: u32,
        (op, key, value): (StoreOp, String, Option<String>),
        ttl_s: u32,
        count: u32,
    ) {
        let answer = if key.chars().count() > KEY_CHARS_MAX
            || value.as_ref().is_some_and(|value| value.chars().count() > VALUE_CHARS_MAX)
            || ttl_s > TTL_MAX_S
            || PREFIX.len() + key.len() > NAME_BYTES_MAX
            || value.as_ref().is_some_and(|value| value.len() + 20 > VALUE_BYTES_MAX)
        {
            Err("the key or the value is too long to be kept")
        } else if self.storage.changes >= CHANGES_MAX {
            Err("one session keeps no more than 10000 values")
        } else {
            Ok(self.stored(now, (op, &key, value), ttl_s, count))
        };
        let (value, error) = answer.map_or_else(|error| (Value::Null, Some(error)), |value| (value, None));
        self.tell(now, Told::Stored { id, value, error });
    }

    fn stored(
        &mut self,
        now: Moment,
        (op, key, value): (StoreOp, &str, Option<String>),
        ttl_s: u32,
        count: u32,
    ) -> Value {
        match op {
            StoreOp::Put => {
                let expires = if ttl_s == 0 { 0 } else { now.unix_ms + i64::from(ttl_s) * 1_000 };
                let text = value.unwrap_or_default();
                self.keep(key, Some(format!("{expires} {text}")));
                shown(key, expires, &text)
            }
            StoreOp::Get => self.kept(now, key).unwrap_or(Value::Null),
            StoreOp::Remove => {
                let was = self.kept(now, key).unwrap_or(Value::Null);
                if !was.is_null() {
                    self.keep(key, None);
                }
                was
            }
            StoreOp::Keys => {
                // A namespace stands before a colon.
                let wanted = key.trim_end_matches('*').trim_end_matches(':');
                let start = if wanted.is_empty() { String::new() } else { format!("{wanted}:") };
                let keys: Vec<String> = self
                    .names()
                    .into_iter()
                    .filter(|name| name.starts_with(&start) && self.kept(now, name).is_some())
                    .take(usize::try_from(count).unwrap_or(usize::MAX))
                    .collect();
                json!({ "keys": keys })
            }
        }
    }

    fn keep(&mut self, key: &str, value: Option<String>) {
        self.storage.changes += 1;
        self.storage.changed.insert(key.to_owned(), value.clone());
        self.push(FlowOutput::Keep { name: format!("{PREFIX}{key}"), value });
    }

    fn kept(&self, now: Moment, key: &str) -> Option<Value> {
        let of_box = || self.facts.as_ref()?.kept.borrow().get(&format!("{PREFIX}{key}")).cloned();
        let kept = self.storage.changed.get(key).cloned().unwrap_or_else(of_box)?;
        let (expires, text) = read(&kept)?;
        (expires == 0 || expires > now.unix_ms).then(|| shown(key, expires, text))
    }

    /// Every key, in order.
    fn names(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        if let Some(facts) = &self.facts {
            let kept = facts.kept.borrow();
            all.extend(kept.keys().filter_map(|name| name.strip_prefix(PREFIX)).map(str::to_owned));
        }
        all.extend(self.storage.changed.keys().cloned());
        all
    }
}
