"""Lines of the exchange: who calls, in which country, how answers and ends are known, and what must not go wrong."""
import pytest

import analog
import audio
from analog import talk
from box import flow, phone
from countries import Tone, country
from flow_server import Answer
from waiting import until

MENU = audio.voice(0.8, seed=61)
PREEMPTION_HZ = [440, 620]
CALLER, DIALLED = "5550100", "5550123"
TWELVE = ["us", "gb", "de", "fr", "it", "jp", "dk", "in", "br", "au", "cn", "se"]
STANDARDS = ["bellcore", "etsi", "number-display", "dtmf"]
OUT = "<Gather dtmf_length='4' attempts='4' timeout='5000'><Play>{menu}</Play><DTMF value='4711'><Dial><To>" + DIALLED + "</To></Dial><Hangup tag='talked'/></DTMF></Gather><Hangup tag='lost'/>"


@pytest.fixture
def wall(request, card, modem):
    """wall(count): so many lines of the exchange, at a card or at modems of a chip: (devices, [port, ...], [Exchange, ...])."""
    def make(count=1):
        if request.param == "linecard":
            card1 = card("L" * count)
            return [card1], [card1.port(at + 1) for at in range(count)], [card1.exchange(at + 1) for at in range(count)]
        modems = [modem(request.param, f"modem{at + 1}") for at in range(count)]
        return modems, [one.port(1) for one in modems], [one.exchange() for one in modems]

    return make


def plays_menu(server, document):
    server.sound("/menu.wav", audio.wav_bytes(MENU))
    server.flow("/flow", document.format(menu=server.url("/menu.wav")))


def hears_menu(exchange):
    exchange.wait_heard(lambda pcm: analog.is_heard(MENU, pcm), "the menu")


def hears_preemption(pcm):
    """Somewhere in it, for a fifth of a second, is the tone of a line that is taken away, and nothing else. A busy machine may cost some of its half second."""
    parts = (pcm[at:at + 1600] for at in range(0, len(pcm) - 1600, 400))
    return any([round(hz, -1) for hz in audio.frequencies(part)] == PREEMPTION_HZ for part in parts if audio.level_dbfs(part) > -30)


def answers(exchange, here):
    """The far end rings for a while, and somebody answers: the exchange says so as in the country, or he speaks. The signs that may be noticed."""
    exchange.plays(here.ringback)
    exchange.passes(1.2)
    exchange.silence()
    if here.starts.startswith("reversal") and exchange.tells_reversals:
        exchange.reverse(True)
        return ["reversal"]
    exchange.say(audio.voice(1, seed=62))
    return ["voice", "ringback-ended"]


# ------------------------------------------------------------------ one story in twelve countries


@pytest.mark.parametrize("wall, code", [("linecard", code) for code in TWELVE] + [("conexant", "us"), ("usr", "de"), ("conexant", "jp"), ("generic", "dk")], indirect=["wall"])
def test_an_exchange_calls_and_is_led_out_over_another_line(tipring, server, wall, code):
    """Shows: ring, who calls, answer, prompt, keys in the sound, dial tone and digits on line 2, clean sound both ways, busy tone ends both."""
    here = country(code)
    plays_menu(server, OUT)
    devices, ports, (first, second) = wall(2)
    box = tipring(analog.exchange_line(ports[0], "wall1", number="5551000", dial_out=["wall2"], flow="office"), analog.exchange_line(ports[1], "wall2", number="5552000"),
                  devices=devices, country=code)
    first.rings(here, CALLER)
    first.seized()
    hears_menu(first)
    asked = server.wait_for("/flow")
    assert dict(asked.query)["from"] == CALLER
    first.chooses("4711", lambda: second.seized(8))
    second.plays(here.dial)
    assert second.digits(len(DIALLED)) == DIALLED
    second.passes(0.5)
    signs = answers(second, here)
    talk(second.say, first.heard)
    talk(first.say, second.heard)
    first.ends(here)
    first.released()
    second.released()
    record = box.cdr()
    assert (record["from"], record["to"], record["line"]) == (CALLER, "5551000", "wall1")
    incoming, outgoing = record["legs"]
    assert (incoming["line"], outgoing["line"], outgoing["to"]) == ("wall1", "wall2", DIALLED)
    assert told_by(incoming) == here.caller_id
    assert outgoing["wire"]["answer_by"] in signs
    assert incoming["wire"]["end_by"] == ["busy-tone"] and outgoing["wire"]["end_by"] == ["own-release"]


