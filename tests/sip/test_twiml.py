"""TwiML: the application is written with Twilio's own library, which also checks every signature; what goes wrong takes the way that the dialect says."""
import re
import socket
import time

import pytest

import audio
import dialects
import hearing
from box import phone, trunk
from dialects import TOKEN, fields
from flow_server import Answer, FlowServer, gzipped
from hostile import HostileServer, never_answers, resets
from servers.twilio_app import TwilioApp
from sipp import free_port
from waiting import until

PROMPTS = {name: hearing.prompt(20 + number) for number, name in enumerate(("found", "fallback", "wrong", "next"))}
PROMPTS["hold"] = hearing.prompt(30, seconds=3)         # long enough for a key in the middle
SID = "[0-9a-f]{32}"


@pytest.fixture
def app(serve):
    """The application: app.documents[path] is what a path answers; everything else is a callback."""
    return serve(TwilioApp(TOKEN, {name: audio.wav_bytes(sound) for name, sound in PROMPTS.items()})).application


@pytest.fixture
def starts(tipring, server, app):
    """starts(tables..., url=, ...): a box whose flow begins at /voice of the application, or at `url`."""
    def start(*tables, url=None, allow=(), patience=None, **keys):
        flow = dialects.twiml(url or app.server.url("/voice"), **keys)
        return tipring(flow, *tables, allow=[server.authority, app.server.authority, *allow], patience=patience)
    return start


def plays(app, *names):
    response = app.response()
    for name in names:
        response.play(app.sound(name))
    return response


def heard(call):
    return hearing.order(PROMPTS, call.rtp.heard())


def ends_somehow(call, timeout=30):
    """Until the call is refused, or answered and then ended."""
    def final():
        return next((m for m in list(call.party.seen) if m.status and m.status >= 200 and m.cseq == (call.cseq, "INVITE") and m.get("call-id") == call.call_id), None)

    if until(final, timeout, "a final answer").status < 300:
        call.answered().hung_up(timeout)
    else:
        call.refused()


def all_signed(app):
    asked = [request for request in app.requests if not request.path.startswith("/sounds/")]
    assert asked and all(request.valid for request in asked), [(request.path, request.valid) for request in asked]


# ------------------------------------------------------------------ requests and their signatures


def test_the_first_request_says_who_calls_and_is_signed(starts, app, provider):
    """Shows: POST of a form with the names of the dialect, the proxy's User-Agent, a signature that Twilio's library takes; then the sound."""
    app.documents["/voice"] = plays(app, "found")
    call = provider.call(starts(), "100").answered()
    call.hung_up()
    [request] = app.seen("/voice")
    told = dict(request.form)
    assert request.method == "POST" and request.query == [] and request.valid
    assert re.fullmatch("CA" + SID, told["CallSid"]) and re.fullmatch("AC" + SID, told["AccountSid"])
    assert (told["From"].lstrip("+"), told["To"].lstrip("+")) == ("15550100", "100")
    assert (told["Caller"], told["Called"]) == (told["From"], told["To"])
    assert (told["CallStatus"], told["Direction"], told["ApiVersion"]) == ("ringing", "inbound", "2010-04-01")
    assert (request.headers["user-agent"], request.headers["accept"]) == ("TwilioProxy/1.1", "*/*")
    assert heard(call) == ["found"]


def test_get_signs_the_address_with_its_query(starts, app, provider):
    """Shows: the fields after the address's own query; the fragment stays here; the signature covers both."""
    app.documents["/voice"] = plays(app, "found")
    box = starts(url=app.server.url("/voice?tenant=a%20b&x=1#tt=5000"), method="GET")
    call = provider.call(box, "100").answered()
    call.hung_up()
    [request] = app.seen("/voice")
    assert (request.method, request.body, request.valid) == ("GET", b"", True)
    assert request.query[:2] == [("tenant", "a b"), ("x", "1")] and dict(request.query)["CallStatus"] == "ringing"
    assert "#" not in request.url and "tt=" not in request.url


def test_every_request_of_a_call_is_signed_and_names_the_same_call(starts, app, provider):
    """Shows: first document, action, redirect, status callback: one CallSid, good signatures, in-progress after the answer."""
    gather = app.gather(num_digits=2, action="/menu-choice?a=1&b=%C3%A4", timeout=5)
    gather.play(app.sound("next"))
    response = app.response()
    response.append(gather)
    app.documents["/voice"] = response
    redirect = app.response()
    redirect.redirect("/last?c=3", method="GET")
    app.documents["/menu-choice"] = redirect
    app.documents["/last"] = plays(app, "found")
    call = provider.call(starts(status_callback=app.server.url("/status?k=1")), "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "next")
    call.rtp.press("47")
    call.hung_up()
    ended = app.wait_for("/status")
    all_signed(app)
    assert len({request.fields["CallSid"] for request in app.requests if not request.path.startswith("/sounds/")}) == 1
    choice, [last] = app.seen("/menu-choice")[0], app.seen("/last")
    assert dict(choice.form)["Digits"] == "47" and dict(choice.form)["CallStatus"] == "in-progress"
    assert last.method == "GET" and dict(last.query)["c"] == "3"
    until(lambda: any(dict(r.form).get("CallStatus") == "completed" for r in app.seen("/status")), 5, "the final status")
    assert ended.method == "POST"
    assert heard(call) == ["next", "found"]


def test_a_wrong_token_is_refused_and_leads_to_the_fallback(starts, app, server, provider):
    """Shows: 403 by the application, then the fallback address with ErrorCode and ErrorUrl."""
    server.flow("/fallback", f"<Play>{app.sound('fallback')}</Play>")
    app.documents["/voice"] = plays(app, "wrong")
    call = provider.call(starts(auth_token="another-token", fallback_url=server.url("/fallback")), "100").answered()
    call.hung_up()
    assert [request.valid for request in app.seen("/voice")] == [False]
    told = fields(server.seen("/fallback")[0])
    assert (told["ErrorCode"], told["ErrorUrl"]) == ("11200", app.server.url("/voice"))
    assert heard(call) == ["fallback"]


def test_a_server_that_takes_no_connection_is_given_up_soon(starts, app, server, provider):
    """Shows: `#ct=` bounds the wait for a connection alone, and the fallback is asked after a second attempt."""
    server.flow("/fallback", f"<Play>{app.sound('fallback')}</Play>")
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]      # what the queue of the socket does not hold is not answered
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        url = "http://{}:{}/voice#ct=200".format(*address)
        began = time.monotonic()
        call = provider.call(starts(url=url, allow=["{}:{}".format(*address)], fallback_url=server.url("/fallback")), "100").answered()
        call.hung_up()
        assert heard(call) == ["fallback"]
        assert time.monotonic() - began < 8, "as long as without it"
        for one in waiting:
            one.close()


