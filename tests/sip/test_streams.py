"""Streams of TwiML: what a WebSocket server is told, that it hears the caller and is heard, and what is said of it afterwards."""
import base64
import json
import re
import socket
import threading
import time

import numpy as np
import pytest

import audio
from box import phone
from dialects import fields
from hostile import HostileServer, never_answers
from stream_server import LIKE, told_events
from waiting import until

SID = "[0-9a-f]{32}"

# ------------------------------------------------------------------ Connect


def test_the_greeting_and_the_start(runs, server, streams, provider):
    """Shows: connected, then start, each number a text; the names of account, call and stream; parameters; one track."""
    there = streams()
    box = runs(f'<Connect><Stream url="{there.url("/in?x=1")}" name="s1"><Parameter name="k" value="v &amp; w"/><Parameter name="n" value="2"/></Stream></Connect>', there)
    call = provider.call(box, "100").answered()
    connection = there.connection()
    start = connection.wait_for("start")
    first = connection.messages[0][1]
    assert first == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert connection.messages[1][1] is start and connection.path == "/in?x=1"
    inner = start["start"]
    told = fields(server.seen("/voice")[0])
    assert start["sequenceNumber"] == "1" and re.fullmatch("MZ" + SID, start["streamSid"]) and inner["streamSid"] == start["streamSid"]
    assert (inner["accountSid"], inner["callSid"]) == (told["AccountSid"], told["CallSid"])
    assert inner["tracks"] == ["inbound"] and inner["customParameters"] == {"k": "v & w", "n": "2"}
    assert inner["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    call.hang_up()
    connection.wait_closed()


def test_the_server_hears_the_caller_in_steps_of_20_ms(runs, streams, provider):
    """Shows: 160 bytes a message, chunks and numbers without a gap, timestamps 20 ms apart; what the caller said."""
    there = streams()
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    connection = there.connection()
    connection.wait_for("start")
    words = audio.voice(1.5, seed=101)
    call.rtp.say(words)
    until(lambda: audio.likeness(words, connection.heard()) >= LIKE, 3, lambda: f"the caller's words ({audio.likeness(words, connection.heard()):.3f})")
    call.hang_up()
    connection.wait_closed()
    media = connection.of("media")
    assert {m["media"]["track"] for m in media} == {"inbound"} and {len(base64.b64decode(m["media"]["payload"])) for m in media} == {160}
    assert [m["media"]["chunk"] for m in media] == [str(number) for number in range(1, len(media) + 1)]
    stamps = [int(m["media"]["timestamp"]) for m in media]
    assert {later - earlier for earlier, later in zip(stamps, stamps[1:])} == {20}
    assert all(isinstance(m["media"][key], str) for m in media for key in ("chunk", "timestamp"))
    numbers = [int(m["sequenceNumber"]) for _, m in connection.messages if "sequenceNumber" in m]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {m["streamSid"] for m in media} == {connection.sid}


def test_the_caller_hears_the_server_and_marks_come_back_when_heard(runs, streams, provider):
    """Shows: audio that comes faster than it is played waits; a mark comes back when what was before it has been heard."""
    words = audio.voice(2, seed=102)

    def speaks(connection):
        connection.say(words)
        connection.mark("spoken")
    there = streams(speaks)
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    connection = there.connection()
    began = time.monotonic()
    mark = connection.wait_for("mark", timeout=8)
    assert mark["mark"] == {"name": "spoken"} and mark["streamSid"] == connection.sid
    assert 1.6 <= time.monotonic() - began <= 3.5
    until(lambda: audio.likeness(words, call.rtp.heard()) >= LIKE, 3, lambda: f"the server's words ({audio.likeness(words, call.rtp.heard()):.3f})")
    call.hang_up()
    connection.wait_closed()


def test_clear_silences_the_server_and_gives_its_marks_back(runs, streams, provider):
    """Shows: barge-in: what waits is thrown away, its marks come back at once, and what is said afterwards is heard."""
    after = audio.voice(1, seed=104)
    there = streams(lambda connection: (connection.say(audio.voice(20, seed=103)), connection.mark("one"), connection.mark("two")))
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    connection = there.connection()
    call.rtp.wait_loud(0.5)
    connection.tell("clear")
    cleared = time.monotonic()
    connection.wait_for("mark", 2, timeout=2)
    assert [m["mark"]["name"] for m in connection.of("mark")] == ["one", "two"] and time.monotonic() - cleared < 1
    call.rtp.wait_quiet(0.3, timeout=2)
    connection.say(after)
    until(lambda: audio.likeness(after, call.rtp.heard()) >= LIKE, 4, "what was said afterwards")
    call.hang_up()
    connection.wait_closed()


@pytest.mark.parametrize("piece", [1, 37, 160, 1000, 4000])
def test_the_server_may_say_it_in_pieces_of_any_size(runs, streams, provider, piece):
    """Shows: payloads that are no whole frame are put together."""
    words = audio.voice(0.5 if piece == 1 else 1, seed=105)
    there = streams(lambda connection: connection.say(words, piece))
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    until(lambda: audio.likeness(words, call.rtp.heard()) >= LIKE, 5, lambda: f"the words ({audio.likeness(words, call.rtp.heard()):.3f})")
    call.hang_up()


def test_keys_are_told(runs, streams, provider):
    """Shows: dtmf with the digit, once for each key, in order."""
    there = streams()
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    connection = there.connection()
    connection.wait_for("start")
    call.rtp.press("15*#")
    connection.wait_for("dtmf", 4)
    keys = connection.of("dtmf")
    assert "".join(m["dtmf"]["digit"] for m in keys) == "15*#"
    assert all(m["streamSid"] == connection.sid and m["dtmf"]["track"] and isinstance(m["sequenceNumber"], str) for m in keys)
    call.hang_up()


def test_the_caller_leaves(runs, server, streams, provider):
    """Shows: stop with the names, the connection is closed, stream-stopped is told."""
    there = streams()
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}" name="s1" statusCallback="/status"/></Connect>', there)
    call = provider.call(box, "100").answered()
    connection = there.connection()
    start = connection.wait_for("start")["start"]
    call.hang_up()
    stop = connection.wait_for("stop")
    assert stop["stop"] == {"accountSid": start["accountSid"], "callSid": start["callSid"]} and stop["streamSid"] == connection.sid
    connection.wait_closed()
    until(lambda: told_events(server) == ["stream-started", "stream-stopped"], 5, lambda: f"both events ({told_events(server)})")
    told = fields(server.seen("/status")[0])
    assert (told["StreamSid"], told["StreamName"], told["CallSid"], told["AccountSid"]) == (connection.sid, "s1", start["callSid"], start["accountSid"])
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", told["Timestamp"])
    assert box.cdr()["ended_by"] == "caller"


