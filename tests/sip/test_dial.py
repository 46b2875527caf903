"""Dial connects the caller to phones and to the trunk, and gives back what happened when nobody answers."""
import audio
import pytest
from box import flow, phone, trunk
from sipp import free_port
from waiting import until

PASSWORD = "opensesame"


def dial(server, *numbers, attributes="", error=None, after="<Hangup tag='after-dial'/>"):
    targets = "".join(f"<To>{n}</To>" for n in numbers)
    error = "" if error is None else f"<Error>{error}</Error>"
    server.flow("/flow", f"<Dial {attributes}>{targets}{error}</Dial>{after}")


def test_sound_passes_both_ways_to_the_bit(tipring, server, provider, desk):
    """Shows: PCMU to PCMU is relayed unchanged in both directions, after the learning of addresses."""
    dial(server, "201")
    box = tipring(phone("201"))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100")
    ringing = phone_201.expect_call()
    ringing.ring().answer()
    call.answered()

    there, back = audio.encode(audio.voice(3, seed=41)), audio.encode(audio.voice(3, seed=42))
    speaking = [call.rtp.start_saying(None, there), ringing.rtp.start_saying(None, back)]
    for thread in speaking:
        thread.join()
    until(lambda: there[-320:] in ringing.rtp.heard_payload() and back[-320:] in call.rtp.heard_payload(), 3,
          lambda: f"the last words (heard {len(ringing.rtp.heard_payload())} and {len(call.rtp.heard_payload())} bytes)")
    settled = 160 * 25
    assert there[settled:] in ringing.rtp.heard_payload()
    assert back[settled:] in call.rtp.heard_payload()
    call.hang_up()
    ringing.hung_up()
    record = box.cdr()
    assert [leg["codec"] for leg in record["legs"]] == ["PCMU", "PCMU"]
    assert all(leg["rtp"]["in"] >= 140 and leg["rtp"]["lost"] == 0 for leg in record["legs"]), record["legs"]


def test_sound_is_converted_between_codecs(tipring, server, provider, desk):
    """Shows: PCMU on one side, PCMA on the other."""
    dial(server, "201")
    box = tipring(phone("201", codecs=["PCMA"]), trunk(codecs=["PCMU"]))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100")
    ringing = phone_201.expect_call(codecs=("PCMA",))
    ringing.ring().answer()
    call.answered()
    there, back = audio.voice(2.5, seed=43), audio.voice(2.5, seed=44)
    speaking = [call.rtp.start_saying(there), ringing.rtp.start_saying(back)]
    for thread in speaking:
        thread.join()
    call.rtp.wait_loud(2)
    assert audio.likeness(there[4000:], ringing.rtp.heard()) >= 0.95
    assert audio.likeness(back[4000:], call.rtp.heard()) >= 0.95
    call.hang_up()
    ringing.hung_up()


def test_two_phones_ring_and_the_first_wins(tipring, server, provider, desk):
    """Shows: both ring at once and so does the caller's side; the one that answers is connected, the other is cancelled."""
    dial(server, "201", "202")
    box = tipring(phone("201"), phone("202"), flow(url=server.url("/flow"), auto_answer=False))
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100")
    at_first, at_second = first.expect_call(), second.expect_call()
    at_first.ring()
    at_second.ring()
    call.ringing()
    at_second.answer()
    at_first.cancelled()
    call.answered()
    call.rtp.say(audio.voice(1, seed=1))
    at_second.rtp.wait_loud(0.5)
    at_second.hang_up()
    call.hung_up()
    legs = box.cdr()["legs"]
    assert len(legs) == 3 and sum(leg["answered_after_ms"] is not None for leg in legs) == 2


def registered(sipp, box, number, ip):
    """Where SIPp has registered the phone and will now answer for it."""
    port = free_port(ip)
    sipp("phone_registers.xml", box, ip=ip, port=port, user=number, password=PASSWORD, keys={"user": number, "contact": f"{ip}:{port}"}).finish()
    return dict(ip=ip, port=port)


