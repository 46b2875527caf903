"""SIP as RFC 3261 has it: retransmissions, CANCEL, hold, refusals and odd requests."""
import time

import audio
import pytest
from box import flow, phone, trunk
from flow_server import Answer
from sip_party import sdp
from waiting import until

LONG = "<Pause length='60000'/>"


# ------------------------------------------------------------------ ringing and giving up


def test_cancel_before_the_answer(tipring, server, provider):
    """Shows: CANCEL: 200, the INVITE 487, the flow stops, one record with no answer."""
    server.flow("/flow", LONG)
    box = tipring(flow(url=server.url("/flow"), auto_answer=False))
    call = provider.call(box, "100")
    call.expect(180)
    call.cancel()
    record = box.cdr()
    assert (record["answered_after_ms"], record["ended_by"]) == (None, "caller")


def test_sipp_cancels(tipring, server, sipp, rtp, party):
    """Shows: an independent implementation hears ringing, because a phone rings, and gives up: the phone is cancelled too."""
    server.flow("/flow", "<Dial><To>201</To></Dial>")
    box = tipring(phone("201"), flow(url=server.url("/flow"), auto_answer=False))
    desk = party("127.0.0.11", user="201", password="opensesame")
    desk.register(box)
    caller = sipp("caller_cancels.xml", box, rtp=rtp(), hold_ms=300)
    desk.expect_call().ring().cancelled()
    caller.finish()
    assert box.cdr()["answered_after_ms"] is None


def test_cancel_after_the_answer_changes_nothing(tipring, server, provider):
    """Shows: a CANCEL that comes too late is answered 200 (or 481) and the call goes on."""
    server.flow("/flow", LONG)
    box = tipring()
    call = provider.call(box, "100").answered()
    call._send("CANCEL", branch=call.branch, to_tag=False, uri=call.invite_uri())
    assert call.expect(lambda m: m.status and m.cseq[1] == "CANCEL").status in (200, 481)
    assert call.ask("OPTIONS").status == 200
    call.hang_up()


STATES = {
    "while a prompt plays": "<Play loop='50'>{base}/prompt.wav</Play>",
    "while words are spoken": "<Say loop='50'>One two three four five six seven eight nine ten.</Say>",
    "while keys are awaited": "<Gather timeout='60000'/>",
    "while a document is fetched": "<Callback url='{base}/slow'/>",
    "while a prompt is fetched": "<Play>{base}/slow</Play>",
    "while a phone rings": "<Dial><To>201</To></Dial>",
    "while two people talk": "<Dial><To>201</To></Dial>",
    "while recording": "<Record><Pause length='60000'/></Record>",
    "in a pause": LONG,
}


@pytest.mark.parametrize("state", STATES)
def test_the_caller_hangs_up(tipring, server, provider, party, state):
    """Shows: in every state BYE is answered at once, everything is released and the record says who ended it."""
    server.flow("/flow", f"<Curl url='{server.url('/begun')}'/>" + STATES[state].format(base=server.url("")) + f"<Curl url='{server.url('/never')}'/>")
    server.flow("/begun", "")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1, seed=1)))
    server.answer("/slow", Answer("<Response/>", delay_s=20))
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password="opensesame")
    desk.register(box)
    call = provider.call(box, "100").answered()
    server.wait_for("/begun")
    ringing = None
    if "fetched" in state:
        server.wait_for("/slow")
    elif "plays" in state or "spoken" in state:
        call.rtp.wait_loud(0.3)
    elif "rings" in state or "talk" in state:
        ringing = desk.expect_call().ring()
        if "talk" in state:
            ringing.answer()
    started = time.monotonic()
    call.hang_up()
    assert time.monotonic() - started < 1
    if ringing:
        ringing.hung_up() if "talk" in state else ringing.cancelled()
    record = box.cdr()
    assert (record["ended_by"], record["q850"]) == ("caller", 16)
    box.wait_idle()
    assert server.seen("/never") == [] and len(box.cdrs()) == 1


