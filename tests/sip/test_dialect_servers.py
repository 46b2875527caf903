"""The customers' servers of these tests, asked without a box: what they answer, and what they refuse."""
import base64
import hashlib
import hmac
import json
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml
from urllib.parse import urlencode

import pytest

import audio
import kazoo_documents as kazoo
import programs
from servers import call_interactive_script, hours
from servers.pivot_app import PivotApp
from servers.twilio_app import TwilioApp

TOKEN = "office-token-0001"
CALL = {"CallSid": "CA" + "1" * 32, "From": "+15550100", "To": "100"}


def http(url, data=None, method=None, **headers):
    """(status, content type, body)"""
    request = urllib.request.Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers.get("Content-Type"), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Content-Type"), error.read()


# ------------------------------------------------------------------ TwiML


def signature(url, fields, token=TOKEN):
    """What X-Twilio-Signature must be; worked out here, so that the library is checked as well as the application."""
    text = url + "".join(name + value for name, value in sorted(fields.items()))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def ask(server, path, token=TOKEN, **fields):
    url, fields = server.url(path), {**CALL, **fields}
    return http(url, urlencode(fields).encode(), X_Twilio_Signature=signature(url, fields, token))


def verbs(answer):
    status, kind, body = answer
    assert (status, kind) == (200, "text/xml"), answer
    return [verb.tag for verb in xml.fromstring(body)]


def office(serve, **keys):
    return serve(TwilioApp(TOKEN, sounds={"menu": audio.wav_bytes(audio.voice(0.1))}, **{"clock": lambda: hours.TUESDAY_MORNING, **keys}))


def test_the_signature_of_three_known_requests():
    """Shows: form, query alone, and a body that is no form; the library takes what we expect of the box."""
    token = "lab-token-0001"
    _, validator = programs.twilio_library()
    form = {"CallSid": "CA" + "0" * 31 + "1", "From": "+15550100", "To": "+15550199", "Digits": "12#"}
    digest = hashlib.sha256(b'{"a":1}').hexdigest()
    requests = [("https://app.test:8443/voice?x=1", form, form, "STfAqU0KYYJuYC3ucMO6NsMJRPY="),
                ("https://app.test/voice?Digits=1&From=%2B15550100", {}, {}, "zoUtBn4pgaBTv1rN4RlxiKflPJU="),
                (f"https://app.test/voice?bodySHA256={digest}", {}, '{"a":1}', "skciOOGUY5oDsSI13jZa6S6SzoE=")]
    for url, fields, content, expected in requests:
        assert signature(url, fields, token) == expected
        assert validator(token).validate(url, content, expected)
        assert not validator("another").validate(url, content, expected)


def test_twilio_app_asks_during_office_hours(serve):
    """Shows: greeting and menu on Tuesday, voicemail on Sunday."""
    assert verbs(ask(office(serve), "/voice")) == ["Play", "Gather", "Redirect"]
    assert verbs(ask(office(serve, clock=lambda: hours.SUNDAY_MORNING), "/voice")) == ["Play", "Play", "Record", "Hangup"]


def test_twilio_app_follows_the_keys(serve):
    """Shows: 1 dials, 2 records, others and silence are asked once more and then let go."""
    server = office(serve, ring_s=7)
    _, _, body = answer = ask(server, "/menu?turn=1", Digits="1")
    assert verbs(answer) == ["Dial"]
    dial = xml.fromstring(body)[0]
    assert (dial.get("timeout"), dial[0].tag, dial[0].text) == ("7", "Client", "201")
    assert verbs(ask(server, "/menu?turn=2", Digits="2")) == ["Play", "Record", "Hangup"]
    assert verbs(ask(server, "/menu?turn=1", Digits="9")) == verbs(ask(server, "/menu?turn=1")) == ["Gather", "Redirect"]
    assert verbs(ask(server, "/menu?turn=2", Digits="9")) == verbs(ask(server, "/menu?turn=2")) == ["Play", "Hangup"]
    assert verbs(ask(server, "/dialled", DialCallStatus="completed")) == ["Hangup"]
    assert verbs(ask(server, "/dialled", DialCallStatus="no-answer")) == ["Play", "Record", "Hangup"]
    assert ask(server, "/status", CallStatus="completed")[0] == 204
    assert server.application.seen("/status")[0].fields["CallStatus"] == "completed"


def test_twilio_app_refuses_what_is_not_signed(serve):
    """Shows: 403 without a signature, with another token, for other fields, for another address; sounds are free."""
    server = office(serve)
    url, body = server.url("/voice"), urlencode(CALL).encode()
    assert ask(server, "/voice", token="another")[0] == 403
    assert http(url, body)[0] == 403
    assert http(url, body + b"&Digits=1", X_Twilio_Signature=signature(url, CALL))[0] == 403
    assert http(url + "?x=1", body, X_Twilio_Signature=signature(url, CALL))[0] == 403
    assert [seen.valid for seen in server.application.requests] == [False] * 4
    assert http(server.url("/sounds/menu.wav"))[:2] == (200, "audio/wav")
    assert http(server.url("/sounds/none.wav"))[0] == 404


def test_twilio_app_takes_queries_and_bodies_that_are_no_form(serve):
    """Shows: GET signed over its query, JSON over the address with the digest of the body."""
    server = office(serve)
    asked = server.url("/voice?" + urlencode(CALL))
    assert http(asked, X_Twilio_Signature=signature(asked, {}))[0] == 200
    body = json.dumps(CALL).encode()
    told = server.url("/voice?bodySHA256=" + hashlib.sha256(body).hexdigest())
    assert http(told, body, Content_Type="application/json", X_Twilio_Signature=signature(told, {}))[0] == 200
    assert http(told, body.replace(b"15550100", b"15550101"), Content_Type="application/json", X_Twilio_Signature=signature(told, {}))[0] == 403