def test_sipp_phones_register_ring_and_one_is_cancelled(tipring, server, sipp, rtp):
    """Shows: the same with SIPp as caller and as both phones, registered with digest."""
    dial(server, "201", "202")
    box = tipring(phone("201", md5=True), phone("202", md5=True))
    quick_ear, caller_ear = rtp("127.0.0.11"), rtp()
    quick = sipp("phone_answers.xml", **registered(sipp, box, "201", "127.0.0.11"), rtp=quick_ear, hold_ms=300)
    slow = sipp("phone_cancelled.xml", **registered(sipp, box, "202", "127.0.0.12"), rtp=quick_ear)
    caller = sipp("caller_hangs_up.xml", box, rtp=caller_ear, hold_ms=2500)
    for ear, far in ((caller_ear, caller), (quick_ear, quick)):
        match = far.wait_logged(r"RTP ([\d.]+) (\d+)")
        ear.peer = (match[1], int(match[2]))
    quick.wait_logged("TALKING")
    there, back = audio.voice(1.2, seed=51), audio.voice(1.2, seed=52)
    speaking = [caller_ear.start_saying(there), quick_ear.start_saying(back)]
    for thread in speaking:
        thread.join()
    caller.finish()
    quick.finish()
    slow.finish()
    assert audio.likeness(there[3000:], quick_ear.heard()) >= 0.99
    assert audio.likeness(back[3000:], caller_ear.heard()) >= 0.99


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_either_side_may_hang_up(tipring, server, provider, desk, who):
    """Shows: the caller's BYE releases the callee; the callee's lets the flow go on after Dial."""
    dial(server, "201")
    box = tipring(phone("201"))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100")
    ringing = phone_201.expect_call()
    ringing.ring().answer()
    call.answered()
    if who == "caller":
        call.hang_up()
        ringing.hung_up()
        assert box.cdr()["ended_by"] == "caller"
    else:
        ringing.hang_up()
        call.hung_up()
        assert box.cdr()["label"] == "after-dial"


@pytest.mark.parametrize("status, cause", [(486, "busy"), (480, None), (404, None), (503, None), (603, None)])
def test_a_refusal_runs_the_error_block(tipring, server, provider, desk, status, cause):
    """Shows: busy, away, unknown, failing, declined: the Error block; the leg's cause is in the record."""
    dial(server, "201", error="<Hangup tag='nobody'/>")
    box = tipring(phone("201"))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100").answered()
    phone_201.expect_call().refuse(status)
    call.hung_up()
    record = box.cdr()
    assert record["label"] == "nobody"
    if cause:
        assert record["legs"][1]["cause"] == cause


def test_a_phone_busy_in_sipp(tipring, server, provider, sipp, rtp):
    """Shows: 486 from an independent phone."""
    dial(server, "201", error="<Hangup tag='nobody'/>")
    box = tipring(phone("201", md5=True))
    busy = sipp("phone_busy.xml", **registered(sipp, box, "201", "127.0.0.11"), rtp=rtp())
    provider.call(box, "100").answered().hung_up()
    busy.finish()
    assert box.cdr()["label"] == "nobody"


def test_no_answer_in_time_cancels_and_runs_the_error_block(tipring, server, provider, desk):
    """Shows: timeout in milliseconds."""
    dial(server, "201", attributes="timeout='1500'", error="<Hangup tag='no-answer'/>")
    box = tipring(phone("201"))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = phone_201.expect_call().ring()
    ringing.cancelled()
    cancelled_at = next(m.at for m in phone_201.seen if m.method == "CANCEL")
    assert 1.2 <= cancelled_at - ringing.invite_message.at <= 2.2
    call.hung_up()
    assert box.cdr()["label"] == "no-answer"


def test_small_timeouts_are_seconds(tipring, server, provider, desk):
    """Shows: Dial timeout='2' is two seconds (Opentact 5.7)."""
    dial(server, "201", attributes="timeout='2'", error="<Hangup tag='no-answer'/>")
    box = tipring(phone("201"))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = phone_201.expect_call().ring()
    ringing.cancelled()
    cancelled_at = next(m.at for m in phone_201.seen if m.method == "CANCEL")
    assert 1.7 <= cancelled_at - ringing.invite_message.at <= 2.7
    call.hung_up()


def test_a_phone_that_is_not_registered_is_an_error_at_once(tipring, server, provider):
    """Shows: no contact, no waiting."""
    dial(server, "201", error="<Hangup tag='nobody'/>")
    box = tipring(phone("201"))
    call = provider.call(box, "100").answered()
    bye = call.hung_up(timeout=4)
    assert bye.at - call.final.at < 3
    assert box.cdr()["label"] == "nobody"


def test_the_caller_gives_up_while_it_rings(tipring, server, provider, desk):
    """Shows: BYE from the caller cancels the ringing phone."""
    dial(server, "201")
    box = tipring(phone("201"))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = phone_201.expect_call().ring()
    call.hang_up()
    ringing.cancelled()
    record = box.cdr()
    assert record["ended_by"] == "caller"


