"""Devices of analog lines that go, come back, and talk nonsense: no call hangs, no record is missing, and the next call works."""
import time

import pytest

import analog
import audio
from analog import talk
from box import phone
from countries import country
from waiting import until

BACK_S = 5              # a port is there again so soon after its device
HUM = audio.voice(0.6, seed=63)


def gone(box, line, timeout=5.0):
    until(lambda: box.line(line)["state"] == "down", timeout, lambda: f"an alarm at {line}", 0.02)
    assert box.line(line)["detail"] == "TR-LINE-NODEVICE"


def back(box, line):
    """How long it took."""
    began = time.monotonic()
    until(lambda: box.line(line)["state"] == "up", BACK_S, lambda: f"the line {line}", 0.02)
    return time.monotonic() - began


def answered_by_the_flow(exchange):
    exchange.order("ring", cadence=[1000, 4000])
    exchange.seized()


@pytest.fixture
def exchange_box(tipring, server):
    """A flow that plays for a minute, on a line that waits for no number: (box, exchange)."""
    def make(device, **keys):
        server.sound("/hum.wav", audio.wav_bytes(HUM))
        server.flow("/flow", f"<Play loop='100'>{server.url('/hum.wav')}</Play><Hangup/>")
        box = tipring(analog.exchange_line(device.port(1), flow="office", caller_id_rings=0, guard="500ms", **keys), devices=[device], country="de")
        return box, device.exchange(1)

    return make


@pytest.mark.limit(200)
def test_a_card_is_pulled_out_of_calls_thirty_times(exchange_box, card):
    """Shows: each call ends cleanly with a record, the alarm is in status and log, the line is back within 5 s, and the next call is answered."""
    card1 = card("L")
    box, exchange = exchange_box(card1)
    took, descriptors = [], None
    for turn in range(30):
        answered_by_the_flow(exchange)
        if turn % 10 == 0:
            exchange.forget()
            exchange.wait_heard(lambda pcm: analog.is_heard(HUM, pcm), "the prompt")
        card1.unplug()
        record = box.cdr(turn + 1)
        assert (record["cause"], record["ended_by"]) == ("temporary-failure", "line") and record["answered_after_ms"] is not None, record
        gone(box, "wall")
        card1.forget_events()
        card1.plug()
        took.append(back(box, "wall"))
        if turn == 3:
            descriptors = box.descriptors()
    assert max(took) < BACK_S, took
    assert len(box.cdrs()) == 30 and box.descriptors() <= descriptors + 3
    assert box.log().count("TR-LINE-NODEVICE") >= 30
    answered_by_the_flow(exchange)
    exchange.forget()
    exchange.wait_heard(lambda pcm: analog.is_heard(HUM, pcm), "the prompt")
    exchange.breaks()
    exchange.released()


@pytest.mark.limit(200)
def test_a_telephone_s_card_is_pulled_out_of_calls_fifteen_times(tipring, card, desk):
    """Shows: the SIP party of each call gets its BYE; a receiver that is still up has its hotline again as soon as the card is back."""
    card1 = card("P")
    box = tipring(analog.telephone(card1.port(1), "201", hotline="202"), phone("202"), devices=[card1])
    other, telephone = desk(box, "202"), card1.telephone(1)
    telephone.lift()
    for turn in range(15):
        ringing = other.expect_call(BACK_S + 5).ring().answer()
        card1.unplug()
        ringing.hung_up()
        record = box.cdr(turn + 1)
        assert (record["legs"][0]["cause"], record["ended_by"]) == ("temporary-failure", "line"), record
        card1.plug()
    ringing = other.expect_call(BACK_S + 5).ring().answer()
    talk(telephone.say, ringing.rtp.heard)
    talk(ringing.rtp.say, telephone.heard)
    telephone.hang_up()
    ringing.hung_up()
    assert box.cdr(16)["cause"] == "normal-clearing" and len(box.cdrs()) == 16


@pytest.mark.parametrize("chip", ["conexant", "usr"])
def test_a_modem_is_pulled_out_of_calls_five_times(exchange_box, modem, chip):
    """Shows: the same of a modem."""
    modem1 = modem(chip)
    box, exchange = exchange_box(modem1)
    for turn in range(5):
        answered_by_the_flow(exchange)
        exchange.forget()
        exchange.wait_heard(lambda pcm: audio.loud_seconds(pcm) > 0.2, "the prompt")
        modem1.unplug()
        record = box.cdr(turn + 1)
        assert (record["cause"], record["ended_by"]) == ("temporary-failure", "line") and record["answered_after_ms"] is not None, record
        gone(box, "wall")
        modem1.forget_events()
        modem1.plug()
        back(box, "wall")
    answered_by_the_flow(exchange)
    exchange.forget()
    exchange.wait_heard(lambda pcm: analog.is_heard(HUM, pcm), "the prompt")
    exchange.stops_ringing()
    modem1.unplug()
    assert len([box.cdr(number) for number in range(1, 7)]) == 6


