"""Call Interactive: an IVR on the box asks a script of the office; an answer that is none is as good as no answer, and the option goes on."""
import json
import re
import socket
import time
from urllib.parse import unquote

import pytest

import audio
import dialects
import hearing
import programs
from box import phone, trunk
from dialects import asks, does, ivr
from flow_server import Answer, FlowServer, gzipped
from hostile import HostileServer, never_answers, one_byte_a_second
from servers import call_interactive_script
from sipp import free_port
from waiting import until

PROMPTS = {name: hearing.prompt(60 + number) for number, name in enumerate(("menu", "found", "after", "wrong", "goodbye"))}
PROMPTS["ask"] = hearing.prompt(70, seconds=3)          # long enough for keys in the middle
AFTER = [does("play_sound", sound="after.wav"), does("hangup")]
ORDER = ["EventType", "CalledExtensionID", "CalledNumber", "CallID", "CallerIDNum", "CallerExtensionID", "CallerExtension", "CallFlow",
         "CalledExtension", "CallAPIID", "CallerIDName", "CallStatus", "CalledDID"]


@pytest.fixture
def starts(tipring, server, tmp_path):
    """starts(ivr document, tables...): a box with that IVR at 100."""
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for name, sound in PROMPTS.items():
        audio.write_wav(prompts / f"{name}.wav", sound)

    def start(document, *tables, allow=(), **keys):
        return tipring(dialects.call_interactive_file(tmp_path / "ivr.json", document, **keys), *tables,
                       allow=[server.authority, *allow], prompts_dir=prompts)
    return start


def heard(call):
    return hearing.order(PROMPTS, call.rtp.heard())


def asked(server, path="/script"):
    """The fields of each request of the path, from its query: [[(name, value), ...], ...]"""
    return [request.query for request in server.seen(path)]


def plays(name):
    return f"<PlaySound>{name}.wav</PlaySound>"


# ------------------------------------------------------------------ requests


def test_a_request_by_get(starts, server, provider):
    """Shows: the fields in their order after the address's own query, percent-encoded; an outside caller has no extension."""
    server.flow("/script", "")
    provider.call(starts(ivr([asks(server.url("/script?crm=7&empty="))])), "100", user="+15550100").answered().hung_up()
    [request] = server.seen("/script")
    [pairs] = asked(server)
    told = dict(pairs)
    assert request.method == "GET" and request.body == b""
    assert pairs[:2] == [("crm", "7"), ("empty", "")]
    names = [name for name, _ in pairs[2:]]
    assert names == [name for name in ORDER if name in names]
    assert set(ORDER) - set(names) == {"CallerExtensionID", "CallerExtension"}
    assert (told["EventType"], told["CallStatus"], told["CallFlow"]) == ("call_interactive", "ANSWER", "IN")
    assert re.fullmatch("[0-9a-f]{32}", told["CallID"]) and re.fullmatch("[0-9]{10}:[0-9a-f]{32}", told["CallAPIID"])
    assert (told["CallerIDNum"], told["CalledNumber"], told["CalledDID"]) == ("+15550100", "100", "100")
    assert told["CallerIDName"] and told["CalledExtensionID"].isdigit() and re.fullmatch(r"[0-9]+\*[0-9]+", told["CalledExtension"])
    assert "CallerIDNum=%2B15550100" in request.query_text and "%2A" in request.query_text and "%3A" in request.query_text


def test_a_request_by_post(starts, cgi, provider):
    """Shows: the fields in the body as a form, the address's own query in the address; read by a script as offices write them."""
    script = cgi(call_interactive_script.__file__)
    call = provider.call(starts(ivr([asks(script.url("/script?step=say&sound=found.wav"), "POST")]), allow=[script.authority]), "100").answered()
    call.hung_up()
    [told] = script.seen("say")
    assert told["method"] == "POST" and told["query"] == {"step": "say", "sound": "found.wav"}
    assert told["type"].split(";")[0] == "application/x-www-form-urlencoded"
    assert told["posted"]["EventType"] == "call_interactive" and told["posted"]["CallerIDNum"] == "15550100"
    assert heard(call) == ["found"]