def test_twilio_app_takes_a_field_that_comes_twice(serve):
    """Shows: both values are part of what is signed, sorted, each with its name."""
    server = office(serve)
    url = server.url("/voice")
    signed = signature(url, {"a": "1a2"})
    assert http(url, b"a=2&a=1", X_Twilio_Signature=signed)[0] == 200


# ------------------------------------------------------------------ Call Interactive


@pytest.fixture
def script(cgi):
    return lambda **environment: cgi(call_interactive_script.__file__, OFFICE_NOW=hours.TUESDAY_MORNING.isoformat(), **environment)


INTERACTIVE = {"EventType": "call_interactive", "CallID": "0" * 32, "CallerIDNum": "+15550100"}


def actions(answer):
    status, kind, body = answer
    assert (status, kind) == (200, "text/html; charset=utf-8"), answer
    root = xml.fromstring(body)
    assert root.tag == "Response"
    return [(action.tag, dict(action.attrib), action.text) for action in root]


def test_the_script_knows_the_hours(script):
    """Shows: a jump to the menu on Tuesday, to the mailbox on Sunday."""
    server = script()
    url = server.url("/script?step=hours&" + urlencode(INTERACTIVE))
    assert actions(http(url)) == [("Jump", {"context": "2", "option": "start"}, None)]
    server.environment["OFFICE_NOW"] = hours.SUNDAY_MORNING.isoformat()
    assert actions(http(url)) == [("Jump", {"context": "4", "option": "start"}, None)]


def test_the_script_is_asked_by_get_and_by_post(script):
    """Shows: the same answer; the log tells query and body apart."""
    server = script(OFFICE_RING_S="3", OFFICE_VOICEMAIL="211")
    expected = [("SimpleTransfer", {"final": "no", "timeout": "3"}, "201"), ("SimpleTransfer", {}, "211")]
    assert actions(http(server.url("/script?step=desk&" + urlencode(INTERACTIVE)))) == expected
    assert actions(http(server.url("/script?step=desk"), urlencode(INTERACTIVE).encode())) == expected
    asked, told = server.seen("desk")
    assert (asked["method"], asked["query"], asked["posted"]) == ("GET", {"step": "desk", **INTERACTIVE}, {})
    assert (told["method"], told["query"], told["posted"]) == ("POST", {"step": "desk"}, INTERACTIVE)


def test_the_script_refuses_what_is_no_call(script):
    server = script()
    assert http(server.url("/script?step=hours"))[0] == 404
    assert http(server.url("/script?step=other&" + urlencode(INTERACTIVE)))[0] == 404
    assert http(server.url("/other"))[0] == 404


# ------------------------------------------------------------------ Pivot


def test_pivot_answers_checked_callflows(serve):
    """Shows: JSON by GET, by form and by JSON, the digits found in each; a bad callflow is the application's own failure."""
    app = PivotApp()
    server = serve(app)
    for reply in (http(server.url("/pivot/ticket?Digits%5Bticket%5D=12")), http(server.url("/pivot/ticket"), b"Digits[ticket]=12"),
                  http(server.url("/pivot/ticket"), b'{"Digits":{"ticket":"12"}}', Content_Type="application/json")):
        assert reply[:2] == (200, "application/json") and json.loads(reply[2])["data"] == {"id": "found"}
    assert json.loads(http(server.url("/pivot/ticket"))[2])["data"] == {"id": "missing"}
    app.documents["/pivot/bad"] = {"module": "acdc_member", "data": {}}
    assert http(server.url("/pivot/bad"))[0] == 500
    assert isinstance(app.failures.pop(), kazoo.NotValid)


def test_pivot_answers_twiml(serve):
    """Shows: documents by Twilio's library, with the noun that only Pivot knows."""
    server = serve(PivotApp())
    menu, dial = (http(server.url(f"/pivot/twiml/{name}")) for name in ("menu", "dial"))
    assert menu[1] == "application/xml" and [verb.tag for verb in xml.fromstring(menu[2])] == ["Gather", "Play", "Hangup"]
    assert [(noun.tag, noun.text) for noun in xml.fromstring(dial[2])[0]] == [("Number", "555 0100"), ("User", "u-mara")]
    assert b">found<" in http(server.url("/pivot/twiml/next?Digits=2"))[2]
    assert b">missing<" in http(server.url("/pivot/twiml/next"))[2]


def test_pivot_keeps_what_is_uploaded_and_told(serve):
    app = PivotApp()
    server = serve(app)
    assert http(server.url("/recordings/one.wav"), b"RIFF", method="PUT")[0] == 201
    assert app.files == {"/recordings/one.wav": b"RIFF"}
    assert http(server.url("/pivot/cdr"), b"Call-ID=1&Custom-Application-Vars[branch]=berlin")[0] == 204
    assert app.seen("/pivot/cdr")[0].fields["Custom-Application-Vars[branch]"] == "berlin"


# ------------------------------------------------------------------ hours


def test_the_two_notions_of_office_hours_agree():
    """Shows: the application's and the script's, at each quarter of an hour of two weeks, one of them with a change of the clock."""
    import datetime
    import os
    from unittest import mock
    start = datetime.datetime(2026, 3, 23, tzinfo=datetime.timezone.utc)
    for quarter in range(2 * 7 * 24 * 4):
        now = start + quarter * datetime.timedelta(minutes=15)
        with mock.patch.dict(os.environ, OFFICE_NOW=now.isoformat()):
            assert call_interactive_script.is_open() == hours.is_open(now), now
