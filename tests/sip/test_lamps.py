"""Lamps: messages that wait (RFC 3842), what other telephones do (RFC 4235, RFC 3856), and those that flows light."""
import json

import pytest

import audio
import dialects
import kazoo_documents as kazoo
from box import phone
from kazoo_documents import callflow, node
from waiting import until
from watching import DIALOG_INFO, Notify, Subscription

WORDS = audio.voice(2, seed=91)
DECLINED = 603
SUMMARY = "message-summary"


def mailbox(name="ann", phones=("201",), **keys):
    lines = [f"{key} = {json.dumps(value)}" for key, value in dict(name=name, phones=list(phones), pin="4711", skips_instructions=True, greeting="greeting", **keys).items()]
    return "\n".join(["[[mailbox]]", *lines]) + "\n"


@pytest.fixture
def office(tipring, tmp_path):
    """office(tables...): 800 takes a message for Ann, 801 plays hers; 85x light and darken lamps."""
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    audio.write_wav(prompts / "greeting.wav", audio.voice(0.3, seed=7))

    def start(*tables, **keys):
        presence = lambda status: node("manual_presence", presence_id="night@office.example", status=status)
        document = kazoo.account(
            callflow(node("voicemail", action="compose", id="ann"), "800", id="leave"),
            callflow(node("voicemail", action="check", id="ann"), "801", id="listen"),
            callflow(presence("ringing"), "850", id="ringing"),
            callflow(presence("busy"), "851", id="busy"),
            callflow(presence("idle"), "852", id="idle"),
            callflow(node("park", slot="7"), "*37", id="park"),
        )
        return tipring(dialects.kazoo_file(tmp_path / "account.json", document, numbers=["800", "801", "850", "851", "852", "*37"]), *tables, prompts_dir=prompts, **keys)
    return start


def leave_message(box, provider):
    call = provider.call(box, "800").answered()
    call.rtp.wait_quiet(0.7)
    call.rtp.say(WORDS)
    call.hang_up()


# ------------------------------------------------------------------ messages that wait


def test_a_message_lights_the_lamp_and_hearing_and_deleting_it_darken_it(office, provider, desk):
    """Shows: a telephone that subscribes sees a message come, be heard and be deleted, each within a second of the change."""
    box = office(phone("201"), phone("202"), mailbox())
    ann = desk(box, "201")
    lamp = Subscription(ann, box, "201", SUMMARY)
    assert (lamp.answer.status, lamp.answer.get("expires")) == (200, "600")
    assert lamp.first.waiting() == (False, 0, 0) and lamp.first.state == "active"
    assert lamp.first.message.get("event") == SUMMARY

    leave_message(box, provider)
    assert lamp.notify(8).waiting() == (True, 1, 0)

    call = ann.call(box, "801").authenticate().answered()
    call.rtp.press("1")
    call.rtp.press("1")
    assert lamp.notify(20).waiting() == (False, 0, 1), "heard and kept"
    call.rtp.press("2")
    call.rtp.press("7")
    assert lamp.until(lambda n: n.waiting() == (False, 0, 0), 20), "deleted"
    call.hang_up()

    assert lamp.again(0).status == 200
    last = lamp.notify()
    assert (last.state, last.reason, last.waiting()) == ("terminated", "timeout", (False, 0, 0))
    leave_message(box, provider)
    ann.expect_nothing(lambda m: m.method == "NOTIFY" and m.get("call-id") == lamp.call_id, 1.5)


def unasked(party, timeout=5.0):
    """The next NOTIFY that nobody asked for; answered."""
    message = party.expect(lambda m: m.method == "NOTIFY" and m.tag("to") is None, timeout)
    party.send(party.response(message, 200), message.source)
    return Notify(message)


def test_a_telephone_that_does_not_subscribe_is_told_after_registering_and_at_each_change(office, provider, desk):
    """Shows: the default; the count is that of the disk after a restart as well."""
    box = office(phone("201"), mailbox())
    ann = desk(box, "201")
    first = unasked(ann)
    assert first.waiting() == (False, 0, 0) and first.message.get("event") == SUMMARY
    assert first.message.uri == f"sip:201@{ann.address}"
    leave_message(box, provider)
    assert unasked(ann, 8).waiting() == (True, 1, 0)
    box.finish()
    box.start()
    ann.box = box.udp
    ann.register(box)
    assert unasked(ann).waiting() == (True, 1, 0)


