"""Webhooks are on the disk before they are sent, and are sent until they are taken, in order."""
import base64
import hmac
import json
import socket
import subprocess

import pytest

import programs
from box import flow
from flow_server import Answer, FlowServer
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
