"""How a call's end is told: whoever ended it, the flow's application hears of it, and the record says who it was."""
import pytest

import box as boxes
from box import phone
from dialects import fields
from flow_server import Answer
from stream_server import told_events
from waiting import until

TAKEN = Answer(status=204, content_type=None)


@pytest.mark.parametrize("verb", ['<Start><Stream url="{url}"/></Start>', "<Start><Recording/></Start>"], ids=["stream", "recording"])
def test_the_flow_ended_the_call(runs, streams, provider, verb):
    """Shows: the record says so, also while something ran beside the verbs."""
    there = streams()
    box = runs(verb.format(url=there.url()) + "<Say>x</Say>", there)
    provider.call(box, "100").answered().hung_up()
    assert box.cdr()["ended_by"] == "flow"


def hang_up_by_operator(box, call):
    box.run("call", "hangup", box.calls()[0]["id"], check=0)
    call.hung_up()


def test_the_end_by_the_operator_is_told(runs, server, provider):
    """Shows: the status callback gets `completed`, whoever ended the call."""
    server.answer("/call", TAKEN)
    box = runs('<Say>x</Say><Pause length="20"/>', status_callback=server.url("/call"))
    call = provider.call(box, "100").answered()
    hang_up_by_operator(box, call)
    assert fields(server.wait_for("/call"))["CallStatus"] == "completed"
    record = box.cdr()
    assert (record["ended_by"], record["label"]) == ("operator", "operator")


def test_what_runs_beside_a_call_that_the_operator_ends_is_told(runs, server, streams, provider, desk):
    """Shows: the stream, the recording and the telephone that was dialled."""
    there = streams()
    for path in ("/rec", "/leg"):
        server.answer(path, TAKEN)
    document = (f'<Start><Stream url="{there.url()}" statusCallback="/status"/></Start><Start><Recording recordingStatusCallback="/rec"/></Start>'
                '<Dial><Number statusCallback="/leg">201</Number></Dial>')
    box = runs(document, there, tables=[phone("201")])
    front = desk(box, "201")
    call = provider.call(box, "100").answered()
    other = front.expect_call().answer()
    there.connection().wait_for("media", 50)
    hang_up_by_operator(box, call)
    other.hung_up()
    assert fields(server.wait_for("/rec"))["RecordingStatus"] == "completed"
    assert fields(server.wait_for("/leg"))["CallStatus"] == "completed"
    until(lambda: told_events(server) == ["stream-started", "stream-stopped"], 5, lambda: f"both events ({told_events(server)})")
    assert box.cdr()["ended_by"] == "operator"


def test_the_end_of_the_daemon_is_told(runs, server, provider):
    """Shows: the same for calls that a stop of the box cuts off, at the latest after its next start."""
    server.answer("/call", TAKEN)
    server.answer("/rec", TAKEN)
    box = runs('<Start><Recording recordingStatusCallback="/rec"/></Start><Say>x</Say><Pause length="60"/>', status_callback=server.url("/call"))
    provider.call(box, "100").answered()
    assert box.stop() == 0
    box.start()
    assert fields(server.wait_for("/call"))["CallStatus"] == "completed"
    assert fields(server.wait_for("/rec"))["RecordingStatus"] == "completed"


def test_the_end_by_the_operator_is_told_in_another_dialect(tipring, server, provider):
    """Shows: Opentact: the state `hangup`."""
    server.flow("/flow", '<Pause length="20000"/>')
    server.answer("/hook", Answer(status=200, body=b""))
    box = tipring(boxes.flow(url=server.url("/flow"), webhook_url=server.url("/hook")))
    call = provider.call(box, "100").answered()
    hang_up_by_operator(box, call)
    until(lambda: [dict(request.query)["state"] for request in server.seen("/hook")][-1:] == ["hangup"], 5, "the state of the end")
    assert box.cdr()["ended_by"] == "operator"