WORDS = {"number-display": "ntt"}       # what a record calls a standard, where it is not as in the table of countries


def told_by(leg):
    """The standard by which the record says that the caller was told, in the words of the table of countries."""
    return next((ours for ours, theirs in WORDS.items() if theirs == leg["wire"]["caller_id"]), leg["wire"]["caller_id"])


# ------------------------------------------------------------------ who calls


@pytest.mark.parametrize("standard", STANDARDS)
def test_who_calls_is_heard_by_any_standard(tipring, server, card, standard):
    """Shows: in a country of another standard, too; number in request and record."""
    us = country("us")
    server.flow("/flow", "<Pause length='200'/><Hangup/>")
    card1 = card("L")
    exchange = card1.exchange()
    box = tipring(analog.exchange_line(card1.port(1), number="5551000", flow="office"), devices=[card1])
    exchange.rings(us, CALLER, "Zoe", standard)
    exchange.seized()
    assert dict(server.wait_for("/flow").query)["from"] == CALLER
    exchange.released()
    record = box.cdr()
    assert record["from"] == CALLER and told_by(record["legs"][0]) == standard


@pytest.mark.parametrize("wall", ["linecard", "usr"], indirect=True)
def test_a_caller_who_does_not_say_who_he_is(tipring, server, wall):
    """Shows: withheld: the call is taken all the same, from nobody."""
    server.flow("/flow", "<Hangup/>")
    devices, [port], [exchange] = wall()
    box = tipring(analog.exchange_line(port, flow="office"), devices=devices)
    exchange.rings(country("us"), absent="P")
    exchange.seized().released()
    assert box.cdr()["from"] in ("", "anonymous")


def test_without_a_number_the_call_comes_after_two_rings(tipring, server, card):
    """Shows: nothing is told of who calls: it is offered all the same; another ring is another number of the line."""
    server.flow("/flow", "<Hangup/>")
    card1 = card("L")
    box = tipring(analog.exchange_line(card1.port(1), number="5551000", distinctive=["400-200-400-2000=5551001"], flow="office", guard="500ms"), devices=[card1], country="de")
    exchange = card1.exchange()
    exchange.rings(country("de"))
    exchange.seized().released()
    exchange.rings(country("gb"))
    exchange.seized().released()
    assert [box.cdr(number)["to"] for number in (1, 2)] == ["5551000", "5551001"]


def test_a_caller_who_gives_up_before_the_answer(tipring, server, card):
    """Shows: the telephone that the flow rings is silent again when the exchange rings no more."""
    card1 = card("LP")
    server.flow("/flow", "<Dial timeout='60000'><To>201</To></Dial><Hangup/>")
    box = tipring(analog.exchange_line(card1.port(1), flow="office", caller_id_rings=0), analog.telephone(card1.port(2), "201"), flow(url=server.url("/flow"), auto_answer=False),
                  devices=[card1], country="de")
    exchange, telephone = card1.exchange(1), card1.telephone(2)
    exchange.rings(country("de"))
    telephone.rings()
    exchange.stops_ringing()
    until(lambda: box.cdrs(), 25, "the record of a call that was given up")
    rung = card1.count("ring", on=True)
    telephone.put_down_for_good()
    assert card1.count("ring", on=True) == rung and box.cdr()["answered_after_ms"] is None and box.cdr()["ended_by"] == "caller"
    assert card1.count("loop") == 0


# ------------------------------------------------------------------ a call goes out


def dials_out(tipring, party, port, devices, code="us", number=DIALLED, **keys):
    """A SIP telephone dials a number over the wall: (box, dialog)."""
    box = tipring(analog.exchange_line(port, number="5551000", flow="office", **keys), phone("201", dial_out="wall"), devices=devices, country=code)
    caller = party("127.0.0.11", user="201", password="opensesame")
    caller.register(box)
    return box, caller.call(box, number).authenticate()