def test_the_server_leaves_and_the_flow_goes_on(runs, server, streams, provider):
    """Shows: the action gets the stream's name and no error."""
    there = streams(lambda connection: connection.socket.close())
    server.flow("/after", "<Hangup/>")
    call = provider.call(runs(f'<Connect action="/after"><Stream url="{there.url()}" statusCallback="/status"/></Connect>', there), "100").answered()
    call.hung_up()
    told = fields(server.seen("/after")[0])
    assert told["StreamSid"] == there.connection().sid and "StreamError" not in told and told["CallStatus"] == "in-progress"
    until(lambda: told_events(server) == ["stream-started", "stream-stopped"], 5, lambda: f"both events ({told_events(server)})")


def test_without_an_action_the_next_verb_follows(runs, server, streams, provider):
    """Shows: after the server's end the document goes on."""
    words = audio.voice(1, seed=106)
    server.sound("/words.wav", audio.wav_bytes(words))
    there = streams(lambda connection: connection.socket.close())
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect><Play>/words.wav</Play>', there), "100").answered()
    call.hung_up()
    assert audio.likeness(words, call.rtp.heard()) >= LIKE


def test_a_server_that_may_not_be_reached_is_an_error(runs, server, streams, provider):
    """Shows: ws to an address that is not allowed: no connection, StreamError in the action, stream-error told."""
    there = streams()
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}" statusCallback="/status"/></Connect>')
    provider.call(box, "100").answered().hung_up(15)
    assert fields(server.seen("/after")[0])["StreamError"] and there.connections == []
    until(lambda: "stream-error" in told_events(server), 5, "stream-error")