def test_a_wrong_token_without_a_fallback_ends_the_call(starts, app, provider):
    """Shows: nothing of the application is heard, and no telephone is there to ring."""
    app.documents["/voice"] = plays(app, "wrong")
    box = starts(auth_token="another-token")
    call = provider.call(box, "100")
    ends_somehow(call)
    assert heard(call) == []
    assert box.cdr()["ended_by"] == "flow"


def test_credentials_in_the_address_are_used_and_not_signed(starts, app, server, provider):
    """Shows: Basic authorisation; the signature is of the address that the receiver sees."""
    app.documents["/voice"] = plays(app, "found")
    address = app.server.url("/voice").replace("http://", "http://office:s3cret@")
    provider.call(starts(url=address), "100").answered().hung_up()
    [request] = app.seen("/voice")
    assert request.headers["authorization"] == "Basic b2ZmaWNlOnMzY3JldA==" and request.valid


@pytest.mark.parametrize("path", ["/voice?name=J\u00fcrgen", "/voice?a=b c", '/voice?a="q"', "/voice?a='q'", "/a/../voice"])
def test_the_signature_is_of_the_address_that_is_asked_for(app, tipring, provider, path):
    """Shows: Twilio's validator takes it, whatever the owner wrote."""
    app.documents["/voice"] = app.response()
    box = tipring(dialects.twiml(app.server.url(path)), allow=[app.server.authority])
    call = provider.call(box, "100")
    until(lambda: app.requests, 5, "a request")
    assert app.requests[0].valid, app.requests[0].url
    call.answered().hung_up()


def test_cookies_stay_with_the_call(starts, app, server, provider):
    """Shows: what the server set comes back in the same call, and in no other."""
    server.answer("/voice", Answer("<Response><Redirect>/second</Redirect></Response>", headers=[("Set-Cookie", "visit=42; Path=/")]))
    server.flow("/second", "<Hangup/>")
    box = starts(url=server.url("/voice"))
    for _ in range(2):
        provider.call(box, "100").answered().hung_up()
    assert [request.header("Cookie") for request in server.seen("/voice")] == [None, None]
    assert [request.header("Cookie") for request in server.seen("/second")] == ["visit=42"] * 2


@pytest.mark.parametrize("status, method, keeps", [(302, "GET", False), (307, "POST", True)])
def test_redirects_of_http(starts, app, server, provider, status, method, keeps):
    """Shows: 302 becomes GET without the form, 307 keeps both."""
    server.answer("/voice", Answer(status=status, headers=[("Location", "/moved")]))
    server.flow("/moved", f"<Play>{app.sound('found')}</Play>")
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up()
    [request] = server.seen("/moved")
    assert request.method == method and (b"CallSid=CA" in request.body) == keeps
    assert heard(call) == ["found"]


# ------------------------------------------------------------------ answers that are none

