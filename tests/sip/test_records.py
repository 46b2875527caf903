"""Every call leaves exactly one record, with who ended it and why; and the operator's commands on calls."""
import csv
import json
import re
import signal
import socket
import subprocess
import time
from datetime import datetime, timezone

import audio
import programs
import pytest
from box import flow, phone, trunk
from flow_server import Answer
from waiting import until

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LONG = "<Pause length='60000'/>"
KEYS = {"id", "direction", "from", "to", "line", "flow", "started", "answered_after_ms", "lasted_ms", "cause", "q850", "ended_by", "label", "legs", "recordings", "steps"}
LEG_KEYS = {"leg", "line", "to", "answered_after_ms", "lasted_ms", "cause", "codec", "rtp"}
RTP_KEYS = {"in", "out", "lost", "late", "rejected", "jitter_ms"}


def test_the_record_of_a_plain_call(tipring, server, provider):
    """Shows: every field, with plausible values."""
    server.flow("/flow", "<Pause length='1000'/><Hangup tag='bye'/>")
    box = tipring()
    before = datetime.now(timezone.utc)
    call = provider.call(box, "18005550123").answered()
    call.rtp.say(audio.voice(0.6, seed=1))
    call.hung_up()
    record = box.cdr()
    assert KEYS <= set(record)
    assert UUID.fullmatch(record["id"])
    assert (record["direction"], record["from"], record["to"]) == ("inbound", "15550100", "18005550123")
    assert (record["line"], record["flow"]) == ("trunk1", "office")
    assert abs((datetime.fromisoformat(record["started"].replace("Z", "+00:00")) - before).total_seconds()) < 5
    assert 0 <= record["answered_after_ms"] < 1000
    assert 900 <= record["lasted_ms"] <= 2500
    assert (record["cause"], record["q850"], record["ended_by"], record["label"]) == ("normal-clearing", 16, "flow", "bye")
    assert record["recordings"] == []
    [leg] = record["legs"]
    assert LEG_KEYS <= set(leg) and RTP_KEYS <= set(leg["rtp"])
    assert leg["codec"] == "PCMU" and leg["line"] == "trunk1"
    assert 25 <= leg["rtp"]["in"] <= 31 and leg["rtp"]["lost"] == 0 and leg["rtp"]["rejected"] == 0


