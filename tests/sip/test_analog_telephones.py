"""Telephones at phone ports of a line card: dial tone, both ways of dialling, talking, hook flash, ringing, who calls."""
import pytest

import analog
import audio
import caller_sound
import dialects
import kazoo_documents as kazoo
from analog import talk
from box import phone
from countries import country
from waiting import until


def talk_both_ways(telephone, dialog):
    """Each hears what the other says, clean."""
    talk(telephone.say, dialog.rtp.heard)
    talk(dialog.rtp.say, telephone.heard)


def office(tipring, card, *more, ports="P", code="us", number="201", tables=(), **keys):
    """A box with a card and telephones 201 on ... at it: (box, card, [telephones])."""
    card1 = card(ports)
    numbers = [str(int(number) + at) for at in range(ports.count("P"))]
    lines = [analog.telephone(card1.port(ports.index("P") + at + 1), one, **keys) for at, one in enumerate(numbers)]
    box = tipring(*lines, *more, *tables, devices=[card1], country=code)
    return box, card1, [card1.telephone(ports.index("P") + at + 1) for at in range(len(numbers))]


# ------------------------------------------------------------------ it calls


@pytest.mark.parametrize("code, by", [("us", "press"), ("gb", "press"), ("de", "pulse")])
def test_a_telephone_dials_and_talks(tipring, card, desk, code, by):
    """Shows: the country's dial tone, a number by tones or pulses, ring-back, clean sound both ways, the end when it is put down."""
    here = country(code)
    box, _, [telephone] = office(tipring, card, phone("202"), code=code)
    other = desk(box, "202")
    telephone.dials(here, "202", by)
    ringing = other.expect_call(15)
    assert "201" in ringing.invite_message.get("from")
    telephone.forget()
    ringing.ring()
    telephone.hears(here.ringback, steps=1)
    ringing.answer()
    talk_both_ways(telephone, ringing)
    telephone.hang_up()
    ringing.hung_up()
    record = box.cdr()
    assert (record["from"], record["to"], record["line"]) == ("201", "202", "phone201")
    assert (record["cause"], record["ended_by"]) == ("normal-clearing", "caller") and record["answered_after_ms"] is not None


def test_when_the_other_hangs_up_there_is_busy_tone_and_the_next_call_is_dialled(tipring, card, desk):
    """Shows: busy tone after the call; put down and lifted, it has dial tone again."""
    us = country("us")
    box, _, [telephone] = office(tipring, card, phone("202"))
    other = desk(box, "202")
    telephone.dials(us, "202")
    ringing = other.expect_call(15).ring().answer()
    talk(ringing.rtp.say, telephone.heard)
    telephone.forget()
    ringing.hang_up()
    telephone.hears(us.busy)
    telephone.hang_up()
    box.cdr()
    until(lambda: not box.calls(), what="no call")
    telephone.put_down_for_good()
    telephone.dials(us, "202")
    again = other.expect_call(15).ring().answer()
    telephone.hang_up()
    again.hung_up()
    assert box.cdr(2)["from"] == "201"


@pytest.mark.parametrize("number, tone", [("299", "congestion"), ("202", "busy")])
def test_who_is_not_reached_is_heard(tipring, card, desk, number, tone):
    """Shows: a number that leads nowhere, and one that is busy, by the country's tones."""
    de = country("de")
    box, _, [telephone] = office(tipring, card, phone("202"), code="de", between_digits="1s")
    other = desk(box, "202")
    telephone.dials(de, number)
    if tone == "busy":
        other.expect_call(15).refuse(486)
    telephone.hears(getattr(de, tone))
    telephone.hang_up()


def test_two_telephones_call_each_other_and_two_others_at_once(tipring, card):
    """Shows: four ports at a time, two calls, each hears its own other side."""
    us = country("us")
    box, _, phones = office(tipring, card, ports="PPPP")
    for caller, called in ((0, 1), (2, 3)):
        phones[caller].dials(us, f"20{called + 1}")
        phones[called].rings().forget()
        phones[called].lift()
    until(lambda: len(box.calls()) == 2, what="two calls")
    for speaks, hears in ((0, 1), (2, 3), (1, 0), (3, 2)):
        talk(phones[speaks].say, phones[hears].heard)
    before = audio.loud_seconds(phones[3].heard())
    phones[0].say(audio.voice(1, seed=77))
    assert audio.loud_seconds(phones[3].heard()) - before < 0.3
    for telephone in phones:
        telephone.hang_up()
    assert {(record["from"], record["to"]) for record in (box.cdr(1), box.cdr(2))} == {("201", "202"), ("203", "204")}