WRONG = "<Play>{wrong}</Play>"
BAD_ANSWERS = {
    # not a document (T1, T2, T3, T17, T18)
    "unclosed": (Answer(f"<Response>{WRONG}<Pause></Response>"), {"12100"}),
    "attribute without quotes": (Answer(f"<Response>{WRONG}<Pause length=1/></Response>"), {"12100"}),
    "raw ampersand": (Answer(f"<Response>{WRONG}<Say>a & b</Say></Response>"), {"12100"}),
    "another root": (Answer(f"<Answer>{WRONG}</Answer>"), {"12100"}),
    "root in lower case": (Answer(f"<response>{WRONG}</response>"), {"12100"}),
    "two roots": (Answer(f"<Response>{WRONG}</Response><Response/>"), {"12100"}),
    "words instead of XML": (Answer("database gone"), {"12100"}),
    "a blank before the declaration": (Answer(f" <?xml version='1.0'?><Response>{WRONG}</Response>"), {"12100"}),
    "XML 1.1": (Answer(f"<?xml version='1.1'?><Response>{WRONG}</Response>"), {"12101"}),
    "doctype": (Answer(f"<!DOCTYPE a [<!ENTITY x 'y'>]><Response>{WRONG}<Say>&x;</Say></Response>"), {"12100"}),
    "billion laughs": (Answer("<!DOCTYPE a [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9))
                              + f"]><Response>{WRONG}<Say>&j;</Say></Response>"), {"12100"}),
    "external entity": (Answer(f"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><Response>{WRONG}<Say>&x;</Say></Response>"), {"12100"}),
    "invalid UTF-8": (Answer(b"<Response><Say>\xff\xfe</Say></Response>"), {"12100"}),
    "too deep": (Answer("<Response>" + "<Say>" * 40 + "</Say>" * 40 + "</Response>"), {"12100"}),
    "too many elements": (Answer("<Response>" + "<Pause/>" * 1001 + "</Response>"), {"12100"}),
    # refused by the server (T12)
    "404": (Answer(f"<Response>{WRONG}</Response>", status=404), {"11200"}),
    "500": (Answer(f"<Response>{WRONG}</Response>", status=500), {"11200"}),
    # no TwiML (T16)
    "JSON": (Answer('{"module": "hangup"}', content_type="application/json"), {"12300"}),
    "a picture": (Answer(b"\x89PNG", content_type="image/png"), {"12300"}),
    "no type and no XML": (Answer("database gone", content_type=None), {"12300"}),
    # too much (T15)
    "more than 64 KiB": (Answer(f"<Response>{WRONG}<!--" + "x" * 65_536 + "--></Response>"), {"11750"}),
    "a hundred MiB": (Answer(b" " * (1 << 20), repeat=100), {"11750"}),
    "more than 64 KiB once unpacked": (Answer(gzipped(b"<Response>" + b" " * 60_000_000 + b"</Response>"), headers=[("Content-Encoding", "gzip")]), {"11750"}),
    # broken off, going in circles (T9, T13)
    "reset": (Answer(reset=True), {"11205", "11200"}),
    "cut off": (Answer(f"<Response>{WRONG}</Response>", length=5000), {"11205", "11200"}),
    "a loop of redirects": (Answer(status=302, headers=[("Location", "/bad")]), {"11215"}),
}


def filled(answer, app):
    """The answer with the address of the prompt that must not be heard."""
    return Answer(**{**vars(answer), "body": answer.body.replace(b"{wrong}", app.sound("wrong").encode())})


def falls_back(app, call, codes, url, within_s, started):
    """The fallback document was asked for with what was wrong, signed, in time, and it alone is heard."""
    request = app.wait_for("/fallback", timeout=within_s + 2)
    assert request.at - started <= within_s, f"{request.at - started:.2f} s"
    assert request.valid
    assert request.fields["ErrorCode"] in codes and request.fields["ErrorUrl"] == url, request.fields
    call.hung_up()
    assert "wrong" not in heard(call) and heard(call)[-1:] == ["fallback"]


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_bad_first_document_leads_to_the_fallback(starts, app, server, provider, case):
    """Shows: T1 to T3, T9, T12, T13, T15 to T18: no verb runs, and the fallback gets the code, the address and the fields of the call."""
    answer, codes = BAD_ANSWERS[case]
    server.answer("/bad", filled(answer, app))
    app.documents["/fallback"] = plays(app, "fallback")
    box = starts(url=server.url("/bad"), fallback_url=app.server.url("/fallback"))
    before_kb, started = box.memory_kb(), time.monotonic()
    call = provider.call(box, "100").answered(20)
    falls_back(app, call, codes, server.url("/bad"), 8, started)
    assert re.fullmatch("CA" + SID, app.seen("/fallback")[0].fields["CallSid"])
    assert box.memory_kb() - before_kb < 12_000, f"memory grew by {box.memory_kb() - before_kb} kB"
    assert app.seen("/sounds/wrong.wav") == []
    if case == "a loop of redirects":
        assert len(server.seen("/bad")) == 6, "the request and five redirects"


