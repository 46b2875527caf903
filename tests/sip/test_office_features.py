"""What an office does with its telephones: taking each other's calls, and speaking to all of them at once."""
import pytest

import audio
import dialects
import kazoo_documents as kazoo
from box import phone, trunk
from kazoo_documents import callflow, node
from waiting import until

WORDS = audio.voice(2, seed=61)
BACK = audio.voice(2, seed=62)
LIKE = 0.99

RINGS = node("device", id="201", timeout=20)
PICKS = node("group_pickup_feature", type="extension")
PICKUP = callflow(PICKS, patterns=["^\\*8(2[0-9]{2})$"])


@pytest.fixture
def office(tipring, tmp_path):
    """office(callflow, ...): a box with these flows of Kazoo, for calls of the trunk and of 201 to 204."""
    def start(*callflows, phones=("201", "202", "203"), stored=None, tables=()):
        document = kazoo.account(*callflows, **(stored or {}))
        lines = [phone(number, flow="office") for number in phones]
        return tipring(dialects.kazoo_file(tmp_path / "account.json", document), *lines, *tables)
    return start


def dials(party, box, number):
    """A telephone of the office calls."""
    return party.call(box, number).authenticate()


def hears(who, says, words=WORDS):
    """One speaks, again if the other was connected only after the first word; the other hears it all."""
    for _ in range(4):
        since = len(who.rtp.heard())
        says.rtp.say(words)
        try:
            return until(lambda: audio.likeness(words, who.rtp.heard()[since:]) > LIKE, 1.5, "the words")
        except AssertionError as error:
            missed = error
    raise missed


def silent(who, says):
    """One speaks, the other hears nothing of it."""
    says.rtp.say(WORDS)
    assert audio.likeness(WORDS, who.rtp.heard()) < 0.5


# ------------------------------------------------------------------ taking a call


def test_a_call_that_rings_elsewhere_is_taken(office, provider, desk):
    """Shows: 201 rings, 202 dials the feature code and speaks with the caller; 201 stops ringing; both records say so."""
    box = office(callflow(RINGS, "100"), PICKUP)
    front, back = desk(box, "201"), desk(box, "202")
    caller = provider.call(box, "100")
    ringing = front.expect_call().ring()
    caller.ringing()
    taker = dials(back, box, "*8201").answered()
    ringing.cancelled()
    caller.answered()
    hears(taker, caller)
    hears(caller, taker, BACK)
    taker.hang_up()
    caller.hung_up()
    box.wait_idle()
    records = {record["to"]: record for record in (box.cdr(1), box.cdr(2))}
    taken, took = records["100"], records["*8201"]
    assert ("picked-up", "at 201 by 202") in [(step["command"], step["reason"]) for step in taken["steps"]]
    assert ("pick-up", "15550100 from 201") in [(step["command"], step["reason"]) for step in took["steps"]]
    assert [leg["cause"] for leg in taken["legs"] if leg["to"] == "201"] == ["answered-elsewhere"]


def test_the_caller_hangs_up_after_being_taken(office, provider, desk):
    """Shows: whoever has taken the call is let go, and the next call rings as before."""
    box = office(callflow(RINGS, "100"), PICKUP)
    front, back = desk(box, "201"), desk(box, "202")
    caller = provider.call(box, "100")
    ringing = front.expect_call().ring()
    taker = dials(back, box, "*8201").answered()
    ringing.cancelled()
    caller.answered()
    hears(taker, caller)
    caller.hang_up()
    taker.hung_up()
    caller = provider.call(box, "100")
    front.expect_call().ring().answer()
    caller.answered().hang_up()


def test_a_call_between_two_telephones_is_taken(office, desk):
    """Shows: calls that run no flow of a customer can be taken as well, and all telephones of a group are searched."""
    pickup = callflow(node("group_pickup", group_id="all"), "*8")
    box = office(pickup, stored={"groups": [{"id": "all", "name": "all", "endpoints": {"201": {"type": "device"}, "203": {"type": "device"}}}]})
    first, second = desk(box, "201"), desk(box, "203")
    third = desk(box, "202")
    caller = dials(first, box, "203")
    ringing = second.expect_call().ring()
    taker = dials(third, box, "*8")
    ringing.cancelled()
    taker.answered()
    caller.answered()
    hears(caller, taker)
    caller.hang_up()
    taker.hung_up()


def test_nothing_rings(office, desk):
    """Shows: who wants to take a call where there is none hears so, and the call ends."""
    box = office(PICKUP)
    back = desk(box, "202")
    desk(box, "201")
    taker = dials(back, box, "*8201").answered()
    taker.rtp.wait_loud()
    taker.hung_up()
    assert box.cdr()["label"] == "flow_end"


def test_a_caller_from_outside_takes_nothing(office, provider, desk):
    """Shows: only telephones of the box have that right."""
    box = office(callflow(RINGS, "100"), callflow(node("group_pickup", device_id="201"), "101"))
    front = desk(box, "201")
    caller = provider.call(box, "100")
    ringing = front.expect_call().ring()
    provider.call(box, "101").answered().hung_up()
    ringing.answer()
    caller.answered().hang_up()
    ringing.hung_up()


