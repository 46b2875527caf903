"""The application's server is away: callers hear the last good copy, the local flow, or the telephones ring."""
import pytest

import audio
from box import flow, phone, trunk
from flow_server import Answer, FlowServer
from waiting import until

MENU = audio.voice(2, seed=41)


def menu(server):
    """A document with a sound, both from the server."""
    server.flow("/flow", f"<Play>{server.url('/menu.wav')}</Play><Hangup tag='menu'/>")
    server.sound("/menu.wav", audio.wav_bytes(MENU))


def heard_menu(call):
    call.hung_up()
    return audio.likeness(MENU, call.rtp.heard()) >= 0.99


def copies(box):
    return box.status()["servers"]["copies"]


def away(box):
    return [one["server"] for one in box.status()["servers"]["away"]]


def learn(box, provider):
    """Two callers hear the menu: now there is a copy."""
    for caller in ("15550101", "15550102"):
        assert heard_menu(provider.call(box, "100", user=caller).answered())
    until(lambda: copies(box) == 1)


def opened(box, server, provider, number="100"):
    """Three calls that the server does not answer: from now on nobody asks it."""
    while not away(box):
        provider.call(box, number).answered().hung_up()
    assert away(box) == [server.authority]


def test_the_last_good_flow_is_heard_with_its_sounds(tipring, server, provider):
    """Shows: with the server gone a call hears the copy and its prompt, from memory and after a restart; the record says so."""
    menu(server)
    box = tipring()
    learn(box, provider)
    server.go_away()

    assert heard_menu(provider.call(box, "100", user="15550103").answered())
    record = box.cdr(3)
    assert (record["label"], record["edge_fetch"]) == ("menu", "stale")
    assert record["edge_fetch_age_s"] < 60
    assert [(r["rung"], r["code"]) for r in record["requests"]] == [("live", "TR-HOOK-UNREACH"), ("retry", "TR-HOOK-UNREACH"), ("stale", None)]

    box.stop()
    box.start()
    assert copies(box) == 1
    assert heard_menu(provider.call(box, "100", user="15550104").answered())
    assert box.cdr(4)["edge_fetch"] == "stale"


def test_once_the_server_counts_as_away_nobody_waits_for_it(tipring, server, provider):
    """Shows: after three failures the copy is taken at once and the server is not asked; probes bring it back. How fast: tests/bench, away."""
    menu(server)
    box = tipring()
    learn(box, provider)
    server.go_away()
    opened(box, server, provider)

    asked = len(server.requests)
    for _ in range(3):
        assert heard_menu(provider.call(box, "100").answered())
    assert len(server.requests) == asked
    calls = box.counter("calls_total")
    assert [r["rung"] for r in box.cdr(calls)["requests"]] == ["stale"]

    server.come_back()
    until(lambda: not away(box), timeout=15)
    assert heard_menu(provider.call(box, "100").answered())
    assert box.cdr(calls + 1)["edge_fetch"] is None
    # The background asked, marked as such; or the copy was renewed on the way.
    assert any(r.header("X-Edge-Prewarm") for r in server.seen("/flow"))


def test_a_document_of_one_caller_is_no_copy_for_another(tipring, server, provider):
    """Shows: what differs by caller is not kept; without a copy and without telephones the caller hears the apology."""
    server.answer("/flow", *[Answer(f"<Response><Say>Dear {n}</Say><Hangup tag='dear'/></Response>") for n in range(3)])
    box = tipring()
    for caller in ("15550101", "15550102", "15550103"):
        provider.call(box, "100", user=caller).answered().hung_up()
    assert copies(box) == 0
    server.go_away()
    provider.call(box, "100", user="15550104").answered().hung_up()
    record = box.cdr(4)
    assert (record["label"], record["edge_fetch"]) == ("flow_error", None)


def test_the_local_flow_of_the_line_takes_over(tipring, server, provider, tmp_path):
    """Shows: no copy, so the line's own flow runs; the application hears of the call's states all the same, later."""
    (tmp_path / "local.xml").write_text("<Response><Say>Local</Say><Hangup tag='local'/></Response>")
    told = FlowServer()
    told.answer("/told", Answer(b"", 204))
    server.go_away()
    box = tipring(trunk(local_flow="local"), flow(url=server.url("/flow"), webhook_url=told.url("/told")),
                  flow(name="local", file=str(tmp_path / "local.xml")), allow=[server.authority, told.authority])
    provider.call(box, "100").answered().hung_up()
    record = box.cdr()
    assert (record["label"], record["edge_fetch"]) == ("local", "local")
    assert record["requests"][-1]["rung"] == "local"
    told.wait_for("/told", 3)
    assert [dict(r.query)["state"] for r in told.seen("/told")] == ["ringing", "live", "hangup"]
    told.close()