def test_a_hotline_dials_by_itself(tipring, card, desk):
    """Shows: lifted, it rings at the number of its hotline; no key is pressed."""
    box, _, [telephone] = office(tipring, card, phone("202"), hotline="202")
    other = desk(box, "202")
    telephone.lift()
    ringing = other.expect_call(15).ring().answer()
    talk(telephone.say, ringing.rtp.heard)
    telephone.hang_up()
    ringing.hung_up()
    assert box.cdr()["to"] == "202"


def test_a_receiver_that_stays_up_hears_congestion(tipring, card):
    """Shows: dial tone ends after `first_digit`, and the country's congestion tone says so. (The howler comes 30 s later.)"""
    us = country("us")
    box, _, [telephone] = office(tipring, card, first_digit="1s")
    telephone.lift()
    telephone.hears(us.dial)
    telephone.hears(us.congestion)
    telephone.hang_up()
    assert box.cdrs() == []


# ------------------------------------------------------------------ hook flash


def test_a_hook_flash_holds_calls_and_joins_three(tipring, card, desk):
    """Shows: the party is held and hears no keys, a second one is called, both are joined, the second one is dropped, the first stays."""
    us = country("us")
    box, _, [telephone] = office(tipring, card, phone("202"), phone("203"))
    first, second = desk(box, "202"), desk(box, "203")
    telephone.dials(us, "202")
    held = first.expect_call(15).ring().answer()
    talk_both_ways(telephone, held)
    telephone.forget()
    telephone.flash(us.flash_ms)
    telephone.hears(us.dial)
    telephone.press("203")
    called = second.expect_call(15).ring().answer()
    talk_both_ways(telephone, called)
    assert audio.keys(held.rtp.heard()) == ""
    telephone.flash(us.flash_ms)
    talk(telephone.say, held.rtp.heard)
    talk(telephone.say, called.rtp.heard)
    talk(held.rtp.say, telephone.heard)
    talk(held.rtp.say, called.rtp.heard)
    talk(called.rtp.say, held.rtp.heard)
    telephone.flash(us.flash_ms)
    called.hung_up()
    talk_both_ways(telephone, held)
    telephone.hang_up()
    held.hung_up()
    assert {(record["from"], record["to"]) for record in (box.cdr(1), box.cdr(2))} == {("201", "202"), ("201", "203")}


def test_after_a_european_hook_flash_a_digit_says_what(tipring, card, desk):
    """Shows: timed recall of 100 ms; 2 changes between two parties, 3 joins them, and who hangs up leaves the other two."""
    de = country("de")
    box, _, [telephone] = office(tipring, card, phone("202"), phone("203"), code="de")
    first, second = desk(box, "202"), desk(box, "203")
    telephone.dials(de, "202")
    one = first.expect_call(15).ring().answer()
    talk(telephone.say, one.rtp.heard)
    telephone.forget()
    telephone.flash(de.flash_ms)
    telephone.hears(de.dial)
    telephone.press("203")
    two = second.expect_call(15).ring().answer()
    talk_both_ways(telephone, two)
    telephone.forget()
    telephone.flash(de.flash_ms)
    telephone.hears(de.dial)
    telephone.press("2")
    talk_both_ways(telephone, one)
    telephone.forget()
    telephone.flash(de.flash_ms)
    telephone.hears(de.dial)
    telephone.press("3")
    talk(telephone.say, two.rtp.heard)
    talk(one.rtp.say, two.rtp.heard)
    one.hang_up()
    talk_both_ways(telephone, two)
    telephone.hang_up()
    two.hung_up()


