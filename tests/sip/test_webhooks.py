"""Webhooks are on the disk before they are sent, and are sent until they are taken, in order."""
import base64
import email.utils
import hmac
import json
import socket
import subprocess
import time

import pytest

import audio
import programs
from box import flow, trunk
from flow_server import Answer, FlowServer
from hostile import HostileServer, answers, hundred_mebibytes, never_answers, one_byte_a_second, resets, self_signed
from waiting import until


def hooked(server, url):
    """A flow whose application is told each state of a call at `url`."""
    return flow(url=server.url("/flow"), webhook_url=url, webhook_method="POST")


def told(server, path="/told"):
    """Of each webhook that came: its id, its call and its state."""
    return [(r.header("webhook-id"), r.header("webhook-timestamp"), dict(r.query)["state"]) for r in server.seen(path)]


def one_call(box, server, provider):
    server.flow("/flow", "<Hangup/>")
    provider.call(box, "18005550123").answered().hung_up()


def webhooks(box):
    return box.status()["webhooks"]


def test_states_arrive_in_order_each_with_a_name_of_its_own(tipring, server, provider):
    """Shows: a call's states are told in order, each under its own id, and nothing stays behind."""
    server.answer("/told", Answer(status=204, content_type=None))
    box = tipring(hooked(server, server.url("/told")))
    one_call(box, server, provider)
    until(lambda: [state for *_, state in told(server)][-1:] == ["hangup"], 5, lambda: f"the last state (have {told(server)})")
    states = told(server)
    assert [state for *_, state in states] == sorted((s for *_, s in states), key=["ringing", "live", "hangup"].index)
    assert len({name for name, *_ in states}) == len(states)
    assert all(name.startswith("evt_") and at.isdigit() for name, at, _ in states)
    until(lambda: webhooks(box)["waiting"] == 0, 5, lambda: f"an empty spool ({webhooks(box)})")
    assert webhooks(box)["sent"] == len(states)