@pytest.mark.parametrize("told,subscribes,expected", [("subscribed", False, False), ("never", False, False), ("auto", True, False), ("always", True, True)])
def test_the_line_says_who_is_told_without_asking(office, provider, desk, told, subscribes, expected):
    """Shows: `message_waiting` of a line; who has subscribed is not told twice."""
    box = office(phone("201", message_waiting=told), mailbox())
    ann = desk(box, "201")
    lamp = Subscription(ann, box, "201", SUMMARY) if subscribes else None
    if told in ("auto", "always"):
        unasked(ann)
    leave_message(box, provider)
    until(lambda: list((box.data / "mailboxes" / "ann").glob("*.wav")), 8, "the message")
    if lamp:
        assert lamp.notify(8).waiting() == (True, 1, 0)
    if expected:
        assert unasked(ann).waiting() == (True, 1, 0)
    else:
        ann.expect_nothing(lambda m: m.method == "NOTIFY" and m.tag("to") is None, 1.0)
    if told == "never":
        assert Subscription(ann, box, "201", SUMMARY).answer.status == 404


def test_whose_mailbox_it_is(office, desk):
    """Shows: the owner's telephone, by the user; a shared one by its name; nobody else's."""
    user = '[[user]]\nname = "ann"\nphones = ["201"]\nmailbox = "ann"\n'
    box = office(phone("201"), phone("202"), mailbox(phones=()), mailbox("sales", ("201", "202"), number="900"), user)
    ann, tom = desk(box, "201"), desk(box, "202")
    assert Subscription(ann, box, "201", SUMMARY).first.waiting() == (False, 0, 0)
    assert "sip:ann@" in Subscription(ann, box, "ann", SUMMARY).first.body
    assert Subscription(tom, box, "900", SUMMARY).answer.status == 200
    assert Subscription(tom, box, "ann", SUMMARY).answer.status == 404
    assert Subscription(tom, box, "201", SUMMARY).answer.status == 404


# ------------------------------------------------------------------ what others do


def test_a_call_is_seen_from_ringing_to_its_end(office, provider, desk):
    """Shows: early with who calls and what a pick-up needs, confirmed, idle; versions rise one by one."""
    box = office(phone("201"), phone("202"))
    ann, tom = desk(box, "201"), desk(box, "202")
    lamp = Subscription(tom, box, "201", "dialog")
    assert (lamp.first.lamp(), lamp.first.version, lamp.first.xml.get("state")) == ("idle", 0, "full")
    call = provider.call(box, "201")
    ringing = ann.expect_call().ring()
    early = lamp.until(lambda n: n.lamp() == "early" and n.dialogs()[0].get("local-tag"))
    [dialog] = early.dialogs()
    assert dialog.get("direction") == "recipient" and early.remote().startswith("sip:15550100@")
    invite = ringing.invite_message
    assert (dialog.get("call-id"), dialog.get("remote-tag"), dialog.get("local-tag")) == (invite.get("call-id"), invite.tag("from"), ringing.local_tag)
    ringing.answer()
    call.answered()
    assert lamp.until(lambda n: n.lamp() == "confirmed").dialogs()[0].get("id") == dialog.get("id")
    call.hang_up()
    over = lamp.until(lambda n: n.lamp() == "idle")
    assert [d.get("id") for d in over.xml.findall(f"{DIALOG_INFO}dialog")] == [dialog.get("id")], "told as terminated"
    versions = [Notify(m).version for m in tom.seen if m.method == "NOTIFY" and m.get("call-id") == lamp.call_id]
    assert sorted(set(versions)) == list(range(over.version + 1))


def test_who_calls_out_is_seen_and_hidden_numbers_stay_hidden(office, provider, desk):
    """Shows: initiator with the dialled number; no identity for a hidden caller, nor where the line says so."""
    box = office(phone("201"), phone("202"), phone("203", lamp="state"), phone("204", lamp="none"))
    parties = [desk(box, number) for number in ("201", "202", "203", "204")]
    ann, tom, kim, joe = parties
    lamps = [Subscription(tom, box, number, "dialog") for number in ("201", "203", "204")]
    call = ann.call(box, "203").authenticate()
    ringing = kim.expect_call().ring()
    out = lamps[0].until(lambda n: n.lamp() == "early")
    assert out.dialogs()[0].get("direction") == "initiator" and out.remote().startswith("sip:203@")
    assert lamps[1].until(lambda n: n.lamp() == "early").remote() is None, "lamp = \"state\""
    ringing.refuse(DECLINED)
    call.refused()
    for lamp in lamps[:2]:
        lamp.until(lambda n: n.lamp() == "idle")
    hidden = provider.call(box, "201", headers=[("Privacy", "id")])
    ann.expect_call().ring()
    assert lamps[0].until(lambda n: n.lamp() == "early").remote() is None
    hidden.cancel()
    lamps[0].until(lambda n: n.lamp() == "idle")
    call = provider.call(box, "204")
    joe.expect_call().refuse(DECLINED)
    call.refused()
    tom.expect_nothing(lambda m: m.method == "NOTIFY" and m.get("call-id") == lamps[2].call_id, 1.0)