def test_put_down_after_the_timed_key_the_telephone_is_rung_for_the_party_that_is_held(tipring, card, desk):
    """Shows: the key, dial tone, and the receiver goes down at once: nobody is lost, as after a hook that was pressed by hand."""
    de = country("de")
    box, _, [telephone] = office(tipring, card, phone("202"), code="de")
    other = desk(box, "202")
    telephone.dials(de, "202")
    held = other.expect_call(15).ring().answer()
    talk(telephone.say, held.rtp.heard)
    telephone.forget()
    telephone.flash(de.flash_ms)
    telephone.hears(de.dial)
    telephone.hang_up()
    telephone.rings().lift()
    talk_both_ways(telephone, held)
    telephone.hang_up()
    held.hung_up()
    assert box.cdr()["ended_by"] == "caller"


def test_put_down_between_two_parties_they_talk_on(tipring, card, desk):
    """Shows: transfer: who was called first is handed to who was called second; the telephone is free, and rings for the next caller."""
    us = country("us")
    box, _, [telephone] = office(tipring, card, phone("202"), phone("203"))
    first, second = desk(box, "202"), desk(box, "203")
    telephone.dials(us, "202")
    one = first.expect_call(15).ring().answer()
    talk(telephone.say, one.rtp.heard)
    telephone.forget()
    telephone.flash(us.flash_ms)
    telephone.hears(us.dial)
    telephone.press("203")
    two = second.expect_call(15).ring().answer()
    talk(telephone.say, two.rtp.heard)
    telephone.passes(2)         # a receiver that is put down right after a flash was meant to be put down
    telephone.hang_up()
    telephone.put_down_for_good()
    talk(one.rtp.say, two.rtp.heard)
    talk(two.rtp.say, one.rtp.heard)
    assert telephone.device.count("ring", on=True) == 0
    one.hang_up()
    two.hung_up()


def test_a_second_caller_beeps_and_is_taken(tipring, card, desk):
    """Shows: call waiting: a beep over the talk, the flash takes the second caller, and hanging up rings for the one who is held."""
    us = country("us")
    box, _, [telephone] = office(tipring, card, phone("202"), phone("203"))
    first, second = desk(box, "202"), desk(box, "203")
    telephone.dials(us, "202")
    one = first.expect_call(15).ring().answer()
    talk(telephone.say, one.rtp.heard)
    telephone.forget()
    two = second.call(box, "201").authenticate().ringing()
    telephone.wait_heard(lambda pcm: any(loud and audio.tone_share(pcm[begins:ends], 440) > 0.8 for loud, begins, ends in audio.bursts(pcm)), "the beep")
    telephone.flash(us.flash_ms)
    two.answered()
    talk_both_ways(telephone, two)
    telephone.hang_up()
    two.hung_up()
    telephone.rings()
    telephone.lift()
    talk_both_ways(telephone, one)
    telephone.hang_up()
    one.hung_up()


# ------------------------------------------------------------------ it is called


@pytest.mark.parametrize("code", ["us", "gb", "dk"])
def test_a_telephone_rings_shows_who_calls_and_is_answered(tipring, card, desk, code):
    """Shows: the country's cadence, the caller's number by its standard and at its moment, clean sound both ways."""
    here = country(code)
    box, card1, [telephone] = office(tipring, card, phone("202"), code=code)
    telephone.forget()
    call = desk(box, "202").call(box, "201").authenticate().ringing()
    cadence = telephone.cadence(len(here.ring))
    assert all(abs(ms - wanted) <= 60 for ms, wanted in zip(cadence, here.ring)), cadence
    caller = telephone.shown()
    assert (caller.standard, caller.number) == (here.caller_id, "202")
    assert card1.count("reversed", port=1, on=True) == here.starts.startswith("reversal")
    telephone.lift()
    call.answered()
    talk_both_ways(telephone, call)
    telephone.forget()
    call.hang_up()
    telephone.hears(here.busy)
    telephone.hang_up()
    record = box.cdr()
    assert (record["from"], record["to"]) == ("202", "201") and record["answered_after_ms"] is not None