# ------------------------------------------------------------------ repetitions and losses


def test_a_repeated_invite_is_one_call(tipring, server, provider):
    """Shows: the same INVITE five times gives one call and one 200's worth of answers."""
    server.flow("/flow", LONG)
    box = tipring()
    call = provider.call(box, "100")
    for _ in range(4):
        provider.send(call.invite_text)
    call.answered()
    provider.send(call.invite_text)
    assert len(box.calls()) == 1
    assert len({m.tag("to") for m in provider.seen if m.status == 200}) == 1
    call.hang_up()
    assert len(server.seen("/flow")) == 1


def test_a_lost_ack_has_the_200_repeated(tipring, server, provider):
    """Shows: RFC 3261, 13.3.1.4: the 200 comes again after 0.5, 1, 2 s; the ACK stops it; each repetition is the same."""
    server.flow("/flow", LONG)
    box = tipring()
    call = provider.call(box, "100").answered(ack=False)
    until(lambda: provider.count(200) >= 4, 6, "three repetitions of the 200")
    times = [m.at for m in provider.seen if m.status == 200][:4]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert all(abs(gap - expected) < 0.3 for gap, expected in zip(gaps, (0.5, 1.0, 2.0))), gaps
    assert len({m.raw for m in provider.seen if m.status == 200}) == 1
    call.ack()
    provider.expect_nothing(lambda m: m.status == 200, 0.1)
    count = provider.count(200)
    time.sleep(4.2)         # past the next repetition: silence is what is tested
    assert provider.count(200) == count
    call.hang_up()


def test_an_ack_that_never_comes_ends_the_call(tipring, server, provider):
    """Shows: after 64*T1 (32 s) without an ACK the box hangs up: no call is left for ever."""
    server.flow("/flow", LONG)
    box = tipring()
    call = provider.call(box, "100").answered(ack=False)
    call.hung_up(timeout=40)
    assert 30 <= call.ended_at - call.final.at <= 36
    box.cdr()


def test_a_lost_answer_to_bye_has_the_bye_repeated(tipring, server, provider):
    """Shows: timer E: the same BYE again after 0.5 and 1 s until it is answered."""
    server.flow("/flow", "<Hangup/>")
    call = provider.call(tipring(), "100").answered()
    bye = call.expect("BYE")
    until(lambda: provider.count("BYE") >= 3, 5, "two repetitions of BYE")
    provider.send(provider.response(bye, 200, "OK"), bye.source)


def test_a_refusal_is_repeated_until_its_ack(tipring, server, provider):
    """Shows: timer G: 603 again after 0.5 s; ACK stops it."""
    server.flow("/flow", "<Hangup/>")
    box = tipring(flow(url=server.url("/flow"), auto_answer=False))
    call = provider.call(box, "100")
    final = call.expect(603)
    until(lambda: provider.count(603) >= 2, 3, "the repetition")
    call._ack_refusal(final)
    count = provider.count(603)
    time.sleep(1.3)         # past the next repetition: silence is what is tested
    assert provider.count(603) <= count + 1


def test_invites_of_the_box_are_repeated_until_something_comes(tipring, server, provider, party):
    """Shows: timer A: an unanswered INVITE comes again after 0.5, then 1 s; after 100 no more."""
    server.flow("/flow", "<Dial timeout='20000'><To>201</To></Dial>")
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password="opensesame")
    desk.register(box)
    call = provider.call(box, "100").answered()
    until(lambda: desk.count("INVITE") >= 3, 5, "two repetitions")
    ringing = desk.expect_call()
    ringing.reply(100, "Trying").ring()
    call.hang_up()
    ringing.cancelled()


def test_the_same_transaction_by_tcp_has_no_repetitions(tipring, server, party):
    """Shows: over TCP nothing is repeated but the 200."""
    server.flow("/flow", "<Hangup/>")
    caller = party("127.0.0.2", "tcp", box=tipring())
    call = caller.call((caller.box), "100").answered()
    bye = call.expect("BYE")
    caller.expect_nothing(lambda m: m.method == "BYE", 1.3)
    caller.send(caller.response(bye, 200, "OK"))


