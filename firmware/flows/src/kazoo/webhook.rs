//! `webhook`, and the notice of a missed call.

use std::time::Duration;

use serde_json::{Value, json};
use tipring_model::Cause;
use tipring_model::fetch::{HttpRequest, Method};
use tipring_model::flow::Dialed;

use super::dial::cause_keys;
use super::flow::{KazooFlow, Next};
use super::keys::Data;
use super::params;
use crate::address;
use crate::json::Json;

/// Longest wait for an answer that nobody reads.
const TIMEOUT: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 65_536;

impl KazooFlow {
    pub(super) fn webhook(&mut self, data: Data<'_>) -> Next {
        let Some(url) = data.filled("uri").and_then(address::absolute) else {
            return self.fail("TR-HOOK-URL");
        };
        let method = if data.text("http_verb") == Some("get") { Method::Get } else { Method::Post };
        let mut request = told(method, url);
        let id = self.facts().map_or_else(String::new, |facts| facts.id.simple());
        request.headers =
            vec![("X-Hook-ID".to_owned(), id), ("X-Account-ID".to_owned(), self.app.account.clone())];
        request.headers.extend(own_headers(data));
        let custom: Vec<(String, Value)> = data
            .value("custom_data")
            .map_or(&[][..], Json::members)
            .iter()
            .map(|(name, value)| (name.clone(), value.to_plain()))
            .collect();
        let fields = self.webhook_fields(&custom);
        params::send(&mut request, fields, params::encoding(method, false));
        self.notify("kazoo.webhook", request, false);
        Next::on()
    }

    pub(super) fn missed_call_alert(&mut self, data: Data<'_>) -> Next {
        let is_wanted = self.caller_extension().is_none() || data.is("alert_on_internal_calls");
        if is_wanted {
            self.missed = data.value("recipients").map(Json::to_plain);
        }
        if self.app.missed_call_url.is_none() {
            return self.fail("TR-FLOW-NOT-OFFERED");
        }
        Next::on()
    }

    /// At the end of every call, for whoever wants its record.
    pub(super) fn tell_destroyed(&mut self, cause: Cause) {
        let Some(url) = self.app.webhook_url.clone() else { return };
        let mut fields = self.webhook_fields(&[]);
        fields.push(("hook_event".to_owned(), "channel_destroy".into()));
        fields.push(("hangup_cause".to_owned(), cause_keys(&Dialed::nobody(cause)).0.into()));
        let mut request = told(Method::Post, url);
        params::send(&mut request, fields, params::encoding(Method::Post, false));
        self.notify("call.state", request, true);
    }

    /// At the end of a call that nobody took and in which no message was left.
    pub(super) fn tell_missed(&mut self) {
        let Some(recipients) = self.missed.take().filter(|_| !self.served) else { return };
        let Some(url) = self.app.missed_call_url.clone() else { return };
        let mut fields = self.webhook_fields(&[]);
        fields.push(("hook_event".to_owned(), "missed_call".into()));
        fields.push(("recipients".to_owned(), json!(recipients)));
        let mut request = told(Method::Post, url);
        params::send(&mut request, fields, params::Encoding::Json);
        self.notify("kazoo.missed_call", request, true);
    }
}

fn told(method: Method, url: String) -> HttpRequest {
    HttpRequest {
        method,
        url,
        headers: Vec::new(),
        body: None,
        timeout: TIMEOUT,
        total: None,
        redirects_max: 5,
        body_max_bytes: ANSWER_BYTES_MAX,
        cuts_body: true,
        connect: None,
        moves_fields: false,
    }
}

/// The header fields that a node adds to its requests.
pub(super) fn own_headers(data: Data<'_>) -> Vec<(String, String)> {
    let written = data.value("custom_request_headers").map_or(&[][..], Json::members);
    written.iter().filter_map(|(name, value)| Some((name.clone(), value.text()?.to_owned()))).collect()
}