@pytest.mark.parametrize("case", ["unclosed", "500", "more than 64 KiB", "JSON"])
def test_a_bad_answer_to_an_action_leads_to_the_fallback(starts, app, server, provider, case):
    """Shows: the same in the middle of a call, after a key."""
    answer, codes = BAD_ANSWERS[case]
    server.answer("/bad", filled(answer, app))
    gather = app.gather(num_digits=1, action=server.url("/bad"), timeout=5)
    gather.play(app.sound("next"))
    response = app.response()
    response.append(gather)
    app.documents.update({"/voice": response, "/fallback": plays(app, "fallback")})
    call = provider.call(starts(fallback_url=app.server.url("/fallback")), "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "next")
    call.rtp.press("1")
    falls_back(app, call, codes, server.url("/bad"), 8, server.wait_for("/bad").at)


@pytest.mark.parametrize("case", ["unclosed", "500", "more than 64 KiB"])
def test_a_bad_answer_in_a_call_without_a_fallback_ends_it(starts, app, server, provider, case):
    """Shows: the rest of the old document is not run either."""
    server.answer("/bad", filled(BAD_ANSWERS[case][0], app))
    response = app.response()
    response.play(app.sound("next"))
    response.redirect(server.url("/bad"))
    response.play(app.sound("wrong"))
    app.documents["/voice"] = response
    box = starts()
    call = provider.call(box, "100").answered()
    call.hung_up(30)
    assert heard(call) == ["next"]
    record = box.cdr()
    assert (record["ended_by"], dialects.label_kind(record["label"])) == ("flow", "failure")


def test_a_fallback_that_fails_as_well_ends_the_call(starts, app, server, provider):
    """Shows: T20; the fallback is asked once."""
    server.answer("/bad", Answer("no", 500, "text/plain"))
    server.answer("/also-bad", Answer("<Response>"))
    box = starts(url=server.url("/bad"), fallback_url=server.url("/also-bad"))
    call = provider.call(box, "100")
    ends_somehow(call)
    assert len(server.seen("/also-bad")) == 1
    assert heard(call) == [] and box.cdr()["ended_by"] == "flow"


def test_nothing_listens(starts, app, provider):
    """Shows: T9: refused, asked once more, and within ten seconds the fallback."""
    closed = free_port("127.0.0.1", socket.SOCK_STREAM)
    url = f"http://127.0.0.1:{closed}/voice"
    app.documents["/fallback"] = plays(app, "fallback")
    box = starts(url=url, fallback_url=app.server.url("/fallback"), allow=[f"127.0.0.1:{closed}"])
    started = time.monotonic()
    falls_back(app, provider.call(box, "100").answered(15), {"11205"}, url, 10, started)


def test_an_address_that_may_not_be_reached(starts, app, provider, _kept):
    """Shows: T8: refused before a connection is made."""
    other = _kept.add(FlowServer())
    app.documents["/fallback"] = plays(app, "fallback")
    box = starts(url=other.url("/voice"), fallback_url=app.server.url("/fallback"))
    falls_back(app, provider.call(box, "100").answered(), {"11100"}, other.url("/voice"), 5, time.monotonic())
    assert other.requests == []


@pytest.mark.parametrize("behave", [never_answers, resets], ids=lambda behave: behave.__name__)
def test_a_server_below_http_that_misbehaves(starts, app, provider, behave, _kept):
    """Shows: silence and resets after the request, under limits that the address itself sets."""
    bad = _kept.add(HostileServer(behave))
    url = bad.url("/voice")
    app.documents["/fallback"] = plays(app, "fallback")
    box = starts(url=f"{url}#rt=1500&tt=1500", fallback_url=app.server.url("/fallback"), allow=[bad.authority])
    call = provider.call(box, "100").answered(10)
    request = app.wait_for("/fallback")
    assert request.fields["ErrorCode"] in {"11200", "11205"} and request.fields["ErrorUrl"].split("#")[0] == url
    if behave is never_answers:
        assert 1.2 <= request.at - bad.requests[0][0] <= 2.2
    assert len(bad.requests) == 1, "a request that arrived is not repeated"
    call.hung_up()
    assert heard(call) == ["fallback"]


@pytest.mark.parametrize("answer", [Answer("<Response/>", delay_s=40), Answer("<Response><Hangup/></Response>", drip_s=1)], ids=["late", "a byte a second"])
def test_fifteen_seconds_are_the_limit(starts, app, server, provider, answer):
    """Shows: T10: no complete answer in 15 s, on a box with more patience than the dialect; the fallback then, not earlier."""
    server.answer("/slow", answer)
    app.documents["/fallback"] = plays(app, "fallback")
    box = starts(url=server.url("/slow"), fallback_url=app.server.url("/fallback"), patience="60s")
    call = provider.call(box, "100").answered(30)
    waited = app.wait_for("/fallback", timeout=5).at - server.seen("/slow")[0].at
    assert 14.5 <= waited <= 16, f"{waited:.2f} s"
    assert app.seen("/fallback")[0].fields["ErrorCode"] == "11200"
    call.hung_up()
    assert heard(call) == ["fallback"]


def test_a_box_has_less_patience_than_the_dialect(starts, app, server, provider):
    """Shows: with a fallback at hand a first document is waited for as long as the owner says."""
    server.answer("/slow", Answer("<Response/>", delay_s=40))
    app.documents["/fallback"] = plays(app, "fallback")
    box = starts(url=server.url("/slow"), fallback_url=app.server.url("/fallback"), patience="1s")
    call = provider.call(box, "100").answered(10)
    waited = app.wait_for("/fallback").at - server.seen("/slow")[0].at
    assert 0.8 <= waited <= 1.6, f"{waited:.2f} s"
    call.hung_up()
    assert heard(call) == ["fallback"]


def test_a_slow_answer_to_an_action(starts, app, server, provider):
    """Shows: T10 in the middle of a call: the caller waits 15 s, then the fallback runs."""
    server.answer("/slow", Answer("<Response/>", delay_s=40))
    response = app.response()
    response.play(app.sound("next"))
    response.redirect(server.url("/slow"))
    app.documents.update({"/voice": response, "/fallback": plays(app, "fallback")})
    call = provider.call(starts(fallback_url=app.server.url("/fallback"), patience="60s"), "100").answered()
    waited = app.wait_for("/fallback", timeout=25).at - server.wait_for("/slow").at
    assert 14.5 <= waited <= 16, f"{waited:.2f} s"
    call.hung_up()
    assert heard(call) == ["next", "fallback"]


def test_a_circle_of_redirects_ends_the_call(starts, app, server, provider):
    """Shows: T14: at least a second between two documents, ten in a row, then the end; the fallback could go in circles, too."""
    server.flow("/voice", "<Redirect>/voice</Redirect>")
    app.documents["/fallback"] = plays(app, "fallback")
    box = starts(url=server.url("/voice"), fallback_url=app.server.url("/fallback"))
    call = provider.call(box, "100")
    ends_somehow(call)
    box.cdr()
    times = [request.at for request in server.seen("/voice")]
    assert 10 <= len(times) <= 12
    assert all(later - earlier >= 0.9 for earlier, later in zip(times[1:], times[2:]))
    assert app.seen("/fallback") == []


# ------------------------------------------------------------------ answers that are taken


ENDINGS = {"an empty document": Answer("<Response/>"), "204": Answer(status=204, content_type=None), "no body": Answer(b"", content_type="text/xml")}


@pytest.mark.parametrize("case", ENDINGS)
def test_an_empty_answer_hangs_up(starts, server, provider, case):
    """Shows: T19: answered, then over."""
    server.answer("/voice", ENDINGS[case])
    box = starts(url=server.url("/voice"))
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["ended_by"] == "flow"


@pytest.mark.parametrize("kind", ["text/xml", "application/xml", "text/html", "application/xml; charset=utf-8", None])
def test_types_that_are_documents(starts, app, server, provider, kind):
    """Shows: XML by its name, by the name that careless servers give it, and without one."""
    server.answer("/voice", Answer(f"<?xml version='1.0' encoding='UTF-8'?><Response><Play>{app.sound('found')}</Play></Response>", content_type=kind))
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


def test_a_sound_instead_of_a_document_is_played(starts, server, provider):
    """Shows: audio/wav: once, then the end."""
    server.sound("/voice", audio.wav_bytes(PROMPTS["found"]))
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


def test_plain_text_is_spoken(starts, server, provider):
    """Shows: text/plain: words, then the end."""
    server.answer("/voice", Answer("Good morning from the office.", content_type="text/plain"))
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up(20)
    assert audio.loud_seconds(call.rtp.heard()) > 0.7


def test_unknown_verbs_and_attributes_are_skipped(starts, app, server, provider):
    """Shows: T4, T5: with all that they hold; names count in their case."""
    server.flow("/voice", f"<play>{app.sound('wrong')}</play><Teleport><Play>{app.sound('wrong')}</Play></Teleport>"
                          f"some words<!-- and these --><Play colour='red' loop='1'>{app.sound('found')}</Play>")
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


@pytest.mark.parametrize("kind, sound", [("audio/basic", audio.encode), ("audio/ulaw", audio.encode), ("audio/x-aiff", audio.aiff_bytes)])
def test_sounds_of_other_kinds_are_played(starts, server, provider, kind, sound):
    """Shows: mu-law without any header, and AIFF; as a whole answer, too."""
    server.sound("/sound", sound(PROMPTS["found"]), kind)
    server.flow("/voice", "<Play>/sound</Play><Redirect>/sound</Redirect>")
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up()
    assert heard(call) == ["found", "found"]


def test_a_whole_answer_that_is_no_sound_is_a_failure(starts, server, provider):
    """Shows: the fallback, not silence."""
    server.sound("/voice", b"no sound at all", "audio/x-gsm")
    server.sound("/spare", b"neither", "audio/x-gsm")
    call = provider.call(starts(url=server.url("/voice"), fallback_url=server.url("/spare")), "100").answered()
    call.hung_up()
    assert fields(server.seen("/spare")[0])["ErrorCode"] == "12300"
    assert audio.loud_seconds(call.rtp.heard()) > 0.5, "somebody says that something is wrong"


def test_a_sound_that_is_not_there_is_passed_over(starts, app, server, provider):
    """Shows: T23."""
    server.flow("/voice", f"<Play>/none.wav</Play><Play>{app.sound('found')}</Play>")
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


@pytest.mark.parametrize("reason, status", [("", 603), (" reason='rejected'", 603), (" reason='busy'", 486)])
def test_reject_before_the_answer(starts, server, provider, reason, status):
    """Shows: the SIP status for either reason; nothing is answered."""
    server.flow("/voice", f"<Reject{reason}/>")
    box = starts(url=server.url("/voice"))
    provider.call(box, "100").refused(status)
    assert box.cdr()["answered_after_ms"] is None


def test_reject_after_the_answer_hangs_up(starts, app, server, provider):
    """Shows: T27."""
    server.flow("/voice", f"<Play>{app.sound('found')}</Play><Reject reason='busy'/><Play>{app.sound('wrong')}</Play>")
    call = provider.call(starts(url=server.url("/voice")), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


def test_what_is_not_offered_says_so(starts, app, provider):
    """Shows: T30: Pay asks for nothing and tells its action that it failed."""
    response = app.response()
    pay = response.pay(charge_amount="1.00", action="/paid")
    pay.prompt(for_="payment-card-number").play(app.sound("wrong"))
    app.documents.update({"/voice": response, "/paid": plays(app, "found")})
    call = provider.call(starts(), "100").answered()
    call.hung_up()
    assert dict(app.seen("/paid")[0].form)["Result"] == "payment-connector-error"
    assert heard(call) == ["found"]


def test_a_status_callback_that_nobody_takes_costs_nothing(starts, app, provider):
    """Shows: T28: the call goes its way."""
    closed = f"127.0.0.1:{free_port('127.0.0.1', socket.SOCK_STREAM)}"
    app.documents["/voice"] = plays(app, "found")
    call = provider.call(starts(status_callback=f"http://{closed}/status", allow=[closed]), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


def test_a_caller_who_leaves_while_the_document_is_fetched(starts, app, server, provider):
    """Shows: T29: the answer is dropped, the callback tells the end."""
    server.answer("/slow", Answer(f"<Response><Play>{app.sound('wrong')}</Play></Response>", delay_s=2))
    box = starts(url=server.url("/slow"), status_callback=app.server.url("/status"))
    call = provider.call(box, "100")
    server.wait_for("/slow")
    call.ringing().cancel()
    until(lambda: any(dict(r.form)["CallStatus"] in {"canceled", "completed", "no-answer"} for r in app.seen("/status")), 8, "the final status")
    assert app.seen("/sounds/wrong.wav") == [] and box.cdr()["answered_after_ms"] is None


# ------------------------------------------------------------------ Gather


def gathers(app, *after, prompt="next", **attributes):
    gather = app.gather(**{"action": "/choice", "timeout": 2, **attributes})
    gather.play(app.sound(prompt))
    response = app.response()
    response.append(gather)
    for name in after:
        response.play(app.sound(name))
    app.documents.update({"/voice": response, "/choice": plays(app, "found")})


@pytest.mark.parametrize("attributes, keys, digits", [
    (dict(num_digits=3), "471", "471"), ({}, "47#", "47"), (dict(finish_on_key="*"), "4#7*", "4#7"), (dict(finish_on_key="", num_digits=3), "4#*", "4#*"), ({}, "47", "47")])
def test_digits_reach_the_action(starts, app, provider, attributes, keys, digits):
    """Shows: by number of digits, finish key, another one, none, and the timer; the finish key is no digit."""
    gathers(app, "wrong", **attributes)
    call = provider.call(starts(), "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "next")
    call.rtp.press(keys)
    call.hung_up()
    assert dict(app.seen("/choice")[0].form)["Digits"] == digits
    assert heard(call) == ["next", "found"]


def test_a_key_stops_the_prompt(starts, app, provider):
    """Shows: during the prompt; what was played of it is no whole prompt."""
    gathers(app, prompt="hold", num_digits=1)
    call = provider.call(starts(), "100").answered()
    call.rtp.wait_loud(0.3)
    call.rtp.press("5")
    call.hung_up()
    assert dict(app.seen("/choice")[0].form)["Digits"] == "5" and heard(call) == ["found"]


@pytest.mark.parametrize("keys", ["", "#"])
def test_no_digits_go_on_with_the_document(starts, app, provider, keys):
    """Shows: silence, and the finish key alone: no request."""
    gathers(app, "fallback", timeout=1)
    call = provider.call(starts(), "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "next")
    call.rtp.press(keys)
    call.hung_up()
    assert app.seen("/choice") == [] and heard(call) == ["next", "fallback"]


def test_no_digits_reach_the_action_that_wants_to_know(starts, app, provider):
    """Shows: actionOnEmptyResult."""
    gathers(app, "wrong", timeout=1, action_on_empty_result=True)
    call = provider.call(starts(), "100").answered()
    call.hung_up()
    assert dict(app.seen("/choice")[0].form)["Digits"] == "" and heard(call) == ["next", "found"]


def test_relative_addresses(starts, app, provider):
    """Shows: an action beside the document's own address, also after Redirect into a folder."""
    redirect, response = app.response(), app.response()
    redirect.redirect("deep/er/doc?x=1")
    gather = app.gather(num_digits=1, action="../choice", timeout=5)
    gather.play("../../sounds/next.wav")
    response.append(gather)
    app.documents.update({"/voice": redirect, "/deep/er/doc": response, "/deep/choice": plays(app, "found")})
    call = provider.call(starts(), "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "next")
    call.rtp.press("1")
    call.hung_up()
    assert heard(call) == ["next", "found"]


# ------------------------------------------------------------------ Record


def test_a_recording_is_told_of(starts, app, provider):
    """Shows: the key that ended it, its length, its address; the callback that it is complete; the words are on the box."""
    words = audio.voice(2, seed=81)
    response = app.response()
    response.play(app.sound("next"))
    response.record(action="/recorded", finish_on_key="5", max_length=20, timeout=10, trim="do-not-trim", play_beep=False, recording_status_callback="/recording")
    app.documents.update({"/voice": response, "/recorded": plays(app, "found")})
    box = starts()
    call = provider.call(box, "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "next")
    call.rtp.say(words)
    call.rtp.press("5")
    call.hung_up()
    told = dict(app.seen("/recorded")[0].form)
    assert told["Digits"] == "5" and 1 <= int(told["RecordingDuration"]) <= 4
    assert re.fullmatch("RE" + SID, told["RecordingSid"]) and told["RecordingUrl"].startswith("http")
    done = dict(app.wait_for("/recording").form)
    assert (done["RecordingStatus"], done["RecordingSid"]) == ("completed", told["RecordingSid"])
    until(lambda: any(audio.likeness(words[3200:], audio.read_wav(path)[0]) >= 0.9 for path in box.recordings()), 5, "the recording")
    all_signed(app)


def test_hanging_up_ends_the_recording_and_is_told(starts, app, provider):
    """Shows: Digits=hangup."""
    response = app.response()
    response.play(app.sound("next"))
    response.record(action="/recorded", timeout=10, play_beep=False)
    app.documents.update({"/voice": response, "/recorded": app.response()})
    call = provider.call(starts(), "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "next")
    call.rtp.say(audio.voice(1.5, seed=82))
    call.hang_up()
    assert dict(app.wait_for("/recorded").form)["Digits"] == "hangup"


def test_silence_is_no_recording(starts, app, provider):
    """Shows: the next verb, and no request."""
    response = app.response()
    response.record(action="/recorded", timeout=1, play_beep=False)
    response.play(app.sound("found"))
    app.documents["/voice"] = response
    call = provider.call(starts(), "100").answered()
    call.hung_up(15)
    assert app.seen("/recorded") == [] and heard(call) == ["found"]


# ------------------------------------------------------------------ Dial


def dials(app, *targets, **attributes):
    """targets: (noun, text)"""
    response, dial = app.response(), app.twiml.Dial(**{"action": "/after", "timeout": 10, **attributes})
    for noun, text in targets:
        dial.add_child(noun, text)
    response.append(dial)
    app.documents.update({"/voice": response, "/after": plays(app, "found")})


DIALLED = {"busy": (486, "busy"), "away": (480, "no-answer"), "unknown": (404, "failed"), "declined": (603, "failed"), "failing": (503, "failed")}


@pytest.mark.parametrize("case", DIALLED)
def test_a_refusal_reaches_the_action(starts, app, provider, desk, case):
    """Shows: DialCallStatus for what the telephone says."""
    status, told = DIALLED[case]
    dials(app, ("Client", "201"))
    box = starts(phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    front.expect_call().refuse(status)
    call.hung_up()
    after = dict(app.seen("/after")[0].form)
    assert after["DialCallStatus"] == told and after["DialBridged"] == "false"
    assert heard(call)[-1:] == ["found"]


def test_nobody_answers_in_time(starts, app, provider, desk):
    """Shows: timeout in seconds, CANCEL, DialCallStatus=no-answer."""
    dials(app, ("Client", "201"), timeout=2)
    box = starts(phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = front.expect_call().ring()
    ringing.cancelled()
    cancelled_at = next(m.at for m in front.seen if m.method == "CANCEL")
    assert 1.7 <= cancelled_at - ringing.invite_message.at <= 2.8
    call.hung_up()
    assert dict(app.seen("/after")[0].form)["DialCallStatus"] == "no-answer"


def test_the_first_of_two_wins_and_the_conversation_is_told_of(starts, app, provider, desk):
    """Shows: Number and Client together; sound both ways; the loser is cancelled; the action gets status, leg and length."""
    dials(app, ("Number", "201"), ("Client", "202"))
    box = starts(phone("201"), phone("202"))
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100").answered()
    at_first, at_second = first.expect_call().ring(), second.expect_call().ring()
    at_second.answer()
    at_first.cancelled()
    there, back = audio.voice(1.5, seed=83), audio.voice(1.5, seed=84)
    speaking = [call.rtp.start_saying(there), at_second.rtp.start_saying(back)]
    for thread in speaking:
        thread.join()
    until(lambda: audio.likeness(there[3200:], at_second.rtp.heard()) >= 0.97 and audio.likeness(back[3200:], call.rtp.heard()) >= 0.97, 3, "what both said")
    at_second.hang_up()
    call.hung_up()
    after = dict(app.seen("/after")[0].form)
    assert (after["DialCallStatus"], after["DialBridged"]) == ("completed", "true")
    assert re.fullmatch("CA" + SID, after["DialCallSid"]) and after["DialCallSid"] != after["CallSid"] and 1 <= int(after["DialCallDuration"]) <= 4


def test_the_star_ends_the_conversation_alone(starts, app, provider, desk):
    """Shows: hangupOnStar: the telephone is released, the flow goes on."""
    dials(app, ("Client", "201"), hangup_on_star=True)
    box = starts(phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = front.expect_call().ring().answer()
    call.rtp.say(audio.voice(0.5, seed=85))
    call.rtp.press("*")
    ringing.hung_up()
    call.hung_up()
    assert heard(call)[-1:] == ["found"]


def test_answer_on_bridge_rings_until_somebody_answers(starts, app, provider, desk):
    """Shows: the caller hears ringing by his own side, and is answered with the telephone."""
    dials(app, ("Client", "201"), answer_on_bridge=True)
    box = starts(phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100")
    ringing = front.expect_call().ring()
    call.ringing()
    call.party.expect_nothing(lambda m: m.status == 200 and m.cseq[1] == "INVITE", 0.5)
    ringing.answer()
    call.answered()
    call.hang_up()
    ringing.hung_up()
    assert box.cdr()["ended_by"] == "caller"


def test_a_dial_without_a_target_fails(starts, app, provider):
    """Shows: T21; T7 beside it: of twelve targets ten are rung."""
    dials(app)
    call = provider.call(starts(), "100").answered()
    call.hung_up()
    assert dict(app.seen("/after")[0].form)["DialCallStatus"] == "failed"


def test_a_number_leaves_over_the_trunk(starts, app, provider):
    """Shows: punctuation is dropped, callerId is shown, the trunk is called."""
    dials(app, ("Number", "+1 (555) 010-0188"), caller_id="+15550177")
    box = starts(trunk(host=provider.address))
    call = provider.call(box, "100").answered()
    out = provider.expect_call()
    assert "15550100188" in out.invite_message.uri and "15550177" in out.invite_message.get("from")
    out.ring().answer()
    out.hang_up()
    call.hung_up()
    assert dict(app.seen("/after")[0].form)["DialCallStatus"] == "completed"


# ------------------------------------------------------------------ rooms and queues


def test_two_callers_meet_in_a_room(starts, app, provider):
    """Shows: each hears the other, the room's end is told of."""
    response = app.response()
    response.dial(action="/after").conference("Monday round", beep=False, wait_url="", start_conference_on_enter=True,
                                              status_callback="/conference", status_callback_event="start end join leave")
    app.documents.update({"/voice": response, "/after": app.response()})
    box = starts()
    one, two = (provider.call(box, "100", user=user).answered() for user in ("15550101", "15550102"))
    until(lambda: sum(r.fields.get("StatusCallbackEvent") == "participant-join" for r in app.seen("/conference")) == 2, 5, "two who joined")
    there, back = audio.voice(1.5, seed=86), audio.voice(1.5, seed=87)
    one.rtp.say(there)
    two.rtp.say(back)
    until(lambda: audio.likeness(there[3200:], two.rtp.heard()) >= 0.9 and audio.likeness(back[3200:], one.rtp.heard()) >= 0.9, 3, "what both said")
    one.hang_up()
    two.hang_up()
    until(lambda: any(r.fields.get("StatusCallbackEvent") == "conference-end" for r in app.seen("/conference")), 5, "the end of the room")
    all_signed(app)


def test_a_room_is_recorded_while_anybody_is_in_it(starts, app, provider):
    """Shows: when the member on whose call it is recorded leaves, the next goes on; each part is told of."""
    response = app.response()
    response.dial().conference("board", beep=False, wait_url="", record="record-from-start", recording_status_callback="/recorded",
                               status_callback="/conference", status_callback_event="join")
    app.documents["/voice"] = response
    box = starts()
    members = []
    for user in ("15550101", "15550102"):
        members.append(provider.call(box, "100", user=user).answered())
        until(lambda: len(app.seen("/conference")) == len(members), 5, "who joined")
    first, second = members
    early, late = audio.voice(1.5, seed=97), audio.voice(1.5, seed=98)
    second.rtp.say(early)
    first.hang_up()
    until(lambda: len(app.seen("/recorded")) == 1, 5, "the first part")
    second.rtp.say(late)
    second.hang_up()
    until(lambda: len(app.seen("/recorded")) == 2, 5, "the second part")
    told = [request.fields for request in app.seen("/recorded")]
    assert [part["RecordingStatus"] for part in told] == ["completed", "completed"]
    assert told[0]["ConferenceSid"] == told[1]["ConferenceSid"] and told[0]["RecordingSid"] != told[1]["RecordingSid"]
    sounds = [audio.read_wav(box.data / "recordings" / part["RecordingUrl"].rsplit("/", 1)[1])[0] for part in told]
    assert audio.likeness(early[3200:], sounds[0]) >= 0.9 and audio.likeness(late[3200:], sounds[1]) >= 0.9
    box.wait_idle()


def test_a_coach_is_heard_by_his_agent_alone(starts, app, provider):
    """Shows: the call of another caller is coached; nobody hears who is on hold, and the application is told of that."""
    room = {"beep": False, "wait_url": "", "status_callback": "/conference", "status_callback_event": "join hold"}

    def enters(seen):
        fields = dict(seen.form)
        response = app.response()
        joined = [r.fields["CallSid"] for r in app.seen("/conference")]
        response.dial().conference("sales", **room, **({"coach": joined[0]} if fields["From"].endswith("103") else {}))
        return response

    app.documents["/voice"] = enters
    box = starts()
    members = []
    for user in ("15550101", "15550102", "15550103"):
        members.append(provider.call(box, "100", user=user).answered())
        until(lambda: len(app.seen("/conference")) == len(members), 5, "who joined")
    agent, customer, coach = members
    assert [r.fields["Coaching"] for r in app.seen("/conference")] == ["false", "false", "true"]
    hint, words = audio.voice(1.5, seed=95), audio.voice(1.5, seed=96)
    coach.rtp.say(hint)
    until(lambda: audio.likeness(hint[3200:], agent.rtp.heard()) >= 0.9, 3, "the hint")
    assert audio.likeness(hint[3200:], customer.rtp.heard()) < 0.5
    customer.reinvite("sendonly")
    until(lambda: [r.fields["Hold"] for r in app.seen("/conference") if r.fields["StatusCallbackEvent"] == "participant-hold"] == ["true"], 5, "the hold")
    customer.rtp.say(words)
    assert audio.likeness(words[3200:], agent.rtp.heard()) < 0.5
    customer.reinvite("sendrecv")
    until(lambda: app.seen("/conference")[-1].fields["StatusCallbackEvent"] == "participant-unhold", 5, "the end of the hold")
    customer.rtp.say(words)
    until(lambda: audio.likeness(words[3200:], agent.rtp.heard()) >= 0.9, 3, "the customer's words")
    for member in members:
        member.hang_up()
    all_signed(app)


def test_a_queue_is_heard_waiting_and_answered(starts, app, provider):
    """Shows: waitUrl with its fields, Dial Queue takes the caller out, both speak, QueueResult=bridged."""
    waits, takes = app.response(), app.response()
    waits.enqueue("help", action="/left", wait_url="/wait")
    takes.dial(timeout=10).queue("help")
    app.documents.update({"/wait": plays(app, "hold"), "/left": app.response(),
                          "/voice": lambda seen: takes if dict(seen.form)["From"].endswith("102") else waits})
    box = starts()
    caller = provider.call(box, "100", user="15550101").answered()
    hearing.wait_for(caller.rtp, PROMPTS, "hold")
    assert dict(app.seen("/wait")[0].form)["QueuePosition"] == "1"
    agent = provider.call(box, "100", user="15550102").answered()
    words = audio.voice(1.5, seed=88)
    until(lambda: (agent.rtp.say(words), audio.likeness(words[3200:], caller.rtp.heard()) >= 0.9)[1], 10, "the agent's words")
    agent.hang_up()
    assert dict(app.wait_for("/left").form)["QueueResult"] == "bridged"
    caller.hung_up()
