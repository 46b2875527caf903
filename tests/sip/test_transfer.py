"""Transfer: blind and attended by REFER, INVITE with Replaces, and the box's own REFER. Whoever is left hears whoever comes."""
import urllib.parse

import audio
import dialects
import pytest
from box import flow, phone, trunk
from sip_party import sdp
from test_phones import spoken      # noqa: F401 (a fixture)
from waiting import until

PASSWORD = "opensesame"
OFFICE = (phone("201"), phone("202"), phone("203"))


def talk(first, second, seed):
    """Both speak; each hears the other."""
    there, back = audio.voice(2, seed=seed), audio.voice(2, seed=seed + 1)
    for thread in [first.rtp.start_saying(there), second.rtp.start_saying(back)]:
        thread.join()
    for listener, sound in ((second, there), (first, back)):
        words = sound[6000:]
        until(lambda: audio.likeness(words, listener.rtp.heard()) >= 0.95, 5,
              lambda: f"{listener.party.user} hears the other: {audio.likeness(words, listener.rtp.heard()):.2f}", 0.1)


def over(call, *others):
    """One hangs up, and with it all the others."""
    call.hang_up()
    for other in others:
        other.hung_up()


def escaped(dialog):
    return urllib.parse.quote(dialog.named(), safe="")


def dialled(box, caller, number, callee):
    """One telephone calls another, which answers."""
    call = caller.call(box, number).authenticate()
    called = callee.expect_call()
    called.ring().answer()
    return call.answered(), called


@pytest.fixture
def office(tipring, server, desk):
    """A caller from outside reaches 201, and what follows the dial is known by its label."""
    def make(*tables, dial="<To>201</To>", **keys):
        server.flow("/flow", f"<Dial>{dial}</Dial><Hangup tag='after-dial'/>")
        box = tipring(*OFFICE, *tables, **keys)
        return box, desk(box, "201"), desk(box, "202"), desk(box, "203")
    return make


@pytest.fixture
def connected(office, provider):
    """The caller from outside talks with 201."""
    def make(*tables, **keys):
        box, first, second, third = office(*tables, **keys)
        call = provider.call(box, "100")
        at_first = first.expect_call()
        at_first.ring().answer()
        call.answered()
        return box, call, at_first, second, third
    return make


def steps(record, command):
    return [(step["path"], step["success"], step["reason"]) for step in record["steps"] if step["command"] == command]


# ------------------------------------------------------------------ blind


def test_a_telephone_hands_its_caller_to_another(connected):
    """Shows: the caller hears ringing, then the new party, and the flow's dial goes on to the end of it all."""
    box, call, at_first, second, _ = connected()
    at_first.refer(f"<sip:202@{box.udp[0]}>", [("Referred-By", "<sip:201@office>")])
    at_second = second.expect_call()
    assert at_second.invite_message.get("referred-by") == "<sip:201@office>"
    assert "15550100" in at_second.invite_message.get("from")
    at_second.ring()
    assert at_first.told(180) in ([100, 180], [180])
    call.rtp.wait_loud(0.5)
    at_second.answer()
    assert at_first.told(200)[-1] == 200
    at_first.hung_up()
    call.rtp.wait_quiet()
    talk(call, at_second, 51)
    over(at_second, call)
    first, second = sorted((box.cdr(1), box.cdr(2)), key=lambda record: record["to"] != "100")
    assert steps(first, "Transfer") == [("201 to 202", True, "")]
    assert first["label"] == "after-dial" and second["from"] == "15550100", (first, second)


def test_whoever_called_hands_over_whom_he_called(office):
    """Shows: the one who is called stays, and hears the new party."""
    box, first, second, third = office()
    call, at_second = dialled(box, first, "202", second)
    call.refer(f"sip:203@{box.udp[0]}")
    at_third = third.expect_call()
    assert "202" in at_third.invite_message.get("from")
    at_third.answer()
    call.told(200)
    call.hung_up()
    talk(at_second, at_third, 53)
    over(at_second, at_third)


