"""Streams of TwiML at their limits: several things that listen to one leg, what comes back of many marks, what is said when a stream fails."""
import json
import socket

import numpy as np
import pytest

import audio
from box import phone
from dialects import fields
from flow_server import Answer
from stream_server import LIKE, told_events
from waiting import until

TAKEN = Answer(status=204, content_type=None)
BOTH = '<Start><Stream url="{url}" track="both_tracks" statusCallback="/status"/></Start><Pause length="1"/>'

# ------------------------------------------------------------------ beside each other


def test_a_message_is_recorded_while_a_stream_listens_to_both_sides(runs, server, streams, provider):
    """Shows: a mailbox with a live transcript: the caller's words are on the disk."""
    there, words = streams(), audio.voice(3, seed=130)
    server.flow("/after", "<Hangup/>")
    box = runs(BOTH.format(url=there.url()) + '<Record maxLength="2" playBeep="false" action="/after"/>', there)
    call = provider.call(box, "100").answered()
    call.rtp.say(words)
    call.hung_up()
    assert server.seen("/after"), "Record ended at once, as if nobody had spoken"
    assert box.recordings()


def test_a_conversation_is_recorded_while_a_stream_listens_to_both_sides(runs, server, streams, provider, desk):
    """Shows: Dial record beside both_tracks."""
    there = streams()
    server.answer("/rec", TAKEN)
    box = runs(BOTH.format(url=there.url()) + '<Dial record="record-from-answer" recordingStatusCallback="/rec">201</Dial>', there, tables=[phone("201")])
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    other = front.expect_call().answer()
    call.rtp.say(audio.voice(2, seed=131))
    other.hang_up()
    call.hung_up()
    assert int(fields(server.wait_for("/rec"))["RecordingDuration"]) >= 2


def test_echo_beside_a_stream_of_both_sides(runs, streams, provider):
    """Shows: the caller hears himself."""
    there, words = streams(), audio.voice(1.5, seed=132)
    call = provider.call(runs(BOTH.format(url=there.url()) + '<Echo timeout="5"/>', there), "100").answered()
    until(lambda: len(there.connection().of("media")) > 120, 5, "the pause to be over")
    call.rtp.say(words)
    call.hung_up()
    assert audio.likeness(words, call.rtp.heard()) >= LIKE


def test_four_streams_of_both_sides_and_recordings_beside_them(runs, server, streams, provider):
    """Shows: all that the README promises at a time: each stream hears both tracks, each recording lasts as long as the call."""
    there = [streams() for _ in range(4)]
    server.answer("/rec", TAKEN)
    document = "".join(f'<Start><Stream url="{one.url()}" track="both_tracks"/></Start>' for one in there)
    document += '<Start><Recording channels="dual" recordingStatusCallback="/rec"/></Start>' * 16
    call = provider.call(runs(document + '<Pause length="3"/>', *there), "100").answered()
    call.rtp.say(audio.voice(1, seed=134))
    call.hung_up()
    counts = [[len([m for m in one.connection().of("media") if m["media"]["track"] == track]) for track in ("inbound", "outbound")] for one in there]
    assert min(min(count) for count in counts) > 50, counts
    until(lambda: len(server.seen("/rec")) == 16, 10, lambda: f"16 recordings ({len(server.seen('/rec'))})")
    told = [fields(request) for request in server.seen("/rec")]
    assert all(one["RecordingStatus"] == "completed" and int(one["RecordingDuration"]) >= 2 for one in told), told


# ------------------------------------------------------------------ what a server says


def test_a_mark_after_each_piece(runs, streams, provider):
    """Shows: 30 s of an answer in pieces of 100 ms, each with its mark, as samples of voice assistants send it."""
    def speaks(connection):
        sound = audio.voice(30, seed=133)
        for at in range(0, len(sound), 800):
            connection.say(sound[at:at + 800], 800)
            connection.mark("responsePart")
    there = streams(speaks)
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}" statusCallback="/status"/></Connect>', there), "100").answered()
    there.connection().wait_for("mark", 20)
    call.party.expect_nothing(lambda m: m.method == "BYE", 1)
    there.connection().tell("clear")
    there.connection().wait_for("mark", 300)
    call.hang_up()


def test_more_marks_than_may_wait_come_back_early(runs, streams, provider):
    """Shows: the oldest are answered at once, in their order, with one warning in the log; the call goes on."""
    def speaks(connection):
        connection.say(audio.voice(20, seed=135), 8_000)
        for number in range(4_100):
            connection.mark(str(number))
    there = streams(speaks)
    box = runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there)
    call = provider.call(box, "100").answered()
    there.connection().wait_for("mark", 4)
    assert [m["mark"]["name"] for m in there.connection().of("mark")][:4] == ["0", "1", "2", "3"]
    call.hang_up()
    box.cdr()
    until(lambda: box.log().count("TR-STREAM-MARKS") == 1, 3, "one warning")


def test_the_last_words_are_heard_before_their_mark(runs, streams, provider):
    """Shows: 152 bytes are less than a frame and yet sound."""
    there = streams(lambda connection: (connection.say(audio.voice(0.019, seed=3), 1000), connection.mark("said")))
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    there.connection().wait_for("mark")
    until(lambda: (abs(call.rtp.heard().astype(int)) > 200).any(), 2, "what was said before the mark")
    call.hang_up()


def test_the_last_words_are_heard_when_nothing_follows(runs, streams, provider):
    """Shows: less than a frame and no mark behind it; it does not wait for the next sentence."""
    there = streams(lambda connection: connection.say(audio.voice(0.019, seed=3), 1000))
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    until(lambda: (abs(call.rtp.heard().astype(int)) > 200).any(), 3, "the words")
    call.hang_up()


