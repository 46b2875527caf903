"""Kazoo: callflows on the box and callflows that Pivot fetches; whatever goes wrong with an answer, the `_` child runs."""
import json
import re
import socket
import time

import pytest

import audio
import dialects
import hearing
import kazoo_documents as kazoo
from box import flow, phone, trunk
from dialects import fields
from flow_server import Answer, FlowServer, gzipped
from hostile import HostileServer, never_answers, one_byte_a_second
from kazoo_documents import callflow, chain, node
from office import EXAMPLE, FLOWS
from servers.pivot_app import PivotApp, parameters
from sipp import free_port
from waiting import until

PROMPTS = {name: hearing.prompt(40 + number)
           for number, name in enumerate(("welcome", "menu", "found", "missing", "routed", "wrong", "goodbye", "again", "unavailable"))}
WORDS = audio.voice(2, seed=91)
BUSY_HERE, DECLINED = 486, 603


@pytest.fixture
def pivot(serve):
    """The customer's server."""
    return serve(PivotApp()).application


@pytest.fixture
def starts(tipring, server, pivot, tmp_path):
    """starts(flow or account, tables...): a box with that callflow at 100."""
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for name, sound in PROMPTS.items():
        audio.write_wav(prompts / f"{name}.wav", sound)

    def start(flow, *tables, allow=(), stored=None, **keys):
        document = flow if "callflows" in flow else kazoo.account(callflow(flow, "100"), **(stored or {}))
        return tipring(dialects.kazoo_file(tmp_path / "account.json", document, **keys), *tables,
                       allow=[server.authority, pivot.server.authority, *allow], prompts_dir=prompts)
    return start


@pytest.fixture
def example(pivot):
    """example(name, number, **stored): one of the flows in flows/kazoo at the test's own server, as an account."""
    def load(name, number="100", **stored):
        [path] = (FLOWS / "kazoo").glob(f"{name}_*.json")
        flow = json.loads(path.read_text().replace(EXAMPLE, pivot.server.url("")))
        return kazoo.account({**flow, "numbers": [number]}, **stored)
    return load


def heard(call):
    return hearing.order(PROMPTS, call.rtp.heard())


def asks(url, otherwise="missing", **data):
    """A pivot whose way out is a sound."""
    return node("pivot", voice_url=url, children={"_": node("play", id=otherwise)} if otherwise else {}, **data)


# ------------------------------------------------------------------ Pivot's requests


def test_a_request_says_who_calls(starts, pivot, provider):
    """Shows: GET with the names of the kazoo format after the address's own query, and the headers of the node."""
    box = starts(asks(pivot.server.url("/pivot/route?tenant=7"), custom_request_headers={"X-Branch": "berlin-2", "x-floor": "3"}))
    call = provider.call(box, "100", headers=[("X-Account", "42")]).answered()
    call.hung_up()
    [request] = pivot.seen("/pivot/route")
    told = parameters(request)
    assert (request.method, request.body) == ("GET", b"") and request.query[0] == ("tenant", "7")
    assert told["Call-ID"] and re.fullmatch("[0-9a-f]{32}", told["Account-ID"])
    assert (told["Api-Version"], told["Direction"]) == ("4.x", "inbound")
    assert (told["From"], told["To"], told["Request"], told["Caller-ID-Number"].lstrip("+")) == ("15550100", "100", "100", "15550100")
    assert told["From-Realm"] and told["To-Realm"] and told["Request-Realm"]
    assert (request.headers["x-branch"], request.headers["x-floor"]) == ("berlin-2", "3")
    assert "Digits" not in told
    assert heard(call) == ["routed"]


@pytest.mark.parametrize("body, kind", [("form", "application/x-www-form-urlencoded"), ("json", "application/json")])
@pytest.mark.parametrize("method", ["post", "POST"])
def test_a_request_by_post(starts, pivot, provider, method, body, kind):
    """Shows: form and JSON; the query stays with the address."""
    flow = chain(node("set_variables", custom_application_vars={"branch": "berlin", "tier": "2"}), asks(pivot.server.url("/pivot/route?a=1"), method=method, req_body_format=body))
    provider.call(starts(flow), "100").answered().hung_up()
    [request] = pivot.seen("/pivot/route")
    told = parameters(request)
    assert request.method == "POST" and request.headers["content-type"].split(";")[0] == kind
    assert request.query == [("a", "1")] and told["From"] == "15550100"
    assert told["Custom-Application-Vars"] == {"branch": "berlin", "tier": "2"}