def test_keys_reach_a_flow_that_was_transferred_to(connected, server):
    """Shows: a number of a flow is a target like any other; RFC 4733 keys get there."""
    server.flow("/menu", f"<Gather dtmf_length='2' timeout='8000'><DTMF value='42'><Callback url='{server.url('/done')}'/></DTMF></Gather>")
    server.flow("/done", "<Hangup/>")
    box, call, at_first, _, _ = connected(flow(url=server.url("/flow")), flow("menu", url=server.url("/menu"), numbers=["300"]))
    at_first.refer("<sip:300@office>")
    at_first.told(200)
    at_first.hung_up()
    server.wait_for("/menu")
    call.rtp.press("42")
    server.wait_for("/done")
    call.hung_up()


def test_the_one_who_transfers_hangs_up_at_once(connected):
    """Shows: the caller is kept, the target rings on, and the reports go on without the call."""
    box, call, at_first, second, _ = connected()
    at_first.refer("<sip:202@office>")
    at_first.hang_up()
    at_second = second.expect_call()
    at_second.ring()
    at_first.told(180)
    at_second.answer()
    at_first.told(200)
    talk(call, at_second, 55)
    over(call, at_second)


def test_nobody_is_left_when_the_target_is_busy_and_the_other_is_gone(connected):
    """Shows: the dial ends then, as if the one who transferred had hung up."""
    box, call, at_first, second, _ = connected()
    at_first.refer("<sip:202@office>")
    at_first.hang_up()
    second.expect_call().refuse(486)
    at_first.told(486)
    call.hung_up()
    assert next(record for record in (box.cdr(1), box.cdr(2)) if record["to"] == "100")["label"] == "after-dial"


def test_a_busy_target_leaves_the_call_as_it_was(connected):
    """Shows: NOTIFY 486; the two still hear each other, and may try again."""
    box, call, at_first, second, third = connected()
    at_first.refer("<sip:202@office>")
    at_second = second.expect_call()
    at_second.ring()
    at_first.told(180)
    at_second.refuse(486)
    at_first.told(486)
    talk(call, at_first, 57)
    at_first.refer("<sip:203@office>")
    at_third = third.expect_call()
    at_third.answer()
    at_first.told(200)
    at_first.hung_up()
    over(call, at_third)


def test_a_target_that_never_answers(connected, server):
    """Shows: the flow at the target gives up, and the one who transferred is told so and keeps the call."""
    server.flow("/night", "<Dial timeout='1000'><To>203</To></Dial><Hangup/>")
    night = flow("night", url=server.url("/night"), numbers=["400"], auto_answer=False)
    box, call, at_first, _, third = connected(flow(url=server.url("/flow")), night)
    at_first.refer("<sip:400@office>")
    at_third = third.expect_call()
    at_third.ring()
    at_first.told(180)
    at_third.cancelled()
    said = at_first.expect("NOTIFY")
    at_first.party.send(at_first.party.response(said, 200, "OK"), said.source)
    assert int(said.body.split()[1]) >= 400, said.body
    talk(call, at_first, 59)
    over(call, at_first)


def test_the_other_party_hangs_up_while_the_target_rings(connected):
    """Shows: the target is cancelled, and the one who transferred is let go."""
    box, call, at_first, second, _ = connected()
    at_first.refer("<sip:202@office>")
    at_second = second.expect_call()
    at_second.ring()
    at_first.told(180)
    call.hang_up()
    at_second.cancelled()
    at_first.hung_up()


def test_a_telephone_may_only_transfer_to_what_it_could_dial(connected):
    """Shows: no way out over the trunk without dial_out; the call goes on. With it, there is."""
    box, call, at_first, _, _ = connected()
    at_first.refer("<sip:15550123@office>")
    at_first.told(404)
    talk(call, at_first, 61)
    over(call, at_first)