def test_an_answer_that_crosses_the_cancel_is_hung_up(tipring, server, provider, desk):
    """Shows: a 200 instead of a 487 after CANCEL is acknowledged and ended with BYE: no ghost call."""
    dial(server, "201", attributes="timeout='1200'", error="<Hangup tag='no-answer'/>")
    box = tipring(phone("201"))
    phone_201 = desk(box, "201")
    call = provider.call(box, "100").answered()
    ringing = phone_201.expect_call().ring()
    cancel = ringing.expect("CANCEL")
    phone_201.send(phone_201.response(cancel, 200, "OK", tag=ringing.local_tag), ringing.source)
    ringing.answer()
    ringing.hung_up()
    call.hung_up()


def test_both_answer_at_once_and_one_remains(tipring, server, provider, desk):
    """Shows: two 200 OK in the same moment: one call, the other is acknowledged and hung up."""
    dial(server, "201", "202")
    box = tipring(phone("201"), phone("202"))
    first, second = desk(box, "201"), desk(box, "202")
    call = provider.call(box, "100")
    ends = [first.expect_call().ring(), second.expect_call().ring()]
    from sip_party import sdp
    for end in ends:
        end.reply(200, "OK", body=sdp(end.rtp.ip, end.rtp.port))
    call.answered()
    for end in ends:
        end.expect(lambda m: m.method in ("ACK", "CANCEL"))
    until(lambda: first.count("BYE") + second.count("BYE") >= 1, what="the loser's BYE")
    loser, winner = ends if first.count("BYE") else ends[::-1]
    loser.hung_up()
    call.hang_up()
    winner.hung_up()


def test_more_than_ten_targets_use_the_first_ten(tipring, server, provider, desk):
    """Shows: O5."""
    numbers = [str(201 + i) for i in range(12)]
    dial(server, *numbers, attributes="timeout='1500'", error="<Hangup tag='no-answer'/>")
    box = tipring(*[phone(n) for n in numbers])
    desks = [desk(box, n) for n in numbers]
    call = provider.call(box, "100").answered()
    ringing = [d.expect_call().ring() for d in desks[:10]]
    for end in ringing:
        end.cancelled()
    call.hung_up()
    assert [d.count("INVITE") for d in desks[10:]] == [0, 0]


def test_digits_go_out_over_the_trunk(tipring, server, party):
    """Shows: a number that is nobody's is dialled over the trunk with the caller's number and the trunk's codecs."""
    dial(server, "18005550199", attributes="callerid='15550142'")
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address))
    call = far.call(box, "100")
    out = far.expect_call()
    assert out.invite_message.uri.startswith("sip:18005550199@127.0.0.2")
    assert "15550142" in out.invite_message.get("from")
    out.ring().answer()
    call.answered()
    call.rtp.say(audio.voice(1, seed=3))
    out.rtp.wait_loud(0.5)
    call.hang_up()
    out.hung_up()


def test_a_sip_address_is_dialled_over_its_trunk_only(tipring, server, party):
    """Shows: sip:ann@ the trunk's host goes out there; the same at a stranger's host is never sent."""
    far, stranger = party("127.0.0.2"), party("127.0.0.66")
    dial(server, f"sip:ann@{far.address}", f"sip:ann@{stranger.address}")
    box = tipring(trunk(host=far.address))
    call = far.call(box, "100")
    out = far.expect_call()
    assert out.invite_message.uri.startswith("sip:ann@127.0.0.2")
    out.ring().answer()
    call.answered()
    call.hang_up()
    out.hung_up()
    assert stranger.seen == []
    until(lambda: "TR-DIAL-HOST" in box.log(), 3, "the reason in the log")


def test_a_challenge_from_the_trunk_is_answered(tipring, server, party):
    """Shows: 407 with digest, the INVITE again with credentials and a higher CSeq."""
    dial(server, "18005550199")
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address, username="box", password="s3cret"))
    call = far.call(box, "100")
    first = far.expect("INVITE")
    far.send(far.response(first, 407, "Prove it", headers=[("Proxy-Authenticate", 'Digest realm="far", nonce="n1", qop="auth", algorithm=MD5')]), first.source)
    far.expect("ACK")
    out = far.expect_call()
    proof = out.invite_message.get("proxy-authorization")
    assert proof and 'username="box"' in proof and "s3cret" not in proof
    assert out.invite_message.cseq[0] > first.cseq[0] and out.call_id == first.get("call-id")
    out.ring().answer()
    call.answered()
    call.hang_up()
    out.hung_up()