def test_a_request_in_the_twiml_format(starts, pivot, provider):
    """Shows: the same facts under the other names."""
    provider.call(starts(asks(pivot.server.url("/pivot/twiml/next"), req_format="twiml")), "100").answered().hung_up()
    told = parameters(pivot.seen("/pivot/twiml/next")[0])
    assert told["CallSid"] and told["AccountSid"] and told["ApiVersion"] == "2010-04-01"
    assert (told["From"], told["To"]) == ("15550100", "100") and told["FromRealm"] and told["CallerNumber"].lstrip("+") == "15550100"
    assert "Call-ID" not in told


# ------------------------------------------------------------------ Pivot's answers

GOOD_ANSWERS = {
    "a bare node": (json.dumps(node("play", id="found")), "application/json"),
    "wrapped in flow": (json.dumps({"flow": node("play", id="found")}), "application/json"),
    "a type with parameters": (json.dumps(node("play", id="found")), "Application/JSON; charset=utf-8"),
    "numbers as text": (json.dumps(node("play", id="found", loop_count="1")), "application/json"),
    "a key nobody knows": (json.dumps(node("play", id="found", colour="red")), "application/json"),
    "TwiML": ("<Response><Play>found</Play></Response>", "application/xml"),
    "TwiML by its older type": ("<?xml version='1.0'?><Response><Play>found</Play></Response>", "text/xml"),
    "TwiML without a type": ("<Response><Play>found</Play></Response>", None),
    "JSON under another name": (json.dumps(node("play", id="found")), "text/plain"),
}