ANSWERS = {
    "reversal": lambda exchange: exchange.reverse(True),
    "voice": lambda exchange: exchange.start_saying(audio.voice(6, seed=66)),
    "ringback-ended": lambda exchange: None,
}


@pytest.mark.parametrize("wall, sign", [("linecard", sign) for sign in ANSWERS] + [("generic", "reversal"), ("conexant", "voice"), ("usr", "ringback-ended")], indirect=["wall"])
def test_how_the_answer_is_known(tipring, party, wall, sign):
    """Shows: reversal, a voice, or the end of ring-back answers the caller, and the record says which."""
    us = country("us")
    devices, [port], [exchange] = wall()
    box, call = dials_out(tipring, party, port, devices)
    assert exchange.takes(us, len(DIALLED)) == DIALLED
    exchange.plays(us.ringback)
    exchange.passes(2.4 if sign == "ringback-ended" else 1.0)
    if sign != "ringback-ended":
        exchange.silence()
    ANSWERS[sign](exchange)
    if sign == "ringback-ended":
        exchange.silence()
    call.answered(20)
    call.hang_up()
    exchange.released()
    wire = box.cdr()["legs"][1]["wire"]
    assert (wire["answer_by"], wire["end_by"]) == (sign, ["own-release"])


ENDS = {
    "loop-break": lambda exchange, here: exchange.breaks(300),
    "reversal": lambda exchange, here: exchange.reverse(False),
    "busy-tone": lambda exchange, here: exchange.plays(here.busy),
    "dial-tone": lambda exchange, here: exchange.plays(here.dial),
    "battery-lost": lambda exchange, here: exchange.battery(False),
}


@pytest.mark.parametrize("wall, sign", [("linecard", sign) for sign in ENDS] + [("generic", "loop-break"), ("generic", "reversal"), ("conexant", "busy-tone")], indirect=["wall"])
def test_how_the_end_is_known(tipring, party, wall, sign):
    """Shows: each sign of an exchange that hung up ends the call, and the record names it."""
    de = country("de")
    devices, [port], [exchange] = wall()
    box, call = dials_out(tipring, party, port, devices, "de", answer="anything" if exchange.tells_reversals else "dialled")
    exchange.takes(de, len(DIALLED))
    exchange.reverse(True)
    call.answered()
    talk(exchange.say, call.rtp.heard)
    talk(call.rtp.say, exchange.heard)
    ENDS[sign](exchange, de)
    call.hung_up(20)
    record = box.cdr()
    assert record["legs"][1]["wire"]["answer_by"] == ("reversal" if exchange.tells_reversals else "assumed") and sign in record["legs"][1]["wire"]["end_by"], record["legs"]
    if sign == "battery-lost":
        until(lambda: box.line("wall")["state"] == "down", what="an alarm")
        assert box.line("wall")["detail"] == "TR-LINE-NOVOLT"
        exchange.battery(True)
        box.wait_lines_up()


def test_a_tone_that_no_country_has_is_learned(tipring, server, card):
    """Shows: the same tone at the end of two calls that ended by another sign; the third one ends by it."""
    de = country("de")
    own = Tone((620.0,), (280, 420))
    server.flow("/flow", "<Pause length='60000'/>")
    card1 = card("L")
    exchange = card1.exchange()
    box = tipring(analog.exchange_line(card1.port(1), flow="office", caller_id_rings=0, guard="500ms"), devices=[card1], country="de")
    for turn in (1, 2, 3):
        exchange.rings(de)
        exchange.seized()
        exchange.passes(1)
        exchange.plays(own)
        if turn < 3:
            exchange.passes(6)
            exchange.breaks()
        exchange.released(30)
        exchange.silence()
        assert box.cdr(turn)["legs"][0]["wire"]["end_by"][-1] == ("loop-break" if turn < 3 else "learned-tone")