@pytest.mark.parametrize("fault", ["nonsense", "mute"])
def test_a_modem_answers_nonsense_or_nothing(exchange_box, modem, fault):
    """Shows: in a call and at rest: the call ends with a record, the line is down and says why, and comes back with the modem's senses."""
    modem1 = modem("conexant")
    box, exchange = exchange_box(modem1)
    answered_by_the_flow(exchange)
    exchange.forget()
    exchange.wait_heard(lambda pcm: audio.loud_seconds(pcm) > 0.2, "the prompt")
    modem1.order(fault, on=True)
    record = box.cdr(timeout=30)
    assert record["cause"] == "temporary-failure" and "TR-MODEM" in box.log(), record
    gone(box, "wall", 10)
    modem1.order(fault, on=False)
    until(lambda: box.line("wall")["state"] == "up", 20, "the line")
    modem1.forget_events()
    answered_by_the_flow(exchange)
    exchange.forget()
    exchange.wait_heard(lambda pcm: analog.is_heard(HUM, pcm), "the prompt")
    modem1.unplug()
    assert len([box.cdr(number) for number in (1, 2)]) == 2


def test_a_modem_that_was_left_off_hook_in_a_stream(exchange_box, modem):
    """Shows: a program that died held the line: the box lets go of it as it starts, and takes the next call."""
    modem1 = modem("usr", "modem1", "--streaming")
    box, exchange = exchange_box(modem1)
    exchange.released()
    answered_by_the_flow(exchange)
    exchange.forget()
    exchange.wait_heard(lambda pcm: analog.is_heard(HUM, pcm), "the prompt")
    modem1.unplug()
    box.cdr()


@pytest.mark.parametrize("fault", ["unplug while it rings", "unplug while it is dialled", "reboot", "silent card"])
def test_a_card_fails_at_another_moment(tipring, server, card, party, fault):
    """Shows: while it rings, while it dials, by its own reset, or by answering no more: one record, and the line is back."""
    us = country("us")
    server.flow("/flow", "<Dial timeout='60000'><To>202</To></Dial><Hangup/>")
    card1 = card("L")
    exchange = card1.exchange()
    box = tipring(analog.exchange_line(card1.port(1), flow="office", caller_id_rings=0), phone("201", dial_out="wall"), phone("202"), devices=[card1])
    caller = party("127.0.0.11", user="201", password="opensesame")
    caller.register(box)
    if fault == "unplug while it rings":
        called = party("127.0.0.12", user="202", password="opensesame")
        called.register(box)
        exchange.rings(us)
        ringing = called.expect_call(15).ring()
        card1.unplug()
        exchange.stops_ringing()
        ringing.cancelled(10)
        gone(box, "wall")
        card1.plug()
    else:
        call = caller.call(box, "5550123").authenticate()
        exchange.seized()
        exchange.plays(us.dial)
        exchange.expect("digit")
        if fault == "unplug while it is dialled":
            card1.unplug()
        elif fault == "reboot":
            card1.order("reboot")
        else:
            card1.order("lose_replies", count=20)
        call.refused(timeout=20)
        if fault == "unplug while it is dialled":
            card1.plug()
    box.cdr()
    box.wait_lines_up()
    assert len(box.cdrs()) == 1
    again = caller.call(box, "5550123").authenticate()
    card1.forget_events()
    exchange.seized()
    again.cancel()
    exchange.released()


def test_a_bad_wire_to_the_card_costs_no_call(tipring, card, desk):
    """Shows: bytes that change, noise, lost answers and lost sound during a call: it goes on, and is put down as if nothing had been."""
    us = country("us")
    card1 = card("P")
    box = tipring(analog.telephone(card1.port(1), "201"), phone("202"), devices=[card1])
    other, telephone = desk(box, "202"), card1.telephone(1)
    telephone.dials(us, "202")
    ringing = other.expect_call(15).ring().answer()
    card1.order("garble", permille=5)
    card1.order("noise", bytes=2000)
    talk(telephone.say, ringing.rtp.heard)
    card1.order("lose_replies", count=3)
    talk(ringing.rtp.say, telephone.heard)
    card1.order("lose_frames", frames=800)
    talk(telephone.say, ringing.rtp.heard)
    telephone.hang_up()
    ringing.hung_up(15)
    card1.order("garble", permille=0)
    assert box.cdr()["cause"] == "normal-clearing" and box.line("phone201")["state"] == "up"


def test_a_box_starts_without_its_card(tipring, card):
    """Shows: the line is down with a reason, the box runs, and the card is taken when it comes."""
    card1 = card("P")
    card1.unplug()
    box = tipring(analog.telephone(card1.port(1), "201"), devices=[card1], started=False).start()
    assert box.status()["ready"]
    gone(box, "phone201")
    card1.plug()
    back(box, "phone201")
    telephone = card1.telephone(1)
    telephone.lift()
    telephone.hears(country("us").dial)
    telephone.hang_up()


def test_a_socket_of_the_wrong_kind(tipring, card):
    """Shows: a telephone configured at a line port: the line is down and says so, the others work."""
    card1 = card("LP")
    box = tipring(analog.telephone(card1.port(1), "201"), analog.telephone(card1.port(2), "202"), devices=[card1], started=False).start()
    until(lambda: box.line("phone202")["state"] == "up", what="the right one")
    assert box.line("phone201")["state"] == "down"