def test_a_telephone_that_may_dial_out_transfers_out(tipring, server, desk, provider):
    """Shows: the new leg leaves over the trunk, without Referred-By."""
    box = tipring(trunk(host=provider.address), phone("201", dial_out="trunk1"), phone("202"))
    first, second = desk(box, "201"), desk(box, "202")
    call, at_second = dialled(box, first, "202", second)
    call.refer("<sip:15550123@office>")
    out = provider.expect_call()
    assert out.invite_message.get("referred-by") is None and "15550123" in out.invite_message.uri
    out.answer()
    call.told(200)
    call.hung_up()
    talk(at_second, out, 63)
    over(out, at_second)


def test_nobody_is_told_who_does_not_want_to_know(connected):
    """Shows: Refer-Sub: false (RFC 4488)."""
    box, call, at_first, second, _ = connected()
    answer = at_first.refer("<sip:202@office>", [("Refer-Sub", "false"), ("Require", "norefersub")])
    assert answer.get("refer-sub") == "false"
    at_second = second.expect_call()
    at_second.answer()
    at_first.hung_up()
    assert at_first.party.count("NOTIFY") == 0
    over(call, at_second)


# ------------------------------------------------------------------ attended


def test_a_telephone_joins_its_two_calls(office):
    """Shows: REFER with Replaces: both calls of the telephone end, and the others talk."""
    box, first, second, third = office()
    one, at_second = dialled(box, first, "202", second)
    one.reinvite("sendonly")
    two, at_third = dialled(box, first, "203", third)
    talk(two, at_third, 65)
    one.refer(f"<sip:203@{box.udp[0]}?Replaces={escaped(two)}>")
    one.told(200)
    one.hung_up()
    two.hung_up()
    talk(at_second, at_third, 67)
    over(at_third, at_second)
    transfers = [steps(box.cdr(n), "Transfer") for n in (1, 2)]
    assert [("201 to 203", True, "")] in transfers, transfers


def test_a_telephone_does_not_wait_for_the_answer(office):
    """Shows: the second call still rings; it goes on for the first one's party."""
    box, first, second, third = office()
    one, at_second = dialled(box, first, "202", second)
    two = first.call(box, "203").authenticate()
    at_third = third.expect_call()
    at_third.ring()
    two.remote_tag = first.expect(180, call_id=two.call_id).tag("to")
    one.refer(f"<sip:203@{box.udp[0]}?Replaces={escaped(two)}>")
    two.refused(487)
    one.told(180)
    at_second.rtp.wait_loud(0.5)
    at_third.answer()
    one.told(200)
    one.hung_up()
    talk(at_second, at_third, 69)
    over(at_second, at_third)


def test_a_caller_from_outside_is_handed_over_after_a_word(connected):
    """Shows: 201 asks 202 first; the flow's call and the telephone's are joined."""
    box, call, at_first, second, _ = connected()
    two, at_second = dialled(box, at_first.party, "202", second)
    at_first.refer(f"<sip:202@office?Replaces={escaped(two)}>")
    at_first.told(200)
    two.hung_up()
    at_first.hung_up()
    talk(call, at_second, 71)
    call.hang_up()
    at_second.hung_up()


def test_a_chain_of_transfers(connected, server):
    """Shows: who has come by a transfer may transfer in turn."""
    box, call, at_first, second, third = connected()
    at_first.refer("<sip:202@office>")
    at_second = second.expect_call()
    at_second.answer()
    at_first.told(200)
    at_first.hung_up()
    at_second.refer("<sip:203@office>")
    at_third = third.expect_call()
    at_third.answer()
    at_second.told(200)
    at_second.hung_up()
    talk(call, at_third, 73)
    over(call, at_third)


def test_two_transfers_cannot_join_nobody_with_nobody(office):
    """Shows: 201 and 202 have two calls with each other; each would leave both."""
    box, first, second, _ = office()
    one, at_one = dialled(box, first, "202", second)
    two, at_two = dialled(box, first, "202", second)
    one.refer(f"<sip:202@office?Replaces={escaped(two)}>")
    one.told(200)
    one.hung_up()
    two.hung_up()
    talk(at_one, at_two, 75)
    at_one.refer(f"<sip:201@office?Replaces={escaped(at_two)}>", expect=603)
    until(lambda: "TR-SIP-TRANSFER-ALONE" in box.log(), what="the code in the log")
    over(at_one, at_two)