@pytest.mark.parametrize("tone, status", [("busy", 486), ("congestion", 503)])
def test_whom_the_exchange_does_not_reach(tipring, party, card, tone, status):
    """Shows: busy and congestion tone of the country after dialling are refusals to the caller."""
    fr = country("fr")
    card1 = card("L")
    exchange = card1.exchange()
    box, call = dials_out(tipring, party, card1.port(1), [card1], "fr")
    exchange.takes(fr, len(DIALLED))
    exchange.plays(getattr(fr, tone))
    assert call.refused(timeout=25).status == status
    exchange.released()
    assert box.cdr()["answered_after_ms"] is None


def test_digits_by_pulses_and_a_prefix(tipring, party, card):
    """Shows: an exchange that knows no tones gets pulses, after 9."""
    us = country("us")
    card1 = card("L")
    exchange = card1.exchange()
    box, call = dials_out(tipring, party, card1.port(1), [card1], number="301", dialling="pulse", prefix="9", answer="dialled")
    assert exchange.takes(us, 4) == "9301"
    assert all(event["pulses"] for event in card1.told if event["event"] == "digit")
    call.answered(15)
    call.hang_up()
    exchange.released()


@pytest.mark.parametrize("code", ["se", "in"])
def test_digits_that_say_who_calls_need_no_sign_at_their_end(tipring, server, card, code):
    """Shows: caller ID in digits, before the first ring, by an exchange that sends no C or # behind them: the pause ends them."""
    here = country(code)
    server.flow("/flow", "<Pause length='60000'/>")
    card1 = card("L")
    exchange = card1.exchange()
    box = tipring(analog.exchange_line(card1.port(1), flow="office"), devices=[card1], country=code)
    exchange.rings(here, CALLER, form=("A" if code == "se" else "", ""))
    exchange.seized()
    exchange.passes(1)          # a break right after the line was taken is not believed
    exchange.breaks()
    exchange.released()
    record = box.cdr()
    assert (record["from"], record["legs"][0]["wire"]["caller_id"]) == (CALLER, "dtmf"), record


# ------------------------------------------------------------------ what must not go wrong


def test_a_line_that_rings_is_not_dialled_on(tipring, server, party, card):
    """Shows: glare: the exchange rings as the box is about to take the line: the caller is refused, and who rings is answered."""
    us = country("us")
    plays_menu(server, "<Play>{menu}</Play><Pause length='60000'/>")
    card1 = card("L")
    exchange = card1.exchange()
    box = tipring(analog.exchange_line(card1.port(1), flow="office"), phone("201", dial_out="wall"), devices=[card1])
    caller = party("127.0.0.11", user="201", password="opensesame")
    caller.register(box)
    exchange.rings(us, CALLER)
    call = caller.call(box, DIALLED).authenticate()
    assert call.refused(timeout=15).status == 503
    exchange.seized()
    hears_menu(exchange)
    exchange.ends(us)
    exchange.released()
    assert card1.count("digit") == 0
    assert {record["from"] for record in (box.cdr(1), box.cdr(2))} == {"201", CALLER}


def test_an_emergency_call_takes_the_line_from_another(tipring, server, card, desk):
    """Shows: the only line is talked on: 112 from a telephone throws that call off and is dialled, whatever its flow says. Both ends of that call hear a tone first, and its record says why."""
    de = country("de")
    card1 = card("LP")
    exchange, telephone = card1.exchange(1), card1.telephone(2)
    box = tipring(analog.exchange_line(card1.port(1), flow="office", prefix="0", guard="500ms"), analog.telephone(card1.port(2), "201", dial_out=["wall"]), phone("202", dial_out="wall"),
                  devices=[card1], country="de")
    call = desk(box, "202").call(box, DIALLED).authenticate()
    assert exchange.takes(de, len(DIALLED) + 1) == "0" + DIALLED
    exchange.reverse(True)
    call.answered()
    talk(call.rtp.say, exchange.heard)
    exchange.forget()
    telephone.dials(de, "112")
    call.hung_up()
    exchange.released()
    for heard in (exchange.heard(), call.rtp.heard()):
        assert hears_preemption(heard)
    exchange.reverse(False)
    assert exchange.takes(de, 3) == "112"
    exchange.reverse(True)
    talk(telephone.say, exchange.heard)
    talk(exchange.say, telephone.heard)
    telephone.hang_up()
    exchange.released()
    records = {(record["from"], record["to"]): record for record in (box.cdr(1), box.cdr(2))}
    assert set(records) == {("202", DIALLED), ("201", "112")}
    thrown = records["202", DIALLED]
    assert (thrown["cause"], thrown["q850"], thrown["ended_by"], thrown["legs"][1]["wire"]["end_by"]) == ("preempted", 8, "line", ["emergency-call"]), thrown
    assert "TR-LINE-PREEMPTED" in box.log()