def test_too_much_that_waits_is_an_error(runs, server, streams, provider):
    """Shows: more than 60 s of sound ahead of the caller."""
    there = streams(lambda connection: connection.say(np.tile(audio.voice(1, seed=107), 70), 8000))
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}" statusCallback="/status"/></Connect>', there)
    provider.call(box, "100").answered().hung_up(20)
    assert fields(server.seen("/after")[0])["StreamError"]
    until(lambda: "stream-error" in told_events(server), 5, "stream-error")


def test_a_caller_who_sends_nothing_is_silence(runs, streams, provider):
    """Shows: media goes on at its pace without any packet of the caller's."""
    there = streams()
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    connection = there.connection()
    connection.wait_for("media")
    time.sleep(2)                       # measures a rate
    arrived = [(at, int(m["media"]["timestamp"]) / 1000) for at, m in list(connection.messages) if m["event"] == "media"]
    assert 90 <= len(arrived) <= 170
    drift = [at - stamp for at, stamp in arrived]
    assert max(drift) - min(drift) <= 0.4, f"{max(drift) - min(drift):.3f} s between the clocks"
    assert audio.loud_seconds(connection.heard()) == 0
    call.hang_up()


def test_what_a_server_says_at_its_own_pace_is_heard_whole(runs, streams, provider):
    """Shows: 20 ms every 20 ms: no gap and nothing twice."""
    words, spoken = audio.voice(3, seed=114), threading.Event()

    def speaks(connection):
        payload = audio.encode(words)
        for _ in range(5):
            began, late = time.monotonic(), 0.0
            for number, at in enumerate(range(0, len(payload), 160)):
                due = began + number * 0.02
                time.sleep(max(0, due - time.monotonic()))
                late = max(late, time.monotonic() - due)
                connection.tell("media", media={"payload": base64.b64encode(payload[at:at + 160]).decode()})
            if late < 0.01:
                break           # otherwise it lost its own pace, and says it again
        spoken.set()
    there = streams(speaks)
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    assert spoken.wait(25)
    until(lambda: audio.likeness(words, call.rtp.heard()) >= LIKE, 3, lambda: f"the words ({audio.likeness(words, call.rtp.heard()):.3f})")
    call.hang_up()


def test_marks_without_sound_come_back_at_once(runs, streams, provider):
    """Shows: an empty queue; names of any letters; their order."""
    names = ["a", "", "\u00fc \U0001F600", "a"]
    there = streams(lambda connection: [connection.mark(name) for name in names])
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    connection = there.connection()
    connection.wait_for("mark", 4, timeout=2)
    assert [m["mark"]["name"] for m in connection.of("mark")] == names
    call.hang_up()


HARMLESS = ['{"event": "foo"}', '{"event": "media", "streamSid": "MZ0", "media": {"payload": "//8="}}', '{"event": "media", "media": {"payload": ""}}', b"\x00\x01",
            json.dumps({"event": "x", "padding": "a" * 65_000})]
HARMFUL = ["words", "[1]", "{}", '{"event": "media", "media": {"payload": "%%"}}', '{"event": "media", "media": {}}', json.dumps({"event": "x", "padding": "a" * 66_000})]


def test_messages_of_no_use_are_passed_over(runs, streams, provider):
    """Shows: unknown events, another stream's name, nothing in it, binary frames, almost 64 KiB: the stream goes on."""
    there = streams(lambda connection: ([connection.socket.send(message) for message in HARMLESS], connection.mark("still here")))
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    assert there.connection().wait_for("mark")["mark"]["name"] == "still here"
    call.hang_up()


