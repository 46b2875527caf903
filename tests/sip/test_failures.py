"""What the caller gets when the application's server fails, and how a flow ends a call itself."""
import pytest

import audio
from box import flow, trunk
from flow_server import Answer, gzipped
from sipp import free_port
from waiting import until

# ------------------------------------------------------------------ endings


def test_hangup_ends_an_answered_call_with_bye(tipring, server, provider):
    """Shows: Hangup sends BYE; its tag is the record's label."""
    server.flow("/flow", "<Say>Good bye.</Say><Hangup tag='closed'/><Say>Never heard.</Say>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.hung_up()
    record = box.cdr()
    assert (record["label"], record["ended_by"], record["q850"]) == ("closed", "flow", 16)


def test_the_end_of_the_document_hangs_up(tipring, server, provider):
    """Shows: flow_end."""
    server.flow("/flow", "")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["label"] == "flow_end"


@pytest.mark.parametrize("command, status", [("<Hangup tag='no'/>", 603), ("<Reject/>", 603), ("<Reject reason='rejected'/>", 603), ("<Reject reason='busy'/>", 486)])
def test_a_call_can_be_refused_before_it_is_answered(tipring, server, provider, command, status):
    """Shows: Hangup before answer is 603, Reject 603, Reject busy 486; nothing is charged."""
    server.flow("/flow", command)
    box = tipring(flow(url=server.url("/flow"), auto_answer=False))
    provider.call(box, "100").refused(status)
    assert box.cdr()["answered_after_ms"] is None


def test_reject_after_answer_hangs_up(tipring, server, provider):
    """Shows: Reject on an answered call acts as Hangup."""
    server.flow("/flow", "<Reject reason='busy'/>")
    provider.call(tipring(), "100").answered().hung_up()


# ------------------------------------------------------------------ Callback failures run the Error block

BOMB = gzipped(b"<Response>" + b" " * 60_000_000 + b"</Response>")

FAILURES = {
    "status 500": Answer("<Response><Hangup tag='wrong'/></Response>", status=500),
    "status 404": Answer("<Response><Hangup tag='wrong'/></Response>", status=404),
    "no answer in time": Answer("<Response/>", delay_s=30),
    "a byte a second": Answer("<Response><Hangup tag='wrong'/></Response>", drip_s=1),
    "reset": Answer(reset=True),
    "cut off": Answer("<Response><Hangup tag='wrong'/></Response>", length=500),
    "reset in the body": Answer("<Response><Hangup tag='wrong'/></Response>", reset_after=12),
    "not well formed": Answer("<Response><Hangup tag='wrong'></Response>"),
    "wrong root": Answer("<Answer><Hangup tag='wrong'/></Answer>"),
    "two roots": Answer("<Response/><Response/>"),
    "words after the end": Answer("<Response><Hangup tag='wrong'/></Response> and more <"),
    "doctype": Answer("<!DOCTYPE Response [<!ENTITY a 'aaaa'>]><Response><Say>&a;</Say></Response>"),
    "billion laughs": Answer("<!DOCTYPE Response [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)) + "]><Response><Say>&j;</Say></Response>"),
    "external entity": Answer("<!DOCTYPE Response [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><Response><Say>&a;</Say></Response>"),
    "invalid UTF-8": Answer(b"<Response><Say>\xff\xfe\xfd</Say></Response>"),
    "64 KiB and more": Answer(b"<Response>" + b"<Pause length='1'/>" * 4000 + b"</Response>"),
    "a hundred MiB": Answer(b" " * (1 << 20), repeat=100),
    "gzip bomb": Answer(BOMB, headers=[("Content-Encoding", "gzip")]),
    "gzip that is none": Answer("<Response><Hangup tag='wrong'/></Response>", headers=[("Content-Encoding", "gzip")]),
    "too deep": Answer("<Response>" + "<Record>" * 40 + "</Record>" * 40 + "</Response>"),
    "too many elements": Answer("<Response>" + "<Pause/>" * 1001 + "</Response>"),
    "audio": Answer(audio.wav_bytes(audio.voice(0.1)), content_type="audio/mpeg"),
    "json": Answer('{"module":"hangup"}', content_type="application/json"),
    "xml called audio": Answer("<Response><Hangup tag='wrong'/></Response>", content_type="audio/wav"),
    "not XML": Answer("Error: database gone", content_type="text/html"),
    "redirect to nowhere": Answer(status=302, headers=[("Location", "http://127.0.0.1:9/none")]),
    "redirect to a file": Answer(status=302, headers=[("Location", "file:///etc/passwd")]),
    "redirect without Location": Answer(status=302),
    "redirect loop": Answer(status=302, headers=[("Location", "/next")]),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_callback_failure_runs_its_error_block(tipring, server, provider, failure):
    """Shows: whatever goes wrong with the answer, the Error block runs, in time, and nothing of the bad answer does."""
    server.answer("/next", FAILURES[failure])
    server.flow("/flow", f"<Callback url='{server.url('/next')}' timeout='1500'><Error><Curl url='{server.url('/in-error')}'/><Hangup tag='cb-failed'/></Error></Callback><Hangup tag='after'/>")
    server.flow("/in-error", "")
    box = tipring()
    before_kb = box.memory_kb()
    call = provider.call(box, "100").answered()
    seen = server.wait_for("/in-error", timeout=8)
    call.hung_up()
    assert seen.at - server.seen("/next")[0].at <= 1.5 + 0.4
    assert box.cdr()["label"] == "cb-failed"
    assert box.memory_kb() - before_kb < 12_000, f"memory grew by {box.memory_kb() - before_kb} kB"
    if failure == "redirect loop":
        assert len(server.seen("/next")) == 6, "the request and five redirects"


def test_timeout_runs_the_error_block_at_its_time(tipring, server, provider):
    """Shows: timeout='900' is 900 ms, give or take 250 (Opentact O7)."""
    server.answer("/next", Answer("<Response/>", delay_s=20))
    server.flow("/flow", f"<Callback url='{server.url('/next')}' timeout='900'><Error><Curl url='{server.url('/in-error')}'/></Error></Callback>")
    server.flow("/in-error", "")
    provider.call(tipring(), "100").answered().hung_up()
    waited = server.seen("/in-error")[0].at - server.seen("/next")[0].at
    assert 0.65 <= waited <= 1.2, f"{waited:.3f} s"


REFUSED = {
    "nothing listens": "http://127.0.0.1:{closed}/x",
    "not on the list": "http://127.0.0.1:{other}/x",
    "no such name": "http://no-such-host.invalid/x",
    "no url": "",
    "another scheme": "ftp://127.0.0.1/x",
    "a file": "file:///etc/passwd",
    "this machine by another spelling": "http://0x7f000001:{other}/x",
    "this machine in decimal": "http://2130706433:{other}/x",
    "this machine as v6": "http://[::ffff:127.0.0.1]:{other}/x",
    "this machine by name": "http://localhost:{other}/x",
    "link-local metadata": "http://169.254.169.254/latest",
    "nobody's address": "http://0.0.0.0:{other}/x",
    "line break in the url": "http://127.0.0.1:{other}/x&#13;&#10;X-Injected: 1",
}


@pytest.mark.parametrize("case", REFUSED)
def test_addresses_a_flow_may_not_reach(tipring, server, provider, case, _kept):
    """Shows: the Error block runs at once and the forbidden server sees no connection."""
    from flow_server import FlowServer
    import socket
    other = _kept.add(FlowServer())
    closed = free_port("127.0.0.1", socket.SOCK_STREAM)
    url = REFUSED[case].format(closed=closed, other=other.port)
    server.flow("/flow", f"<Callback url='{url}' timeout='4000'><Error><Curl url='{server.url('/in-error')}'/></Error></Callback>")
    server.flow("/in-error", "")
    allow = [server.authority] + ([f"127.0.0.1:{closed}"] if case == "nothing listens" else [])
    call = provider.call(tipring(allow=allow), "100").answered()
    server.wait_for("/in-error")
    call.hung_up()
    assert other.requests == []


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "G ET"])
def test_a_method_that_is_not_on_the_list_fails(tipring, server, provider, method):
    """Shows: POST, GET, PATCH, DELETE and no other; no request is made."""
    server.flow("/flow", f"<Callback url='{server.url('/next')}' method='{method}'><Error><Hangup tag='refused'/></Error></Callback>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["label"] == "refused"
    assert server.seen("/next") == []


def test_without_an_error_block_the_flow_goes_on(tipring, server, provider):
    """Shows: failure handling, step 3."""
    server.flow("/flow", f"<Callback url='{server.url('/missing')}'/><Hangup tag='went on'/>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["label"] == "went on"


def test_an_error_sibling_after_play_runs(tipring, server, provider):
    """Shows: failure handling, step 2: Play of a missing file, the next sibling Error (O21); after a success it is skipped."""
    server.flow("/flow", f"<Play>{server.url('/missing.wav')}</Play><Error><Play>{server.url('/here.wav')}</Play></Error><Error><Hangup tag='wrong'/></Error><Hangup tag='end'/>")
    sound = audio.voice(0.8, seed=4)
    server.sound("/here.wav", audio.wav_bytes(sound))
    box = tipring()
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert audio.likeness(sound, call.rtp.heard()) >= 0.99
    assert box.cdr()["label"] == "end"


@pytest.mark.parametrize("data, kind", [(b"", "audio/wav"), (b"not a sound at all", "audio/wav"), (b"RIFF\xff\xff\xff\xffWAVEfmt ", "audio/wav"),
                                        (b"\xff\xfb\x90\x00" + b"\0" * 50, "audio/mpeg"), (b"<html>moved</html>", "text/html")])
def test_a_broken_sound_file_fails_its_play_and_nothing_else(tipring, server, provider, data, kind):
    """Shows: Play of rubbish runs its Error block."""
    server.sound("/x.wav", data, kind)
    server.flow("/flow", f"<Play url='{server.url('/x.wav')}'><Error><Hangup tag='play-failed'/></Error></Play>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["label"] == "play-failed"


def test_a_wav_that_lies_about_its_length_is_bounded(tipring, server, provider):
    """Shows: a data length of 2^32-1 plays what is there, or fails; memory stays."""
    whole = bytearray(audio.wav_bytes(audio.voice(0.5, seed=2)))
    whole[40:44] = b"\xff\xff\xff\xff"
    server.sound("/x.wav", bytes(whole))
    server.flow("/flow", f"<Play url='{server.url('/x.wav')}'/><Hangup/>")
    box = tipring()
    before_kb = box.memory_kb()
    provider.call(box, "100").answered().hung_up()
    assert box.memory_kb() - before_kb < 12_000


# ------------------------------------------------------------------ the first request


def test_a_fallback_file_answers_for_a_server_that_is_down(tipring, server, provider, tmp_path):
    """Shows: O3, first half."""
    fallback = tmp_path / "fallback.xml"
    fallback.write_text("<Response><Say>Our computer is away.</Say><Hangup tag='fallback'/></Response>")
    box = tipring(flow(url=server.url("/flow"), fallback_file=str(fallback)))     # /flow answers 404
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert audio.loud_seconds(call.rtp.heard()) > 0.5
    assert box.cdr()["label"] == "fallback"


@pytest.mark.parametrize("answer", [Answer(status=500), Answer("<Response><Hangup tag='wrong'></Response>"), Answer(delay_s=30)], ids=["500", "bad XML", "slow"])
def test_without_a_fallback_the_caller_hears_an_error_and_is_hung_up(tipring, server, provider, answer):
    """Shows: the system's error prompt, then the end, with the label flow_error or document_error."""
    server.answer("/flow", answer)
    box = tipring(flow(url=server.url("/flow"), timeout="1s"))
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert audio.loud_seconds(call.rtp.heard()) > 0.2, "nothing was said to the caller"
    assert box.cdr()["label"] in ("flow_error", "document_error")


# ------------------------------------------------------------------ loops


def test_documents_that_lead_in_a_circle_end(tipring, server, provider):
    """Shows: A, B, A, B ...: at the 11th load without progress the call ends (O9), after at least a second between the last ones."""
    server.flow("/flow", f"<Callback url='{server.url('/b')}'/>")
    server.flow("/b", f"<Callback url='{server.url('/flow')}'/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    call.hung_up(timeout=30)
    loads = len(server.requests)
    assert 10 <= loads <= 11, f"{loads} documents were loaded"
    assert box.cdr()["label"] in ("document_error", "flow_error")


def test_a_failing_server_disturbs_no_other_call(tipring, server, provider):
    """Shows: while ten calls hang on a server that drips, another one's prompt is undisturbed to the packet."""
    server.answer("/drip", Answer("<Response/>" + " " * 100, drip_s=1))
    server.flow("/flow", f"<Callback url='{server.url('/drip')}' timeout='5000'/>")
    server.flow("/good", f"<Play>{server.url('/prompt.wav')}</Play>")
    sound = audio.voice(3, seed=12)
    server.sound("/prompt.wav", audio.wav_bytes(sound))
    box = tipring(flow(url=server.url("/flow")), flow("good", url=server.url("/good"), numbers=["777"]))
    stuck = [provider.call(box, "100").answered() for _ in range(10)]
    until(lambda: len(server.seen("/drip")) == 10, what="ten calls waiting for the slow server")
    good = provider.call(box, "777").answered()
    good.hung_up()
    for call in stuck:
        call.hung_up(timeout=15)
    assert audio.likeness(sound, good.rtp.heard()) >= 0.99
    assert good.rtp.lost() == 0
    packets = good.rtp.audio_packets()
    assert max(b.at - a.at for a, b in zip(packets, packets[1:])) < 0.06


# ------------------------------------------------------------------ unknown and odd commands


def test_an_unknown_command_is_skipped_and_reported(tipring, server, provider):
    """Shows: O4."""
    server.flow("/flow", "<Conference><Hangup tag='inside'/></Conference><x:Hangup xmlns:x='urn:x' tag='prefixed'/><Hangup tag='end'/>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    record = box.cdr()
    assert record["label"] == "end"
    assert [s for s in record["steps"] if s["command"] == "Conference"][0]["success"] is False


def test_strict_makes_an_unknown_command_an_error_of_the_document(tipring, server, provider):
    """Shows: strict = true."""
    server.flow("/flow", "<Conference/><Hangup tag='end'/>")
    box = tipring(flow(url=server.url("/flow"), strict=True))
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["label"] in ("document_error", "flow_error")


def test_steps_of_the_flow_are_in_the_record(tipring, server, provider):
    """Shows: each command with its place, result and time."""
    server.flow("/flow", f"<Answer/><Pause length='100'/><Play>{server.url('/missing.wav')}</Play><Hangup tag='x'/>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    steps = box.cdr()["steps"]
    assert [(s["command"], s["success"]) for s in steps] == [("Answer", True), ("Pause", True), ("Play", False), ("Hangup", True)]
    assert steps[2]["path"].startswith("Play[") and steps[2]["reason"]
    assert steps == sorted(steps, key=lambda s: s["at_ms"])


def test_codecs_are_taken_in_the_lines_order(tipring, server, provider):
    """Shows: with PCMA first on the line, an offer of both is answered PCMA."""
    server.flow("/flow", "<Pause length='300'/>")
    call = provider.call(tipring(trunk(codecs=["PCMA", "PCMU"])), "100", codecs=["PCMU", "PCMA"]).answered()
    assert call.answer_sdp.formats[0] == 8
    call.hung_up()