@pytest.mark.parametrize("fails, cause, sign", [
    ("breaks", "temporary-failure", "loop-break"), ("busy", "busy", "busy-tone"), ("congestion", "no-circuit", "congestion-tone"), ("unplug", "temporary-failure", "device-gone"),
])
def test_an_emergency_call_that_one_line_loses_goes_out_over_the_next(tipring, card, desk, fails, cause, sign):
    """Shows: 112 is dialled and the line fails before anybody answers: it is dialled on the other line, both sides speak, and the record says what became of the first."""
    de = country("de")
    cards = [card("L"), card("LP", "card2")]
    first, second, telephone = cards[0].exchange(1), cards[1].exchange(1), cards[1].telephone(2)
    box = tipring(analog.exchange_line(cards[0].port(1), "wall1", flow="office"), analog.exchange_line(cards[1].port(1), "wall2", flow="office"),
                  analog.telephone(cards[1].port(2), "201", dial_out=["wall1"]), devices=cards, country="de")
    telephone.dials(de, "112")
    assert first.takes(de, 3) == "112"
    if fails == "breaks":
        first.breaks()
    elif fails == "unplug":
        cards[0].unplug()
    else:
        first.plays(getattr(de, fails))
    assert second.takes(de, 3) == "112"
    second.plays(de.ringback)
    telephone.hears(de.ringback, 1)
    second.silence()
    second.reverse(True)
    talk(telephone.say, second.heard)
    talk(second.say, telephone.heard)
    telephone.hang_up()
    second.released()
    record = box.cdr()
    assert record["answered_after_ms"] is not None and record["legs"][1]["line"] == "wall2", record
    assert [(tried["line"], tried["cause"], tried["wire"]["end_by"]) for tried in record["legs"][1]["tried"]] == [("wall1", cause, [sign])], record
    assert record["legs"][1]["wire"]["end_by"] == ["own-release"], record


def test_with_two_lines_nobody_is_thrown_off(tipring, card, desk):
    """Shows: the first line is talked on: a call out takes the second one, and so does 112; the first call stays."""
    de = country("de")
    card1 = card("LLP")
    first, second, telephone = card1.exchange(1), card1.exchange(2), card1.telephone(3)
    walls = dict(dial_out=["wall1", "wall2"])
    box = tipring(analog.exchange_line(card1.port(1), "wall1", flow="office"), analog.exchange_line(card1.port(2), "wall2", flow="office", guard="500ms"),
                  analog.telephone(card1.port(3), "201", numbers=["555xxxx"], **walls), phone("202", **walls), devices=[card1], country="de")
    call = desk(box, "202").call(box, DIALLED).authenticate()
    assert first.takes(de, len(DIALLED)) == DIALLED
    first.reverse(True)
    call.answered()
    for number in ("5550199", "112"):
        telephone.dials(de, number)
        assert second.takes(de, len(number)) == number
        second.reverse(True)
        talk(telephone.say, second.heard)
        telephone.hang_up()
        second.released()
        second.reverse(False)
        telephone.put_down_for_good()
    talk(call.rtp.say, first.heard)
    call.hang_up()
    first.released()
    assert card1.count("loop", port=1) == 2
    lines = {leg["line"] for number in (1, 2, 3) for leg in box.cdr(number)["legs"]}
    assert lines == {"desk202", "phone201", "wall1", "wall2"}