@pytest.mark.parametrize("case", GOOD_ANSWERS)
def test_an_answer_replaces_the_flow(starts, server, provider, case):
    """Shows: what it may look like; the pivot's own children are dropped."""
    body, kind = GOOD_ANSWERS[case]
    server.answer("/pivot", Answer(body, content_type=kind))
    call = provider.call(starts(asks(server.url("/pivot"))), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


def test_an_answer_by_201_is_one(starts, server, provider):
    server.answer("/pivot", Answer(json.dumps(node("play", id="found")), status=201, content_type="application/json"))
    call = provider.call(starts(asks(server.url("/pivot"))), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


SAID = node("play", id="wrong")
JSON = "application/json"


def told(document, **keys):
    return Answer(document if isinstance(document, (str, bytes)) else json.dumps(document), **{"content_type": JSON, **keys})


BAD_ANSWERS = {
    "404": told(SAID, status=404),
    "503": told(SAID, status=503),
    "rubbish": told("no callflow today", content_type="text/plain"),
    "a picture": told(b"\x89PNG", content_type="image/png"),
    "nothing": told(""),
    "204": Answer(status=204, content_type=None),
    "half of it": told(json.dumps(SAID)[:-2]),
    "something behind it": told(json.dumps(SAID) + "{}"),
    "a list": told([SAID]),
    "an empty object": told({}),
    "a module out of scope": told(chain(SAID, node("acdc_member"))),
    "a module nobody knows": told(chain(SAID, node("teleport"))),
    "such a module in a branch": told({**SAID, "children": {"1": node("eavesdrop")}}),
    "a child that is null": told({**SAID, "children": {"_": None}}),
    "data that is a list": told({**SAID, "data": []}),
    "a value out of range": told(chain(SAID, node("collect_dtmf", timeout=0))),
    "a strategy that there is not": told(chain(SAID, node("ring_group", endpoints=["x"], strategy="random"))),
    "a header that is not ours": told(chain(SAID, node("pivot", voice_url="http://x.example/", custom_request_headers={"Site": "x"}))),
    "129 deep": told(chain(SAID, *[node("noop") for _ in range(128)])),
    "4097 nodes": told({**SAID, "children": {str(number): {"module": "hangup"} for number in range(4096)}}),
    "more than 256 KiB": told(chain(SAID, node("noop", remark="x" * 262_144))),
    "more than 256 KiB once unpacked": told(gzipped(b" " * 60_000_000 + json.dumps(SAID).encode()), headers=[("Content-Encoding", "gzip")]),
    "a hundred MiB": told(b" " * (1 << 20), repeat=100),
    "invalid UTF-8": told(b'{"module":"tts","data":{"text":"\xff\xfe"}}'),
    "deep brackets": told("[" * 100_000),
    "XML not well formed": told("<Response><Play>wrong</Play>", content_type="application/xml"),
    "XML of another root": told("<Answer><Play>wrong</Play></Answer>", content_type="text/xml"),
    "doctype": told("<!DOCTYPE a [<!ENTITY x 'y'>]><Response><Play>wrong</Play></Response>", content_type="text/xml"),
    "reset": Answer(reset=True),
    "cut off": told(SAID, length=5000),
    "a loop of redirects": Answer(status=302, headers=[("Location", "/pivot")]),
    "a redirect to nowhere": Answer(status=302, headers=[("Location", "http://127.0.0.1:9/x")]),
    "a redirect to a file": Answer(status=302, headers=[("Location", "file:///etc/passwd")]),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_bad_answer_takes_the_wildcard(starts, server, provider, case):
    """Shows: nothing of the answer is run, the `_` child is, and soon."""
    server.answer("/pivot", BAD_ANSWERS[case])
    box = starts(asks(server.url("/pivot")))
    before_kb = box.memory_kb()
    call = provider.call(box, "100").answered(12)
    hearing.wait_for(call.rtp, PROMPTS, "missing", timeout=8)
    call.hung_up()
    assert heard(call) == ["missing"]
    assert box.memory_kb() - before_kb < 12_000, f"memory grew by {box.memory_kb() - before_kb} kB"
    if case == "a loop of redirects":
        assert len(server.seen("/pivot")) == 6, "the request and five redirects"


def test_without_a_wildcard_the_call_ends(starts, server, provider):
    """Shows: 503 and no `_`."""
    server.answer("/pivot", BAD_ANSWERS["503"])
    box = starts(chain(node("answer"), asks(server.url("/pivot"), otherwise=None)))
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert heard(call) == [] and box.cdr()["ended_by"] == "flow"


@pytest.mark.parametrize("behave", [never_answers, one_byte_a_second], ids=lambda behave: behave.__name__)
def test_a_slow_server_is_waited_for_as_long_as_the_node_says(starts, provider, behave, _kept):
    """Shows: req_timeout_ms to the complete answer."""
    slow = _kept.add(HostileServer(behave))
    box = starts(chain(node("answer"), asks(slow.url("/pivot"), req_timeout_ms=1500)), allow=[slow.authority])
    call = provider.call(box, "100").answered()
    call.rtp.wait_loud(0.1, 8)
    waited = next(p.at for p in call.rtp.audio_packets() if audio.level_dbfs(audio.decode(p.payload)) > audio.SILENCE_DBFS) - slow.requests[0][0]
    assert 1.2 <= waited <= 2.2, f"{waited:.2f} s"
    call.hung_up()
    assert heard(call) == ["missing"] and len(slow.requests) == 1


def test_five_seconds_are_the_limit_unless_the_node_says_less(starts, server, provider):
    """Shows: the default; a late answer is not run."""
    server.answer("/pivot", told(SAID, delay_s=30))
    call = provider.call(starts(chain(node("answer"), asks(server.url("/pivot")))), "100").answered()
    call.rtp.wait_loud(0.1, 10)
    waited = time.monotonic() - server.seen("/pivot")[0].at
    assert 4.7 <= waited <= 6, f"{waited:.2f} s"
    call.hung_up()
    assert heard(call) == ["missing"]


def test_redirects_do_not_make_the_wait_longer(starts, server, provider):
    """Shows: each hop takes from the same budget."""
    for number in range(4):
        server.answer(f"/hop{number}", Answer(status=302, headers=[("Location", f"/hop{number + 1}")], delay_s=0.6))
    server.answer("/hop4", told(SAID))
    call = provider.call(starts(asks(server.url("/hop0"), req_timeout_ms=1500)), "100").answered()
    call.hung_up()
    assert heard(call) == ["missing"] and server.seen("/hop4") == []


UNREACHABLE = {"nothing listens": "http://127.0.0.1:{closed}/x", "not on the list": "http://127.0.0.1:{other}/x", "no such name": "http://no-such-host.invalid/x",
               "this machine by another spelling": "http://0x7f000001:{other}/x", "link-local metadata": "http://169.254.169.254/latest"}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_a_server_that_cannot_be_reached_takes_the_wildcard(starts, provider, case, _kept):
    """Shows: refused, forbidden, unknown: the `_` child, and nobody was asked."""
    other, closed = _kept.add(FlowServer()), free_port("127.0.0.1", socket.SOCK_STREAM)
    url = UNREACHABLE[case].format(closed=closed, other=other.port)
    call = provider.call(starts(asks(url), allow=[f"127.0.0.1:{closed}"] if "closed" in UNREACHABLE[case] else []), "100").answered(12)
    call.hung_up(12)
    assert heard(call) == ["missing"] and other.requests == []


def test_a_later_failure_of_twiml_ends_the_call(starts, server, provider):
    """Shows: the first document was taken, so `_` is over; the redirect fails, and the call ends."""
    server.answer("/pivot", Answer("<Response><Play>found</Play><Redirect>/bad</Redirect></Response>"))
    server.answer("/bad", Answer("no", 500, "text/plain"))
    box = starts(asks(server.url("/pivot"), req_format="twiml"))
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert heard(call) == ["found"] and box.cdr()["ended_by"] == "flow"


def test_pivot_in_a_circle_is_slowed(starts, server, provider):
    """Shows: an answer that asks the same server again is slowed after ten; the number of nodes, which stops it, is in virtual time."""
    server.answer("/pivot", told(asks(server.url("/pivot"))))
    box = starts(chain(node("answer"), asks(server.url("/pivot"))))
    call = provider.call(box, "100").answered()
    until(lambda: len(server.seen("/pivot")) >= 12, timeout=20, what="a dozen requests")
    *_, tenth, eleventh, twelfth = [request.at for request in server.seen("/pivot")[:12]]
    assert eleventh - tenth > 0.8 and twelfth - eleventh > 0.8
    call.hang_up()


def test_a_flow_calls_another_by_its_name(starts, provider):
    """Shows: callflow with a stored flow, with one in the node, and with a name that nobody has."""
    account = kazoo.account(
        callflow(node("callflow", id="other", then=SAID), "100"), {"id": "other", **callflow(node("play", id="found"), "900")},
        callflow(node("callflow", flow=node("play", id="routed")), "101"), callflow(node("callflow", id="no-such", then=node("play", id="missing")), "102"))
    box = starts(account)
    for number, expected in (("100", "found"), ("101", "routed"), ("102", "missing")):
        call = provider.call(box, number).answered()
        call.hung_up()
        assert heard(call)[:1] == [expected], number


# ------------------------------------------------------------------ the examples

OPEN = {"temporal_rules": [{"id": "rule-counter", "name": "open", "cycle": "daily", "enabled": True}]}
MENU = {"menus": [{"id": "menu-front", "name": "front", "retries": 2, "timeout": 2500, "interdigit_timeout": 500, "max_extension_length": 1, "hunt": False,
                   "media": {"greeting": "menu", "invalid_media": False, "exit_media": False}}]}
PEOPLE = {"users": [{"id": "u-mara", "name": "Mara"}],
          "devices": [{"id": "desk201", "name": "front desk", "owner_id": "u-mara", "sip": {"username": "201"}}, {"id": "desk202", "name": "store", "sip": {"username": "202"}}],
          "vmboxes": [{"id": "vm-front", "name": "front", "mailbox": "801", "skip_instructions": True, "media": {"unavailable": "unavailable"}}]}


@pytest.fixture
def reception(starts, example):
    return lambda rule=None: starts(example("e1", **{**OPEN, **(rule or {})}, **MENU, **PEOPLE), phone("201"), phone("202"))


def test_reception_rings_one_after_the_other(reception, provider, desk):
    """Shows: E1, key 1: Mara refuses, the store rings and is connected."""
    box = reception()
    mara, store = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "menu")
    call.rtp.press("1")
    mara.expect_call().refuse(BUSY_HERE)
    ringing = store.expect_call().ring().answer()
    call.rtp.say(WORDS)
    until(lambda: audio.likeness(WORDS[3200:], ringing.rtp.heard()) >= 0.97, 3, "the caller's words")
    ringing.hang_up()
    call.hung_up()
    assert len(box.cdr()["legs"]) == 3


def test_reception_says_that_both_are_busy(reception, provider, desk):
    """Shows: E1, the child USER_BUSY after two rounds: words, then the end, no mailbox."""
    box = reception()
    mara, store = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "menu")
    call.rtp.press("1")
    for telephone in (mara, store) * 2:
        telephone.expect_call().refuse(BUSY_HERE)
    call.hung_up(20)
    assert heard(call) == ["menu"]


def test_reception_key_0_and_no_key(reception, provider, desk):
    """Shows: E1: 0 rings the front desk; silence is asked once more and then led to goodbye."""
    box = reception()
    mara = desk(box, "201")
    call = provider.call(box, "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "menu")
    call.rtp.press("0")
    mara.expect_call().ring().answer().hang_up()
    call.hung_up()
    silent = provider.call(box, "100").answered()
    silent.hung_up(20)
    assert heard(silent) == ["menu", "menu", "goodbye"]


def test_reception_is_closed(reception, provider, desk):
    """Shows: E1: the rule is forced off, the mailbox takes the message."""
    box = reception({"temporal_rules": [{"id": "rule-counter", "name": "closed", "cycle": "daily", "enabled": False}]})
    mara = desk(box, "201")
    call = provider.call(box, "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "unavailable")
    call.rtp.wait_quiet(0.7)
    call.rtp.say(WORDS)
    call.hang_up()
    box.cdr()
    until(lambda: any(audio.likeness(WORDS[3200:], audio.read_wav(path)[0]) >= 0.9 for path in box.data.rglob("*.wav")), 8, "the message", 0.2)
    assert mara.count("INVITE") == 0


@pytest.mark.parametrize("answer", [Answer("no", 503, "text/plain"), told({"module": "acdc_member", "data": {}}), told(""), told(SAID, delay_s=1.6)],
                         ids=["503", "out of scope", "empty", "late"])
def test_the_way_out_rings_mara(starts, example, provider, desk, server, answer):
    """Shows: E2: JSON by POST with the header of the node; on each failure the user rings."""
    account = example("e2", **PEOPLE)
    account["callflows"][0]["flow"]["data"]["voice_url"] = server.url("/pivot/route")
    server.answer("/pivot/route", answer)
    box = starts(account, phone("201"), phone("202"))
    mara = desk(box, "201")
    call = provider.call(box, "100")
    ringing = mara.expect_call(8).ring().answer()
    call.answered()
    ringing.hang_up()
    call.hung_up()
    [request] = server.seen("/pivot/route")
    assert request.method == "POST" and request.header("X-Branch") == "berlin-2"
    assert json.loads(request.body)["To"] == "100"


@pytest.mark.parametrize("keys, digits, expected", [("12*", "12", "found"), ("123#", "123", "missing"), ("123456", "123456", "missing"), ("", None, "missing")])
def test_digits_go_with_the_next_request(starts, example, pivot, provider, keys, digits, expected):
    """Shows: E3: up to six, ended by # or *; none at all send no field."""
    call = provider.call(starts(example("e3")), "100").answered()
    call.rtp.wait_loud(0.3)
    call.rtp.wait_quiet(0.5)
    call.rtp.press(keys)
    request = pivot.wait_for("/pivot/ticket", timeout=12)
    assert parameters(request).get("Digits") == (digits and {"ticket": digits})
    call.hung_up()
    assert heard(call) == [expected]


@pytest.mark.parametrize("caller, inland", [("+493099001", True), ("493099001", True), ("15550100", False)])
def test_callers_are_told_apart(starts, example, provider, desk, caller, inland):
    """Shows: E4: inland rings with another name, others are refused before the answer."""
    box = starts(example("e4", **PEOPLE), phone("201"), phone("202"))
    front = desk(box, "201")
    call = provider.call(box, "100", user=caller)
    if inland:
        ringing = front.expect_call()
        assert "Inland" in ringing.invite_message.get("from")
        ringing.ring().answer()
        call.answered()
        ringing.hang_up()
        call.hung_up()
    else:
        call.refused(DECLINED)
        assert front.count("INVITE") == 0 and box.cdr()["answered_after_ms"] is None


def test_an_outbound_call_is_recorded_and_uploaded(starts, example, pivot, provider):
    """Shows: E5: over the trunk, both voices in a WAV that comes by PUT under the name of the call."""
    box = starts(example("e5", **PEOPLE), trunk(host=provider.address))
    call = provider.call(box, "100")
    out = provider.expect_call()
    assert "4930990099" in out.invite_message.uri
    out.ring().answer()
    call.answered()
    there, back = audio.voice(1.5, seed=92), audio.voice(1.5, seed=93)
    call.rtp.say(there)
    out.rtp.say(back)
    out.hang_up()
    call.hung_up()
    until(lambda: pivot.files, 10, "the recording")
    [(path, content)] = pivot.files.items()
    assert re.fullmatch(r"/recordings/call_recording_[^/]+\.wav", path) and content[:4] == b"RIFF"
    (box.directory / "uploaded.wav").write_bytes(content)
    sound, _ = audio.read_wav(box.directory / "uploaded.wav")
    assert audio.likeness(there[3200:], sound) >= 0.9 and audio.likeness(back[3200:], sound) >= 0.9


def test_an_outbound_call_that_is_refused(starts, example, provider):
    """Shows: E5: USER_BUSY has its own child, everything else `_`: the mailbox."""
    box = starts(example("e5", **PEOPLE), trunk(host=provider.address))
    for status, expected in ((BUSY_HERE, []), (DECLINED, ["unavailable"])):
        call = provider.call(box, "100")
        provider.expect_call().refuse(status)
        call.answered()
        if expected:
            hearing.wait_for(call.rtp, PROMPTS, *expected)
            call.hang_up()
        else:
            call.hung_up(15)
            assert heard(call) == []


def test_variables_choose_the_way(starts, example, provider):
    """Shows: E6: what was set is read again."""
    call = provider.call(starts(example("e6")), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


@pytest.mark.parametrize("keys, expected", [("2", ["menu", "found"]), ("5", ["menu", "missing"]), ("", ["menu", "goodbye"])])
def test_a_menu_in_twiml(starts, example, pivot, provider, keys, expected):
    """Shows: E7: the action beside the document by GET with Digits; no key goes on with the document."""
    call = provider.call(starts(example("e7")), "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "menu")
    call.rtp.press(keys)
    call.hung_up(15)
    assert heard(call) == expected
    asked = pivot.seen("/pivot/twiml/next")
    assert [(r.method, parameters(r)["Digits"], parameters(r).get("DialCallStatus")) for r in asked] == ([("GET", keys, None)] if keys else [])


def test_a_dial_in_twiml(starts, example, pivot, provider, desk):
    """Shows: E8: a number over the trunk and a user ring together; the action gets the status; the records of both legs and of the call come by POST."""
    box = starts(example("e8", **PEOPLE), phone("201"), phone("202"), trunk(host=provider.address))
    mara = desk(box, "201")
    call = provider.call(box, "100")
    at_mara, out = mara.expect_call().ring(), provider.expect_call().ring()
    assert "5550100" in out.invite_message.uri
    at_mara.answer()
    out.cancelled()
    call.answered()
    at_mara.rtp.say(audio.voice(0.5, seed=94))
    at_mara.hang_up()
    call.hung_up()
    told_after = parameters(pivot.seen("/pivot/twiml/after")[0])
    assert told_after["DialCallStatus"] == "completed" and int(told_after["DialCallDuration"]) >= 0
    assert heard(call) == ["goodbye"]
    until(lambda: len(pivot.seen("/pivot/cdr")) == 3, 5, "three records")
    *legs, whole = [request.fields for request in pivot.seen("/pivot/cdr")]
    assert (whole["Call-Direction"], whole["Hangup-Cause"], whole["Callee-ID-Number"]) == ("inbound", "NORMAL_CLEARING", "u-mara")
    assert {leg["Other-Leg-Call-ID"] for leg in legs} == {whole["Call-ID"]} and whole["Other-Leg-Call-ID"] in {leg["Call-ID"] for leg in legs}
    assert {leg["Hangup-Cause"] for leg in legs} == {"LOSE_RACE", "NORMAL_CLEARING"} and {leg["Call-Direction"] for leg in legs} == {"outbound"}


# ------------------------------------------------------------------ branches of the tree


CAUSES = {486: "USER_BUSY", 603: "CALL_REJECTED", 404: "UNALLOCATED_NUMBER", 480: "NO_USER_RESPONSE"}


@pytest.mark.parametrize("status", CAUSES)
@pytest.mark.parametrize("key", ["cause", "code", "other"])
def test_a_refusal_has_its_child(starts, provider, desk, status, key):
    """Shows: the name of the cause first, then sip:NNN, then `_`."""
    children = {"_": node("play", id="missing"), "NO_SUCH_CAUSE": SAID}
    if key in ("cause", "code"):
        children[f"sip:{status}"] = node("play", id="again" if key == "cause" else "found")
    if key == "cause":
        children[CAUSES[status]] = node("play", id="found")
    box = starts(node("device", id="desk201", timeout=10, children=children), phone("201"), stored=PEOPLE)
    front = desk(box, "201")
    call = provider.call(box, "100")
    front.expect_call().refuse(status)
    call.answered().hung_up()
    assert heard(call) == ["missing" if key == "other" else "found"]


def test_nobody_answers(starts, provider, desk):
    """Shows: the timeout in seconds, CANCEL, the child NO_ANSWER."""
    box = starts(node("device", id="desk201", timeout="2", children={"NO_ANSWER": node("play", id="found"), "_": SAID}), phone("201"), stored=PEOPLE)
    front = desk(box, "201")
    call = provider.call(box, "100")
    ringing = front.expect_call().ring()
    ringing.cancelled()
    assert 1.7 <= next(m.at for m in front.seen if m.method == "CANCEL") - ringing.invite_message.at <= 2.8
    call.answered().hung_up()
    assert heard(call) == ["found"]


def test_no_telephone_at_all(starts, provider):
    """Shows: NO_ENDPOINTS of a ring group, `_` of a device that nobody knows."""
    group = node("ring_group", endpoints=[{"endpoint_type": "device", "id": "no-such"}], children={"NO_ENDPOINTS": node("play", id="found"), "_": SAID})
    account = kazoo.account(callflow(group, "100"), callflow(node("device", id="no-such", then=node("play", id="missing")), "101"))
    box = starts(account)
    for number, expected in (("100", "found"), ("101", "missing")):
        call = provider.call(box, number).answered()
        call.hung_up()
        assert heard(call) == [expected]


def test_all_telephones_of_a_group_ring_and_one_wins(starts, provider, desk):
    """Shows: simultaneous, with a delay for one."""
    group = node("ring_group", strategy="simultaneous", timeout=10, endpoints=[
        {"endpoint_type": "device", "id": "desk201"}, {"endpoint_type": "device", "id": "desk202", "delay": 2}], then=SAID)
    box = starts(group, phone("201"), phone("202"), stored=PEOPLE)
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100")
    at_first = first.expect_call().ring()
    at_second = second.expect_call().ring()
    assert 1.7 <= at_second.invite_message.at - at_first.invite_message.at <= 2.6
    at_second.answer()
    at_first.cancelled()
    call.answered()
    at_second.hang_up()
    call.hung_up()
    assert heard(call) == []


def test_which_flow_a_number_reaches(starts, provider):
    """Shows: the very number, then the pattern that matches most of it, then no_match; else 404."""
    def says(name, *numbers, **keys):
        return callflow(node("play", id=name), *numbers, **keys)

    account = kazoo.account(says("found", "300"), says("again", patterns=["^3([0-9]{2})$"]), says("routed", patterns=["^(3[0-9]{2})$"]), says("missing", "no_match"))
    box = starts(account)
    for number, expected in (("300", "found"), ("301", "routed"), ("999", "missing")):
        call = provider.call(box, number).answered()
        call.hung_up()
        assert heard(call) == [expected], number
    provider.call(box, "reception").refused(404)


EXTENSION = chain(node("device", id="desk201", timeout=10), node("play", id="unavailable"))
FEATURES = (callflow(EXTENSION, "201"), callflow(node("play", id="menu"), patterns=["^\\*97$"]), callflow(node("play", id="routed"), patterns=["^9([0-9]{6,})$"]))


@pytest.mark.parametrize("caller", ["trunk", "telephone"])
def test_an_extension_is_answered_by_its_flow(starts, provider, desk, caller):
    """Shows: the number of a flow and of a telephone is the same: the flow answers, rings the telephone itself, and goes on when it is busy."""
    box = starts(kazoo.account(*FEATURES, **PEOPLE), trunk(host=provider.address), phone("201"), phone("202", dial_out="trunk1"))
    front = desk(box, "201")
    call = provider.call(box, "201") if caller == "trunk" else desk(box, "202").call(box, "201")
    if caller == "telephone":
        call.authenticate()
    front.expect_call().refuse(BUSY_HERE)
    call.answered().hung_up()
    assert heard(call) == ["unavailable"]
    assert box.cdr()["flow"] == "office"


@pytest.mark.parametrize("dialled, expected", [("*97", "menu"), ("9555010", "routed")])
def test_a_telephone_that_dials_out_reaches_feature_codes_first(starts, provider, desk, dialled, expected):
    """Shows: what a flow claims does not leave over the trunk; what none claims does."""
    box = starts(kazoo.account(*FEATURES, **PEOPLE), trunk(host=provider.address), phone("202", dial_out="trunk1"))
    desk_202 = desk(box, "202")
    call = desk_202.call(box, dialled)
    call.authenticate()
    call.answered().hung_up()
    assert heard(call) == [expected]
    outside = desk_202.call(box, "15550177")
    outside.authenticate()
    provider.expect_call().answer().hang_up()
    outside.answered().hung_up()


def test_a_pattern_of_another_flow_is_no_way_out_from_outside(starts, provider, tmp_path):
    """Shows: from a trunk the patterns of its own flow alone count."""
    other = kazoo.write(tmp_path / "other.json", kazoo.account(callflow(node("play", id="found"), patterns=["^9[0-9]+$"])))
    box = starts(kazoo.account(callflow(node("play", id="missing"), "no_match")), flow("other", None, "kazoo", file=str(other)))
    call = provider.call(box, "9555010").answered()
    call.hung_up()
    assert heard(call) == ["missing"]


@pytest.mark.parametrize("moderator, pin", [(True, "1111"), (False, "9999")])
def test_a_role_does_not_open_a_room(starts, provider, moderator, pin):
    """Shows: the node's role asks for the PINs of that role; after three wrong ones the caller is out, and has never been in."""
    room = {"conferences": [{"id": "r1", "name": "weekly", "member": {"pins": ["1111"]}, "moderator": {"pins": ["9999"]}}]}
    enter = node("conference", id="r1", moderator=moderator, welcome_prompt={"play": False}, then=node("play", id="missing"))
    box = starts(enter, stored=room)
    call = provider.call(box, "100").answered()
    for _ in range(3):
        call.rtp.press(f"{pin}#")
    call.hung_up(20)
    # Who leaves a room by its key would go on with the next node.
    assert [step["path"] for step in box.cdr()["steps"]] == ["callflows[0].flow"]


def test_a_tree_without_end_is_stopped(starts, provider):
    """Shows: a flow that branches to itself; the box does not turn for ever."""
    account = kazoo.account({"id": "circle", **callflow(chain(node("answer"), node("callflow", id="circle")), "100")})
    box = starts(account)
    provider.call(box, "100").answered().hung_up(20)
    assert box.cdr()["ended_by"] == "flow"


# ------------------------------------------------------------------ webhooks


@pytest.mark.parametrize("verb", ["post", "get"])
def test_a_webhook_is_told_and_not_waited_for(starts, server, provider, verb):
    """Shows: the call's facts and the custom data, the headers; the next node runs while the server thinks."""
    server.answer("/hook", Answer("ok", content_type="text/plain", delay_s=2))
    flow = chain(node("set_variables", custom_application_vars={"tier": "gold"}),
                 node("webhook", uri=server.url("/hook"), http_verb=verb, custom_data={"note": "hello", "from": "overwritten", "action": "dropped"},
                      custom_request_headers={"X-Office": "berlin"}), node("play", id="found"))
    started = time.monotonic()
    call = provider.call(starts(flow), "100").answered()
    call.rtp.wait_loud(0.1)
    assert time.monotonic() - started < 1.5
    call.hung_up()
    request = server.wait_for("/hook")
    said = fields(request)
    assert request.method == verb.upper() and request.header("X-Office") == "berlin" and request.header("X-Account-ID") and request.header("X-Hook-ID")
    assert said["call_id"] and said["account_id"] and "15550100" in said["from"] and said["note"] == "hello" and "action" not in said
    assert said["custom_application_vars[tier]"] == "gold"
    assert heard(call) == ["found"]


def test_a_webhook_to_a_server_that_is_away_comes_later(starts, server, provider):
    """Shows: connection refused, then there again."""
    server.answer("/hook", Answer("ok", content_type="text/plain"))
    box = starts(chain(node("webhook", uri=server.url("/hook"), retries=4), node("play", id="found")))
    server.go_away()
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]
    server.come_back()
    server.wait_for("/hook", timeout=40)


# ------------------------------------------------------------------ documents that are refused


REFUSED = {
    "a module out of scope": (node("menu", id="m", children={"1": node("acdc_member", id="q")}), "acdc_member"),
    "a module nobody knows": (chain(node("answer"), node("teleport")), "teleport"),
    "no module": ({"data": {}}, "module"),
    "a value out of range": (node("collect_dtmf", timeout=0), "timeout"),
    "a wrong type": (node("ring_group", endpoints={"id": "x"}), "endpoints"),
    "a strategy that there is not": (node("ring_group", endpoints=["x"], strategy="random"), "strategy"),
    "an address over ftp": (node("pivot", voice_url="ftp://x.example/y"), "voice_url"),
    "eight seconds": (node("pivot", voice_url="http://x.example/", req_timeout_ms=8000), "req_timeout_ms"),
    "a header that is not ours": (node("pivot", voice_url="http://x.example/", custom_request_headers={"Site": "x"}), "Site"),
    "a regex that looks back": (node("check_cid", regex="(?<=0)49"), "regex"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_check_of_a_document_names_what_is_wrong(tipring, tmp_path, case):
    """Shows: `tipring check` refuses the document, with the word that is wrong; so do the schemas."""
    flow, word = REFUSED[case]
    document = {"callflows": [callflow(flow, "100")]}
    assert kazoo.problems(document, "account")
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document))
    good = kazoo.account(callflow(node("hangup"), "100"))
    box = tipring(dialects.kazoo_file(tmp_path / "good.json", good), started=False)
    config = box.config_file.read_text()
    assert box.run("check", str(box.config_file)).returncode == 0
    box.config_file.write_text(config.replace("good.json", "bad.json"))
    done = box.run("check", str(box.config_file))
    assert done.returncode == 1 and word in done.stdout + done.stderr, done.stdout + done.stderr