# ------------------------------------------------------------------ INVITE with Replaces


def replacing(box, party, number, replaces):
    """An INVITE with Replaces, with its password."""
    call = party.call(box, number, headers=[("Replaces", replaces)])
    challenge = call.refused(401)
    call.remote_tag = None
    proof = party.authorization(challenge, "INVITE", call.target)
    return call.invite(sdp(call.rtp.ip, call.rtp.port), [("Authorization", proof), ("Replaces", replaces)])


def test_another_set_of_the_same_number_takes_a_call(office, party):
    """Shows: 202 goes on with its call at another set; the first is let go. 203 may not take it: it could cut off an emergency call."""
    box, first, second, third = office()
    call, at_second = dialled(box, first, "202", second)
    replacing(box, third, "202", at_second.named()).refused(403)
    talk(call, at_second, 76)
    other = party("127.0.0.20", user="202", password="opensesame")
    taken = replacing(box, other, "202", at_second.named())
    taken.answered()
    at_second.hung_up()
    talk(call, taken, 77)
    over(call, taken)
    assert steps(box.cdr(), "Replace") == [("202 by 202", True, "")]


def test_nobody_hands_over_the_call_of_another(office, provider):
    """Shows: REFER with Replaces names a call of the telephone that asks, or none that is there."""
    box, first, second, third = office()
    call, at_second = dialled(box, first, "202", second)
    one = provider.call(box, "203")
    at_third = third.expect_call()
    at_third.answer()
    one.answered()
    at_third.refer(f"<sip:202@office?Replaces={escaped(at_second)}>")
    at_third.told(481)
    talk(call, at_second, 78)
    over(call, at_second)
    over(one, at_third)


def test_a_ringing_call_is_picked_up(office):
    """Shows: early-only; the telephone that rang is cancelled, and the caller talks with the one that took it."""
    box, first, second, third = office()
    call = first.call(box, "202").authenticate()
    ringing = second.expect_call()
    ringing.ring()
    call.ringing()
    taken = replacing(box, third, "202", ringing.named() + ";early-only").answered()
    ringing.cancelled()
    call.answered()
    talk(call, taken, 79)
    replacing(box, second, "202", taken.named() + ";early-only").refused(486)
    over(taken, call)


def test_a_trunk_takes_nobodys_place(office, provider):
    """Shows: only a telephone may; the call it wants goes on."""
    box, first, second, _ = office()
    call, at_second = dialled(box, first, "202", second)
    provider.call(box, "202", headers=[("Replaces", at_second.named())]).refused(403)
    talk(call, at_second, 91)
    over(call, at_second)


@pytest.mark.parametrize("replaces, status", [("nothing@here;to-tag=1;from-tag=2", 481), ("nonsense", 400)])
def test_what_is_not_there_cannot_be_taken(office, replaces, status):
    """Shows: RFC 3891, section 3."""
    box, first, _, _ = office()
    replacing(box, first, "202", replaces).refused(status)


# ------------------------------------------------------------------ hostile


def test_hostile_refers(connected):
    """Shows: each is refused, and the call goes on as it was."""
    box, call, at_first, second, _ = connected()
    for headers, status in [
        ([], 400),
        ([("Refer-To", "<sip:202@office>"), ("Refer-To", "<sip:203@office>")], 400),
        ([("Refer-To", "<sip:202@office>, <sip:203@office>")], 400),
        ([("Refer-To", "<http://evil.test/>")], 400),
        ([("Refer-To", "<sip:202@office;method=BYE>")], 603),
        ([("Refer-To", "<sip:202@office?Replaces=broken>")], 400),
        ([("Refer-To", f"<sip:{'2' * 3000}@office>")], None),
    ]:
        answer = at_first.ask("REFER", headers=headers)
        assert status is None or answer.status == status, (headers, answer)
        if answer.status == 202:
            at_first.told(404)
    # A dialog that is nobody's, and its own.
    for replaces in ("stranger%40x%3Bto-tag%3D1%3Bfrom-tag%3D2", escaped(at_first)):
        at_first.refer(f"<sip:202@office?Replaces={replaces}>")
        at_first.told(481)
    second.expect_nothing(lambda m: m.method == "INVITE", 0.3)
    talk(call, at_first, 81)
    over(call, at_first)