@pytest.mark.parametrize("message", HARMFUL, ids=range(len(HARMFUL)))
def test_messages_that_make_no_sense_end_the_stream(runs, server, streams, provider, message):
    """Shows: no JSON, no event, no sound, more than 64 KiB: stream-error, and the flow goes on with StreamError."""
    there = streams(lambda connection: connection.socket.send(message))
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}" statusCallback="/status"/></Connect>', there)
    provider.call(box, "100").answered().hung_up()
    assert fields(server.seen("/after")[0])["StreamError"]
    until(lambda: "stream-error" in told_events(server), 5, "stream-error")


def test_a_connection_that_breaks_off_is_an_error(runs, server, streams, provider):
    """Shows: the end of TCP without the WebSocket's own."""
    there = streams(lambda connection: connection.socket.socket.shutdown(socket.SHUT_RDWR))
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}" statusCallback="/status"/></Connect>', there)
    provider.call(box, "100").answered().hung_up()
    assert fields(server.seen("/after")[0])["StreamError"]
    until(lambda: "stream-error" in told_events(server), 5, "stream-error")


def test_a_server_that_never_shakes_hands(runs, server, provider, _kept):
    """Shows: given up after ten seconds; the flow goes on."""
    silent = _kept.add(HostileServer(never_answers))
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="ws://{silent.authority}/" statusCallback="/status"/></Connect>', allow=[silent.authority])
    call = provider.call(box, "100").answered()
    answered = time.monotonic()
    assert 9 <= call.hung_up(20).at - answered <= 12
    assert fields(server.seen("/after")[0])["StreamError"]


def test_a_caller_who_leaves_while_the_server_does_not_shake_hands(runs, provider, _kept):
    """Shows: the call is over at once and nothing is left."""
    silent = _kept.add(HostileServer(never_answers))
    box = runs(f'<Connect><Stream url="ws://{silent.authority}/"/></Connect>', allow=[silent.authority])
    call = provider.call(box, "100").answered()
    until(lambda: silent.requests, 5, "the request")
    call.hang_up()
    box.wait_idle(2)
    assert box.cdr()["ended_by"] == "caller"


def test_two_calls_do_not_mix(runs, streams, provider):
    """Shows: each server's connection hears its own caller and is heard by him."""
    there = streams()
    box = runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there)
    calls, connections = [], []
    for number in (1, 2):
        calls.append(provider.call(box, "100", user=f"1555010{number}").answered())
        connections.append(there.connection(number))
        connections[-1].wait_for("start")
    words = [audio.voice(1, seed=115 + number) for number in range(4)]
    for thread in [call.rtp.start_saying(said) for call, said in zip(calls, words)]:
        thread.join()
    for connection, said in zip(connections, words[2:]):
        connection.say(said)
    for own in (0, 1):
        until(lambda: audio.likeness(words[own], connections[own].heard()) >= LIKE and audio.likeness(words[2 + own], calls[own].rtp.heard()) >= LIKE, 4, "each other's words")
        assert audio.likeness(words[1 - own], connections[own].heard()) < 0.3
    for call in calls:
        call.hang_up()


def test_a_caller_on_hold(runs, streams, provider):
    """Shows: media goes on without a seam in its timestamps; afterwards both hear each other again."""
    there, words = streams(), audio.voice(1, seed=120)
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100", codecs=("PCMA",)).answered()
    call.rtp.codec = "PCMA"
    connection = there.connection()
    connection.wait_for("media")
    call.reinvite("sendonly")
    call.reinvite("sendrecv")
    call.rtp.say(words)
    connection.say(words)
    until(lambda: audio.likeness(words, connection.heard()) >= LIKE and audio.likeness(words, call.rtp.heard()) >= LIKE, 4, "each other's words")
    stamps = [int(m["media"]["timestamp"]) for m in connection.of("media")]
    assert {later - earlier for earlier, later in zip(stamps, stamps[1:])} == {20}
    call.hang_up()


