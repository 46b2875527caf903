"""One office menu in four dialects: the same calls have the same course, whatever it is written in."""
import datetime
import json
import zoneinfo

import pytest

import audio
import dialects
import hearing
import kazoo_documents as kazoo
import office as offices
from office import DIALECTS, FRONT_DESK, PROMPTS, RING_S
from servers import hours
from waiting import until

WORDS = audio.voice(2.5, seed=71)
SETTLED = 3200                  # samples that may be lost while the box learns where the caller is


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return request.param


@pytest.fixture
def opened(dialect, tmp_path, tipring, server, serve, cgi, desk, _kept):
    """opened(state): the office with its box, in the dialect of this test."""
    return lambda state="open", **keys: offices.opened(dialect, state, tmp_path=tmp_path, tipring=tipring, server=server, serve=serve, cgi=cgi,
                                                       desk=desk, kept=_kept, **keys)


def calls(office, provider):
    return provider.call(office.box, "100").answered()


def at_the_menu(call):
    hearing.wait_for(call.rtp, PROMPTS, "welcome", "menu")


def speaks(call, *before):
    """Hears what comes before, waits for what may come after it (a beep), and speaks."""
    hearing.wait_for(call.rtp, PROMPTS, *before)
    call.rtp.wait_quiet(0.7)
    call.rtp.say(WORDS)


def heard(call):
    return hearing.order(PROMPTS, call.rtp.heard())


def over(office, ended_by):
    """The record of the call, and the webhook of its end."""
    record = office.box.cdr()
    assert (record["cause"], record["q850"], record["ended_by"]) == ("normal-clearing", 16, ended_by), record
    assert dialects.label_kind(record["label"]) == {"caller": "caller", "flow": "program"}[ended_by], record["label"]
    assert record["flow"] == "office" and record["answered_after_ms"] is not None
    told = office.wait_told_the_end()
    if office.dialect == "twiml":
        assert all(request.valid for request in office.application.requests if not request.path.startswith("/sounds/")), "a request is not signed"
        assert dict(told.form)["CallStatus"] == "completed"
    return record


# ------------------------------------------------------------------ calls


def test_key_1_rings_the_front_desk_and_both_speak(opened, provider, desk):
    """Shows: 201 rings, answers, is heard and hears; when it hangs up, the call is over and nothing was kept."""
    office = opened()
    front = desk(office.box, FRONT_DESK)
    call = calls(office, provider)
    at_the_menu(call)
    call.rtp.press("1")
    ringing = front.expect_call().ring().answer()
    there, back = audio.voice(1.5, seed=72), audio.voice(1.5, seed=73)
    speaking = [call.rtp.start_saying(there), ringing.rtp.start_saying(back)]
    for thread in speaking:
        thread.join()
    until(lambda: audio.likeness(there[SETTLED:], ringing.rtp.heard()) >= 0.97 and audio.likeness(back[SETTLED:], call.rtp.heard()) >= 0.97, 3, "what both said")
    ringing.hang_up()
    call.hung_up()
    record = over(office, "flow")
    assert heard(call) == ["welcome", "menu"]
    assert [leg["answered_after_ms"] is not None for leg in record["legs"]] == [True, True]
    assert office.kept_nothing()


def test_a_caller_may_hang_up_while_he_speaks(opened, provider, desk):
    """Shows: the front desk is released, and it was the caller."""
    office = opened()
    front = desk(office.box, FRONT_DESK)
    call = calls(office, provider)
    at_the_menu(call)
    call.rtp.press("1")
    ringing = front.expect_call().ring().answer()
    call.rtp.say(audio.voice(0.5, seed=74))
    ringing.rtp.wait_loud(0.2)
    call.hang_up()
    ringing.hung_up()
    over(office, "caller")


def test_key_1_unanswered_leads_to_voicemail(opened, provider, desk):
    """Shows: 201 rings as long as it should and is cancelled; the caller is told so and leaves a message."""
    office = opened()
    front = desk(office.box, FRONT_DESK)
    call = calls(office, provider)
    at_the_menu(call)
    call.rtp.press("1")
    ringing = front.expect_call().ring()
    ringing.cancelled(RING_S + 3)
    cancelled_at = next(message.at for message in front.seen if message.method == "CANCEL")
    assert RING_S - 0.3 <= cancelled_at - ringing.invite_message.at <= RING_S + 0.8
    speaks(call, "welcome", "menu", "unavailable")
    call.hang_up()
    over(office, "caller")
    office.wait_kept(WORDS[SETTLED:])


@pytest.mark.parametrize("status", [486, 480, 603])
def test_key_1_refused_leads_to_voicemail_at_once(opened, provider, desk, status):
    """Shows: busy, away and declined wait for nothing."""
    office = opened(ring_s=20)
    front = desk(office.box, FRONT_DESK)
    call = calls(office, provider)
    at_the_menu(call)
    call.rtp.press("1")
    front.expect_call().refuse(status)
    hearing.wait_for(call.rtp, PROMPTS, "welcome", "menu", "unavailable", timeout=8)
    call.hang_up()
    over(office, "caller")


def test_key_1_without_a_telephone_leads_to_voicemail(opened, provider):
    """Shows: nobody is registered as 201."""
    office = opened(ring_s=20)
    call = calls(office, provider)
    at_the_menu(call)
    call.rtp.press("1")
    hearing.wait_for(call.rtp, PROMPTS, "welcome", "menu", "unavailable", timeout=8)
    call.hang_up()
    over(office, "caller")


def test_key_2_records_a_message_and_hangs_up(opened, provider):
    """Shows: a prompt, the caller's words until #, and the end by the office."""
    office = opened()
    call = calls(office, provider)
    at_the_menu(call)
    call.rtp.press("2")
    speaks(call, "welcome", "menu", "leave")
    call.rtp.press("#")
    call.hung_up()
    over(office, "flow")
    assert heard(call) == ["welcome", "menu", "leave"]
    office.wait_kept(WORDS[SETTLED:])


