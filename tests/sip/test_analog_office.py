"""The office menu on a line of the exchange, in each of the four dialects: keys in the sound, and the front desk on two wires."""
import pytest

import analog
import audio
import office as offices
from analog import talk, wait_prompts
from countries import country
from office import DIALECTS, FRONT_DESK, PROMPTS
from waiting import until

CALLER = "5550100"


@pytest.fixture(params=DIALECTS)
def opened(request, tmp_path, tipring, server, serve, cgi, desk, card, _kept):
    """The office in a dialect, open: (office, exchange, the front desk's telephone)."""
    card1 = card("LP")
    lines = [analog.exchange_line(card1.port(1), flow="office", number="100"), analog.telephone(card1.port(2), FRONT_DESK, name=f"desk{FRONT_DESK}")]
    office = offices.opened(request.param, "open", tmp_path=tmp_path, tipring=tipring, server=server, serve=serve, cgi=cgi, desk=desk, kept=_kept,
                            wait_s=6, ring_s=20, lines=lines, devices=[card1])
    return office, card1.exchange(1), card1.telephone(2)


def at_the_menu(exchange):
    exchange.rings(country("us"), CALLER)
    exchange.seized()
    wait_prompts(exchange, PROMPTS, "welcome", "menu")


def test_key_1_rings_the_front_desk_on_two_wires(opened):
    """Shows: greeting and menu over the exchange, a key as tones, the telephone rings and shows who calls, clean sound both ways, the end."""
    office, exchange, telephone = opened
    at_the_menu(exchange)
    telephone.forget()
    exchange.chooses("1", lambda: telephone.rings(6))
    assert telephone.shown().number == CALLER
    telephone.lift()
    talk(exchange.say, telephone.heard)
    talk(telephone.say, exchange.heard)
    telephone.hang_up()
    exchange.released(15)
    record = office.box.cdr()
    assert record["from"] == CALLER and record["cause"] == "normal-clearing" and [leg["answered_after_ms"] is not None for leg in record["legs"]] == [True, True]
    assert office.kept_nothing()


def test_key_2_takes_a_message_from_the_exchange(opened):
    """Shows: the caller's words over the line are kept, until #."""
    office, exchange, _ = opened
    at_the_menu(exchange)
    exchange.chooses("2", lambda: wait_prompts(exchange, PROMPTS, "menu", "leave", timeout=6))
    exchange.hears_silence(0.7)
    words = audio.voice(2.5, seed=71)
    exchange.say(words)
    exchange.chooses("#", lambda: exchange.released(6))
    assert office.box.cdr()["ended_by"] == "flow"
    # In parts, since the clocks of card and box are two.
    until(lambda: any(audio.clean_share(words[4000:], kept, snr_db=8) >= 0.6 for kept in office.kept()), 8, "the caller's words", 0.2)