def test_keys_by_sip_info_are_told(runs, streams, provider):
    """Shows: dtmf for both bodies of INFO; a Gather takes them."""
    there = streams()
    call = provider.call(runs(f'<Connect><Stream url="{there.url()}"/></Connect>', there), "100").answered()
    there.connection().wait_for("start")
    call.info("5").info("6", relay=False)
    there.connection().wait_for("dtmf", 2, timeout=2)
    call.hang_up()


def test_a_server_that_only_listens_may_say_what_it_likes(runs, streams, provider):
    """Shows: Start: nonsense is warned of once, and the stream goes on."""
    there = streams(lambda connection: [connection.socket.send("nonsense") for _ in range(3)])
    box = runs(f'<Start><Stream url="{there.url()}" statusCallback="/status"/></Start><Pause length="2"/>', there)
    provider.call(box, "100").answered().hung_up()
    assert len(there.connection().of("media")) > 50
    until(lambda: box.log().count("TR-STREAM-MESSAGE") == 1, 3, "one warning")


# ------------------------------------------------------------------ failures


def test_started_is_told_when_it_has_started(runs, server, provider):
    """Shows: a server that is not there never started."""
    box = runs('<Connect><Stream url="ws://127.0.0.1:9/" statusCallback="/status"/></Connect>', allow=["127.0.0.1:9"])
    provider.call(box, "100").answered().hung_up()
    until(lambda: "stream-error" in told_events(server), 5, "stream-error")
    assert told_events(server) == ["stream-error"]
    assert fields(server.seen("/status")[0])["StreamError"] == "TR-HOOK-UNREACH"


NONSENSE = [("words", "TR-STREAM-MESSAGE", 1007), ('{"event": "media", "media": {"payload": "%%"}}', "TR-STREAM-MESSAGE", 1007),
            (json.dumps({"event": "x", "padding": "a" * 66_000}), "TR-HOOK-SIZE", None), (None, "TR-STREAM-BEHIND", 1008)]


@pytest.mark.parametrize("message, code, closed", NONSENSE, ids=["words", "no sound", "too long", "too much"])
def test_why_a_stream_failed(runs, server, streams, provider, message, code, closed):
    """Shows: the reason in StreamError and the log; the server is told stop, and a close code while it can be."""
    def speaks(connection):
        if message is None:
            connection.say(np.tile(audio.voice(1, seed=107), 70), 8_000)
        else:
            connection.socket.send(message)
    there = streams(speaks)
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}" statusCallback="/status"/></Connect>', there)
    provider.call(box, "100").answered().hung_up(20)
    assert fields(server.seen("/after")[0])["StreamError"] == code
    until(lambda: code in box.log(), 3, "the reason in the log")
    until(lambda: "stream-error" in told_events(server), 5, "stream-error")
    if closed:
        there.connection().wait_closed()
        assert there.connection().of("stop") and there.connection().socket.protocol.close_rcvd.code == closed


def test_a_server_that_refuses_is_told_apart(runs, server, streams, provider):
    """Shows: an HTTP status instead of a WebSocket."""
    there = streams(refuse=lambda connection, _: connection.respond(403, "no"))
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}"/></Connect>', there)
    provider.call(box, "100").answered().hung_up()
    assert fields(server.seen("/after")[0])["StreamError"] == "TR-HOOK-STATUS"
    until(lambda: "403" in box.log(), 3, "the status in the log")


def test_an_address_that_may_not_be_reached_is_told_apart(runs, server, streams, provider):
    """Shows: the guard's code."""
    there = streams()
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}"/></Connect>')
    provider.call(box, "100").answered().hung_up(15)
    assert fields(server.seen("/after")[0])["StreamError"] == "TR-HOOK-SSRF"


def test_a_connection_that_breaks_off_is_told_apart(runs, server, streams, provider):
    """Shows: the end of TCP without the WebSocket's own."""
    there = streams(lambda connection: connection.socket.socket.shutdown(socket.SHUT_RDWR))
    server.flow("/after", "<Hangup/>")
    box = runs(f'<Connect action="/after"><Stream url="{there.url()}"/></Connect>', there)
    provider.call(box, "100").answered().hung_up()
    assert fields(server.seen("/after")[0])["StreamError"] == "TR-HOOK-CUT"


def test_a_pretended_outage_cuts_streams(runs, server, streams, provider):
    """Shows: one that runs breaks off, and another is not connected."""
    there = streams()
    box = runs(f'<Connect><Stream url="{there.url()}" statusCallback="/status"/></Connect><Connect><Stream url="{there.url()}" statusCallback="/status"/></Connect><Pause length="2"/>', there)
    call = provider.call(box, "100").answered()
    there.connection().wait_for("media")
    box.run("outage", "10m")
    call.hung_up()
    box.run("outage", "off")
    until(lambda: told_events(server) == ["stream-started", "stream-error", "stream-error"], 20, lambda: f"both events ({told_events(server)})")
    assert [fields(request).get("StreamError") for request in server.seen("/status")] == [None, "TR-HOOK-CUT", "TR-HOOK-UNREACH"]


def test_an_address_is_read_as_that_of_a_page_is(runs, streams, provider):
    """Shows: capitals in the scheme, a blank in the path, and a name with a password, which is sent as Basic."""
    there = streams()
    url = there.url("/a b").replace("ws://", "WS://anna:secret@")
    call = provider.call(runs(f'<Connect><Stream url="{url}"/></Connect>', there), "100").answered()
    connection = there.connection()
    connection.wait_for("start")
    assert connection.path == "/a%20b" and connection.request_headers["Authorization"] == "Basic YW5uYTpzZWNyZXQ="
    call.hang_up()