def test_without_copy_and_local_flow_every_telephone_rings(tipring, server, provider, party):
    """Shows: the flow that every box has: all telephones ring, the first to answer talks to the caller."""
    server.go_away()
    box = tipring(phone("201"), phone("202"), trunk(), flow(url=server.url("/flow")))
    desks = []
    for address, number in (("127.0.0.8", "201"), ("127.0.0.9", "202")):
        desks.append(party(address, user=number, password="opensesame"))
        desks[-1].register(box)
    call = provider.call(box, "100")
    first, second = [desk.expect_call().ring() for desk in desks]
    first.answer()
    second.cancelled()
    call.answered()
    call.hang_up()
    first.hung_up()
    record = box.cdr()
    assert (record["edge_fetch"], record["requests"][-1]["rung"], record["label"]) == ("builtin", "builtin", "caller")
    assert [leg["to"] for leg in record["legs"]] == ["", "201", "202"]


BAD = {
    "status 500": Answer(b"gone", 500, "text/plain"),
    "a sign-in page": Answer(b"<html><body>Please sign in</body></html>", content_type="text/html"),
    "half a document": Answer(b"<Response><Play>"),
    "nothing": Answer(b"", 204),
    "reset": Answer(reset=True),
}


@pytest.mark.parametrize("bad", BAD)
def test_whatever_is_no_document_climbs_the_ladder(tipring, server, provider, bad):
    """Shows: an answer that is no flow is as bad as none."""
    menu(server)
    box = tipring()
    learn(box, provider)
    server.answer("/flow", BAD[bad])
    assert heard_menu(provider.call(box, "100", user="15550103").answered())
    record = box.cdr(3)
    assert (record["label"], record["edge_fetch"]) == ("menu", "stale")


def test_the_fallback_address_is_asked_with_what_was_wrong(tipring, server, provider):
    """Shows: fallback_url before the copy, with ErrorCode and ErrorUrl and the fields of the call."""
    other = FlowServer()
    other.flow("/fallback", "<Hangup tag='fallback'/>")
    server.answer("/flow", Answer(b"no", 503, "text/plain"))
    box = tipring(flow(url=server.url("/flow"), fallback_url=other.url("/fallback?k=1")), allow=[server.authority, other.authority])
    provider.call(box, "100", user="15550101").answered().hung_up()
    fields = dict(other.seen("/fallback")[0].query)
    assert fields == {"k": "1", "from": "15550101", "to": "100", "ErrorCode": "TR-HOOK-STATUS", "ErrorUrl": server.url("/flow")}
    assert box.cdr()["edge_fetch"] == "fallback"
    other.close()


def test_a_slow_server_is_waited_for_only_as_long_as_patience_says(tipring, server, provider):
    """Shows: with a copy at hand nobody listens to silence for long; later requests of the call say what happened."""
    server.flow("/flow", f"<Say>Hello</Say><Curl url='{server.url('/note')}'/><Hangup tag='menu'/>")
    server.flow("/note", "")
    box = tipring(trunk(), flow(url=server.url("/flow"), last_good="always"), patience="700ms")
    provider.call(box, "100").answered().hung_up()
    server.answer("/flow", Answer(b"<Response/>", delay_s=20))
    provider.call(box, "100").answered().hung_up()
    live, stale = box.cdr(2)["requests"][:2]
    assert (live["code"], stale["rung"]) == ("TR-HOOK-TIMEOUT", "stale")
    assert live["ms"] < 1_500
    first, second = server.seen("/note")
    assert (first.header("X-Edge-Fetch"), second.header("X-Edge-Fetch")) == (None, "stale")


def test_the_server_has_its_say_about_copies(tipring, server, provider):
    """Shows: x-edge-cache: no keeps nothing, public keeps it from the first call on."""
    box = tipring()
    for says, expected in (("no", 0), ("public; max-stale=3600", 1)):
        server.answer("/flow", Answer(b"<Response><Hangup/></Response>", headers=[("X-Edge-Cache", says)]))
        provider.call(box, "100").answered().hung_up()
        assert copies(box) == expected