def test_a_caller_who_gives_up_is_heard_no_more(tipring, card, desk):
    """Shows: the bell stops with CANCEL, and does not begin again."""
    box, card1, [telephone] = office(tipring, card, phone("202"), code="de")
    call = desk(box, "202").call(box, "201").authenticate().ringing()
    telephone.rings()
    call.cancel()
    telephone.expect("ring", on=False)
    record = box.cdr()
    assert record["answered_after_ms"] is None and card1.count("ring", on=True) == 1


def test_a_telephone_that_is_not_down_is_busy(tipring, card, desk):
    """Shows: whoever calls while there is dial tone gets 486."""
    us = country("us")
    box, _, [telephone] = office(tipring, card, phone("202"))
    telephone.lift()
    telephone.hears(us.dial)
    desk(box, "202").call(box, "201").authenticate().refused(486)
    telephone.hang_up()


@pytest.mark.parametrize("ring, cadence", [("Bellcore-dr2", (800, 400, 800, 4000)), ("Bellcore-dr3", (400, 200, 400, 200, 800))])
def test_a_flow_chooses_the_ring(tipring, card, provider, tmp_path, ring, cadence):
    """Shows: distinctive ring: a callflow's Alert-Info makes the bell ring in another cadence than the country's."""
    document = kazoo.account(kazoo.callflow(kazoo.chain(kazoo.node("set_alert_info", alert_info=f"<http://127.0.0.1/{ring}>"), kazoo.node("device", id="phone201", timeout=20)), "100"))
    box, _, [telephone] = office(tipring, card, dialects.kazoo_file(tmp_path / "office.json", document))
    call = provider.call(box, "100")
    rung = telephone.cadence(len(cadence))
    assert all(abs(ms - wanted) <= 60 for ms, wanted in zip(rung, cadence)), rung
    telephone.lift()
    call.answered()
    talk(telephone.say, call.rtp.heard)
    call.hang_up()
    telephone.hang_up()


@pytest.mark.parametrize("code", ["us", "de"])
def test_messages_wait_and_no_longer(tipring, tmp_path, card, provider, code):
    """Shows: a message is left in the mailbox of a telephone's owner: a lamp by data and one by voltage, and dial tone that stutters; it is deleted from the telephone: all of it goes."""
    here = country(code)
    greeting = tmp_path / "prompts"
    greeting.mkdir()
    audio.write_wav(greeting / "greeting.wav", audio.voice(0.3, seed=7))
    document = kazoo.account(kazoo.callflow(kazoo.node("voicemail", action="compose", id="ann"), "800", id="leave"), kazoo.callflow(kazoo.node("voicemail", action="check", id="ann"), "801", id="listen"))
    card1 = card("P")
    telephone = card1.telephone(1)
    box = tipring(dialects.kazoo_file(tmp_path / "account.json", document, numbers=["800", "801"]),
                  '[[mailbox]]\nname = "ann"\npin = "4711"\nskips_instructions = true\ngreeting = "greeting"\n', '[[user]]\nname = "ann"\nphones = ["201"]\nmailbox = "ann"\n',
                  analog.telephone(card1.port(1), "201", messages=["stutter", "fsk", "lamp"]), devices=[card1], country=code, prompts_dir=greeting)
    telephone.forget()
    call = provider.call(box, "800").answered()
    call.rtp.wait_quiet(0.7)
    call.rtp.say(audio.voice(2, seed=91))
    call.hang_up()
    telephone.expect("lamp", on=True)
    telephone.wait_heard(lambda pcm: caller_sound.lamps(pcm) == [True], "that messages wait")
    telephone.forget()
    telephone.lift()
    telephone.wait_heard(lambda pcm: audio.is_tone(pcm, here.dial.hz, (100, 100) * 7), "dial tone that stutters")
    telephone.press("801")
    telephone.passes(1.5)
    telephone.press("1")
    telephone.passes(1)
    telephone.press("7")
    telephone.expect("lamp", on=False)
    telephone.forget()
    telephone.hang_up()
    telephone.wait_heard(lambda pcm: caller_sound.lamps(pcm) == [False], "that no messages wait")
    telephone.forget()
    telephone.lift()
    telephone.hears(here.dial)
    telephone.hang_up()