ENDINGS = {
    "flow": ("<Hangup/>", None, ("flow", "normal-clearing", 16)),
    "caller": (LONG, "hang_up", ("caller", "normal-clearing", 16)),
    "operator": (LONG, "operator", ("operator", "normal-clearing", 16)),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_who_ended_it(tipring, server, provider, ending):
    """Shows: ended_by, the cause and its Q.850 number; one record each."""
    document, action, expected = ENDINGS[ending]
    server.flow("/flow", document)
    box = tipring()
    call = provider.call(box, "100").answered()
    if action == "hang_up":
        call.hang_up()
    elif action == "operator":
        [active] = box.calls()
        box.run("call", "hangup", active["id"], check=0)
        call.hung_up()
    else:
        call.hung_up()
    record = box.cdr()
    assert (record["ended_by"], record["cause"], record["q850"]) == expected
    box.wait_idle()
    assert len(box.cdrs()) == 1


def test_forty_calls_have_forty_records(tipring, server, provider):
    """Shows: of every kind of end, one record each and no id twice."""
    documents = {"601": "<Hangup/>", "602": LONG, "603": "<Reject reason='busy'/>"}
    for number, document in documents.items():
        server.flow(f"/{number}", document)
    box = tipring(*[flow(f"f{n}", url=server.url(f"/{n}"), numbers=[n], auto_answer=False) for n in documents], trunk(flow="f601"))
    for number in range(40):
        dialled = list(documents)[number % 3]
        call = provider.call(box, dialled)
        if dialled == "602":
            call.expect(180)
            call.cancel()
        else:
            call.refused(603 if dialled == "601" else 486)
    box.cdr(40)
    box.wait_idle()
    records = box.cdrs()
    assert len(records) == 40 == len({r["id"] for r in records}) == box.counter("calls_total")
    assert all(r["answered_after_ms"] is None for r in records)


def test_status_shows_the_calls_that_are_up(tipring, server, provider):
    """Shows: status --json: calls with id, state, from, to, legs, age; the counters agree."""
    server.flow("/flow", LONG)
    box = tipring()
    calls = [provider.call(box, "100").answered() for _ in range(3)]
    status = box.status()
    assert len(status["calls"]) == 3 == status["counters"]["calls_active"]
    for call in status["calls"]:
        assert {"id", "state", "from", "to", "legs", "age_ms"} <= set(call)
        assert (call["from"], call["to"]) == ("15550100", "100") and call["age_ms"] >= 0
    assert status["counters"]["rtp_sockets"] >= 3
    for call in calls:
        call.hang_up()
    box.wait_idle()
    assert box.status()["calls"] == []


def test_call_ls_show_and_hangup(tipring, server, provider):
    """Shows: the operator sees a call, looks at it, ends it; a second time it is not found."""
    server.flow("/flow", LONG)
    box = tipring()
    call = provider.call(box, "18005550123").answered()
    [active] = box.calls()
    assert active["id"] in box.run("call", "ls", check=0).stdout
    shown = box.run("call", "show", active["id"], check=0).stdout
    assert "18005550123" in shown and "15550100" in shown
    box.run("call", "hangup", active["id"], check=0)
    call.hung_up()
    box.wait_idle()
    box.run("call", "hangup", active["id"], check=66)
    box.run("call", "show", "00000000-0000-4000-8000-000000000000", check=66)


def test_call_start_rings_a_phone_and_runs_the_flow(tipring, server, party):
    """Shows: an outbound call by command: the phone rings, the flow plays, --wait returns when it is over; direction outbound."""
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    prompt = audio.voice(1.5, seed=5)
    server.sound("/prompt.wav", audio.wav_bytes(prompt))
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password="opensesame")
    desk.register(box)
    command = subprocess.Popen([programs.tipring(), "call", "start", "--to", "201", "--from", "15550177", "--flow", "office", "--wait", "--socket", str(box.socket_path)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    ringing = desk.expect_call()
    assert "15550177" in ringing.invite_message.get("from")
    assert server.seen("/flow") == [], "the flow is asked for when the call is answered"
    ringing.ring().answer()
    ringing.hung_up()
    said, _ = command.communicate(timeout=10)
    assert command.returncode == 0, said
    assert audio.likeness(prompt, ringing.rtp.heard()) >= 0.99
    record = box.cdr()
    assert (record["direction"], record["to"], record["flow"]) == ("outbound", "201", "office")


def test_call_start_to_a_busy_phone(tipring, server, party):
    """Shows: busy: --wait says so and ends with 1, one record with the cause."""
    server.flow("/flow", "")
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password="opensesame")
    desk.register(box)
    command = subprocess.Popen([programs.tipring(), "call", "start", "--to", "201", "--flow", "office", "--wait", "--socket", str(box.socket_path)],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    desk.expect_call().refuse(486)
    said, _ = command.communicate(timeout=10)
    assert command.returncode == 1 and said.split()[-1] == "busy"
    record = box.cdr()
    assert (record["cause"], record["q850"], record["answered_after_ms"]) == ("busy", 17, None)


@pytest.mark.parametrize("arguments, code, said", [
    (("--to", "201", "--flow", "nope"), 66, "TR-CALL-NO-FLOW"),
    (("--to", ""), 2, "TR-CALL-NUMBER"),
    (("--to", "201\r\nX: y"), 2, "TR-CALL-NUMBER"),
    (("--to", "2" * 3000), 2, "TR-CALL-NUMBER"),
    (("--to", "201", "--from", "a b"), 2, "TR-CALL-NUMBER"),
])
def test_call_start_of_what_cannot_be_placed(tipring, arguments, code, said):
    """Shows: no call, a code that says why, and an exit code of its own."""
    box = tipring(phone("201"))
    done = box.run("call", "start", *arguments, check=code)
    assert said in done.stderr and done.stdout == "" and box.counter("calls_total") == 0


def test_a_file_that_is_no_socket_is_not_replaced(tipring):
    """Shows: control_socket that names a file of somebody's: exit 73, and the file is as it was."""
    box = tipring(started=False)
    box.socket_path.write_text("precious")
    done = box.run("serve", "--config", str(box.config_file), check=73)
    assert "TR-DAEMON-CONTROL" in done.stderr and box.socket_path.read_text() == "precious"


def test_silent_clients_do_not_shut_others_out(tipring):
    """Shows: 200 connections to the control socket that say nothing; status still answers."""
    box = tipring()
    idle = []
    for _ in range(200):
        idle.append(socket.socket(socket.AF_UNIX))
        idle[-1].connect(str(box.socket_path))
    assert box.status()["ready"]
    for one in idle:
        one.close()


def test_what_went_wrong_is_in_the_log(tipring, server, provider, party):
    """Shows: a web server's status and address without its query, a telephone's wrong password: codes in the log, nothing secret."""
    server.answer("/flow", Answer("<Response/>", status=500))
    box = tipring(phone("201"), flow(url=server.url("/flow").replace("http://", "http://ann:canary@")))
    provider.call(box, "100").answered().hung_up()
    party("127.0.0.11", user="201", password="wrong").register(box, expect=None)
    until(lambda: "TR-SIP-401" in box.log(), what="the password")
    assert "TR-HOOK-STATUS" in box.log() and "status=500" in box.log()
    assert "canary" not in box.log() and "from=1555" not in box.log()


def test_call_start_over_the_trunk(tipring, server, party):
    """Shows: a number that is nobody's goes out over the trunk."""
    server.flow("/flow", "<Hangup/>")
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address))
    box.run("call", "start", "--to", "18005550199", "--flow", "office", check=0)
    out = far.expect_call()
    assert out.invite_message.uri.startswith("sip:18005550199@")
    out.answer()
    out.hung_up()