def test_phones_call_each_other_without_any_flow(tipring, party, desk):
    """Shows: a phone's number rings that phone; the call is challenged first."""
    box = tipring(phone("201"), phone("202"))
    first, second = desk(box, "201"), desk(box, "202")
    call = first.call(box, "202").authenticate()
    ringing = second.expect_call()
    ringing.ring()
    call.ringing()
    ringing.answer()
    call.answered()
    ringing.rtp.say(audio.voice(1, seed=6))
    call.rtp.wait_loud(0.5)
    call.hang_up()
    ringing.hung_up()
    record = box.cdr()
    assert (record["from"], record["to"], record["line"]) == ("201", "202", "desk201")


def test_a_phone_reaches_a_flow_by_its_number(tipring, server, desk):
    """Shows: numbers = ["100"] of a flow."""
    server.flow("/flow", f"<Play>{server.url('/prompt.wav')}</Play>")
    sound = audio.voice(1, seed=2)
    server.sound("/prompt.wav", audio.wav_bytes(sound))
    box = tipring(phone("201"), flow(url=server.url("/flow"), numbers=["100"]))
    call = desk(box, "201").call(box, "100").authenticate().answered()
    call.hung_up()
    assert audio.likeness(sound, call.rtp.heard()) >= 0.99
    assert server.seen("/flow")[0].query == [("from", "201"), ("to", "100")]


def test_a_phone_may_call_out_only_where_it_is_allowed(tipring, party, desk):
    """Shows: with dial_out the call goes over the trunk; without, 404."""
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address), phone("201", dial_out="trunk1"), phone("202"))
    call = desk(box, "201").call(box, "18005550199").authenticate()
    out = far.expect_call()
    out.ring().answer()
    call.answered()
    call.hang_up()
    out.hung_up()
    refused = desk(box, "202").call(box, "18005550199").authenticate()
    refused.refused(404)
    assert far.count("INVITE") == 1


def test_an_emergency_number_goes_out_from_any_phone(tipring, server, party, desk):
    """Shows: 911 over the trunk even from a phone that may not call out, and while every call is taken."""
    server.flow("/flow", "<Pause length='60000'/>")
    far = party("127.0.0.2")
    box = tipring(trunk(host=far.address), phone("202"), calls_max=1, country="us")
    phone_202 = desk(box, "202")
    other = far.call(box, "100").answered()
    emergency = phone_202.call(box, "911").authenticate()
    out = far.expect_call()
    assert "911@" in out.invite_message.uri
    out.ring().answer()
    emergency.answered()
    emergency.hang_up()
    out.hung_up()
    other.hang_up()


def two_trunks(tipring, party, **keys):
    """A box with two trunks, of which telephone 201 may use both, and their far ends."""
    ends = party("127.0.0.2"), party("127.0.0.3")
    trunks = [trunk(name=f"trunk{number}", host=end.address, flow=None, peers=(f"{end.address.split(chr(58))[0]}/32",))
              for number, end in enumerate(ends, 1)]
    return tipring(*trunks, phone("201", dial_out=["trunk1", "trunk2"]), **keys), ends


@pytest.mark.parametrize("number, status", [("18005550199", 503), ("18005550199", 500), ("911", 404), ("911", 603)])
def test_a_call_that_a_trunk_cannot_carry_goes_over_the_next(tipring, party, desk, number, status):
    """Shows: 5xx of the first trunk, and any refusal of an emergency call, and the second one gets the call."""
    box, (first, second) = two_trunks(tipring, party)
    call = desk(box, "201").call(box, number).authenticate()
    first.expect_call().refuse(status)
    out = second.expect_call()
    assert f"{number}@" in out.invite_message.uri
    out.ring().answer()
    call.answered()
    call.hang_up()
    out.hung_up()
    assert [leg["line"] for leg in box.cdr()["legs"]] == ["desk201", "trunk2"]


@pytest.mark.parametrize("number, status", [("18005550199", 486), ("18005550199", 404), ("911", 486)])
def test_what_the_far_end_says_is_not_asked_again(tipring, party, desk, number, status):
    """Shows: busy, and a number that there is not, is the answer; the second trunk is not asked."""
    box, (first, second) = two_trunks(tipring, party)
    call = desk(box, "201").call(box, number).authenticate()
    first.expect_call().refuse(status)
    call.refused(status)
    assert second.count("INVITE") == 0


def test_a_caller_who_gave_up_is_not_called_on_over_the_next_trunk(tipring, party, desk):
    """Shows: CANCEL while the first trunk tries, and the second hears nothing."""
    box, (first, second) = two_trunks(tipring, party)
    call = desk(box, "201").call(box, "911").authenticate()
    out = first.expect_call()
    out.reply(100, "Trying")        # without it, nothing may be cancelled (RFC 3261 section 9.1)
    call.cancel()
    out.cancelled()
    box.wait_idle()
    assert second.count("INVITE") == 0
