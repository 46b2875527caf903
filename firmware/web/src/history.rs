//! The history of sessions: what is kept of each, and how it is looked through.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most sessions of one answer.
pub const PAGE_MAX: usize = 1_000;
/// Most sessions that are looked through for one answer, the newest.
pub const MATCHES_MAX: usize = 10_000;
/// How much of the custom data is kept, in bytes.
pub const CUSTOM_DATA_BYTES_MAX: usize = 2_000;

/// What is kept of a session that is over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct SessionRecord {
    /// `call_session_history_id`, as text.
    pub id: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it was, in seconds.
    pub duration_s: u64,
    /// Its application.
    pub application_id: u64,
    /// Its name.
    pub application_name: String,
    /// Its rule.
    pub rule_id: u64,
    /// Its name.
    pub rule_name: String,
    /// On whose behalf, if somebody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u64>,
    /// The same by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The beginning of the custom data that it was started with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub custom_data: String,
    /// Who started it over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator_address: Option<String>,
    /// How it ended, in words of the box.
    pub finish_reason: String,
}

/// Which sessions are asked for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HistoryQuery {
    /// Those that began then or later, in seconds since 1970.
    pub from_s: Option<i64>,
    /// Those that began before.
    pub to_s: Option<i64>,
    /// Those with one of these numbers; empty for any.
    pub ids: Vec<u64>,
    /// Those of this application.
    pub application_id: Option<u64>,
    /// Those of a rule of this name.
    pub rule_name: Option<String>,
    /// Those that were started with this.
    pub custom_data: Option<String>,
    /// The newest first.
    pub newest_first: bool,
    /// How many, [`PAGE_MAX`] at most.
    pub count: usize,
    /// How many before them are passed over.
    pub offset: usize,
}

/// A part of the history.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HistoryPage {
    /// The sessions.
    pub sessions: Vec<SessionRecord>,
    /// How many there are in all.
    pub total: usize,
}

impl HistoryQuery {
    /// Whether a session is asked for.
    #[must_use]
    pub fn fits(&self, session: &SessionRecord) -> bool {
        let started_s = session.started.parse::<Timestamp>().map_or(0, Timestamp::as_second);
        let is_listed = self.ids.is_empty() || session.id.parse().is_ok_and(|id: u64| self.ids.contains(&id));
        is_listed
            && self.from_s.is_none_or(|from| started_s >= from)
            && self.to_s.is_none_or(|to| started_s < to)
            && self.application_id.is_none_or(|id| session.application_id == id)
            && self.rule_name.as_ref().is_none_or(|name| session.rule_name == *name)
            && self.custom_data.as_ref().is_none_or(|data| session.custom_data == *data)
    }

    /// The part that is asked for, of sessions that fit, in the order in which they began.
    #[must_use]
    pub fn page(&self, mut fitting: Vec<SessionRecord>) -> HistoryPage {
        let total = fitting.len();
        fitting.sort_by_key(|session| session.id.parse().unwrap_or(0_u64));
        if self.newest_first {
            fitting.reverse();
        }
        let sessions = fitting.into_iter().skip(self.offset).take(self.count.min(PAGE_MAX)).collect();
        HistoryPage { sessions, total }
    }
}

impl HistoryPage {
    /// As the API tells it.
    #[must_use]
    pub fn told(&self, account_id: u64) -> Value {
        let result: Vec<Value> = self
            .sessions
            .iter()
            .map(|session| {
                let id = session.id.parse::<u64>().unwrap_or(0);
                json!({
                    "call_session_history_id": id,
                    "account_id": account_id,
                    "application_id": session.application_id,
                    "application_name": session.application_name,
                    "rule_id": session.rule_id,
                    "rule_name": session.rule_name,
                    "user_id": session.user_id,
                    "user_name": session.user_name,
                    "start_date": date(&session.started),
                    "duration": session.duration_s,
                    "custom_data": session.custom_data,
                    "initiator_address": session.initiator_address,
                    "finish_reason": session.finish_reason,
                })
            })
            .collect();
        json!({ "count": result.len(), "result": result, "total_count": self.total, "timezone": "Etc/UTC" })
    }
}

/// A time as the API writes it: `YYYY-MM-DD HH:MM:SS`, UTC.
fn date(rfc3339: &str) -> String {
    rfc3339
        .parse::<Timestamp>()
        .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A time of the API in seconds since 1970; `None` if it is not `YYYY-MM-DD HH:MM:SS`.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    let date = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text.trim()).ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp().as_second())
}

/// A time in seconds since 1970 as the API writes it.
#[must_use]
pub fn date_of(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: u64, started: &str) -> SessionRecord {
        SessionRecord {
            id: id.to_string(),
            started: started.to_owned(),
            duration_s: 12,
            application_id: 1,
            application_name: "office".to_owned(),
            rule_id: 10,
            rule_name: "callback".to_owned(),
            user_id: None,
            user_name: None,
            custom_data: "a:b".to_owned(),
            initiator_address: None,
            finish_reason: "normal".to_owned(),
        }
    }

    #[test]
    fn sessions_are_found_by_time_number_and_what_they_were() {
        let all = [session(2, "2026-11-29T10:00:00Z"), session(1, "2026-11-29T09:00:00.5Z")];
        let found = |query: HistoryQuery| {
            let fitting = all.iter().filter(|session| query.fits(session)).cloned().collect();
            let page = query.page(fitting);
            (page.sessions.into_iter().map(|session| session.id).collect::<Vec<_>>(), page.total)
        };
        let any = HistoryQuery { count: 10, ..HistoryQuery::default() };
        let ids = |ids: &[&str], total| (ids.iter().map(ToString::to_string).collect::<Vec<_>>(), total);
        assert_eq!(found(any.clone()), ids(&["1", "2"], 2));
        assert_eq!(found(HistoryQuery { newest_first: true, count: 1, ..any.clone() }), ids(&["2"], 2));
        assert_eq!(found(HistoryQuery { offset: 1, ..any.clone() }), ids(&["2"], 2));
        assert_eq!(
            found(HistoryQuery { from_s: seconds("2026-11-29 10:00:00"), ..any.clone() }),
            ids(&["2"], 1)
        );
        assert_eq!(
            found(HistoryQuery { to_s: seconds("2026-11-29 10:00:00"), ..any.clone() }),
            ids(&["1"], 1)
        );
        assert_eq!(found(HistoryQuery { ids: vec![2, 9], ..any.clone() }), ids(&["2"], 1));
        assert_eq!(found(HistoryQuery { rule_name: Some("x".to_owned()), ..any.clone() }), ids(&[], 0));
        assert_eq!(found(HistoryQuery { custom_data: Some("a:b".to_owned()), ..any }), ids(&["1", "2"], 2));
    }

    #[test]
    fn times_are_written_as_clients_read_them() {
        let page = HistoryPage { sessions: vec![session(7, "2026-11-29T09:00:00.5Z")], total: 3 };
        let told = page.told(5);
        assert_eq!(told["result"][0]["start_date"], "2026-11-29 09:00:00");
        assert_eq!(told["result"][0]["call_session_history_id"], 7);
        assert_eq!((&told["count"], &told["total_count"]), (&json!(1), &json!(3)));
        assert_eq!(seconds("2026-11-29 09:00:00").map(date_of).as_deref(), Some("2026-11-29 09:00:00"));
        for bad in ["", "2026-11-29", "2026-13-29 09:00:00", "yesterday"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
