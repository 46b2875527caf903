//! What the command line asks of analog lines: how their ports stand, what happens at them, their
//! last minute, and trying them out.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tipring_lines::analog::try_out::{TestTone, TryOut, TryOutRefusal, TryOutReport};
use tipring_lines::analog::watch::{Happening, PortStatus};
use tipring_lines::port::PortKind;
use tipring_lines::port::linecard::Reading;
use tipring_model::LineId;

use super::control::{down_detail, fault};
use super::switchboard::Switchboard;

/// Nothing happens for so long: whoever watches is answered all the same, and asks again.
const WATCH_MAX: Duration = Duration::from_secs(2);

impl Switchboard {
    /// Answers what is asked about ports.
    pub(super) async fn ports_answer(&self, request: &Value) -> Value {
        let named = || request.get("line").and_then(Value::as_str).and_then(|name| self.line_named(name));
        let analog = &self.0.lines.analog;
        match request.get("do").and_then(Value::as_str) {
            Some("ports") => {
                analog.measure().await;
                json!({ "ports": analog.ports().iter().map(|port| self.port(port)).collect::<Vec<_>>() })
            }
            Some("port-watch") => {
                let after = request.get("after").and_then(Value::as_u64);
                let Some(after) = after else { return json!({ "last": analog.last_happening() }) };
                let happened = tokio::time::timeout(WATCH_MAX, analog.happenings(after)).await;
                let happened = happened.unwrap_or_else(|_| analog.happened_since(after));
                let told: Vec<Value> = happened.happenings.iter().map(|one| self.happening(one)).collect();
                let last = happened.happenings.last().map_or(after, |one| one.number);
                json!({ "happenings": told, "missed": happened.missed, "last": last })
            }
            Some("port-try") => {
                let Some(line) = named() else { return fault("TR-CONTROL-NO-LINE") };
                let Some(what) = tried(request) else { return fault("TR-CONTROL-REQUEST") };
                match analog.try_out(line, what).await {
                    Ok(report) => json!({ "report": report_of(&report), "text": report.to_string() }),
                    Err(TryOutRefusal::NoLine) => fault("TR-CONTROL-NO-LINE"),
                    Err(why) => json!({ "error": "TR-PORT-REFUSED", "why": why.to_string() }),
                }
            }
            Some("port-save") => {
                let Some(line) = named() else { return fault("TR-CONTROL-NO-LINE") };
                let Some(record) = analog.last_minute(line).await else {
                    return json!({ "error": "TR-PORT-REFUSED", "why": "its device is not there" });
                };
                let bytes: Vec<u8> =
                    record.samples().iter().flat_map(|sample| sample.to_le_bytes()).collect();
                let happened = analog.happened_since(0).happenings;
                let own: Vec<Value> =
                    happened.iter().filter(|one| one.line == line).map(|one| self.happening(one)).collect();
                json!({ "rate_hz": 8_000, "samples": STANDARD.encode(bytes), "happenings": own })
            }
            Some("port-forget") => {
                if named().is_none() {
                    return fault("TR-CONTROL-NO-LINE");
                }
                self.forget_learned(request.get("line").and_then(Value::as_str).unwrap_or_default());
                json!({ "ok": true })
            }
            Some(_) | None => fault("TR-CONTROL-REQUEST"),
        }
    }

    fn line_named(&self, name: &str) -> Option<LineId> {
        let at = self.0.line_names.iter().position(|known| known == name)?;
        u16::try_from(at).ok().map(LineId)
    }

    fn port(&self, port: &PortStatus) -> Value {
        json!({
            "line": self.line_name(Some(port.line)),
            "port": port.port.to_string(),
            "kind": match port.kind { PortKind::Line => "line", PortKind::Phone => "phone" },
            "is_present": port.is_present,
            "fault": port.device_fault,
            "state": if port.down.is_none() { "up" } else { "down" },
            "detail": port.down.map_or("", down_detail),
            "wire": port.wire.as_str(),
            "legs": port.legs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "is_tried": port.is_tried,
            "last_caller": port.last_caller.as_ref().map(|last| json!({
                "at": written(last.at),
                "standard": last.heard.standard.as_str(),
                "number": last.heard.caller.number_or_anonymous(),
                "name": last.heard.caller.name,
            })),
            "last_answer": port.last_answer.map(|sign| sign.as_str()),
            "last_end": port.last_end.map(|sign| sign.as_str()),
            "calls_in": port.calls_in,
            "calls_out": port.calls_out,
            "learned_tones": self.learned_by(self.line_name(Some(port.line))),
            "lost_facts": port.lost_facts,
            "measured": port.measured.as_ref().map(|measured| json!({
                "at": written(measured.at),
                "volts": volts(measured.reading),
                "milliamperes": milliamperes(measured.reading),
            })),
            "heard_dbm0": port.levels.heard_dbm0,
            "played_dbm0": port.levels.played_dbm0,
            "cancelled_db": port.levels.cancelled_db,
        })
    }

    fn happening(&self, one: &Happening) -> Value {
        json!({
            "at": written(one.at),
            "line": self.line_name(Some(one.line)),
            "kind": one.what.kind(),
            "leg": one.what.leg().map(|leg| leg.to_string()),
            "text": one.what.to_string(),
        })
    }
}

/// What is to be tried.
fn tried(request: &Value) -> Option<TryOut> {
    let text = |key: &str| request.get(key).and_then(Value::as_str);
    Some(match text("what")? {
        "ring" => TryOut::Ring { seconds: u8::try_from(request.get("seconds")?.as_u64()?).ok()? },
        "tone" => TryOut::Tone(match text("tone")? {
            "dial" => TestTone::Dial,
            "level" => TestTone::Level,
            _ => return None,
        }),
        "test" => TryOut::Test,
        _ => return None,
    })
}

fn report_of(report: &TryOutReport) -> Value {
    let reading = |reading: Option<Reading>| {
        reading.map(|reading| json!({ "volts": volts(reading), "milliamperes": milliamperes(reading) }))
    };
    json!({
        "end": format!("{:?}", report.end).to_lowercase(),
        "lasted_ms": milliseconds(report.lasted),
        "on_hook": reading(report.on_hook),
        "off_hook": reading(report.off_hook),
        "dial_tone_ms": report.dial_tone.map(milliseconds),
        "noise_dbm0": report.noise_dbm0,
        "echo": report.echo.map(|echo| json!({
            "return_loss_db": echo.return_loss_db,
            "cancelled_db": echo.cancelled_db,
        })),
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn volts(reading: Reading) -> f64 {
    f64::from(reading.voltage_dv) / 10.0
}

fn milliamperes(reading: Reading) -> f64 {
    f64::from(reading.current_dma) / 10.0
}

fn written(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at)
        .map_or_else(|_| String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}