def test_a_telephone_of_the_office_has_an_extension(starts, server, desk):
    """Shows: CallerExtension and its id, no outside number; the fields in their order."""
    server.flow("/script", "")
    box = starts(ivr([asks(server.url("/script"))]), phone("201", flow="office"))
    front = desk(box, "201")
    front.call(box, "100").authenticate().answered().hung_up()
    [pairs] = asked(server)
    told = dict(pairs)
    assert [name for name, _ in pairs] == [name for name in ORDER if name != "CalledDID"]
    assert told["CallerExtension"].endswith("*201") and told["CallerExtensionID"].isdigit() and told["CalledNumber"] == "100"


def test_one_call_keeps_its_names(starts, server, provider):
    """Shows: CallID and CallAPIID of two requests of a call are the same, of two calls they are not."""
    server.flow("/script", "")
    box = starts(ivr([asks(server.url("/script")), does("play_silence", seconds=1), asks(server.url("/script"))]))
    for _ in range(2):
        provider.call(box, "100").answered().hung_up()
    names = [(dict(pairs)["CallID"], dict(pairs)["CallAPIID"]) for pairs in asked(server)]
    assert len(names) == 4 and names[0] == names[1] and names[2] == names[3] and len({name for pair in names for name in pair}) == 4


def test_variables_in_the_address(starts, server, provider):
    """Shows: in values of the query alone; mixed with text, unset, doubled, with signs that mean something in an address (I24)."""
    server.flow("/script", "")
    server.flow("/$dest/x", "")
    box = starts(ivr([does("set_variable", name="dest", value="10*2&admin=1 #ä"), asks(server.url("/$dest/x?a=$dest&b=x$dest&c=$none&d=$$5&$dest=e&f=$destx"))]))
    provider.call(box, "100").answered().hung_up()
    [request] = [one for one in server.requests if "/x" in one.path]
    assert unquote(request.path) == "/$dest/x"
    text = "10*2&admin=1 #ä"
    assert request.query[:6] == [("a", text), ("b", "x" + text), ("c", ""), ("d", "$5"), ("$dest", "e"), ("f", "")]
    assert "admin" not in dict(request.query) and "#" not in request.query_text


# ------------------------------------------------------------------ answers that are none