def test_the_operator_ends_the_call(runs, streams, provider):
    """Shows: `tipring call hangup`: stop, and the connection is closed."""
    there = streams()
    box = runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there)
    call = provider.call(box, "100").answered()
    there.connection().wait_for("media")
    box.run("call", "hangup", box.calls()[0]["id"], check=0)
    call.hung_up()
    there.connection().wait_for("stop")
    there.connection().wait_closed()


# ------------------------------------------------------------------ Start and Stop


def test_a_stream_beside_the_verbs_hears_both_sides(runs, server, streams, provider):
    """Shows: both_tracks: the caller inbound, the prompt outbound, each with chunks of its own; Stop ends it before the call does."""
    words, prompt = audio.voice(1, seed=108), audio.voice(1.5, seed=109)
    server.sound("/prompt.wav", audio.wav_bytes(prompt))
    there = streams()
    box = runs(f'<Start><Stream url="{there.url()}" name="s1" track="both_tracks" statusCallback="/status"/></Start><Pause length="1"/>'
                 f'<Play>/prompt.wav</Play><Stop><Stream name="s1"/></Stop><Pause length="2"/>', there)
    call = provider.call(box, "100").answered()
    connection = there.connection()
    assert connection.wait_for("start")["start"]["tracks"] == ["inbound", "outbound"]
    call.rtp.start_saying(words)
    connection.wait_closed(8)
    stopped = time.monotonic()
    assert connection.of("stop")
    assert audio.likeness(words, connection.heard("inbound")) >= LIKE and audio.likeness(prompt, connection.heard("outbound")) >= LIKE
    for track in ("inbound", "outbound"):
        chunks = [int(m["media"]["chunk"]) for m in connection.of("media") if m["media"]["track"] == track]
        assert chunks == list(range(1, len(chunks) + 1))
    assert call.hung_up().at - stopped >= 1
    until(lambda: told_events(server) == ["stream-started", "stream-stopped"], 5, lambda: f"both events ({told_events(server)})")


@pytest.mark.parametrize("track, tracks", [("inbound_track", ["inbound"]), ("outbound_track", ["outbound"])])
def test_one_track_alone(runs, server, streams, provider, track, tracks):
    """Shows: only what was asked for is sent."""
    there = streams()
    call = provider.call(runs(f'<Start><Stream url="{there.url()}" track="{track}"/></Start><Pause length="1"/><Say>One two three.</Say>', there), "100").answered()
    connection = there.connection()
    call.rtp.say(audio.voice(1, seed=110))
    call.hung_up()
    connection.wait_closed()
    assert connection.wait_for("start")["start"]["tracks"] == tracks
    assert {m["media"]["track"] for m in connection.of("media")} == set(tracks)


def test_a_stream_that_only_listens_is_not_heard(runs, streams, provider):
    """Shows: what the server of Start says is not played, and no mark comes back."""
    there = streams(lambda connection: (connection.say(audio.voice(1, seed=111)), connection.mark("m"), connection.tell("clear")))
    call = provider.call(runs(f'<Start><Stream url="{there.url()}"/></Start><Pause length="2"/>', there), "100").answered()
    there.connection().wait_for("start")
    call.hung_up()
    there.connection().wait_closed()
    assert audio.loud_seconds(call.rtp.heard()) == 0 and there.connection().of("mark") == []


def test_a_stream_goes_on_over_documents_until_the_call_ends(runs, server, streams, provider):
    """Shows: Redirect does not end it; the end of the call does, with stop and stream-stopped."""
    server.flow("/second", '<Pause length="2"/>')
    there = streams()
    box = runs(f'<Start><Stream url="{there.url()}" statusCallback="/status"/></Start><Redirect>/second</Redirect>', there)
    call = provider.call(box, "100").answered()
    connection = there.connection()
    words = audio.voice(1, seed=112)
    server.wait_for("/second")
    call.rtp.say(words)
    call.hung_up()
    connection.wait_closed()
    assert connection.of("stop") and audio.likeness(words, connection.heard()) >= LIKE
    until(lambda: told_events(server) == ["stream-started", "stream-stopped"], 5, lambda: f"both events ({told_events(server)})")


