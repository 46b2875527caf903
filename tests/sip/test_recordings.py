"""Recordings by the addresses that applications are told, from the box's own web server."""
import http.client
import json
import re
import ssl
import struct
import urllib.error
import urllib.parse
import urllib.request

import pytest

import audio
import dialects
import kazoo_documents as kazoo
from flow_server import Answer
from kazoo_documents import callflow, node
from servers.twilio_app import TwilioApp
from sipp import free_port
from test_control_api import web
from test_uploads import events, operator, webhooks  # noqa: F401
from test_voxengine import log, scenario
from waiting import until

SEALED = r"https?://127\.0\.0\.1:\d+/recordings/[0-9a-f]{40}/[0-9A-Za-z_-]+"


def fetch(url, method="GET", context=None, **fields):
    """Status, header fields and body."""
    request = urllib.request.Request(url, method=method, headers={name.replace("_", "-"): value for name, value in fields.items()})
    try:
        answer = urllib.request.urlopen(request, timeout=20, context=context)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read()


def sound(tmp_path, content):
    path = tmp_path / "fetched.wav"
    path.write_bytes(content)
    return audio.read_wav(path)[0]


MEMO = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  call.answer();
  call.record();
  call.addEventListener(CallEvents.RecordStarted, (e) => Logger.write('started ' + e.url));
  call.addEventListener(CallEvents.RecordStopped, (e) => { Logger.write('stopped ' + e.url); VoxEngine.terminate(); });
});
"""


def told_by(box, session, word):
    return next((line.split()[-1] for line in log(box, session) if f"{word} http" in line), None)


def memo(box, provider, words, number="700"):
    """A caller says something; the addresses that the scenario was told, at the beginning and at the end."""
    call = provider.call(box, number).answered()
    [session] = [entry["id"] for entry in json.loads(box.run("scenario", "ls", "--json").stdout)]
    started = until(lambda: told_by(box, session, "started"), 5, lambda: str(log(box, session)))
    early = fetch(started)
    call.rtp.say(words)
    call.hang_up()
    return started, until(lambda: told_by(box, session, "stopped"), 5, lambda: str(log(box, session))), early


def test_a_scenario_is_told_where_the_box_itself_serves_its_recording(tipring, provider, tmp_path):
    """Shows: not there while it is made; then whole and in parts; after a restart; not for a guess; gone once removed."""
    words = audio.voice(2, seed=41)
    port = free_port("127.0.0.1")
    box = tipring(web(http=f"127.0.0.1:{port}"), scenario(tmp_path, MEMO, numbers=["700"]))
    started, stopped, early = memo(box, provider, words)
    assert re.fullmatch(SEALED + r"\.wav", stopped) and started == stopped
    assert early[0] == 404 and early[1]["Retry-After"]
    [kept] = box.recordings()
    status, headers, whole = fetch(stopped)
    assert status == 200 and whole == kept.read_bytes()
    assert (headers["Content-Type"], headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("audio/wav", "private", "nosniff")
    assert headers["Content-Disposition"] == f'attachment; filename="{kept.name}"' and int(headers["Content-Length"]) == len(whole)
    assert audio.likeness(words[3200:], sound(tmp_path, whole)) >= 0.9
    assert fetch(stopped, "HEAD")[2] == b"" and fetch(stopped, "HEAD")[1]["Content-Length"] == str(len(whole))

    status, headers, part = fetch(stopped, Range="bytes=100-1099", If_Range=headers["ETag"])
    assert (status, headers["Content-Range"], part) == (206, f"bytes 100-1099/{len(whole)}", whole[100:1100])
    assert fetch(stopped, Range=f"bytes={len(whole)}-")[0] == 416

    nothing = fetch(f"http://127.0.0.1:{port}/recordings/x/y")
    seal = stopped.split("/")[-2]
    for guess in (stopped.replace(seal, "0" * 40), stopped.replace(".wav", "-2.wav"), stopped.replace(seal + "/", seal + "/../" + seal + "/"),
                  f"http://127.0.0.1:{port}/recordings/{seal}/..%2f..%2fkept.json", f"http://127.0.0.1:{port}/recordings/", f"http://127.0.0.1:{port}/recordings/{seal}/"):
        answer = fetch(guess)
        assert (answer[0], answer[2]) == (404, nothing[2]), guess
    assert fetch(stopped, "DELETE")[0] == 405

    box.finish()
    box.start()
    assert fetch(stopped)[2] == whole
    kept.unlink()
    assert fetch(stopped)[0] == 404


def test_recordings_are_not_served_where_that_is_off(tipring, provider, tmp_path):
    """Shows: `recordings = false` under [web]."""
    box = tipring(web(recordings=False), scenario(tmp_path, MEMO, numbers=["700"]))
    call = provider.call(box, "700").answered()
    [session] = [entry["id"] for entry in json.loads(box.run("scenario", "ls", "--json").stdout)]
    url = until(lambda: told_by(box, session, "started"), 5, lambda: str(log(box, session)))
    call.hang_up()
    box.wait_idle()
    assert url.startswith("http://box-1.local/recordings/")
    assert not (box.data / "web/recordings.key").exists()
    assert fetch(f"http://{box.status()['web']['http']}/recordings/x/y")[0] == 404


@pytest.fixture
def app(serve):
    return serve(TwilioApp(dialects.TOKEN, {})).application


def test_a_twiml_application_fetches_and_plays_the_recording_that_it_is_told(tipring, server, app, provider, tmp_path):
    """Shows: RecordingUrl without an ending is WAV, with .wav too, .mp3 is refused with a reason; Play of it is heard, with nothing asked of the box; over HTTPS with the box's certificate."""
    words = audio.voice(2, seed=42)
    response = app.response()
    response.record(action="/recorded", finish_on_key="5", max_length=20, timeout=10, trim="do-not-trim", play_beep=False, recording_status_callback="/recording")
    app.documents["/voice"] = response

    def plays_it(seen):
        back = app.response()
        back.play(dict(seen.form)["RecordingUrl"])
        return back

    app.documents["/recorded"] = plays_it
    box = tipring(web(http="off", https="127.0.0.1:0"), dialects.twiml(app.server.url("/voice")), allow=[server.authority, app.server.authority])
    call = provider.call(box, "100").answered()
    until(lambda: app.seen("/voice"), 5, "the document")
    call.rtp.say(words)
    call.rtp.press("5")
    call.hung_up()
    told = dict(app.seen("/recorded")[0].form)
    url = told["RecordingUrl"]
    assert re.fullmatch(SEALED, url) and url.startswith("https://")
    assert dict(app.wait_for("/recording").form)["RecordingUrl"] == url
    context = ssl.create_default_context(cafile=str(box.data / "web/certificate.pem"))
    [kept] = box.recordings()
    for ending in ("", ".wav"):
        status, headers, content = fetch(url + ending, context=context)
        assert (status, headers["Content-Type"], content) == (200, "audio/wav", kept.read_bytes())
    assert audio.likeness(words[3200:], sound(tmp_path, content)) >= 0.9
    status, _, why = fetch(url + ".mp3", context=context)
    assert status == 406 and b"WAV" in why
    assert audio.likeness(words[3200:], call.rtp.heard()) >= 0.9, "the caller hears himself"