WRONG = plays("wrong")
BAD_ANSWERS = {
    # I1, I2
    "unclosed": Answer(f"<Response>{WRONG}<Pause></Response>"),
    "another root": Answer(f"<Answer>{WRONG}</Answer>"),
    "root in lower case": Answer(f"<response>{WRONG}</response>"),
    "two roots": Answer(f"<Response>{WRONG}</Response><Response/>"),
    "words": Answer("database gone", content_type="text/html"),
    "invalid UTF-8": Answer(b"<Response><SetVar name='a'>\xff\xfe</SetVar><PlaySound>wrong.wav</PlaySound></Response>"),
    # I4, I6, I7
    "eleven actions": Answer(f"<Response>{WRONG}" + "<Pause length='0'/>" * 10 + "</Response>"),
    "a caller without a number": Answer(f"<Response>{WRONG}<SetCaller name='x'/></Response>"),
    "a caller without a name": Answer(f"<Response>{WRONG}<SetCaller number='1'/></Response>"),
    "a variable without a name": Answer(f"<Response>{WRONG}<SetVar>1</SetVar></Response>"),
    "a variable with a bad name": Answer(f"<Response>{WRONG}<SetVar name='1a'>1</SetVar></Response>"),
    # I11, I12
    "404": Answer(f"<Response>{WRONG}</Response>", status=404),
    "500": Answer(f"<Response>{WRONG}</Response>", status=500),
    "a loop of redirects": Answer(status=302, headers=[("Location", "/script")]),
    "a redirect to nowhere": Answer(status=302, headers=[("Location", "http://127.0.0.1:9/x")]),
    # I14, I15, I16
    "more than 64 KiB": Answer(f"<Response>{WRONG}<!--" + "x" * 65_536 + "--></Response>"),
    "more than 64 KiB once unpacked": Answer(gzipped(b"<Response>" + b" " * 60_000_000 + WRONG.encode() + b"</Response>"), headers=[("Content-Encoding", "gzip")]),
    "a hundred MiB": Answer(b" " * (1 << 20), repeat=100),
    "more than 500 elements": Answer("<Response><Pause length='0'>" + "<a/>" * 501 + "</Pause></Response>"),
    "too deep": Answer(f"<Response>{WRONG}<Pause length='0'>" + "<a>" * 9 + "</a>" * 9 + "</Pause></Response>"),
    "JSON": Answer('{"action": "hangup"}', content_type="application/json"),
    "XML called audio": Answer(f"<Response>{WRONG}</Response>", content_type="audio/wav"),
    "doctype": Answer(f"<!DOCTYPE a [<!ENTITY x 'y'>]><Response>{WRONG}<SetVar name='a'>&x;</SetVar></Response>"),
    "billion laughs": Answer("<!DOCTYPE a [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9))
                             + f"]><Response>{WRONG}<SetVar name='a'>&j;</SetVar></Response>"),
    # broken off
    "reset": Answer(reset=True),
    "cut off": Answer(f"<Response>{WRONG}</Response>", length=5000),
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_a_bad_answer_goes_on_with_the_option(starts, server, provider, case):
    """Shows: nothing of the answer is done, the next action of the option is, soon; nothing is asked twice."""
    server.answer("/script", BAD_ANSWERS[case])
    box = starts(ivr([asks(server.url("/script")), *AFTER]))
    before_kb = box.memory_kb()
    call = provider.call(box, "100").answered()
    hearing.wait_for(call.rtp, PROMPTS, "after", timeout=8)
    call.hung_up()
    assert heard(call) == ["after"]
    assert box.memory_kb() - before_kb < 12_000, f"memory grew by {box.memory_kb() - before_kb} kB"
    assert len(server.seen("/script")) == (6 if case == "a loop of redirects" else 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_post_that_is_redirected(starts, server, provider, status):
    """Shows: 301, 302 and 303 make a GET of it with the same fields in the query, 307 and 308 leave it as it is."""
    server.answer("/old", Answer(status=status, headers=[("Location", "/script?a=1")]))
    server.answer("/script", Answer(f"<Response>{plays('found')}<Hangup/></Response>"))
    call = provider.call(starts(ivr([asks(server.url("/old"), "POST")])), "100").answered()
    call.hung_up()
    [first], [second] = server.seen("/old"), server.seen("/script")
    sent = first.body.decode()
    if status < 304:
        assert second.method == "GET" and second.body == b"" and second.query[0] == ("a", "1")
        assert [name for name, _ in second.query][1:] == [part.split("=")[0] for part in sent.split("&")]
        assert dict(second.query)["CallerIDNum"] == "15550100"
    else:
        assert second.method == "POST" and second.body.decode() == sent and second.query == [("a", "1")]
    assert heard(call) == ["found"]


def test_a_bad_answer_with_nothing_after_it_hangs_up(starts, server, provider):
    """Shows: the IVR's default."""
    server.answer("/script", BAD_ANSWERS["unclosed"])
    box = starts(ivr([asks(server.url("/script"))]))
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["ended_by"] == "flow"


def test_nothing_of_a_refused_answer_is_kept(starts, server, provider):
    """Shows: I6: a variable that was set before the mistake stays unset."""
    server.answer("/script", Answer("<Response><SetVar name='a'>1</SetVar><SetCaller name='x'/></Response>"), Answer("<Response/>"))
    provider.call(starts(ivr([asks(server.url("/script")), asks(server.url("/script?a=$a"))])), "100").answered().hung_up()
    assert asked(server)[1][0] == ("a", "")


@pytest.mark.parametrize("case", ["nothing listens", "not on the list", "no such name"])
def test_a_server_that_cannot_be_reached(starts, provider, case, _kept):
    """Shows: I9: on with the option within fifteen seconds; nobody was asked."""
    other, closed = _kept.add(FlowServer()), free_port("127.0.0.1", socket.SOCK_STREAM)
    url = {"nothing listens": f"http://127.0.0.1:{closed}/x", "not on the list": other.url("/x"), "no such name": "http://no-such-host.invalid/x"}[case]
    started = time.monotonic()
    call = provider.call(starts(ivr([asks(url), *AFTER]), allow=[f"127.0.0.1:{closed}"]), "100").answered()
    call.hung_up(20)
    assert heard(call) == ["after"] and time.monotonic() - started < 17 and other.requests == []


@pytest.mark.parametrize("behave", [never_answers, one_byte_a_second], ids=lambda behave: behave.__name__)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_slow_server_is_waited_for_as_long_as_the_action_says(starts, provider, method, behave, _kept):
    """Shows: timeout in seconds, from the request to the whole answer; no second attempt."""
    slow = _kept.add(HostileServer(behave))
    call = provider.call(starts(ivr([asks(slow.url("/script"), method, timeout=2), *AFTER]), allow=[slow.authority]), "100").answered()
    call.rtp.wait_loud(0.1, 8)
    waited = first_sound_at(call) - slow.requests[0][0]
    assert 1.75 <= waited <= 2.5, f"{waited:.2f} s"
    call.hung_up()
    assert heard(call) == ["after"] and len(slow.requests) == 1


def first_sound_at(call):
    return next(p.at for p in call.rtp.audio_packets() if audio.level_dbfs(audio.decode(p.payload)) > audio.SILENCE_DBFS)


def test_fifteen_seconds_are_the_limit_unless_the_action_says_otherwise(starts, server, provider):
    """Shows: I10; the late answer is not done."""
    server.answer("/script", Answer(f"<Response>{WRONG}</Response>", delay_s=40))
    call = provider.call(starts(ivr([asks(server.url("/script")), *AFTER])), "100").answered()
    call.rtp.wait_loud(0.1, 20)
    waited = first_sound_at(call) - server.seen("/script")[0].at
    assert 14.75 <= waited <= 15.6, f"{waited:.2f} s"
    call.hung_up()
    assert heard(call) == ["after"]


def test_a_caller_who_leaves_during_the_request(starts, server, provider, desk):
    """Shows: I23: the answer rings nobody."""
    server.answer("/script", Answer("<Response><SimpleTransfer>201</SimpleTransfer></Response>", delay_s=1))
    box = starts(ivr([asks(server.url("/script"))]), phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    server.wait_for("/script")
    call.hang_up()
    front.expect_nothing(lambda m: m.method == "INVITE", 2)
    assert box.cdr()["ended_by"] == "caller"


# ------------------------------------------------------------------ answers that are taken


GOOD_ANSWERS = {
    "without a declaration": Answer(f"<Response>{plays('found')}</Response>"),
    "as PHP says it": Answer("<?xml version='1.0' encoding='UTF-8'?>\n<Response>\n  <PlaySound>\n found.wav\n </PlaySound>\n</Response>", content_type="text/html"),
    "without a type": Answer(f"<Response>{plays('found')}</Response>", content_type=None),
    "in windows-1251": Answer(f"<?xml version='1.0' encoding='windows-1251'?><Response><SetVar name='a'>привет</SetVar>{plays('found')}</Response>".encode("windows-1251")),
    "ten actions": Answer("<Response>" + "<Pause length='0'/>" * 9 + plays("found") + "</Response>"),
    "an unknown action": Answer(f"<Response><Teleport/>{plays('found')}</Response>"),
    "an unknown attribute": Answer("<Response><PlaySound colour='red'>found.wav</PlaySound></Response>"),
    "a sound that is not there": Answer(f"<Response>{plays('none')}{plays('found')}</Response>"),
    "comments and words": Answer(f"<Response>words<!-- more -->{plays('found')}</Response>"),
    "by 201": Answer(f"<Response>{plays('found')}</Response>", status=201),
}


@pytest.mark.parametrize("case", GOOD_ANSWERS)
def test_an_answer_is_done_and_the_option_goes_on(starts, server, provider, case):
    """Shows: I3, I5 and what else is an answer; the next action of the option after it."""
    server.answer("/script", GOOD_ANSWERS[case])
    call = provider.call(starts(ivr([asks(server.url("/script")), *AFTER])), "100").answered()
    call.hung_up()
    assert heard(call) == ["found", "after"]


NO_ANSWERS = {"an empty document": Answer("<Response/>"), "204": Answer(status=204, content_type=None), "no body": Answer(b"", content_type="image/png")}


@pytest.mark.parametrize("case", NO_ANSWERS)
def test_no_answer_is_no_mistake(starts, server, provider, case):
    """Shows: I8: on with the option, and no warning in the log."""
    server.answer("/script", NO_ANSWERS[case])
    box = starts(ivr([asks(server.url("/script")), *AFTER]))
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert heard(call) == ["after"]
    assert not [line for line in box.log().splitlines() if "ERROR" in line or "WARN" in line]


def test_hangup_ends_the_call_at_once(starts, server, provider):
    """Shows: I25: neither the rest of the answer nor of the option."""
    server.flow("/script", f"{plays('found')}<Hangup/>{WRONG}")
    call = provider.call(starts(ivr([asks(server.url("/script")), *AFTER])), "100").answered()
    call.hung_up()
    assert heard(call) == ["found"]


@pytest.mark.parametrize("length, seconds", [("2", 2), ("0", 0), ("abc", 10), (None, 10)])
def test_pause_is_in_seconds(starts, server, provider, length, seconds):
    """Shows: two, none, and ten where nothing sensible is said (I22)."""
    server.flow("/script", "<Pause/>" if length is None else f"<Pause length='{length}'/>")
    call = provider.call(starts(ivr([asks(server.url("/script")), *AFTER])), "100").answered()
    call.rtp.wait_loud(0.1, 15)
    waited = first_sound_at(call) - server.seen("/script")[0].at
    assert seconds - 0.2 <= waited <= seconds + 0.8, f"{waited:.2f} s"
    call.hung_up()


def test_a_variable_reaches_later_requests_and_transfers(starts, server, provider, desk):
    """Shows: SetVar, then $name in an address, then transfer_from_variable behind it in the option."""
    server.answer("/script", Answer("<Response><SetVar name='dest'>201</SetVar></Response>"))
    server.flow("/second", "")
    box = starts(ivr([asks(server.url("/script")), asks(server.url("/second?d=$dest")), does("transfer_from_variable", variable="dest")]), phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = front.expect_call().ring().answer()
    assert asked(server, "/second")[0][0] == ("d", "201")
    call.rtp.say(audio.voice(0.5, seed=95))
    ringing.rtp.wait_loud(0.2)
    ringing.hang_up()
    call.hung_up()


def test_jump_leads_to_another_context(starts, server, provider):
    """Shows: its option, start by default; the rest of answer and option is dropped."""
    document = ivr([asks(server.url("/script")), *AFTER])
    document["contexts"].append({"id": 3, "options": {
        "start": [does("play_sound", sound="menu.wav"), does("hangup")], "5": [does("play_sound", sound="found.wav"), does("hangup")]}})
    box = starts(document)
    for jump, expected in (("<Jump context='3' option='5'/>", "found"), ("<Jump context='3'/>", "menu"), ("<Jump context='3' option='start'/>", "menu")):
        server.flow("/script", jump + WRONG)
        call = provider.call(box, "100").answered()
        call.hung_up()
        assert heard(call) == [expected], jump


def test_jump_to_nowhere(starts, server, provider):
    """Shows: the invalid option of the context, and without one the next action."""
    server.flow("/script", "<Jump context='99' option='start'/>")
    call = provider.call(starts(ivr([asks(server.url("/script")), *AFTER], invalid=[does("play_sound", sound="goodbye.wav"), does("hangup")])), "100").answered()
    call.hung_up()
    assert heard(call) == ["goodbye"]


def test_a_circle_of_jumps_is_slowed_and_ended(starts, server, provider):
    """Shows: I13: at least a second between two requests, ten in a row, then the end."""
    server.flow("/script", "<Jump context='1' option='start'/>")
    box = starts(ivr([asks(server.url("/script"))]))
    provider.call(box, "100").answered().hung_up(30)
    times = [request.at for request in server.seen("/script")]
    assert 9 <= len(times) <= 11 and all(later - earlier >= 0.9 for earlier, later in zip(times, times[1:])), times


def test_the_caller_is_named_anew(starts, server, provider, desk):
    """Shows: SetCaller for transfers and later requests; the older name of the tag."""
    server.flow("/script", "<SetCallerId name='Sales: Ann' number='15550177'/>")
    server.flow("/second", "<SimpleTransfer>201</SimpleTransfer>")
    box = starts(ivr([asks(server.url("/script")), asks(server.url("/second"))]), phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = front.expect_call()
    shown = ringing.invite_message.get("from")
    assert "15550177" in shown and "Ann" in shown
    told = dict(asked(server, "/second")[0])
    assert (told["CallerIDNum"], told["CallerIDName"]) == ("15550177", "Sales: Ann")
    ringing.ring().answer()
    ringing.hang_up()
    call.hung_up()


@pytest.mark.parametrize("keys, stored", [("101#", "101"), ("12", "12"), ("", "")])
def test_digits_during_a_sound_in_the_background(starts, server, provider, keys, stored):
    """Shows: the first key stops the sound; # or two seconds end the number; without keys the variable is empty."""
    server.flow("/script", "<SetVar name='dest'>old</SetVar><PlaySound where='background' digitvar='dest'>ask.wav</PlaySound>")
    server.flow("/second", "")
    call = provider.call(starts(ivr([asks(server.url("/script")), asks(server.url("/second?d=$dest"))])), "100").answered()
    if keys:
        call.rtp.wait_loud(0.2)
        call.rtp.press(keys)
    call.hung_up(15)
    assert asked(server, "/second")[0][0] == ("d", stored)
    assert heard(call) == ([] if keys else ["ask"])


def test_digits_during_a_sound_in_the_foreground(starts, server, provider):
    """Shows: they do nothing."""
    server.flow("/script", "<PlaySound where='foreground' digitvar='dest'>ask.wav</PlaySound>")
    server.flow("/second", "")
    call = provider.call(starts(ivr([asks(server.url("/script")), asks(server.url("/second?d=$dest"))])), "100").answered()
    call.rtp.wait_loud(0.2)
    call.rtp.press("12")
    call.hung_up()
    assert asked(server, "/second")[0][0] == ("d", "") and heard(call) == ["ask"]


# ------------------------------------------------------------------ SimpleTransfer


def test_two_ring_at_once_and_the_first_wins(starts, server, provider, desk):
    """Shows: numbers with a comma; sound both ways; after the conversation the call ends, even when it was not final."""
    server.flow("/script", f"<SimpleTransfer final='no' timeout='10'>201,202</SimpleTransfer>{WRONG}")
    box = starts(ivr([asks(server.url("/script")), *AFTER]), phone("201"), phone("202"))
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100").answered()
    at_first, at_second = first.expect_call().ring(), second.expect_call().ring()
    at_second.answer()
    at_first.cancelled()
    there, back = audio.voice(1.5, seed=96), audio.voice(1.5, seed=97)
    speaking = [call.rtp.start_saying(there), at_second.rtp.start_saying(back)]
    for thread in speaking:
        thread.join()
    until(lambda: audio.likeness(there[3200:], at_second.rtp.heard()) >= 0.97 and audio.likeness(back[3200:], call.rtp.heard()) >= 0.97, 3, "what both said")
    at_second.hang_up()
    call.hung_up()
    assert heard(call) == []


FINAL = {"final='no'": True, "final='NO'": True, "": False, "final='yes'": False, "final='false'": False}


@pytest.mark.parametrize("attribute", FINAL)
def test_a_transfer_that_fails(starts, server, provider, desk, attribute):
    """Shows: I17, I18: only `no` goes on with the answer and the option; otherwise the call is over."""
    server.flow("/script", f"<SimpleTransfer {attribute} timeout='10'>201</SimpleTransfer>{plays('found')}")
    box = starts(ivr([asks(server.url("/script")), *AFTER]), phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    front.expect_call().refuse(486)
    call.hung_up()
    assert heard(call) == (["found", "after"] if FINAL[attribute] else [])


def test_a_transfer_rings_as_long_as_it_says(starts, server, provider, desk):
    """Shows: timeout in seconds."""
    server.flow("/script", "<SimpleTransfer final='no' timeout='2'>201</SimpleTransfer>")
    box = starts(ivr([asks(server.url("/script")), *AFTER]), phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = front.expect_call().ring()
    ringing.cancelled()
    assert 1.7 <= next(m.at for m in front.seen if m.method == "CANCEL") - ringing.invite_message.at <= 2.8
    call.hung_up()
    assert heard(call) == ["after"]


@pytest.mark.parametrize("timeout", ["0", "-5", "20s"])
def test_a_timeout_that_is_none_is_the_usual_one(starts, server, provider, desk, timeout):
    """Shows: I19: thirty seconds; that is, still ringing after three."""
    server.flow("/script", f"<SimpleTransfer final='no' timeout='{timeout}'>201</SimpleTransfer>")
    box = starts(ivr([asks(server.url("/script")), *AFTER]), phone("201"))
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = front.expect_call().ring()
    front.expect_nothing(lambda m: m.method == "CANCEL", 3)
    ringing.answer()
    call.hang_up()
    ringing.hung_up()


def test_a_blank_among_the_numbers_is_a_mistake(starts, server, provider, desk):
    """Shows: I21: nobody rings, the next action is done; blanks around the list are none."""
    server.flow("/script", "<SimpleTransfer>201, 202</SimpleTransfer><SimpleTransfer>\n  202\n</SimpleTransfer>")
    box = starts(ivr([asks(server.url("/script")), *AFTER]), phone("201"), phone("202"))
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100").answered()
    ringing = second.expect_call().ring().answer()
    assert first.count("INVITE") == 0
    ringing.hang_up()
    call.hung_up()


def test_a_transfer_to_an_outside_number(starts, server, provider):
    """Shows: it leaves over the trunk."""
    server.flow("/script", "<SimpleTransfer>15550122</SimpleTransfer>")
    box = starts(ivr([asks(server.url("/script"))]), trunk(host=provider.address))
    call = provider.call(box, "100").answered()
    out = provider.expect_call()
    assert "15550122" in out.invite_message.uri
    out.ring().answer()
    out.hang_up()
    call.hung_up()


# ------------------------------------------------------------------ the IVR itself


def test_options_of_a_context(starts, provider):
    """Shows: a key, several keys, a wrong one, none; the sound of `start` comes first and is stopped by a key."""
    options = {option: [does("play_sound", sound=f"{name}.wav"), does("hangup")]
               for option, name in (("d1", "found"), ("d23", "after"), ("invalid", "wrong"), ("timeout", "goodbye"))}
    box = starts(ivr([does("play_sound", sound="menu.wav")], **options))
    for keys, expected in (("1", "found"), ("23", "after"), ("9", "wrong"), ("", "goodbye")):
        call = provider.call(box, "100").answered()
        hearing.wait_for(call.rtp, PROMPTS, "menu")
        call.rtp.press(keys)
        call.hung_up(15)
        assert heard(call) == ["menu", expected], keys


def test_an_option_that_says_nothing_hangs_up(starts, provider):
    """Shows: no timeout option: the end."""
    box = starts(ivr([does("play_sound", sound="menu.wav")], timeout_ms=1000))
    call = provider.call(box, "100").answered()
    call.hung_up(15)
    assert heard(call) == ["menu"] and box.cdr()["ended_by"] == "flow"


def test_digits_are_recorded_and_matched(starts, server, provider):
    """Shows: record_digits into a variable, match_variable to another context, the variable in a request."""
    server.flow("/script", "")
    document = ivr([does("play_sound", sound="ask.wav"), does("record_digits", variable="pin", length=4), asks(server.url("/script?pin=$pin")),
                    does("match_variable", variable="pin", value="4711", context=2, option="start"), *AFTER])
    document["contexts"].append({"id": 2, "options": {"start": [does("play_sound", sound="found.wav"), does("hangup")]}})
    box = starts(document)
    for keys, expected in (("4711", "found"), ("0000", "after")):
        call = provider.call(box, "100").answered()
        hearing.wait_for(call.rtp, PROMPTS, "ask")
        call.rtp.press(keys)
        call.hung_up(15)
        assert heard(call) == ["ask", expected]
    assert [pairs[0] for pairs in asked(server)] == [("pin", "4711"), ("pin", "0000")]


def test_play_digits_and_silence(starts, provider):
    """Shows: silence of its length; a number is read out."""
    box = starts(ivr([does("play_silence", seconds=1), does("play_digits", digits="42"), *AFTER]))
    call = provider.call(box, "100").answered()
    call.hung_up(20)
    assert heard(call) == ["after"]
    assert audio.loud_seconds(call.rtp.heard()) > audio.loud_seconds(PROMPTS["after"]) + 0.3


def test_the_caller_is_named_by_the_ivr(starts, provider, desk):
    """Shows: set_caller_id_number and _name; transfer rings all of its numbers."""
    box = starts(ivr([does("set_caller_id_number", value="15550188"), does("set_caller_id_name", value="Sales"), does("transfer", numbers=["201", "202"], timeout=10)]),
                 phone("201"), phone("202"))
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100").answered()
    at_first, at_second = first.expect_call().ring(), second.expect_call().ring()
    assert all("15550188" in ringing.invite_message.get("from") and "Sales" in ringing.invite_message.get("from") for ringing in (at_first, at_second))
    at_first.answer()
    at_second.cancelled()
    at_first.hang_up()
    call.hung_up()


BAD_DOCUMENTS = {
    "no context": {"contexts": []},
    "an action nobody knows": {"contexts": [{"id": 1, "options": {"start": [{"action": "teleport"}]}}]},
    "an option nobody can press": {"contexts": [{"id": 1, "options": {"abc": []}}]},
    "a transfer to nobody": {"contexts": [{"id": 1, "options": {"start": [{"action": "transfer", "numbers": []}]}}]},
    "eleven numbers": {"contexts": [{"id": 1, "options": {"start": [{"action": "transfer", "numbers": [str(n) for n in range(201, 212)]}]}}]},
    "an address over ftp": {"contexts": [{"id": 1, "options": {"start": [{"action": "call_interactive", "url": "ftp://x.example/"}]}}]},
    "a method that there is not": {"contexts": [{"id": 1, "options": {"start": [{"action": "call_interactive", "url": "http://x.example/", "method": "PUT"}]}}]},
    "a list of lists": {"contexts": [[]]},
}


@pytest.mark.parametrize("case", BAD_DOCUMENTS)
def test_the_check_of_a_document(tipring, tmp_path, case):
    """Shows: `tipring check` refuses what is no IVR; so does the schema."""
    with pytest.raises(programs.json_schema().ValidationError):
        dialects.checked_ivr(BAD_DOCUMENTS[case])
    (tmp_path / "bad.json").write_text(json.dumps(BAD_DOCUMENTS[case]))
    box = tipring(dialects.call_interactive_file(tmp_path / "good.json", ivr(AFTER)), started=False)
    config = box.config_file.read_text()
    assert box.run("check", str(box.config_file)).returncode == 0
    box.config_file.write_text(config.replace("good.json", "bad.json"))
    done = box.run("check", str(box.config_file))
    assert done.returncode == 1 and "bad.json" in done.stdout + done.stderr, done.stdout + done.stderr