def test_a_server_that_is_down_is_told_later_even_by_another_run_of_the_box(tipring, server, provider):
    """Shows: with the server away and the box killed, every state arrives afterwards, once, in order."""
    away = socket.create_server(("127.0.0.1", 0))
    port = away.getsockname()[1]
    away.close()
    box = tipring(hooked(server, f"http://127.0.0.1:{port}/told"), allow=[server.authority, f"127.0.0.1:{port}"])
    calls = 3
    for _ in range(calls):
        one_call(box, server, provider)
    until(lambda: webhooks(box)["waiting"] >= 2 * calls, 5, lambda: f"webhooks on the disk ({webhooks(box)})")
    waiting = webhooks(box)["waiting"]
    box.kill()

    back = FlowServer(port=port)
    try:
        back.answer("/told", Answer(status=200))
        box.start()
        until(lambda: len(told(back)) >= waiting, 10, lambda: f"{waiting} webhooks (have {told(back)})")
        until(lambda: webhooks(box)["waiting"] == 0, 5, lambda: f"an empty spool ({webhooks(box)})")
        by_call = {}
        for request in back.seen("/told"):
            by_call.setdefault(call_of(request), []).append(dict(request.query)["state"])
        assert len(by_call) == calls
        assert all(states[-1] == "hangup" and len(states) == waiting // calls for states in by_call.values()), by_call
        assert len({name for name, *_ in told(back)}) == waiting
    finally:
        back.close()


@pytest.mark.parametrize("trouble", [Answer(status=503), Answer(reset=True)], ids=["503", "reset"])
def test_what_was_not_taken_comes_again_under_the_same_name_before_what_follows(tipring, server, provider, trouble):
    """Shows: a state that the server did not take is sent again, and those after it wait for it."""
    server.answer("/told", trouble, Answer(status=200))
    box = tipring(hooked(server, server.url("/told")))
    one_call(box, server, provider)
    until(lambda: [state for *_, state in told(server)][-1:] == ["hangup"], 20, lambda: f"the last state (have {told(server)})")
    first, second, *rest = told(server)
    assert first[0] == second[0] and first[2] == second[2]
    assert first[0] not in {name for name, *_ in rest}
    assert "TR-SPOOL-LATER" in box.log()


def test_a_folder_that_cannot_be_made_costs_no_call_and_no_order(tipring, server, provider):
    """Shows: without a folder calls go on, and webhooks are told in order from memory, after a failure too."""
    server.answer("/told", Answer(status=503), Answer(status=200))
    box = tipring(hooked(server, server.url("/told")), started=False)
    (box.data / "webhooks").write_text("in the way")
    box.start()
    one_call(box, server, provider)
    until(lambda: [state for *_, state in told(server)][-1:] == ["hangup"], 20, lambda: f"the last state (have {told(server)})")
    assert [state for *_, state in told(server)] == ["ringing", "ringing", "live", "hangup"]
    assert webhooks(box)["kept"] is False
    assert "TR-SPOOL-WRITE" in box.log()


def secret(seed):
    return "whsec_" + base64.b64encode(bytes([seed]) * 32).decode()


def test_every_webhook_is_signed_by_each_secret(tipring, server, provider):
    """Shows: the signature of the Standard Webhooks specification, with two secrets while a receiver changes."""
    server.answer("/told", Answer(status=200))
    secrets = [secret(1), secret(2)]
    box = tipring(hooked(server, server.url("/told")), f"[webhooks]\nsecrets = {json.dumps(secrets)}\n")
    one_call(box, server, provider)
    until(lambda: [state for *_, state in told(server)][-1:] == ["hangup"], 5, lambda: f"the last state (have {told(server)})")
    for request in server.seen("/told"):
        signed = f"{request.header('webhook-id')}.{request.header('webhook-timestamp')}.".encode() + request.body
        expected = [base64.b64encode(hmac.digest(base64.b64decode(one[6:]), signed, "sha256")).decode() for one in secrets]
        assert request.header("webhook-signature") == " ".join("v1," + one for one in expected)
    assert not any(one[6:20] in box.log() for one in secrets)


@pytest.mark.parametrize("wrong", ["secret", "whsec_", "whsec_AAAA", secret(1)[6:]])
def test_what_is_no_secret_is_refused_and_not_repeated(tipring, wrong):
    """Shows: a mistyped secret is a fault with its place, and the message does not show it."""
    box = tipring(f"[webhooks]\nsecrets = {json.dumps([secret(1), wrong])}\n", started=False)
    done = subprocess.run([programs.tipring(), "check", str(box.config_file)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "TR-CFG-MALFORMED" in done.stdout + done.stderr
    assert secret(1)[6:20] not in done.stdout + done.stderr


def call_of(request):
    """The call that a webhook's JSON body speaks of."""
    return json.loads(request.body)["uuid"]


# ------------------------------------------------------------------ tipring spool


def rows(box, *filters):
    """The table that `tipring spool ls` shows, as facts."""
    return [json.loads(line) for line in box.run("spool", "ls", "--json", *filters, check=0).stdout.splitlines()]


def parked_call(tipring, server, provider, *tables):
    """A box with a call whose webhooks the server has called wrong for good (410 would pause, 422 and an abort park)."""
    server.answer("/told", Answer(b"not that one", 422, "text/plain", headers=[("webhook-delivery", "abort-message")]))
    url = server.url("/told?token=s3cret").replace("http://", "http://name:pass@")
    box = tipring(hooked(server, url), *tables)
    one_call(box, server, provider)
    until(lambda: webhooks(box)["parked"] == 3, 10, lambda: f"three parked ({webhooks(box)})")
    return box


def test_what_is_set_apart_stays_so_over_a_restart_and_is_sent_again_on_demand(tipring, server, provider):
    """Shows: parked webhooks survive a kill, are listed and shown without secrets, and replay keeps id, number and order."""
    box = parked_call(tipring, server, provider)
    first = told(server)
    box.kill()
    box.start()
    table = rows(box, "--state", "parked")
    assert [row["id"] for row in table] == [name for name, *_ in first]
    assert {row["status"] for row in table} == {422} and {row["why"] for row in table} == {"aborted"}
    assert len(server.seen("/told")) == 3, "a parked webhook was sent by itself"

    shown = box.run("spool", "show", table[0]["id"], check=0).stdout
    curl = box.run("spool", "show", str(table[0]["seq"]), "--curl", check=0).stdout
    listed = box.run("spool", "ls", check=0).stdout
    assert "not that one" in shown and "state=ringing" in shown and "webhook-id: " + table[0]["id"] in shown
    assert curl.startswith("curl -X POST 'http://***@")
    for secret_text in ("s3cret", "pass@"):
        assert not any(secret_text in text for text in (shown, curl, listed, box.log()))

    server.answer("/told", Answer(status=200))
    assert "3 sent again" in box.run("spool", "replay", "--parked", "--since", "1h", check=0).stdout
    until(lambda: webhooks(box)["sent"] == 3, 10, lambda: f"three taken ({webhooks(box)})")
    assert [(name, state) for name, _, state in told(server)[3:]] == [(name, state) for name, _, state in first]
    assert {row["state"] for row in rows(box)} == {"sent"}


def test_what_was_sent_is_sent_again_under_the_same_id(tipring, server, provider):
    """Shows: replay of a time window, also after the box was killed; nothing outside the window."""
    server.answer("/told", Answer(status=200))
    box = tipring(hooked(server, server.url("/told")))
    one_call(box, server, provider)
    until(lambda: webhooks(box)["history"] == 3, 10, lambda: f"three in the history ({webhooks(box)})")
    first = told(server)
    numbers = [request.header("webhook-seq") for request in server.seen("/told")]
    assert numbers == ["1", "2", "3"]
    assert "0 sent again" in box.run("spool", "replay", "--sent", "--since", "2h", "--until", "1h", check=0).stdout
    until(lambda: all(row["state"] == "sent" for row in rows(box)), 5, "settled")
    box.stop()
    box.start()
    assert "3 sent again" in box.run("spool", "replay", "--sent", "--since", "1h", check=0).stdout
    until(lambda: len(told(server)) == 6, 10, lambda: f"six (have {told(server)})")
    assert [name for name, *_ in told(server)[3:]] == [name for name, *_ in first]
    assert [request.header("webhook-seq") for request in server.seen("/told")[3:]] == numbers


def test_one_is_dropped_and_the_next_in_its_call_goes_on(tipring, server, provider):
    """Shows: drop needs --yes, takes a stuck webhook out of the way, and names what is not there."""
    server.answer("/told", Answer(status=500), Answer(status=200))
    box = tipring(hooked(server, server.url("/told")))
    one_call(box, server, provider)
    until(lambda: [row["state"] for row in rows(box)] == ["trying", "queued", "queued"], 5, lambda: f"one that is tried again ({rows(box)})")
    stuck = rows(box, "--state", "trying")[0]
    assert stuck["attempts"] == 1 and stuck["status"] == 500
    assert box.run("spool", "drop", stuck["id"]).returncode == 2
    box.run("spool", "drop", stuck["id"], "--yes", check=0)
    until(lambda: webhooks(box)["sent"] == 2, 4, lambda: f"the two behind it ({webhooks(box)})")
    gone = box.run("spool", "drop", stuck["id"], "--yes", check=66)
    assert "TR-SPOOL-NO-WEBHOOK" in gone.stderr
    assert stuck["id"] not in {row["id"] for row in rows(box)}


def test_a_spool_moves_to_another_box_with_ids_and_numbers(tipring, server, provider, tmp_path):
    """Shows: export and import, by daemon and by folder; damage is refused with its line; nothing comes twice."""
    box = parked_call(tipring, server, provider)
    file = tmp_path / "spool.ndjson"
    box.run("spool", "export", str(file), check=0)
    lines = file.read_text().splitlines()
    assert len(lines) == 5 and json.loads(lines[0]) == {"tipring_spool_export": 1}

    folder = box.data / "webhooks"
    held = box.run("spool", "export", "-", "--folder", str(folder), check=75)
    assert str(box.process.pid) in held.stderr and "TR-DAEMON-LOCKED" in held.stderr
    before = rows(box)
    box.stop()
    by_folder = box.run("spool", "export", "-", "--folder", str(folder), check=0).stdout.splitlines()
    assert by_folder == lines
    assert "3 whole, 0 damaged, 0 missing" in box.run("spool", "verify", "--folder", str(folder), check=0).stdout
    box.start()

    other = tipring(hooked(server, server.url("/told")), udp="127.0.0.1:0")
    bad = tmp_path / "bad.ndjson"
    bad.write_text("\n".join([lines[0], lines[1], lines[2].replace("ringing", "running").replace("live", "dead"), lines[3][:50]]) + "\n")
    refused = other.run("spool", "import", str(bad), check=64)
    assert "line 3, 4" in refused.stderr and "TR-SPOOL-IMPORT" in refused.stderr
    assert rows(other) == []
    assert "3 taken, 0 known" in other.run("spool", "import", str(file), check=0).stdout
    assert "0 taken, 3 known" in other.run("spool", "import", str(file), check=0).stdout
    assert [row["id"] for row in rows(other)] == [row["id"] for row in before]
    server.answer("/told", Answer(status=200))
    other.run("spool", "replay", "--parked", check=0)
    until(lambda: webhooks(other)["sent"] == 3, 10, lambda: f"three taken ({webhooks(other)})")
    assert [request.header("webhook-seq") for request in server.seen("/told")[3:]] == [str(row["seq"]) for row in before]


def test_the_table_can_be_filtered_and_counted(tipring, server, provider):
    """Shows: ls by call, server and state, a limit, and stats; a state that does not exist is a mistake."""
    server.answer("/told", Answer(status=503))
    box = tipring(hooked(server, server.url("/told")))
    for _ in range(3):
        one_call(box, server, provider)
    until(lambda: webhooks(box)["waiting"] == 9, 5, lambda: f"nine ({webhooks(box)})")
    everything = rows(box)
    call = everything[0]["call"]
    assert len(everything) == 9 and len(rows(box, "--limit", "4")) == 4
    assert [row["call"] for row in rows(box, "--call", call)] == [call] * 3
    assert rows(box, "--server", "elsewhere") == [] and len(rows(box, "--server", server.authority)) == 9
    assert rows(box, "--state", "parked") == []
    until(lambda: len(rows(box, "--state", "trying")) == 3, 5, "the first of each call")
    stats = json.loads(box.run("spool", "stats", "--json", check=0).stdout)
    assert stats["servers"] == [{"server": server.url(""), "waiting": 9, "state": "well"}]
    assert stats["waiting"] == 9 and stats["oldest_s"] >= 0 and stats["dropped"]["count"] == 0
    assert "9 waiting" in box.run("spool", "stats", check=0).stdout
    assert "9 whole, 0 damaged, 0 missing" in box.run("spool", "verify", check=0).stdout
    assert box.run("spool", "ls", "--state", "lost").returncode == 2
    assert box.run("spool", "replay").returncode == 2


# ------------------------------------------------------------------ receivers of other people


def verified(request, *secrets):
    """Which of the secrets the specification's own library accepts a delivery with."""
    library = programs.standard_webhooks()

    def accepts(one):
        try:
            library.Webhook(one).verify(request.body, dict(request.headers), json_parse=False)
            return True
        except library.WebhookVerificationError:
            return False

    return [accepts(one) for one in secrets]


def test_the_public_library_verifies_every_delivery_also_while_the_secret_changes(tipring, server, provider):
    """Shows: deliveries and repetitions verify with old and new secret, then with the new one alone; a changed body does not."""
    server.answer("/told", Answer(status=503), Answer(status=200))
    old, new = secret(1), secret(2)
    box = tipring(hooked(server, server.url("/told")), f"[webhooks]\nsecrets = {json.dumps([new, old])}\n")
    one_call(box, server, provider)
    until(lambda: webhooks(box)["sent"] == 3, 20, lambda: f"three taken ({webhooks(box)})")
    during = server.seen("/told")
    assert len(during) == 4 and all(verified(request, old, new) == [True, True] for request in during)
    assert verified(during[0], secret(3)) == [False]

    box.stop()
    box.config_file.write_text(box.config_file.read_text().replace(json.dumps([new, old]), json.dumps([new])))
    box.start()
    one_call(box, server, provider)
    until(lambda: webhooks(box)["sent"] == 3, 20, lambda: f"three more taken ({webhooks(box)})")
    after = server.seen("/told")[4:]
    assert len(after) == 3 and all(verified(request, old, new) == [False, True] for request in after)
    after[0].body += b" "
    assert verified(after[0], new) == [False]


def test_a_line_that_is_down_is_an_event_for_the_operator(tipring, server, provider):
    """Shows: the box's own events go to [webhooks] url, signed, in the shape of the specification."""
    server.answer("/events", Answer(status=204, content_type=None))
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.bind(("127.0.0.2", 0))
    port = gone.getsockname()[1]
    gone.close()
    line = trunk("away", host=f"127.0.0.2:{port}", register=True, username="box", password="opensesame")
    tipring(line, trunk(), f"[webhooks]\nsecrets = {json.dumps([secret(1)])}\nurl = {json.dumps(server.url('/events'))}\n")
    event = server.wait_for("/events", timeout=60)
    assert verified(event, secret(1)) == [True]
    told_of = json.loads(event.body)
    assert set(told_of) == {"type", "timestamp", "data"}
    assert told_of["type"] == "line.alarm" and told_of["data"]["line"] == "away" and told_of["data"]["changes"] == 1
    assert told_of["timestamp"].endswith("Z") and event.header("content-type") == "application/json"


TROUBLES = {
    "never answers": never_answers,
    "one byte a second": one_byte_a_second,
    "reset": resets,
    "redirect": answers("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    "endless refusal": hundred_mebibytes(500),
    "gibberish": answers("\0\1\2\3\r\n\r\n"),
    "lying Retry-After": answers("HTTP/1.1 429 X\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("trouble", [*TROUBLES, "bad certificate"])
def test_a_hostile_receiver_harms_nobody_but_itself(tipring, server, provider, tmp_path, trouble):
    """Shows: calls go on, another server is told at once, the box stays small, and what the hostile one missed is kept."""
    context = self_signed(tmp_path) if trouble == "bad certificate" else None
    hostile = HostileServer(TROUBLES.get(trouble, never_answers), context)
    try:
        server.answer("/told", Answer(status=200))
        server.flow("/flow", "<Hangup/>")
        other = flow("other", url=server.url("/flow"), numbers=["18005550199"], webhook_url=server.url("/told"), webhook_method="POST")
        box = tipring(hooked(server, hostile.url("/told")), other, allow=[server.authority, hostile.authority])
        for _ in range(6):
            provider.call(box, "18005550123").answered().hung_up()
        if context is None:
            until(lambda: hostile.requests, 5, "the hostile server is asked")
        before = box.memory_kb()
        for _ in range(3):
            provider.call(box, "18005550199").answered().hung_up()
        until(lambda: len(told(server)) == 9, 8, lambda: f"nine at the other server ({told(server)})")
        until(lambda: any(row["attempts"] for row in rows(box, "--server", hostile.authority)), 25, "an attempt that failed")
        kept = rows(box, "--server", hostile.authority)
        assert len(kept) == 18 and {row["state"] for row in kept} <= {"queued", "trying"}
        assert box.memory_kb() < before + 16_384
        assert webhooks(box)["dropped"]["count"] == 0
        if trouble == "lying Retry-After":
            stopped = [row["next_s"] for row in kept if row["state"] == "trying" and row["next_s"] is not None]
            assert stopped and 3_500 < max(stopped) <= 3_600
    finally:
        hostile.close()


def test_a_hundred_mebibytes_of_thanks_are_not_read(tipring, server, provider):
    """Shows: a server that takes a webhook and answers without end has taken it, and the box reads no more than it needs."""
    hostile = HostileServer(hundred_mebibytes(200))
    try:
        box = tipring(hooked(server, hostile.url("/told")), allow=[server.authority, hostile.authority])
        one_call(box, server, provider)
        until(lambda: webhooks(box)["sent"] == 3, 10, lambda: f"three taken ({webhooks(box)})")
        shown = json.loads(box.run("spool", "show", rows(box)[0]["id"], "--json", check=0).stdout)
        assert shown["reply"]["status"] == 200 and len(shown["reply"]["text"]) == 4096
    finally:
        hostile.close()


def test_a_clock_that_is_wrong_is_corrected_by_the_servers(tipring, server, provider):
    """Shows: refused by a server whose clock is a day ahead, a webhook is signed by that clock and sent again at once."""
    ahead = 86_400
    tomorrow = email.utils.formatdate(time.time() + ahead, usegmt=True)

    def checks(connection, head, _closing):
        sent_at = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"webhook-timestamp")))
        status = "204 X" if abs(sent_at - (time.time() + ahead)) < 300 else "400 X"
        connection.sendall(f"HTTP/1.1 {status}\r\nDate: {tomorrow}\r\nContent-Length: 0\r\n\r\n".encode())

    hostile = HostileServer(checks)
    try:
        box = tipring(hooked(server, hostile.url("/told")), allow=[server.authority, hostile.authority])
        one_call(box, server, provider)
        until(lambda: webhooks(box)["sent"] == 3, 4, lambda: f"three taken ({webhooks(box)})")
        assert len(hostile.requests) == 4, "the first of them twice"
        until(lambda: "TR-SPOOL-CLOCK" in box.log(), 5, "the code in the log")
    finally:
        hostile.close()


# ------------------------------------------------------------------ a disk that loses things


def waiting_box(tipring, server, provider):
    """A box that was killed with three webhooks for a server that is away, and that server's port."""
    away = socket.create_server(("127.0.0.1", 0))
    port = away.getsockname()[1]
    away.close()
    box = tipring(hooked(server, f"http://127.0.0.1:{port}/told"), allow=[server.authority, f"127.0.0.1:{port}"])
    one_call(box, server, provider)
    until(lambda: webhooks(box)["waiting"] == 3, 5, lambda: f"webhooks on the disk ({webhooks(box)})")
    names = [row["id"] for row in rows(box)]
    box.kill()
    return box, port, names


def test_an_opening_that_was_cut_short_costs_nothing(tipring, server, provider):
    """Shows: a marker left by a power cut makes the box try the folder in a process of its own, and go on with it."""
    box, _, names = waiting_box(tipring, server, provider)
    (box.data / "webhooks.opening").touch()
    box.start()
    assert [row["id"] for row in rows(box)] == names
    assert not (box.data / "webhooks.opening").exists()
    assert "TR-SPOOL-ASIDE" not in box.log()


@pytest.mark.parametrize("marked", [False, True], ids=["first time", "after an opening that did not end"])
def test_what_is_whole_in_a_spool_that_cannot_be_read_arrives(tipring, server, provider, marked):
    """Shows: a damaged file is set aside and searched, and its webhooks arrive under their ids, once, in order."""
    box, port, names = waiting_box(tipring, server, provider)
    folder = box.data / "webhooks"
    damaged = bytearray((folder / "db").read_bytes())
    for at in range(0, len(damaged), 2 << 20):
        damaged[at:at + 20] = b"\xa5" * 20
    (folder / "db").write_bytes(damaged)
    for snapshot in folder.glob("snap*"):
        snapshot.unlink()
    if marked:
        (box.data / "webhooks.opening").touch()
    back = FlowServer(port=port)
    try:
        back.answer("/told", Answer(status=200))
        box.start()
        until(lambda: len(told(back)) >= 3, 10, lambda: f"three webhooks (have {told(back)})")
        until(lambda: webhooks(box)["waiting"] == 0, 5, lambda: f"an empty spool ({webhooks(box)})")
        assert [name for name, *_ in told(back)] == names
        assert (box.data / "webhooks.unreadable-1" / "db").is_file()
        until(lambda: "TR-SPOOL-ASIDE" in box.log() and "TR-SPOOL-SALVAGED" in box.log(), 5, "the codes in the log")
        assert not (box.data / "webhooks.before").exists()
    finally:
        back.close()


@pytest.mark.load
def test_a_backlog_drains_at_its_pace_beside_calls_that_sound_as_ever(tipring, server, provider, _kept):
    """Shows: nine hundred webhooks of an outage come at no more than fifty a second, in order of their calls, while calls play undisturbed."""
    sound = audio.voice(3, seed=91)
    server.sound("/prompt.wav", audio.wav_bytes(sound))
    back = _kept.add(FlowServer())
    back.answer("/told", Answer(status=204, content_type=None))
    back.go_away()
    table = "[webhooks]\ndrain_per_s = 50\ndrain_spread_s = 0\n"
    box = tipring(table, hooked(server, back.url("/told")), flow("played", url=server.url("/played"), numbers=["777"]), allow=[server.authority, back.authority])
    server.flow("/played", f"<Play>{server.url('/prompt.wav')}</Play>")
    for _ in range(300):
        one_call(box, server, provider)
    until(lambda: webhooks(box)["waiting"] >= 600)
    waiting = webhooks(box)["waiting"]
    box.stop()
    back.come_back()
    box.start()

    played = []
    while webhooks(box)["waiting"] > 0 or not played:
        call = provider.call(box, "777").answered()
        call.hung_up()
        played.append((audio.likeness(sound, call.rtp.heard()), call.rtp.lost()))
    assert all(likeness >= 0.99 and lost == 0 for likeness, lost in played), played
    assert len(played) >= 3

    came = back.seen("/told")
    assert len(came) == waiting == len({request.header("webhook-id") for request in came})
    by_call = {}
    for request in came:
        by_call.setdefault(call_of(request), []).append(dict(request.query)["state"])
    assert len(by_call) == 300 and all(states == sorted(states, key=["ringing", "live", "hangup"].index) for states in by_call.values())
    times = sorted(request.at for request in came)
    # Fifty a second; what is on its way when a second begins comes on top.
    fullest = max(sum(1 for at in times if begin <= at < begin + 1) for begin in times[::25])
    assert fullest <= 60, f"{fullest} in one second"