def test_presence_tells_the_same_in_fewer_words(office, provider, desk):
    """Shows: closed, open after registering, on the phone."""
    box = office(phone("201"), phone("202"))
    tom = desk(box, "202")
    lamp = Subscription(tom, box, "201", "presence")
    assert lamp.first.presence() == "closed"
    ann = desk(box, "201")
    assert lamp.notify().presence() == "open"
    call = provider.call(box, "201")
    ann.expect_call().ring().answer()
    call.answered()
    lamp.until(lambda n: n.presence() == "busy")
    call.hang_up()
    lamp.until(lambda n: n.presence() == "open")


def test_a_storm_of_calls_costs_two_notifies_a_second(office, provider, desk):
    """Shows: the latest state wins, and the lamp is dark at the end."""
    box = office(phone("201"), phone("202"))
    ann, tom = desk(box, "201"), desk(box, "202")
    lamp = Subscription(tom, box, "201", "dialog")
    for _ in range(30):
        call = provider.call(box, "201")
        ann.expect_call().refuse(DECLINED)
        call.refused()
    last = lamp.until(lambda n: n.lamp() == "idle" and not box.status()["calls"])
    notifies = [m for m in tom.seen if m.method == "NOTIFY" and m.get("call-id") == lamp.call_id]
    gaps = [b.at - a.at for a, b in zip(notifies[1:], notifies[2:])]
    assert all(gap > 0.3 for gap in gaps), gaps
    versions = [last.version]
    tom.expect_nothing(lambda m: m.method == "NOTIFY" and Notify(m).dialogs() and Notify(m).version > versions[0], 1.0)


# ------------------------------------------------------------------ lamps that flows light


def test_flows_light_lamps_that_stay(office, provider, desk):
    """Shows: Kazoo's manual_presence, over a restart; darkened by another call."""
    box = office(phone("202"))
    tom = desk(box, "202")
    lamp = Subscription(tom, box, "night", "dialog")
    assert lamp.first.lamp() == "idle"
    for number, state in (("850", "early"), ("851", "confirmed")):
        provider.call(box, number).refused()
        assert lamp.until(lambda n: n.lamp() == state).remote is not None
    box.cdr()
    box.finish()
    box.start()
    tom.box = box.udp
    tom.register(box)
    lamp = Subscription(tom, box, "night", "dialog")
    assert lamp.first.lamp() == "confirmed"
    provider.box = None
    provider.call(box, "852").refused()
    assert lamp.until(lambda n: n.lamp() == "idle")


def test_a_parked_call_blinks_until_it_is_gone(office, provider, desk):
    """Shows: the lamp of the place, by its number and by what was dialled."""
    box = office(phone("202"))
    tom = desk(box, "202")
    lamps = [Subscription(tom, box, name, "dialog") for name in ("7", "*37")]
    call = provider.call(box, "*37").answered()
    for lamp in lamps:
        lamp.until(lambda n: n.lamp() == "early")
    call.hang_up()
    for lamp in lamps:
        lamp.until(lambda n: n.lamp() == "idle")


# ------------------------------------------------------------------ who means harm


def test_strangers_get_silence_and_telephones_without_a_password_nothing(office, party, desk):
    """Shows: no answer beyond the networks of telephones; 401 within; a wrong password stays outside."""
    box = office(phone("201"), mailbox())
    stranger = party("127.0.0.66", box=box)
    stranger.send(stranger.request("SUBSCRIBE", f"sip:201@{box.udp[0]}", headers=[("Event", "dialog")]))
    stranger.expect_nothing()
    guesser = party("127.0.0.12", user="201", password="guessed", box=box)
    assert Subscription(guesser, box, "201", "dialog").answer.status == 401
    assert box.status()["counters"]["subscriptions"] == 0