def test_an_emergency_call_is_never_taken(office, party, desk):
    """Shows: 911 rings at the trunk until it is answered there, whoever dials the feature code with that number."""
    provider = party("127.0.0.2")
    box = office(callflow(PICKS, patterns=["^\\*8(.+)$"]), tables=[trunk(host=f"127.0.0.2:{provider.port}")])
    front, back = desk(box, "201"), desk(box, "202")
    caller = dials(front, box, "911")
    centre = provider.expect_call().ring()
    dials(back, box, "*8911").answered().hung_up()
    centre.answer()
    caller.answered()
    hears(caller, centre)
    caller.hang_up()
    centre.hung_up()


def test_an_answered_call_is_taken_by_intercept(office, provider, desk):
    """Shows: the telephone that talked is let go, and its caller talks with the one who took the call."""
    box = office(callflow(RINGS, "100"), callflow(node("intercept", device_id="201"), "*9"))
    front, back = desk(box, "201"), desk(box, "202")
    caller = provider.call(box, "100")
    talking = front.expect_call().ring().answer()
    caller.answered()
    hears(talking, caller)
    taker = dials(back, box, "*9").answered()
    talking.hung_up()
    hears(taker, caller, BACK)
    caller.hang_up()
    taker.hung_up()


# ------------------------------------------------------------------ speaking to all


def paging(audio_way, *numbers):
    return callflow(node("page_group", audio=audio_way, timeout=5, endpoints=[{"endpoint_type": "device", "id": number} for number in numbers],
                         then=node("response", code=480)), "*1")


def test_telephones_hear_one_speaker(office, desk):
    """Shows: they are asked to answer by themselves; the speaker is heard by all and hears nobody; who answers late joins."""
    box = office(paging("one-way", "202", "203"))
    speaker, first, second = desk(box, "201"), desk(box, "202"), desk(box, "203")
    call = dials(speaker, box, "*1").answered()
    at_first, at_second = first.expect_call(), second.expect_call()
    told = at_first.invite_message
    assert "answer-after=0" in (told.get("call-info") or "") or "auto" in (told.get("alert-info") or "").lower(), told
    at_first.answer()
    hears(at_first, call)
    silent(call, at_first)
    at_second.ring().answer()
    hears(at_second, call, BACK)
    silent(at_second, at_first)
    at_first.hang_up()
    hears(at_second, call, BACK)
    call.hang_up()
    at_second.hung_up()
    box.wait_idle()


def test_telephones_that_all_speak(office, desk):
    """Shows: both ways, everybody hears everybody; the page ends when the last of them hangs up."""
    box = office(paging("two-way", "202", "203"))
    speaker, first, second = desk(box, "201"), desk(box, "202"), desk(box, "203")
    call = dials(speaker, box, "*1").answered()
    at_first, at_second = first.expect_call().answer(), second.expect_call().answer()
    hears(at_second, at_first)
    hears(call, at_second, BACK)
    at_first.hang_up()
    at_second.hang_up()
    call.hung_up()


def test_nobody_can_be_paged(office, desk):
    """Shows: telephones that are busy or silent; the `_` child runs."""
    box = office(paging("one-way", "202", "203"))
    speaker, first, second = desk(box, "201"), desk(box, "202"), desk(box, "203")
    call = dials(speaker, box, "*1").answered()
    first.expect_call().refuse(486)
    second.expect_call().ring().cancelled(8)
    call.hung_up()
    assert "response" in [step["command"] for step in box.cdr()["steps"]]


# ------------------------------------------------------------------ parked calls


def test_a_parked_call_comes_back(office, provider, desk):
    """Shows: a call that 201 has let go is parked; nobody fetches it, and 201 rings and speaks with the caller again."""
    talks = node("after_bridge", action="transfer", data="700", then=RINGS)
    box = office(callflow(talks, "100"), callflow(node("park", default_ringback_timeout=1500, default_callback_timeout=10_000), "700"))
    front = desk(box, "201")
    caller = provider.call(box, "100")
    talking = front.expect_call().ring().answer()
    caller.answered()
    hears(talking, caller)
    talking.hang_up()
    caller.rtp.wait_loud()
    back = front.expect_call(8).ring().answer()
    hears(back, caller)
    caller.hang_up()
    back.hung_up()


def test_a_parked_call_that_is_fetched_does_not_come_back(office, provider, desk):
    """Shows: 202 fetches it from its place, and 201 is left in peace."""
    talks = node("after_bridge", action="transfer", data="700", then=RINGS)
    fetches = callflow(node("park", action="retrieve"), patterns=["^\\*4([0-9]+)$"])
    box = office(callflow(talks, "100"), callflow(node("park", slot="5", default_ringback_timeout=2500), "700"), fetches)
    front, other = desk(box, "201"), desk(box, "202")
    caller = provider.call(box, "100")
    talking = front.expect_call().ring().answer()
    caller.answered()
    hears(talking, caller)
    talking.hang_up()
    caller.rtp.wait_loud()
    fetcher = dials(other, box, "*45").answered()
    hears(fetcher, caller)
    front.expect_nothing(lambda message: message.method == "INVITE", 3)
    fetcher.hang_up()
    caller.hung_up()