def test_a_box_that_was_never_called_has_fetched_its_flows(tipring, server, provider):
    """Shows: documents and sounds are fetched at start for nobody, marked as such; the first caller of the outage hears them."""
    server.answer("/flow", Answer(f"<Response><Play>{server.url('/menu.wav')}</Play><Hangup tag='menu'/></Response>", headers=[("X-Edge-Cache", "public")]))
    server.sound("/menu.wav", audio.wav_bytes(MENU))
    box = tipring(prewarm=True)
    assert server.wait_for("/flow").header("X-Edge-Prewarm") == "1"
    server.wait_for("/menu.wav")
    until(lambda: copies(box) == 1)
    until(lambda: list(box.data.glob("cache/sounds/*.wav")))
    server.go_away()
    assert heard_menu(provider.call(box, "100").answered())
    assert box.cdr()["edge_fetch"] == "stale"


def test_a_pretended_outage_shows_what_callers_would_get(tipring, server, provider):
    """Shows: `tipring outage 10m`, the copy, `off`, the server again."""
    menu(server)
    box = tipring(flow(url=server.url("/flow"), last_good="always"))
    assert heard_menu(provider.call(box, "100").answered())
    box.run("outage", "10m", check=0)
    assert "pretended" in box.run("status").stdout
    assert heard_menu(provider.call(box, "100").answered())
    assert box.cdr(2)["edge_fetch"] == "stale"
    box.run("outage", "off", check=0)
    assert heard_menu(provider.call(box, "100").answered())
    assert box.cdr(3)["edge_fetch"] is None
    assert len(server.seen("/flow")) == 2
    assert 'tipring_fetch_ladder_total{step="stale"} 1' in box.run("metrics", check=0).stdout.splitlines()
    for wrong in ("10", "25h", "-1m", "m", "never"):
        assert box.run("outage", wrong).returncode == 2, wrong


def test_a_local_flow_must_be_on_the_box(tipring, server):
    """Shows: check says that a flow which is itself fetched cannot stand in."""
    box = tipring(trunk(local_flow="office"), flow(url=server.url("/flow")), started=False)
    done = box.run("check", str(box.config_file))
    assert done.returncode == 1 and "TR-CFG-REFERENCE" in done.stderr


def test_a_server_that_hangs_holds_up_no_other_flow_and_no_later_caller(tipring, server, provider):
    """Shows: callers of a hanging server who give up leave nothing behind, and a flow of another server begins at once."""
    hanging = FlowServer()
    hanging.answer("/flow", Answer(b"<Response/>", delay_s=120))
    server.flow("/well", "<Hangup tag='well'/>")
    box = tipring(trunk(flow="slow"), flow(name="slow", url=hanging.url("/flow"), numbers=["100"]), flow(name="well", url=server.url("/well"), numbers=["200"]),
                  allow=[server.authority, hanging.authority])
    for caller in range(40):
        provider.call(box, "100", user=f"1555{caller:04d}").ringing().cancel()
    provider.call(box, "200").answered().hung_up()
    record = box.cdr(41)
    assert record["label"] == "well"
    assert record["requests"][0]["ms"] < 5_000, "the whole pool would be busy for a minute"
    until(lambda: box.counter("fetches_active") <= 12)
    hanging.close()
    box.calls_may_remain = True


def test_a_document_that_only_leads_on_has_not_begun(tipring, server, provider, tmp_path):
    """Shows: Redirect as the first thing, to a server script that fails: the local flow takes over."""
    (tmp_path / "local.xml").write_text("<Response><Say>Local</Say><Hangup tag='local'/></Response>")
    server.flow("/flow", f"<Redirect url='{server.url('/real')}'/>")
    server.answer("/real", Answer(b"broken", 500, "text/plain"))
    box = tipring(trunk(local_flow="local"), flow(url=server.url("/flow")), flow(name="local", file=str(tmp_path / "local.xml")))
    provider.call(box, "100").answered().hung_up()
    assert (box.cdr()["label"], box.cdr()["edge_fetch"]) == ("local", "local")


def test_one_broken_script_takes_no_other_flow_off_the_air(tipring, server, provider):
    """Shows: a 500 says nothing about the other scripts of its server."""
    server.answer("/broken", Answer(b"broken", 500, "text/plain"))
    server.flow("/well", "<Hangup tag='well'/>")
    box = tipring(flow(name="a", url=server.url("/broken"), numbers=["100"]), flow(name="office", url=server.url("/well"), numbers=["200"]))
    for _ in range(4):
        provider.call(box, "100").answered().hung_up()
    provider.call(box, "200").answered().hung_up()
    assert box.cdr(5)["label"] == "well" and away(box) == []