@pytest.mark.parametrize("package,expires,status", [
    ("conference", 600, 489), ("", 600, 489), ("dialog", 59, 423), ("dialog", 1, 423), ("dialog", "99999999999999999999", 400),
    ("dialog", "-1", 400), ("dialog", None, 200), ("dialog;sla;id=3", 4294967295, 200)])
def test_odd_wishes(office, desk, package, expires, status):
    """Shows: packages that are not known, lifetimes that are too short, too long or no number."""
    box = office(phone("201"))
    ann = desk(box, "201")
    lamp = Subscription(ann, box, "201", package, expires)
    assert lamp.answer.status == status
    if status == 489:
        assert lamp.answer.get("allow-events") == "message-summary, dialog, presence"
    if status == 423:
        assert lamp.answer.get("min-expires") == "60"
    if status == 200:
        assert lamp.answer.get("expires") == "3600"
    if "id=3" in package:
        assert lamp.first.message.get("event") == "dialog;id=3"


def test_a_flood_of_subscriptions_is_bounded(office, desk):
    """Shows: 128 for a telephone, then 403; the others go on."""
    box = office(phone("201"), phone("202"))
    ann, tom = desk(box, "201"), desk(box, "202")
    answers = [Subscription(ann, box, f"n{n}", "dialog").answer.status for n in range(131)]
    assert answers == [200] * 128 + [403] * 3
    assert Subscription(tom, box, "201", "dialog").answer.status == 200
    assert box.status()["counters"]["subscriptions"] == 129


@pytest.mark.parametrize("status", [481, 405, 603])
def test_a_telephone_that_knows_nothing_of_it_is_forgotten(office, desk, provider, status):
    """Shows: the answer to a NOTIFY ends a subscription; a later SUBSCRIBE inside it finds nothing."""
    box = office(phone("201"), phone("202"))
    ann, tom = desk(box, "201"), desk(box, "202")
    lamp = Subscription(tom, box, "201", "dialog")
    call = provider.call(box, "201")
    ann.expect_call().refuse(DECLINED)
    lamp.notify(status=status)
    call.refused()
    until(lambda: box.status()["counters"]["subscriptions"] == 0, what="forgotten")
    assert lamp.again().status == 481


@pytest.mark.limit(90)
def test_a_telephone_that_vanishes_is_forgotten(office, desk, provider):
    """Shows: silence to a NOTIFY for 32 s ends a subscription; until then the state waits with one transaction."""
    box = office(phone("201"), phone("202"))
    ann, tom = desk(box, "201"), desk(box, "202")
    lamp = Subscription(tom, box, "201", "dialog")
    for _ in range(3):
        call = provider.call(box, "201")
        ann.expect_call().refuse(DECLINED)
        call.refused()
    until(lambda: box.status()["counters"]["subscriptions"] == 0, 45, "forgotten", 0.5)
    assert len({m.get("cseq") for m in tom.seen if m.method == "NOTIFY" and m.get("call-id") == lamp.call_id}) == 2


# ------------------------------------------------------------------ a real telephone


def test_baresip_shows_messages_that_wait(office, provider, baresip):
    """Shows: its module mwi subscribes, and prints what it was told."""
    box = office(phone("201", md5=True, message_waiting="subscribed"), mailbox())
    ann = baresip("201", "opensesame", box, more_modules=("mwi.so",), account=";mwi=yes", registers_late=True)
    until(lambda: "Messages-Waiting: no" in ann.log(), 10, ann.log, 0.05)
    leave_message(box, provider)
    until(lambda: "Messages-Waiting: yes" in ann.log() and "Voice-Message: 1/0" in ann.log(), 10, ann.log, 0.2)


def test_baresip_shows_who_is_there_and_who_speaks(office, provider, desk, baresip):
    """Shows: its module presence subscribes to a contact, and understands what it is told."""
    box = office(phone("201"), phone("202", md5=True))
    tom = baresip("202", "opensesame", box, more_modules=("presence.so",),
                  contacts=f'"Ann" <sip:201@{box.udp[0]}:{box.udp[1]}>;presence=p2p\n')
    tom.wait_registered()

    def shows(word):
        def asked():
            tom.command("contacts")
            return any(word in event.get("data", "") for event in tom.events[-3:])
        until(asked, 25, lambda: f"{word}\n{tom.log()}", 0.2)

    shows("Offline")
    ann = desk(box, "201")
    shows("Online")
    call = provider.call(box, "201")
    ann.expect_call().ring().answer()
    call.answered()
    shows("Busy")
    call.hang_up()
    shows("Online")