def test_a_flood_of_refers(connected):
    """Shows: one at a time; the others wait, and nothing is left behind."""
    box, call, at_first, second, _ = connected()
    at_first.refer("<sip:202@office>")
    at_second = second.expect_call()
    for _ in range(50):
        at_first.refer("<sip:203@office>", expect=491)
    at_second.refuse(603)
    at_first.told(603)
    for _ in range(20):
        at_first.refer("<sip:999@office>")
        at_first.told(404)
    over(call, at_first)


def test_a_telephone_transfers_to_itself(connected):
    """Shows: it is called, as anybody else would be, and may end it."""
    box, call, at_first, _, _ = connected()
    at_first.refer("<sip:201@office>")
    again = at_first.party.expect_call()
    again.refuse(486)
    at_first.told(486)
    at_first.refer("<sip:201@office>")
    again = at_first.party.expect_call()
    again.answer()
    at_first.told(200)
    at_first.hung_up()
    talk(call, again, 83)
    over(call, again)


def test_a_telephone_alone_with_a_flow_has_nobody_to_transfer(tipring, server, desk):
    """Shows: 603, and the flow goes on."""
    server.flow("/flow", "<Pause length='60000'/>")
    box = tipring(*OFFICE, flow(url=server.url("/flow"), numbers=["100"]))
    call = desk(box, "201").call(box, "100").authenticate().answered()
    call.refer("<sip:202@office>", expect=603)
    call.hang_up()


def test_a_trunk_may_not_transfer_unless_it_says_so(connected):
    """Shows: 603 and a code in the log; nobody is called."""
    box, call, at_first, second, _ = connected()
    call.refer("<sip:202@office>", expect=603)
    until(lambda: "TR-SIP-TRANSFER" in box.log(), what="the code in the log")
    second.expect_nothing(lambda m: m.method == "INVITE", 0.3)
    over(call, at_first)


def test_a_trunk_that_may_transfer_reaches_what_its_calls_reach(connected, server):
    """Shows: transfer = true; telephones and flows, and no way out again."""
    box, call, at_first, second, _ = connected(trunk(transfer=True, flow=None), flow(url=server.url("/flow"), numbers=["100"]))
    call.refer("<sip:15550123@office>")
    call.told(404)
    call.refer("<sip:202@office>")
    at_second = second.expect_call()
    at_second.answer()
    call.told(200)
    call.hung_up()
    talk(at_first, at_second, 85)
    over(at_first, at_second)


# ------------------------------------------------------------------ flows


@pytest.fixture
def referred(tipring, server, provider):
    """A caller whose flow asks his side to call somebody else, and the REFER that comes."""
    server.flow("/voice", f"<Refer action='{server.url('/referred')}'><Sip>sip:other@pbx.test</Sip></Refer>")
    server.flow("/referred", "<Hangup/>")
    box = tipring(dialects.twiml(server.url("/voice")))
    call = provider.call(box, "100").answered()
    return call, call.expect("REFER")


def reply(call, request, status):
    call.party.send(call.party.response(request, status), request.source)


def notify(call, request, status, state=None):
    """What became of a REFER."""
    state = state or ("terminated;reason=noresource" if status >= 200 else "active;expires=60")
    answer = call.ask("NOTIFY", headers=[("Event", f"refer;id={request.cseq[0]}"), ("Subscription-State", state)],
                      body=f"SIP/2.0 {status} Whatever\r\n", content_type="message/sipfrag")
    assert answer.status == 200, answer


def test_a_flow_hands_its_caller_over(referred, server):
    """Shows: REFER to the caller's side; NOTIFY 200 ends it, the application is told, the box hangs up."""
    call, refer = referred
    assert refer.get("refer-to") == "<sip:other@pbx.test>"
    reply(call, refer, 202)
    notify(call, refer, 100)
    notify(call, refer, 180)
    notify(call, refer, 200)
    call.hung_up()
    told = dialects.fields(server.wait_for("/referred"))
    assert {k: told[k] for k in told if "Refer" in k or "Notify" in k} == {
        "ReferCallStatus": "completed", "ReferSipResponseCode": "202", "NotifySipResponseCode": "200"}