def test_busy_tone_under_an_announcement_ends_the_call(tipring, server, card):
    """Shows: the caller has hung up while an announcement plays on and on: the tone that stays is believed within 10 s."""
    de = country("de")
    plays_menu(server, "<Play loop='100'>{menu}</Play><Hangup/>")
    card1 = card("L")
    exchange = card1.exchange()
    box = tipring(analog.exchange_line(card1.port(1), flow="office", caller_id_rings=0), devices=[card1], country="de")
    exchange.rings(de)
    exchange.seized()
    hears_menu(exchange)
    exchange.ends(de)
    exchange.released(30)
    assert "busy-tone" in box.cdr()["legs"][0]["wire"]["end_by"]


def test_two_telephones_want_one_line(tipring, card):
    """Shows: both dial out at once: one is connected, the other hears congestion; afterwards the line is free."""
    us = country("us")
    card1 = card("LPP")
    exchange, one, two = card1.exchange(1), card1.telephone(2), card1.telephone(3)
    box = tipring(analog.exchange_line(card1.port(1), flow="office"), *(analog.telephone(card1.port(at), f"20{at - 1}", dial_out=["wall"], numbers=["555xxxx"]) for at in (2, 3)),
                  devices=[card1])
    for telephone in (one, two):
        telephone.forget()
        telephone.lift()
    for telephone in (one, two):
        telephone.hears(us.dial)
    for telephone in (one, two):
        telephone.order("press", digits=DIALLED)
    assert exchange.takes(us, len(DIALLED)) == DIALLED
    exchange.reverse(True)
    until(lambda: any(audio.is_tone(telephone.heard(), us.congestion.hz, us.congestion.cadence) for telephone in (one, two)), 15, "congestion tone at one of them")
    refused = next(telephone for telephone in (one, two) if audio.is_tone(telephone.heard(), us.congestion.hz, us.congestion.cadence))
    taken = two if refused is one else one
    talk(taken.say, exchange.heard)
    refused.hang_up()
    taken.hang_up()
    exchange.released()
    assert sorted(record["answered_after_ms"] is None for record in (box.cdr(1), box.cdr(2))) == [False, True]


def test_a_modem_says_that_another_telephone_has_the_line(tipring, modem, desk):
    """Shows: LINE IN USE: the call is refused for want of a line and its record says why; the modem goes on, and is free when the line is."""
    us = country("us")
    modem1 = modem("conexant")
    exchange = modem1.exchange()
    box = tipring(analog.exchange_line(modem1.port(1), flow="office"), phone("202", dial_out="wall"), devices=[modem1])
    caller = desk(box, "202")
    exchange.in_use(True)
    assert caller.call(box, DIALLED).authenticate().refused(timeout=15).status == 503
    leg = box.cdr()["legs"][1]
    assert (leg["cause"], leg["wire"]["end_by"]) == ("no-circuit", ["line-in-use"]), leg
    assert "TR-LINE-INUSE" in box.log() and "TR-MODEM" not in box.log() and box.line("wall")["state"] == "up"
    exchange.in_use(False)
    call = caller.call(box, DIALLED).authenticate()
    assert exchange.takes(us, len(DIALLED)) == DIALLED
    call.cancel()
    exchange.released()


def test_another_telephone_on_the_same_line(tipring, server, card):
    """Shows: in use: an alarm that goes by itself; answered there, the box lets the call be."""
    de = country("de")
    server.answer("/flow", Answer("<Response><Hangup/></Response>"))
    card1 = card("L")
    exchange = card1.exchange()
    box = tipring(analog.exchange_line(card1.port(1), flow="office"), devices=[card1], country="de")
    exchange.in_use(True)
    until(lambda: box.line("wall")["state"] == "down", what="an alarm")
    assert box.line("wall")["detail"] == "TR-LINE-INUSE"
    exchange.in_use(False)
    box.wait_lines_up()
    exchange.rings(de)
    exchange.order("in_use", on=True)
    exchange.stops_ringing()
    exchange.device.expect_nothing("loop", 3)
    exchange.in_use(False)