def test_a_conversation_is_heard_on_both_sides(runs, streams, provider, desk):
    """Shows: Dial: the caller inbound, the telephone outbound, the keys once; both speak as ever."""
    there = streams()
    box = runs(f'<Start><Stream url="{there.url()}" track="both_tracks"/></Start><Dial>201</Dial>', there, tables=[phone("201")])
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    other = front.expect_call().ring().answer()
    out, back = audio.voice(1.5, seed=121), audio.voice(1.5, seed=122)
    for thread in [call.rtp.start_saying(out), other.rtp.start_saying(back)]:
        thread.join()
    call.rtp.press("7")
    connection = there.connection()
    connection.wait_for("dtmf")
    assert [m["dtmf"]["digit"] for m in connection.of("dtmf")] == ["7"]
    assert audio.likeness(out[3200:], connection.heard("inbound")) >= LIKE and audio.likeness(back[3200:], connection.heard("outbound")) >= LIKE
    assert audio.likeness(out[3200:], other.rtp.heard()) >= LIKE
    other.hang_up()
    call.hung_up()


def test_keys_reach_the_stream_and_the_gather(runs, server, streams, provider):
    """Shows: both are told of the same keys."""
    server.flow("/choice", "<Hangup/>")
    there = streams()
    call = provider.call(runs(f'<Start><Stream url="{there.url()}"/></Start><Gather numDigits="2" action="/choice"/>', there), "100").answered()
    connection = there.connection()
    connection.wait_for("start")
    call.rtp.press("12")
    call.hung_up()
    assert fields(server.seen("/choice")[0])["Digits"] == "12"
    assert "".join(m["dtmf"]["digit"] for m in connection.of("dtmf")) == "12"


def test_a_server_that_leaves_does_not_end_the_call(runs, server, streams, provider):
    """Shows: Start: stream-stopped, and the verbs go on."""
    there = streams(lambda connection: connection.socket.close())
    box = runs(f'<Start><Stream url="{there.url()}" statusCallback="/status"/></Start><Pause length="2"/>', there)
    call = provider.call(box, "100").answered()
    there.connection().wait_closed()
    closed = time.monotonic()
    assert call.hung_up().at - closed >= 1
    until(lambda: told_events(server) == ["stream-started", "stream-stopped"], 5, lambda: f"both events ({told_events(server)})")


def test_two_streams_at_once(runs, streams, provider):
    """Shows: a listening one beside one that also speaks."""
    said, words = audio.voice(1, seed=123), audio.voice(1, seed=124)
    listens, speaks = streams(), streams(lambda connection: connection.say(said))
    box = runs(f'<Start><Stream url="{listens.url()}"/></Start><Connect><Stream url="{speaks.url()}"/></Connect>', listens, speaks)
    call = provider.call(box, "100").answered()
    for one in (listens, speaks):
        one.connection().wait_for("start")
    call.rtp.say(words)
    until(lambda: all(audio.likeness(words, one.connection().heard()) >= LIKE for one in (listens, speaks)), 3, "the caller's words, twice")
    assert audio.likeness(said, call.rtp.heard()) >= LIKE
    call.hang_up()


# ------------------------------------------------------------------ Echo


def test_echo_gives_back_what_was_said(runs, provider):
    """Shows: the caller's own words, and the end after the time-out."""
    call = provider.call(runs('<Echo timeout="5"/>'), "100").answered()
    answered = time.monotonic()
    words = audio.voice(1.5, seed=113)
    call.rtp.say(words)
    until(lambda: audio.likeness(words, call.rtp.heard()) >= LIKE, 3, lambda: f"the echo ({audio.likeness(words, call.rtp.heard()):.3f})")
    call.hung_up()
    assert 4.5 <= time.monotonic() - answered <= 7