@pytest.mark.parametrize("status, word", [(486, "busy"), (487, "no-answer"), (404, "failed")])
def test_a_flow_keeps_a_caller_whom_nobody_wants(referred, server, status, word):
    """Shows: the SIP status of the other call; the flow goes on with the caller."""
    call, refer = referred
    reply(call, refer, 202)
    notify(call, refer, status)
    told = dialects.fields(server.wait_for("/referred"))
    assert (told["ReferCallStatus"], told["NotifySipResponseCode"], told["CallStatus"]) == (word, str(status), "in-progress")
    call.hung_up()


@pytest.mark.parametrize("status", [403, 405, 603])
def test_a_side_that_knows_no_refer(referred, server, status):
    """Shows: the refusal is told, and the flow goes on."""
    call, refer = referred
    reply(call, refer, status)
    told = dialects.fields(server.wait_for("/referred"))
    assert (told["ReferCallStatus"], told["ReferSipResponseCode"]) == ("failed", str(status))
    assert "NotifySipResponseCode" not in told
    call.hung_up()


def test_the_caller_is_gone_before_he_says_how_it_went(referred, server):
    """Shows: a side that takes the REFER and hangs up."""
    call, refer = referred
    reply(call, refer, 202)
    call.hang_up()


def test_an_application_decides_about_a_transfer(tipring, server, desk, provider):
    """Shows: referUrl: the callee is let go, and the document that comes goes on with the caller."""
    server.flow("/voice", f"<Dial referUrl='{server.url('/refer')}' action='{server.url('/after')}'><Number>201</Number></Dial>")
    server.flow("/refer", "<Dial><Number>203</Number></Dial>")
    server.flow("/after", "<Hangup/>")
    box = tipring(*OFFICE, dialects.twiml(server.url("/voice")))
    first, third = desk(box, "201"), desk(box, "203")
    call = provider.call(box, "100")
    at_first = first.expect_call()
    at_first.ring().answer()
    call.answered()
    at_first.refer(f"<sip:202@{box.udp[0]}>")
    at_first.told(200)
    at_first.hung_up()
    told = dialects.fields(server.wait_for("/refer"))
    assert told["ReferTransferTarget"] == f"sip:202@{box.udp[0]}" and told["DialCallStatus"] == "completed"
    at_third = third.expect_call()
    at_third.answer()
    talk(call, at_third, 89)
    over(call, at_third)
    assert not server.seen("/after")


# ------------------------------------------------------------------ a phone program


def test_baresip_transfers(tipring, baresip, spoken, party):     # noqa: F811
    """Shows: a real telephone hands its caller to another; both hear each other."""
    (words_file, words), (_, back) = spoken(87, 6), spoken(88, 6)
    box = tipring(*(phone(number, md5=True) for number in ("201", "202", "203")))
    first = baresip("201", PASSWORD, box).wait_registered()
    second = baresip("202", PASSWORD, box, says=words_file, answers="auto").wait_registered()
    third = party("127.0.0.13", user="203", password=PASSWORD)
    third.register(box)
    second.dial("201")
    first.wait_event("CALL_INCOMING")
    first.accept()
    second.wait_event("CALL_ESTABLISHED")
    first.wait_event("CALL_ESTABLISHED")
    first.command("transfer", f"sip:203@{box.udp[0]}:{box.udp[1]}")
    at_third = third.expect_call()
    at_third.ring().answer()
    first.wait_event("CALL_CLOSED")
    at_third.rtp.start_saying(back).join()
    assert audio.likeness(words[8000:12000], at_third.rtp.heard()) >= 0.95
    at_third.hang_up()
    second.wait_event("CALL_CLOSED")
    assert audio.likeness(back[12000:16000], second.heard()) >= 0.95