def test_sigterm_lets_calls_end_within_its_grace(tipring, server, provider):
    """Shows: WD-06: after SIGTERM a new call is refused, a running one ends by itself within 10 s, its record is written, exit 0."""
    server.flow("/flow", "<Pause length='3000'/><Hangup tag='in time'/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    box.process.send_signal(signal.SIGTERM)
    provider.call(box, "100").refused(503)
    call.hung_up()
    assert box.process.wait(12) == 0
    assert [r["label"] for r in box.cdrs() if r["answered_after_ms"] is not None] == ["in time"]
    box.ended = True


def test_sigterm_ends_calls_that_do_not(tipring, server, provider):
    """Shows: after the grace the rest are hung up properly, with a record; exit 0 within 12 s."""
    server.flow("/flow", "<Pause length='600000'/>")
    box = tipring()
    call = provider.call(box, "100").answered()
    started = time.monotonic()
    box.process.send_signal(signal.SIGTERM)
    call.hung_up(timeout=12)
    assert box.process.wait(5) == 0
    assert 8 <= time.monotonic() - started <= 13
    assert len(box.cdrs()) == 1
    box.ended = True


def test_sigterm_twice_ends_at_once(tipring, server, provider):
    """Shows: the second SIGTERM does not wait; BYE and record all the same."""
    server.flow("/flow", LONG)
    box = tipring()
    call = provider.call(box, "100").answered()
    box.process.send_signal(signal.SIGTERM)
    until(lambda: "TR-DAEMON-STOPPING" in box.log(), what="a word about stopping in the log")
    box.process.send_signal(signal.SIGTERM)
    call.hung_up(timeout=3)
    assert box.process.wait(3) == 0
    assert len(box.cdrs()) == 1
    box.ended = True


def test_records_survive_a_restart(tipring, server, provider):
    """Shows: a killed daemon starts again on the same folder, keeps the records it had and adds to them."""
    server.flow("/flow", "<Hangup/>")
    box = tipring()
    provider.call(box, "100").answered().hung_up()
    box.cdr()
    box.kill()
    box.start()
    provider.call(box, "100").answered().hung_up()
    box.cdr(2)
    assert len({r["id"] for r in box.cdrs()}) == 2


def test_a_torn_last_line_of_the_records_does_no_harm(tipring, server, provider):
    """Shows: after a power cut in the middle of a record the next one begins on a line of its own."""
    server.flow("/flow", "<Hangup/>")
    box = tipring(started=False)
    (box.data / "cdr").mkdir()
    (box.data / "cdr" / "000001.jsonl").write_text('{"id":"half a rec')
    box.start()
    provider.call(box, "100").answered().hung_up()
    until(lambda: "normal-clearing" in box.cdr_text(), what="the record")
    last = box.cdr_text().strip().split("\n")[-1]
    assert json.loads(last)["cause"] == "normal-clearing"
    listed = box.run("cdr", "ls", "--json", check=0)
    assert [json.loads(line)["to"] for line in listed.stdout.splitlines()] == ["100"]
    assert "TR-CDR-DAMAGED" in listed.stderr


def test_every_log_line_of_a_call_carries_its_id(tipring, server, provider):
    """Shows: call=UUID, one event a line; numbers and words from outside cannot make lines of their own."""
    server.flow("/flow", "<Hangup/>")
    box = tipring()
    provider.call(box, "100", user="x%0aready%1b%5b31m", headers=[("User-Agent", "\u202eevil <b>")]).answered().hung_up()
    provider.send(provider.request("OPTIONS", headers=[("User-Agent", "evil\x1b[31m\x07")]))
    record = box.cdr()
    assert f"call={record['id']}" in box.log()
    assert not any(line.startswith("ready") for line in box.log().splitlines())
    assert "\x1b[31m" not in box.log() and "\x07" not in box.log()


def test_passwords_are_never_logged(tipring, server, party):
    """Shows: J-02: neither a phone's password nor a trunk's nor what is in a URL."""
    server.flow("/flow", "<Hangup/>")
    far = party("127.0.0.2")
    url = server.url("/flow").replace("http://", "http://ann:canary-3-url@")
    box = tipring(trunk(host=far.address, username="box", password="canary-1-trunk"), phone("201", password="canary-2-phone"), flow(url=url))
    desk = party("127.0.0.11", user="201", password="canary-2-phone")
    desk.register(box)
    desk.register(box, password="wrong", expect=None)
    far.call(box, "100").answered().hung_up()
    box.cdr()
    kept = box.log() + box.cdr_text() + json.dumps(box.status())
    for canary in ("canary-1-trunk", "canary-2-phone", "canary-3-url"):
        assert canary not in kept


# ------------------------------------------------------------------ tipring cdr


def test_cdr_show_tells_the_story_of_a_call(tipring, server, provider):
    """Shows: each step, key, request with status and time, leg, end and reason, in the order of time; long rows of keys are hidden."""
    server.flow("/flow", f"<Gather dtmf_length='1' timeout='8000'><DTMF value='2'><Callback url='{server.url('/next?secret=1')}'/></DTMF></Gather>",
                "<Gather dtmf_length='6' timeout='8000'><Default><Hangup tag='done'/></Default></Gather>")
    server.flow("/next", "<Hangup tag='done'/>")
    box = tipring()
    for number, keys in enumerate(("2", "471199"), 1):
        call = provider.call(box, "100", user="15550142").answered()
        server.wait_for("/flow", number)
        call.rtp.press(keys)
        call.hung_up()
    menu, secret = (box.run("cdr", "show", box.cdr(number)["id"][:8], check=0).stdout for number in (1, 2))
    for part in ("15550142 -> 100", "GET " + server.authority + "/flow 200", "key 2", "GET " + server.authority + "/next 200",
                 "step Gather", "gone: normal-clearing", "ended by the flow: normal-clearing (16), done"):
        assert part in menu, f"{part} not in\n{menu}"
    assert secret.count("key *") == 6 and "secret" not in menu + secret
    times = [float(line.split()[0]) for line in menu.splitlines() if line.startswith("     ")]
    assert times == sorted(times) and len(times) > 7
    assert box.run("cdr", "show", "ffffffff-no-such").returncode == 66


def test_cdr_ls_and_export_find_what_is_asked_for(tipring, server, provider, tmp_path):
    """Shows: filters, CSV that no spreadsheet takes for formulas, and the folder read without a daemon."""
    server.flow("/flow", "<Hangup/>")
    box = tipring()
    for user in ("15550101", "15550102", "=1+1"):
        provider.call(box, "100", user=user).answered().hung_up()
    provider.call(box, "999-nobody", user="15550103").answered().hung_up()
    box.cdr(4)
    ids = lambda *arguments: [json.loads(line)["from"] for line in box.run("cdr", "ls", "--json", *arguments, check=0).stdout.splitlines()]
    assert ids() == ["15550103", "=1+1", "15550102", "15550101"]
    assert ids("--limit", "1") == ["15550103"]
    assert ids("--number", "0102") == ["15550102"]
    assert ids("--since", "1h", "--line", "trunk1", "--flow", "office") == ids()
    assert ids("--until", "1h") == [] and ids("--failed") == [] and ids("--degraded") == []
    assert "15550102" in box.run("cdr", "ls", check=0).stdout
    assert box.run("cdr", "ls", "--since", "yesterday").returncode == 2
    box.stop()
    box.ended = True
    done = box.run("cdr", "ls")
    assert done.returncode == 69 and "--folder" in done.stderr
    out = tmp_path / "calls.csv"
    box.run("cdr", "--folder", str(box.data / "cdr"), "export", str(out), check=0)
    rows = list(csv.DictReader(out.open(newline="")))
    assert [row["from"] for row in rows] == ["15550101", "15550102", "'=1+1", "15550103"]
    exported = box.run("cdr", "--folder", str(box.data / "cdr"), "export", "--format", "ndjson", "-", check=0).stdout
    assert [json.loads(line) for line in exported.splitlines()] == box.cdrs()
    assert box.run("cdr", "--folder", str(box.data / "cdr"), "export", "/nowhere/calls.csv").returncode == 73


def test_a_box_whose_disk_cannot_be_used_still_takes_calls(tipring, server, provider):
    """Shows: no folder for anything, and calls run their flows; the log says what is wrong."""
    server.flow("/flow", "<Curl url='" + server.url("/ran") + "'/><Hangup/>")
    server.flow("/ran", "")
    box = tipring(started=False)
    text = box.config_file.read_text().replace(json.dumps(str(box.data)), json.dumps("/dev/null/data"))
    box.config_file.write_text(text)
    box.start()
    provider.call(box, "100").answered().hung_up()
    server.wait_for("/ran")
    until(lambda: "TR-DAEMON-STORAGE" in box.log())
    until(lambda: box.status()["records"]["waiting"] == 1)