def test_a_kazoo_pivot_in_the_twiml_format_is_told_too(tipring, server, provider, tmp_path):
    """Shows: the address that a document behind a pivot is told is fetched."""
    words = audio.voice(2, seed=43)
    server.answer("/pivot", Answer('<Response><Record action="/recorded" method="POST" finishOnKey="5" maxLength="20" timeout="10" playBeep="false"/></Response>', content_type="text/xml"))
    server.answer("/recorded", Answer("<Response/>", content_type="text/xml"))
    document = kazoo.account(callflow(node("pivot", voice_url=server.url("/pivot"), req_format="twiml"), "100"))
    box = tipring(web(), dialects.kazoo_file(tmp_path / "account.json", document))
    call = provider.call(box, "100").answered()
    call.rtp.say(words)
    call.rtp.press("5")
    call.hung_up()
    url = dialects.fields(server.seen("/recorded")[0])["RecordingUrl"]
    assert re.fullmatch(SEALED, url)
    assert audio.likeness(words[4800:], sound(tmp_path, fetch(url)[2])) >= 0.9


def test_the_event_of_a_recording_says_where_it_is(tipring, server, provider, operator):  # noqa: F811
    """Shows: `url` in recording.ready, of every dialect."""
    server.flow("/flow", "<Record tag='memo'><Pause length='1000'/></Record><Hangup/>")
    box = tipring(web(), webhooks(url=operator.url("/events")), allow=[server.authority, operator.authority])
    provider.call(box, "100").answered().hung_up()
    ready = until(lambda: events(operator, "recording.ready"))[0]
    assert fetch(ready["url"])[2] == (box.data / "recordings" / ready["file"]).read_bytes()


def test_those_who_read_slowly_hold_up_neither_calls_nor_for_ever_each_other(tipring, provider, tmp_path):
    """Shows: six downloads of one address at a time, then 503 with Retry-After; a call meanwhile is recorded and heard."""
    box = tipring(web(), scenario(tmp_path, MEMO, numbers=["700"]))
    _, url, _ = memo(box, provider, audio.voice(1, seed=44))
    [kept] = box.recordings()
    size = 256 * 1024 * 1024
    with open(kept, "r+b") as file:        # more than sockets hold; the disk has no bytes of it
        file.truncate(44 + size)
        file.seek(4)
        file.write(struct.pack("<I", 36 + size))
        file.seek(40)
        file.write(struct.pack("<I", size))
    where = urllib.parse.urlsplit(url)
    slow = []
    for _ in range(6):
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
        connection.request("GET", where.path)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read(4) == b"RIFF"
        slow.append((connection, answer))
    status, headers, _ = fetch(url)
    assert status == 503 and int(headers["Retry-After"]) > 0
    words = audio.voice(2, seed=45)
    memo(box, provider, words)
    [fresh] = [path for path in box.recordings() if path != kept]
    assert audio.likeness(words[3200:], audio.read_wav(fresh)[0]) >= 0.9
    for connection, answer in slow:
        answer.close()
        connection.close()
    until(lambda: fetch(url, "HEAD")[0] == 200, 10, "a place")
    assert fetch(url, Range=f"bytes={size}-")[0] == 206
