"""Recordings that are ready are uploaded, resumably, and reported."""
import hashlib
import json

import pytest

from box import flow
from flow_server import Answer, FlowServer
from tus import TusServer
from waiting import until


def webhooks(**keys):
    return "[webhooks]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items()) + "\n"


@pytest.fixture
def operator(_kept):
    """The operator's receiver of events."""
    made = _kept.add(FlowServer())
    made.answer("/events", Answer(b"", 204))
    return made


def events(operator, topic):
    told = [json.loads(request.body) for request in operator.seen("/events")]
    return [event["data"] for event in told if event["type"] == topic]


def recorded(server, seconds):
    server.flow("/flow", f"<Record tag='memo'><Pause length='{int(seconds * 1000)}'/></Record><Hangup/>")


def test_a_recording_is_uploaded_and_then_reported(tipring, server, provider, operator, tmp_path, _kept):
    """Shows: the whole file arrives at a tus server with its name, call and SHA-256; recording.ready comes after that, and cdr."""
    recorded(server, 1)
    files = _kept.add(TusServer(tmp_path / "files"))
    box = tipring(webhooks(url=operator.url("/events"), upload_url=files.url), allow=[server.authority, operator.authority, files.authority])
    provider.call(box, "100").answered().hung_up()
    ready = until(lambda: events(operator, "recording.ready"), timeout=15)[0]
    record = box.cdr()
    told, there = files.uploads()[ready["file"]]
    kept = (box.data / "recordings" / ready["file"]).read_bytes()
    assert there == kept and len(kept) == ready["bytes"]
    assert hashlib.sha256(kept).hexdigest() == ready["sha256"] == told["sha256"]
    assert ready["call"] == told["call"] == record["id"] and ready["uploaded"] is True
    cdr = until(lambda: events(operator, "cdr"))[0]
    assert cdr["id"] == record["id"] and cdr["recordings"] == [ready["file"]] and "steps" not in cdr


def test_an_upload_goes_on_where_it_broke_off_in_another_run_of_the_box(tipring, server, provider, operator, tmp_path, _kept):
    """Shows: the box is killed in the middle of an upload; the next run sends the rest, the file is whole and reported."""
    recorded(server, 3)
    files = _kept.add(TusServer(tmp_path / "files"))
    # 48 kB at 64 kbit/s take six seconds: time enough to be killed in.
    box = tipring(webhooks(url=operator.url("/events"), upload_url=files.url, upload_kbit_s=64), allow=[server.authority, operator.authority, files.authority])
    provider.call(box, "100").answered().hung_up()
    box.cdr()
    sent = until(lambda: [there for _, there in files.uploads().values() if there], timeout=10)[0]
    box.kill()
    assert 0 < len(sent) < 40_000
    box.start()
    ready = until(lambda: events(operator, "recording.ready"), timeout=30)[0]
    told, there = files.uploads()[ready["file"]]
    assert hashlib.sha256(there).hexdigest() == ready["sha256"]
    assert len(list(files.folder.glob("*.info"))) == 1, "one upload, not two"
    assert until(lambda: list((box.data / "recordings").glob("*.uploaded")))
    assert not list((box.data / "recordings").glob("*.upload"))


def test_what_was_recorded_while_the_server_was_away_is_uploaded_later(tipring, server, provider, operator, tmp_path, _kept):
    """Shows: nothing is lost and no call is held up while the upload server is down."""
    recorded(server, 1)
    files = _kept.add(TusServer(tmp_path / "files"))
    files.close()
    box = tipring(webhooks(url=operator.url("/events"), upload_url=files.url), allow=[server.authority, operator.authority, files.authority])
    provider.call(box, "100").answered().hung_up()
    provider.call(box, "100").answered().hung_up()
    until(lambda: "TR-UPLOAD-LATER" in box.log())
    until(lambda: box.status()["uploads"]["waiting"] == 2)
    files.start()
    until(lambda: len(events(operator, "recording.ready")) == 2, timeout=30)
    assert len(files.uploads()) == 2


def test_without_an_upload_server_recordings_are_reported_where_they_lie(tipring, server, provider, operator):
    """Shows: recording.ready with uploaded false."""
    recorded(server, 1)
    box = tipring(webhooks(url=operator.url("/events")), allow=[server.authority, operator.authority])
    provider.call(box, "100").answered().hung_up()
    ready = until(lambda: events(operator, "recording.ready"))[0]
    assert (box.data / "recordings" / ready["file"]).stat().st_size == ready["bytes"] and ready["uploaded"] is False


def test_a_server_that_is_none_for_uploads_holds_up_nothing_else(tipring, server, provider, operator):
    """Shows: a refusal is said and holds up neither calls nor events."""
    recorded(server, 1)
    operator.answer("/upload", Answer(b"no", 400, "text/plain"))
    box = tipring(webhooks(url=operator.url("/events"), upload_url=operator.url("/upload")), allow=[server.authority, operator.authority])
    provider.call(box, "100").answered().hung_up()
    operator.wait_for("/upload")
    until(lambda: "TR-UPLOAD-LATER" in box.log())
    provider.call(box, "100").answered().hung_up()
    assert len(until(lambda: len(events(operator, "cdr")) == 2 and events(operator, "cdr"))) == 2


def test_callers_who_did_without_the_server_are_reported_when_it_is_back(tipring, server, provider, operator):
    """Shows: edge.fetch.degraded, once, with how often what stood in."""
    server.flow("/flow", "<Hangup tag='menu'/>")
    box = tipring(flow(url=server.url("/flow"), last_good="always"), webhooks(url=operator.url("/events")), allow=[server.authority, operator.authority])
    provider.call(box, "100").answered().hung_up()
    server.go_away()
    for _ in range(2):
        provider.call(box, "100").answered().hung_up()
    server.come_back()
    until(lambda: provider.call(box, "100").answered().hung_up() and events(operator, "edge.fetch.degraded"), timeout=20)
    told = events(operator, "edge.fetch.degraded")[0]
    assert told["server"] == server.authority and told["by_rung"]["stale"] == told["fetches"] >= 2