def test_silence_is_asked_once_more_and_let_go(opened, provider):
    """Shows: no key at all: the menu twice, goodbye, the end."""
    office = opened()
    call = calls(office, provider)
    call.hung_up(30)
    over(office, "flow")
    assert heard(call) == ["welcome", "menu", "menu", "goodbye"]
    assert office.kept_nothing()


def test_other_keys_are_asked_once_more_and_let_go(opened, provider):
    """Shows: keys that are not on the menu are as good as none."""
    office = opened()
    call = calls(office, provider)
    at_the_menu(call)
    call.rtp.press("9")
    hearing.wait_for(call.rtp, PROMPTS, "welcome", "menu", "menu")
    call.rtp.press("8")
    call.hung_up(15)
    over(office, "flow")
    assert heard(call) == ["welcome", "menu", "menu", "goodbye"]


def test_the_second_time_keys_count_as_the_first(opened, provider, desk):
    """Shows: silence, then 1: the front desk rings."""
    office = opened()
    front = desk(office.box, FRONT_DESK)
    call = calls(office, provider)
    hearing.wait_for(call.rtp, PROMPTS, "welcome", "menu", "menu", timeout=20)
    call.rtp.press("1")
    ringing = front.expect_call().ring().answer()
    ringing.hang_up()
    call.hung_up()
    over(office, "flow")


@pytest.mark.parametrize("state", ["hour", "day"])
def test_outside_office_hours_there_is_voicemail(opened, provider, desk, state):
    """Shows: closed at this hour, or on this day: greeting, voicemail, nobody rings."""
    office = opened(state)
    front = desk(office.box, FRONT_DESK)
    call = calls(office, provider)
    speaks(call, "welcome", "unavailable")
    call.hang_up()
    over(office, "caller")
    office.wait_kept(WORDS[SETTLED:])
    assert front.count("INVITE") == 0


def test_the_hours_as_they_are_written(opened, provider):
    """Shows: Monday to Friday, nine to five in Berlin, by the clock on the wall."""
    office = opened("as written")
    before = hours.is_open(datetime.datetime.now(datetime.timezone.utc))
    call = calls(office, provider)
    until(lambda: len(heard(call)) >= 2, 15, lambda: f"two prompts (heard {heard(call)})", 0.2)
    after = hours.is_open(datetime.datetime.now(datetime.timezone.utc))
    assert heard(call)[:2] in [["welcome", "menu" if is_open else "unavailable"] for is_open in (before, after)]
    call.hang_up()
    over(office, "caller")


# ------------------------------------------------------------------ the documents, without a box


def test_the_documents_say_the_same():
    """Shows: hours, ring time and wait of the three documents that lie on the box are those of the two servers."""
    opentact, account = offices.opentact_document(), offices.kazoo_document()
    assert 'dow="mon,tue,wed,thu,fri" time="09:00:00-16:59:59" timezone="Europe/Berlin"' in opentact
    assert 'timeout="20000"' in opentact and 'timeout="5000"' in opentact
    written = json.loads((offices.FLOWS / "office.kazoo.json").read_text())
    assert kazoo.checked(account, "account") == written
    [rule], [menu] = written["temporal_rules"], written["menus"]
    assert (rule["wdays"], rule["time_window_start"], rule["time_window_stop"], menu["timeout"]) == (list(offices.DAYS[:5]), 32400, 61200, 5000)
    ivr = dialects.checked_ivr(offices.call_interactive_document())
    assert {context["timeout_ms"] for context in ivr["contexts"]} == {5000}
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    for _ in range(24 * 14):
        assert offices.AS_WRITTEN.is_open(now) == hours.is_open(now), now
        now += datetime.timedelta(hours=1)


def test_the_rules_of_a_test_hold_at_any_time_of_day():
    """Shows: open is open and closed is closed for the next half hour, whenever the tests run."""
    start = datetime.datetime(2026, 10, 24, tzinfo=datetime.timezone.utc)
    for quarter in range(3 * 24 * 4):
        now = start + quarter * datetime.timedelta(minutes=15)
        for later in (now, now + datetime.timedelta(minutes=30)):
            assert offices.rule_that_is("open", now).is_open(later), now
            assert not offices.rule_that_is("hour", now).is_open(later), now
            assert not offices.rule_that_is("day", now).is_open(later), now
        rule = offices.rule_that_is("open", now)
        assert 0 <= rule.opens_s < rule.closes_s <= offices.DAY_S
        assert zoneinfo.ZoneInfo(rule.zone)


def test_documents_get_the_times_and_addresses_of_a_test():
    """Shows: what is put into the documents, and that they stay valid."""
    rule = offices.Rule((2, 6), 3600, 7200, "America/Los_Angeles")
    opentact = offices.opentact_document(rule, 3, 1, "http://127.0.0.1:1")
    assert 'dow="wed,sun" time="01:00:00-01:59:59" timezone="America/Los_Angeles"' in opentact
    assert 'timeout="3000"' in opentact and 'timeout="1000"' in opentact and offices.EXAMPLE not in opentact
    account = kazoo.checked(offices.kazoo_document(rule, 3, 1), "account")
    text = json.dumps(account)
    assert '"wdays": ["wednesday", "sunday"]' in text and '"timezone": "America/Los_Angeles"' in text and '"id": "desk201", "timeout": 3' in text
    ivr = dialects.checked_ivr(offices.call_interactive_document(1, "http://127.0.0.1:1"))
    assert offices.EXAMPLE not in json.dumps(ivr) and ivr["contexts"][0]["timeout_ms"] == 1000