# ------------------------------------------------------------------ hold


def test_hold_and_resume(tipring, server, provider):
    """Shows: re-INVITE sendonly is answered recvonly and the prompt stops being sent; sendrecv brings it back."""
    server.flow("/flow", f"<Play loop='30'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1, seed=1)))
    call = provider.call(tipring(), "100").answered()
    call.rtp.wait_loud(0.3)
    answer = call.reinvite("sendonly")
    assert answer.sdp().direction in ("recvonly", "inactive")
    call.rtp.wait_quiet(0.5)
    answer = call.reinvite("sendrecv")
    assert answer.sdp().direction == "sendrecv"
    call.rtp.wait_loud(0.3, since=time.monotonic())
    call.hang_up()


def test_hold_by_the_old_way_of_address_zero(tipring, server, provider):
    """Shows: RFC 2543: c=0.0.0.0 holds; nothing is sent there."""
    server.flow("/flow", f"<Play loop='30'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1, seed=1)))
    call = provider.call(tipring(), "100").answered()
    call.rtp.wait_loud(0.3)
    call.reinvite("sendrecv", ip="0.0.0.0")
    call.rtp.wait_quiet(0.5)
    call.reinvite("sendrecv")
    call.rtp.wait_loud(0.3, since=time.monotonic())
    call.hang_up()


def test_sipp_holds(tipring, server, sipp, rtp):
    """Shows: hold and resume with an independent implementation."""
    server.flow("/flow", f"<Play loop='30'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1, seed=1)))
    ear = rtp()
    caller = sipp("caller_holds.xml", tipring(), rtp=ear, hold_ms=700)
    caller.wait_logged("HELD")
    caller.wait_logged("BACK")
    ear.wait_loud(0.2, since=time.monotonic())
    caller.finish()


def test_hold_reaches_the_other_leg(tipring, server, provider, party):
    """Shows: of two people who talk, the one on hold hears nothing of the other's line and both come back."""
    server.flow("/flow", "<Dial><To>201</To></Dial>")
    box = tipring(phone("201"))
    desk = party("127.0.0.11", user="201", password="opensesame")
    desk.register(box)
    call = provider.call(box, "100")
    ringing = desk.expect_call().ring().answer()
    call.answered()
    call.rtp.say(audio.voice(0.6, seed=1))
    ringing.rtp.wait_loud(0.3)
    call.reinvite("sendonly")
    held_at = time.monotonic()
    ringing.rtp.say(audio.voice(0.6, seed=2))
    assert audio.loud_seconds(call.rtp.heard(held_at + 0.1)) == 0
    call.reinvite("sendrecv")
    ringing.rtp.say(audio.voice(0.8, seed=3))
    call.rtp.wait_loud(0.4, since=held_at + 0.1)
    call.hang_up()
    ringing.hung_up()


def test_media_may_move_to_another_address(tipring, server, provider, rtp):
    """Shows: a re-INVITE with a new address: the prompt goes on there and no longer to the old one."""
    server.flow("/flow", f"<Play loop='30'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1, seed=1)))
    call = provider.call(tipring(), "100").answered()
    call.rtp.wait_loud(0.3)
    there = rtp("127.0.0.3")
    call.reinvite(ip=there.ip, port=there.port)
    there.wait_loud(0.3)
    moved_at = time.monotonic()
    there.wait_loud(0.3, since=moved_at)
    assert call.rtp.audio_packets(moved_at) == []
    call.hang_up()


def test_an_invite_without_an_offer(tipring, server, provider):
    """Shows: the 200 carries the offer, the ACK the answer (RFC 3261, 13.2.1); sound follows."""
    server.flow("/flow", f"<Play loop='3'>{server.url('/prompt.wav')}</Play>")
    server.sound("/prompt.wav", audio.wav_bytes(audio.voice(1, seed=1)))
    call = provider.call(tipring(), "100", offer="").answered(ack=False)
    assert call.answer_sdp and 0 in call.answer_sdp.formats
    call.ack(sdp(call.rtp.ip, call.rtp.port))
    call.rtp.wait_loud(1)
    call.hung_up()


def test_a_reinvite_while_one_is_under_way(tipring, server, provider, party):
    """Shows: glare: at worst 491, never a lost call."""
    server.flow("/flow", LONG)
    box = tipring()
    call = provider.call(box, "100").answered()
    offer = sdp(call.rtp.ip, call.rtp.port, version=2)
    call.invite(offer)
    first = call.cseq
    call.invite(offer)
    statuses = [call.expect(lambda m, n=n: m.status and m.status >= 200 and m.cseq == (n, "INVITE")).status for n in (first, first + 1)]
    assert set(statuses) <= {200, 491, 500}
    for number in (first, first + 1):
        call._send("ACK", cseq=number)
    assert call.ask("OPTIONS").status == 200
    call.hang_up()


def test_a_lower_cseq_in_a_dialog_is_refused(tipring, server, provider):
    """Shows: RFC 3261, 12.2.2: 500."""
    server.flow("/flow", LONG)
    call = provider.call(tipring(), "100").answered()
    call.cseq = 20
    assert call.ask("OPTIONS").status == 200
    call.cseq = 10
    assert call.ask("INFO").status == 500
    call.cseq = 30
    call.hang_up()


# ------------------------------------------------------------------ outside calls


def test_options_says_what_is_understood(tipring, provider):
    """Shows: 200 with Allow and Accept."""
    box = tipring()
    provider.box = box.udp
    answer = provider.ask("OPTIONS")
    assert answer.status == 200
    assert {"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"} <= {m.strip() for m in answer.get("allow").split(",")}
    assert "application/sdp" in answer.get("accept")


def test_options_with_compact_headers_and_odd_spacing(tipring, provider):
    """Shows: compact names, spaces after the colon, any case."""
    provider.box = tipring().udp
    text = (f"OPTIONS sip:127.0.0.1 SIP/2.0\r\nv:   SIP/2.0/UDP {provider.address};branch=z9hG4bKcompact;rport\r\nMAX-FORWARDS:70\r\n"
            f"f:<sip:a@127.0.0.2>;tag=1\r\nt: \"x, y\" <sip:127.0.0.1>\r\ni: compact-1\r\ncSeq:  7   OPTIONS\r\nl: 0\r\n\r\n")
    provider.send(text)
    answer = provider.expect(200, call_id="compact-1")
    assert answer.cseq == (7, "OPTIONS") and answer.branch == "z9hG4bKcompact"
    assert f"rport={provider.port}" in answer.get("via") and f"received={provider.ip}" in answer.get("via")


def test_options_within_a_call(tipring, server, provider):
    """Shows: 200 (RFC 3261, 11.2)."""
    server.flow("/flow", LONG)
    call = provider.call(tipring(), "100").answered()
    assert call.ask("OPTIONS").status == 200
    call.hang_up()


OFFER = sdp("127.0.0.2", 20000)
OTHER_CODEC = OFFER.replace("RTP/AVP 0 101", "RTP/AVP 18").replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:18 G729/8000")
VIDEO_ONLY = OFFER.replace("m=audio 20000 RTP/AVP 0 101", "m=video 20000 RTP/AVP 96")

REFUSALS = {
    # name: (method, expected statuses, parts of the request); None: silence, where no answer could be addressed
    "no Call-ID": ("INVITE", (400, None), dict(without=("Call-ID",))),
    "no From": ("OPTIONS", (400, None), dict(without=("From",))),
    "no To": ("OPTIONS", (400, None), dict(without=("To",))),
    "no CSeq": ("OPTIONS", (400, None), dict(without=("CSeq",))),
    "CSeq of another method": ("OPTIONS", (400,), dict(cseq_method="INVITE")),
    "CSeq too large": ("OPTIONS", (400,), dict(cseq=99999999999)),
    "two different Call-IDs": ("OPTIONS", (400,), dict(headers=[("Call-ID", "another")])),
    "Content-Length beyond the datagram": ("INVITE", (400,), dict(without=("Content-Length",), headers=[("Content-Length", 9999)], body=OFFER)),
    "Content-Length negative": ("INVITE", (400,), dict(without=("Content-Length",), headers=[("Content-Length", "-5")], body=OFFER)),
    "space before the colon's word": ("OPTIONS", (400, 200), dict(headers=[("Bad Header", "x")])),
    "unknown method": ("FOOBAR", (405, 501), {}),
    "known method not offered": ("PUBLISH", (405, 501), {}),
    "MESSAGE": ("MESSAGE", (405, 501), dict(body="hello", content_type="text/plain")),
    "body of another kind": ("INVITE", (415,), dict(body="hello", content_type="text/plain")),
    "body in another coding": ("INVITE", (415,), dict(body=OFFER, headers=[("Content-Encoding", "gzip")])),
    "unknown scheme": ("INVITE", (416,), dict(uri="nobodyknowsthis:100", body=OFFER)),
    "unknown requirement": ("INVITE", (420,), dict(headers=[("Require", "nothingSupportsThis")], body=OFFER)),
    "BYE of no call": ("BYE", (481,), dict(to_tag="nobody")),
    "INFO of no call": ("INFO", (481,), dict(to_tag="nobody")),
    "re-INVITE of no call": ("INVITE", (481,), dict(to_tag="nobody", body=OFFER)),
    "CANCEL of nothing": ("CANCEL", (481,), {}),
    "PRACK of nothing": ("PRACK", (481, 405, 501), dict(to_tag="nobody")),
    "no hops left": ("INVITE", (483,), dict(max_forwards=0, body=OFFER)),
    "no codec in common": ("INVITE", (488,), dict(body=OTHER_CODEC)),
    "no sound at all": ("INVITE", (488,), dict(body=VIDEO_ONLY)),
    "SDP that is none": ("INVITE", (400, 488), dict(body="v=0\r\nhello\r\n")),
    "SRTP required": ("INVITE", (488,), dict(body=OFFER.replace("RTP/AVP", "RTP/SAVP"))),
    "another version of SIP": ("OPTIONS", (505,), dict(version="SIP/7.0")),
    "a stateless REFER": ("REFER", (405, 403, 481, 501), dict(headers=[("Refer-To", "<sip:900@127.0.0.2>")])),
    "SUBSCRIBE": ("SUBSCRIBE", (405, 489, 501), dict(headers=[("Event", "presence")])),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(tipring, provider, case):
    """Shows: the answer RFC 3261 wants; what it must carry; and that the box goes on."""
    method, statuses, parts = REFUSALS[case]
    box = tipring()
    provider.box = box.udp
    branch = "z9hG4bK" + provider.token()
    parts = dict(parts)
    uri = parts.pop("uri", f"sip:100@{box.udp[0]}")
    provider.send(provider.request(method, uri, branch=branch, call_id="refusal-1", **parts))
    try:
        final = provider.expect(lambda m: m.status and m.status >= 200, timeout=1 if None in statuses else 5)
    except AssertionError:
        assert None in statuses, f"{case}: no answer, expected {statuses}"
        assert provider.ask("OPTIONS").status == 200
        return
    assert final.status in statuses, f"{case}: {final}, expected {statuses}"
    assert final.branch == branch
    if method == "INVITE":
        provider.send(provider.request("ACK", uri, branch=branch, call_id="refusal-1", to_tag=final.tag("to")))
    required = {405: "allow", 420: "unsupported", 415: "accept"}.get(final.status)
    if required and "coding" not in case:
        assert final.get(required), f"{final.status} without {required}"
    assert provider.ask("OPTIONS").status == 200


def test_the_same_request_by_two_ways_is_a_loop(tipring, server, provider):
    """Shows: 482 for a second INVITE with the same Call-ID, From tag and CSeq but another branch (RFC 3261, 8.2.2.2)."""
    server.flow("/flow", LONG)
    box = tipring(flow(url=server.url("/flow"), auto_answer=False))
    call = provider.call(box, "100")
    call.expect(180)
    other = call.invite_text.replace(call.branch.encode(), b"z9hG4bKanother")
    provider.send(other)
    merged = call.expect(lambda m: m.status and m.branch == "z9hG4bKanother" and m.status >= 200)
    assert merged.status == 482
    call.cancel()


def test_no_flow_for_that_number(tipring, provider):
    """Shows: 404 on a trunk that has no flow."""
    box = tipring(trunk(flow=None), flow(url="http://127.0.0.1:1/x", numbers=["999"]))
    provider.call(box, "123").refused(404)


def test_more_calls_than_allowed_get_503(tipring, server, provider):
    """Shows: limits.calls_max: the next call is 503, and when one ends there is room again."""
    server.flow("/flow", LONG)
    box = tipring(calls_max=3)
    calls = [provider.call(box, "100").answered() for _ in range(3)]
    provider.call(box, "100").refused(503)
    calls.pop().hang_up()
    calls.append(provider.call(box, "100").answered())
    for call in calls:
        call.hang_up()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_oversized_requests(tipring, party, transport):
    """Shows: more than 16 KiB by UDP or 64 KiB by TCP, or more than 128 headers, is refused or ignored; memory stays."""
    box = tipring()
    before_kb = box.memory_kb()
    for headers in ([("Subject", "x" * 17_000)] if transport == "udp" else [("Subject", "x" * 70_000)], [(f"X-{n}", "y") for n in range(200)],
                    [("Via", f"SIP/2.0/UDP 127.0.0.{n};branch=z9hG4bK{n}") for n in range(60)]):
        sender = party("127.0.0.2", transport, box=box)
        sender.send(sender.request("OPTIONS", call_id="too-large", headers=headers))
        try:
            final = sender.expect(lambda m: True, 0.7)
            assert final.status in (400, 413, 414, 431, 493, 513, 200) and (final.status != 200 or len(headers) == 60), final
        except AssertionError as silence:
            assert "waited" in str(silence)
        checker = party("127.0.0.2", transport, box=box)
        assert checker.ask("OPTIONS").status == 200
    assert box.memory_kb() - before_kb < 4_000


def test_the_largest_allowed_request_is_taken(tipring, party):
    """Shows: just under 16 KiB by UDP is answered."""
    sender = party("127.0.0.2", box=tipring())
    assert sender.ask("OPTIONS", headers=[("Subject", "x" * 15_000)]).status == 200


JUNK = {
    "nothing": b"",
    "blank lines": b"\r\n\r\n",
    "zeros": b"\0" * 100,
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "one word": b"OPTIONS",
    "odd line ends": b"\r\r\r\n\n",
    "every byte": bytes(range(256)) * 4,
    "a bare answer": b"SIP/2.0 200 OK\r\n\r\n",
    "an answer to nothing": b"SIP/2.0 999 X\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKno\r\nCSeq: 1 INVITE\r\nCall-ID: x\r\n"
                            b"From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\n\r\n",
}


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_survived(tipring, provider, junk):
    """Shows: no answer needed, none harmful; OPTIONS afterwards is answered."""
    provider.box = tipring().udp
    provider.send(JUNK[junk])
    assert provider.ask("OPTIONS").status == 200


def test_early_media_answers_nothing_before_its_time(tipring, server, provider):
    """Shows: with auto_answer off no RTP is sent before the call is answered."""
    server.flow("/flow", "<Pause length='700'/><Answer/><Say>Now.</Say>")
    box = tipring(flow(url=server.url("/flow"), auto_answer=False))
    call = provider.call(box, "100").answered()
    call.hung_up()
    assert all(p.at >= call.final.at - 0.02 for p in call.rtp.audio_packets())
